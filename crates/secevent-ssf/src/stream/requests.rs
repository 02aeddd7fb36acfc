//! The requests that create, update and replace a stream.

use super::{StreamConfiguration, StreamId};
use crate::members::Members;
use crate::{Change, DeliveryRequest, Tolerance};
use secevent::{Audience, Invalid};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The longest description that a transmitter keeps, in characters; a longer one is cut (SSF-83).
pub const DESCRIPTION_CHARS_MAX: usize = 1000;

/// The most entries of `events_requested`.
pub const EVENTS_MAX: usize = 1000;

/// The longest entry of `events_requested`, in characters.
pub const EVENT_CHARS_MAX: usize = 1024;

/// A receiver's request for a new stream. Everything is optional: `{}` asks for a poll stream (SSF-88).
///
/// ```
/// use secevent_ssf::{CreateStream, Method, Tolerance};
///
/// let create = CreateStream::read(br#"{
///     "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://rp.example/events",
///                  "authorization_header": "Bearer x7"},
///     "events_requested": ["https://schemas.openid.net/secevent/caep/event-type/session-revoked"]
/// }"#, Tolerance::NONE)?;
/// assert_eq!(create.delivery.as_ref().unwrap().method(), Method::Push);
/// assert!(!format!("{create:?}").contains("x7"));
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CreateStream {
    /// How the SETs shall reach the receiver; none means poll (SSF-89).
    pub delivery: Option<DeliveryRequest>,
    /// The event types that the receiver wants, with any that nobody knows (SSF-78).
    pub events_requested: Option<Vec<String>>,
    /// What the stream is for, cut to [`DESCRIPTION_CHARS_MAX`].
    pub description: Option<String>,
    /// The subject format that a receiver of SSE ID1 wants (LEGACY-10).
    pub format: Option<String>,
    /// Members that are the transmitter's to supply. A strict transmitter refuses or ignores them (SSF-96).
    pub supplied: Supplied,
}

impl CreateStream {
    /// Reads the receiver's request.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "SSF-95")?;
        let supplied = Supplied::read(&members, "SSF-96")?;
        Ok(Self {
            delivery: members.get("delivery").map(|value| delivery(value, tolerance)).transpose()?,
            events_requested: members.get("events_requested").map(events_requested).transpose()?,
            description: members.get("description").map(description).transpose()?,
            format: format(&members, tolerance)?,
            supplied: Supplied { stream_id: members.text("stream_id", "SSF-96")?, ..supplied },
        })
    }

    /// The request as JSON, to be sent by a receiver: a credential in it stands there in the clear.
    pub fn to_exposed_json(&self) -> String {
        let mut request = Map::new();
        request.extend(self.delivery.as_ref().map(|delivery| ("delivery".to_owned(), delivery.to_exposed())));
        request.extend(member("events_requested", self.events_requested.as_deref()));
        request.extend(member("description", self.description.as_deref()));
        request.extend(member("format", self.format.as_deref()));
        self.supplied.write(&mut request);
        Value::from(request).to_string()
    }
}

/// A receiver's request to change some properties of a stream: `PATCH`. What is absent stays (SSF-103).
#[derive(Clone, Debug)]
pub struct UpdateStream {
    /// Which stream.
    pub stream_id: StreamId,
    /// How the SETs shall reach the receiver: replaced as one value (E-08).
    pub delivery: Change<DeliveryRequest>,
    /// The event types that the receiver wants.
    pub events_requested: Change<Vec<String>>,
    /// What the stream is for.
    pub description: Change<String>,
    /// The subject format that a receiver of SSE ID1 wants (LEGACY-10).
    pub format: Option<String>,
    /// Members that are the transmitter's to supply, to be compared with what is (SSF-105).
    pub supplied: Supplied,
}

impl UpdateStream {
    /// A change of nothing, to be filled in.
    pub fn new(stream_id: StreamId) -> Self {
        Self {
            stream_id,
            delivery: Change::Keep,
            events_requested: Change::Keep,
            description: Change::Keep,
            format: None,
            supplied: Supplied::default(),
        }
    }

    /// Whether it changes nothing, so that it need not be sent.
    pub fn is_empty(&self) -> bool {
        let Self { stream_id: _, delivery, events_requested, description, format, supplied } = self;
        matches!((delivery, events_requested, description), (Change::Keep, Change::Keep, Change::Keep))
            && format.is_none()
            && supplied.is_empty()
    }

