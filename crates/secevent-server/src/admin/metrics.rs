//! The figures in the text format of Prometheus. Nothing in it names a person: streams are told by their identifiers,
//! and only while there are few (SEM-27).

use super::route::{Operation, Route};
use super::{Admin, MetricsAccess};
use crate::clients::FailedAuthentications;
use crate::listen::{ListenCounts, ListenFigures};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::HeaderValue;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use secevent::Timestamp;
use secevent_transmitter::{Figures, StreamFigures};
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// From so many streams on there are no figures of single ones.
const STREAMS_MAX: u64 = 200;

pub(crate) fn routes(access: MetricsAccess) -> Vec<Route> {
    let read = Operation::get("readMetrics", "The figures in the text format of Prometheus")
        .answers_text(StatusCode::OK, "The figures");
    let read = if access == MetricsAccess::Open { read.open() } else { read };
    vec![Route::new("/metrics", get(self::read), [read])]
}

/// `GET /metrics`
pub(crate) async fn read(State(admin): State<Arc<Admin>>) -> Response {
    let figures = admin.transmitter.figures();
    let mut text = Text::default();
    text.whole(&figures);
    text.failed_authentications(&admin.clients.failed_authentications());
    text.keys(admin.clients.failing_keys());
    text.listeners(&admin.config.listeners);
    if figures.streams < STREAMS_MAX {
        let streams = admin.streams().await;
        text.streams(&streams, admin.clock.now());
    }
    let mut response = text.0.into_response();
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Admin {
    /// The figures of each stream, with what the store knows as far as it answers: figures are wanted most when it
    /// does not.
    async fn streams(&self) -> Vec<StreamFigures> {
        let limit = usize::try_from(STREAMS_MAX).unwrap_or(usize::MAX);
        let mut streams = self.transmitter.all_stream_figures(None, limit);
        for figures in &mut streams {
            match self.transmitter.stream_figures(&figures.stream).await {
                Ok(Some(whole)) => *figures = whole,
                Ok(None) => {}
                Err(error) => {
                    warn!(%error, "Metrics lack what the store knows");
                    break;
                }
            }
        }
        streams
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn whole(&mut self, figures: &Figures) {
        let commits = &figures.commits;
        self.gauge(
            "secevent_clock_ahead_seconds",
            "How far the system clock is ahead of elapsed time, and not used for deletion.",
            figures.clock_ahead.as_secs(),
        );
        self.counter("secevent_events_accepted_total", "Events that were accepted.", figures.accepted);
        self.counter("secevent_sets_delivered_total", "SETs that receivers have.", figures.delivered);
        self.counter("secevent_sets_rejected_total", "SETs that receivers refused.", figures.rejected);
        self.counter("secevent_sets_abandoned_total", "SETs that were given up.", figures.abandoned);
        self.counter(
            "secevent_sets_dropped_total",
            "SETs that a stream is not owed because it held as much as it may.",
            figures.dropped,
        );
        self.counter(
            "secevent_sets_superseded_total",
            "Verification and status SETs that a newer one replaced before they were delivered.",
            figures.superseded,
        );
        self.counter(
            "secevent_sets_again_total",
            "SETs that were owed again because an operator asked for it.",
            figures.again,
        );
        self.counter("secevent_attempts_retried_total", "Attempts that were repeated.", figures.retries);
        self.gauge("secevent_pushes_in_flight", "Pushes that are on their way.", figures.in_flight);
        self.gauge("secevent_streams", "Streams.", figures.streams);
        self.gauge("secevent_streams_suspended", "Streams whose receiver is in trouble.", figures.suspended);
        self.gauge("secevent_deliveries_pending", "Deliveries that are not settled.", figures.pending);
        self.counter(
            "secevent_commit_groups_total",
            "Groups of changes that the store committed.",
            commits.groups,
        );
        self.counter("secevent_commit_calls_total", "Changes in committed groups.", commits.calls);
        self.counter(
            "secevent_commit_seconds_total",
            "Time that the store took to commit.",
            commits.time.as_secs_f64(),
        );
        self.counter("secevent_commit_failed_total", "Groups that failed as a whole.", commits.failed);
        self.counter("secevent_store_damaged_total", "Calls that found the store damaged.", commits.damaged);
        self.gauge(
            "secevent_store_log_pages",
            "Pages of 4 KiB in the write-ahead log. It grows while a backup or another program reads the store.",
            u64::try_from(commits.log_pages).unwrap_or(u64::MAX),
        );
    }

    /// Clients without a failure have no line, and only so many have one.
    fn failed_authentications(&mut self, failed: &FailedAuthentications) {
        const NAME: &str = "secevent_authentications_failed_total";
        self.head(NAME, "counter", "Requests for access tokens that did not show the client's credentials.");
        for (client, count) in &failed.by_client {
            let _ = writeln!(self.0, "{NAME}{{client=\"{}\"}} {count}", escaped(client));
        }
        for (client, count) in [("(other clients)", failed.others), ("(unknown)", failed.unknown)] {
            let _ = writeln!(self.0, "{NAME}{{client=\"{client}\"}} {count}");
        }
        self.counter(
            "secevent_access_tokens_refused_total",
            "Requests with an access token that is not valid.",
            failed.tokens,
        );
    }

    fn keys(&mut self, (failing, stale_for): (usize, Duration)) {
        self.gauge(
            "secevent_keys_failing",
            "Authorization servers and clients whose published keys could not be fetched at the last try.",
            failing,
        );
        self.gauge(
            "secevent_keys_stale_seconds",
            "How long the oldest of the keys that are used although a fetch failed are past their time.",
            stale_for.as_secs_f64(),
        );
    }

    fn listeners(&mut self, listeners: &[(&'static str, ListenCounts)]) {
        type Read = fn(&ListenFigures) -> u64;
        let each: [(&str, &str, &str, Read); 11] = [
            ("secevent_connections", "gauge", "Open connections.", |of| of.connections),
            (
                "secevent_connections_without_head",
                "gauge",
                "Open connections on which no complete request head has arrived.",
                |of| of.without_head,
            ),
            (
                "secevent_connections_evicted_total",
                "counter",
                "Connections closed to make room for new ones.",
                |of| of.evicted,
            ),
            (
                "secevent_connections_accept_failed_total",
                "counter",
                "Failures to accept a connection, mostly for lack of file descriptors.",
                |of| of.accept_failed,
            ),
            ("secevent_handshakes", "gauge", "TLS handshakes under way.", |of| of.handshakes),
            ("secevent_handshakes_failed_total", "counter", "TLS handshakes that failed.", |of| {
                of.handshakes_failed
            }),
            ("secevent_handshakes_timed_out_total", "counter", "TLS handshakes that took too long.", |of| {
                of.handshakes_timed_out
            }),
            ("secevent_request_body_bytes", "gauge", "Bytes of request bodies held in memory.", |of| {
                of.body_bytes
            }),
            (
                "secevent_request_bodies_refused_total",
                "counter",
                "Requests answered with 503 because too many bytes of request bodies were held.",
                |of| of.bodies_refused,
            ),
            (
                "secevent_answers_unread",
                "gauge",
                "Answers that wait for their peers to take more of them.",
                |of| of.answers_unread,
            ),
            (
                "secevent_answers_cut_total",
                "counter",
                "Connections closed because answers were not read.",
                |of| of.answers_cut,
            ),
        ];
        let figures: Vec<_> = listeners.iter().map(|(name, counts)| (name, counts.figures())).collect();
        for (name, kind, help, read) in each.into_iter().filter(|_| !figures.is_empty()) {
            self.head(name, kind, help);
            for (listener, figures) in &figures {
                let _ = writeln!(self.0, "{name}{{listener=\"{listener}\"}} {}", read(figures));
            }
        }
    }

    fn streams(&mut self, streams: &[StreamFigures], now: Timestamp) {
        type Read<'a> = &'a dyn Fn(&StreamFigures) -> Option<String>;
        let age = |figures: &StreamFigures| {
            let backlog = figures.backlog?;
            let age = backlog.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
            Some(age.to_string())
        };
        let each: [(&str, &str, &str, Read<'_>); 8] = [
            (
                "secevent_stream_pending",
                "gauge",
                "Deliveries of the stream that are not settled.",
                &|stream| Some(stream.pending.to_string()),
            ),
            (
                "secevent_stream_in_flight",
                "gauge",
                "Pushes of the stream that are on their way.",
                &|stream| Some(stream.in_flight.to_string()),
            ),
            ("secevent_stream_window", "gauge", "How many pushes of the stream may be.", &|stream| {
                Some(stream.window.to_string())
            }),
            (
                "secevent_stream_delivered_total",
                "counter",
                "SETs that the stream's receiver has.",
                &|stream| Some(stream.delivered.to_string()),
            ),
            (
                "secevent_stream_retries_total",
                "counter",
                "Attempts of the stream that were repeated.",
                &|stream| Some(stream.retries.to_string()),
            ),
            (
                "secevent_stream_suspended",
                "gauge",
                "Whether the stream's receiver is in trouble.",
                &|stream| Some(u8::from(stream.suspended.is_some()).to_string()),
            ),
            ("secevent_stream_oldest_pending_seconds", "gauge", "Age of the stream's oldest delivery.", &age),
            (
                "secevent_stream_dead",
                "gauge",
                "Refused and given up SETs of the stream that are kept.",
                &|stream| stream.backlog.map(|backlog| backlog.dead.to_string()),
            ),
        ];
        for (name, kind, help, read) in each {
            self.head(name, kind, help);
            for stream in streams {
                if let Some(value) = read(stream) {
                    let label = escaped(stream.stream.as_str());
                    let _ = writeln!(self.0, "{name}{{stream=\"{label}\"}} {value}");
                }
            }
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

/// The value of a label between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_stays_inside_its_quotes() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
