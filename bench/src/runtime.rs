//! The runtime under each tool.

use std::io;
use tokio::runtime::{Builder, Runtime};

/// A runtime with this many worker threads; with one, everything runs on the calling thread.
pub fn with_threads(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads <= 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}
