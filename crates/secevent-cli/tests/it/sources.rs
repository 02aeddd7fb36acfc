//! Rules that hold in every source file of the product.

use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                // Tests stand at the end of a file.
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
                found.push((path, code));
            }
        }
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(crates).unwrap().map(Result::unwrap) {
        walk(&entry.path().join("src"), &mut found);
    }
    assert!(found.len() > 150, "{}", found.len());
    found
}

/// The arguments of each call of a logging macro, as far as its text.
fn logged(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for name in ["error!(", "warn!(", "info!(", "debug!("] {
        for (at, _) in code.match_indices(name) {
            let mut fields = vec![String::new()];
            let mut depth = 0;
            for character in code[at + name.len()..].chars() {
                match character {
                    '"' => break,
                    ')' if depth == 0 => break,
                    ',' if depth == 0 => fields.push(String::new()),
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth -= 1,
                    _ => {}
                }
                fields.last_mut().unwrap().push(character);
            }
            found.push(fields);
        }
    }
    found
}

// finding: C12
#[test]
fn a_fact_has_one_name_in_the_log() {
    let mut seen = 0;
    for (path, code) in sources() {
        for fields in logged(&code) {
            for field in fields {
                let name = field
                    .trim_start_matches(',')
                    .split('=')
                    .next()
                    .unwrap()
                    .trim()
                    .trim_start_matches(['%', '?']);
                let name = name.trim();
                let other = match name {
                    "stream" | "stream_id" => "stream.id",
                    "client" | "client_id" => "client.id",
                    "source" => "source.id",
                    "reason" | "err" | "breach" | "cause" => "error",
                    "failures" | "attempts" | "tries" => "attempt",
                    _ => continue,
                };
                panic!("{}: the log calls it {other}, not {name}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 80, "{seen}");
}

// finding: B9
#[test]
fn foreign_text_is_escaped_in_one_way() {
    // What only looks at text, and shows none.
    let looks = ["secevent/src/escape.rs", "secevent/src/schema.rs"];
    for (path, code) in sources() {
        let shown = path.display().to_string();
        if looks.iter().any(|name| shown.ends_with(name)) {
            continue;
        }
        for own in
            ["is_control()", "REPLACEMENT_CHARACTER", "escape_debug", "escape_default", "escape_unicode"]
        {
            assert!(!code.contains(own), "{shown} has {own}: show foreign text with secevent::escape");
        }
        // The words of a peer are logged and formatted by the Display of their type, which escapes them.
        for raw in ["%error.description", "error.err.as_str(), error.description"] {
            assert!(!code.contains(raw), "{shown} has {raw}");
        }
    }
}
