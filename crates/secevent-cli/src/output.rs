//! What a command says: results on standard output, everything else on standard error, and the exit code.
//!
//! Text that came from somewhere else is escaped before it is shown (see [`secevent::escape()`]), so that a token
//! can neither write to the terminal nor add lines to what a command says. Colours appear on a terminal only, and never when `NO_COLOR` is set.

use anstyle::{AnsiColor, Style};
use secevent::lint::Finding;
use secevent::{Invalid, Timestamp, escape, escape_json, escape_message};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Not valid, or failed.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command was not used as it is meant.
pub(crate) const EXIT_MISUSE: u8 = 2;

/// Why a command does not end well.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    exit: u8,
    /// `misuse`, `failed`, `invalid`, or a SET error code of RFC 8935.
    code: &'static str,
    message: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<Box<str>>,
    /// What else is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<Finding>,
}

impl Failure {
    /// The arguments make no sense, or name something that is not there.
    pub(crate) fn misuse(message: impl Into<String>) -> Self {
        Self::new(EXIT_MISUSE, "misuse", message.into())
    }

    /// What was asked for could not be done.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(EXIT_FAILED, "failed", message.into())
    }

    /// What was given is refused; `code` says by which kind of rule.
    pub(crate) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(EXIT_FAILED, code, message.into())
    }

    fn new(exit: u8, code: &'static str, message: String) -> Self {
        Self { exit, code, message: message.into(), member: None, rule: None, fix: None, also: Vec::new() }
    }

    /// The same as misuse: the bytes came as an argument.
    #[must_use]
    pub(crate) fn into_misuse(mut self) -> Self {
        (self.exit, self.code) = (EXIT_MISUSE, "misuse");
        self
    }

    /// With the member and the rule that a breach names.
    #[must_use]
    pub(crate) fn about(mut self, breach: &Invalid) -> Self {
        self.member = Some(breach.member()).filter(|member| !member.is_empty()).map(Box::from);
        self.rule = Some(breach.rule());
        self
    }

    /// With what to do about it.
    #[must_use]
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into().into());
        self
    }

    /// With what else is wrong.
    #[must_use]
    pub(crate) fn also(mut self, findings: Vec<Finding>) -> Self {
        self.also = findings;
        self
    }

    /// With fixes in the words of the command at hand, where it has some for a member and a rule.
    #[must_use]
    pub(crate) fn mended_by(mut self, fix: impl Fn(&str, &str) -> Option<&'static str>) -> Self {
        if let Some(fix) = self.rule.and_then(|rule| fix(self.member.as_deref().unwrap_or_default(), rule)) {
            self.fix = Some(fix.into());
        }
        for finding in &mut self.also {
            if let Some(fix) = fix(&finding.member, finding.rule) {
                finding.fix = fix.to_owned();
            }
        }
        self
    }

    /// Tells it on standard error, as text or as a line of JSON.
    pub(crate) fn report(&self, json: bool) {
        #[derive(Serialize)]
        struct Told<'a> {
            error: &'a Failure,
        }
        let text = if json { to_json(&Told { error: self }) + "\n" } else { self.to_text() };
        let _ = anstream::stderr().write_all(text.as_bytes());
    }

    fn to_text(&self) -> String {
        let mut text = format!("{BAD}error:{BAD:#} {}\n", message(&self.message));
        if let Some(fix) = &self.fix {
            let _ = writeln!(text, "  {BOLD}fix:{BOLD:#} {}", message(fix));
        }
        for finding in &self.also {
            let member = if finding.member.is_empty() {
                "the document".to_owned()
            } else {
                format!("`{}`", safe(&finding.member))
            };
            let _ = writeln!(
                text,
                "  {BOLD}also:{BOLD:#} {member} {} [{}]",
                message(&finding.message),
                finding.rule
            );
            let _ = writeln!(text, "  {BOLD}fix:{BOLD:#} {}", message(&finding.fix));
        }
        text
    }

    /// What is wrong, in words.
    pub(crate) fn text(&self) -> &str {
        &self.message
    }

    /// The exit code that goes with it.
    pub(crate) fn exit(&self) -> ExitCode {
        self.exit.into()
    }
}

impl From<Invalid> for Failure {
    fn from(breach: Invalid) -> Self {
        Self::refused("invalid", breach.to_string()).about(&breach)
    }
}

/// Writes a result to standard output. A reader that has gone away is no failure of ours.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a result to standard output as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&(to_json(value) + "\n"))
}

/// How much of a cell of a table is shown, in characters; `--json` shows all of it.
const CELL_CHARS_MAX: usize = 200;
/// How much of any other text is shown, in characters. The claims of a token are printed as JSON, in full.
const SHOWN_CHARS_MAX: usize = 4_000;

