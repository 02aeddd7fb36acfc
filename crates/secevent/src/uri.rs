//! Names that are URIs (RFC 3986).

use crate::Invalid;
use fluent_uri::Uri;
use std::fmt;
use std::str::FromStr;

/// Whether `text` is a URI with a scheme, percent-encoded where it must be (RFC 8417 section 1.1).
pub fn is_uri(text: &str) -> bool {
    Uri::parse(text).is_ok()
}

/// The name of a transmitter or identity provider: an `https` URL without query and fragment.
///
/// Issuers compare as text: `https://idp.example` and `https://idp.example/` are two issuers (SSF 1.0
/// section 4.1.6).
///
/// ```
/// use secevent::Issuer;
///
/// let issuer: Issuer = "https://idp.example/tenant-a".parse().unwrap();
/// assert_eq!(issuer.path(), "/tenant-a");
/// assert!("http://idp.example".parse::<Issuer>().is_err());
/// assert!("https://idp.example?x=1".parse::<Issuer>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issuer(String);

impl Issuer {
    /// The URL as text: what `iss` says.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port: the URL up to its path.
    pub fn origin(&self) -> &str {
        &self.0[..self.0.len() - self.path().len()]
    }

    /// The path with its leading slash; empty if there is none.
    pub fn path(&self) -> &str {
        let host = self.0.find("://").map_or(0, |scheme| scheme + 3);
        self.0[host..].find('/').map_or("", |slash| &self.0[host + slash..])
    }

    /// An issuer that may be served without TLS: for development on loopback, where nothing else is at hand.
    pub fn parse_insecure(url: &str) -> Result<Self, Invalid> {
        Self::parse(url, &["https", "http"])
    }

    fn parse(url: &str, schemes: &[&str]) -> Result<Self, Invalid> {
        let wrong = |problem: &'static str| Invalid::new("", "SSF-47", problem);
        let uri = Uri::parse(url).map_err(|_| wrong("must be a URL"))?;
        if !schemes.contains(&uri.scheme().as_str()) {
            return Err(wrong("must be an https URL"));
        }
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        if authority.ok_or_else(|| wrong("must name a host"))?.has_userinfo() {
            return Err(wrong("must not carry a user name or password"));
        }
        if uri.has_query() || uri.has_fragment() {
            return Err(wrong("must have neither query nor fragment"));
        }
        Ok(Self(url.to_owned()))
    }
}

impl FromStr for Issuer {
    type Err = Invalid;

    fn from_str(url: &str) -> Result<Self, Invalid> {
        Self::parse(url, &["https"])
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Issuer {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_issuer() {
        for (url, origin, path) in [
            ("https://tr.example.com", "https://tr.example.com", ""),
            ("https://tr.example.com/", "https://tr.example.com", "/"),
            ("https://tr.example.com:8443/a/b", "https://tr.example.com:8443", "/a/b"),
            ("https://[2001:db8::1]/x", "https://[2001:db8::1]", "/x"),
        ] {
            let issuer: Issuer = url.parse().unwrap();
            assert_eq!((issuer.origin(), issuer.path()), (origin, path));
        }
        for url in [
            "",
            "idp",
            "http://a.example",
            "https://",
            "https://a.example/#x",
            "https://u:p@a.example",
            "https://a b",
        ] {
            assert!(url.parse::<Issuer>().is_err(), "{url}");
        }
        assert!(Issuer::parse_insecure("http://127.0.0.1:8080").is_ok());
    }

    #[test]
    fn raw_spaces_are_no_uri() {
        assert!(is_uri("urn:ietf:params:scim:event:feed:add") && is_uri("https://a.example/x%20y"));
        assert!(
            !is_uri("https://a.example/x y")
                && !is_uri("not a uri")
                && !is_uri("relative/path")
                && !is_uri("")
        );
    }
}
