//! `secevent rule`: what an id means that errors, findings and logs cite.

use crate::output::{BOLD, DIM, Failure, print, print_json};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Explain a rule id, such as SSF-26, E-33 or SEM-8.
///
/// Errors, lint findings and logs cite these ids. Most are requirements of a standard; `E-…` are errata, where a standard
/// is silent or contradicts itself; `SEM-…` are rules of the delivery engine.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  secevent rule SSF-26
  secevent rule E-33 --json

JSON: {id, document, level?, section?, text}.
Exit codes: 0 found, 1 no such rule, 2 misuse.")]
pub(crate) struct Rule {
    /// The id, in upper or lower case
    #[arg(value_name = "ID", required_unless_present = "markdown")]
    id: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Print all rules as the page of the book
    #[arg(long, hide = true)]
    markdown: bool,
}

pub(crate) fn run(args: &Rule) -> ExitCode {
    let result = match &args.id {
        Some(id) if !args.markdown => explain(id, args.json),
        _ => print(&page()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(args.json);
            failure.exit()
        }
    }
}

/// The files that the ids come from. They are part of the program, so that it explains what it prints itself.
const DOCUMENTS: [&str; 14] = [
    include_str!("../../../specs/ssf.toml"),
    include_str!("../../../specs/push.toml"),
    include_str!("../../../specs/poll.toml"),
    include_str!("../../../specs/set.toml"),
    include_str!("../../../specs/subj.toml"),
    include_str!("../../../specs/caep.toml"),
    include_str!("../../../specs/risc.toml"),
    include_str!("../../../specs/interop.toml"),
    include_str!("../../../specs/scim.toml"),
    include_str!("../../../specs/oauth.toml"),
    include_str!("../../../specs/bcl.toml"),
    include_str!("../../../specs/mpush.toml"),
    include_str!("../../../specs/jwtbcp.toml"),
    include_str!("../../../specs/legacy.toml"),
];
const ERRATA: &str = include_str!("../../../specs/errata.toml");
const SEMANTICS: &str = include_str!("../../../docs/semantics.md");

/// Rules that are of no standard.
const OURS: [(&str, &str); 7] = [
    ("RFC8259", "What is sent is JSON (RFC 8259), and no object has two members of the same name."),
    (
        "ingest",
        "The events endpoint takes an event as the page *Send events* describes it: these members, sizes and times, and no others.",
    ),
    (
        "ingest.control",
        "The transmitter alone sends events about a stream itself: `ssf:verification` and `ssf:stream-updated` (SSF 1.0 sections 8.1.4 and 8.1.5). A receiver requests a verification, and `secevent streams` changes a status. The events endpoint rejects both types.",
    ),
    (
        "custom",
        "An event of a type of `[[event_type]]` has a subject of the type's kind, and a payload that fits the type's JSON Schema.",
    ),
    (
        "client.events",
        "A client may send events of the types that its setting `events` lists, and no others (SEM-20).",
    ),
    (
        "client.subjects",
        "A client may send events about the subjects that its setting `subjects` covers, and no others (SEM-20).",
    ),
    ("client.issuers", "A client may use the issuers that its setting `issuers` lists, and no others."),
];

/// One rule, wherever it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Explained {
    id: String,
    /// The document: its short name, and its title.
    document: String,
    /// MUST, SHOULD, MAY; for an erratum how well it is founded.
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<String>,
    text: String,
}

fn explain(id: &str, json: bool) -> Result<(), Failure> {
    let all = rules();
    let Some(rule) = all.iter().find(|rule| rule.id.eq_ignore_ascii_case(id.trim())) else {
        let failure = Failure::failed(format!("there is no rule {id:?}"));
        let prefix = id.split('-').next().unwrap_or_default();
        let mut same = all
            .iter()
            .filter(|rule| rule.id.split('-').next().is_some_and(|it| it.eq_ignore_ascii_case(prefix)));
        return Err(match (same.next(), same.next_back()) {
            (Some(first), Some(last)) => failure.fix(format!("the ids go from {} to {}", first.id, last.id)),
            _ => failure.fix(format!("an id begins with one of {}", prefixes(&all).join(", "))),
        });
    };
    if json {
        return print_json(rule);
    }
    let mut text = format!("{BOLD}{}{BOLD:#}", rule.id);
    if let Some(level) = &rule.level {
        let _ = write!(text, "  {level}");
    }
    let section = rule.section.as_ref().map(|section| format!(", section {section}")).unwrap_or_default();
    let _ = write!(text, "\n{DIM}{}{section}{DIM:#}\n\n{}\n", rule.document, rule.text);
    print(&text)
}

fn prefixes(rules: &[Explained]) -> Vec<&str> {
    let mut prefixes: Vec<&str> = rules.iter().filter_map(|rule| rule.id.split('-').next()).collect();
    prefixes.dedup();
    prefixes
}

/// All rules: requirements, errata, semantics.
fn rules() -> Vec<Explained> {
    let requirements = DOCUMENTS.iter().flat_map(|text| requirements(text));
    requirements.chain(errata()).chain(ours()).chain(semantics(SEMANTICS)).collect()
}

