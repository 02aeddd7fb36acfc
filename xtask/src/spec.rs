//! `cargo xtask spec`: compares the requirements in specs/*.toml with the tests that name them.
//!
//! A test names the requirements it shows in a comment directly above it: `spec:` and their ids after two slashes.

mod catalogue;
mod marker;

use crate::tools::root;
use anyhow::{Context, Result, ensure};
use catalogue::{Binding, Catalogue, Document, Part};
use clap::Args;
use marker::{Marked, Mistake, Syntax};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What to print.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// List the untested MUST rows of unfinished parts too.
    #[arg(long)]
    missing: bool,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let root = root()?;
    let catalogue = Catalogue::read(&root.join("specs"))?;
    let report = Report::new(&catalogue, marks(&root)?);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        report.print(options.missing);
    }
    ensure!(report.mistakes.is_empty(), "{} mistakes in specs/ or in markers", report.mistakes.len());
    ensure!(
        report.untested.is_empty(),
        "{} MUST rows have neither a test nor a reason",
        report.untested.len()
    );
    Ok(())
}

/// What the comparison says.
#[derive(Debug, Serialize)]
struct Report {
    documents: Vec<Summary>,
    /// Rows of finished parts that bind and have neither a test nor a reason.
    untested: Vec<Row>,
    /// The same of parts that nobody claims to be finished.
    unfinished: Vec<Row>,
    mistakes: Vec<String>,
    /// For each id the tests that show it.
    tests: BTreeMap<String, Vec<String>>,
}

/// One document in numbers.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Summary {
    document: String,
    rows: usize,
    must: usize,
    must_tested: usize,
    must_with_reason: usize,
    /// In the parts that are finished.
    must_untested: usize,
    others_tested: usize,
}

/// A requirement that waits for its test.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    part: String,
    text: String,
}

impl Report {
    fn new(catalogue: &Catalogue, marks: Vec<(PathBuf, Result<Marked, Mistake>)>) -> Self {
        let mut mistakes = catalogue.mistakes();
        let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (file, mark) in marks {
            match mark {
                Ok(Marked { line, test, ids }) => {
                    let place = format!("{}:{line}", file.display());
                    for id in ids {
                        if !catalogue.knows(&id) {
                            mistakes.push(format!("{place}: there is no requirement `{id}`"));
                        }
                        tests.entry(id).or_default().push(format!("{place} {test}"));
                    }
                }
                Err(Mistake { line, what }) => mistakes.push(format!("{}:{line}: {what}", file.display())),
            }
        }
        let (mut untested, mut unfinished) = (Vec::new(), Vec::new());
        for document in &catalogue.documents {
            for row in document.binding() {
                let tested = is_tested(&row, &tests);
                if tested && row.has_reason {
                    mistakes.push(format!("{} has a test and a reason for having none", row.id));
                }
                if !row.has_reason && !tested {
                    let list = if document.has_finished(row.part) { &mut untested } else { &mut unfinished };
                    list.push(Row {
                        id: row.id.to_owned(),
                        part: row.part.to_string(),
                        text: row.text.to_owned(),
                    });
                }
            }
        }
        let documents = catalogue.documents.iter().map(|document| Summary::new(document, &tests)).collect();
        Self { documents, untested, unfinished, mistakes, tests }
    }

    fn print(&self, missing: bool) {
        println!(
            "{:<10}{:>6}{:>6}{:>8}{:>8}{:>10}{:>14}",
            "document", "rows", "MUST", "tested", "reason", "untested", "others tested"
        );
        for s in &self.documents {
            println!(
                "{:<10}{:>6}{:>6}{:>8}{:>8}{:>10}{:>14}",
                s.document,
                s.rows,
                s.must,
                s.must_tested,
                s.must_with_reason,
                s.must_untested,
                s.others_tested
            );
        }
        println!("untested: MUST rows of finished parts that have neither a test nor a reason");
        let lists = [("untested", &self.untested, true), ("in unfinished parts", &self.unfinished, missing)];
        for (title, rows, shown) in lists {
            if shown && !rows.is_empty() {
                println!("\n{title}:");
                for Row { id, part, text } in rows {
                    println!("  {id:<12}{part:<13}{text}");
                }
            }
        }
        if !self.mistakes.is_empty() {
            println!("\nmistakes:");
            for mistake in &self.mistakes {
                println!("  {mistake}");
            }
        }
    }
}

impl Summary {
    fn new(document: &Document, tests: &BTreeMap<String, Vec<String>>) -> Self {
        let must: Vec<_> = document.binding().collect();
        let tested = |row: &&Binding<'_>| is_tested(row, tests);
        let waits = |row: &&Binding<'_>| document.has_finished(row.part) && !row.has_reason && !tested(row);
        Self {
            document: document.prefix.clone(),
            rows: document.ids().count(),
            must: must.len(),
            must_tested: must.iter().filter(tested).count(),
            must_with_reason: must.iter().filter(|row| row.has_reason).count(),
            must_untested: must.iter().filter(waits).count(),
            others_tested: document
                .ids()
                .filter(|id| tests.contains_key(*id) && !must.iter().any(|row| row.id == **id))
                .count(),
        }
    }
}

/// Whether a row has the test that it needs. What a transmitter promises has to be seen through its endpoints, and no
/// test of those shows what a receiver does.
fn is_tested(row: &Binding<'_>, tests: &BTreeMap<String, Vec<String>>) -> bool {
    const THROUGH_HTTP: [&str; 3] =
        ["crates/secevent-server/tests/", "crates/secevent-cli/tests/", "crates/secevent-http/tests/"];
    let suits = |test: &String| match row.part {
        Part::Transmitter => THROUGH_HTTP.iter().any(|folder| test.starts_with(folder)),
        Part::Receiver => !test.starts_with(THROUGH_HTTP[0]),
        Part::Token | Part::Prose => true,
    };
    tests.get(row.id).is_some_and(|tests| tests.iter().any(suits))
}

