//! What the receiver sends: which SETs it has, which it refuses, how many it wants.

use crate::members::Members;
use crate::push::{self, Error};
use crate::{Endpoint, Secret};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use secevent::Invalid;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};

/// A receiver's request: acknowledge, poll, or both (RFC 8936 section 2.4).
///
/// ```
/// use secevent_ssf::poll::{PollLimits, PollRequest};
///
/// let request = PollRequest::read(b"{}", PollLimits::default())?;
/// assert_eq!(request, PollRequest::default(), "long poll, no bound, nothing to acknowledge");
/// let error = PollRequest::read(br#"{"maxEvents":"5"}"#, PollLimits::default()).unwrap_err();
/// assert_eq!((error.member(), error.rule()), ("maxEvents", "POLL-32"));
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollRequest {
    /// The most SETs that the receiver wants; none sets no bound, 0 asks for none.
    pub max_events: Option<u64>,
    /// Whether to answer at once although there is nothing.
    pub return_immediately: bool,
    /// The `jti` of SETs that were received.
    pub ack: Vec<String>,
    /// The `jti` of SETs that are refused, with the reasons. None of them is in `ack` too.
    pub set_errs: Vec<(String, Error)>,
}

/// The bounds of a poll request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollLimits {
    /// The most entries of `ack`.
    pub acks_max: usize,
    /// The most entries of `setErrs`.
    pub set_errs_max: usize,
}

impl Default for PollLimits {
    /// 10 000 acknowledgements and 1 000 refusals: more than fit into what one poll hands out.
    fn default() -> Self {
        Self { acks_max: 10_000, set_errs_max: 1000 }
    }
}

impl PollRequest {
    /// Acknowledges and asks for nothing. It says so twice, because a request that wants no SETs still waits
    /// for one unless it asks for an answer at once (POLL-11).
    pub fn acknowledge_only(ack: Vec<String>, set_errs: Vec<(String, Error)>) -> Self {
        Self { max_events: Some(0), return_immediately: true, ack, set_errs }
    }

    /// Reads a receiver's request. A `jti` that is both acknowledged and refused counts as refused (POLL-41), and one
    /// that is acknowledged twice counts once.
    pub fn read(body: &[u8], limits: PollLimits) -> Result<Self, Invalid> {
        let members = Members::read(body, "POLL-32")?;
        let mut request = Self {
            max_events: members.whole("maxEvents", "POLL-32")?,
            return_immediately: members.boolean("returnImmediately", "POLL-32")?.unwrap_or(false),
            ack: members.texts("ack", "POLL-32")?.unwrap_or_default(),
            set_errs: set_errs(&members)?,
        };
        let too_many = |name: &str, max: usize| {
            Err(Invalid::new(name, "POLL-32", format!("must not have more than {max} entries")))
        };
        if request.ack.len() > limits.acks_max {
            return too_many("ack", limits.acks_max);
        }
        if request.set_errs.len() > limits.set_errs_max {
            return too_many("setErrs", limits.set_errs_max);
        }
        let mut named: HashSet<String> = request.set_errs.iter().map(|(jti, _)| jti.clone()).collect();
        request.ack.retain(|jti| named.insert(jti.clone()));
        Ok(request)
    }

    /// The request as JSON: what has its default value is left out.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always JSON")
    }
}

/// The HTTP request that sends `poll` to `endpoint`, which the transmitter gave. `authorization` is what the
/// transmitter's endpoints ask for.
///
/// ```
/// use secevent_ssf::poll::{PollRequest, request};
///
/// let poll = PollRequest { max_events: Some(10), ..PollRequest::default() };
/// let request = request(&"https://tr.example/poll/s1".parse()?, &poll, None);
/// assert_eq!(request.method(), "POST");
/// assert_eq!(&request.body()[..], br#"{"maxEvents":10}"#);
/// # Ok::<(), secevent::Invalid>(())
/// ```
pub fn request(
    endpoint: &Endpoint,
    poll: &PollRequest,
    authorization: Option<&Secret<HeaderValue>>,
) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(poll.to_json()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri().clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if !poll.set_errs.is_empty() {
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(push::LANGUAGE));
    }
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization.header());
    }
    request
}

impl Serialize for PollRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.ack.is_empty() {
            map.serialize_entry("ack", &self.ack)?;
        }
        if !self.set_errs.is_empty() {
            map.serialize_entry("setErrs", &SetErrs(&self.set_errs))?;
        }
        if let Some(max_events) = self.max_events {
            map.serialize_entry("maxEvents", &max_events)?;
        }
        if self.return_immediately {
            map.serialize_entry("returnImmediately", &true)?;
        }
        map.end()
    }
}

struct SetErrs<'a>(&'a [(String, Error)]);

impl Serialize for SetErrs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(jti, error)| (jti, error)))
    }
}

fn set_errs(members: &Members<'_>) -> Result<Vec<(String, Error)>, Invalid> {
    let must_be = "must be an object from jti to an object with err and description";
    let errors: Option<BTreeMap<String, &RawValue>> = members.optional("setErrs", "POLL-32", must_be)?;
    let read = |(jti, error): (String, &RawValue)| match Error::from_json(error.get()) {
        Some(error) => Ok((jti, error)),
        None => {
            Err(Invalid::new(jti, "POLL-32", "must be an object with err and description").within("setErrs"))
        }
    };
    errors.unwrap_or_default().into_iter().map(read).collect()
}
