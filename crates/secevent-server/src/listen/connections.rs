//! The open connections of a listener, and which of them are closed when there is no room for a new one.
//!
//! A connection costs its peer nothing, so the peer must not decide how long it stays (SEM-31). Every connection has a
//! [`Rank`]: what it is worth to keep. At the limit the listener closes the one with the lowest rank that has waited
//! longest. A connection whose request brought an accepted token and is being worked on is never closed.

use super::ListenLimits;
use super::counts::ListenCounts;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// After this time without an eviction that helped, the listener tries again: connections become idle silently.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// How old a connection without an accepted token may be while a request on it is worked on, before it can be closed for
/// another. Such requests take milliseconds. It is the age of the connection, not of the request: a peer could ask again
/// and again.
const UNPROVEN_WORK_MS_MAX: u64 = 5_000;

/// How long making room ahead rests after it found nothing to close.
const LOOK_AGAIN_MS: u64 = 50;
/// For how long a new connection is not counted among those without a head, and one with an accepted token that was answered
/// not among the idle ones:
/// the handshake and the head of an honest client are on their way, or the answer to it.
const NEW_MS_MAX: u64 = 1_000;

/// The open connections of a listener.
pub(super) struct Connections {
    started: Instant,
    max: usize,
    /// Answers of all connections together that wait for their peers.
    unread_max: u64,
    /// How long an answer may wait for its peer, in milliseconds.
    unread_ms_max: u64,
    room: Arc<Semaphore>,
    open: Mutex<Open>,
    /// When [`Connections::keep_room`] found nothing to close.
    looked_in_vain: AtomicU64,
    counts: ListenCounts,
}

#[derive(Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    connection: Arc<Connection>,
    abort: Option<AbortHandle>,
}

/// One open connection.
pub(crate) struct Connection {
    started: Instant,
    counts: ListenCounts,
    network: IpAddr,
    /// When it was accepted, in milliseconds since the listener started.
    opened: u64,
    /// When it began to wait for what it waits for now, in the same milliseconds.
    since: AtomicU64,
    /// Whether a complete request head has arrived on it.
    had_head: AtomicBool,
    /// Whether a request on it brought an accepted token.
    proven: AtomicBool,
    /// Requests that are not answered completely.
    requests: AtomicU32,
    /// Of those, requests whose body has not arrived completely.
    bodies: AtomicU32,
    /// Of those, requests whose answer waits for the peer to take more of it, by the period in which it began to wait.
    unread: [AtomicU32; PERIODS],
    /// How long a period is, in milliseconds: an answer waits one to two of them at most.
    period: u64,
}

/// One more than an answer may wait, and one more: so nothing that just began is taken for old while time goes on.
const PERIODS: usize = 4;

/// Why a connection should be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// No complete request head arrived in time.
    WithoutHead,
    /// It was idle for too long.
    Idle,
    /// The peer has not taken any of an answer for too long.
    Unread,
}

/// What a connection is worth. The first one is closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// No complete head has arrived, and it is not new any more.
    WithoutHead,
    /// Its requests wait for their bodies, and none ever brought an accepted token.
    UnprovenBody,
    /// It is idle or does not take its answers, and no request on it ever brought an accepted token.
    UnprovenIdle,
    /// A request is worked on, none ever brought an accepted token, and the connection is not new.
    UnprovenWork,
    /// It is idle, or does not take its answers.
    Idle,
    /// It is new, and no complete head has arrived yet; or the last answer to a client with an accepted token may still be
    /// on its way.
    New,
    /// Its requests wait for their bodies.
    Body,
}

/// A connection that may be closed.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u64,
    rank: Rank,
    network: IpAddr,
    /// Since when it has waited, in milliseconds.
    since: u64,
}

