//! `secevent set lint`: every finding, with its rule, its severity and the fix.

use super::token::Parts;
use super::{now, story};
use crate::input;
use crate::output::{BAD, BOLD, DIM, Failure, GOOD, WARNING, message, parse_time, print, print_json, safe};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use secevent::lint::{self, Finding, Ruleset, Severity};
use secevent::{Profile, Timestamp};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  secevent set lint token.txt
  secevent set lint --profile caep-interop --deny-warnings token.txt
  secevent set lint --profile rfc8417 --header header.json claims.json
  secevent set lint --json - < token.txt

JSON: {profile, passed, errors, warnings, notes, findings: [{severity, rule, member, message, fix}]}.

Exit codes: 0 no errors; 1 errors, or with --deny-warnings warnings; 2 misuse.";

/// Tell everything that is wrong with a token, by which rule, and how to mend it.
///
/// An error breaks a MUST: a strict peer refuses the token. A warning disregards a SHOULD. A note is worth
/// knowing. Signatures are not looked at: that is for `secevent set verify`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The rules to lint by
    #[arg(long, default_value = "ssf", value_parser = ruleset())]
    profile: Ruleset,
    /// The JOSE header that belongs to bare claims, as JSON
    #[arg(long, value_name = "FILE")]
    header: Option<PathBuf>,
    /// End with 1 on warnings too
    #[arg(long)]
    deny_warnings: bool,
    /// Take this for the current time: as in 2026-01-31T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// A token or claims as JSON; a file with either; or - for standard input
    #[arg(value_name = "TOKEN|CLAIMS|FILE|-")]
    token: Option<String>,
}

fn ruleset() -> impl TypedValueParser<Value = Ruleset> {
    let names = PossibleValuesParser::new(Ruleset::ALL.map(Ruleset::name));
    names.map(|name| name.parse().expect("it is one of the possible values"))
}

#[derive(Serialize)]
struct Report<'a> {
    profile: &'static str,
    /// Whether the exit code is 0.
    passed: bool,
    errors: usize,
    warnings: usize,
    notes: usize,
    findings: &'a [Finding],
}

/// Lints and prints the findings.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let input = input::read(args.token.as_deref(), "the token")?;
    let mut findings = findings(args, &input)?;
    findings.extend(hint(args.profile, &input, &findings));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let report = Report {
        profile: args.profile.name(),
        passed: errors == 0 && (warnings == 0 || !args.deny_warnings),
        errors,
        warnings,
        notes: count(Severity::Note),
        findings: &findings,
    };
    match args.json {
        true => print_json(&report)?,
        false => print(&to_text(&report))?,
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn findings(args: &Args, input: &[u8]) -> Result<Vec<Finding>, Failure> {
    let now = Some(now(args.at));
    let header = args.header.as_deref().map(|path| input::file(path, "the header")).transpose()?;
    if input::is_json(input) {
        return Ok(lint::check(header.as_deref(), input, args.profile, now));
    }
    if header.is_some() {
        return Err(Failure::misuse("the token has a header of its own")
            .fix("leave --header out, or give claims as JSON"));
    }
    Ok(match Parts::of(input) {
        Ok(parts) => {
            let mut findings = lint::check(Some(&parts.header), &parts.payload, args.profile, now);
            findings.extend(spelling(input));
            findings
        }
        Err(breach) => vec![Finding {
            severity: Severity::Error,
            rule: breach.rule(),
            member: breach.member().to_owned(),
            message: breach.problem().to_owned(),
            fix: "give a compact token: base64url of header, payload and signature, with dots between them"
                .to_owned(),
        }],
    })
}

/// The profile that was meant, perhaps, where the token breaks this one.
fn hint(ruleset: Ruleset, input: &[u8], findings: &[Finding]) -> Option<Finding> {
    if !findings.iter().any(|finding| finding.severity == Severity::Error) {
        return None;
    }
    let profile = match ruleset {
        Ruleset::Scim => Profile::Scim,
        Ruleset::Logout => Profile::Logout,
        Ruleset::Rfc8417 => return None,
        _ => Profile::Ssf,
    };
    let claims = match input::is_json(input) {
        true => input.to_vec(),
        false => Parts::of(input).ok()?.payload,
    };
    let other = story::other_profile(&claims, profile)?;
    let fix = match other {
        Profile::Legacy => {
            "if its transmitter is older than SSF 1.0: `secevent set verify --profile legacy`, and --legacy with \
             `secevent stream`"
                .to_owned()
        }
        other => format!("if that was meant: --profile {other}"),
    };
    Some(Finding {
        severity: Severity::Note,
        rule: "LEGACY-27",
        member: String::new(),
        message: format!("follows the profile {other}"),
        fix,
    })
}

/// What the forgiving reader forgave: padding and stray bits, for which verifiers refuse a token.
fn spelling(token: &[u8]) -> Option<Finding> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let names = ["header", "payload", "signature"];
    let sloppy = |(_, part): &(&str, &[u8])| URL_SAFE_NO_PAD.decode(part).is_err();
    let (name, _) = names.into_iter().zip(token.split(|&byte| byte == b'.')).find(sloppy)?;
    Some(Finding {
        severity: Severity::Error,
        rule: "JWTBCP-21",
        member: name.to_owned(),
        message: "must be base64url without padding or unused bits that are set".to_owned(),
        fix: "encode it with base64url and drop the padding".to_owned(),
    })
}

fn to_text(report: &Report<'_>) -> String {
    let mut text = String::new();
    let groups = [
        (Severity::Error, "Errors", BAD),
        (Severity::Warning, "Warnings", WARNING),
        (Severity::Note, "Notes", BOLD),
    ];
    for (severity, title, style) in groups {
        let group: Vec<&Finding> =
            report.findings.iter().filter(|finding| finding.severity == severity).collect();
        if !group.is_empty() {
            let _ = writeln!(text, "{style}{title}{style:#}");
        }
        for finding in &group {
            let member =
                if finding.member.is_empty() { "the token".to_owned() } else { safe(&finding.member) };
            let _ =
                writeln!(text, "  {BOLD}{:<11}{BOLD:#} {member} {}", finding.rule, message(&finding.message));
            if !finding.fix.is_empty() {
                let _ = writeln!(text, "  {:<11} {DIM}fix: {}{DIM:#}", "", message(&finding.fix));
            }
        }
        if !group.is_empty() {
            text.push('\n');
        }
    }
    let (style, verdict) = if report.passed { (GOOD, "passed") } else { (BAD, "failed") };
    let _ = writeln!(
        text,
        "{style}{verdict}{style:#}  profile {}: {}, {}, {}",
        report.profile,
        counted(report.errors, "error"),
        counted(report.warnings, "warning"),
        counted(report.notes, "note"),
    );
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
