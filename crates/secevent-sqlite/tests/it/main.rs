//! The store in a file: the suite that every store passes, and what only a file can go through.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands, helpers included")]

mod conformance;
mod durability;
mod erasure;
mod opening;
