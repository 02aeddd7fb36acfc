//! The messages, through the public door.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod delivery;
mod examples;
mod metadata;
mod peers;
mod poll;
mod push;
mod requests;
mod stream;
mod transport;

use secevent::Invalid;
use secevent_ssf::Tolerance;
use serde_json::Value;

const LEGACY: Tolerance = Tolerance { legacy: true, plain_http: false };

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Where a refusal points, and to which rule.
fn refused<T: std::fmt::Debug>(read: Result<T, Invalid>) -> (String, &'static str) {
    let breach = read.unwrap_err();
    (breach.member().to_owned(), breach.rule())
}
