//! Finds the markers above tests. It reads lines and knows no grammar: the source is formatted by rustfmt.

use std::collections::BTreeSet;

/// How a file marks its tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// A function with a test attribute, or inside `proptest!`.
    Rust,
    /// A call of `test(…)` or `it(…)`.
    Other,
}

/// A test, and the requirements it says it shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) line: usize,
    pub(crate) test: String,
    pub(crate) ids: Vec<String>,
}

/// A marker that is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// A test that shows more than this shows nothing in particular.
const IDS_MAX: usize = 5;

/// Two slashes, a space, and this.
const MARKER: &str = "spec:";

pub(crate) fn scan(text: &str, syntax: Syntax) -> Vec<Result<Marked, Mistake>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut proptest = None;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        match proptest {
            None if opens_proptest(line) => proptest = Some(indent(line)),
            // rustfmt puts the closing brace below the first letter of the opening line.
            Some(column) if indent(line) == column && line.trim_start().starts_with('}') => proptest = None,
            _ => {}
        }
        if ids(line).is_some() {
            let (next, mark) = match syntax {
                Syntax::Rust => rust_test(&lines, at, proptest.is_some()),
                Syntax::Other => other_test(&lines, at),
            };
            found.push(mark);
            at = next;
        } else {
            at += 1;
        }
    }
    found
}

/// Reads from a marker down to the function; the first number is the line to go on with.
fn rust_test(lines: &[&str], first: usize, in_proptest: bool) -> (usize, Result<Marked, Mistake>) {
    // An attribute may stand above the marker as well.
    let above = lines[..first].iter().rev().take_while(|line| is_comment(line) || is_attribute(line));
    let mut attributes: Vec<String> =
        above.filter(|line| is_attribute(line)).map(|line| line.trim().to_owned()).collect();
    let mut named = Vec::new();
    let mut at = first;
    while at < lines.len() {
        let line = lines[at];
        if let Some(ids) = ids(line) {
            named.extend(ids);
        } else if is_attribute(line) {
            let mut attribute = line.trim().to_owned();
            while !is_balanced(&attribute) && at + 1 < lines.len() {
                at += 1;
                attribute.push_str(lines[at].trim());
            }
            attributes.push(attribute);
        } else if !is_comment(line) {
            break;
        }
        at += 1;
    }
    let function = lines.get(at).and_then(|line| function_name(line));
    let is_test = in_proptest || attributes.iter().any(|attribute| attribute_name(attribute) == "test");
    let mark = match function {
        Some(_) if attributes.iter().any(|attribute| attribute_name(attribute) == "ignore") => {
            Err("the marker stands above a test that is ignored".to_owned())
        }
        Some(name) if is_test => marked(at, name, named),
        _ => Err("the marker does not stand directly above a test".to_owned()),
    };
    (at.max(first + 1), mark.map_err(|what| Mistake { line: first + 1, what }))
}

fn other_test(lines: &[&str], first: usize) -> (usize, Result<Marked, Mistake>) {
    let mut named = Vec::new();
    let mut at = first;
    while at < lines.len() && is_comment(lines[at]) {
        named.extend(ids(lines[at]).into_iter().flatten());
        at += 1;
    }
    let call = lines
        .get(at)
        .map(|line| line.trim_start().trim_start_matches("await "))
        .filter(|line| ["test(", "it(", "test.", "it."].iter().any(|start| line.starts_with(start)));
    let mark = match call {
        Some(call) => marked(at, call.trim_end_matches('{').trim_end(), named),
        None => Err("the marker does not stand directly above a test".to_owned()),
    };
    (at, mark.map_err(|what| Mistake { line: first + 1, what }))
}

fn marked(line: usize, test: &str, ids: Vec<String>) -> Result<Marked, String> {
    let distinct: BTreeSet<_> = ids.iter().collect();
    if distinct.len() != ids.len() {
        return Err("the marker names a requirement twice".to_owned());
    }
    if ids.len() > IDS_MAX {
        return Err(format!("{} requirements are too many for one test, {IDS_MAX} are the most", ids.len()));
    }
    Ok(Marked { line: line + 1, test: test.to_owned(), ids })
}