/// An accepted connection in its listener. It leaves when this is dropped.
pub(super) struct Seat {
    connections: Arc<Connections>,
    id: u64,
    pub(super) connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(limits: &ListenLimits, counts: ListenCounts) -> Arc<Self> {
        let max =
            usize::try_from(limits.connections_max).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            started: Instant::now(),
            max,
            unread_max: limits.answers_max,
            unread_ms_max: milliseconds(limits.body_timeout).max(1),
            room: Arc::new(Semaphore::new(max)),
            open: Mutex::default(),
            looked_in_vain: AtomicU64::new(0),
            counts,
        })
    }

    /// Waits until there is room for one more, and makes room by closing others.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
                return permit;
            }
            self.evict(Rank::Body);
            let released = timeout(TRY_AGAIN, Arc::clone(&self.room).acquire_owned()).await;
            if let Ok(permit) = released {
                return permit.expect("the semaphore is never closed");
            }
        }
    }

    /// Takes a connection in.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, permit: OwnedSemaphorePermit) -> Seat {
        let now = self.now();
        let connection = Arc::new(Connection {
            started: self.started,
            counts: self.counts.clone(),
            network: network(peer),
            opened: now,
            since: AtomicU64::new(now),
            had_head: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            bodies: AtomicU32::new(0),
            unread: Default::default(),
            period: self.unread_ms_max,
        });
        let mut open = self.lock();
        let id = open.next;
        open.next += 1;
        open.entries.insert(id, Entry { connection: Arc::clone(&connection), abort: None });
        drop(open);
        self.counts.0.connections.fetch_add(1, Relaxed);
        self.counts.0.without_head.fetch_add(1, Relaxed);
        Seat { connections: Arc::clone(self), id, connection, _permit: permit }
    }

    /// Says which task serves a connection. One that has ended already is not there any more.
    pub(super) fn is_served_by(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.lock().entries.get_mut(&id) {
            entry.abort = Some(task);
        }
    }

    /// Makes room ahead while a crowd without heads fills the listener, so that the next one does not have to wait for it.
    pub(super) fn keep_room(&self) {
        let is_needed = self.room.available_permits() < self.several();
        if is_needed && self.now().saturating_sub(self.looked_in_vain.load(Relaxed)) >= LOOK_AGAIN_MS {
            let evicted = self.evict(Rank::WithoutHead);
            if evicted == 0 {
                self.looked_in_vain.store(self.now(), Relaxed);
            }
        }
    }

    /// Closes connections because there is no descriptor left.
    pub(super) fn accept_failed(&self) {
        self.counts.0.accept_failed.fetch_add(1, Relaxed);
        self.evict(Rank::Body);
    }

    /// Closes connections if too many answers wait for their peers: those with most of them, and first those that never
    /// brought an accepted token.
    pub(super) fn bound_answers(&self) {
        let unread = self.counts.0.unread.load(Relaxed);
        if unread <= self.unread_max {
            return;
        }
        // Some room ahead: or a flood would have all connections looked at for each answer.
        let mut too_many = unread - self.unread_max + self.unread_max / 64;
        let mut open = self.lock();
        let mut holders: Vec<(bool, u32, u64)> = open
            .entries
            .iter()
            .filter(|(_, entry)| entry.abort.is_some())
            .map(|(id, Entry { connection, .. })| (!connection.is_proven(), connection.unread(), *id))
            .filter(|(_, unread, _)| *unread > 0)
            .collect();
        holders.sort_unstable_by(|a, b| b.cmp(a));
        for (_, unread, id) in holders {
            if too_many == 0 {
                break;
            }
            too_many = too_many.saturating_sub(unread.into());
            if let Some(abort) = open.entries.remove(&id).and_then(|entry| entry.abort) {
                abort.abort();
                self.counts.0.answers_cut.fetch_add(1, Relaxed);
            }
        }
    }

    /// How many are closed at once: or a flood would have all of them looked at for each new connection.
    fn several(&self) -> usize {
        self.max / 64
    }

    /// Closes the connections that are worth least, if any of this rank or a lower one is there.
    fn evict(&self, highest: Rank) -> usize {
        let now = self.now();
        let mut open = self.lock();
        let candidates: Vec<Candidate> = open
            .entries
            .iter()
            .filter(|(_, entry)| entry.abort.is_some())
            .filter_map(|(id, entry)| entry.connection.candidate(*id, now))
            .filter(|candidate| candidate.rank <= highest)
            .collect();
        let evicted = victims(candidates, self.several());
        for id in &evicted {
            if let Some(abort) = open.entries.remove(id).and_then(|entry| entry.abort) {
                abort.abort();
            }
        }
        drop(open);
        self.counts.0.evicted.fetch_add(evicted.len() as u64, Relaxed);
        evicted.len()
    }

    fn now(&self) -> u64 {
        milliseconds_since(self.started)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.lock().entries.remove(&self.id);
        let counters = &self.connections.counts.0;
        counters.connections.fetch_sub(1, Relaxed);
        if !self.connection.had_head.load(Relaxed) {
            counters.without_head.fetch_sub(1, Relaxed);
        }
    }
}

