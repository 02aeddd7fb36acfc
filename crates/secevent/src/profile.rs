//! Which claims must, may and must not stand in a SET: one table for every family of SETs.

use crate::claims::Claims;
use crate::event::Strictness;
use crate::{EventType as _, Identifier, Invalid, Issuer, Subject, logout, scim};
use std::fmt;
use std::str::FromStr;

/// A set of rules that a SET is made or read under.
///
/// The rules contradict each other, so a token is never just "a SET": SSF forbids `exp` and `sub`, while a
/// logout token needs `exp` and lives on `sub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// RFC 8417 by its letter, and no more.
    Rfc8417,
    /// A SET for a plain RFC 8935 or 8936 recipient, outside SSF: RFC 8417 hardened against being taken for
    /// another kind of JWT, so `aud` must be there and `exp` must not.
    Plain,
    /// A SET on an SSF 1.0 stream: CAEP, RISC, and SSF's own events.
    Ssf,
    /// A SCIM event (RFC 9967).
    Scim,
    /// A logout token (OpenID Connect Back-Channel Logout 1.0).
    Logout,
    /// A SET of a peer that has not moved on from SSE ID1 or early RISC: the subject may be in the payload.
    /// Only ever for reading, and only where a peer is configured so (LEGACY-27).
    Legacy,
}

/// Whether a claim stands in a SET, and the requirement that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be there.
    Must(&'static str),
    /// It should be there.
    Should(&'static str),
    /// It may be there.
    May,
    /// It should not be there.
    ShouldNot(&'static str),
    /// It must not be there.
    MustNot(&'static str),
}

use Presence::{May, Must, MustNot, Should, ShouldNot};

/// One claim and its presence in each profile, in the order of [`Profile::ALL`].
struct Row(&'static str, [Presence; 6]);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    //               RFC 8417              plain                  SSF                  SCIM                 logout             legacy
    Row("iss",    [Must("SET-02"),      Must("SET-02"),        Must("SET-02"),      Must("SET-02"),      Must("BCL-08"),    Must("SET-02")]),
    Row("iat",    [Must("SET-03"),      Must("SET-03"),        Must("SET-03"),      Must("SET-03"),      Must("BCL-08"),    Must("SET-03")]),
    Row("jti",    [Must("SET-04"),      Must("SET-04"),        Must("SET-04"),      Must("SET-04"),      Must("BCL-08"),    Must("SET-04")]),
    Row("aud",    [Should("SET-07"),    Must("JWTBCP-12"),     Must("SSF-75"),      Should("SET-07"),    Must("BCL-08"),    Should("SET-07")]),
    Row("events", [Must("SET-01"),      Must("SET-01"),        Must("SET-01"),      Must("SET-01"),      Must("BCL-08"),    Must("SET-01")]),
    Row("sub_id", [May,                 May,                   Must("SSF-01"),      Must("SCIM-03"),     May,               May]),
    Row("sub",    [May,                 May,                   MustNot("SSF-19"),   MustNot("SCIM-04"),  May,               May]),
    Row("sid",    [May,                 May,                   May,                 May,                 May,               May]),
    Row("exp",    [ShouldNot("SET-10"), MustNot("SET-11"),     MustNot("SSF-20"),   ShouldNot("SET-10"), Must("BCL-08"),    ShouldNot("SET-10")]),
    Row("nonce",  [May,                 MustNot("SET-11"),     May,                 May,                 MustNot("BCL-15"), May]),
    Row("txn",    [May,                 May,                   Should("SSF-26"),    Should("SCIM-10"),   May,               May]),
    Row("toe",    [May,                 May,                   May,                 May,                 May,               May]),
];

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 6] =
        [Self::Rfc8417, Self::Plain, Self::Ssf, Self::Scim, Self::Logout, Self::Legacy];

    /// The name by which configuration and the command line know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rfc8417 => "rfc8417",
            Self::Plain => "plain",
            Self::Ssf => "ssf",
            Self::Scim => "scim",
            Self::Logout => "logout",
            Self::Legacy => "legacy",
        }
    }

    /// The `typ` that a token of this profile is written with, without the `application/` prefix.
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Logout => "logout+jwt",
            _ => "secevent+jwt",
        }
    }

    /// Whether a token with this `typ` may be read under this profile (SET-23, SSF-18, BCL-20).
    ///
    /// Media types compare without regard to letter case, and `application/` may be spelled out. Only RFC
    /// 8417 itself and peers known to be legacy may leave the type out; logout tokens of most providers do.
    pub fn accepts_typ(self, typ: Option<&str>) -> bool {
        let kind = typ.map(|typ| {
            let typ = typ.to_ascii_lowercase();
            typ.strip_prefix("application/").map_or(typ.clone(), str::to_owned)
        });
        match (self, kind.as_deref()) {
            (Self::Logout, kind) => matches!(kind, None | Some("jwt" | "logout+jwt")),
            (_, Some("secevent+jwt")) => true,
            (Self::Rfc8417 | Self::Legacy, kind) => matches!(kind, None | Some("jwt")),
            _ => false,
        }
    }

    /// Whether the claim of this name stands in a SET of this profile.
    pub fn presence(self, claim: &str) -> Presence {
        let row = TABLE.iter().find(|Row(name, _)| *name == claim);
        row.map_or(May, |Row(_, presence)| presence[self as usize])
    }

    /// The claims that the table speaks about.
    pub fn claims() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|Row(name, _)| *name)
    }

    /// Checks that `claims` are a SET of this profile. Payloads are for [`crate::Vocabulary::check`].
    pub fn check(self, claims: &Claims, strictness: Strictness) -> Result<(), Invalid> {
        match self.breaches(claims, strictness).into_iter().next() {
            Some(breach) => Err(breach),
            None => Ok(()),
        }
    }

    /// Everything for which [`Profile::check`] would refuse `claims`.
    pub(crate) fn breaches(self, claims: &Claims, strictness: Strictness) -> Vec<Invalid> {
        let mut breaches = Vec::new();
        for &Row(claim, presence) in TABLE {
            match presence[self as usize] {
                Must(rule) if !claims.has(claim) => {
                    breaches.push(Invalid::new(claim, rule, "is required and missing"));
                }
                MustNot(rule) if claims.has(claim) => {
                    breaches.push(Invalid::new(claim, rule, "must not be there"));
                }
                _ => {}
            }
        }
        breaches.extend(claims.values(strictness));
        match self {
            Self::Ssf => breaches.extend(ssf(claims, strictness)),
            Self::Scim => breaches.extend(scim(claims, strictness)),
            Self::Logout => breaches.extend(logout(claims, strictness)),
            Self::Legacy if strictness == Strictness::Strict => {
                breaches.push(Invalid::new(
                    "",
                    "LEGACY-27",
                    "would be in a shape that is read but never written",
                ));
            }
            Self::Rfc8417 | Self::Plain | Self::Legacy => {}
        }
        breaches
    }
}

