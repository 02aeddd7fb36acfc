//! Everything that is wrong with a token's header and claims, with the requirement and the way to mend it.
//!
//! Readers stop at the first breach; a linter tells all of them, and what should be better too. It looks at
//! the content only: whether the signature is good is not its question.
//!
//! ```
//! use secevent::lint::{self, Ruleset, Severity};
//!
//! let header = br#"{"alg":"RS256","typ":"JWT","kid":"2026-01"}"#;
//! let claims = br#"{"iss":"https://idp.example","jti":"1","iat":1615305159,"events":{}}"#;
//! let findings = lint::check(Some(header), claims, Ruleset::Ssf, None);
//! let rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
//! assert_eq!(rules, ["SSF-18", "SET-12", "SSF-75", "SSF-01", "SSF-26"]);
//! assert_eq!(findings[0].severity, Severity::Error);
//! ```

use crate::claims::Claims;
use crate::event::{Definition, EventStatus, EventType, Strictness};
use crate::{Invalid, Presence, Profile, Subject, Timestamp, Vocabulary, caep, json, quirks};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The rules that a token is linted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruleset {
    /// RFC 8417.
    Rfc8417,
    /// SSF 1.0, with CAEP and RISC.
    Ssf,
    /// The CAEP Interoperability Profile, draft 02, on top of SSF.
    CaepInterop,
    /// Back-Channel Logout 1.0.
    Logout,
    /// RFC 9967, SCIM events.
    Scim,
}

impl Ruleset {
    /// Every ruleset.
    pub const ALL: [Self; 5] = [Self::Rfc8417, Self::Ssf, Self::CaepInterop, Self::Logout, Self::Scim];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rfc8417 => "rfc8417",
            Self::Ssf => "ssf",
            Self::CaepInterop => "caep-interop",
            Self::Logout => "logout",
            Self::Scim => "scim",
        }
    }

    /// The profile that it builds on.
    pub const fn profile(self) -> Profile {
        match self {
            Self::Rfc8417 => Profile::Rfc8417,
            Self::Ssf | Self::CaepInterop => Profile::Ssf,
            Self::Logout => Profile::Logout,
            Self::Scim => Profile::Scim,
        }
    }
}

/// No ruleset has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no ruleset is named {0:?}: use rfc8417, ssf, caep-interop, logout or scim")]
pub struct UnknownRuleset(String);

impl FromStr for Ruleset {
    type Err = UnknownRuleset;

