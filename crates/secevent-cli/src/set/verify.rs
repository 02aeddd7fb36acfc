//! `secevent set verify`: everything that a recipient checks before it believes a token, told check by check.

use super::{keys, now, read_profile, story};
use crate::input;
use crate::network::Trust;
use crate::output::{BAD, BOLD, DIM, Failure, GOOD, message, parse_time, print, print_json, safe, utc};
use secevent::{Claims, Invalid, Profile, Set, Strictness, Subject, Timestamp, Vocabulary};
use secevent_jose::{
    Algorithm, Algorithms, Compact, Expected, IssuerKeys, Jwk, JwkSet, TypRule, VerifyError,
};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  secevent set verify --jwks jwks.json --audience https://rp.example.com token.txt
  secevent set verify --jwks public.pem --json - < token.txt
  secevent set verify --issuer https://idp.example.com --audience https://rp.example.com token.txt
  secevent set verify --jwks http://localhost:8080/jwks.json --allow-private-network token.txt

JSON: {valid, profile, header?, checks: [{name, status, detail}]}, where status is passed, failed,
not_asked or not_reached. A valid token adds {key, issuer, events: [{uri, name, about, status}],
subject, claims}; another adds {error: {code, message, member?, rule?, fix?}}, its code one of
RFC 8935.

Exit codes: 0 valid; 1 not valid, or the keys could not be had; 2 misuse.";

/// Verify a token against its issuer's keys, and tell each check.
///
/// The keys are those of --jwks, or else those that the SSF metadata of --issuer points to. Without --issuer
/// any `iss` will do whose token one of the keys signed, and without --audience any `aud`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The issuer's public keys: a JWK Set at an https URL; or a JWK Set, a JWK or PEM in a file
    #[arg(long, value_name = "FILE|URL", required_unless_present = "issuer")]
    jwks: Option<String>,
    /// Who must have published the token
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// For whom the token must be meant; several times for any of them
    #[arg(long, value_name = "NAME")]
    audience: Vec<String>,
    /// The rules that the token must follow
    #[arg(long, default_value = "ssf", value_parser = read_profile())]
    profile: Profile,
    /// An algorithm that the issuer may use; several times for several [default: RS256, PS256, PS384, PS512,
    /// ES256, ES384, ES512, EdDSA, Ed25519]
    #[arg(long = "alg", value_name = "ALG")]
    algorithms: Vec<Algorithm>,
    /// Take this for the current time: as in 2026-01-31T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// Fetch keys from loopback and private addresses too, from loopback without TLS
    #[arg(long)]
    allow_private_network: bool,
    #[command(flatten)]
    trust: Trust,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// The token, a file, or - for standard input
    #[arg(value_name = "TOKEN|FILE|-")]
    token: Option<String>,
}

/// The checks, in the order in which they are made.
const CHECKS: [&str; 9] =
    ["form", "type", "algorithm", "key", "signature", "claims", "issuer", "audience", "times"];
const EVENTS: &str = "events";

#[derive(Serialize)]
struct Verdict<'a> {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    profile: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<HeaderStory<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyStory<'a>>,
    checks: Vec<Check>,
    /// What the token says: there only if the token is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<story::EventStory<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct HeaderStory<'a> {
    alg: &'static str,
    kid: Option<&'a str>,
    typ: Option<&'a str>,
}

#[derive(Serialize)]
struct KeyStory<'a> {
    kid: Option<&'a str>,
    key_type: String,
    thumbprint: String,
    source: &'a str,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Passed,
    Failed,
    NotAsked,
    NotReached,
}

/// Verifies and tells.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let input = input::read(args.token.as_deref(), "the token")?;
    let compact = match Compact::parse(&input) {
        Ok(compact) => compact,
        Err(error) => return tell(args, &refused(args, None, None, &error), None),
    };
    let named = Claims::read(compact.unverified_payload()).ok().and_then(|claims| claims.iss);
    let (place, issuer) = (args.jwks.as_deref(), args.issuer.as_deref());
    let keys = keys::load(place, issuer, compact.header().kid(), args.allow_private_network, &args.trust)?;
    let issuer = issuer.map(str::to_owned).or(named).unwrap_or_default();
    let allowed = match &args.algorithms[..] {
        [] => usual(compact.header().algorithm()),
        some => some.iter().copied().collect(),
    };
    let issuer = IssuerKeys::new(issuer, keys.set).allow_only(allowed);
    let expected = args.audience.iter().fold(Expected::new(args.profile), Expected::audience);
    match issuer.verify_set(&compact, &expected, now(args.at)) {
        Err(error) => tell(args, &refused(args, Some(&compact), Some(issuer.keys()), &error), None),
        Ok(set) => {
            let verified = issuer.verify(&compact, args.profile.into()).expect("it was just verified");
            accepted(args, &compact, verified.key(), &keys.source, &set)
        }
    }
}

