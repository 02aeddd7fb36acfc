//! `secevent types`: the event types that are known, and what each carries.

use crate::output::{BOLD, DIM, Failure, WARNING, print, print_json};
use crate::set::near_types;
use clap::Args;
use secevent::{Definition, EventStatus, Member, Shape, SubjectRule, Vocabulary};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

/// List the event types of the standards, or show one: its members, its subject, an example.
///
/// Event types that a server's configuration adds are not shown here: see `secevent config show`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  secevent types
  secevent types caep:session-revoked
  secevent types 'risc:*' --json

JSON: a list of {name, uri, aliases, about, status, subject?, members: [{name, required, kind, values?, rule}], example}.
Exit codes: 0 found, 1 no such event type, 2 misuse.")]
pub(crate) struct Types {
    /// A short name, a URI, or the beginning of one and a star
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print all event types as the page of the book
    #[arg(long, hide = true)]
    markdown: bool,
}

pub(crate) fn run(args: &Types) -> ExitCode {
    let result = if args.markdown { print(&page()) } else { list(args) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(args.json);
            failure.exit()
        }
    }
}

fn list(args: &Types) -> Result<(), Failure> {
    let name = args.name.as_deref().unwrap_or("*");
    let found: Vec<&Definition> = Vocabulary::standard().matching(name).collect();
    if found.is_empty() {
        let failure = Failure::failed(format!("no event type is named {name:?}"));
        return Err(match &near_types(name)[..] {
            [] => failure.fix("list all with `secevent types`"),
            near => failure.fix(format!("did you mean {}?", near.join(" or "))),
        });
    }
    if args.json {
        return print_json(&found.into_iter().map(to_json).collect::<Vec<_>>());
    }
    match &found[..] {
        [one] => print(&one_in_full(one)),
        several => print(&one_line_each(several)),
    }
}

fn one_line_each(types: &[&Definition]) -> String {
    let width = types.iter().map(|one| one.name().len()).max().unwrap_or_default();
    let mut text = String::new();
    for one in types {
        let status = match status(one) {
            "" => String::new(),
            status => format!(" {WARNING}({status}){WARNING:#}"),
        };
        let _ = writeln!(text, "{BOLD}{:<width$}{BOLD:#}  {}{status}", one.name(), one.about());
    }
    text
}

fn one_in_full(one: &Definition) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}\n{DIM}{}{DIM:#}\n\n{}\n", one.name(), one.uri(), one.about());
    if !status(one).is_empty() {
        let _ = writeln!(text, "{WARNING}Status: {}{WARNING:#}", status(one));
    }
    for alias in one.aliases() {
        let _ = writeln!(text, "Also read as {alias}");
    }
    if let Some(subject) = subject(one) {
        let _ = writeln!(text, "Subject: {subject}");
    }
    text.push('\n');
    let rows: Vec<[String; 4]> = one.members().iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    for [name, required, kind, rule] in &rows {
        let (name_width, required_width) = (width(0), width(1));
        let _ =
            writeln!(text, "  {name:<name_width$}  {required:<required_width$}  {kind} {DIM}[{rule}]{DIM:#}");
    }
    if rows.is_empty() {
        text.push_str("  This event type has no members: its payload is {}.\n");
    }
    let _ = write!(text, "\nExample:\n  {}\n", emit_example(one));
    text
}

fn row(member: &Member) -> [String; 4] {
    let required = if member.required { "required" } else { "optional" };
    [member.name.to_owned(), required.to_owned(), kind(member.shape), member.rule.to_owned()]
}

/// What a value looks like, in words.
fn kind(shape: Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::OneOf(values) => format!("one of {}", values.join(", ")),
        Shape::Suggested(values) => format!("text, such as {}", values.join(", ")),
        Shape::Time => "a time in seconds since 1970".to_owned(),
        Shape::ByLanguage => "texts by language, such as {\"en\":\"…\"}".to_owned(),
        Shape::Texts => "a list of texts".to_owned(),
        Shape::Object { .. } => "an object".to_owned(),
        Shape::Subject => "a subject identifier".to_owned(),
        Shape::Absent => "not allowed".to_owned(),
        _ => "see the rule".to_owned(),
    }
}

fn status(one: &Definition) -> &'static str {
    match one.status() {
        EventStatus::Final => "",
        EventStatus::Draft => "draft",
        EventStatus::Deprecated => "deprecated",
    }
}

