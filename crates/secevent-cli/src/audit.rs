//! `secevent audit`: who changed what.

use crate::admin::{Common, EXIT_CODES, Server, WHICH, text};
use crate::output::{Failure, print, table};
use crate::replay::{Since, parse_since};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

/// Show the log of changes, newest first: who changed what, from what, to what.
///
/// Secrets are not in it. It is kept for retention.audit_days (365).
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent audit
  secevent audit --client billing --since 7d
  secevent audit --stream 0f3c… --action stream. --json

JSON: {{changes: [{{at, actor: {{kind, id}}, action, object, client, stream, request, before,
after}}], next?}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Audit {
    /// What concerns this client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// What concerns this stream, as `secevent streams` names it; of one that is gone, its whole identifier
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// What did this, such as stream.update; with a dot at the end, all that begin so
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Since then: a time as in 2026-01-31T12:00:00Z, or a span such as 90s, 30m, 2h, 7d
    #[arg(long, value_name = "TIME|SPAN", value_parser = parse_since)]
    since: Option<Since>,
    /// How many to show
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on behind an earlier answer: its `next`
    #[arg(long, value_name = "NEXT")]
    after: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub(crate) fn run(args: &Audit) -> ExitCode {
    args.common.run(async |server| list(args, &server).await)
}

async fn list(args: &Audit, server: &Server) -> Result<(), Failure> {
    let since = args.since.map(Since::to_text);
    let filters = [
        ("client", args.client.as_deref()),
        ("stream", args.stream.as_deref()),
        ("action", args.action.as_deref()),
        ("since", since.as_deref()),
    ];
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let changes = server.list("audit", "changes", &filters, args.after.as_deref(), wanted).await?;
    if args.common.json {
        return changes.print_json("changes");
    }
    if changes.found.is_empty() {
        return print("nothing was changed\n");
    }
    let row = |change: &Value| {
        let of = |name| text(change, name).to_owned();
        vec![of("at"), actor(&change["actor"]), of("action"), of("object"), differences(change)]
    };
    let rows: Vec<Vec<String>> = changes.found.iter().map(row).collect();
    print(&table(&["AT", "WHO", "DID", "TO", "CHANGED"], &rows))?;
    changes.note_next(args.limit);
    Ok(())
}

fn actor(actor: &Value) -> String {
    match actor["id"].as_str() {
        Some(id) => format!("{} {id}", text(actor, "kind")),
        None => text(actor, "kind").to_owned(),
    }
}

/// The members that are others now; those that are there, if there was nothing before.
fn differences(change: &Value) -> String {
    const CHARS_MAX: usize = 80;
    let (before, after) = (&change["before"], &change["after"]);
    let members = after.as_object().or_else(|| before.as_object());
    let changed = members.into_iter().flatten().filter_map(|(name, _)| {
        let (was, is) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        let line = match (before.is_null(), after.is_null()) {
            (true, _) => format!("{name}: {is}"),
            (false, true) => return None,
            (false, false) => format!("{name}: {was} -> {is}"),
        };
        (was != is).then_some(line)
    });
    let text = changed.collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_changed_is_told_shortly() {
        for (before, after, expected) in [
            (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), "b: 2 -> 3"),
            (json!({"a": null}), json!({"a": "x"}), "a: null -> \"x\""),
            (json!({"a": "x"}), json!({"a": null}), "a: \"x\" -> null"),
            (Value::Null, json!({"count": 2, "jti": null}), "count: 2"),
            (json!({"a": 1}), Value::Null, ""),
        ] {
            assert_eq!(differences(&json!({"before": before, "after": after})), expected);
        }
        let long = json!({"before": null, "after": {"a": "x".repeat(200)}});
        assert_eq!(differences(&long).chars().count(), 81);
    }
}
