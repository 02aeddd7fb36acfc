//! What streams are called in tables: names that a person can type, and that the server takes wherever it takes an
//! identifier.

use super::Server;
use serde_json::Value;
use std::collections::HashMap;

/// Names of the streams of a server: the name that configuration gives, or so many characters of the identifier that no
/// other stream begins with them.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, String>);

impl Names {
    /// So many characters of an identifier are shown at least: a prefix of today is still one when there are more streams.
    const PREFIX_CHARS_MIN: usize = 8;
    /// Longer names would leave no room for the rest of a table.
    const NAME_CHARS_MAX: usize = 20;
    /// Where there are more streams than this, their identifiers are shown.
    const STREAMS_MAX: &str = "500";

    /// The names of all these streams, which are all that there are.
    pub(crate) fn of_all(streams: &[Value]) -> Self {
        let mut ids: Vec<&str> = streams.iter().filter_map(|stream| stream["stream_id"].as_str()).collect();
        ids.sort_unstable();
        let in_common =
            |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
        let longest = ids.windows(2).map(in_common).max().unwrap_or(0);
        let chars = (longest + 1).max(Self::PREFIX_CHARS_MIN);
        let mut named: HashMap<&str, usize> = HashMap::new();
        for name in streams.iter().filter_map(|stream| stream["name"].as_str()) {
            *named.entry(name).or_default() += 1;
        }
        let shown = |stream: &Value| {
            let id = stream["stream_id"].as_str()?;
            let plain = |name: &&str| {
                (1..=Self::NAME_CHARS_MAX).contains(&name.chars().count())
                    && !name.contains(char::is_whitespace)
                    && named.get(name) == Some(&1)
            };
            let prefix = id.get(..chars).filter(|prefix| !named.contains_key(prefix)).unwrap_or(id);
            Some((id.to_owned(), stream["name"].as_str().filter(plain).unwrap_or(prefix).to_owned()))
        };
        Self(streams.iter().filter_map(shown).collect())
    }

    /// The names of the streams of a server. None are known if it has many or does not tell.
    pub(crate) async fn of(server: &Server) -> Self {
        match server.get(&["streams"], &[("limit", Self::STREAMS_MAX)]).await {
            Ok(page) if page["next"].is_null() => {
                Self::of_all(page["streams"].as_array().map_or(&[][..], Vec::as_slice))
            }
            _ => Self::default(),
        }
    }

    /// Puts these names in the place of the identifiers in an answer, wherever in it they are: before it becomes a table.
    pub(crate) fn put_into(&self, answer: &mut Value) {
        match answer {
            Value::Array(values) => values.iter_mut().for_each(|value| self.put_into(value)),
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str().and_then(|id| self.0.get(id)) {
                        Some(shown) if name == "stream_id" => *value = shown.as_str().into(),
                        _ => self.put_into(value),
                    }
                }
            }
            _ => {}
        }
    }

    /// What to call the stream that is named in this member of an answer.
    pub(crate) fn shown(&self, answer: &Value) -> String {
        let id = super::text(answer, "stream_id");
        self.0.get(id).map_or(id, String::as_str).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // finding: C2
    #[test]
    fn a_stream_is_called_by_its_name_or_by_as_much_of_its_identifier_as_it_takes() {
        let names = |streams: &[(&str, Option<&str>)]| {
            let streams: Vec<Value> =
                streams.iter().map(|(id, name)| json!({"stream_id": id, "name": name})).collect();
            let names = Names::of_all(&streams);
            streams.iter().map(|stream| names.shown(stream)).collect::<Vec<_>>()
        };
        let (a, b, c) = ("0f3c1a2b3c4d5e6f", "1f3c1a2b3c4d5e6f", "0f3c1a2b3cffffff");
        assert_eq!(names(&[]), [""; 0]);
        assert_eq!(names(&[(a, None)]), ["0f3c1a2b"]);
        assert_eq!(names(&[(a, None), (b, Some("siem"))]), ["0f3c1a2b", "siem"]);
        assert_eq!(names(&[(b, None), (a, None), (c, None)]), ["1f3c1a2b3c4", "0f3c1a2b3c4", "0f3c1a2b3cf"]);
        // Two of one name, a long one, one with a space, and one that is the beginning of another's identifier.
        assert_eq!(names(&[(a, Some("siem")), (b, Some("siem"))]), ["0f3c1a2b", "1f3c1a2b"]);
        assert_eq!(names(&[(a, Some(&"x".repeat(25))), (b, Some("a b"))]), ["0f3c1a2b", "1f3c1a2b"]);
        assert_eq!(names(&[(a, Some("1f3c1a2b")), (b, None)]), ["1f3c1a2b", b]);
        assert_eq!(Names::default().shown(&json!({"stream_id": a})), a);
        let mut answer =
            json!({"streams": [{"stream_id": a, "id": a}, {"stream_id": b}, {"stream_id": null}]});
        Names::of_all(&[json!({"stream_id": a})]).put_into(&mut answer);
        let expected =
            json!({"streams": [{"stream_id": "0f3c1a2b", "id": a}, {"stream_id": b}, {"stream_id": null}]});
        assert_eq!(answer, expected);
        assert_eq!(Names::default().shown(&json!({"stream_id": null})), "-");
    }
}
