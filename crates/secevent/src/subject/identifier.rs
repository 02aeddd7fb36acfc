//! Simple subjects: one identifier in one of the known formats, or in one that is kept as it came.

use crate::event::Strictness;
use crate::{Invalid, uri};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// One subject identifier (RFC 9493 section 3; SSF 1.0 section 3.5; RFC 9967 section 2.1; the OAuth event
/// types draft, section 2).
///
/// A value of this type is right: its members are checked when it is made and when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Identifier {
    /// `account`: an `acct:` URI.
    #[non_exhaustive]
    Account {
        /// The `acct:` URI.
        uri: String,
    },
    /// `email`: a mailbox.
    #[non_exhaustive]
    Email {
        /// The address, without a display name.
        email: String,
    },
    /// `iss_sub`: what an issuer calls the subject. This issuer is not the token's.
    #[non_exhaustive]
    IssSub {
        /// Who names the subject.
        iss: String,
        /// How it is named there.
        sub: String,
    },
    /// `opaque`: a string that means something to the two parties alone.
    #[non_exhaustive]
    Opaque {
        /// The identifier.
        id: String,
    },
    /// `phone_number`: a number in E.164 form.
    #[non_exhaustive]
    PhoneNumber {
        /// The number with its international prefix, for example `+12065550100`.
        phone_number: String,
    },
    /// `did`: a decentralized identifier.
    #[non_exhaustive]
    Did {
        /// The DID URL, possibly a bare DID.
        url: String,
    },
    /// `uri`: any URI; nobody promises that it can be fetched.
    #[non_exhaustive]
    Uri {
        /// The URI.
        uri: String,
    },
    /// `aliases`: several identifiers of one and the same entity.
    #[non_exhaustive]
    Aliases {
        /// One or more identifiers, none of them `aliases`.
        identifiers: Vec<Identifier>,
    },
    /// `jwt_id`: a JWT by its issuer and `jti`.
    #[non_exhaustive]
    JwtId {
        /// The `iss` of that JWT.
        iss: String,
        /// The `jti` of that JWT.
        jti: String,
    },
    /// `saml_assertion_id`: a SAML assertion.
    #[non_exhaustive]
    SamlAssertionId {
        /// The assertion's issuer.
        issuer: String,
        /// The assertion's ID.
        assertion_id: String,
    },
    /// `ip-addresses`: the addresses of a subject. The format and its member are hyphenated.
    #[non_exhaustive]
    IpAddresses {
        /// IPv4 and IPv6 addresses in text form.
        addresses: Vec<String>,
    },
    /// `scim`: a SCIM resource.
    Scim(Scim),
    /// `oauth_token`: a token of an OAuth authorization server.
    #[non_exhaustive]
    OauthToken {
        /// `access_token`, `authorization_code` or `refresh_token`.
        token_type: String,
        /// How `token` is to be read: `plain`, `prefix`, or `hash_` and an algorithm.
        token_identifier_alg: String,
        /// The token's identifier.
        token: String,
    },
    /// `oauth_client`: an OAuth client.
    #[non_exhaustive]
    OauthClient {
        /// Its client id.
        client_id: String,
    },
    /// A format that is not known here, kept as it came (SSF 1.0 section 3.4).
    Other(Other),
}

/// A SCIM resource: its path and what else names it uniquely (RFC 9967 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Scim {
    /// The path below the SCIM base URI, for example `/Users/2b2f880a`.
    pub uri: String,
    /// The `externalId`, if known.
    pub external_id: Option<String>,
    /// The `id`, which older peers want beside the path.
    pub id: Option<String>,
    /// Further attributes that are unique in the server or globally, such as `userName`.
    pub attributes: Map<String, Value>,
}

/// A subject identifier in a format that is not known here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Other {
    /// The format's name, as it came.
    pub format: String,
    /// All members but `format`.
    pub members: Map<String, Value>,
}

impl Identifier {
    /// An `acct:` URI.
    pub fn account(uri: &str) -> Result<Self, Invalid> {
        Self::made("account", &[("uri", uri)])
    }

    /// An e-mail address.
    pub fn email(email: &str) -> Result<Self, Invalid> {
        Self::made("email", &[("email", email)])
    }

    /// A subject by its issuer.
    pub fn iss_sub(iss: &str, sub: &str) -> Result<Self, Invalid> {
        Self::made("iss_sub", &[("iss", iss), ("sub", sub)])
    }

