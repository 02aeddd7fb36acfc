//! Where a party is reached.

use crate::Tolerance;
use http::Uri;
use secevent::Invalid;
use serde::{Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Where a party is reached: an `https` URL with a host, without user name, password or fragment.
///
/// Its text stays as it came, so that it can be echoed; [`Endpoint::uri`] is the same for a request.
///
/// ```
/// use secevent_ssf::Endpoint;
///
/// let endpoint: Endpoint = "https://rp.example:8443/events?tenant=7".parse()?;
/// assert_eq!(endpoint.uri().port_u16(), Some(8443));
/// assert!("http://rp.example/events".parse::<Endpoint>().is_err());
/// assert!("https://jo:pw@rp.example/events".parse::<Endpoint>().is_err());
/// # Ok::<(), secevent::Invalid>(())
/// ```
#[derive(Clone)]
pub struct Endpoint {
    text: Box<str>,
    uri: Uri,
}

impl Endpoint {
    /// The longest URL that is taken, in characters.
    pub const CHARS_MAX: usize = 2048;

    /// An endpoint that may lack TLS: for development on loopback.
    pub fn parse_insecure(url: &str) -> Result<Self, Invalid> {
        Self::parse(url, "SSF-53", Tolerance { plain_http: true, ..Tolerance::NONE })
    }

    pub(crate) fn parse(url: &str, rule: &'static str, tolerance: Tolerance) -> Result<Self, Invalid> {
        let wrong = |problem: &'static str| Invalid::new("", rule, problem);
        if url.len() > Self::CHARS_MAX {
            return Err(wrong("must not be longer than 2048 characters"));
        }
        if url.contains('#') {
            return Err(wrong("must have no fragment"));
        }
        if !secevent::is_uri(url) {
            return Err(wrong("must be a URL"));
        }
        let uri: Uri = url.parse().map_err(|_| wrong("must be an https URL with a host"))?;
        let is = |scheme: &str| uri.scheme_str().is_some_and(|its| its.eq_ignore_ascii_case(scheme));
        let allowed = is("https") || (tolerance.plain_http && is("http"));
        if !allowed {
            return Err(wrong("must be an https URL"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("must name a host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("must not carry a user name or password"));
        }
        if authority.host().is_empty() {
            return Err(wrong("must name a host"));
        }
        if authority.as_str() != authority.host() && !matches!(authority.port_u16(), Some(1..)) {
            return Err(wrong("must have a port from 1 to 65535 or none"));
        }
        Ok(Self { text: url.into(), uri })
    }

    /// The URL as it came.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL as a request takes it.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl FromStr for Endpoint {
    type Err = Invalid;

    fn from_str(url: &str) -> Result<Self, Invalid> {
        Self::parse(url, "SSF-53", Tolerance::NONE)
    }
}

/// Endpoints compare as text.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_endpoint() {
        for url in [
            "https://rp.example",
            "https://rp.example/e?x=1",
            "https://[2001:db8::1]:8443/e",
            "HTTPS://RP.example/",
        ] {
            let endpoint: Endpoint = url.parse().unwrap();
            assert_eq!(endpoint.as_str(), url);
        }
        let long = format!("https://rp.example/{}", "x".repeat(2048));
        for url in [
            "",
            "rp.example",
            "/events",
            "https://",
            "https:///e",
            "https://:443/e",
            "http://rp.example/e",
            "ftp://rp.example/e",
            "urn:x:y",
            "https://u@rp.example/",
            "https://rp.example/#f",
            "https://rp.example:0/",
            "https://rp.example:65536/",
            "https://rp.example:/",
            "https://rp.example/a b",
            "https://rp.example/\u{e9}",
            "https://rp.example\r\n/",
            &long,
        ] {
            assert!(url.parse::<Endpoint>().is_err(), "{url}");
        }
        assert!(Endpoint::parse_insecure("http://127.0.0.1:8080/e").is_ok());
    }
}
