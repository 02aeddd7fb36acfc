//! The configuration of a stream, as the transmitter shows it.

use super::StreamId;
use crate::delivery::authorization;
use crate::members::{Members, missing, of_body};
use crate::{Delivery, Secret, Tolerance};
use http::HeaderValue;
use secevent::json::{Limits, check};
use secevent::{Audience, Invalid, Issuer};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The configuration of a stream, as the transmitter shows it in every answer of the configuration endpoint.
///
/// ```
/// use secevent_ssf::{Delivery, Method, StreamConfiguration};
///
/// let configuration = StreamConfiguration {
///     stream_id: "s1".parse()?,
///     iss: "https://tr.example".parse()?,
///     aud: "https://rp.example".into(),
///     delivery: Delivery::new(Method::Poll, "https://tr.example/poll/s1".parse()?),
///     events_supported: None,
///     events_requested: None,
///     events_delivered: vec![],
///     min_verification_interval_seconds: Some(60),
///     inactivity_timeout_seconds: None,
///     description: None,
///     format: None,
/// };
/// assert_eq!(configuration.to_json(), concat!(
///     r#"{"stream_id":"s1","iss":"https://tr.example","aud":"https://rp.example","#,
///     r#""delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"https://tr.example/poll/s1"},"#,
///     r#""events_delivered":[],"min_verification_interval":60}"#,
/// ));
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamConfiguration {
    /// The stream's name.
    #[serde(skip_serializing_if = "StreamId::is_implicit")]
    pub stream_id: StreamId,
    /// Who issues the stream's SETs.
    #[serde(serialize_with = "as_text")]
    pub iss: Issuer,
    /// The receivers of the stream's SETs. It is empty only where an older transmitter leaves the member out.
    #[serde(skip_serializing_if = "is_nobody")]
    pub aud: Audience,
    /// How the SETs reach the receiver.
    pub delivery: Delivery,
    /// What the transmitter can send; if absent, it says so elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_supported: Option<Vec<String>>,
    /// What the receiver asked for, with what the transmitter does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_requested: Option<Vec<String>>,
    /// What the transmitter will send: the member to rely on (SSF-80).
    pub events_delivered: Vec<String>,
    /// How long the receiver waits between two requests for verification.
    #[serde(rename = "min_verification_interval", skip_serializing_if = "Option::is_none")]
    pub min_verification_interval_seconds: Option<u64>,
    /// After how much silence of the receiver the transmitter may end the stream.
    #[serde(rename = "inactivity_timeout", skip_serializing_if = "Option::is_none")]
    pub inactivity_timeout_seconds: Option<u64>,
    /// What the stream is for, in the receiver's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The subject format that a receiver of SSE ID1 wants (LEGACY-10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

impl StreamConfiguration {
    /// Reads a transmitter's answer, as a receiver does.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        Self::from_members(&Members::read(body, "SSF-87")?, tolerance)
    }

    /// Reads the array that answers a request which names no stream (SSF-98), all of it or nothing.
    pub fn read_list(body: &[u8], tolerance: Tolerance) -> Result<Vec<Self>, Invalid> {
        Self::read_each(body, tolerance)?
            .into_iter()
            .map(|entry| entry.map_err(|unreadable| unreadable.breach))
            .collect()
    }

    /// Reads the same array entry by entry, so that one that is malformed does not hide the others.
    ///
    /// ```
    /// use secevent_ssf::{StreamConfiguration, Tolerance};
    ///
    /// let body = br#"[{"stream_id":"s1","iss":"https://tr.example"}]"#;
    /// let streams = StreamConfiguration::read_each(body, Tolerance::NONE)?;
    /// let unreadable = streams[0].as_ref().unwrap_err();
    /// assert_eq!(unreadable.stream_id.as_deref(), Some("s1"));
    /// assert_eq!(unreadable.breach.member(), "[0].delivery");
    /// # Ok::<(), secevent::Invalid>(())
    /// ```
    pub fn read_each(body: &[u8], tolerance: Tolerance) -> Result<Vec<Result<Self, Unreadable>>, Invalid> {
        let no_array = || Invalid::new("", "SSF-98", "must be a JSON array of stream configurations");
        let text = std::str::from_utf8(body).map_err(|_| no_array())?;
        // The bounded reader takes objects, so the array becomes a member of one.
        let wrapped = format!("{{\"streams\":{text}}}");
        check(wrapped.as_bytes(), Limits::BODY).map_err(|breach| {
            let breach = of_body(&breach, "SSF-98");
            let member = breach.member().strip_prefix("streams").unwrap_or_default();
            Invalid::new(member, breach.rule(), breach.problem().to_owned())
        })?;
        let streams: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| no_array())?;
        let read = |(index, stream): (usize, &RawValue)| {
            let members = Members::of(stream, "SSF-98");
            let stream_id =
                members.as_ref().ok().and_then(|members| members.text("stream_id", "SSF-71").ok()?);
            members
                .and_then(|members| Self::from_members(&members, tolerance))
                .map_err(|breach| Unreadable { stream_id, breach: breach.within(&format!("[{index}]")) })
        };
        Ok(streams.into_iter().enumerate().map(read).collect())
    }

    /// The `authorization_header` that the `delivery` of a configuration shows, if it shows one that can stand in a
    /// header. Some transmitters repeat the credential of pushes; of a polled stream it is what some want each poll to
    /// carry. Transmitters should show neither (E-19), so no configuration has a place for it.
    ///
    /// ```
    /// use secevent_ssf::StreamConfiguration;
    ///
    /// let body = br#"{"delivery":{"method":"urn:ietf:rfc:8936","authorization_header":"Bearer x7"}}"#;
    /// let shown = StreamConfiguration::shown_authorization(body).unwrap();
    /// assert_eq!(shown.expose(), "Bearer x7");
    /// ```
    pub fn shown_authorization(body: &[u8]) -> Option<Secret<HeaderValue>> {
        let members = Members::read(body, "SSF-87").ok()?;
        let delivery = Members::of(members.get("delivery")?, "SSF-81").ok()?;
        authorization(&delivery.text("authorization_header", "SSF-37").ok()??).ok()
    }

    fn from_members(members: &Members<'_>, tolerance: Tolerance) -> Result<Self, Invalid> {
        let delivery = members.get("delivery").ok_or_else(|| missing("delivery", "SSF-81"))?;
        let aud = members.optional("aud", "SSF-75", "must be a string or an array of strings")?;
        Ok(Self {
            stream_id: StreamId::from_answer(members, "SSF-71", tolerance)?,
            iss: members.issuer("iss", "SSF-74", tolerance)?.ok_or_else(|| missing("iss", "SSF-74"))?,
            aud: match aud {
                Some(aud) => aud,
                None if tolerance.legacy => Audience::Many(Vec::new()),
                None => return Err(missing("aud", "SSF-75")),
            },
            delivery: Delivery::read(delivery, tolerance).map_err(|breach| breach.within("delivery"))?,
            events_supported: members.texts("events_supported", "SSF-76")?,
            events_requested: members.texts("events_requested", "SSF-77")?,
            events_delivered: members
                .texts("events_delivered", "SSF-79")?
                .ok_or_else(|| missing("events_delivered", "SSF-79"))?,
            min_verification_interval_seconds: members.whole("min_verification_interval", "SSF-82")?,
            inactivity_timeout_seconds: members.whole("inactivity_timeout", "SSF-84")?,
            description: members.text("description", "SSF-83")?,
            format: if tolerance.legacy { members.text("format", "LEGACY-10")? } else { None },
        })
    }

    /// Checks that the stream is of the issuer whose metadata led to it. A receiver does so with every
    /// answer, and deletes a stream that fails (SSF-93, SSF-100, SSF-110).
    pub fn check_issuer(&self, expected: &Issuer) -> Result<(), Invalid> {
        if self.iss == *expected {
            return Ok(());
        }
        Err(Invalid::new(
            "iss",
            "SSF-93",
            format!("must be {expected}, the issuer of the metadata, not {}", self.iss),
        ))
    }

    /// The configuration as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always JSON")
    }

    /// Several configurations as a JSON array: the answer to a request that names no stream.
    pub fn list_to_json(streams: &[Self]) -> String {
        serde_json::to_string(streams).expect("strings and numbers are always JSON")
    }
}

/// An entry of a list that is no stream configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The stream that it is about, if it says so.
    pub stream_id: Option<String>,
    /// What is wrong with it.
    pub breach: Invalid,
}

fn is_nobody(aud: &Audience) -> bool {
    aud.iter().next().is_none()
}

fn as_text<S: Serializer>(issuer: &Issuer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(issuer.as_str())
}