/// What an issuer may use where nobody says. FAPI asks for PS256, so it is here, beside what servers take by default.
///
/// A key has one algorithm. Where its JWK names none, it is that of the token, if it is one of these.
fn usual(of_token: Algorithm) -> Algorithms {
    let pss = [Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512];
    let usual: Algorithms = Algorithms::DEFAULT.iter().chain(pss).collect();
    if usual.contains(of_token) { Algorithms::of(&[of_token]) } else { usual }
}

fn accepted(
    args: &Args,
    compact: &Compact<'_>,
    key: &Jwk,
    source: &str,
    set: &Set,
) -> Result<ExitCode, Failure> {
    let mut checks =
        CHECKS.map(|name| Check { name, status: Status::Passed, detail: detail(name, args, compact, set) });
    for check in &mut checks {
        let asked = match check.name {
            "issuer" => args.issuer.is_some(),
            "audience" => !args.audience.is_empty(),
            _ => true,
        };
        if !asked {
            check.status = Status::NotAsked;
        }
    }
    let subject = set.subject();
    // An event that breaks its definition is refused by receivers with `invalid_request`, signature or not.
    let judged = set.events().iter().try_for_each(|(uri, payload)| {
        Vocabulary::standard().check(uri, payload, subject.as_deref(), Strictness::Lenient)
    });
    let mut checks = Vec::from(checks);
    let events = match &judged {
        Ok(()) => Check { name: EVENTS, status: Status::Passed, detail: "keep their definitions".to_owned() },
        Err(breach) => Check { name: EVENTS, status: Status::Failed, detail: breach.to_string() },
    };
    checks.push(events);
    let valid = judged.is_ok();
    let claims: &RawValue = serde_json::from_str(set.as_json().trim()).expect("a SET is JSON");
    let verdict = Verdict {
        valid,
        error: judged.err().map(|breach| malformed(&breach, compact, args)),
        profile: args.profile.name(),
        header: Some(header(compact)),
        key: Some(KeyStory {
            kid: key.kid(),
            key_type: key.key_type().to_string(),
            thumbprint: key.thumbprint(),
            source,
        }),
        checks,
        issuer: valid.then(|| set.iss()),
        events: if valid { story::events(set.events()) } else { Vec::new() },
        subject: subject.as_deref().filter(|_| valid),
        claims: valid.then_some(claims),
    };
    tell(args, &verdict, Some(set))
}

fn header<'a>(compact: &'a Compact<'_>) -> HeaderStory<'a> {
    let header = compact.header();
    HeaderStory { alg: header.algorithm().as_str(), kid: header.kid(), typ: header.typ() }
}

/// What a check that was passed has found.
fn detail(check: &str, args: &Args, compact: &Compact<'_>, set: &Set) -> String {
    match check {
        "form" => "a compact token of three parts".to_owned(),
        "type" => format!("{} is accepted", compact.header().typ().unwrap_or("no `typ`")),
        "algorithm" => format!("{} is allowed", compact.header().algorithm()),
        "key" => "the issuer publishes it".to_owned(),
        "signature" => "matches".to_owned(),
        "claims" => format!("follow the profile {}", args.profile),
        "issuer" if args.issuer.is_none() => {
            "any issuer of these keys will do: ask for one with --issuer".to_owned()
        }
        "issuer" => format!("is {}", set.iss()),
        "audience" if args.audience.is_empty() => {
            "any recipient will do: ask for one with --audience".to_owned()
        }
        "audience" => "names the recipient".to_owned(),
        _ => format!("made at {}, which is not ahead of the clock", utc(set.iat())),
    }
}

