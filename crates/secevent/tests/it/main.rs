//! The public door of `secevent`, judged by the standards: one binary for all integration tests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod examples;
mod lint;
mod set;
mod subject;
mod vocabulary;

use secevent::Invalid;
use serde_json::Value;
use std::path::PathBuf;

/// A file of specs/, as JSON.
fn specs_json(name: &str) -> Value {
    let text = std::fs::read(specs(name)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn specs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../specs").join(name)
}

/// The requirement that was broken; fails if none was.
fn error_rule<T>(result: Result<T, Invalid>) -> &'static str {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error.rule(),
    }
}

/// The same object with this member.
fn with(mut object: Value, member: &str, value: Value) -> Value {
    object[member] = value;
    object
}

/// The same object without this member.
fn without(mut object: Value, member: &str) -> Value {
    object.as_object_mut().unwrap().remove(member);
    object
}
