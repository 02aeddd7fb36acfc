//! What two parties of the OpenID Shared Signals Framework *say* to each other, exact to the letter.
//!
//! A *transmitter* knows what happened to users, devices and sessions; a *receiver* wants to be told. They
//! agree on a *stream*: which events, about whom, pushed or polled. This crate has every message of that
//! conversation as a Rust type: a reader that names the member and the requirement when a message is wrong,
//! and a writer of the exact JSON. The tokens that flow, Security Event Tokens (SETs), are in `secevent`.
//!
//! There is no network here, no clock and no runtime. [`Transport`] is the one door out, for other crates to
//! implement.
//!
//! # The messages
//!
//! | Who to whom | What | Type |
//! |---|---|---|
//! | anyone → transmitter | `GET` its [well-known URL](metadata::well_known_url) | answered by [`TransmitterMetadata`] |
//! | receiver → transmitter | create, update, replace a stream | [`CreateStream`], [`UpdateStream`], [`ReplaceStream`], each answered by [`StreamConfiguration`] |
//! | receiver → transmitter | read and set a stream's status | [`UpdateStatus`], answered by [`StreamStatus`] |
//! | receiver → transmitter | add and remove a subject | [`AddSubject`], [`RemoveSubject`] |
//! | receiver → transmitter | ask for a verification event | [`VerificationRequest`] |
//! | transmitter → receiver | push a SET (RFC 8935) | [`push::request`], answered by [`push::accepted`] or [`push::refusal`] |
//! | receiver → transmitter | poll for SETs (RFC 8936) | [`poll::PollRequest`], answered by [`poll::PollResponse`] |
//!
//! # An example
//!
//! ```
//! use secevent_ssf::{Change, Delivery, Method, StreamConfiguration, Tolerance, UpdateStream};
//!
//! // The receiver's side: call the stream something else, and leave the rest alone.
//! let mut update = UpdateStream::new("s1".parse()?);
//! update.description = Change::Set("Sessions of the web shop".to_owned());
//! let sent = update.to_exposed_json();
//! assert_eq!(sent, r#"{"stream_id":"s1","description":"Sessions of the web shop"}"#);
//!
//! // The transmitter's side: the same text, read.
//! let read = UpdateStream::read(sent.as_bytes(), Tolerance::NONE)?;
//! assert_eq!(read.stream_id.as_str(), "s1");
//! assert_eq!(read.events_requested, Change::Keep);
//!
//! // What is wrong is named, with the requirement that says so.
//! let error = UpdateStream::read(br#"{"description":"whose?"}"#, Tolerance::NONE).unwrap_err();
//! assert_eq!(error.to_string(), "`stream_id` is required and missing [SSF-102]");
//! # Ok::<(), secevent::Invalid>(())
//! ```
//!
//! # How messages are read
//!
//! - Bodies are bounded in size and depth, and one that names a member twice is refused ([`secevent::json`]).
//! - Unknown members are ignored; a member that is null counts as absent, except where a [`Change`] is read.
//! - Peers that speak older dialects are read with a [`Tolerance`], per peer; by default there is none.
//! - Credentials are [`Secret`]: they do not print, and no answer has a place for them.

mod change;
pub mod delivery;
mod endpoint;
mod members;
pub mod metadata;
pub mod poll;
pub mod push;
mod retry_after;
mod secret;
mod status;
mod stream;
mod subjects;
mod tolerance;
mod transport;
mod verification;

pub use change::Change;
pub use delivery::{DeliverBy, Delivery, DeliveryRequest, Method, Spelling};
pub use endpoint::Endpoint;
pub use metadata::{AuthorizationScheme, DefaultSubjects, SpecVersion, TransmitterMetadata, WellKnown};
pub use retry_after::retry_after;
pub use secret::Secret;
pub use status::{Status, StreamStatus, UpdateStatus};
pub use stream::{
    CreateStream, DESCRIPTION_CHARS_MAX, EVENT_CHARS_MAX, EVENTS_MAX, ReplaceStream, StreamConfiguration,
    StreamId, Supplied, Unreadable, UpdateStream,
};
pub use subjects::{AddSubject, RemoveSubject};
pub use tolerance::Tolerance;
pub use transport::{
    BoxFuture, HeadDecides, OnBehalfOf, ResponseLimit, ResponseTime, Transport, TransportError, UrlRefused,
};
pub use verification::VerificationRequest;