fn refused<'a>(
    args: &Args,
    compact: Option<&'a Compact<'a>>,
    keys: Option<&JwkSet>,
    error: &VerifyError,
) -> Verdict<'a> {
    let failed = failed_check(compact.is_some(), error);
    let at = CHECKS.iter().position(|name| *name == failed).expect("it is one of the checks");
    let check = |(place, name): (usize, &'static str)| {
        let (status, detail) = match place.cmp(&at) {
            std::cmp::Ordering::Less => (Status::Passed, String::new()),
            std::cmp::Ordering::Equal => (Status::Failed, error.to_string()),
            std::cmp::Ordering::Greater => (Status::NotReached, String::new()),
        };
        // What was not asked for is not passed either.
        let asked = match name {
            "issuer" => args.issuer.is_some(),
            "audience" => !args.audience.is_empty(),
            _ => true,
        };
        let status = match status {
            Status::Passed if !asked => Status::NotAsked,
            // The reader of tokens knows algorithms; it gets no further with those it does not know.
            Status::Passed if compact.is_none() && name != "form" => Status::NotReached,
            status => status,
        };
        Check { name, status, detail }
    };
    Verdict {
        valid: false,
        error: Some(explain(args, compact, keys, error)),
        profile: args.profile.name(),
        header: compact.map(header),
        key: None,
        checks: CHECKS.into_iter().chain([EVENTS]).enumerate().map(check).collect(),
        issuer: None,
        events: Vec::new(),
        subject: None,
        claims: None,
    }
}

/// Which check an error belongs to.
fn failed_check(was_parsed: bool, error: &VerifyError) -> &'static str {
    match error {
        _ if !was_parsed => match error {
            VerifyError::Algorithm(_) => "algorithm",
            _ => "form",
        },
        VerifyError::Typ { .. } => "type",
        VerifyError::Algorithm(_) | VerifyError::AlgorithmNotAllowed { .. } => "algorithm",
        VerifyError::UnknownKey { .. }
        | VerifyError::UnusableKey { .. }
        | VerifyError::KeyAlgorithm { .. } => "key",
        VerifyError::BadSignature => "signature",
        VerifyError::ForeignKey { .. } | VerifyError::UnknownIssuer { .. } => "issuer",
        VerifyError::Audience => "audience",
        VerifyError::Malformed(breach) if matches!(breach.rule(), "LEGACY-30" | "BCL-29") => "times",
        _ => "claims",
    }
}

fn malformed(breach: &Invalid, compact: &Compact<'_>, args: &Args) -> Failure {
    let failure = Failure::refused("invalid_request", breach.to_string()).about(breach);
    let fix = story::fix(breach, compact.unverified_payload(), args.profile, Some(now(args.at)));
    let fix = fix.unwrap_or_else(|| "see what there is with `secevent set lint`".to_owned());
    match story::profile_hint(compact.unverified_payload(), args.profile) {
        Some(hint) => failure.fix(format!("{hint}; otherwise: {fix}")),
        None => failure.fix(fix),
    }
}

/// The error with what to do about it.
fn explain(
    args: &Args,
    compact: Option<&Compact<'_>>,
    keys: Option<&JwkSet>,
    error: &VerifyError,
) -> Failure {
    let failure = Failure::refused(error.fault().code(), error.to_string());
    let fix = match error {
        VerifyError::Malformed(breach) => match compact {
            Some(compact) => {
                let told = malformed(breach, compact, args);
                return match is_logout(compact) && args.profile != Profile::Logout {
                    true => told.fix("if a logout token was meant, add --profile logout"),
                    false => told,
                };
            }
            None => return failure.about(breach).fix("see what there is with `secevent set lint`"),
        },
        VerifyError::Encrypted => "ask the issuer for tokens that are signed and not encrypted".to_owned(),
        VerifyError::Typ { .. } => match compact.is_some_and(is_logout) {
            true => "if a logout token was meant, add --profile logout".to_owned(),
            _ if compact.is_some_and(is_untyped) => {
                let hint = compact
                    .and_then(|compact| story::profile_hint(compact.unverified_payload(), args.profile));
                hint.unwrap_or_else(|| "an untyped token follows only --profile rfc8417 or legacy".to_owned())
            }
            _ => "it is another kind of token: do not take it for a security event".to_owned(),
        },
        VerifyError::Algorithm(_) => "have the issuer sign with RS256, ES256 or EdDSA".to_owned(),
        VerifyError::AlgorithmNotAllowed { algorithm } => {
            format!("if the issuer may use it, add --alg {algorithm}")
        }
        VerifyError::UnknownKey { .. }
        | VerifyError::KeyAlgorithm { .. }
        | VerifyError::UnusableKey { .. } => {
            let names =
                keys.map(JwkSet::keys).unwrap_or_default().iter().map(|key| key.kid().unwrap_or("(unnamed)"));
            let names: Vec<&str> = names.take(NAMES_SHOWN_MAX).collect();
            match names.is_empty() {
                true => "there is no usable key: get the issuer's keys anew".to_owned(),
                false => format!("get the issuer's keys anew; these are named {}", names.join(", ")),
            }
        }
        VerifyError::BadSignature => {
            "do not believe it: it was changed, or signed with another key of that name".to_owned()
        }
        VerifyError::ForeignKey { .. } | VerifyError::UnknownIssuer { .. } => {
            "if that is the issuer you mean, name it with --issuer, letter by letter".to_owned()
        }
        VerifyError::Audience => match compact.and_then(audience) {
            Some(names) => format!("the token is for {names}; if that is you, name it with --audience"),
            None => "the token has no `aud`: leave --audience out, or have the issuer set it".to_owned(),
        },
        _ => return failure,
    };
    failure.fix(fix)
}

