//! From a host name to its addresses.

use secevent_ssf::BoxFuture;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Looks the addresses of a host name up. Its answers are not trusted: each goes through the address guard.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, in the order in which to try them.
    ///
    /// `client` is the one on behalf of whose stream this is done, if it is: it chose the name. An implementation
    /// bounds what the names of one client can cost.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        client: Option<&'a str>,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The resolver of the operating system: its hosts file, its name servers, its order of addresses.
///
/// At most 32 look-ups run at once, at most 4 of them for names of one client. One that takes longer than half a second
/// makes room for others and is counted apart: 64 of those run at most. A name that does not resolve delays other names
/// by that half second, until so many do not resolve.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    lookups: Arc<Lookups>,
}

impl SystemResolver {
    /// A resolver with a bounded number of threads.
    pub fn new() -> Self {
        Self { lookups: Arc::new(Lookups::new()) }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        client: Option<&'a str>,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        let lookup = async move { tokio::net::lookup_host((host, port)).await.map(Vec::from_iter) };
        Box::pin(self.lookups.run(client, lookup))
    }
}

/// How many look-ups run at once, in all and for each client.
#[derive(Debug)]
struct Lookups {
    all: Arc<Semaphore>,
    /// Those that take long.
    slow: Arc<Semaphore>,
    /// Of the clients that have one under way.
    clients: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Lookups {
    fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            slow: Arc::new(Semaphore::new(SLOW_LOOKUPS_MAX)),
            clients: Mutex::default(),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        client: Option<&str>,
        lookup: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        // The client's own bound first, so that nobody waits behind a client that is at its bound.
        let of_client = match client {
            Some(client) => Some(acquire(self.of_client(client)).await),
            None => None,
        };
        let of_all = acquire(Arc::clone(&self.all)).await;
        let slow = Arc::clone(&self.slow);
        // A look-up blocks a thread until the system gives up, even when nobody waits for it any more. The permits
        // go with the thread, so that a dead name server costs a few threads and not all of them.
        let lookup = tokio::spawn(async move {
            let mut lookup = pin!(lookup);
            let found = match timeout(SLOW_AFTER, lookup.as_mut()).await {
                Ok(found) => {
                    drop(of_all);
                    found
                }
                Err(_) => {
                    // Nobody else waits for it longer than this, as long as there are not too many of its kind.
                    let permit = slow.try_acquire_owned().unwrap_or(of_all);
                    let found = lookup.await;
                    drop(permit);
                    found
                }
            };
            drop(of_client);
            found
        });
        lookup.await.map_err(io::Error::other)?
    }

    fn of_client(&self, client: &str) -> Arc<Semaphore> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = clients.get(client).and_then(Weak::upgrade) {
            return semaphore;
        }
        clients.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(LOOKUPS_PER_CLIENT_MAX));
        clients.insert(client.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}

async fn acquire(semaphore: Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.acquire_owned().await.expect("it is never closed")
}

/// How many look-ups run at once.
const LOOKUPS_MAX: usize = 32;
/// How many for one client, slow ones among them.
const LOOKUPS_PER_CLIENT_MAX: usize = 4;
/// A look-up that takes longer is slow. Name servers answer within a fraction of this, or not at all.
const SLOW_AFTER: Duration = Duration::from_millis(500);
/// How many slow look-ups run beside the others: those of 16 clients. Each costs a thread that does nothing, and a file
/// descriptor.
const SLOW_LOOKUPS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;
    use tokio::time::Instant;

    // finding: B21
    #[tokio::test(start_paused = true)]
    async fn slow_names_of_one_client_leave_threads_to_others() {
        let lookups = Arc::new(Lookups::new());
        let answered = Arc::new(Notify::new());
        let slow = |client: &'static str| {
            let (lookups, answered) = (Arc::clone(&lookups), Arc::clone(&answered));
            tokio::spawn(async move {
                let lookup = async move {
                    answered.notified().await;
                    Ok(())
                };
                lookups.run(Some(client), lookup).await
            })
        };
        let waiting: Vec<_> = (0..100).map(|_| slow("slow")).collect();
        tokio::task::yield_now().await;
        let taken = || LOOKUPS_MAX - lookups.all.available_permits();
        assert_eq!(taken(), LOOKUPS_PER_CLIENT_MAX);
        // Others find threads, and we ourselves.
        assert_eq!(lookups.run(Some("quick"), async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(lookups.run(None, async { Ok(2) }).await.unwrap(), 2);
        // Nobody waits any more, and the threads are still taken: the system cannot be interrupted.
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        for waiting in waiting {
            assert!(waiting.await.unwrap_err().is_cancelled());
        }
        let late = slow("slow");
        tokio::task::yield_now().await;
        assert_eq!(taken(), LOOKUPS_PER_CLIENT_MAX);
        for _ in 0..=LOOKUPS_PER_CLIENT_MAX {
            answered.notify_one();
            tokio::task::yield_now().await;
        }
        late.await.unwrap().unwrap();
        assert_eq!(taken(), 0);
        lookups.run(Some("another"), async { Ok(()) }).await.unwrap();
        assert_eq!(lookups.clients.lock().unwrap().len(), 1, "what nobody uses is forgotten");
    }

    // finding: B21
    #[tokio::test(start_paused = true)]
    async fn dead_names_of_many_clients_delay_others_by_a_moment() {
        let lookups = Arc::new(Lookups::new());
        let dead = |client: usize| {
            let lookups = Arc::clone(&lookups);
            tokio::spawn(async move {
                lookups.run(Some(&format!("dead{client}")), std::future::pending::<io::Result<()>>()).await
            })
        };
        let began = Instant::now();
        let quick = async || lookups.run(Some("quick"), async { Ok(1) }).await.unwrap();
        for count in 1..=2 {
            for client in 0..8 * LOOKUPS_PER_CLIENT_MAX {
                drop(dead(8 * count + client / LOOKUPS_PER_CLIENT_MAX));
            }
            tokio::task::yield_now().await;
            assert_eq!(lookups.all.available_permits(), 0, "all are taken");
            assert_eq!(quick().await, 1);
            let bound = (SLOW_AFTER + Duration::from_millis(10)) * u32::try_from(count).unwrap();
            assert!(began.elapsed() < bound, "{:?}", began.elapsed());
        }
        // The threads are bounded all the same.
        (100..200).for_each(|client| drop(dead(client)));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((lookups.all.available_permits(), lookups.slow.available_permits()), (0, 0));
    }
}
