//! How the events of a stream reach the receiver: pushed or polled (SSF 1.0 section 6.1).
//!
//! What a receiver asks for ([`DeliveryRequest`]) may carry the credential of its endpoint; what a
//! configuration shows ([`Delivery`]) has no place for one, so that no answer can leak it (SEM-22).

use crate::members::{Members, missing};
use crate::{Change, Endpoint, Secret, Tolerance};
use http::HeaderValue;
use secevent::Invalid;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// The two ways of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// The transmitter sends each SET to the receiver (RFC 8935).
    Push,
    /// The receiver asks for SETs (RFC 8936).
    Poll,
}

impl Method {
    /// The method's name in SSF.
    pub const fn urn(self) -> &'static str {
        match self {
            Self::Push => "urn:ietf:rfc:8935",
            Self::Poll => "urn:ietf:rfc:8936",
        }
    }

    /// The method's name in RISC and SSE ID1, which some receivers still use (LEGACY-07).
    pub const fn risc_url(self) -> &'static str {
        match self {
            Self::Push => "https://schemas.openid.net/secevent/risc/delivery-method/push",
            Self::Poll => "https://schemas.openid.net/secevent/risc/delivery-method/poll",
        }
    }
}

/// The words that a receiver used for its delivery, so that every answer uses them too (LEGACY-07, LEGACY-08).
/// By default, those of SSF 1.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spelling {
    /// The method is named by its RISC URL, not by its URN.
    pub risc_method: bool,
    /// The members are `delivery_method` and `url`, not `method` and `endpoint_url`.
    pub old_names: bool,
}

impl Spelling {
    fn method(self, method: Method) -> &'static str {
        if self.risc_method { method.risc_url() } else { method.urn() }
    }

    fn names(self) -> (&'static str, &'static str) {
        if self.old_names { ("delivery_method", "url") } else { ("method", "endpoint_url") }
    }
}

/// The delivery that a stream has, as its configuration shows it.
///
/// ```
/// use secevent_ssf::{Delivery, Method};
///
/// let delivery = Delivery::new(Method::Poll, "https://tr.example/poll/s1".parse()?);
/// assert_eq!(
///     serde_json::to_string(&delivery).unwrap(),
///     r#"{"method":"urn:ietf:rfc:8936","endpoint_url":"https://tr.example/poll/s1"}"#,
/// );
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Pushed or polled.
    pub method: Method,
    /// Where to: the receiver's URL for push, the transmitter's for poll.
    pub endpoint_url: Endpoint,
    /// The receiver's words for it.
    pub spelling: Spelling,
}

impl Delivery {
    /// A delivery in the words of SSF 1.0.
    pub fn new(method: Method, endpoint_url: Endpoint) -> Self {
        Self { method, endpoint_url, spelling: Spelling::default() }
    }

    /// Reads what a transmitter shows. An `authorization_header` in it is not looked at.
    pub(crate) fn read(value: &RawValue, tolerance: Tolerance) -> Result<Self, Invalid> {
        let parts = Parts::read(value, "SSF-34", tolerance)?;
        let (_, url) = parts.spelling.names();
        let rule = match parts.method {
            Method::Push => "SSF-35",
            Method::Poll => "SSF-40",
        };
        let endpoint_url = parts.endpoint_url(rule, tolerance)?.ok_or_else(|| missing(url, rule))?;
        Ok(Self { method: parts.method, endpoint_url, spelling: parts.spelling })
    }
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (method, url) = self.spelling.names();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(method, self.spelling.method(self.method))?;
        map.serialize_entry(url, &self.endpoint_url)?;
        map.end()
    }
}

/// The delivery that a receiver asks for.
///
/// It does not implement `Serialize`, because it may hold a credential; the requests that carry it have a
/// writer of their own.
#[derive(Clone, Debug)]
pub struct DeliveryRequest {
    /// Pushed or polled, with what the receiver supplies for it.
    pub by: DeliverBy,
    /// The receiver's words for it.
    pub spelling: Spelling,
}

/// What a receiver supplies for a method of delivery.
#[derive(Clone, Debug)]
pub enum DeliverBy {
    /// Push SETs to this URL.
    Push {
        /// Where the receiver takes them.
        endpoint_url: Endpoint,
        /// The whole value of the `Authorization` header that each push shall carry: kept, cleared or set.
        authorization_header: Change<Secret<HeaderValue>>,
    },
    /// Let the receiver poll.
    Poll {
        /// The URL that the transmitter supplied before. The transmitter supplies it (SSF-40), so that it is not looked
        /// at in a request that is read; a receiver repeats it, because some transmitters replace `delivery` as one
        /// value (E-08) and lose the URL otherwise.
        endpoint_url: Option<Endpoint>,
    },
}

impl DeliveryRequest {
    /// The longest `authorization_header`, in characters.
    pub const AUTHORIZATION_CHARS_MAX: usize = 4096;