    /// Reads the receiver's request.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "E-01")?;
        Ok(Self {
            stream_id: members.stream_id("SSF-102", tolerance)?,
            delivery: members.change("delivery").try_map(|value| delivery(value, tolerance))?,
            events_requested: members.change("events_requested").try_map(events_requested)?,
            description: members.change("description").try_map(description)?,
            format: format(&members, tolerance)?,
            supplied: Supplied::read(&members, "SSF-105")?,
        })
    }

    /// The request as JSON, to be sent by a receiver: a credential in it stands there in the clear.
    pub fn to_exposed_json(&self) -> String {
        let mut request = Map::new();
        request.extend(stream_id(&self.stream_id));
        let delivery = match &self.delivery {
            Change::Keep => None,
            Change::Clear => Some(Value::Null),
            Change::Set(delivery) => Some(delivery.to_exposed()),
        };
        request.extend(delivery.map(|delivery| ("delivery".to_owned(), delivery)));
        request.extend(changed("events_requested", &self.events_requested));
        request.extend(changed("description", &self.description));
        request.extend(member("format", self.format.as_deref()));
        self.supplied.write(&mut request);
        Value::from(request).to_string()
    }
}

/// A receiver's request to replace all its properties of a stream: `PUT`. What is absent goes (SSF-112), and the stream
/// is then as if it had been created without it: `delivery` goes back to poll (E-09).
#[derive(Clone, Debug)]
pub struct ReplaceStream {
    /// Which stream.
    pub stream_id: StreamId,
    /// How the SETs shall reach the receiver.
    pub delivery: Option<DeliveryRequest>,
    /// The event types that the receiver wants. None: all that it may have, as in a request to create a stream. An empty
    /// list is a request for none.
    pub events_requested: Option<Vec<String>>,
    /// What the stream is for.
    pub description: Option<String>,
    /// The subject format that a receiver of SSE ID1 wants (LEGACY-10).
    pub format: Option<String>,
    /// Members that are the transmitter's to supply, to be compared with what is (SSF-114).
    pub supplied: Supplied,
}

impl ReplaceStream {
    /// Reads the receiver's request.
    pub fn read(body: &[u8], tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::read(body, "E-01")?;
        Ok(Self {
            stream_id: members.stream_id("SSF-111", tolerance)?,
            delivery: members.get("delivery").map(|value| delivery(value, tolerance)).transpose()?,
            events_requested: members.get("events_requested").map(events_requested).transpose()?,
            description: members.get("description").map(description).transpose()?,
            format: format(&members, tolerance)?,
            supplied: Supplied::read(&members, "SSF-114")?,
        })
    }

    /// The request as JSON, to be sent by a receiver: a credential in it stands there in the clear.
    pub fn to_exposed_json(&self) -> String {
        let mut request = Map::new();
        request.extend(stream_id(&self.stream_id));
        request.extend(self.delivery.as_ref().map(|delivery| ("delivery".to_owned(), delivery.to_exposed())));
        request.extend(member("events_requested", self.events_requested.as_deref()));
        request.extend(member("description", self.description.as_deref()));
        request.extend(member("format", self.format.as_deref()));
        self.supplied.write(&mut request);
        Value::from(request).to_string()
    }
}

/// Members of a request that are the transmitter's to supply. A receiver that reads a configuration and
/// writes it back sends them along; they must be what they are.
///
/// ```
/// use secevent_ssf::{StreamConfiguration, Tolerance, UpdateStream};
///
/// # let body = br#"{"stream_id":"s1","iss":"https://tr.example","aud":["a","b"],"events_delivered":[],
/// #     "delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"https://tr.example/poll"}}"#;
/// let current = StreamConfiguration::read(body, Tolerance::NONE)?;
/// let body = br#"{"stream_id":"s1","iss":"https://other.example","description":"mine"}"#;
/// let update = UpdateStream::read(body, Tolerance::NONE)?;
/// let error = update.supplied.check_against(&current).unwrap_err();
/// assert_eq!(error.to_string(), "`iss` is the transmitter's to supply and must stay as it is [SSF-105]");
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supplied {
    /// The stream's name, where a request for a new one has it. Elsewhere it says which stream is meant.
    pub stream_id: Option<String>,
    /// Who issues the SETs.
    pub iss: Option<String>,
    /// For whom they are.
    pub aud: Option<Audience>,
    /// What the transmitter can send.
    pub events_supported: Option<Vec<String>>,
    /// What it will send.
    pub events_delivered: Option<Vec<String>>,
    /// How long to wait between two requests for verification.
    pub min_verification_interval_seconds: Option<u64>,
    /// How long the receiver may be silent.
    pub inactivity_timeout_seconds: Option<u64>,
}

impl Supplied {
    fn read(members: &Members<'_>, rule: &'static str) -> Result<Self, Invalid> {
        Ok(Self {
            stream_id: None,
            iss: members.text("iss", rule)?,
            aud: members.optional("aud", rule, "must be a string or an array of strings")?,
            events_supported: members.texts("events_supported", rule)?,
            events_delivered: members.texts("events_delivered", rule)?,
            min_verification_interval_seconds: members.whole("min_verification_interval", rule)?,
            inactivity_timeout_seconds: members.whole("inactivity_timeout", rule)?,
        })
    }

