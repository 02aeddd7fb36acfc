//! The `secevent` command through its front door: the real binary with arguments, files and standard input.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands, helpers included")]

mod admin;
mod client;
mod config;
mod demo;
mod doctor;
mod foreign;
mod hostile;
mod key;
mod listeners;
mod misuse;
mod program;
mod secrets;
mod send_events;
mod serve;
mod set;
mod sources;
mod story;
mod stream;
mod streams;
mod tls;