    /// Asks for push to `endpoint_url`; `authorization` is the whole value of the `Authorization` header.
    pub fn push(endpoint_url: Endpoint, authorization: Option<Secret<HeaderValue>>) -> Self {
        let authorization_header = authorization.map_or(Change::Keep, Change::Set);
        let by = DeliverBy::Push { endpoint_url, authorization_header };
        Self { by, spelling: Spelling::default() }
    }

    /// Asks for poll.
    pub fn poll() -> Self {
        Self { by: DeliverBy::Poll { endpoint_url: None }, spelling: Spelling::default() }
    }

    /// The method that is asked for.
    pub fn method(&self) -> Method {
        match self.by {
            DeliverBy::Push { .. } => Method::Push,
            DeliverBy::Poll { .. } => Method::Poll,
        }
    }

    /// Whether a stream with `current` has this delivery already: pushed to the same URL, or polled. The words for the
    /// method do not matter, nor does a credential, which transmitters should not show (E-19).
    ///
    /// ```
    /// use secevent_ssf::{Delivery, DeliveryRequest, Method};
    ///
    /// let current = Delivery::new(Method::Push, "https://RP.example/a".parse()?);
    /// assert!(DeliveryRequest::push("https://rp.example/a".parse()?, None).is_met_by(&current));
    /// assert!(!DeliveryRequest::push("https://rp.example/b".parse()?, None).is_met_by(&current));
    /// assert!(!DeliveryRequest::poll().is_met_by(&current));
    /// # Ok::<(), secevent::Invalid>(())
    /// ```
    pub fn is_met_by(&self, current: &Delivery) -> bool {
        match &self.by {
            DeliverBy::Push { endpoint_url, .. } => {
                current.method == Method::Push && current.endpoint_url.uri() == endpoint_url.uri()
            }
            DeliverBy::Poll { .. } => current.method == Method::Poll,
        }
    }

    /// The delivery that this request leads to: to the receiver's URL if it is push, else to `poll_url`.
    pub fn granted(&self, poll_url: &Endpoint) -> Delivery {
        let endpoint_url = match &self.by {
            DeliverBy::Push { endpoint_url, .. } => endpoint_url,
            DeliverBy::Poll { .. } => poll_url,
        };
        Delivery { method: self.method(), endpoint_url: endpoint_url.clone(), spelling: self.spelling }
    }

    /// Checks that the stored credential may stay in use where this request leaves it out: only while method
    /// and URL stay as they are, because a new endpoint must not be handed the credential of the old one
    /// (E-19). `has_authorization` tells whether one is stored with `current`.
    ///
    /// ```
    /// use secevent_ssf::{Delivery, DeliveryRequest, Method};
    ///
    /// let current = Delivery::new(Method::Push, "https://rp.example/a".parse()?);
    /// let same = DeliveryRequest::push("https://rp.example/a".parse()?, None);
    /// let other = DeliveryRequest::push("https://rp.example/b".parse()?, None);
    /// assert!(same.check_authorization_kept(&current, true).is_ok());
    /// assert_eq!(other.check_authorization_kept(&current, true).unwrap_err().rule(), "E-19");
    /// # Ok::<(), secevent::Invalid>(())
    /// ```
    pub fn check_authorization_kept(
        &self,
        current: &Delivery,
        has_authorization: bool,
    ) -> Result<(), Invalid> {
        match &self.by {
            DeliverBy::Push { endpoint_url, authorization_header: Change::Keep }
                if has_authorization
                    && (current.method != Method::Push || current.endpoint_url != *endpoint_url) =>
            {
                let problem = "must be given anew, or null to send none, when the method or the URL changes";
                Err(Invalid::new("delivery.authorization_header", "E-19", problem))
            }
            _ => Ok(()),
        }
    }

    /// Reads what a receiver asks for.
    pub(crate) fn read(value: &RawValue, tolerance: Tolerance) -> Result<Self, Invalid> {
        let parts = Parts::read(value, "SSF-90", tolerance)?;
        let by = match parts.method {
            Method::Poll => DeliverBy::Poll { endpoint_url: None },
            Method::Push => {
                let (_, url) = parts.spelling.names();
                let endpoint_url = parts.endpoint_url("SSF-35", tolerance)?;
                DeliverBy::Push {
                    endpoint_url: endpoint_url.ok_or_else(|| missing(url, "SSF-35"))?,
                    authorization_header: parts.authorization_header(tolerance)?,
                }
            }
        };
        Ok(Self { by, spelling: parts.spelling })
    }

    /// The request as a receiver sends it, the credential in the clear.
    pub(crate) fn to_exposed(&self) -> serde_json::Value {
        let (method, url) = self.spelling.names();
        let mut members = serde_json::Map::new();
        members.insert(method.to_owned(), self.spelling.method(self.method()).into());
        match &self.by {
            DeliverBy::Push { endpoint_url, authorization_header } => {
                members.insert(url.to_owned(), endpoint_url.as_str().into());
                let value = match authorization_header {
                    Change::Keep => None,
                    Change::Clear => Some(serde_json::Value::Null),
                    // The value came from a string or is opaque bytes; the former is what JSON can say.
                    Change::Set(secret) => Some(String::from_utf8_lossy(secret.expose().as_bytes()).into()),
                };
                members.extend(value.map(|value| ("authorization_header".to_owned(), value)));
            }
            DeliverBy::Poll { endpoint_url } => {
                let value = endpoint_url.as_ref().map(|endpoint_url| endpoint_url.as_str().into());
                members.extend(value.map(|value| (url.to_owned(), value)));
            }
        }
        members.into()
    }
}

