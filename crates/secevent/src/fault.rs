//! Whose fault a refused SET is, as the registry of SET error codes names it.

use std::fmt;
use std::str::FromStr;

/// The closed list of reasons for which a receiver refuses a SET ("Security Event Token Error Codes",
/// RFC 8935 section 2.4, and `invalid_state` of SSF 1.0 section 11).
///
/// ```
/// use secevent::Fault;
///
/// assert_eq!(Fault::InvalidKey.code(), "invalid_key");
/// assert_eq!("access_denied".parse(), Ok(Fault::AccessDenied));
/// assert!("brand_new".parse::<Fault>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The body is no SET, or its event breaks the event type's definition.
    InvalidRequest,
    /// A key that signed or encrypted the SET is invalid, expired, revoked or not acceptable.
    InvalidKey,
    /// The issuer is not valid for this recipient.
    InvalidIssuer,
    /// The audience does not name this recipient.
    InvalidAudience,
    /// The transmitter could not be authenticated.
    AuthenticationFailed,
    /// The transmitter is known and may not send this SET here.
    AccessDenied,
    /// The `state` of a verification event is not the one that was asked for.
    InvalidState,
}

/// A text that is none of the registered error codes. The registry grows, so this is no error of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a registered SET error code")]
pub struct UnknownFault;

impl Fault {
    /// Every fault, in the registry's order.
    pub const ALL: [Self; 7] = [
        Self::InvalidRequest,
        Self::InvalidKey,
        Self::InvalidIssuer,
        Self::InvalidAudience,
        Self::AuthenticationFailed,
        Self::AccessDenied,
        Self::InvalidState,
    ];

    /// The registered code: what stands in `err`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
            Self::AccessDenied => "access_denied",
            Self::InvalidState => "invalid_state",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(code: &str) -> Result<Self, UnknownFault> {
        Self::ALL.into_iter().find(|fault| fault.code() == code).ok_or(UnknownFault)
    }
}
