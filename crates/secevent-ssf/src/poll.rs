//! Poll delivery: the receiver asks for SETs and acknowledges earlier ones (RFC 8936).

mod request;
mod response;

pub use request::{PollLimits, PollRequest, request};
pub use response::{PollResponse, response, write};