    /// An opaque identifier.
    pub fn opaque(id: &str) -> Result<Self, Invalid> {
        Self::made("opaque", &[("id", id)])
    }

    /// A phone number in E.164 form.
    pub fn phone_number(number: &str) -> Result<Self, Invalid> {
        Self::made("phone_number", &[("phone_number", number)])
    }

    /// A DID or DID URL.
    pub fn did(url: &str) -> Result<Self, Invalid> {
        Self::made("did", &[("url", url)])
    }

    /// A URI. An address that has a format of its own (`mailto:`, `tel:`, `did:`, `acct:`) belongs in that
    /// format and is refused here (RFC 9493 section 3.2).
    pub fn uri(uri: &str) -> Result<Self, Invalid> {
        let scheme = uri.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if ["mailto", "tel", "did", "acct"].contains(&scheme.as_str()) {
            return Err(Invalid::new(
                "uri",
                "SUBJ-06",
                format!("must use the format for {scheme}: addresses"),
            ));
        }
        Self::made("uri", &[("uri", uri)])
    }

    /// Several names of one entity. Exact duplicates are dropped; alias lists do not nest.
    pub fn aliases(identifiers: impl IntoIterator<Item = Self>) -> Result<Self, Invalid> {
        let mut distinct: Vec<Self> = Vec::new();
        for identifier in identifiers {
            if !distinct.contains(&identifier) {
                distinct.push(identifier);
            }
        }
        Self::checked_aliases(distinct)
    }

    /// A JWT by its issuer and `jti`.
    pub fn jwt_id(iss: &str, jti: &str) -> Result<Self, Invalid> {
        Self::made("jwt_id", &[("iss", iss), ("jti", jti)])
    }

    /// A SAML assertion.
    pub fn saml_assertion_id(issuer: &str, assertion_id: &str) -> Result<Self, Invalid> {
        Self::made("saml_assertion_id", &[("issuer", issuer), ("assertion_id", assertion_id)])
    }

    /// The addresses of a subject.
    pub fn ip_addresses(addresses: &[&str]) -> Result<Self, Invalid> {
        let members = json!({"format": "ip-addresses", "ip-addresses": addresses});
        Self::from_value(members, Strictness::Strict)
    }

    /// A SCIM resource by its path.
    pub fn scim(uri: &str) -> Result<Self, Invalid> {
        Self::made("scim", &[("uri", uri)])
    }

    /// An OAuth client.
    pub fn oauth_client(client_id: &str) -> Result<Self, Invalid> {
        Self::made("oauth_client", &[("client_id", client_id)])
    }

