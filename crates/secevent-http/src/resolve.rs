//! From a host name to its addresses.

use secevent_ssf::BoxFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Looks the addresses of a host name up. Its answers are not trusted: each goes through the address guard.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, in the order in which to try them.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The resolver of the operating system: its hosts file, its name servers, its order of addresses.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl SystemResolver {
    /// A resolver with a bounded number of threads.
    pub fn new() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let permit = Arc::clone(&self.lookups).acquire_owned().await.expect("it is never closed");
            let host = host.to_owned();
            // A look-up blocks a thread until the system gives up, even when nobody waits for it any more. The permit
            // goes with the thread, so that a dead name server costs a few threads and not all of them.
            let lookup = tokio::spawn(async move {
                let addresses = tokio::net::lookup_host((host, port)).await.map(Vec::from_iter);
                drop(permit);
                addresses
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}

/// How many look-ups run at once.
const LOOKUPS_MAX: usize = 32;
