//! What the transmitter answers: SETs by their `jti`, in the order in which they are handed out.

use crate::members::{Members, missing};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use secevent::Invalid;
use secevent::json::Limits;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A transmitter's answer to a poll, as a receiver reads it.
///
/// ```
/// use secevent::json::Limits;
/// use secevent_ssf::poll::PollResponse;
///
/// let body = br#"{"sets":{"j2":"eyJ0eXAi.e30.c2ln","j1":"eyJ0eXAi.e30.c2ln"},"moreAvailable":true}"#;
/// let response = PollResponse::read(body, Limits::BODY)?;
/// assert_eq!(response.sets[0].0, "j2", "in the order of the transmitter");
/// assert!(response.more_available, "so the receiver polls again at once");
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollResponse {
    /// The SETs: the `jti` under which each is acknowledged or refused, and the token.
    pub sets: Vec<(String, String)>,
    /// Whether more are waiting.
    pub more_available: bool,
}

impl PollResponse {
    /// Reads a transmitter's answer within `limits`.
    ///
    /// A value that is no string is kept as the JSON that it is. It is no token, so that it will be refused
    /// under its `jti` like any other bad SET, and the rest of the batch goes on (POLL-30).
    pub fn read(body: &[u8], limits: Limits) -> Result<Self, Invalid> {
        let members = Members::read_within(body, "POLL-21", limits)?;
        let sets: Option<Sets> = members.optional(
            "sets",
            "POLL-21",
            "must be an object from jti to token; without SETs it is {}",
        )?;
        if sets.is_none() && !members.has("sets") {
            return Err(missing("sets", "POLL-22"));
        }
        Ok(Self {
            // Some transmitters write null where they have nothing.
            sets: sets.map(|Sets(sets)| sets).unwrap_or_default(),
            more_available: members.boolean("moreAvailable", "POLL-23")?.unwrap_or(false),
        })
    }
}

/// The HTTP answer to a poll that hands out `sets`.
pub fn response<'a>(
    sets: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    more_available: bool,
) -> Response<Bytes> {
    let mut response = Response::new(write(sets, more_available));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Writes the answer to a poll: pairs of `jti` and token, into a buffer that is made once, of the right size.
///
/// ```
/// use secevent_ssf::poll::write;
///
/// assert_eq!(&write(std::iter::empty(), false)[..], br#"{"sets":{}}"#);
/// let sets = [("j1", "eyJ0eXAi.e30.c2ln")];
/// assert_eq!(
///     &write(sets.into_iter(), true)[..],
///     br#"{"sets":{"j1":"eyJ0eXAi.e30.c2ln"},"moreAvailable":true}"#,
/// );
/// ```
pub fn write<'a>(sets: impl Iterator<Item = (&'a str, &'a str)> + Clone, more_available: bool) -> Bytes {
    // Per SET two pairs of quotes, a colon and a comma; the first needs no comma, and escapes are rare.
    let sized: usize = sets.clone().map(|(jti, token)| jti.len() + token.len() + 6).sum();
    let mut body = String::with_capacity(OPEN.len() + sized + MORE.len());
    body.push_str(OPEN);
    for (place, (jti, token)) in sets.enumerate() {
        if place > 0 {
            body.push(',');
        }
        push_text(&mut body, jti);
        body.push(':');
        push_text(&mut body, token);
    }
    body.push_str(if more_available { MORE } else { CLOSE });
    Bytes::from(body)
}

const OPEN: &str = "{\"sets\":{";
const MORE: &str = "},\"moreAvailable\":true}";
const CLOSE: &str = "}}";

fn push_text(body: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        body.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
    } else {
        body.push('"');
        body.push_str(text);
        body.push('"');
    }
}

/// The pairs of an object in their order, which a map would lose.
struct Sets(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Sets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Sets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from jti to token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sets, A::Error> {
        let mut sets = Vec::new();
        while let Some((jti, token)) = map.next_entry::<String, &RawValue>()? {
            let token = match token.get().starts_with('"') {
                true => serde_json::from_str(token.get()).map_err(de::Error::custom)?,
                false => token.get().to_owned(),
            };
            sets.push((jti, token));
        }
        Ok(Sets(sets))
    }
}
