//! The public door of `secevent-jose`.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

mod key_ring;
mod keys;
mod oracles;
mod peers;
mod set;
mod tampering;
mod vectors;
mod verify;