/// Rows of text below their titles, as wide as they have to be. The last column ends where its text ends.
pub(crate) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let has_fractions: Vec<bool> = (0..titles.len())
        .map(|column| rows.iter().any(|row| read_utc(&row[column]).is_some() && row[column].contains('.')))
        .collect();
    let cell = |(cell, fractions): (&String, &bool)| match read_utc(cell) {
        // Times below each other are as long as each other.
        Some(time) if *fractions => format!("{time:.3}"),
        _ => escape_message(cell, CELL_CHARS_MAX).to_string(),
    };
    let shown: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().zip(&has_fractions).map(cell).collect()).collect();
    let width = |column: usize| {
        let cells = shown.iter().map(|row| row[column].chars().count());
        cells.chain([titles[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    let mut text = format!("{BOLD}{}{BOLD:#}\n", line(&mut titles.iter().copied()));
    for row in &shown {
        let _ = writeln!(text, "{}", line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// The time that a text is, as servers write it.
fn read_utc(text: &str) -> Option<jiff::Timestamp> {
    let is_one = text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    text.parse().ok().filter(|_| is_one)
}

/// A remark beside the result.
pub(crate) fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "{BOLD}note:{BOLD:#} {}", message(text));
}

/// What is being done, for somebody who waits at a terminal.
pub(crate) fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        let _ = writeln!(anstream::stderr(), "{DIM}{}{DIM:#}", message(text));
    }
}

fn to_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("strings, numbers and JSON text are always JSON");
    escape_json(&json).into_owned()
}

/// A piece of foreign text as it may be shown.
pub(crate) fn safe(text: &str) -> String {
    escape(text, SHOWN_CHARS_MAX).to_string()
}

/// A message with foreign text in it, or JSON, as it may be shown: on one line.
pub(crate) fn message(text: &str) -> String {
    escape_message(text, SHOWN_CHARS_MAX).to_string()
}

/// JSON text with a line for each member, in the order in which it came. The text must be sound JSON.
pub(crate) fn pretty(json: &str, indent: usize) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut in_string = false;
    let mut characters = json.chars().peekable();
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent + 2 * depth));
    };
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                in_string = !in_string;
                out.push('"');
            }
            '\\' if in_string => {
                out.push('\\');
                out.extend(characters.next());
            }
            _ if in_string => out.push(character),
            '{' | '[' => {
                out.push(character);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            _ => out.push(character),
        }
    }
    escape_json(&out).into_owned()
}

/// A time as people read it: UTC, in the form of RFC 3339.
pub(crate) fn utc(time: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.as_micros()) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{time:?} seconds"),
    }
}

/// A time on the command line: RFC 3339, or seconds since 1970.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    // 1973-03-03. A smaller number was meant as a span, which no time here is.
    const SECONDS_MIN: i64 = 100_000_000;
    if let Ok(seconds) = text.parse::<i64>() {
        return match seconds {
            SECONDS_MIN.. => Ok(Timestamp::from_seconds(seconds)),
            _ => Err(format!(
                "{seconds} seconds since 1970 is before {}: use a time as in 2026-01-31T12:00:00Z, or the number of \
                 seconds since 1970",
                utc(Timestamp::from_seconds(SECONDS_MIN))
            )),
        };
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        "use a time as in 2026-01-31T12:00:00Z, or the number of seconds since 1970".to_owned()
    })?;
    Ok(Timestamp::from_micros(time.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_in_its_own_order() {
        let json = r#"{"b":{ },"a":[ 1, "x,{:}\"\\" ],"c":{"d":null}}"#;
        let shown = "{\n  \"b\": {},\n  \"a\": [\n    1,\n    \"x,{:}\\\"\\\\\"\n  ],\n  \"c\": {\n    \"d\": null\n  }\n}";
        assert_eq!(pretty(json, 0), shown);
        let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(same(json), same(&pretty(json, 4)));
    }

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        assert_eq!(safe("a\u{1b}[31m\u{9b}\u{202e}b\r\\"), r"a\u{1b}[31m\u{9b}\u{202e}b\r\\");
        assert_eq!(message("a\nb\\"), r"a\nb\");
        assert_eq!(to_json(&"\u{9b}\u{202e}é"), "\"\\u009b\\u202eé\"");
        assert_eq!(pretty("\"\u{9b}\"", 0), "\"\\u009b\"");
    }

    #[test]
    fn columns_are_as_wide_as_their_text() {
        let rows = [vec!["é".to_owned(), "x\ny".to_owned()], vec!["long".to_owned(), "\u{1b}".to_owned()]];
        let text = anstream::adapter::strip_str(&table(&["A", "B"], &rows)).to_string();
        assert_eq!(text, "A     B\né     x\\ny\nlong  \\u{1b}\n");
    }

    // finding: C16
    #[test]
    fn times_in_a_column_have_one_length() {
        let times = |texts: [&str; 2]| {
            let rows = texts.map(|text| vec![text.to_owned()]);
            let text = anstream::adapter::strip_str(&table(&["AT"], &rows)).to_string();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        let whole = ["2016-03-20T17:53:24Z", "2016-03-20T17:53:25Z"];
        assert_eq!(times(whole), whole);
        let mixed = times([whole[0], "2016-03-20T17:53:24.123456Z"]);
        assert_eq!(mixed, ["2016-03-20T17:53:24.000Z", "2016-03-20T17:53:24.123Z"]);
        assert_eq!(times(["-", "2016-03-20T17:53:24.5Z"])[0], "-");
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let at = Timestamp::from_seconds(1_458_496_404);
        assert_eq!(utc(at), "2016-03-20T17:53:24Z");
        for text in ["1458496404", "2016-03-20T17:53:24Z", "2016-03-20T18:53:24+01:00"] {
            assert_eq!(parse_time(text), Ok(at), "{text}");
        }
        // finding: C9
        for text in ["tomorrow", "2016-03-20", "5", "-5", "0", "99999999"] {
            assert!(parse_time(text).unwrap_err().contains("2026-01-31T12:00:00Z"), "{text}");
        }
    }
}