    fn made(format: &'static str, texts: &[(&'static str, &str)]) -> Result<Self, Invalid> {
        let pair = |(name, text): (&'static str, &str)| (Cow::Borrowed(name), Value::from(text));
        let members = std::iter::once(("format", format)).chain(texts.iter().copied()).map(pair);
        Self::from_members(members.collect(), Strictness::Strict)
    }

    /// Reads an identifier from parsed JSON.
    pub fn from_value(value: Value, strictness: Strictness) -> Result<Self, Invalid> {
        match value {
            Value::Object(members) => Self::from_members(pairs(members), strictness),
            _ => Err(Invalid::new("", "SUBJ-01", "must be a JSON object with a `format`")),
        }
    }

    pub(crate) fn from_members(members: Pairs<'_>, strictness: Strictness) -> Result<Self, Invalid> {
        let mut rest = Members { members, strictness };
        let format = match rest.take("format") {
            Some(Value::String(format)) if !format.is_empty() => format,
            Some(_) => return Err(Invalid::new("format", "SUBJ-01", "must be a string that is not empty")),
            None => return Err(Invalid::new("format", "SUBJ-01", "is required and missing")),
        };
        let identifier = match format.as_str() {
            "account" => Self::Account { uri: rest.text("uri", "SUBJ-08", is_acct, "must be an acct: URI")? },
            "email" => Self::Email {
                email: rest.text(
                    "email",
                    "SUBJ-09",
                    is_addr_spec,
                    "must be an address without a display name",
                )?,
            },
            "iss_sub" => Self::IssSub { iss: rest.any("iss", "SUBJ-12")?, sub: rest.any("sub", "SUBJ-12")? },
            "opaque" => Self::Opaque { id: rest.any("id", "SUBJ-13")? },
            "phone_number" => Self::PhoneNumber { phone_number: rest.phone_number()? },
            // SSF 1.0 and RISC 1.0 write `phone` where they mean the registered name (E-49).
            "phone" if strictness == Strictness::Lenient => {
                Self::PhoneNumber { phone_number: rest.phone_number()? }
            }
            "did" => Self::Did { url: rest.text("url", "SUBJ-16", is_did, "must be a DID or a DID URL")? },
            "uri" => Self::Uri { uri: rest.text("uri", "SUBJ-17", uri::is_uri, "must be a URI")? },
            "aliases" => return rest.aliases(),
            "jwt_id" => Self::JwtId { iss: rest.any("iss", "SSF-13")?, jti: rest.any("jti", "SSF-13")? },
            "saml_assertion_id" => Self::SamlAssertionId {
                issuer: rest.any("issuer", "SSF-14")?,
                assertion_id: rest.any("assertion_id", "SSF-14")?,
            },
            "ip-addresses" => Self::IpAddresses { addresses: rest.addresses()? },
            "scim" => return rest.scim(),
            "oauth_token" => Self::OauthToken {
                token_type: rest.listed("token_type", "OAUTH-03", is_token_type)?,
                token_identifier_alg: rest.listed(
                    "token_identifier_alg",
                    "OAUTH-03",
                    is_token_identifier_alg,
                )?,
                token: rest.any("token", "OAUTH-03")?,
            },
            "oauth_client" => Self::OauthClient { client_id: rest.any("client_id", "OAUTH-06")? },
            "complex" => {
                return Err(Invalid::new("format", "SSF-07", "must be simple here: complex does not nest"));
            }
            "phone" => {
                return Err(Invalid::new("format", "E-49", "must be phone_number, the registered name"));
            }
            _ => return Ok(Self::Other(Other { format, members: rest.left() })),
        };
        rest.nothing_left()?;
        Ok(identifier)
    }

    fn checked_aliases(identifiers: Vec<Self>) -> Result<Self, Invalid> {
        if identifiers.is_empty() {
            return Err(Invalid::new("identifiers", "SUBJ-18", "must have at least one identifier"));
        }
        if let Some(place) = identifiers.iter().position(|one| matches!(one, Self::Aliases { .. })) {
            let place = format!("[{place}]");
            return Err(Invalid::new(place, "SUBJ-20", "must not be aliases again").within("identifiers"));
        }
        Ok(Self::Aliases { identifiers })
    }

    /// The format's name.
    pub fn format(&self) -> &str {
        match self {
            Self::Account { .. } => "account",
            Self::Email { .. } => "email",
            Self::IssSub { .. } => "iss_sub",
            Self::Opaque { .. } => "opaque",
            Self::PhoneNumber { .. } => "phone_number",
            Self::Did { .. } => "did",
            Self::Uri { .. } => "uri",
            Self::Aliases { .. } => "aliases",
            Self::JwtId { .. } => "jwt_id",
            Self::SamlAssertionId { .. } => "saml_assertion_id",
            Self::IpAddresses { .. } => "ip-addresses",
            Self::Scim(_) => "scim",
            Self::OauthToken { .. } => "oauth_token",
            Self::OauthClient { .. } => "oauth_client",
            Self::Other(other) => &other.format,
        }
    }

    /// Checks what a lenient reading leaves open. The other formats have one way to be right.
    pub(crate) fn check_strictly(&self) -> Result<(), Invalid> {
        match self {
            Self::OauthToken { .. } | Self::Aliases { .. } | Self::Scim(_) | Self::Other(_) => {
                Self::from_value(self.to_value(), Strictness::Strict).map(drop)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn check_format(&self) -> Result<(), Invalid> {
        match self {
            Self::Other(other) if !is_collision_resistant(&other.format) => Err(Invalid::new(
                "format",
                "SUBJ-05",
                format!(
                    "must be one of {}, or a name of your own with a domain in it, such as com.example.badge",
                    super::Subject::FORMATS.join(", ")
                ),
            )),
            Self::Aliases { identifiers } => {
                let mut numbered = identifiers.iter().enumerate();
                numbered.try_for_each(|(place, one)| {
                    one.check_format().map_err(|error| error.within(&format!("identifiers[{place}]")))
                })
            }
            _ => Ok(()),
        }
    }

    /// The identifier as JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("identifiers are strings and JSON")
    }

    /// The members of the formats that have strings alone.
    fn texts(&self) -> Option<Vec<(&'static str, &str)>> {
        Some(match self {
            Self::Account { uri } | Self::Uri { uri } => vec![("uri", uri)],
            Self::Email { email } => vec![("email", email)],
            Self::IssSub { iss, sub } => vec![("iss", iss), ("sub", sub)],
            Self::Opaque { id } => vec![("id", id)],
            Self::PhoneNumber { phone_number } => vec![("phone_number", phone_number)],
            Self::Did { url } => vec![("url", url)],
            Self::JwtId { iss, jti } => vec![("iss", iss), ("jti", jti)],
            Self::SamlAssertionId { issuer, assertion_id } => {
                vec![("issuer", issuer), ("assertion_id", assertion_id)]
            }
            Self::OauthToken { token_type, token_identifier_alg, token } => {
                vec![
                    ("token_type", token_type),
                    ("token_identifier_alg", token_identifier_alg),
                    ("token", token),
                ]
            }
            Self::OauthClient { client_id } => vec![("client_id", client_id)],
            Self::Aliases { .. } | Self::IpAddresses { .. } | Self::Scim(_) | Self::Other(_) => return None,
        })
    }
}

/// The members of an object, names and values, in the order in which they came.
pub(crate) type Pairs<'a> = Vec<(Cow<'a, str>, Value)>;

/// The members of a parsed object.
pub(crate) fn pairs(members: Map<String, Value>) -> Pairs<'static> {
    members.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect()
}

