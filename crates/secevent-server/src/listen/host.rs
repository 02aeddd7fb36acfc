//! The host that a request is addressed to: exactly one valid host (RFC 9112 section 3.2, RFC 9113 section 8.3.1).

use crate::problem::Problem;
use http::header::HOST;
use http::{Request, Version};

/// Refuses a request that does not say which host it is for, says it twice, or says it differently. What is behind a
/// listener may decide by that name, and something in front of it may have decided by the other.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(Problem::bad_request("the request has more than one Host header"));
    }
    let host = host.map(http::HeaderValue::as_bytes);
    if host.is_some_and(|host| !is_host(host)) {
        return Err(Problem::bad_request("the Host header is not a host with an optional port"));
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if authority.is_some_and(|authority| !is_host(authority)) {
        return Err(Problem::bad_request("the target of the request names no valid host"));
    }
    match (host, authority) {
        // Over HTTP/1.1 the header is needed even if the target names the host, which then wins.
        (None, _) if request.version() == Version::HTTP_11 => {
            Err(Problem::bad_request("the request has no Host header"))
        }
        (None, None) if request.version() >= Version::HTTP_2 => {
            Err(Problem::bad_request("the request names no host"))
        }
        (Some(host), Some(authority)) if request.version() >= Version::HTTP_2 => {
            match host.eq_ignore_ascii_case(authority) {
                true => Ok(()),
                false => Err(Problem::bad_request("the Host header differs from :authority")),
            }
        }
        _ => Ok(()),
    }
}

/// Whether this is `uri-host [ ":" port ]` with a host, as `http` and `https` require (RFC 9110 section 4.2).
fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        None => text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len())),
    };
    let is_literal = text.starts_with(b"[");
    let is_named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let is_address = |byte: &u8| is_named(byte) || *byte == b':';
    let is_port = |port: &[u8]| {
        let digits = port.strip_prefix(b":");
        digits.is_some_and(|digits| digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit))
            && digits
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .is_some_and(|digits| digits.is_empty() || digits.parse::<u16>().is_ok())
    };
    !host.is_empty()
        && host.iter().all(|byte| if is_literal { is_address(byte) } else { is_named(byte) })
        && (port.is_empty() || is_port(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    // finding: B15
    #[test]
    fn a_request_names_exactly_one_host() {
        let check = |version: Version, target: &str, hosts: &[&str]| {
            let mut request = Request::get(target).version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            check(&request.body(()).unwrap()).is_ok()
        };
        let (http_10, http_11, http_2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for good in
            ["a", "events.example", "EVENTS.example:8443", "192.0.2.1", "[2001:db8::1]:80", "a:", "a_b"]
        {
            assert!(check(http_11, "/", &[good]), "{good}");
        }
        for wrong in [
            "", ":80", "a b", "a/b", "a@b", "user:x@a", "a:80:80", "a:x", "a:65536", "a:-1", "[::1", "[]",
            "a,b:c", "a\\b",
        ] {
            assert!(!check(http_11, "/", &[wrong]), "{wrong}");
        }
        assert!(
            !check(http_11, "/", &[])
                && !check(http_11, "/", &["a", "a"])
                && !check(http_11, "/", &["a", "b"])
        );
        // A proxy may send the whole target; the header is needed all the same, and is not looked at.
        assert!(check(http_11, "http://a/", &["b"]) && !check(http_11, "http://a/", &[]));
        assert!(!check(http_11, "http://user@a/", &["a"]));
        assert!(check(http_10, "/", &[]) && !check(http_10, "/", &["a", "a"]));
        assert!(check(http_2, "https://a/", &[]) && check(http_2, "https://a/", &["A"]));
        assert!(check(http_2, "/", &["a"]), "some clients send the header in the place of :authority");
        assert!(!check(http_2, "/", &[]) && !check(http_2, "https://a/", &["b"]));
        assert!(!check(http_2, "https://a/", &["a", "a"]) && !check(http_2, "https://u@a/", &[]));
    }
}
