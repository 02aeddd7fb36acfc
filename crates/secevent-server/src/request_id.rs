//! What a request is called, so that a log and whoever asked can speak of the same one.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::RngExt as _;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const CHARS_MAX: usize = 64;

/// The name of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The name that the caller gives it, if that is a plain one, or a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let plain = |id: &&str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=CHARS_MAX).contains(&id.len()) && id.bytes().all(is_plain)
        };
        let given = headers.get(HEADER).and_then(|id| id.to_str().ok()).filter(plain);
        Self(given.map_or_else(|| format!("{:016x}", rand::rng().random::<u64>()), str::to_owned))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The answer, which tells the name.
    pub(crate) fn on(&self, mut response: Response) -> Response {
        if let Ok(id) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(HEADER, id);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        let of = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, given.parse().unwrap());
            RequestId::of(&headers).0
        };
        assert_eq!(of("abc-1.2_3"), "abc-1.2_3");
        for wrong in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert_eq!(of(wrong).len(), 16, "{wrong}");
        }
    }
}