impl Connection {
    /// Begins to wait for the first head, which is after the TLS handshake where there is one.
    pub(super) fn awaits_head(&self) {
        self.touch();
    }

    /// A request with a complete head has arrived.
    pub(super) fn begin_request(self: &Arc<Self>) -> UnderWay {
        if !self.had_head.swap(true, Relaxed) {
            self.counts.0.without_head.fetch_sub(1, Relaxed);
        }
        if self.requests.fetch_add(1, Relaxed) == 0 {
            self.touch();
        }
        UnderWay { connection: Arc::clone(self), unread_in: None }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Relaxed)
    }

    /// Answers that wait for the peer.
    fn unread(&self) -> u32 {
        self.unread.iter().map(|unread| unread.load(Relaxed)).sum()
    }

    /// Whether an answer has waited for the peer for at least a whole period.
    fn waits_too_long(&self) -> bool {
        let period = self.period_at(milliseconds_since(self.started));
        self.unread[(period + 2) % PERIODS].load(Relaxed) > 0
    }

    /// The place of the period of this moment in `unread`.
    fn period_at(&self, now: u64) -> usize {
        usize::try_from(now / self.period % PERIODS as u64).unwrap_or_default()
    }

    /// A request on it brought an accepted token.
    pub(super) fn prove(&self) {
        self.proven.store(true, Relaxed);
    }

    pub(super) fn begin_waiting_for_body(&self) {
        self.touch();
        self.bodies.fetch_add(1, Relaxed);
    }

    pub(super) fn end_waiting_for_body(&self) {
        self.bodies.fetch_sub(1, Relaxed);
    }

    /// Returns once it should be closed, and why.
    pub(super) async fn expired(&self, first_head_max: Duration, idle_max: Duration) -> Expired {
        let (first_head_max, idle_max) = (milliseconds(first_head_max), milliseconds(idle_max));
        loop {
            let (now, since) = (milliseconds_since(self.started), self.since.load(Relaxed));
            let (due, why) = match (self.had_head.load(Relaxed), self.requests.load(Relaxed)) {
                (false, _) => (since.saturating_add(first_head_max), Expired::WithoutHead),
                (true, 0) => (since.saturating_add(idle_max), Expired::Idle),
                (true, _) if self.waits_too_long() => (now, Expired::Unread),
                (true, _) => ((now / self.period + 1).saturating_mul(self.period), Expired::Unread),
            };
            if due <= now {
                return why;
            }
            tokio::time::sleep(Duration::from_millis(due - now)).await;
        }
    }

    fn touch(&self) {
        self.since.store(milliseconds_since(self.started), Relaxed);
    }

    fn candidate(&self, id: u64, now: u64) -> Option<Candidate> {
        let proven = self.proven.load(Relaxed);
        let (requests, bodies) = (self.requests.load(Relaxed), self.bodies.load(Relaxed));
        let since = self.since.load(Relaxed);
        // What the peer does not take is no work of ours.
        let at_work = requests.saturating_sub(self.unread());
        let (rank, since) = match (self.had_head.load(Relaxed), at_work, proven) {
            (false, ..) if now.saturating_sub(self.opened) < NEW_MS_MAX => (Rank::New, self.opened),
            (false, ..) => (Rank::WithoutHead, self.opened),
            (true, 0, true) if now.saturating_sub(since) < NEW_MS_MAX => (Rank::New, since),
            (true, 0, false) => (Rank::UnprovenIdle, since),
            (true, 0, true) => (Rank::Idle, since),
            // What a peer without a token does on its connection does not make it younger.
            (true, _, false) if bodies > 0 => (Rank::UnprovenBody, self.opened),
            (true, _, false) if now.saturating_sub(self.opened) > UNPROVEN_WORK_MS_MAX => {
                (Rank::UnprovenWork, self.opened)
            }
            (true, _, true) if bodies >= at_work => (Rank::Body, since),
            _ => return None,
        };
        Some(Candidate { id, rank, network: self.network, since })
    }
}

/// A request that is not answered completely.
pub(super) struct UnderWay {
    connection: Arc<Connection>,
    /// The period in which its answer began to wait for the peer, if it does.
    unread_in: Option<usize>,
}

impl UnderWay {
    /// Its answer, or more of it, waits for the peer from now on.
    pub(super) fn waits_for_peer(&mut self) {
        let connection = &self.connection;
        let now = milliseconds_since(connection.started);
        let period = connection.period_at(now);
        connection.unread[period].fetch_add(1, Relaxed);
        connection.counts.0.unread.fetch_add(1, Relaxed);
        connection.since.store(now, Relaxed);
        self.unread_in = Some(period);
    }

