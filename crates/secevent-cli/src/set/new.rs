//! `secevent set new`: the claims of a token about one event, strictly proved.

use super::{now, profile_for, story, subject, written_profile};
use crate::output::{Failure, note, parse_time, pretty, print};
use secevent::{
    Audience, Claims, Definition, EventStatus, Profile, Subject, Timestamp, Vocabulary, is_uri, logout,
};
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = r#"Examples:
  secevent set new caep:session-revoked --subject alice@example.com \
    --issuer https://idp.example.com --audience https://rp.example.com

  secevent set new caep:credential-change --subject iss_sub:https://idp.example.com,alice \
    --data '{"credential_type":"password","change_type":"update"}' \
    --issuer https://idp.example.com --audience https://rp.example.com --txn 8675309

  secevent set new logout:backchannel-logout --sub alice --sid s-1 \
    --issuer https://op.example.com --audience my-client

JSON: the claims, in one line.

Exit codes: 0 made; 1 the claims break a rule of the profile; 2 misuse."#;

/// Make the claims of a token about one event.
///
/// The claims are proved as strictly as the profile's text has it, then printed as JSON: over several lines,
/// or as one line with --json. `jti` is random and `iat` is now. Pipe them into `secevent set sign`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// What happened: a short name such as caep:session-revoked, or the URI of any event type
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// Who it is about: an e-mail address, JSON, or FORMAT:VALUES, such as iss_sub:ISS,SUB, opaque:ID,
    /// phone_number:+12065550100, account:acct:…, uri:…, did:…, jwt_id:ISS,JTI, scim:/Users/…
    #[arg(long, value_name = "EMAIL|JSON|FORMAT:…", value_parser = subject::parse)]
    subject: Option<Subject>,
    /// The event's own data
    #[arg(long, value_name = "JSON", default_value = "{}", hide_default_value = true)]
    data: String,
    /// Who publishes the token
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// For whom it is meant; several times for several recipients
    #[arg(long, value_name = "NAME")]
    audience: Vec<String>,
    /// What ties tokens of one cause together
    #[arg(long)]
    txn: Option<String>,
    /// When the event happened: as in 2026-01-31T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    toe: Option<Timestamp>,
    /// The token's own identifier [default: random]
    #[arg(long)]
    jti: Option<String>,
    /// The subject of a logout token
    #[arg(long)]
    sub: Option<String>,
    /// The session of a logout token
    #[arg(long)]
    sid: Option<String>,
    /// The rules to follow [default: scim and logout for events of that name, else ssf]
    #[arg(long, value_parser = written_profile())]
    profile: Option<Profile>,
    /// Take this for the current time: as in 2026-01-31T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// Print one line of JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Makes the claims and prints them.
