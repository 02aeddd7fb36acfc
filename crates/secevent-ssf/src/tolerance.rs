//! What is forgiven in the messages of one peer.

/// What is forgiven in the messages of one peer. By default, nothing (LEGACY-27).
///
/// ```
/// use secevent_ssf::{Status, Tolerance, UpdateStatus};
///
/// // Before SSF 1.0 a receiver had one stream, and no message named it.
/// let body = br#"{"status":"paused"}"#;
/// assert!(UpdateStatus::read(body, Tolerance::NONE).is_err());
/// let legacy = Tolerance { legacy: true, ..Tolerance::NONE };
/// assert!(UpdateStatus::read(body, legacy)?.stream_id.is_implicit());
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// Take the forms of SSE ID1 and RISC too: delivery methods named by URL, `delivery_method` and `url` as
    /// member names, subjects as they were before RFC 9493, messages that name no stream.
    pub legacy: bool,
    /// Take `http` URLs too: for development on loopback, where no TLS is at hand.
    pub plain_http: bool,
}

impl Tolerance {
    /// The messages of SSF 1.0 and nothing else.
    pub const NONE: Self = Self { legacy: false, plain_http: false };
}
