//! What is wrong with somebody's bytes: which member, which rule, in words.

use crate::{escape, escape_message};
use std::borrow::Cow;
use std::fmt;

/// Foreign bytes break a rule: this names the member, the requirement and what is wrong.
///
/// Every reader in this family of crates answers with it, so that an error always tells its reader where
/// to look and which clause asks for the change. `Display` is safe to show: names of members are foreign
/// text, and are escaped and cut. [`Invalid::member`] and [`Invalid::problem`] are as they came.
///
/// ```
/// use secevent::Subject;
///
/// let error = Subject::from_json(r#"{"format":"email","email":"Jo <jo@x.example>"}"#).unwrap_err();
/// assert_eq!(error.member(), "email");
/// assert_eq!(error.rule(), "SUBJ-09");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Invalid {
    member: String,
    rule: &'static str,
    problem: Cow<'static, str>,
}

impl Invalid {
    /// How much of the member's path, and of the problem, is shown: characters.
    pub const SHOWN_CHARS_MAX: usize = 500;

    /// A breach of `rule` (a requirement id such as `SET-12`) by `member`; an empty member means the whole
    /// document. The problem reads on after the member's name: "must be a string".
    pub fn new(member: impl Into<String>, rule: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { member: member.into(), rule, problem: problem.into() }
    }

    /// Where the breach is: member names joined by dots, array places in brackets; empty for the whole.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// The id of the requirement that is broken, as `specs/` lists them.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// What is wrong, to be read after the member's name.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// The same breach seen from the document around: puts `outer` before the member's path.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.member = if self.member.is_empty() {
            outer.to_owned()
        } else if self.member.starts_with('[') {
            format!("{outer}{}", self.member)
        } else {
            format!("{outer}.{}", self.member)
        };
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = escape_message(&self.problem, Self::SHOWN_CHARS_MAX);
        if self.member.is_empty() {
            write!(f, "the document {problem} [{}]", self.rule)
        } else {
            write!(f, "`{}` {problem} [{}]", escape(&self.member, Self::SHOWN_CHARS_MAX), self.rule)
        }
    }
}

impl fmt::Debug for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid({self})")
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_grow_outwards() {
        let error = Invalid::new("", "SUBJ-18", "must not be empty");
        assert_eq!(error.to_string(), "the document must not be empty [SUBJ-18]");
        let error = error.within("[2]").within("identifiers").within("sub_id");
        assert_eq!(error.member(), "sub_id.identifiers[2]");
        assert_eq!(error.to_string(), "`sub_id.identifiers[2]` must not be empty [SUBJ-18]");
    }

    // finding: B9
    #[test]
    fn a_member_cannot_write_lines_of_its_own() {
        let error = Invalid::new("a\nVALID\u{1b}[2J", "SET-01", "is not \u{202e}this");
        assert_eq!(error.to_string(), r"`a\nVALID\u{1b}[2J` is not \u{202e}this [SET-01]");
        assert_eq!(error.member(), "a\nVALID\u{1b}[2J");
        let error = Invalid::new("m".repeat(1000), "SET-01", "is long");
        assert_eq!(error.to_string(), format!("`{}…` is long [SET-01]", "m".repeat(500)));
    }
}
