//! Where metadata is found: the well-known URL of an issuer, and the issuer of a well-known URL.

use secevent::Issuer;

/// The URL of an issuer's metadata: `/.well-known/ssf-configuration` between host and path.
///
/// ```
/// use secevent_ssf::metadata::well_known_url;
///
/// for (issuer, url) in [
///     ("https://tr.example.com", "https://tr.example.com/.well-known/ssf-configuration"),
///     ("https://tr.example.com/issuer1", "https://tr.example.com/.well-known/ssf-configuration/issuer1"),
///     ("https://tr.example.com/issuer1/", "https://tr.example.com/.well-known/ssf-configuration/issuer1"),
/// ] {
///     assert_eq!(well_known_url(&issuer.parse()?), url);
/// }
/// # Ok::<(), secevent::Invalid>(())
/// ```
pub fn well_known_url(issuer: &Issuer) -> String {
    WellKnown::Ssf.url(issuer, Placement::Inserted)
}

/// The names under which metadata is found in the wild, in the order in which a receiver tries them. Only the
/// first is SSF 1.0; the others are for peers that are known to need them (E-31).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WellKnown {
    /// `ssf-configuration`.
    Ssf,
    /// `ssf_configuration`, which Okta's documents have beside the right one.
    SsfUnderscore,
    /// `sse-configuration` of SSE ID1 (LEGACY-06).
    Sse,
    /// `risc-configuration`, as Google has it (SSF-60, LEGACY-16).
    Risc,
}

/// Where the well-known name stands in relation to the issuer's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// Between host and path, as RFC 8615 and SSF have it.
    Inserted,
    /// Behind the path, as older drafts and some products have it.
    Appended,
}

impl WellKnown {
    /// Every name.
    pub const ALL: [Self; 4] = [Self::Ssf, Self::SsfUnderscore, Self::Sse, Self::Risc];

    /// The name alone.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssf => "ssf-configuration",
            Self::SsfUnderscore => "ssf_configuration",
            Self::Sse => "sse-configuration",
            Self::Risc => "risc-configuration",
        }
    }

    /// The URL of an issuer's metadata under this name.
    pub fn url(self, issuer: &Issuer, placement: Placement) -> String {
        // One final slash is dropped before anything is inserted (SSF-43).
        let path = without_final_slash(issuer.path());
        let (origin, name) = (issuer.origin(), self.name());
        match placement {
            Placement::Inserted => format!("{origin}/.well-known/{name}{path}"),
            Placement::Appended => format!("{origin}{path}/.well-known/{name}"),
        }
    }
}

/// A request for metadata, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WellKnownPath {
    /// The path of the issuer whose metadata is asked for, without a final slash: empty, or `/tenant-a`.
    pub issuer_path: String,
    /// The name that was used.
    pub well_known: WellKnown,
    /// Where the name stood.
    pub placement: Placement,
}

/// Which issuer's metadata a request asks for, by the path of the request: the inverse of [`WellKnown::url`].
/// None, if the path is no well-known one.
///
/// ```
/// use secevent_ssf::metadata::{Placement, WellKnown, issuer_path_of};
///
/// let asked = issuer_path_of("/.well-known/ssf-configuration/tenant-a").unwrap();
/// assert_eq!((asked.issuer_path.as_str(), asked.placement), ("/tenant-a", Placement::Inserted));
/// let asked = issuer_path_of("/realms/a/.well-known/sse-configuration").unwrap();
/// assert_eq!((asked.issuer_path.as_str(), asked.well_known), ("/realms/a", WellKnown::Sse));
/// assert_eq!(issuer_path_of("/.well-known/ssf-configurations"), None);
/// ```
pub fn issuer_path_of(request_path: &str) -> Option<WellKnownPath> {
    let (before, after) = request_path.split_once("/.well-known/")?;
    let (name, path) = match after.find('/') {
        Some(slash) => after.split_at(slash),
        None => (after, ""),
    };
    let well_known = WellKnown::ALL.into_iter().find(|known| known.name() == name)?;
    let path = without_final_slash(path);
    let (issuer_path, placement) = match (before, path) {
        ("", path) => (path, Placement::Inserted),
        (before, "") => (before, Placement::Appended),
        _ => return None,
    };
    Some(WellKnownPath { issuer_path: issuer_path.to_owned(), well_known, placement })
}

fn without_final_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}
