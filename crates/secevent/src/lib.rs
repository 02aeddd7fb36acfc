//! What a security event is: Security Event Tokens, subject identifiers and the event vocabularies.

mod fault;
mod invalid;
mod time;

pub use fault::Fault;
pub use invalid::Invalid;
pub use time::Timestamp;
