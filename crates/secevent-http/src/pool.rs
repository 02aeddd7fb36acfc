//! The connections: how many there may be, who gets one next, and which are kept.
//!
//! Two promises, each kept by a semaphore whose permit goes with the socket itself until it is closed: no more than
//! `connections_per_host_max` connections to one host, and no more than `connections_max` in all. A request takes a
//! *turn* at its host first; as there are as many turns as connections, whoever has a turn finds an idle
//! connection or may open one. When all connections of the process are taken, the one that has been idle the
//! longest makes room, so that hosts that were visited a moment ago do not keep others waiting.
//!
//! hyper-util's pooling client promises neither, which is why this is here and not there.

use crate::address_guard::AddressGuard;
use crate::connector::{Connector, Socket};
use crate::destination::Destination;
use crate::inflow::{Allowance, Inflow, answer_bytes_max};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use secevent_ssf::TransportError;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

pub(crate) type Body = Full<Bytes>;

pub(crate) struct Limits {
    pub(crate) connections_per_host_max: usize,
    pub(crate) streams_per_connection_max: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) response_head_bytes_max: u32,
    pub(crate) response_headers_max: usize,
}

pub(crate) struct Pool {
    connector: Connector,
    limits: Limits,
    room: Arc<Room>,
    opened: AtomicU64,
    state: Mutex<State>,
}

/// Room for so many connections in all. Pools share it that are for the same process and show different certificates.
pub(crate) struct Room {
    connections_max: usize,
    open: Arc<Semaphore>,
    /// How many wait for a connection to be closed anywhere.
    waiting: AtomicUsize,
    pools: Mutex<Vec<Weak<Pool>>>,
}

#[derive(Default)]
struct State {
    hosts: HashMap<Arc<Destination>, Host>,
    sweeping: bool,
}

/// What is known about a destination while it has connections or requests.
struct Host {
    users: usize,
    gates: Arc<Gates>,
    speaks: Option<Version>,
    /// The longest idle first.
    idle: VecDeque<(Instant, One)>,
    shared: Option<Shared>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// A connection for one request at a time.
struct One {
    sender: http1::SendRequest<Body>,
    allowance: Allowance,
    driver: AbortHandle,
}

/// A connection for many requests at a time.
struct Shared {
    number: u64,
    sender: http2::SendRequest<Body>,
    allowance: Allowance,
    streams: usize,
    since: Instant,
}

struct Gates {
    turns: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    open: Arc<Semaphore>,
    open_max: usize,
    /// Held by whoever opens the first connection, while it is not known yet whether one will do.
    first: tokio::sync::Mutex<Option<TransportError>>,
    firsts_ended: AtomicU64,
}

enum Opened {
    One(One),
    Shared,
}

impl Pool {
    pub(crate) fn new(connector: Connector, limits: Limits, room: Arc<Room>) -> Arc<Self> {
        let (opened, state) = (AtomicU64::new(0), Mutex::default());
        let pool = Arc::new(Self { connector, limits, room, opened, state });
        pool.room.pools().push(Arc::downgrade(&pool));
        pool
    }

    /// A connection to `destination`, idle, shared or new, as soon as the limits allow. One that is opened is opened on
    /// behalf of `client`.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        destination: &Arc<Destination>,
        client: Option<&str>,
    ) -> Result<Lease, TransportError> {
        let (user, gates) = self.enter(destination);
        for _ in 0..OPENINGS_MAX {
            if self.shared(destination).is_some() {
                let permit = acquire(&gates.streams).await;
                // Waiting may have taken long enough for the connection to be gone.
                if let Some((number, sender, allowance)) = self.join(destination) {
                    let lease = SharedLease { sender, allowance, number, user, _permit: permit };
                    return Ok(Lease::Shared(lease));
                }
            }
            let turn = acquire(&gates.turns).await;
            if self.shared(destination).is_some() {
                continue;
            }
            let (one, reused) = match self.take_idle(destination) {
                Some(one) => (one, true),
                None => match Box::pin(self.open(destination, client, &gates)).await? {
                    Opened::One(one) => (one, false),
                    Opened::Shared => continue,
                },
            };
            return Ok(Lease::One(OneLease { one: Some(one), reused, user, turn: Some(turn) }));
        }
        Err(TransportError::Unreachable(format!(
            "{destination}: connections are closed as soon as they are open"
        )))
    }

