//! The store's public door: the suite over the memory store, the group writer, identifiers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands, helpers included")]

mod group;
mod jti;
mod memory;
