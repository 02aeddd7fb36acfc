//! `secevent config`: the configuration, looked at without a server.

use super::check::{Checked, Finding, Severity, check, check_with_files};
use super::document::NotToml;
use super::given::Given;
use super::warn::of_descriptors;
use super::{print as pages, show};
use crate::descriptors;
use crate::output::{BAD, BOLD, EXIT_FAILED, Failure, GOOD, WARNING, message, print, print_json};
use clap::{ArgMatches, Args, Subcommand};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(Check),
    Show(Show),
    /// Print a secevent.toml with every setting, its default and its reason.
    Example,
    /// Print the JSON Schema of secevent.toml, for editors and pipelines.
    Schema,
    /// Print the reference of all settings, as Markdown.
    Reference,
}

/// Check a configuration, and start nothing.
///
/// Everything that is wrong is told at once: the file, the line, the setting, the reason and what to do. What a server
/// starts with although it may not do what is wanted is a warning.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  secevent config check
  secevent config check --config /etc/secevent/secevent.toml --json

The environment counts: variables that hold secrets have to be set, and the limit of open files that
holds here is compared with the settings. What only trying can tell, such as whether the store opens
or a port is free, is for `secevent doctor`.

JSON: {valid, findings: [{severity, file?, line?, key, reason, fix?}]}; severity is error or warning.

Exit codes: 0 valid, with or without warnings; 1 not valid; 2 misuse, such as a file that cannot be
read.")]
pub(crate) struct Check {
    #[command(flatten)]
    given: Given,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show the configuration that holds in the end, and where each value comes from.
///
/// Flags win over environment variables, they win over the file, and the file wins over defaults. Secrets are not
/// shown; where they are taken from is.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  secevent config show
  SECEVENT_LISTEN=127.0.0.1:9000 secevent config show --config secevent.toml

The text is a secevent.toml itself.

JSON: {settings: [{key, value, origin: {from, …}}]}; from is default, derived, file, environment or flag.

Exit codes: 0 shown; 1 shown, and not valid; 2 misuse, such as a file that cannot be read.")]
pub(crate) struct Show {
    #[command(flatten)]
    given: Given,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command, matches: &ArgMatches) -> ExitCode {
    let (done, json) = match command {
        Command::Check(args) => (run_check(args), args.json),
        Command::Show(args) => (run_show(args, innermost(matches)), args.json),
        Command::Example => (print(&pages::example()).map(|()| ExitCode::SUCCESS), false),
        Command::Schema => {
            let schema = pages::schema().to_string();
            (print(&(crate::output::pretty(&schema, 0) + "\n")).map(|()| ExitCode::SUCCESS), false)
        }
        Command::Reference => (print(&pages::reference()).map(|()| ExitCode::SUCCESS), false),
    };
    done.unwrap_or_else(|failure| {
        failure.report(json);
        failure.exit()
    })
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

fn run_check(args: &Check) -> Result<ExitCode, Failure> {
    let name = file_name(&args.given)?;
    let findings = match args.given.document().map_err(|error| Failure::misuse(format!("{error:#}")))? {
        Err(error) => vec![not_toml(&error, &name)],
        Ok(document) => {
            let Checked { mut findings, settings } = check_with_files(&document, &args.given.overrides());
            // This is about the machine and the user that the check runs as.
            let attainable = descriptors::attainable();
            findings.extend(settings.and_then(|settings| of_descriptors(&document, &settings, attainable)));
            findings
        }
    };
    let valid = findings.iter().all(|finding| finding.severity == Severity::Warning);
    if args.json {
        print_json(&json!({ "valid": valid, "findings": findings }))?;
    } else {
        print(&told(&findings, &name))?;
    }
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn run_show(args: &Show, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let name = file_name(&args.given)?;
    let document = args.given.document().map_err(|error| Failure::misuse(format!("{error:#}")))?;
    let document = document.map_err(|error| {
        Failure::failed(format!("{name}:{}: {}", error.line, first_line(&error.message)))
            .fix("`secevent config check` tells what is wrong")
    })?;
    let shown = show::show(&document, &args.given, matches);
    if args.json {
        print_json(&json!({ "settings": shown }))?;
    } else {
        print(&show::to_text(&shown))?;
    }
    match check(&document, &args.given.overrides()) {
        Checked { settings: Some(_), .. } => Ok(ExitCode::SUCCESS),
        Checked { settings: None, .. } => Err(Failure::failed(format!("{name} is not valid"))
            .fix("`secevent config check` tells what is wrong")),
    }
}

fn file_name(given: &Given) -> Result<String, Failure> {
    let file = given.file().map_err(|error| Failure::misuse(format!("{error:#}")))?;
    Ok(file.map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string()))
}

fn not_toml(error: &NotToml, name: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        file: Some(name.to_owned()),
        line: Some(error.line),
        key: String::new(),
        reason: format!("is no TOML: {}", first_line(&error.message)),
        fix: Some("correct the line; `secevent config example` shows what a file looks like".to_owned()),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// So many are listed as text; `--json` lists all of them.
const LISTED_MAX: usize = 100;

fn listed(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in &findings[..findings.len().min(LISTED_MAX)] {
        let (style, word) = match finding.severity {
            Severity::Error => (BAD, "error"),
            Severity::Warning => (WARNING, "warning"),
        };
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            _ => String::new(),
        };
        let _ = writeln!(text, "{}{style}{word}:{style:#} {}", message(&place), message(&finding.reason));
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "  {BOLD}fix:{BOLD:#} {}", message(fix));
        }
    }
    if let Some(more @ 1..) = findings.len().checked_sub(LISTED_MAX) {
        let _ = writeln!(text, "… and {more} more: `secevent config check --json` lists them");
    }
    text
}

fn told(findings: &[Finding], name: &str) -> String {
    let mut text = listed(findings);
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let name = message(name);
    let warnings = findings.len() - errors;
    let _ = match (errors, warnings) {
        (0, 0) => writeln!(text, "{GOOD}{name} is valid{GOOD:#}"),
        (0, _) => writeln!(text, "{GOOD}{name} is valid{GOOD:#}, with {}", many(warnings, "warning")),
        _ => writeln!(text, "{BAD}{name} is not valid{BAD:#}: {}", many(errors, "error")),
    };
    text
}

fn many(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Lists on standard error all that is wrong with the configuration of a server that does not start, as `config check`
/// does. Returns what to say in the end. None if that is not why it does not start.
pub(crate) fn report_errors(given: &Given) -> Option<String> {
    let name = file_name(given).ok()?;
    let document = given.document().ok()?.ok()?;
    let mut errors = check(&document, &given.overrides()).findings;
    errors.retain(|finding| finding.severity == Severity::Error);
    if errors.is_empty() {
        return None;
    }
    let _ = anstream::stderr().write_all(listed(&errors).as_bytes());
    Some(format!("{name} is not a valid configuration: {}", many(errors.len(), "error")))
}