    /// Whether the request has none of them.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that each is what it is before the request is carried out (SSF-105, SSF-106, SSF-114). Lists
    /// compare without regard to their order.
    pub fn check_against(&self, current: &StreamConfiguration) -> Result<(), Invalid> {
        let set = |names: &[String]| -> BTreeSet<String> { names.iter().cloned().collect() };
        let audience = |aud: &Audience| -> BTreeSet<String> { aud.iter().map(str::to_owned).collect() };
        let same_list = |asked: &Option<Vec<String>>, is: Option<&[String]>| {
            asked.as_deref().is_none_or(|asked| is.is_some_and(|is| set(asked) == set(is)))
        };
        let same_number = |asked: Option<u64>, is: Option<u64>| asked.is_none() || asked == is;
        let members = [
            ("iss", self.iss.as_deref().is_none_or(|iss| iss == current.iss.as_str())),
            ("aud", self.aud.as_ref().is_none_or(|aud| audience(aud) == audience(&current.aud))),
            ("events_supported", same_list(&self.events_supported, current.events_supported.as_deref())),
            ("events_delivered", same_list(&self.events_delivered, Some(&current.events_delivered))),
            (
                "min_verification_interval",
                same_number(
                    self.min_verification_interval_seconds,
                    current.min_verification_interval_seconds,
                ),
            ),
            (
                "inactivity_timeout",
                same_number(self.inactivity_timeout_seconds, current.inactivity_timeout_seconds),
            ),
        ];
        match members.into_iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Invalid::new(name, "SSF-105", "is the transmitter's to supply and must stay as it is"))
            }
        }
    }

    fn write(&self, request: &mut Map<String, Value>) {
        request.extend(member("stream_id", self.stream_id.as_deref()));
        request.extend(member("iss", self.iss.as_deref()));
        request.extend(member("aud", self.aud.as_ref()));
        request.extend(member("events_supported", self.events_supported.as_deref()));
        request.extend(member("events_delivered", self.events_delivered.as_deref()));
        request.extend(member("min_verification_interval", self.min_verification_interval_seconds));
        request.extend(member("inactivity_timeout", self.inactivity_timeout_seconds));
    }
}

fn delivery(value: &RawValue, tolerance: Tolerance) -> Result<DeliveryRequest, Invalid> {
    DeliveryRequest::read(value, tolerance).map_err(|breach| breach.within("delivery"))
}

/// Entries that are no URI, or one that nobody knows, are kept: they are ignored later, not refused (SSF-78).
fn events_requested(value: &RawValue) -> Result<Vec<String>, Invalid> {
    let wrong = |problem: String| Invalid::new("events_requested", "SSF-77", problem);
    let events: Vec<String> =
        serde_json::from_str(value.get()).map_err(|_| wrong("must be an array of strings".to_owned()))?;
    if events.len() > EVENTS_MAX {
        return Err(wrong(format!("must not have more than {EVENTS_MAX} entries")));
    }
    if let Some(place) = events.iter().position(|event| event.chars().count() > EVENT_CHARS_MAX) {
        let problem = format!("must not be longer than {EVENT_CHARS_MAX} characters");
        return Err(Invalid::new(format!("[{place}]"), "SSF-77", problem).within("events_requested"));
    }
    Ok(events)
}

fn description(value: &RawValue) -> Result<String, Invalid> {
    let mut text: String = serde_json::from_str(value.get())
        .map_err(|_| Invalid::new("description", "SSF-83", "must be a string"))?;
    if let Some((end, _)) = text.char_indices().nth(DESCRIPTION_CHARS_MAX) {
        text.truncate(end);
    }
    Ok(text)
}

fn format(members: &Members<'_>, tolerance: Tolerance) -> Result<Option<String>, Invalid> {
    match tolerance.legacy {
        true => members.text_within("format", "LEGACY-10", 64),
        false => Ok(None),
    }
}

fn stream_id(id: &StreamId) -> Option<(String, Value)> {
    (!id.is_implicit()).then(|| ("stream_id".to_owned(), id.as_str().into()))
}

fn member<T: serde::Serialize>(name: &str, value: Option<T>) -> Option<(String, Value)> {
    value.map(|value| (name.to_owned(), serde_json::to_value(value).expect("strings and numbers are JSON")))
}

fn changed<T: serde::Serialize>(name: &str, change: &Change<T>) -> Option<(String, Value)> {
    match change {
        Change::Keep => None,
        Change::Clear => Some((name.to_owned(), Value::Null)),
        Change::Set(value) => member(name, Some(value)),
    }
}
