//! A Security Event Token's content, proved to follow a profile.

use crate::claims::{Audience, Claims, Events};
use crate::event::Strictness;
use crate::{Identifier, Invalid, Profile, Subject, Timestamp, json, subject};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The content of a Security Event Token, proved by a [`Profile`].
///
/// A `Set` is either made ([`Claims::prove`], strict) or read ([`Set::read`], lenient). Its text never
/// changes: what was read is what is stored and passed on, byte for byte. Whether the token's signature is
/// good is another question, which `secevent-jose` answers.
///
/// ```
/// use secevent::caep::SessionRevoked;
/// use secevent::{Profile, Set};
///
/// let set = Set::read(br#"{
///     "iss": "https://idp.example.com/123456789/",
///     "jti": "24c63fb56e5a2d77a6b512616ca9fa24",
///     "iat": 1615305159,
///     "aud": "https://sp.example.com/caep",
///     "txn": "8675309",
///     "sub_id": { "format": "opaque", "id": "dMTlD|1600802906337.16|16008.16" },
///     "events": {
///         "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
///             "event_timestamp": 1615304991
///         }
///     }
/// }"#, Profile::Ssf)?;
/// let revoked = set.events().get::<SessionRevoked>()?.expect("that is the event in there");
/// assert_eq!(revoked.event_timestamp.unwrap().as_seconds(), 1_615_304_991);
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug)]
pub struct Set {
    claims: Claims,
    /// The subject as old peers place it: inside the payload.
    inner_subject: Option<Subject>,
    profile: Profile,
    json: Box<str>,
}

impl Set {
    /// Reads the payload of a token under `profile`. Payloads of events are not looked into: use
    /// [`crate::Vocabulary::check`] to refuse those that break their definition.
    pub fn read(json: &[u8], profile: Profile) -> Result<Self, Invalid> {
        let json = json::check(json, json::Limits::TOKEN)?;
        let claims = match profile {
            Profile::Legacy => Claims::of_checked(&with_standard_subject(json)?)?,
            _ => Claims::of_checked(json)?,
        };
        profile.check(&claims, Strictness::Lenient)?;
        let inner_subject = match profile {
            Profile::Ssf | Profile::Scim | Profile::Logout => None,
            _ if claims.sub_id.is_some() => None,
            Profile::Legacy => inner_subject(&claims)?,
            Profile::Rfc8417 | Profile::Plain => inner_subject(&claims).unwrap_or_default(),
        };
        Ok(Self { claims, inner_subject, profile, json: json.into() })
    }

    pub(crate) fn proved(claims: Claims, profile: Profile) -> Result<Self, Invalid> {
        let json = serde_json::to_string(&claims).expect("claims are strings, numbers and JSON text");
        // The JSON text in the claims is the caller's: what no reader takes is not written either.
        json::check(json.as_bytes(), json::Limits::TOKEN)?;
        Ok(Self { claims, inner_subject: None, profile, json: json.into_boxed_str() })
    }

    /// The claims as JSON text: the payload of the token.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// The profile that this SET was proved by.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// All claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Who publishes the SET.
    pub fn iss(&self) -> &str {
        self.claims.iss.as_deref().expect("every profile asks for `iss`")
    }

    /// The SET's own identifier.
    pub fn jti(&self) -> &str {
        self.claims.jti.as_deref().expect("every profile asks for `jti`")
    }

    /// When the SET was made.
    pub fn iat(&self) -> Timestamp {
        self.claims.iat.expect("every profile asks for `iat`")
    }

    /// For whom it is meant.
    pub fn aud(&self) -> Option<&Audience> {
        self.claims.aud.as_ref()
    }

    /// What happened.
    pub fn events(&self) -> &Events {
        &self.claims.events
    }

    /// When the event happened: `toe`, or else the payload's own `event_timestamp`. Unknown if neither is
    /// there: `iat` only tells when the SET was made (RFC 8417 section 2.2).
    pub fn event_time(&self) -> Option<Timestamp> {
        let stamp = |payload: &str| {
            let payload: Value = serde_json::from_str(payload).ok()?;
            serde_json::from_value(payload.get("event_timestamp")?.clone()).ok()
        };
        self.claims.toe.or_else(|| self.events().iter().find_map(|(_, payload)| stamp(payload)))
    }

    /// Who the event is about: `sub_id`; or, if that is missing or in a format that is not known here, what
    /// `iss` and `sub` name. The two are never combined (RFC 9493 section 4.1). Outside SSF a subject inside
    /// the payload, where it stood before `sub_id` came, is found too.
    pub fn subject(&self) -> Option<Cow<'_, Subject>> {
        let by_sub = || {
            let sub = self.claims.sub.as_deref().filter(|sub| !sub.is_empty())?;
            Subject::iss_sub(self.iss(), sub).ok().map(Cow::Owned)
        };
        match self.claims.sub_id.as_ref().or(self.inner_subject.as_ref()) {
            Some(unknown @ Subject::Simple(Identifier::Other(_))) => {
                by_sub().or(Some(Cow::Borrowed(unknown)))
            }
            Some(subject) => Some(Cow::Borrowed(subject)),
            None => by_sub(),
        }
    }
}

/// The claims of an old peer, with a `sub_id` in the shape of RFC 9493. All else keeps its bytes.
fn with_standard_subject(json: &str) -> Result<Cow<'_, str>, Invalid> {
    let Ok(mut claims) = serde_json::from_str::<BTreeMap<Cow<'_, str>, Cow<'_, RawValue>>>(json) else {
        return Ok(Cow::Borrowed(json));
    };
    let Some(raw) = claims.get_mut("sub_id").filter(|raw| raw.get().starts_with('{')) else {
        return Ok(Cow::Borrowed(json));
    };
    let subject = serde_json::from_str(raw.get()).map_err(|error| json::syntax(&error))?;
    let standard = RawValue::from_string(subject::modernised(subject).to_string()).expect("it is JSON");
    *raw = Cow::Owned(standard);
    Ok(Cow::Owned(serde_json::to_string(&claims).expect("it was JSON")))
}

/// The subject inside the payload, where it stood before `sub_id` (SSE ID1, early RISC, OAuth events draft).
fn inner_subject(claims: &Claims) -> Result<Option<Subject>, Invalid> {
    for (uri, payload) in claims.events.iter() {
        let payload: Value = serde_json::from_str(payload).map_err(|error| json::syntax(&error))?;
        if let Some(subject @ Value::Object(_)) = payload.get("subject") {
            let within = |error: Invalid| error.within("subject").within(uri).within("events");
            return Subject::from_legacy_value(subject.clone()).map(Some).map_err(within);
        }
    }
    Ok(None)
}
