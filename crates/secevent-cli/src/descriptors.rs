//! File descriptors: how many there are, and who gets them.
//!
//! Every connection takes one, and peers without credentials decide how many connections there are. So the public
//! listener gets what is left once the store, the admin listener and outgoing pushes have their share (SEM-31).

use std::fmt;

/// What the process needs besides connections: the store and its copies, listeners, the runtime, look-ups of names, files
/// that are read now and then, and the connection that is accepted while there is no room for it.
const RESERVED: u64 = 128;
/// What the admin listener gets: for operators, metrics and health checks.
const ADMIN_MIN: u64 = 32;
const ADMIN_MAX: u64 = 256;
/// What the public listener gets at least, and outgoing pushes too.
const CONNECTIONS_MIN: u64 = 16;

/// How many descriptors each part may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// The limit of the process; none where the operating system has none.
    pub(crate) limit: Option<u64>,
    /// Connections of the public listener.
    pub(crate) public: u32,
    /// Connections of the admin listener.
    pub(crate) admin: u32,
    /// Connections to receivers and other servers.
    pub(crate) outgoing: u32,
    /// The least limit with which nothing would have to be reduced.
    pub(crate) enough: u64,
}

impl Shares {
    /// Whether the public listener may have as many connections as its setting says.
    pub(crate) fn is_reduced(&self, public: u32) -> bool {
        self.public < public
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, public, admin, outgoing, .. } = self;
        let limit = limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        write!(
            f,
            "the limit of open files is {limit}: {public} public connections, {admin} admin connections, {outgoing} \
             outgoing connections"
        )
    }
}

/// Shares out a limit among what the settings ask for.
pub(crate) fn share(limit: Option<u64>, public: u32, outgoing: u32) -> Shares {
    let enough = RESERVED + ADMIN_MAX + u64::from(public) + u64::from(outgoing);
    let Some(limit) = limit.filter(|limit| *limit < enough) else {
        let admin = u32::try_from(ADMIN_MAX).expect("it is small");
        return Shares { limit, public, admin, outgoing, enough };
    };
    let narrow = |count: u64, wanted: u32| u32::try_from(count).unwrap_or(u32::MAX).min(wanted);
    let admin = (limit / 32).clamp(ADMIN_MIN, ADMIN_MAX);
    let left = limit.saturating_sub(RESERVED + admin);
    // Deliveries are what the server is for: they keep their third however many peers connect.
    let pushes = narrow((left / 3).max(CONNECTIONS_MIN), outgoing);
    let others = left.saturating_sub(u64::from(pushes)).max(CONNECTIONS_MIN);
    Shares {
        limit: Some(limit),
        public: narrow(others, public),
        admin: narrow(admin, u32::MAX),
        outgoing: pushes,
        enough,
    }
}

/// Raises the soft limit of this process to the hard one, and returns what holds then.
#[cfg(unix)]
pub(crate) fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    // Some systems refuse what their own hard limit says; then the soft limit stays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
pub(crate) fn raise() -> Option<u64> {
    None
}

/// What [`raise`] would return, without a change.
#[cfg(unix)]
pub(crate) fn attainable() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
}

#[cfg(not(unix))]
pub(crate) fn attainable() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: B1
    #[test]
    fn the_public_listener_gets_what_is_left() {
        for (limit, expected) in [
            (None, (16_384, 256, 1_024)),
            (Some(1 << 20), (16_384, 256, 1_024)),
            (Some(17_792), (16_384, 256, 1_024)),
            (Some(17_791), (16_383, 256, 1_024)),
            (Some(4_096), (2_816, 128, 1_024)),
            (Some(1_024), (576, 32, 288)),
            (Some(256), (64, 32, 32)),
            (Some(20), (16, 32, 16)),
        ] {
            let shares = share(limit, 16_384, 1_024);
            assert_eq!((shares.public, shares.admin, shares.outgoing), expected, "{limit:?}");
            if let Some(limit) = limit.filter(|limit| *limit >= 256) {
                let all = u64::from(shares.public + shares.admin + shares.outgoing);
                assert!(all + RESERVED <= limit, "{limit}: {shares}");
            }
            assert_eq!(shares.is_reduced(16_384), shares.public < 16_384);
        }
        assert_eq!(share(Some(4_096), 100, 10).public, 100, "nobody gets more than was asked for");
    }

    #[cfg(unix)]
    #[test]
    fn the_soft_limit_is_raised() {
        assert_eq!(raise(), attainable());
    }
}