/// All markers of the tree.
fn marks(root: &Path) -> Result<Vec<(PathBuf, Result<Marked, Mistake>)>> {
    let mut marks = Vec::new();
    for (folder, syntax) in [
        ("crates", Syntax::Rust),
        ("examples", Syntax::Rust),
        ("xtask", Syntax::Rust),
        ("sim", Syntax::Rust),
        ("console/e2e", Syntax::Other),
    ] {
        let mut files = Vec::new();
        collect(&root.join(folder), syntax, &mut files)?;
        files.sort();
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let named = file.strip_prefix(root).unwrap_or(&file).to_path_buf();
            marks.extend(marker::scan(&text, syntax).into_iter().map(|mark| (named.clone(), mark)));
        }
    }
    Ok(marks)
}

fn collect(folder: &Path, syntax: Syntax, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            let built = path.file_name().is_some_and(|name| name == "target" || name == "node_modules");
            if !built {
                collect(&path, syntax, files)?;
            }
        } else if syntax == Syntax::Other || path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        document = "RFC 1"
        title = "A document"
        prefix = "DOC"
        finished = ["token", "prose"]

        [[requirement]]
        id = "DOC-01"
        level = "MUST"
        role = "issuer"
        part = "token"
        section = "1"
        text = "one"
        [[requirement]]
        id = "DOC-02"
        level = "MUST"
        role = "issuer"
        part = "prose"
        section = "1"
        text = "two"
        reason = "nobody can see it"
        [[requirement]]
        id = "DOC-03"
        level = "MUST"
        role = "receiver"
        part = "receiver"
        section = "2"
        text = "three"
        [[requirement]]
        id = "DOC-04"
        level = "MAY"
        role = "issuer"
        part = "token"
        section = "2"
        text = "four"
    "#;

    fn report(marks: Vec<Result<Marked, Mistake>>) -> Report {
        let catalogue = Catalogue { documents: vec![toml::from_str(TABLE).unwrap()] };
        Report::new(&catalogue, marks.into_iter().map(|mark| (PathBuf::from("a.rs"), mark)).collect())
    }

    fn marked(ids: &[&str]) -> Result<Marked, Mistake> {
        Ok(Marked { line: 1, test: "a_test".into(), ids: ids.iter().map(ToString::to_string).collect() })
    }

    #[test]
    fn a_must_row_of_a_finished_part_needs_a_test_or_a_reason() {
        let bare = report(vec![]);
        let ids = |rows: &[Row]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&bare.untested), ["DOC-01"]);
        assert_eq!(ids(&bare.unfinished), ["DOC-03"]);

        let kept = report(vec![marked(&["DOC-01", "DOC-04"])]);
        assert_eq!((kept.untested.len(), kept.mistakes.len()), (0, 0));
        let expected = Summary {
            document: "DOC".into(),
            rows: 4,
            must: 3,
            must_tested: 1,
            must_with_reason: 1,
            must_untested: 0,
            others_tested: 1,
        };
        assert_eq!(kept.documents, [expected]);
    }

    /// Of an erratum that binds two parts, each needs a test of its own.
    #[test]
    fn each_part_that_an_erratum_binds_needs_a_test() {
        const ERRATA: &str = r#"
            title = "Errata"
            prefix = "E"
            finished = ["transmitter", "receiver"]
            [[erratum]]
            id = "E-01"
            area = "all"
            strength = "agreed"
            issue = "who?"
            behaviour = "both"
            parts = ["transmitter", "receiver"]
            thread = "none"
        "#;
        let untested = |places: &[&str]| {
            let catalogue = Catalogue { documents: vec![toml::from_str(ERRATA).unwrap()] };
            let marks = places.iter().map(|place| (PathBuf::from(place), marked(&["E-01"])));
            let report = Report::new(&catalogue, marks.collect());
            report.untested.into_iter().map(|row| row.part).collect::<Vec<_>>()
        };
        let (server, receiver) = ("crates/secevent-server/tests/a.rs", "crates/secevent-receiver/tests/a.rs");
        assert_eq!(untested(&[]), ["transmitter", "receiver"]);
        assert_eq!(untested(&[server]), ["receiver"]);
        assert_eq!(untested(&[receiver]), ["transmitter"]);
        assert_eq!(untested(&[server, receiver]), [""; 0]);
    }

    #[test]
    fn unknown_ids_stale_reasons_and_misplaced_markers_are_mistakes() {
        let misplaced = Err(Mistake { line: 7, what: "no test".into() });
        let report = report(vec![marked(&["DOC-99"]), marked(&["DOC-02"]), misplaced]);
        assert_eq!(
            report.mistakes,
            [
                "a.rs:1: there is no requirement `DOC-99`",
                "a.rs:7: no test",
                "DOC-02 has a test and a reason for having none"
            ]
        );
    }

    #[test]
    fn the_catalogue_of_this_project_is_sound() {
        let catalogue = Catalogue::read(&root().unwrap().join("specs")).unwrap();
        assert_eq!(catalogue.mistakes(), Vec::<String>::new());
        let requirements: usize = catalogue.documents.iter().map(|document| document.requirement.len()).sum();
        assert_eq!((requirements, catalogue.documents.len()), (603, 15));
        assert!(catalogue.knows("SET-01") && catalogue.knows("E-44"));
    }
}