fn requirements(text: &str) -> Vec<Explained> {
    #[derive(Deserialize)]
    struct Document {
        document: String,
        title: String,
        requirement: Vec<Requirement>,
    }
    #[derive(Deserialize)]
    struct Requirement {
        id: String,
        level: String,
        section: Option<String>,
        text: String,
    }
    let document: Document = toml::from_str(text).expect("a test reads each file");
    let name = format!("{}: {}", document.document, document.title);
    let rules = document.requirement.into_iter().map(|row| Explained {
        id: row.id,
        document: name.clone(),
        level: Some(row.level),
        section: row.section.filter(|section| !section.is_empty()),
        text: row.text,
    });
    rules.collect()
}

fn errata() -> impl Iterator<Item = Explained> {
    #[derive(Deserialize)]
    struct Document {
        title: String,
        erratum: Vec<Erratum>,
    }
    #[derive(Deserialize)]
    struct Erratum {
        id: String,
        strength: String,
        issue: String,
        behaviour: String,
    }
    let document: Document = toml::from_str(ERRATA).expect("a test reads the file");
    document.erratum.into_iter().map(move |row| Explained {
        id: row.id,
        document: document.title.clone(),
        level: Some(row.strength),
        section: None,
        text: format!("{}\n\nWhat is built: {}", row.issue, row.behaviour),
    })
}

fn ours() -> impl Iterator<Item = Explained> {
    OURS.into_iter().map(|(id, text)| Explained {
        id: id.to_owned(),
        document: "secevent: rules of this server".to_owned(),
        level: None,
        section: None,
        text: text.to_owned(),
    })
}

/// The paragraphs that begin with an id in bold, with what follows them until the next one or the next heading.
fn semantics(text: &str) -> Vec<Explained> {
    let mut rules: Vec<Explained> = Vec::new();
    let mut open = false;
    for paragraph in text.split("\n\n") {
        let begins = paragraph.strip_prefix("**SEM-").and_then(|rest| rest.split_once("**"));
        if let Some((title, rest)) = begins {
            let (number, title) = title.split_once(' ').unwrap_or((title, ""));
            let words = format!("{}{}", title.trim(), rest);
            rules.push(Explained {
                id: format!("SEM-{number}"),
                document: "Semantics of the delivery engine".to_owned(),
                level: None,
                section: None,
                text: words.trim().to_owned(),
            });
            open = true;
        } else if paragraph.starts_with('#') {
            open = false;
        } else if let Some(last) = rules.last_mut().filter(|_| open) {
            last.text = format!("{}\n\n{}", last.text, paragraph.trim_end());
        }
    }
    rules
}

/// The page of the book.
fn page() -> String {
    let mut page = "# Rules\n\n\
        What the ids mean that errors, lint findings and logs cite. `secevent rule ID` prints one of them. The rules of the\n\
        delivery engine (`SEM-…`) are on a page of their own: [semantics](../semantics.md).\n"
        .to_owned();
    let mut document = String::new();
    for rule in rules().into_iter().filter(|rule| !rule.id.starts_with("SEM-")) {
        if rule.document != document {
            document.clone_from(&rule.document);
            let _ = write!(page, "\n## {document}\n\n| Id | Level | Section | Rule |\n|---|---|---|---|\n");
        }
        let cell = |text: &str| text.replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ");
        let (level, section) = (rule.level.unwrap_or_default(), rule.section.unwrap_or_default());
        let _ =
            writeln!(page, "| {} | {} | {} | {} |", rule.id, cell(&level), cell(&section), cell(&rule.text));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    // finding: C19
    #[test]
    fn each_kind_of_id_is_explained() {
        let all = rules();
        let find = |id: &str| all.iter().find(|rule| rule.id == id).unwrap_or_else(|| panic!("{id}"));
        assert_eq!(find("PUSH-03").section.as_deref(), Some("2.1"));
        assert!(find("E-33").text.contains("What is built: "));
        assert!(
            find("SEM-8").text.contains("judged by its window")
                && find("SEM-8").text.contains("The head of an answer")
        );
        assert!(!find("SEM-4").text.contains('#'));
        assert!(find("ingest").text.contains("events endpoint"));
        let ids: HashSet<&str> = all.iter().map(|rule| &*rule.id).collect();
        assert_eq!(ids.len(), all.len(), "an id names one rule");
        assert!(all.iter().all(|rule| !rule.text.trim().is_empty()));
    }

    /// What the source cites can be looked up.
    // finding: C19
    #[test]
    fn every_rule_of_the_engine_that_the_code_cites_is_explained() {
        let ids: HashSet<String> = rules().into_iter().map(|rule| rule.id).collect();
        let mut cited = 0;
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() && !name.starts_with('.') && name != "target" {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "rs" || it == "md") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    for (at, _) in text.match_indices("SEM-") {
                        let number: String =
                            text[at + 4..].chars().take_while(char::is_ascii_digit).collect();
                        let id = format!("SEM-{number}");
                        assert!(number.is_empty() || ids.contains(&id), "{}: {id}", path.display());
                        cited += 1;
                    }
                }
            }
        }
        assert!(cited > 50, "{cited}");
    }

    #[test]
    fn the_page_of_the_book_is_fresh() {
        let stale = "the page is stale: cargo run -- rule --markdown > docs/book/rules.md";
        assert!(page() == include_str!("../../../docs/book/rules.md"), "{stale}");
    }
}
