//! `secevent restore --check`: whether a backup could be restored. The backup is not changed.

use crate::config::check::check;
use crate::config::given::Given;
use crate::doctor::opens;
use crate::output::{EXIT_FAILED, Failure, print, print_json, safe};
use clap::Args;
use secevent_sqlite::{Contents, inspect_backup};
use secevent_store::Document;
use secevent_transmitter::Transmitter;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check that a backup can be restored. Nothing is written.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  secevent restore --check /var/backups/secevent.db
  secevent restore --check /var/backups/secevent.db --config /etc/secevent/secevent.toml --json

It reads the whole file, counts what is in it, and tries the master key of the configuration
(secrets.key). The file and its directory stay as they are, and a running server is not affected.

To restore: stop the server, move its store away, copy the backup to its place, start the server.

JSON: {usable, schema, newest_schema, damage, counts, master_key}; master_key is fits, wrong or
unknown.

Exit codes: 0 it can be restored; 1 it cannot; 2 misuse.")]
pub(crate) struct Restore {
    /// Only check the backup
    #[arg(long, required = true)]
    check: bool,
    /// The backup, as `secevent backup` wrote it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Given,
}

/// Checks it.
pub(crate) fn run(args: &Restore) -> ExitCode {
    match examine(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(failure) => {
            failure.report(args.json);
            failure.exit()
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Fits,
    Wrong,
    /// There is no valid configuration, or nothing is sealed in the backup.
    Unknown,
}

fn examine(args: &Restore) -> Result<bool, Failure> {
    debug_assert!(args.check, "clap requires it");
    let mut sealed = None;
    let mut examine = |document: &Document| {
        if document.name == Transmitter::STORE_KEY {
            sealed = Some(document.body.clone());
        }
        Transmitter::check_document(document)
    };
    let found = inspect_backup(&args.file, &mut examine);
    let contents = found.map_err(|error| Failure::failed(error.to_string()))?;
    let key = sealed.map_or(Key::Unknown, |sealed| key(&args.given, &sealed));
    let is_known = (1..=contents.newest).contains(&contents.schema);
    let usable = is_known && contents.damage.is_empty() && key != Key::Wrong;
    if args.json {
        print_json(&told(&contents, key, usable))?;
    } else {
        print(&text(&contents, key, usable))?;
    }
    Ok(usable)
}

/// Without a valid configuration there is no key to try.
fn key(given: &Given, sealed: &[u8]) -> Key {
    let Ok(Ok(document)) = given.document() else { return Key::Unknown };
    match check(&document, &given.overrides()).settings {
        None => Key::Unknown,
        Some(settings) if opens(&settings, sealed) => Key::Fits,
        Some(_) => Key::Wrong,
    }
}

fn told(contents: &Contents, key: Key, usable: bool) -> Value {
    let counts: Map<String, Value> =
        contents.counts.iter().map(|(what, count)| ((*what).to_owned(), json!(count))).collect();
    let key = match key {
        Key::Fits => "fits",
        Key::Wrong => "wrong",
        Key::Unknown => "unknown",
    };
    json!({
        "usable": usable,
        "schema": contents.schema,
        "newest_schema": contents.newest,
        "damage": contents.damage,
        "counts": counts,
        "master_key": key,
    })
}

fn text(contents: &Contents, key: Key, usable: bool) -> String {
    let mut text = String::new();
    for line in &contents.damage {
        let _ = writeln!(text, "damaged: {}", safe(line));
    }
    let (schema, newest) = (contents.schema, contents.newest);
    let _ = match schema {
        0 => writeln!(text, "schema: none, the file is no store of secevent"),
        _ if schema > newest => {
            writeln!(text, "schema: {schema}, this release knows {newest}: use a newer release")
        }
        _ if schema < newest => writeln!(text, "schema: {schema}, the first start brings it to {newest}"),
        _ => writeln!(text, "schema: {schema}"),
    };
    for (what, count) in &contents.counts {
        let _ = writeln!(text, "{what}: {count}");
    }
    let _ = match key {
        Key::Fits => writeln!(text, "master key: fits"),
        Key::Wrong => {
            writeln!(text, "master key: does not open the backup: use the one from when it was made")
        }
        Key::Unknown => writeln!(text, "master key: not tried: name the configuration with --config"),
    };
    text + if usable { "the backup can be restored\n" } else { "the backup cannot be restored\n" }
}