/// The members of an identifier that are still to be read. There are few, so a list is searched faster than a map
/// is built.
struct Members<'a> {
    members: Pairs<'a>,
    strictness: Strictness,
}

impl Members<'_> {
    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.members.iter().position(|(known, _)| known == name)?;
        Some(self.members.remove(place).1)
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(known, _)| known == name)
    }

    /// What is left, to be kept.
    fn left(self) -> Map<String, Value> {
        self.members.into_iter().map(|(name, value)| (name.into_owned(), value)).collect()
    }

    fn any(&mut self, name: &'static str, rule: &'static str) -> Result<String, Invalid> {
        self.text(name, rule, |_| true, "")
    }

    /// A value out of a list: a reader takes others too, a writer has no others.
    fn listed(
        &mut self,
        name: &'static str,
        rule: &'static str,
        known: fn(&str) -> bool,
    ) -> Result<String, Invalid> {
        let lenient = self.strictness == Strictness::Lenient;
        self.text(
            name,
            rule,
            |value| lenient || known(value),
            "must be one of the values that its format lists",
        )
    }

    fn text(
        &mut self,
        name: &'static str,
        rule: &'static str,
        fits: impl Fn(&str) -> bool,
        otherwise: &'static str,
    ) -> Result<String, Invalid> {
        match self.take(name) {
            Some(Value::String(text)) if text.is_empty() => {
                Err(Invalid::new(name, rule, "must not be empty"))
            }
            Some(Value::String(text)) if fits(&text) => Ok(text),
            Some(Value::String(_)) => Err(Invalid::new(name, rule, otherwise)),
            Some(_) => Err(Invalid::new(name, rule, "must be a string")),
            None => Err(Invalid::new(name, rule, "is required and missing")),
        }
    }

    fn phone_number(&mut self) -> Result<String, Invalid> {
        let problem = "must be a number in E.164 form: a plus and at most 15 digits";
        if self.strictness == Strictness::Strict {
            return self.text("phone_number", "SUBJ-14", is_e164, problem);
        }
        // Even SSF's own example has spaces in it, so they are dropped on receipt (E-50). `phone` is the
        // member that goes with the old format of that name.
        if let Some(old) = self.take("phone")
            && !self.has("phone_number")
        {
            self.members.push((Cow::Borrowed("phone_number"), old));
        }
        let number = self.any("phone_number", "SUBJ-14")?;
        let plain: String = number.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '(' | ')')).collect();
        if is_e164(&plain) { Ok(plain) } else { Err(Invalid::new("phone_number", "SUBJ-14", problem)) }
    }

    fn addresses(&mut self) -> Result<Vec<String>, Invalid> {
        const NAME: &str = "ip-addresses";
        let wrong = |problem: &'static str| Invalid::new(NAME, "SSF-15", problem);
        let Some(addresses) = self.take(NAME) else { return Err(wrong("is required and missing")) };
        let Value::Array(addresses) = addresses else { return Err(wrong("must be an array of strings")) };
        let read =
            |(place, address): (usize, Value)| match address {
                Value::String(text) if text.parse::<std::net::IpAddr>().is_ok() => Ok(text),
                _ => Err(Invalid::new(format!("[{place}]"), "SSF-15", "must be an IPv4 or IPv6 address")
                    .within(NAME)),
            };
        addresses.into_iter().enumerate().map(read).collect()
    }

    fn aliases(mut self) -> Result<Identifier, Invalid> {
        const NAME: &str = "identifiers";
        let wrong = |problem: &'static str| Invalid::new(NAME, "SUBJ-18", problem);
        let Some(identifiers) = self.take(NAME) else {
            return Err(wrong("is required and missing"));
        };
        let Value::Array(identifiers) = identifiers else { return Err(wrong("must be an array")) };
        let read = |(place, value)| {
            Identifier::from_value(value, self.strictness)
                .map_err(|error| error.within(&format!("[{place}]")).within(NAME))
        };
        let identifiers = identifiers.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        self.nothing_left()?;
        Identifier::checked_aliases(identifiers)
    }

    fn scim(mut self) -> Result<Identifier, Invalid> {
        let problem = "must be a path below the SCIM base URI, such as /Users/2b2f880a";
        let uri = self.text("uri", "SCIM-06", is_scim_path, problem)?;
        let mut optional = |name: &'static str| match self.has(name) {
            true => self.any(name, "SCIM-07").map(Some),
            false => Ok(None),
        };
        let (external_id, id) = (optional("externalId")?, optional("id")?);
        Ok(Identifier::Scim(Scim { uri, external_id, id, attributes: self.left() }))
    }

    /// An issuer sends no member that the format does not describe; a receiver ignores it (E-114).
    fn nothing_left(&self) -> Result<(), Invalid> {
        match self.members.first() {
            Some((extra, _)) if self.strictness == Strictness::Strict => {
                Err(Invalid::new(extra.as_ref(), "SUBJ-03", "is no member of this format"))
            }
            _ => Ok(()),
        }
    }
}