fn ssf(claims: &Claims, strictness: Strictness) -> Option<Invalid> {
    if claims.events.len() > 1 {
        return Some(Invalid::new("events", "SSF-29", "must hold exactly one event (E-42)"));
    }
    match claims.iss.as_deref() {
        Some(iss)
            if strictness == Strictness::Strict && iss.parse::<Issuer>().is_err() && !is_development(iss) =>
        {
            Some(Invalid::new("iss", "SSF-74", "must be an https URL without query and fragment"))
        }
        _ => None,
    }
}

/// An issuer on this very machine may do without TLS.
fn is_development(iss: &str) -> bool {
    let Ok(issuer) = Issuer::parse_insecure(iss) else { return false };
    let host = issuer.origin().strip_prefix("http://").unwrap_or_default();
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| match host.strip_prefix(local) {
        Some(port) => port.is_empty() || port.starts_with(':'),
        None => false,
    })
}

fn scim(claims: &Claims, strictness: Strictness) -> Option<Invalid> {
    match &claims.sub_id {
        Some(Subject::Simple(Identifier::Scim(_))) | None => {}
        Some(_) => return Some(Invalid::new("sub_id.format", "SCIM-05", "must be scim")),
    }
    let asynchronous = claims.events.raw(scim::AsyncResponse::URI).is_some();
    if asynchronous && claims.txn.is_none() {
        return Some(Invalid::new("txn", "SCIM-10", "is required for an asynchronous response and missing"));
    }
    let known = |uri: &str| scim::DEFINITIONS.iter().any(|definition| definition.uri() == uri);
    let unknown = claims.events.iter().find(|(uri, _)| !known(uri));
    match (strictness, unknown) {
        (Strictness::Strict, Some((uri, _))) => {
            Some(Invalid::new(uri, "SCIM-01", "is none of the registered SCIM events").within("events"))
        }
        _ => None,
    }
}

fn logout(claims: &Claims, strictness: Strictness) -> Option<Invalid> {
    let names_nobody = |claim: &Option<String>| claim.as_deref().unwrap_or_default().is_empty();
    if names_nobody(&claims.sub) && names_nobody(&claims.sid) {
        return Some(Invalid::new("sub", "BCL-11", "or `sid` is required, and neither names anybody"));
    }
    if claims.events.raw(logout::BackchannelLogout::URI).is_none() {
        let problem = format!("must have the member {}", logout::BackchannelLogout::URI);
        return Some(Invalid::new("events", "BCL-09", problem));
    }
    if let (Strictness::Strict, Some(iat), Some(exp)) = (strictness, claims.iat, claims.exp)
        && exp.as_seconds() - iat.as_seconds() > logout::LIFETIME_SECONDS_MAX
    {
        return Some(Invalid::new("exp", "BCL-45", "should be at most two minutes after `iat`"));
    }
    None
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No profile has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no profile is named {0:?}: use rfc8417, plain, ssf, scim, logout or legacy")]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| UnknownProfile(name.to_owned()))
    }
}