/// The delivery that a stream has, asked for once more: a polled stream keeps its URL, and a pushed one its credential
/// (E-19).
impl From<&Delivery> for DeliveryRequest {
    fn from(current: &Delivery) -> Self {
        let endpoint_url = current.endpoint_url.clone();
        let by = match current.method {
            Method::Push => DeliverBy::Push { endpoint_url, authorization_header: Change::Keep },
            Method::Poll => DeliverBy::Poll { endpoint_url: Some(endpoint_url) },
        };
        Self { by, spelling: current.spelling }
    }
}

/// What requests and answers have in common.
struct Parts<'a> {
    members: Members<'a>,
    method: Method,
    spelling: Spelling,
}

impl<'a> Parts<'a> {
    fn read(value: &'a RawValue, unknown: &'static str, tolerance: Tolerance) -> Result<Self, Invalid> {
        let members = Members::of(value, "SSF-81")?;
        let old_names = tolerance.legacy && !members.has("method") && members.has("delivery_method");
        let (name, _) = Spelling { old_names, ..Spelling::default() }.names();
        let method = members.text(name, unknown)?.ok_or_else(|| missing(name, "E-08"))?;
        let known = |method: Method, risc_method| (method, Spelling { risc_method, old_names });
        let (method, spelling) = match method.as_str() {
            "urn:ietf:rfc:8935" => known(Method::Push, false),
            "urn:ietf:rfc:8936" => known(Method::Poll, false),
            url if tolerance.legacy && url == Method::Push.risc_url() => known(Method::Push, true),
            url if tolerance.legacy && url == Method::Poll.risc_url() => known(Method::Poll, true),
            _ => {
                let problem = "must be urn:ietf:rfc:8935 (push) or urn:ietf:rfc:8936 (poll)";
                return Err(Invalid::new(name, unknown, problem));
            }
        };
        Ok(Self { members, method, spelling })
    }

    fn endpoint_url(&self, rule: &'static str, tolerance: Tolerance) -> Result<Option<Endpoint>, Invalid> {
        let (_, name) = self.spelling.names();
        let Some(url) = self.members.text(name, rule)? else { return Ok(None) };
        Endpoint::parse(&url, rule, tolerance).map(Some).map_err(|breach| breach.within(name))
    }

    fn authorization_header(&self, tolerance: Tolerance) -> Result<Change<Secret<HeaderValue>>, Invalid> {
        // One bridge to Apple uses the second name; its value is taken as it is.
        let names = if tolerance.legacy { &AUTHORIZATION_NAMES[..] } else { &AUTHORIZATION_NAMES[..1] };
        let name = names.iter().copied().find(|name| self.members.has(name)).unwrap_or(names[0]);
        self.members.change(name).try_map(|value| {
            let text: String = serde_json::from_str(value.get())
                .map_err(|_| Invalid::new(name, "SSF-37", "must be a string"))?;
            authorization(&text).map_err(|breach| breach.within(name))
        })
    }
}

const AUTHORIZATION_NAMES: [&str; 2] = ["authorization_header", "endpoint_url_token"];

/// Reads the value of an `Authorization` header, as a receiver states it. No error repeats the value.
///
/// ```
/// use secevent_ssf::delivery::authorization;
///
/// assert!(authorization("Bearer eyJhbGciOi").is_ok());
/// assert_eq!(
///     authorization("Authorization: Bearer eyJhbGciOi").unwrap_err().problem(),
///     "must be the value of the header alone, without `Authorization:` before it",
/// );
/// ```
pub fn authorization(text: &str) -> Result<Secret<HeaderValue>, Invalid> {
    let wrong = |rule, problem: &'static str| Err(Invalid::new("", rule, problem));
    if text.len() > DeliveryRequest::AUTHORIZATION_CHARS_MAX {
        return wrong("SSF-37", "must not be longer than 4096 characters");
    }
    let line = "authorization:";
    if text.trim_start().get(..line.len()).is_some_and(|start| start.eq_ignore_ascii_case(line)) {
        return wrong("E-18", "must be the value of the header alone, without `Authorization:` before it");
    }
    if text.is_empty() || text.trim() != text {
        return wrong("SSF-38", "must not be empty, nor begin or end with a space");
    }
    match HeaderValue::from_str(text) {
        Ok(value) if text.is_ascii() => Ok(Secret::new(value)),
        _ => wrong("SSF-38", "must be the value of an HTTP header: printable ASCII"),
    }
}