    /// The peer takes more of it.
    pub(super) fn is_taken(&mut self) {
        if let Some(period) = self.unread_in.take() {
            self.connection.unread[period].fetch_sub(1, Relaxed);
            self.connection.counts.0.unread.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.is_taken();
        if self.connection.requests.fetch_sub(1, Relaxed) == 1 {
            self.connection.touch();
        }
    }
}

/// Which connections to close: of those with the lowest rank, those of the network that has most of them, the longest
/// waiting first. At least one if there is any; more, up to `several`, only of those on which nothing was asked for yet.
fn victims(mut candidates: Vec<Candidate>, several: usize) -> Vec<u64> {
    let Some(rank) = candidates.iter().map(|candidate| candidate.rank).min() else { return Vec::new() };
    candidates.retain(|candidate| candidate.rank == rank);
    let mut sizes: HashMap<IpAddr, usize> = HashMap::new();
    for candidate in &candidates {
        *sizes.entry(candidate.network).or_default() += 1;
    }
    let most = sizes.values().copied().max().unwrap_or_default();
    candidates.retain(|candidate| sizes[&candidate.network] == most);
    candidates.sort_unstable_by_key(|candidate| (candidate.since, candidate.id));
    let count = match rank {
        Rank::WithoutHead | Rank::New | Rank::UnprovenBody => several.min(most.div_ceil(2)).max(1),
        Rank::UnprovenIdle | Rank::Idle | Rank::UnprovenWork | Rank::Body => 1,
    };
    candidates.into_iter().take(count).map(|candidate| candidate.id).collect()
}

/// The network that one party has: an address of IPv4, or 64 bits of IPv6.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn milliseconds_since(started: Instant) -> u64 {
    milliseconds(started.elapsed())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u64, rank: Rank, network: &str, since: u64) -> Candidate {
        Candidate { id, rank, network: network.parse().unwrap(), since }
    }

    /// Room for one connection.
    fn one() -> ListenLimits {
        ListenLimits { connections_max: 1, ..ListenLimits::default() }
    }

    // finding: B1
    #[test]
    fn the_connection_that_is_worth_least_goes_first() {
        use Rank::{Body, Idle, New, UnprovenBody, UnprovenIdle, UnprovenWork, WithoutHead};
        let [a, b] = ["192.0.2.1", "192.0.2.2"];
        let ranks = [Body, New, Idle, UnprovenWork, UnprovenIdle, UnprovenBody, WithoutHead];
        let mut all: Vec<Candidate> = (0..).zip(ranks).map(|(id, rank)| candidate(id, rank, a, id)).collect();
        for id in (0..7).rev() {
            assert_eq!(victims(all.clone(), 1), [id]);
            all.pop();
        }
        assert_eq!(victims(all, 1), Vec::<u64>::new());
        // The network that holds most pays, although another has waited longer.
        let held = vec![
            candidate(1, WithoutHead, b, 1),
            candidate(2, WithoutHead, a, 3),
            candidate(3, WithoutHead, a, 2),
        ];
        assert_eq!(victims(held.clone(), 0), [3]);
        assert_eq!(victims(held, 100), [3], "half of what a network holds at most");
        let crowd: Vec<_> = (0..100).map(|id| candidate(id, WithoutHead, a, 100 - id)).collect();
        assert_eq!(victims(crowd, 4), [99, 98, 97, 96], "the longest waiting first");
        let idle: Vec<_> = (0..100).map(|id| candidate(id, Idle, a, id)).collect();
        assert_eq!(victims(idle, 4), [0], "those that were used go one by one");
    }

    #[test]
    fn a_party_with_many_addresses_of_ipv6_is_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    // finding: B1
    #[tokio::test(start_paused = true)]
    async fn what_a_connection_does_decides_its_rank() {
        let connections = Connections::new(&one(), ListenCounts::default());
        let seat = connections.enter("192.0.2.1".parse().unwrap(), connections.room().await);
        let connection = &seat.connection;
        let rank = || connection.candidate(0, connections.now()).map(|candidate| candidate.rank);
        let figures =
            || (connections.counts.figures().connections, connections.counts.figures().without_head);
        assert_eq!((rank(), figures()), (Some(Rank::New), (1, 1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((rank(), figures()), (Some(Rank::WithoutHead), (1, 1)));
        let request = connection.begin_request();
        assert_eq!((rank(), figures()), (None, (1, 0)), "it is worked on");
        connection.begin_waiting_for_body();
        assert_eq!(rank(), Some(Rank::UnprovenBody));
        connection.end_waiting_for_body();
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(rank(), Some(Rank::UnprovenWork));
        drop(request);
        assert_eq!(rank(), Some(Rank::UnprovenIdle), "an answer that brought no token makes it no younger");
        let request = connection.begin_request();
        assert_eq!(rank(), Some(Rank::UnprovenWork), "nor does the next request");
        connection.prove();
        assert_eq!(rank(), None, "work for a client is never cut");
        connection.begin_waiting_for_body();
        assert_eq!(rank(), Some(Rank::Body));
        let other = connection.begin_request();
        assert_eq!(rank(), None, "another request of it is worked on");
        connection.end_waiting_for_body();
        drop((request, other));
        assert_eq!(rank(), Some(Rank::New), "the answer may be on its way");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rank(), Some(Rank::Idle));
        drop(seat);
        assert_eq!(figures(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_expires_without_a_head_and_when_it_is_idle() {
        let connections = Connections::new(&one(), ListenCounts::default());
        let seat = connections.enter("192.0.2.1".parse().unwrap(), connections.room().await);
        let (first_head_max, idle_max) = (Duration::from_secs(10), Duration::from_secs(75));
        let begun = Instant::now();
        assert_eq!(seat.connection.expired(first_head_max, idle_max).await, Expired::WithoutHead);
        assert_eq!(begun.elapsed().as_secs(), 10);
        let request = seat.connection.begin_request();
        let ends = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(request);
        };
        let (why, ()) = tokio::join!(seat.connection.expired(first_head_max, idle_max), ends);
        assert_eq!(why, Expired::Idle);
        assert_eq!(begun.elapsed().as_secs(), 10 + 100 + 75);
    }

    // finding: B1
    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_one_to_two_periods_for_its_peer() {
        for begins in [0, 1, 29, 30, 31, 59, 60, 100, 119] {
            let connections = Connections::new(&one(), ListenCounts::default());
            let seat = connections.enter("192.0.2.1".parse().unwrap(), connections.room().await);
            let unread = || connections.counts.figures().answers_unread;
            let mut request = seat.connection.begin_request();
            tokio::time::advance(Duration::from_secs(begins)).await;
            request.waits_for_peer();
            assert_eq!(unread(), 1);
            let rank = seat.connection.candidate(0, connections.now()).map(|candidate| candidate.rank);
            assert_eq!(rank, Some(Rank::UnprovenIdle), "what the peer does not take is no work");
            let taken = async {
                tokio::time::sleep(Duration::from_secs(29)).await;
                request.is_taken();
                assert_eq!(unread(), 0);
                tokio::time::sleep(Duration::from_secs(200)).await;
                request.waits_for_peer();
                Instant::now()
            };
            let expired = seat.connection.expired(Duration::from_secs(10), Duration::from_secs(75));
            let (why, waits_since) = tokio::join!(expired, taken);
            let waited = waits_since.elapsed().as_secs();
            assert!(why == Expired::Unread && (30..=60).contains(&waited), "{why:?} after {waited} s");
            drop(request);
            assert_eq!(unread(), 0);
        }
    }

    // finding: B3
    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_are_bounded_in_sum() {
        let limits = ListenLimits { answers_max: 10, ..ListenLimits::default() };
        let connections = Connections::new(&limits, ListenCounts::default());
        let mut seats = Vec::new();
        for answers in [1, 4, 6] {
            let seat = connections.enter("192.0.2.1".parse().unwrap(), connections.room().await);
            let task = tokio::spawn(std::future::pending::<()>());
            connections.is_served_by(seat.id(), task.abort_handle());
            let requests = (0..answers).map(|_| seat.connection.begin_request());
            let requests: Vec<UnderWay> = requests
                .map(|mut request| {
                    request.waits_for_peer();
                    request
                })
                .collect();
            seats.push((seat, task, requests));
        }
        // The one with most of them belongs to a client: the next one pays.
        seats[2].0.connection.prove();
        connections.bound_answers();
        tokio::task::yield_now().await;
        let cut: Vec<bool> = seats.iter().map(|(_, task, _)| task.is_finished()).collect();
        assert_eq!(cut, [false, true, false]);
        assert_eq!(connections.counts.figures().answers_cut, 1);
        drop(seats);
        assert_eq!(connections.counts.figures().answers_unread, 0);
    }
}