const NAMES_SHOWN_MAX: usize = 8;

fn is_logout(compact: &Compact<'_>) -> bool {
    TypRule::LogoutToken.admits(compact.header().typ())
}

fn is_untyped(compact: &Compact<'_>) -> bool {
    compact.header().typ().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"))
}

fn audience(compact: &Compact<'_>) -> Option<String> {
    let aud = Claims::read(compact.unverified_payload()).ok()?.aud?;
    Some(aud.iter().take(NAMES_SHOWN_MAX).collect::<Vec<_>>().join(", "))
}

/// Prints the verdict; the exit code follows from it.
fn tell(args: &Args, verdict: &Verdict<'_>, set: Option<&Set>) -> Result<ExitCode, Failure> {
    if args.json {
        print_json(verdict)?;
    } else {
        print(&to_text(verdict, set))?;
        verdict.error.iter().for_each(|error| error.report(false));
    }
    Ok(if verdict.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_text(verdict: &Verdict<'_>, set: Option<&Set>) -> String {
    let mut text = match verdict.valid {
        true => format!("{GOOD}VALID{GOOD:#}  a SET of the profile {}\n", verdict.profile),
        false => format!("{BAD}NOT VALID{BAD:#}\n"),
    };
    if let Some(header) = &verdict.header {
        let or_none = |value: Option<&str>| value.map_or_else(|| "(none)".to_owned(), safe);
        let _ = writeln!(text, "\n{BOLD}Header{BOLD:#}");
        let _ = writeln!(text, "  typ     {}", or_none(header.typ));
        let _ = writeln!(text, "  alg     {}", header.alg);
        let _ = writeln!(text, "  kid     {}", or_none(header.kid));
    }
    if let Some(key) = &verdict.key {
        let _ = writeln!(text, "\n{BOLD}Key{BOLD:#}");
        let _ = writeln!(
            text,
            "  {} {} from {}",
            key.key_type,
            safe(key.kid.unwrap_or("(unnamed)")),
            safe(key.source)
        );
        let _ = writeln!(text, "  {DIM}thumbprint {}{DIM:#}", key.thumbprint);
    }
    let _ = writeln!(text, "\n{BOLD}Checks{BOLD:#}");
    for check in &verdict.checks {
        let (style, mark) = match check.status {
            Status::Passed => (GOOD, "ok    "),
            Status::Failed => (BAD, "FAILED"),
            Status::NotAsked => (DIM, "--    "),
            Status::NotReached => (DIM, "..    "),
        };
        let detail = match check.status {
            Status::NotReached => "not reached",
            Status::NotAsked if check.detail.is_empty() => "not asked for",
            _ => &check.detail,
        };
        let line = format!("  {style}{mark}{style:#} {:<10} {}", check.name, message(detail));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if let Some(set) = set.filter(|_| verdict.valid) {
        story::write_claims(&mut text, set.claims(), set.subject().as_deref());
        story::write_events(&mut text, set.events());
    }
    text
}
