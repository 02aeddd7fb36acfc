//! How many guesses at the credentials of one client are judged (SEM-31).
//!
//! Whether a guess is answered with 429 must not depend on whether it is right, or the answer would be a judgement too.
//! So the decision is made before the secret is looked at, and only three things count: the name that a request comes
//! under, the address that it comes from, and whether that address has shown the client's credentials before.
//!
//! - Each address has a budget of failures of its own for each name. A flood from one address leaves the owner at
//!   another address its turn at once.
//! - Addresses that have not succeeded lately share a budget for the name, so that many addresses guess no faster.
//! - A request without budget waits a moment and tries again at random times. Few may wait, so that those who do get a
//!   turn; all others get 429 at once, and `Retry-After`. Among requests from the owner's own address (a shared proxy,
//!   say) it is chance who finds a place to wait: the owner comes in when a burst is over, and against a lasting flood
//!   after a number of tries.
//!
//! A success costs nothing: only failures use budgets up. Secrets that nobody could guess in time are exempt (see
//! `Clients::by_secret`): a right one passes whatever others do, and a wrong one takes its turn like all others.

use super::limits::{Level, Rate};
use rand::RngExt as _;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Failures under one name from one address.
pub(super) const EACH_PEER: Rate = Rate { per_second: 25, burst: 50 };
/// Failures under one name from all addresses together that have not succeeded lately.
pub(super) const ALL_PEERS: Rate = Rate { per_second: 50, burst: 100 };
/// Addresses that are remembered for each name, those that succeeded apart from the others.
const PEERS_MAX: usize = 16;
/// Requests that wait for their turn under one name.
///
/// Fewer than one address has turns in [`WAIT_MAX`]: who may wait gets its turn, even if all the others are guesses.
pub(super) const WAITING_MAX: usize = 24;
/// Requests that wait for their turn in sum.
const WAITING_IN_SUM_MAX: usize = 512;
/// How long a request waits for its turn.
const WAIT_MAX: Duration = Duration::from_millis(1_500);
/// The longest pause between two tries of a request that waits.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Where a request comes from. Whoever has an IPv6 address has 2^64 of them. None if no listener of ours took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin(Option<IpAddr>);

impl Origin {
    pub(crate) fn of(peer: Option<IpAddr>) -> Self {
        Self(peer.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 @ IpAddr::V4(_) => v4,
        }))
    }
}

/// The attempts under one name.
#[derive(Debug)]
pub(crate) struct Attempts {
    began: Instant,
    budgets: Mutex<Budgets>,
    waiting: AtomicUsize,
    failed: AtomicU64,
}

/// Requests of all names that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct WaitingInSum(AtomicUsize);

/// An attempt that may be judged. One whose outcome is not stated has cost its turn, as a failure does.
#[must_use]
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    origin: Origin,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            budgets: Mutex::default(),
            waiting: AtomicUsize::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

impl Attempts {
    /// Lets an attempt be judged, now or in a moment, or says when to come back.
    pub(crate) async fn admit(&self, origin: Origin, in_sum: &WaitingInSum) -> Result<Attempt<'_>, Duration> {
        let attempt = Attempt { attempts: self, origin };
        let taken = self.take(origin);
        if taken.is_ok() {
            return Ok(attempt);
        }
        let places = Place::take(&self.waiting, WAITING_MAX).zip(Place::take(&in_sum.0, WAITING_IN_SUM_MAX));
        let give_up_at = Instant::now() + WAIT_MAX;
        while places.is_some() && Instant::now() < give_up_at {
            let pause = rand::rng().random_range(Duration::from_millis(10)..PAUSE_MAX);
            sleep(pause).await;
            if self.take(origin).is_ok() {
                return Ok(attempt);
            }
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        taken.map(|()| attempt)
    }

    /// How many attempts failed or were not judged.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts one that failed.
    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self, origin: Origin) -> Result<(), Duration> {
        let now = self.began.elapsed();
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner).take(origin, now)
    }
}

impl Attempt<'_> {
    /// The credentials were right: the attempt costs nothing, and the address is remembered.
    pub(crate) fn succeeded(self) {
        self.end(true);
    }

    /// Nobody could say whether they are right: the attempt costs nothing.
    pub(crate) fn undecided(self) {
        self.end(false);
    }

    fn end(self, proven: bool) {
        let attempts = self.attempts;
        let now = attempts.began.elapsed();
        attempts.budgets.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.origin, proven, now);
    }
}

/// A place among those that wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let one_more = |waiting: usize| (waiting < max).then_some(waiting + 1);
        let taken = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The budgets of one name. Times are those since the process began to count.
#[derive(Debug, Default)]
struct Budgets {
    all: Level,
    peers: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    origin: Origin,
    level: Level,
    /// Whether it has shown the right credentials.
    proven: bool,
    seen: Duration,
}

impl Budgets {
    fn take(&mut self, origin: Origin, now: Duration) -> Result<(), Duration> {
        let nanos = nanos(now);
        let place = self.place_of(origin, now);
        let peer = &mut self.peers[place];
        peer.seen = now;
        if peer.proven {
            return peer.level.take(EACH_PEER, 1, nanos);
        }
        peer.level.take(EACH_PEER, 0, nanos)?;
        self.all.take(ALL_PEERS, 1, nanos)?;
        peer.level.take(EACH_PEER, 1, nanos)
    }