/// The ids of a marker line; nothing for any other line.
fn ids(line: &str) -> Option<Vec<String>> {
    let list = line.trim_start().strip_prefix("//")?.strip_prefix(' ')?.strip_prefix(MARKER)?;
    Some(list.split(',').map(|id| id.trim().to_owned()).collect())
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn is_attribute(line: &str) -> bool {
    line.trim_start().starts_with("#[")
}

fn is_balanced(attribute: &str) -> bool {
    attribute.matches('[').count() <= attribute.matches(']').count()
}

/// `test` for `#[test]` and `#[tokio::test(start_paused = true)]`.
fn attribute_name(attribute: &str) -> &str {
    let path = attribute.trim_start_matches("#[");
    let path = &path[..path.find(['(', ']', ' ', '=']).unwrap_or(path.len())];
    path.rsplit("::").next().unwrap_or(path)
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| matches!(*word, "pub" | "async" | "const" | "unsafe") || word.starts_with("pub("));
    if words.next() != Some("fn") {
        return None;
    }
    let name = words.next()?;
    Some(&name[..name.find(['(', '<']).unwrap_or(name.len())])
}

fn opens_proptest(line: &str) -> bool {
    let line = line.trim();
    line.ends_with('{') && line.trim_end_matches('{').trim_end().ends_with("proptest!")
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `//@` stands for a marker, so that these tables are not taken for markers themselves.
    fn scanned(text: &str, syntax: Syntax) -> Vec<Result<Marked, Mistake>> {
        scan(&text.replace("//@", "// spec:"), syntax)
    }

    fn marked(line: usize, test: &str, ids: &[&str]) -> Result<Marked, Mistake> {
        Ok(Marked { line, test: test.into(), ids: ids.iter().map(ToString::to_string).collect() })
    }

    fn mistake(line: usize, what: &str) -> Result<Marked, Mistake> {
        Err(Mistake { line, what: what.into() })
    }

    const NO_TEST: &str = "the marker does not stand directly above a test";

    #[test]
    fn finds_markers_above_rust_tests() {
        let cases = [
            ("//@ SET-01, SET-02\n#[test]\nfn a() {}", vec![marked(3, "a", &["SET-01", "SET-02"])]),
            (
                "    //@ E-44\n    #[tokio::test(start_paused = true)]\n    async fn b() {",
                vec![marked(3, "b", &["E-44"])],
            ),
            ("#[test]\n//@ A-1\nfn a() {}", vec![marked(3, "a", &["A-1"])]),
            ("/// Story.\n//@ A-1\n/// More.\n// why\n#[test]\nfn a() {}", vec![marked(6, "a", &["A-1"])]),
            ("//@ A-1\n//@ A-2\n#[test]\nfn a() {}", vec![marked(4, "a", &["A-1", "A-2"])]),
            (
                "//@ A-1\n#[expect(\n    dead_code,\n    reason = \"x\"\n)]\n#[test]\nfn a() {}",
                vec![marked(7, "a", &["A-1"])],
            ),
            (
                "//@ A-1\n#[test]\nfn a() {}\n\n//@ A-2\n#[test]\nfn b() {}",
                vec![marked(3, "a", &["A-1"]), marked(7, "b", &["A-2"])],
            ),
            ("fn a() {}\n// spec sheet\n/// // spec: A-1\nfn b() {}", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(scanned(text, Syntax::Rust), expected, "{text}");
        }
    }

    #[test]
    fn functions_of_a_proptest_block_are_tests() {
        let text = "proptest! {\n    //@ A-1\n    fn a(x in 0..9u8) {\n    }\n}\n//@ A-2\nfn b() {}";
        assert_eq!(scanned(text, Syntax::Rust), [marked(3, "a", &["A-1"]), mistake(6, NO_TEST)]);
    }

    #[test]
    fn refuses_markers_that_show_nothing() {
        let cases = [
            ("//@ A-1\nfn helper() {}", NO_TEST),
            ("//@ A-1\n\n#[test]\nfn a() {}", NO_TEST),
            ("//@ A-1\n#[cfg(test)]\nmod tests {", NO_TEST),
            ("//@ A-1\nlet x = 1;", NO_TEST),
            ("//@ A-1", NO_TEST),
            (
                "//@ A-1\n#[test]\n#[ignore = \"slow\"]\nfn a() {}",
                "the marker stands above a test that is ignored",
            ),
            ("//@ A-1, A-1\n#[test]\nfn a() {}", "the marker names a requirement twice"),
            (
                "//@ A-1, A-2, A-3\n//@ A-4, A-5, A-6\n#[test]\nfn a() {}",
                "6 requirements are too many for one test, 5 are the most",
            ),
        ];
        for (text, what) in cases {
            assert_eq!(scanned(text, Syntax::Rust), [mistake(1, what)], "{text}");
        }
    }

    #[test]
    fn finds_markers_above_browser_tests() {
        let text = "//@ SSF-01\n// why\ntest(\"lists streams\", async () => {\n});\n//@ SSF-02\nconst x = 1;";
        let found = scanned(text, Syntax::Other);
        assert_eq!(
            found,
            [marked(3, "test(\"lists streams\", async () =>", &["SSF-01"]), mistake(5, NO_TEST)]
        );
    }
}