fn subject(one: &Definition) -> Option<String> {
    match one.subject_rule() {
        SubjectRule::Formats(formats, rule) => Some(format!("format {} [{rule}]", formats.join(" or "))),
        SubjectRule::Claims => Some("named by the claims `sub` and `sid`".to_owned()),
        _ => None,
    }
}

/// A payload with the required members alone.
fn example(one: &Definition) -> Value {
    let required = one.members().iter().filter(|member| member.required);
    let members: Map<String, Value> =
        required.map(|member| (member.name.to_owned(), sample(member.name, member.shape))).collect();
    Value::Object(members)
}

fn sample(name: &str, shape: Shape) -> Value {
    match shape {
        Shape::OneOf([first, ..]) | Shape::Suggested([first, ..]) => json!(first),
        Shape::Time => json!(1_900_000_000),
        Shape::ByLanguage => json!({"en": "why"}),
        Shape::Texts => json!([name]),
        Shape::Object { .. } => json!({"name": "value"}),
        Shape::Subject => json!({"format": "email", "email": "alice@example.com"}),
        _ => json!("…"),
    }
}

/// A command line that sends such an event.
fn emit_example(one: &Definition) -> String {
    let subject = match one.subject_rule() {
        SubjectRule::Formats(formats, _) if formats.contains(&"email") => "alice@example.com",
        SubjectRule::Formats(formats, _) if formats.contains(&"scim") => "scim:/Users/7",
        SubjectRule::Formats(formats, _) if formats.contains(&"opaque") => "opaque:STREAM-ID",
        _ => "alice@example.com",
    };
    let payload = example(one);
    let data = match payload.as_object() {
        Some(members) if members.is_empty() => String::new(),
        _ => format!(" --data '{payload}'"),
    };
    format!("secevent emit {} --subject {subject}{data}", one.name())
}

fn to_json(one: &Definition) -> Value {
    let members = one.members().iter().map(|member| {
        let values = match member.shape {
            Shape::OneOf(values) | Shape::Suggested(values) => json!(values),
            _ => Value::Null,
        };
        json!({
            "name": member.name, "required": member.required, "kind": kind(member.shape), "values": values,
            "rule": member.rule,
        })
    });
    json!({
        "name": one.name(), "uri": one.uri(), "aliases": one.aliases(), "about": one.about(),
        "status": match status(one) { "" => "final", other => other },
        "subject": subject(one), "members": members.collect::<Vec<_>>(), "example": example(one),
    })
}

/// The page of the book.
fn page() -> String {
    let mut page = "# Event types\n\n\
        Every event type that is known without configuration, with its members. `secevent types NAME` prints one of them,\n\
        `secevent rule ID` the clause behind a rule id. Members that are not listed are allowed and ignored. To add event\n\
        types of your own see [configuration](configuration.md).\n"
        .to_owned();
    for one in Vocabulary::standard().iter() {
        let status = match status(one) {
            "" => String::new(),
            status => format!(" ({status})"),
        };
        let _ = write!(page, "\n## {}{status}\n\n`{}`\n\n{}\n", one.name(), one.uri(), one.about());
        for alias in one.aliases() {
            let _ = write!(page, "\nAlso read as `{alias}`.\n");
        }
        if let Some(subject) = subject(one) {
            let _ = write!(page, "\nSubject: {subject}.\n");
        }
        if !one.members().is_empty() {
            page.push_str("\n| Member | | Value | Rule |\n|---|---|---|---|\n");
            for member in one.members() {
                let [name, required, kind, rule] = row(member);
                let _ = writeln!(page, "| `{name}` | {required} | {} | {rule} |", kind.replace('|', "\\|"));
            }
        }
        let _ = write!(page, "\n    {}\n", emit_example(one));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use secevent::Strictness;

    // finding: C18
    #[test]
    fn examples_of_required_members_fit_their_definitions() {
        for one in Vocabulary::standard().iter() {
            let checked = one.check_value(&example(one), Strictness::Lenient);
            assert_eq!(checked, Ok(()), "{}", one.name());
        }
    }

    #[test]
    fn the_page_of_the_book_is_fresh() {
        let stale = "the page is stale: cargo run -- types --markdown > docs/book/event-types.md";
        assert!(page() == include_str!("../../../docs/book/event-types.md"), "{stale}");
    }

    #[test]
    fn every_event_type_says_what_it_is_about() {
        assert!(Vocabulary::standard().iter().all(|one| !one.about().is_empty()));
    }
}
