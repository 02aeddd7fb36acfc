//! Entity tags, and the conditions that requests make of them (RFC 9110 sections 8.8.3, 13.1.1 and 13.1.2).

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// What `If-Match` or `If-None-Match` of a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// `*`: whatever there is.
    Any,
    /// One of these. A field that breaks the grammar names nothing.
    OneOf(Vec<EntityTag>),
}

/// A tag as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag {
    is_weak: bool,
    /// With its quotes.
    opaque: Vec<u8>,
}

impl Condition {
    /// The condition in this header field, which may have several lines. None if the request does not have it.
    pub(crate) fn of(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        match lines.as_slice() {
            [] => None,
            [line] if line.as_bytes().trim_ascii() == b"*" => Some(Self::Any),
            lines => {
                let tags: Option<Vec<_>> = lines.iter().map(|line| tags_in(line.as_bytes())).collect();
                Some(Self::OneOf(tags.unwrap_or_default().concat()))
            }
        }
    }

    /// Whether it names this strong tag, for a change: a weak tag is never the same (RFC 9110 section 13.1.1).
    pub(crate) fn names_strongly(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|one| !one.is_weak && one.opaque == tag.as_bytes()),
        }
    }

    /// Whether it names this strong tag or its weak form, for what is read (RFC 9110 section 13.1.2). A proxy that has
    /// compressed a document makes its tag weak.
    pub(crate) fn names_weakly(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|one| one.opaque == tag.as_bytes()),
        }
    }

    /// The strong tags that it names, with their quotes. None if it is `*`.
    pub(crate) fn strong_tags(&self) -> Option<impl Iterator<Item = &str>> {
        let Self::OneOf(tags) = self else { return None };
        let strong = tags.iter().filter(|tag| !tag.is_weak);
        Some(strong.filter_map(|tag| std::str::from_utf8(&tag.opaque).ok()))
    }
}

/// The tags in one line of the field: a list, whose elements may be empty. None if one of them is no entity tag.
fn tags_in(line: &[u8]) -> Option<Vec<EntityTag>> {
    let mut tags = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(b",") {
            rest = behind;
            continue;
        }
        if rest.is_empty() {
            return Some(tags);
        }
        let is_weak = rest.starts_with(b"W/");
        let quoted = rest.strip_prefix(b"W/").unwrap_or(rest);
        let length = quoted.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')? + 2;
        let (opaque, behind) = quoted.split_at(length);
        let is_in_tag = |byte: &u8| matches!(byte, 0x21..=0x7E | 0x80..=0xFF);
        if !opaque.iter().all(is_in_tag) {
            return None;
        }
        tags.push(EntityTag { is_weak, opaque: opaque.to_owned() });
        rest = behind.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::IF_MATCH;

    fn condition(lines: &[&[u8]]) -> Option<Condition> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_bytes(line).unwrap());
        }
        Condition::of(&headers, IF_MATCH)
    }

    // finding: B22
    #[test]
    fn tags_are_read_by_their_grammar() {
        let tag = |is_weak, opaque: &str| EntityTag { is_weak, opaque: opaque.as_bytes().to_owned() };
        let read = |line: &str| condition(&[line.as_bytes()]);
        let one_of = |tags: &[EntityTag]| Some(Condition::OneOf(tags.to_vec()));
        assert_eq!(condition(&[]), None);
        assert_eq!(read(" * "), Some(Condition::Any));
        assert_eq!(read(r#""a""#), one_of(&[tag(false, r#""a""#)]));
        assert_eq!(read(r#"W/"a""#), one_of(&[tag(true, r#""a""#)]));
        assert_eq!(read(r#""""#), one_of(&[tag(false, r#""""#)]));
        let list = read(r#", "a,b" ,,W/"c"	, "W/d","#);
        assert_eq!(list, one_of(&[tag(false, r#""a,b""#), tag(true, r#""c""#), tag(false, r#""W/d""#)]));
        assert_eq!(
            condition(&[br#""a""#, br#"W/"b""#]),
            one_of(&[tag(false, r#""a""#), tag(true, r#""b""#)])
        );
        let other = EntityTag { is_weak: false, opaque: b"\"\xe9\"".to_vec() };
        assert_eq!(condition(&[b"\"\xe9\""]), one_of(&[other]));
        for wrong in [
            r#"W/W/"a""#,
            r#"w/"a""#,
            r#"W/ "a""#,
            "a",
            r#""a"#,
            r#"a""#,
            r#""a" "b""#,
            r#""a"b"#,
            r#""a b""#,
            r#""a", b"#,
            r#""a", *"#,
            "*, *",
            "W/*",
            "W/",
        ] {
            assert_eq!(read(wrong), one_of(&[]), "{wrong}");
        }
        assert_eq!(condition(&[b"*", b"*"]), one_of(&[]));
        assert_eq!(condition(&[br#""a""#, b"b"]), one_of(&[]));
    }

    #[test]
    fn a_weak_tag_is_the_same_for_reading_only() {
        let read = |line: &str| condition(&[line.as_bytes()]).unwrap();
        for (line, strongly, weakly) in [
            ("*", true, true),
            (r#""a""#, true, true),
            (r#""b", "a""#, true, true),
            (r#"W/"a""#, false, true),
            (r#""b""#, false, false),
            (r#"W/W/"a""#, false, false),
        ] {
            let line_read = read(line);
            let named = (line_read.names_strongly(r#""a""#), line_read.names_weakly(r#""a""#));
            assert_eq!(named, (strongly, weakly), "{line}");
        }
        assert!(read("*").strong_tags().is_none());
        assert_eq!(read(r#""a", W/"b""#).strong_tags().unwrap().collect::<Vec<_>>(), [r#""a""#]);
    }
}