    fn give_back(&mut self, origin: Origin, proven: bool, now: Duration) {
        let place = self.place_of(origin, now);
        let peer = &mut self.peers[place];
        peer.level.give_back(EACH_PEER);
        if !peer.proven {
            self.all.give_back(ALL_PEERS);
        }
        if proven && !peer.proven {
            peer.proven = true;
            self.make_room(true);
        }
    }

    fn place_of(&mut self, origin: Origin, now: Duration) -> usize {
        if let Some(place) = self.peers.iter().position(|peer| peer.origin == origin) {
            return place;
        }
        self.peers.push(Peer { origin, level: Level::default(), proven: false, seen: now });
        self.make_room(false);
        self.peers.iter().position(|peer| peer.origin == origin).expect("the latest one stays")
    }

    /// Forgets who has not been seen for longest. Its budget is full again when it comes back; the common one is not.
    fn make_room(&mut self, proven: bool) {
        let kind: BTreeSet<_> = self
            .peers
            .iter()
            .filter(|peer| peer.proven == proven)
            .map(|peer| (peer.seen, peer.origin))
            .collect();
        if let Some((_, oldest)) = kind.first().filter(|_| kind.len() > PEERS_MAX) {
            let oldest = *oldest;
            self.peers.retain(|peer| peer.origin != oldest);
        }
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Origin {
        Origin::of(Some(address.parse().unwrap()))
    }

    fn taken(budgets: &mut Budgets, origin: Origin, now: Duration) -> usize {
        (0..1_000).take_while(|_| budgets.take(origin, now).is_ok()).count()
    }

    // finding: B8
    #[test]
    fn a_flood_leaves_others_their_turn() {
        let mut budgets = Budgets::default();
        let (flood, other) = (from("192.0.2.1"), from("192.0.2.2"));
        assert_eq!(taken(&mut budgets, flood, Duration::ZERO), 50, "one address");
        assert_eq!(taken(&mut budgets, other, Duration::ZERO), 50, "another one");
        assert_eq!(taken(&mut budgets, flood, Duration::from_secs(1)), 25);
        assert_eq!(
            budgets.take(from("192.0.2.9"), Duration::from_secs(1)),
            Ok(()),
            "there is room for one more"
        );
    }

    // finding: B8
    #[test]
    fn many_addresses_guess_no_faster_than_two() {
        let mut budgets = Budgets::default();
        let owner = from("192.0.2.3");
        budgets.take(owner, Duration::ZERO).unwrap();
        budgets.give_back(owner, true, Duration::ZERO);
        let mut all = |now| -> usize {
            let many = (0..200).map(|host| from(&format!("198.51.100.{host}")));
            many.map(|origin| taken(&mut budgets, origin, now)).sum()
        };
        assert_eq!([all(Duration::ZERO), all(Duration::from_secs(1))], [100, 50]);
        assert!(budgets.peers.len() <= 2 * PEERS_MAX);
        assert_eq!(taken(&mut budgets, owner, Duration::from_secs(1)), 50, "a budget of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_bounded_and_leave() {
        let (attempts, in_sum) = (Attempts::default(), WaitingInSum::default());
        let origin = from("192.0.2.1");
        let waits = async || attempts.admit(origin, &in_sum).await.is_ok();
        while attempts.take(origin).is_ok() {}
        assert!(waits().await, "it waits for its turn");
        assert_eq!((attempts.waiting.load(Ordering::Relaxed), in_sum.0.load(Ordering::Relaxed)), (0, 0));
        attempts.waiting.store(WAITING_MAX, Ordering::Relaxed);
        while attempts.take(origin).is_ok() {}
        let began = Instant::now();
        assert!(!waits().await && began.elapsed().is_zero(), "there is no place to wait");
        let left = (attempts.waiting.load(Ordering::Relaxed), in_sum.0.load(Ordering::Relaxed));
        assert_eq!(left, (WAITING_MAX, 0));
    }

    #[test]
    fn a_success_costs_nothing() {
        let mut budgets = Budgets::default();
        for _ in 0..1_000 {
            budgets.take(from("192.0.2.1"), Duration::ZERO).unwrap();
            budgets.give_back(from("192.0.2.1"), true, Duration::ZERO);
        }
        assert_eq!(taken(&mut budgets, from("192.0.2.2"), Duration::ZERO), 50);
    }

    #[test]
    fn proven_addresses_are_bounded_too() {
        let mut budgets = Budgets::default();
        for host in 0..100 {
            let origin = from(&format!("192.0.2.{host}"));
            budgets.take(origin, Duration::from_millis(host)).unwrap();
            budgets.give_back(origin, true, Duration::from_millis(host));
        }
        assert_eq!(budgets.peers.iter().filter(|peer| peer.proven).count(), PEERS_MAX);
        assert!(budgets.peers.iter().any(|peer| peer.origin == from("192.0.2.99")), "the latest is there");
    }

    #[test]
    fn an_ipv6_network_is_one_origin() {
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:2"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
        assert_ne!(from("192.0.2.1"), from("192.0.2.2"));
    }
}