    pub(crate) fn guard(&self) -> &AddressGuard {
        &self.connector.guard
    }

    pub(crate) fn counts(&self) -> ConnectionCounts {
        let state = self.state();
        let unused =
            |host: &Host| usize::from(host.shared.as_ref().is_some_and(|shared| shared.streams == 0));
        ConnectionCounts {
            open: self.room.connections_max - self.room.open.available_permits(),
            idle: state.hosts.values().map(|host| host.idle.len() + unused(host)).sum(),
            hosts: state.hosts.len(),
            opened_total: self.opened.load(Ordering::Relaxed),
        }
    }

    /// Opens a connection. As long as it is not known which version of HTTP a host speaks, one request at a time
    /// tries, since one connection over HTTP/2 does for all of them; the others share its failure as well.
    async fn open(
        self: &Arc<Self>,
        destination: &Arc<Destination>,
        client: Option<&str>,
        gates: &Gates,
    ) -> Result<Opened, TransportError> {
        if !destination.https || self.speaks(destination) == Some(Version::Http1) {
            return self.connect(destination, client, gates).await;
        }
        let ended = gates.firsts_ended.load(Ordering::Acquire);
        let mut failure = gates.first.lock().await;
        if self.shared(destination).is_some() {
            return Ok(Opened::Shared);
        }
        if self.speaks(destination) == Some(Version::Http1) {
            drop(failure);
            return self.connect(destination, client, gates).await;
        }
        if let (true, Some(failure)) = (gates.firsts_ended.load(Ordering::Acquire) != ended, failure.as_ref())
        {
            return Err(failure.clone());
        }
        let opened = self.connect(destination, client, gates).await;
        *failure = opened.as_ref().err().cloned();
        gates.firsts_ended.fetch_add(1, Ordering::Release);
        opened
    }

    async fn connect(
        self: &Arc<Self>,
        destination: &Arc<Destination>,
        client: Option<&str>,
        gates: &Gates,
    ) -> Result<Opened, TransportError> {
        // Whoever has a turn has a connection to open: the permit is there, or comes with a socket that is closing.
        let of_host = acquire(&gates.open).await;
        let of_all = self.room.take().await;
        let mut socket = self.connector.connect(destination, client).await?;
        socket.hold(of_host);
        socket.hold(of_all);
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let opened = match socket.speaks_http2() {
            true => self.share(destination, number, socket).await,
            false => self.speak_http1(destination, socket).await,
        };
        self.start_sweeping();
        opened.map_err(|error| TransportError::Unreachable(format!("{destination}: {error}")))
    }

    async fn speak_http1(&self, destination: &Destination, mut socket: Socket) -> hyper::Result<Opened> {
        let (inflow, allowance) = Inflow::http1(self.limits.response_head_bytes_max);
        socket.count(inflow);
        let head_bytes_max = self.limits.response_head_bytes_max as usize;
        let (sender, connection) = http1::Builder::new()
            .max_headers(self.limits.response_headers_max)
            .max_header_size(head_bytes_max)
            .max_buf_size(head_bytes_max.max(HTTP1_BUFFER_BYTES_MIN))
            .handshake(TokioIo::new(socket))
            .await?;
        // Its end is told to the sender, who has a use for the reason.
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        self.learn(destination, Version::Http1);
        Ok(Opened::One(One { sender, allowance, driver }))
    }

