//! The JOSE header of a token (RFC 7515 section 4).

use crate::{Algorithm, AlgorithmError, Jwk, VerifyError};
use secevent::Invalid;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// What a token says about itself. None of it is proved until the signature is checked, and none of it
/// chooses a key by anything but its name: `jku`, `jwk`, `x5u` and `x5c` are not even read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<String>,
}

impl Header {
    /// The longest header, decoded.
    pub const JSON_BYTES_MAX: usize = 16 * 1024;
    /// The most members a header may have.
    pub const MEMBERS_MAX: usize = 64;

    /// The algorithm of the signature.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name of the key.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The media type of the token.
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The media type of the payload.
    pub fn cty(&self) -> Option<&str> {
        self.cty.as_deref()
    }

    pub(crate) fn from_json(json: &[u8]) -> Result<Self, VerifyError> {
        if json.len() > Self::JSON_BYTES_MAX {
            return Err(invalid(
                "",
                "JWTBCP-19",
                format!("must not be longer than {} bytes", Self::JSON_BYTES_MAX),
            ));
        }
        let json = std::str::from_utf8(json).map_err(|_| invalid("", "JWTBCP-09", "must be UTF-8"))?;
        let members: Members = serde_json::from_str(json).map_err(|_| {
            invalid("", "SET-01", "must be a JSON object with members of the right types, each once")
        })?;
        members.check()
    }
}

/// The members we act upon, as they are written.
#[derive(Default)]
struct Members {
    alg: Option<Result<Algorithm, AlgorithmError>>,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<String>,
    enc: bool,
    /// The first member that changes how a token must be processed.
    refused: Option<&'static str>,
}

impl Members {
    fn check(self) -> Result<Header, VerifyError> {
        if self.enc {
            return Err(VerifyError::Encrypted);
        }
        match self.refused {
            // Nobody who understands no extension may go on (RFC 7515 section 4.1.11).
            Some("crit") => {
                return Err(invalid("crit", "JWTBCP-20", "lists extensions, and none is understood here"));
            }
            Some("zip") => {
                return Err(invalid("zip", "JWTBCP-08", "asks for decompression, which is not done"));
            }
            Some(member) => {
                return Err(invalid(member, "JWTBCP-20", "is an extension that is not understood here"));
            }
            None => {}
        }
        if self.kid.as_ref().is_some_and(|kid| kid.len() > Jwk::KID_BYTES_MAX) {
            let problem = format!("must not be longer than {} bytes", Jwk::KID_BYTES_MAX);
            return Err(invalid("kid", "JWTBCP-14", problem));
        }
        if self.cty.as_deref().is_some_and(|cty| is_media_type(cty, "JWT")) {
            return Err(invalid("cty", "JWTBCP-05", "announces a nested token, which is not accepted"));
        }
        let alg = self.alg.ok_or_else(|| invalid("alg", "JWTBCP-01", "is missing"))?;
        Ok(Header { algorithm: alg?, kid: self.kid, typ: self.typ, cty: self.cty })
    }
}

/// Whether both names mean one media type: in any case, with or without `application/` (RFC 7515
/// section 4.1.9).
pub(crate) fn is_media_type(written: &str, expected: &str) -> bool {
    const PREFIX: &str = "application/";
    let name = match written.split_at_checked(PREFIX.len()) {
        Some((prefix, name)) if prefix.eq_ignore_ascii_case(PREFIX) => name,
        _ => written,
    };
    name.eq_ignore_ascii_case(expected)
}

fn invalid(member: &str, rule: &'static str, problem: impl Into<Cow<'static, str>>) -> VerifyError {
    VerifyError::Malformed(Invalid::new(member, rule, problem).within("header"))
}

