//! The log of `serve` and `demo`: to standard error, as much as `SECEVENT_LOG` says.
//!
//! Every value of a field, and every message, is escaped and cut here, whatever the code that logs it has done: text
//! of a peer can neither begin a line of its own nor act on a terminal.

use crate::output::Failure;
use secevent::escape_message;
use std::fmt;
use std::io::IsTerminal as _;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};

/// The environment variable that says what is logged.
const VARIABLE: &str = "SECEVENT_LOG";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// How much of one field is logged, in characters.
const FIELD_CHARS_MAX: usize = 2_000;

/// Starts the log. `default` counts where the environment says nothing.
pub(crate) fn start(default: &str) -> Result<(), Failure> {
    let wanted = match std::env::var(VARIABLE) {
        Ok(wanted) => wanted,
        Err(std::env::VarError::NotPresent) => String::new(),
        Err(error) => return Err(Failure::misuse(format!("{VARIABLE}: {error}"))),
    };
    let wanted = if wanted.trim().is_empty() { default } else { &wanted };
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).fmt_fields(fields());
    let log = registry().with(log.with_ansi(colours).with_target(false).with_filter(filter(wanted)?));
    #[cfg(feature = "kill-points")]
    let log = log.with(crate::kill::layer().map_err(|error| Failure::misuse(format!("{error:#}")))?);
    log.init();
    Ok(())
}

/// Reads a filter. A word that is no level would be the name of a part of the program, of which there is none, and
/// would switch the log off.
fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let wrong = |what: String| {
        Failure::misuse(format!("{VARIABLE}: {what}")).fix(format!(
            "use a level ({}), or parts of the program with a level each, such as secevent=debug,warn",
            LEVELS.join(", ")
        ))
    };
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let is_level = LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
        if !(is_level || word.contains(['=', '[']) || word.starts_with("secevent")) {
            return Err(wrong(format!("{word:?} is not a level")));
        }
    }
    EnvFilter::try_new(text).map_err(|error| wrong(format!("{text:?} is not a filter: {error}")))
}

/// How the fields of an event are written.
fn fields() -> impl for<'writer> FormatFields<'writer> + 'static {
    let write = |writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = format!("{value:?}");
        let value = escape_message(&value, FIELD_CHARS_MAX);
        match (field.name(), writer.has_ansi_escapes()) {
            ("message", _) => write!(writer, "{value}"),
            (name, false) => write!(writer, "{name}={value}"),
            (name, true) => write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{value}"),
        }
    };
    debug_fn(write).delimited(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    // finding: B9
    #[test]
    fn no_field_and_no_message_begins_a_line_or_acts_on_a_terminal() {
        let sink = Sink::default();
        let writer = sink.clone();
        let log = tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_target(false);
        let log = registry().with(log.fmt_fields(fields()).with_writer(move || writer.clone()));
        tracing::subscriber::with_default(log, || {
            let evil = "a\n2026-01-01T00:00:00Z  INFO all is well\u{1b}[2J\u{9b}\u{202e}\u{2028}\u{200b}";
            let long = "x".repeat(10_000);
            let error = io::Error::other(evil);
            tracing::warn!(reason = %evil, text = evil, shown = ?evil, "one: {evil}");
            tracing::warn!(%error, long, number = 7, "two");
            tracing::warn!(error = &error as &dyn std::error::Error, "three");
            tracing::warn_span!("span", %evil).in_scope(|| tracing::warn!("four"));
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text:?}");
        assert!(lines.iter().all(|line| line.starts_with(" WARN ") && line.len() < 3_000), "{text:?}");
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{2028}', '\u{200b}', '\r']), "{text:?}");
        assert!(lines[0].starts_with(r" WARN one: a\n2026"), "{text:?}");
        assert!(lines[1].ends_with("… number=7"), "{text:?}");
    }

    // finding: C12
    #[test]
    fn a_filter_with_a_slip_is_refused() {
        for good in [
            "info",
            "WARN",
            "off",
            "secevent=debug,warn",
            "secevent_receiver",
            "hyper=info, debug",
            "[x]=info",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for wrong in ["inof", "info,debgu", "secevent=debgu", "hyper"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}