/// Names that nobody gives twice: a URI, a domain name or OID, a UUID (RFC 7519 section 2).
fn is_collision_resistant(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_dotted = text.contains('.') && text.split('.').all(is_label);
    let is_uuid = text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_dotted || is_uuid || uri::is_uri(text)
}

fn is_acct(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("acct:") else { return false };
    let Some((user, host)) = rest.split_once('@') else { return false };
    let plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| "@/?#".contains(c) || c.is_whitespace());
    plain(user) && plain(host)
}

/// An addr-spec: a dot-atom or a quoted string, an at sign, a domain (RFC 5322 section 3.4.1).
fn is_addr_spec(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| "<>@".contains(c) || c.is_whitespace());
    let local_fits = match local.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(quoted) => is_quoted_content(quoted),
        None => plain(local) && !local.contains('"'),
    };
    local_fits && plain(domain)
}

fn is_quoted_content(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none_or(|c| matches!(c, '\r' | '\n')) => return false,
            '"' | '\r' | '\n' => return false,
            _ => {}
        }
    }
    true
}

fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (2..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_did(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let method_fits = |method: &str| {
        !method.is_empty() && method.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    parts.next() == Some("did")
        && parts.next().is_some_and(method_fits)
        && parts.next().is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

fn is_token_type(text: &str) -> bool {
    ["access_token", "authorization_code", "refresh_token"].contains(&text)
}

fn is_token_identifier_alg(text: &str) -> bool {
    matches!(text, "plain" | "prefix") || text.strip_prefix("hash_").is_some_and(|hash| !hash.is_empty())
}

fn is_scim_path(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains(|c: char| "?#".contains(c) || c.is_whitespace())
}

impl Serialize for Identifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("format", self.format())?;
        for (name, text) in self.texts().into_iter().flatten() {
            map.serialize_entry(name, text)?;
        }
        match self {
            Self::Aliases { identifiers } => map.serialize_entry("identifiers", identifiers)?,
            Self::IpAddresses { addresses } => map.serialize_entry("ip-addresses", addresses)?,
            Self::Scim(scim) => {
                map.serialize_entry("uri", &scim.uri)?;
                let named = [("externalId", &scim.external_id), ("id", &scim.id)];
                for (name, value) in named.into_iter().filter(|(_, value)| value.is_some()) {
                    map.serialize_entry(name, value)?;
                }
                for (name, value) in &scim.attributes {
                    map.serialize_entry(name, value)?;
                }
            }
            Self::Other(other) => {
                for (name, value) in other.members.iter().filter(|(name, _)| *name != "format") {
                    map.serialize_entry(name, value)?;
                }
            }
            _ => {}
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?, Strictness::Lenient).map_err(D::Error::custom)
    }
}
