//! The two events that SSF 1.0 itself defines: about a stream, not about a user.
//!
//! A transmitter may send them although they stand in none of the stream's lists of events. Their subject is
//! the stream, in the format `opaque`.
//!
//! ```
//! use secevent::ssf::Verification;
//!
//! let asked_for = Verification { state: Some("VGhpcyBpcyBhbiBleGFtcGxl".into()) };
//! assert_eq!(serde_json::to_string(&asked_for).unwrap(), r#"{"state":"VGhpcyBpcyBhbiBleGFtcGxl"}"#);
//! ```

mod stream_updated;
mod verification;

pub use stream_updated::{StreamStatus, StreamUpdated};
pub use verification::Verification;

use crate::event::Definition;

/// The event types of SSF, in the order of its text.
pub(crate) static DEFINITIONS: [Definition; 2] =
    [Definition::of::<Verification>(), Definition::of::<StreamUpdated>()];
