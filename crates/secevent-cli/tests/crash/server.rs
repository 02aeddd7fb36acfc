//! The real binary: started, watched until it ends, and ended by its id.

use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    /// A step and how often it is reached before the process ends itself there.
    pub(crate) kill_at: Option<(String, u64)>,
    /// The library that is loaded before all others, and the journal that it writes.
    pub(crate) power: Option<(PathBuf, PathBuf)>,
    /// A file that fills the disk as long as it is there; this needs the library too.
    pub(crate) full: Option<PathBuf>,
}

/// A `secevent serve` that may end at any moment.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens, once it has said so.
    pub(crate) address: SocketAddr,
    signals: mpsc::UnboundedSender<Signal>,
    ended: watch::Receiver<Option<ExitStatus>>,
    log: Log,
    watcher: JoinHandle<()>,
}

/// The lines that it has written, also after its end.
pub(crate) type Log = Arc<Lines>;

#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Mutex<Vec<String>>,
    more: Notify,
}

impl Lines {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap()
    }

    pub(crate) fn push(&self, line: String) {
        self.lock().push(line);
        self.more.notify_waiters();
    }

    /// The next line, from the moment of the call on.
    pub(crate) fn next(&self) -> impl Future<Output = ()> {
        let mut more = Box::pin(self.more.notified());
        more.as_mut().enable();
        more
    }
}

impl Server {
    /// Starts one on the files in `directory`. An error is how it ended before it was ready.
    pub(crate) async fn start(directory: &Path, start: &Start, log: &Log) -> Result<Self, ExitStatus> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secevent"));
        command.args(["serve", "--dev", "--config", "secevent.toml", "--listen", "127.0.0.1:0"]);
        command.args(["--admin-listen", "127.0.0.1:0"]);
        command.current_dir(directory).env("SECEVENT_LOG", "info,secevent::step=trace").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some((step, times)) = &start.kill_at {
            command.env("SECEVENT_KILL_AT", format!("{step}:{times}"));
        }
        if let Some((library, journal)) = &start.power {
            command.env("LD_PRELOAD", library).env("POWERCUT_JOURNAL", journal);
            command.env("POWERCUT_DIRECTORY", directory.canonicalize().unwrap());
        }
        if let Some(full) = &start.full {
            command.env("POWERCUT_FULL", full);
        }
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (signals, mut asked) = mpsc::unbounded_channel();
        let (tell_ended, mut ended) = watch::channel(None);
        let (tell_address, mut address) = watch::channel(None);
        let kept = Arc::clone(log);
        let watcher = tokio::spawn(async move {
            let reading = async {
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some((_, rest)) = line.split_once("The transmitter is ready listen=") {
                        tell_address.send_replace(rest.split(' ').next().and_then(|at| at.parse().ok()));
                    }
                    kept.push(line);
                }
            };
            let waiting = async {
                loop {
                    tokio::select! {
                        // The process is not waited for yet, so its id is still its own.
                        Some(signal) = asked.recv() => kill_process(pid, signal).unwrap(),
                        status = child.wait() => return status.unwrap(),
                    }
                }
            };
            // All that it wrote is there before anybody hears that it ended.
            let ((), status) = tokio::join!(reading, waiting);
            tell_ended.send_replace(Some(status));
        });
        let address = tokio::select! {
            Ok(address) = address.wait_for(Option::is_some) => address.unwrap(),
            status = ended.wait_for(Option::is_some) => return Err(status.unwrap().unwrap()),
        };
        Ok(Self { address, signals, ended, log: Arc::clone(log), watcher })
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        ended.wait_for(Option::is_some).await.unwrap().unwrap()
    }

    /// Ends it at once.
    pub(crate) async fn kill(self) {
        let _ = self.signals.send(Signal::KILL);
        self.ended().await;
    }

    /// Asks it to end, and sees to it that it does so in order.
    pub(crate) async fn stop(self) {
        let _ = self.signals.send(Signal::TERM);
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "it ends in order; its log:\n{}", tail(&self.log));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process ends with the handle that its watcher holds.
        self.watcher.abort();
    }
}

/// The end of a log, for whoever wants to know what went wrong.
pub(crate) fn tail(log: &Log) -> String {
    const LINES: usize = 40;
    let log = log.lock();
    log[log.len().saturating_sub(LINES)..].join("\n")
}