/// The name of a member or an algorithm, borrowed from the text unless it is written with escapes.
#[derive(serde::Deserialize, PartialEq)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        // Those that are acted upon are told from their places; a list is needed for others only.
        let mut others: Vec<Name<'de>> = Vec::new();
        let mut count = 0;
        while let Some(name) = map.next_key::<Name<'de>>()? {
            // Two readers might each take another one of two equal members (RFC 7515 section 4).
            let twice = match name.0.as_ref() {
                "alg" => members.alg.is_some(),
                "kid" => members.kid.is_some(),
                "typ" => members.typ.is_some(),
                "cty" => members.cty.is_some(),
                _ => others.contains(&name),
            };
            if twice || count == Header::MEMBERS_MAX {
                return Err(de::Error::custom("repeated member, or too many"));
            }
            count += 1;
            let mut refuse = |member| {
                members.refused.get_or_insert(member);
            };
            match name.0.as_ref() {
                "alg" => members.alg = Some(map.next_value::<Name<'de>>()?.0.parse()),
                "kid" => members.kid = Some(map.next_value()?),
                "typ" => members.typ = Some(map.next_value()?),
                "cty" => members.cty = Some(map.next_value()?),
                other => {
                    match other {
                        "enc" => members.enc = true,
                        "crit" => refuse("crit"),
                        "zip" => refuse("zip"),
                        "b64" => refuse("b64"),
                        _ => {}
                    }
                    map.next_value::<IgnoredAny>()?;
                    others.push(name);
                }
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Header, VerifyError> {
        Header::from_json(json.as_bytes())
    }

    #[test]
    fn white_space_and_unknown_members_do_not_matter() {
        let expected = Header {
            algorithm: Algorithm::Rs256,
            kid: Some("k".to_owned()),
            typ: Some("secevent+jwt".to_owned()),
            cty: None,
        };
        for json in [
            r#"{"alg":"RS256","kid":"k","typ":"secevent+jwt"}"#,
            "{\"typ\":\"secevent+jwt\",\"alg\":\"RS256\",\n\"kid\":\"k\"}\n",
            " \r\n\t{\"alg\" : \"RS256\",\"kid\":\"\\u006b\",\"typ\":\"secevent+jwt\"} \r\n",
            r#"{"alg":"RS256","kid":"k","typ":"secevent+jwt","x":{"alg":"none","alg":1},"jwk":[[[{}]]]}"#,
        ] {
            assert_eq!(read(json), Ok(expected.clone()), "{json}");
        }
    }

    #[test]
    fn a_header_is_one_object_of_distinct_members() {
        for json in [
            "",
            "[]",
            "null",
            "\"RS256\"",
            "{}",
            r#"{"alg":"RS256"}{}"#,
            r#"{"alg":"RS256",}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256","\u0061lg":"ES256"}"#,
            r#"{"alg":"RS256","x":1,"x":1}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","kid":7}"#,
            r#"{"alg":"RS256","typ":null}"#,
            "\u{feff}{\"alg\":\"RS256\"}",
        ] {
            assert!(matches!(read(json), Err(VerifyError::Malformed(_))), "{json}");
        }
        assert!(Header::from_json(b"{\"alg\":\"RS256\",\"x\":\"\xff\"}").is_err());
        let utf16: Vec<u8> = r#"{"alg":"RS256"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(Header::from_json(&utf16).is_err());
    }

    #[test]
    fn what_changes_processing_is_refused() {
        for (json, member, rule) in [
            (r#"{"alg":"RS256","crit":["x"],"x":1}"#, "header.crit", "JWTBCP-20"),
            (r#"{"alg":"RS256","crit":[]}"#, "header.crit", "JWTBCP-20"),
            (r#"{"alg":"RS256","b64":false,"crit":["b64"]}"#, "header.b64", "JWTBCP-20"),
            (r#"{"alg":"RS256","zip":"DEF"}"#, "header.zip", "JWTBCP-08"),
            (r#"{"alg":"RS256","cty":"JWT"}"#, "header.cty", "JWTBCP-05"),
            (r#"{"alg":"RS256","cty":"application/jwt"}"#, "header.cty", "JWTBCP-05"),
            (r#"{"typ":"secevent+jwt"}"#, "header.alg", "JWTBCP-01"),
        ] {
            let Err(VerifyError::Malformed(invalid)) = read(json) else { panic!("{json}") };
            assert_eq!((invalid.member(), invalid.rule()), (member, rule), "{json}");
        }
        assert_eq!(read(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#), Err(VerifyError::Encrypted));
        assert_eq!(read(r#"{"alg":"none"}"#), Err(VerifyError::Algorithm(AlgorithmError::None)));
    }

    #[test]
    fn bounds_are_reached() {
        let long = |length: usize| format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(length));
        assert!(read(&long(Jwk::KID_BYTES_MAX)).is_ok());
        assert!(read(&long(Jwk::KID_BYTES_MAX + 1)).is_err());

        let many = |count: usize| {
            let members: Vec<_> = (1..count).map(|at| format!(r#""x{at}":0"#)).collect();
            format!(r#"{{"alg":"RS256",{}}}"#, members.join(","))
        };
        assert!(read(&many(Header::MEMBERS_MAX)).is_ok());
        assert!(read(&many(Header::MEMBERS_MAX + 1)).is_err());

        let padded = |length: usize| format!("{:length$}", r#"{"alg":"RS256"}"#);
        assert!(read(&padded(Header::JSON_BYTES_MAX)).is_ok());
        assert!(read(&padded(Header::JSON_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn media_types_are_compared_as_such() {
        for (written, same) in [
            ("secevent+jwt", true),
            ("SecEvent+JWT", true),
            ("application/secevent+jwt", true),
            ("APPLICATION/secevent+jwt", true),
            ("application/application/secevent+jwt", false),
            ("text/secevent+jwt", false),
            ("secevent+jwt; charset=utf-8", false),
            (" secevent+jwt", false),
            ("applicatioñ/secevent+jwt", false),
            ("", false),
        ] {
            assert_eq!(is_media_type(written, "secevent+jwt"), same, "{written}");
        }
    }
}
