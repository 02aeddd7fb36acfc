//! The configuration of a stream, and the requests that create, update and replace it (SSF 1.0 section 8.1.1).
//!
//! The transmitter and the receiver each own some members: the receiver says what it wants
//! (`events_requested`, `description`, its side of `delivery`), the transmitter says what is. A request may
//! repeat the transmitter's members, but not change them: they are [`Supplied`], to be compared.

mod configuration;
mod id;
mod requests;

pub use configuration::{StreamConfiguration, Unreadable};
pub use id::StreamId;
pub use requests::{
    CreateStream, DESCRIPTION_CHARS_MAX, EVENT_CHARS_MAX, EVENTS_MAX, ReplaceStream, Supplied, UpdateStream,
};
