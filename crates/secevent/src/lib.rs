//! What a security event *is*: Security Event Tokens (RFC 8417), subject identifiers (RFC 9493), and the
//! vocabularies of CAEP, RISC, SCIM, OAuth, SSF and back-channel logout, as Rust types.
//!
//! A user logs out, a laptop is stolen, a token is revoked. A *Security Event Token* is the statement that
//! says so: a JWT whose claims hold one event, who it is about, who says it and for whom. This crate makes,
//! reads, checks and explains the *content* of such tokens. It does no I/O, no signatures and reads no clock;
//! `secevent-jose` signs and verifies, the crates above deliver.
//!
//! # The nouns
//!
//! - [`Claims`] are what a token says. [`Set`] is claims that a [`Profile`] has proved: the rules of SSF, of
//!   SCIM events, of logout tokens and of plain RFC 8417 contradict each other, so a SET is always one of them.
//! - [`Subject`] is who an event is about: an e-mail address, a session, a device, or several of these at once.
//! - [`EventType`] is a kind of event: a typed payload and the URI that names it. [`caep`], [`risc`],
//!   [`scim`], [`oauth`], [`ssf`] and [`logout`] hold those of the standards; a [`Vocabulary`] holds those
//!   that a program knows, yours included.
//! - [`Invalid`] says what is wrong with somebody's bytes: the member, the requirement, the words.
//!   [`lint`] says everything that is wrong, and how to mend it.
//! - [`escape()`] makes foreign text safe to show: no claim forges a log line or acts on a terminal.
//!
//! # An example
//!
//! ```
//! use secevent::caep::{InitiatingEntity, SessionRevoked};
//! use secevent::{ByLanguage, Claims, Profile, Set, Subject, Timestamp};
//!
//! // The issuer's side: say that Alice's sessions have ended.
//! let now = Timestamp::from_seconds(1_900_000_000);
//! let mut claims = Claims::new("https://idp.example.com", "Zs3x1a", now);
//! claims.aud = Some("https://rp.example.com".into());
//! claims.txn = Some("8675309".to_owned());
//! claims.sub_id = Some(Subject::iss_sub("https://idp.example.com", "alice")?);
//! let set = claims
//!     .with_event(&SessionRevoked {
//!         initiating_entity: Some(InitiatingEntity::Admin),
//!         reason_admin: Some(ByLanguage::english("offboarding")),
//!         ..SessionRevoked::default()
//!     })?
//!     .prove(Profile::Ssf)?;
//!
//! // The recipient's side: the same text, read.
//! let read = Set::read(set.as_json().as_bytes(), Profile::Ssf)?;
//! if let Some(revoked) = read.events().get::<SessionRevoked>()? {
//!     assert_eq!(read.subject().unwrap().format(), "iss_sub");
//!     assert_eq!(revoked.reason_admin.unwrap().best("en"), Some("offboarding"));
//! }
//! # Ok::<(), secevent::Invalid>(())
//! ```

mod claims;
mod escape;
mod event;
mod fault;
mod invalid;
pub mod json;
mod language;
mod profile;
#[cfg(feature = "json-schema")]
mod schema;
mod set;
mod subject;
mod text_enum;
mod time;
mod uri;
mod vocabulary;

pub mod caep;
pub mod lint;
pub mod logout;
pub mod oauth;
pub mod quirks;
pub mod risc;
pub mod scim;
pub mod ssf;

pub use claims::{Audience, Claims, Events};
pub use escape::{Escaped, escape, escape_json, escape_message};
pub use event::{Definition, EventStatus, EventType, Member, Shape, Strictness, SubjectRule};
pub use fault::{Fault, UnknownFault};
pub use invalid::Invalid;
pub use language::ByLanguage;
pub use profile::{Presence, Profile, UnknownProfile};
#[cfg(feature = "json-schema")]
pub use schema::SchemaError;
pub use set::Set;
pub use subject::{Complex, Identifier, Other, SCOPE_MEMBERS, Scim, Subject, SubjectKey};
pub use time::{Clock, Span, Timestamp};
pub use uri::{Issuer, is_uri};
pub use vocabulary::{AlreadyKnown, Vocabulary};
