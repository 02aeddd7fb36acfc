//! Single requests to servers on this machine: enough of HTTP/1.1 to set things up and to ask how they are.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends a request, and gives status and body of the answer.
pub fn send(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8(answer)?).with_context(|| format!("{method} {path} is not answered in HTTP/1.1"))
}

/// Sends a request whose answer has to be a success, with JSON.
pub fn json(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Value> {
    let (status, answer) = send(port, method, path, headers, body)?;
    ensure!((200..300).contains(&status), "{method} {path} is answered with {status}: {answer}");
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&answer).with_context(|| format!("{method} {path} is not answered with JSON"))
}

/// The connection is closed behind the answer, so that the body is all the rest.
fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_answers() {
        let cases = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Some((200, "{}".to_owned()))),
            ("HTTP/1.1 202 Accepted\r\n\r\n", Some((202, String::new()))),
            ("HTTP/1.1 2", None),
            ("SSH-2.0\r\n\r\n", None),
        ];
        for (answer, expected) in cases {
            assert_eq!(parse(answer), expected, "{answer:?}");
        }
    }
}