    async fn share(
        &self,
        destination: &Destination,
        number: u64,
        mut socket: Socket,
    ) -> hyper::Result<Opened> {
        let Limits { response_head_bytes_max, streams_per_connection_max, .. } = self.limits;
        let (inflow, allowance) = Inflow::http2(response_head_bytes_max, streams_per_connection_max);
        socket.count(inflow);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            // A connection whose other end has vanished is found out while somebody waits for it, not before.
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_AFTER)
            .keep_alive_while_idle(false)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(16 * WINDOW_BYTES)
            .max_header_list_size(response_head_bytes_max)
            .handshake(TokioIo::new(socket))
            .await?;
        tokio::spawn(async move { drop(connection.await) });
        self.learn(destination, Version::Http2);
        if let Some(host) = self.state().hosts.get_mut(destination) {
            host.shared = Some(Shared { number, sender, allowance, streams: 0, since: Instant::now() });
        }
        Ok(Opened::Shared)
    }

    /// Since when the connection has been idle that has been idle the longest.
    fn idle_since(&self) -> Option<Instant> {
        self.state().hosts.values().filter_map(Host::unused_since).min()
    }

    fn close_longest_idle(&self) {
        let mut state = self.state();
        let longest =
            state.hosts.iter().filter_map(|(key, host)| Some((host.unused_since()?, Arc::clone(key))));
        let Some((since, key)) = longest.min_by_key(|(since, _)| *since) else { return };
        let Some(host) = state.hosts.get_mut(&key) else { return };
        match host.idle.front() {
            Some((idle_since, _)) if *idle_since == since => drop(host.idle.pop_front()),
            _ => host.shared = None,
        }
        state.forget_if_unused(&key);
    }

    fn enter(self: &Arc<Self>, destination: &Arc<Destination>) -> (User, Arc<Gates>) {
        let mut state = self.state();
        let host = state.hosts.entry(Arc::clone(destination)).or_insert_with(|| Host::new(&self.limits));
        host.users += 1;
        (User { pool: Arc::clone(self), destination: Arc::clone(destination) }, Arc::clone(&host.gates))
    }

    fn leave(&self, destination: &Destination) {
        let mut state = self.state();
        if let Some(host) = state.hosts.get_mut(destination) {
            host.users -= 1;
        }
        state.forget_if_unused(destination);
    }

    fn speaks(&self, destination: &Destination) -> Option<Version> {
        self.state().hosts.get(destination)?.speaks
    }

    fn learn(&self, destination: &Destination, version: Version) {
        if let Some(host) = self.state().hosts.get_mut(destination) {
            host.speaks = Some(version);
        }
    }

    /// The number of the shared connection that takes requests, if there is one.
    fn shared(&self, destination: &Destination) -> Option<u64> {
        let mut state = self.state();
        let host = state.hosts.get_mut(destination)?;
        if host.shared.as_ref().is_some_and(|shared| shared.sender.is_closed()) {
            host.shared = None;
        }
        host.shared.as_ref().map(|shared| shared.number)
    }

    fn join(&self, destination: &Destination) -> Option<(u64, http2::SendRequest<Body>, Allowance)> {
        self.shared(destination)?;
        let mut state = self.state();
        let shared = state.hosts.get_mut(destination)?.shared.as_mut()?;
        shared.streams += 1;
        Some((shared.number, shared.sender.clone(), shared.allowance.clone()))
    }

    /// Takes no more requests on this shared connection. It is closed when those on their way have ended.
    fn retire(&self, destination: &Destination, number: u64) {
        if let Some(host) = self.state().hosts.get_mut(destination) {
            host.shared.take_if(|shared| shared.number == number);
        }
    }

    fn part(&self, destination: &Destination, number: u64) {
        let mut state = self.state();
        let Some(host) = state.hosts.get_mut(destination) else { return };
        let Some(shared) = host.shared.as_mut().filter(|shared| shared.number == number) else { return };
        shared.streams -= 1;
        shared.since = Instant::now();
        if shared.streams == 0 && self.room.is_wanted() {
            host.shared = None;
        }
    }

    /// The connection that became idle last: the one the other end has had the least time to close.
    fn take_idle(&self, destination: &Destination) -> Option<One> {
        let mut state = self.state();
        let host = state.hosts.get_mut(destination)?;
        std::iter::from_fn(|| host.idle.pop_back()).map(|(_, one)| one).find(|one| one.sender.is_ready())
    }

    fn give_back(&self, destination: &Destination, one: One) {
        if self.room.is_wanted() || !one.sender.is_ready() {
            return;
        }
        if let Some(host) = self.state().hosts.get_mut(destination) {
            host.idle.push_back((Instant::now(), one));
        }
    }

    /// Closes what nobody has used for a while, for as long as there is anything to watch.
    fn start_sweeping(self: &Arc<Self>) {
        if std::mem::replace(&mut self.state().sweeping, true) {
            return;
        }
        let pool = Arc::downgrade(self);
        let (every, idle_timeout) = (self.limits.idle_timeout / 4, self.limits.idle_timeout);
        tokio::spawn(async move {
            loop {
                sleep(every).await;
                let Some(pool) = Weak::upgrade(&pool) else { return };
                let mut state = pool.state();
                state.sweep(idle_timeout);
                if state.hosts.is_empty() {
                    state.sweeping = false;
                    return;
                }
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the lock")
    }
}

impl Room {
    pub(crate) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self {
            connections_max,
            open: Arc::new(Semaphore::new(connections_max)),
            waiting: AtomicUsize::new(0),
            pools: Mutex::default(),
        })
    }

    /// A permit for one more connection of the process, after closing an idle one if need be.
    async fn take(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() {
            return permit;
        }
        // From here on connections are closed instead of becoming idle.
        let _waiting = Waiting::new(&self.waiting);
        self.close_longest_idle();
        acquire(&self.open).await
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    fn close_longest_idle(&self) {
        let pools: Vec<Arc<Pool>> = self.pools().iter().filter_map(Weak::upgrade).collect();
        let longest = pools.iter().filter_map(|pool| Some((pool.idle_since()?, pool)));
        if let Some((_, pool)) = longest.min_by_key(|(since, _)| *since) {
            pool.close_longest_idle();
        }
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Pool>>> {
        self.pools.lock().expect("no code panics while it holds the lock")
    }
}

impl State {
    fn sweep(&mut self, idle_timeout: Duration) {
        let expired = |since: &Instant| since.elapsed() >= idle_timeout;
        for host in self.hosts.values_mut() {
            host.idle.retain(|(since, one)| !expired(since) && one.sender.is_ready());
            if host.shared.as_ref().is_some_and(|shared| shared.streams == 0 && expired(&shared.since)) {
                host.shared = None;
            }
        }
        self.hosts.retain(|_, host| !host.is_unused());
    }

    fn forget_if_unused(&mut self, destination: &Destination) {
        if self.hosts.get(destination).is_some_and(Host::is_unused) {
            self.hosts.remove(destination);
        }
    }
}

impl Host {
    fn new(limits: &Limits) -> Self {
        let gates = Gates {
            turns: Arc::new(Semaphore::new(limits.connections_per_host_max)),
            streams: Arc::new(Semaphore::new(limits.streams_per_connection_max)),
            open: Arc::new(Semaphore::new(limits.connections_per_host_max)),
            open_max: limits.connections_per_host_max,
            first: tokio::sync::Mutex::new(None),
            firsts_ended: AtomicU64::new(0),
        };
        Self { users: 0, gates: Arc::new(gates), speaks: None, idle: VecDeque::new(), shared: None }
    }

    /// Sockets that are still closing count: a host that is forgotten starts to count its connections anew.
    fn is_unused(&self) -> bool {
        let closed = self.gates.open.available_permits() == self.gates.open_max;
        self.users == 0 && self.idle.is_empty() && self.shared.is_none() && closed
    }

    fn unused_since(&self) -> Option<Instant> {
        let idle = self.idle.front().map(|(since, _)| *since);
        let shared = self.shared.as_ref().filter(|shared| shared.streams == 0).map(|shared| shared.since);
        idle.into_iter().chain(shared).min()
    }
}

/// A connection for one exchange. Dropped before [`finish`](Self::finish), it takes an HTTP/1.1 connection down with it:
/// nobody knows what is still to come on it.
pub(crate) enum Lease {
    One(OneLease),
    Shared(SharedLease),
}

pub(crate) struct OneLease {
    one: Option<One>,
    reused: bool,
    // The connection is given back before the turn is, and the turn before the host is forgotten.
    turn: Option<OwnedSemaphorePermit>,
    user: User,
}

pub(crate) struct SharedLease {
    sender: http2::SendRequest<Body>,
    allowance: Allowance,
    number: u64,
    _permit: OwnedSemaphorePermit,
    user: User,
}

impl Lease {
    /// Whether another request may have used the connection before, so that the other end may be closing it.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::One(lease) => lease.reused,
            Self::Shared(_) => true,
        }
    }

    pub(crate) fn speaks_http2(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Sends the request, whose answer's body may have so many bytes. An error that still has the request in it means
    /// that nothing of it was sent.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
        body_bytes_max: usize,
    ) -> Result<http::Response<hyper::body::Incoming>, hyper::client::conn::TrySendError<Request<Body>>> {
        match self {
            Self::One(lease) => {
                let one = lease.one.as_mut().expect("it is there until the lease ends");
                let head_bytes_max = lease.user.pool.limits.response_head_bytes_max;
                one.allowance.add(answer_bytes_max(body_bytes_max, head_bytes_max));
                one.sender.try_send_request(request).await
            }
            Self::Shared(lease) => {
                lease.allowance.add(lease.user.pool.limits.response_head_bytes_max.into());
                lease.sender.try_send_request(request).await
            }
        }
    }

    /// Ends a lease of a connection that is not to be used again.
    pub(crate) fn retire(self) {
        if let Self::Shared(lease) = &self {
            lease.user.pool.retire(&lease.user.destination, lease.number);
        }
    }

    /// Ends a lease whose answer has been read to its end: the connection may serve the next request.
    pub(crate) fn finish(self) {
        let Self::One(mut lease) = self else { return };
        let Some(mut one) = lease.one.take() else { return };
        if one.sender.is_ready() {
            return lease.user.pool.give_back(&lease.user.destination, one);
        }
        // The connection's own task has yet to notice that the answer is over. It takes longer when the answer
        // came before the request was sent in full, and such a connection is not worth waiting for.
        tokio::spawn(async move {
            match timeout(READY_WITHIN, one.sender.ready()).await {
                Ok(Ok(())) => lease.user.pool.give_back(&lease.user.destination, one),
                _ => one.driver.abort(),
            }
            drop(lease);
        });
    }
}

