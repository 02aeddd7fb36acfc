//! OpenID Connect Back-Channel Logout 1.0: the one event of a logout token.
//!
//! A logout token is a SET of another kind than those of SSF: it has `exp`, and it names whose sessions end
//! by `sub` and `sid` instead of `sub_id`.
//!
//! ```
//! use secevent::EventType;
//! use secevent::logout::BackchannelLogout;
//!
//! assert_eq!(serde_json::to_string(&BackchannelLogout {}).unwrap(), "{}");
//! assert!(BackchannelLogout::URI.starts_with("http://"), "not https (BCL-09)");
//! ```

use crate::event::{Definition, EventType, SubjectRule};
use serde::{Deserialize, Serialize};

/// The OpenID Provider asks the relying party to end sessions: the one that `sid` names, or all of `sub` if
/// there is no `sid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackchannelLogout {}

impl EventType for BackchannelLogout {
    const URI: &'static str = "http://schemas.openid.net/event/backchannel-logout";
    const NAME: &'static str = "logout:backchannel-logout";
    const ABOUT: &'static str = "The OpenID Provider asks the relying party to end sessions.";
    const SUBJECT: SubjectRule = SubjectRule::Claims;
}

/// How far the `exp` of a logout token is after its `iat` at most (Back-Channel Logout 1.0 section 4).
pub const LIFETIME_SECONDS_MAX: i64 = 120;

/// The event type of logout tokens.
pub(crate) static DEFINITIONS: [Definition; 1] = [Definition::of::<BackchannelLogout>()];