pub(super) fn run(args: Args) -> Result<ExitCode, Failure> {
    let uri = event_uri(&args.event_type)?;
    let profile = args.profile.unwrap_or_else(|| profile_for(&uri));
    let json = args.json;
    let claims = claims(args, &uri, profile)?;
    let written = serde_json::to_vec(&claims).expect("claims are strings, numbers and JSON text");
    let set = claims
        .prove(profile)
        .map_err(|breach| story::refusal(&breach, &written, profile).mended_by(option_for))?;
    print(&match json {
        true => format!("{}\n", set.as_json()),
        false => format!("{}\n", pretty(set.as_json(), 0)),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn claims(args: Args, uri: &str, profile: Profile) -> Result<Claims, Failure> {
    let iat = now(args.at);
    let jti = args.jti.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let mut claims = Claims::new("", jti, iat);
    claims.iss = args.issuer;
    claims.aud = match <[String; 1]>::try_from(args.audience) {
        Ok([one]) => Some(Audience::One(one)),
        Err(none) if none.is_empty() => None,
        Err(many) => Some(Audience::Many(many)),
    };
    claims.txn = args.txn;
    claims.toe = args.toe;
    claims.sub_id = args.subject;
    claims.sub = args.sub;
    claims.sid = args.sid;
    if profile == Profile::Logout {
        let lifetime = Duration::from_secs(logout::LIFETIME_SECONDS_MAX.unsigned_abs());
        claims.exp = claims.iat.map(|iat| iat.plus(lifetime));
    }
    let added = claims.events.add_raw(uri, &args.data);
    added.map_err(|breach| {
        Failure::from(breach).into_misuse().fix("write --data as a JSON object: '{\"name\":\"value\"}'")
    })?;
    Ok(claims)
}

/// The URI of the event type that was named; another name of a known type becomes its own.
fn event_uri(name: &str) -> Result<String, Failure> {
    let vocabulary = Vocabulary::standard();
    if let Some(known) = vocabulary.find(name) {
        if known.status() == EventStatus::Deprecated {
            note(&format!(
                "{} is deprecated: receivers still read it, new ones are not to be sent",
                known.name()
            ));
        }
        return Ok(known.uri().to_owned());
    }
    let near = near(name);
    let known_vocabulary =
        |prefix: &str| vocabulary.iter().any(|known| known.name().split(':').next() == Some(prefix));
    let is_short = name.split_once(':').is_none_or(|(prefix, _)| known_vocabulary(prefix));
    if is_short || !is_uri(name) {
        return Err(Failure::misuse(format!("no event type is named {name:?}")).fix(match &near[..] {
            [] => family(name),
            near => format!("did you mean {}? Other event types are named by their URI", near.join(" or ")),
        }));
    }
    note(&match &near[..] {
        [] => format!("no standard names the event type {name}; its data is taken as it is"),
        near => format!(
            "no standard names the event type {name}; if you meant {}, use that name",
            near.join(" or ")
        ),
    });
    Ok(name.to_owned())
}

/// The names of the vocabulary that the name starts with.
fn family(name: &str) -> String {
    let prefix = name.split(':').next().unwrap_or_default();
    let names: Vec<&str> = Vocabulary::standard().iter().map(Definition::name).collect();
    let its: Vec<&str> =
        names.iter().copied().filter(|known| known.split(':').next() == Some(prefix)).collect();
    match &its[..] {
        [] => {
            let mut families: Vec<&str> = names.iter().filter_map(|known| known.split(':').next()).collect();
            families.dedup();
            format!(
                "use a URI, or a name such as caep:session-revoked; the vocabularies are {}",
                families.join(", ")
            )
        }
        its => format!("the names are {}", its.join(", ")),
    }
}

/// Known names that are easily mistaken for this one, the likeliest first.
pub(crate) fn near(name: &str) -> Vec<&'static str> {
    const SHOWN_MAX: usize = 4;
    let last = |name: &str| name.rsplit([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
    let wanted = last(name);
    let same_vocabulary = |known: &Definition| known.name().split(':').next() == name.split(':').next();
    let distance = |known: &'static Definition| {
        let its = last(known.name());
        let contained = wanted.len() >= 4 && (its.contains(&wanted) || wanted.contains(&its));
        let edits = edits_between(&wanted, &its);
        let close = edits <= 2 || edits * 3 <= wanted.len() || contained;
        close.then(|| ((!same_vocabulary(known), edits), known.name()))
    };
    let mut near: Vec<_> = Vocabulary::standard().iter().filter_map(distance).collect();
    near.sort_unstable();
    near.into_iter().map(|(_, name)| name).take(SHOWN_MAX).collect()
}

/// How many characters must be put in, taken out or changed to make one text the other.
fn edits_between(one: &str, other: &str) -> usize {
    // Names are short; whatever is longer resembles none of them.
    const CHARS_MAX: usize = 64;
    if one.len() > CHARS_MAX {
        return usize::MAX / 8;
    }
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (at, left) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, right) in other.chars().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[row.len() - 1]
}

/// The option of this command that mends the breach.
fn option_for(member: &str, rule: &str) -> Option<&'static str> {
    match (member, rule) {
        ("iss", _) => Some("give --issuer the transmitter's https URL"),
        ("aud", _) => Some("give --audience the recipient's name"),
        ("sub_id", "SSF-01" | "SCIM-03") => Some("add --subject, for example --subject alice@example.com"),
        ("sub_id.format", "SCIM-05") => Some("name the resource, for example --subject scim:/Users/7"),
        ("sub", "BCL-11") => Some("add --sub, --sid or both"),
        ("sub", _) => Some("use --subject instead of --sub"),
        ("txn", _) => Some("give --txn one text for all tokens of the same cause"),
        ("toe", _) => Some("give --toe a time that is not later than now"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        for (name, first) in [
            ("caep:session-revoke", "caep:session-revoked"),
            ("caep:sesion-revokd", "caep:session-revoked"),
            ("session-revoked", "caep:session-revoked"),
            ("risc:account-disable", "risc:account-disabled"),
            ("credentialchange", "caep:credential-change"),
            (
                "https://schemas.openid.net/secevent/caep/event-type/credential-chnge",
                "caep:credential-change",
            ),
        ] {
            assert_eq!(near(name).first(), Some(&first), "{name}: {:?}", near(name));
        }
        assert!(near("doors:opened").is_empty() && near(&"x".repeat(1000)).is_empty());
    }

    #[test]
    fn edits_are_counted() {
        for (one, other, edits) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("abc", "abc", 0)] {
            assert_eq!((edits_between(one, other), edits_between(other, one)), (edits, edits));
        }
    }
}