impl Drop for OneLease {
    fn drop(&mut self) {
        if let Some(one) = self.one.take() {
            one.driver.abort();
        }
        drop(self.turn.take());
    }
}

impl Drop for SharedLease {
    fn drop(&mut self) {
        self.user.pool.part(&self.user.destination, self.number);
    }
}

/// Keeps what is known about a destination while somebody is busy with it.
struct User {
    pool: Arc<Pool>,
    destination: Arc<Destination>,
}

impl Drop for User {
    fn drop(&mut self) {
        self.pool.leave(&self.destination);
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_owned().await.expect("it is never closed")
}

/// How many connections a client has. For metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open, or being opened, by whoever shares the bound.
    pub open: usize,
    /// Open and unused.
    pub idle: usize,
    /// Destinations with connections or requests.
    pub hosts: usize,
    /// Opened since the client was made. Requests beyond it reused one.
    pub opened_total: u64,
}

/// How often a lease may meet a connection that is closed at once before it gives up.
const OPENINGS_MAX: usize = 8;
/// hyper takes no smaller buffer.
const HTTP1_BUFFER_BYTES_MIN: usize = 8 * 1024;
const WINDOW_BYTES: u32 = 64 * 1024;
const PING_AFTER: Duration = Duration::from_secs(5);
const READY_WITHIN: Duration = Duration::from_secs(1);
