//! Ends the process at a named place, as a crash would. For the crash tests alone, and built only for them.
//!
//! The crates tell where an event is on its way by `tracing` events with the target `secevent::step`.
//! `SECEVENT_KILL_AT=commit:7` means SIGKILL when the step `commit` is told for the seventh time.

use anyhow::Context as _;
use rustix::process::{Signal, getpid, kill_process};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The layer that `SECEVENT_KILL_AT` asks for, if it does. It sees the steps whatever `SECEVENT_LOG` says.
pub(crate) fn layer<S>() -> anyhow::Result<Option<impl Layer<S>>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Ok(wanted) = std::env::var("SECEVENT_KILL_AT") else { return Ok(None) };
    let kill = KillAt::read(&wanted).with_context(|| format!("SECEVENT_KILL_AT is {wanted:?}"))?;
    Ok(Some(kill.with_filter(Targets::new().with_target("secevent::step", Level::TRACE))))
}

/// The step, and how many more times it may be reached.
struct KillAt {
    step: String,
    left: AtomicU64,
}

impl KillAt {
    fn read(text: &str) -> anyhow::Result<Self> {
        let (step, times) = text.split_once(':').context("write a step and a number, such as commit:7")?;
        let times: u64 = times.parse().context("the number of times is no number")?;
        anyhow::ensure!(times > 0, "the times count from 1");
        Ok(Self { step: step.to_owned(), left: AtomicU64::new(times) })
    }
}

impl<S: Subscriber> Layer<S> for KillAt {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut found = IsStep { wanted: &self.step, found: false };
        event.record(&mut found);
        if found.found && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Nothing may happen behind this place: whatever comes of the call, this thread goes no further.
            let _ = kill_process(getpid(), Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}

struct IsStep<'a> {
    wanted: &'a str,
    found: bool,
}

impl Visit for IsStep<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.found |= field.name() == "step" && value == self.wanted;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_end_at_is_a_step_and_a_number() {
        let read = KillAt::read("poll-ack:12").unwrap();
        assert_eq!((read.step.as_str(), read.left.into_inner()), ("poll-ack", 12));
        for wrong in ["commit", "commit:", "commit:x", "commit:0", "commit:-1"] {
            assert!(KillAt::read(wrong).is_err(), "{wrong}");
        }
    }
}