    fn from_str(name: &str) -> Result<Self, UnknownRuleset> {
        Self::ALL
            .into_iter()
            .find(|ruleset| ruleset.name() == name)
            .ok_or_else(|| UnknownRuleset(name.to_owned()))
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// A SHOULD is not kept; some peers will mind.
    Warning,
    /// A MUST is broken; a strict peer refuses the token.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing that a linter has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The requirement, as `specs/` lists them.
    pub rule: &'static str,
    /// Where it is: `header.…` or the claim's path; empty for the whole.
    pub member: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty where the message says it all.
    pub fix: String,
}

/// Lints a token's claims, its header if there is one at hand, and its times if `now` is told.
pub fn check(header: Option<&[u8]>, claims: &[u8], ruleset: Ruleset, now: Option<Timestamp>) -> Vec<Finding> {
    let mut lint = Lint { ruleset, findings: Vec::new() };
    if let Some(header) = header {
        match object(header) {
            Ok(header) => lint.header(&header),
            Err(error) => lint.error(error.within("header")),
        }
    }
    match json::check(claims, json::Limits::TOKEN)
        .and_then(|text| Ok((Claims::collect(text)?, object(claims)?)))
    {
        Ok(((read, breaches), raw)) => lint.claims(&read, breaches, &raw, now),
        Err(error) => lint.error(error),
    }
    lint.findings
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, Invalid> {
    let text = json::check(bytes, json::Limits::TOKEN)?;
    serde_json::from_str(text).map_err(|error| json::syntax(&error))
}

struct Lint {
    ruleset: Ruleset,
    findings: Vec<Finding>,
}

impl Lint {
    fn error(&mut self, breach: Invalid) {
        self.add(Severity::Error, breach);
    }

    fn warn(
        &mut self,
        member: impl Into<String>,
        rule: &'static str,
        problem: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        self.add(Severity::Warning, Invalid::new(member, rule, problem));
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "each caller has just made it and has no other use for it"
    )]
    fn add(&mut self, severity: Severity, breach: Invalid) {
        let known = |finding: &Finding| finding.member == breach.member() && finding.rule == breach.rule();
        if self.findings.iter().any(known) {
            return;
        }
        self.findings.push(Finding {
            severity,
            rule: breach.rule(),
            member: breach.member().to_owned(),
            message: breach.problem().to_owned(),
            fix: fix(breach.rule()).to_owned(),
        });
    }

    fn header(&mut self, header: &Map<String, Value>) {
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        match text("alg") {
            None => self.error(Invalid::new("header.alg", "JWTBCP-01", "is required and missing")),
            Some(alg) if alg.eq_ignore_ascii_case("none") => {
                self.error(Invalid::new("header.alg", "SET-25", "is none: the token proves nothing"));
            }
            Some(alg) if alg.starts_with("HS") => {
                let problem = "is symmetric: whoever can check the token can also forge it";
                self.error(Invalid::new("header.alg", "JWTBCP-01", problem));
            }
            Some(alg) if self.ruleset == Ruleset::CaepInterop && alg != "RS256" => {
                self.error(Invalid::new("header.alg", "INTEROP-19", "must be RS256"));
            }
            Some(_) => {}
        }
        let profile = self.ruleset.profile();
        match (text("typ"), self.ruleset) {
            (None, Ruleset::Rfc8417) => self.warn("header.typ", "SET-21", "is missing"),
            (None, Ruleset::Logout) => self.warn("header.typ", "BCL-19", "is missing"),
            (typ, _) if !profile.accepts_typ(typ) => {
                let rule = if profile == Profile::Logout { "BCL-20" } else { "SSF-18" };
                self.error(Invalid::new("header.typ", rule, format!("must be {}", profile.typ())));
            }
            (Some(typ), _) if typ != profile.typ() => {
                let rule = if profile == Profile::Logout { "BCL-19" } else { "SET-22" };
                self.warn("header.typ", rule, format!("should be written {}", profile.typ()));
            }
            _ => {}
        }
        if header.get("kid").is_none() {
            self.warn("header.kid", "INTEROP-06", "is missing: the recipient has to guess the key");
        }
        for name in ["jku", "x5u", "jwk", "x5c"].into_iter().filter(|name| header.contains_key(*name)) {
            self.warn(format!("header.{name}"), "JWTBCP-15", "is ignored: keys come from the issuer's JWKS");
        }
        if header.contains_key("crit") {
            self.error(Invalid::new(
                "header.crit",
                "JWTBCP-20",
                "names extensions that no profile here knows",
            ));
        }
        if header.contains_key("zip") {
            self.error(Invalid::new("header.zip", "JWTBCP-08", "must not be there: compression leaks"));
        }
    }

    fn claims(
        &mut self,
        claims: &Claims,
        unread: Vec<Invalid>,
        raw: &Map<String, Value>,
        now: Option<Timestamp>,
    ) {
        unread.into_iter().for_each(|breach| self.error(breach));
        let profile = self.ruleset.profile();
        for breach in profile.breaches(claims, Strictness::Strict) {
            // A claim that could not be read was told above; it is not missing.
            let unread = breach.problem().contains("missing") && raw.contains_key(breach.member());
            if !unread {
                self.error(breach);
            }
        }
        for claim in Profile::claims() {
            match (profile.presence(claim), raw.contains_key(claim)) {
                (Presence::Should(rule), false) => self.warn(claim, rule, "should be there"),
                (Presence::ShouldNot(rule), true) => self.warn(claim, rule, "should not be there"),
                _ => {}
            }
        }
        if let Some(Err(breach)) =
            raw.get("sub_id").map(|value| Subject::from_value(value.clone(), Strictness::Strict))
        {
            self.error(breach.within("sub_id"));
        }
        self.fix_subject(raw);
        for (uri, payload) in claims.events.iter() {
            self.event(uri, payload, claims.sub_id.as_ref());
        }
        if self.ruleset == Ruleset::CaepInterop {
            self.interop(claims);
        }
        if let Some(now) = now {
            self.times(claims, now);
        }
    }

    /// Says what to do about a subject that is there under a known peer's name, or in the payload.
    fn fix_subject(&mut self, raw: &Map<String, Value>) {
        let sub_id = raw.get("sub_id").and_then(Value::as_object);
        let in_payload = raw.get("events").and_then(Value::as_object).and_then(|events| {
            events.iter().find(|(_, payload)| payload.get("subject").is_some_and(Value::is_object))
        });
        for finding in &mut self.findings {
            match (sub_id.and_then(quirks::misnamed_subject_member), in_payload) {
                (Some((theirs, standard)), _) if finding.member == format!("sub_id.{standard}") => {
                    finding.fix = format!("write `{standard}` instead of `{theirs}`");
                }
                (_, Some((uri, _))) if finding.member == "sub_id" && sub_id.is_none() => {
                    finding.fix = format!("move `subject` from the payload of {uri} to a top-level `sub_id`");
                }
                _ => {}
            }
        }
    }

    fn event(&mut self, uri: &str, payload: &str, subject: Option<&Subject>) {
        let Some(definition) = Vocabulary::standard().find(uri) else {
            self.add(
                Severity::Note,
                Invalid::new(uri, "PUSH-39", "is of a type that no standard names").within("events"),
            );
            return;
        };
        if let Err(breach) = Vocabulary::standard().check(uri, payload, subject, Strictness::Strict) {
            self.error(breach);
        }
        if definition.uri() != uri {
            self.warn(format!("events.{uri}"), "SET-17", format!("is an old name of {}", definition.uri()));
        }
        if definition.status() == EventStatus::Deprecated {
            self.warn(format!("events.{uri}"), "RISC-22", "is deprecated: use CAEP session-revoked");
        }
        let Ok(Value::Object(payload)) = serde_json::from_str(payload) else { return };
        self.payload(definition, uri, &payload, subject.is_some());
    }

    fn payload(
        &mut self,
        definition: &Definition,
        uri: &str,
        payload: &Map<String, Value>,
        has_sub_id: bool,
    ) {
        let at = |name: &str| format!("events.{uri}.{name}");
        if let Some(subject) = payload.get("subject").filter(|_| self.ruleset.profile() == Profile::Ssf) {
            let first_came_with_ssf = definition.name().starts_with("ssf:");
            if !has_sub_id {
                // The missing `sub_id` is an error already, and its fix is to move this one.
            } else if first_came_with_ssf {
                self.error(Invalid::new(
                    at("subject"),
                    "SSF-03",
                    "must not be there: the subject is in `sub_id`",
                ));
            } else {
                self.add(
                    Severity::Note,
                    Invalid::new(at("subject"), "SSF-02", "repeats the subject for old peers"),
                );
            }
            if subject.get("subject_type").is_some() {
                self.error(Invalid::new(
                    at("subject.subject_type"),
                    "RISC-24",
                    "is an old spelling of `format`",
                ));
            }
        }
        let milliseconds = |stamp: f64| stamp > 1e11;
        if payload.get("event_timestamp").and_then(Value::as_f64).is_some_and(milliseconds) {
            self.error(Invalid::new(
                at("event_timestamp"),
                "CAEP-02",
                "must be in seconds, and looks like milliseconds",
            ));
        }
        if payload.contains_key("previous_level")
            && definition.uri() == caep::AssuranceLevelChange::URI
            && !payload.contains_key("change_direction")
        {
            self.warn(at("change_direction"), "CAEP-23", "should be there when `previous_level` is");
        }
        if definition.uri() == caep::SessionEstablished::URI && !payload.contains_key("event_timestamp") {
            self.warn(at("event_timestamp"), "E-64", "should be there: it is the time of establishment");
        }
    }

    /// What the CAEP Interoperability Profile asks of a token beyond SSF and CAEP.
    fn interop(&mut self, claims: &Claims) {
        if let Some(Subject::Complex(_)) = &claims.sub_id {
            self.warn("sub_id", "E-81", "should be simple for peers that follow the profile's letter");
        }
        for (uri, payload) in claims.events.iter() {
            let rule = match Vocabulary::standard().find(uri).map(Definition::uri) {
                Some(caep::SessionRevoked::URI) => "INTEROP-30",
                Some(caep::CredentialChange::URI) => "INTEROP-31",
                Some(caep::DeviceComplianceChange::URI | caep::RiskLevelChange::URI) => "E-80",
                _ => continue,
            };
            let payload: Value = serde_json::from_str(payload).unwrap_or_default();
            let text_in = |texts: &Value| match texts {
                Value::Object(texts) => {
                    texts.values().any(|text| text.as_str().is_some_and(|text| !text.is_empty()))
                }
                Value::String(text) => !text.is_empty(),
                _ => false,
            };
            if !payload.get("reason_admin").is_some_and(text_in) {
                let member = format!("events.{uri}.reason_admin");
                self.error(Invalid::new(member, rule, "must be there with at least one text"));
            }
        }
    }

    fn times(&mut self, claims: &Claims, now: Timestamp) {
        if claims.iat.is_some_and(|iat| iat > now.plus(CLOCK_SKEW_MAX)) {
            self.error(Invalid::new("iat", "LEGACY-30", "is in the future"));
        } else if claims.iat.is_some_and(|iat| iat > now) {
            self.warn("iat", "SET-03", "is a little ahead of the clock; some receivers refuse that");
        }
        if claims.exp.is_some_and(|exp| exp < now) && self.ruleset == Ruleset::Logout {
            self.error(Invalid::new("exp", "BCL-29", "has passed"));
        }
    }
}

/// How far ahead of its reader's clock a token's `iat` may be.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// What to do about a breach; empty where the message says it all.
fn fix(rule: &str) -> &'static str {
    match rule {
        "SET-01" | "SET-12" => "add one event to `events`: its URI with an object, {} if it has no data",
        "SET-02" => "set `iss` to the transmitter's issuer URL",
        "SET-03" => "set `iat` to the time of signing, in whole seconds, rounded down",
        "SET-04" | "SET-05" => "set `jti` to a fresh random string for every SET",
        "SET-07" | "SSF-75" | "JWTBCP-12" => {
            "set `aud` to the recipient's name as the stream configuration has it"
        }
        "SET-08" => "write `aud` as a string or an array of strings",
        "SET-10" | "SET-11" | "SSF-20" => "leave `exp` out: a SET tells what happened and does not expire",
        "SET-13" => "name the event by an absolute URI",
        "SET-14" => "write the payload as a JSON object; without data it is {}",
        "SET-15" | "E-33" | "SSF-09" => "keep one of the two",
        "SET-18" => "write `txn` as a string",
        "SET-21" | "SET-22" | "SSF-18" => "set the header's `typ` to secevent+jwt",
        "BCL-19" | "BCL-20" => "set the header's `typ` to logout+jwt",
        "SET-25" | "JWTBCP-01" => "sign with RS256, ES256 or EdDSA",
        "INTEROP-19" => "sign with RS256 and a key of at least 2048 bits",
        "INTEROP-06" => "set `kid` to the key's id in the published JWKS",
        "SSF-01" | "SCIM-03" => "name the subject in a top-level `sub_id`",
        "SSF-19" | "SCIM-04" => "move the subject from `sub` to `sub_id`",
        "SSF-26" | "SCIM-10" => "set `txn` to one string for all SETs of the same cause",
        "SSF-29" => "send one SET for each event",
        "SSF-02" | "SSF-03" => "leave `subject` out of the payload; `sub_id` has it",
        "RISC-22" => "send CAEP session-revoked instead",
        "RISC-24" => "write `format` instead of `subject_type`",
        "CAEP-02" => "divide by 1000",
        "INTEROP-30" | "INTEROP-31" | "E-80" => "add `reason_admin`, for example {\"en\": \"…\"}",
        "E-49" => "write phone_number",
        "SUBJ-14" => "write the number as plus, country code and digits, without spaces",
        "SSF-74" => "write `iss` as an https URL without query and fragment",
        "SSF-07" => "name at least one simple subject, such as `user`",
        "SUBJ-01" => "write the subject as an object with a `format`",
        "SUBJ-03" => "leave the member out",
        "SUBJ-09" => "write the bare address, without a display name",
        "SUBJ-16" => "write a DID, such as did:example:123",
        "SUBJ-17" => "write an absolute URI, percent-encoded",
        "SUBJ-18" => "list at least one identifier",
        "SUBJ-20" => "put the inner list's identifiers into the outer one",
        "CAEP-04" => "write admin, user, policy or system",
        "CAEP-06" => "write the text by its language, for example {\"en\": \"…\"}",
        "CAEP-12" => "put the changed claims with their new values into `claims`",
        "CAEP-15" | "RISC-12" => "name the kind of credential, such as password or fido2-platform",
        "CAEP-16" => "write create, revoke, update or delete",
        "CAEP-24" => "write increase or decrease",
        "CAEP-25" => "write compliant or not-compliant",
        "CAEP-33" | "CAEP-34" => "write LOW, MEDIUM or HIGH",
        "RISC-07" | "RISC-10" => "name the old e-mail address or phone number in `sub_id`",
        "SCIM-05" | "SCIM-06" => "name the resource by its path, with the format scim",
        "SCIM-14" => "carry `data` in a full event, `attributes` in a notice, never both",
        "BCL-11" => "set `sub`, `sid` or both",
        "BCL-09" => "add the logout event to `events`",
        "BCL-15" => "leave `nonce` out, so that nobody takes the token for an ID Token",
        "BCL-45" => "let the token live two minutes at most",
        "LEGACY-30" => "check the clock of the machine that signs",
        "PUSH-39" => "nothing, if the recipient knows the type; else check the URI for slips",
        "CAEP-19" => "add `namespace`, the source of the level's name, such as NIST-AAL",
        "SSF-154" | "SSF-167" => "name the stream: {\"format\":\"opaque\",\"id\":\"<stream_id>\"}",
        "SSF-166" => "write `status` as a string: enabled, paused or disabled",
        "SUBJ-08" => "write an acct: URI, such as acct:alice@example.com",
        "SUBJ-12" => "name the issuer in `iss` and its subject in `sub`",
        "SUBJ-13" => "name the subject in `id`",
        _ => "",
    }
}
