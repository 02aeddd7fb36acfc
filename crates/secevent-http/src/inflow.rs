//! Bounds what a peer can make us read around the body of an answer.
//!
//! hyper bounds one head, and `client.rs` bounds the body. A peer can still send without end what is neither:
//! informational answers (1xx) before the final one, chunk sizes with leading zeros, HTTP/2 frames without data. Each of
//! these costs processor time for as long as the request may take. So the bytes are counted where they come in.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a connection may still read. The sender of a request adds to it.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    /// The next answer may bring so many bytes. Called before its request is sent.
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Release);
    }

    fn take(&self) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.0.swap(0, Ordering::Acquire),
        }
    }
}

/// Counts what comes in on one connection.
#[derive(Debug)]
pub(crate) struct Inflow {
    added: Allowance,
    left: u64,
    count: Count,
}

#[derive(Debug)]
enum Count {
    Http1(Heads),
    Http2 { frames: Frames, left_max: u64 },
}

impl Inflow {
    /// A connection over HTTP/1.1. All bytes of an answer count, those before its final head also by themselves.
    pub(crate) fn http1(head_bytes_max: u32) -> (Self, Allowance) {
        let head_bytes_max = u64::from(head_bytes_max);
        let heads = Heads { phase: Phase::Passed, interim: 0, bytes: 0, bytes_max: head_bytes_max };
        // What comes before a request was sent is hyper's to refuse.
        Self::new(head_bytes_max, Count::Http1(heads))
    }

    /// A connection over HTTP/2. All frames but those of data count: these are bounded by the window and the body.
    pub(crate) fn http2(head_bytes_max: u32, streams_max: usize) -> (Self, Allowance) {
        let head_bytes_max = u64::from(head_bytes_max);
        let streams_max = u64::try_from(streams_max).unwrap_or(u64::MAX);
        let left_max = head_bytes_max.saturating_mul(streams_max.saturating_add(HEADS_AT_FIRST));
        let count = Count::Http2 { frames: Frames::default(), left_max };
        Self::new(head_bytes_max.saturating_mul(HEADS_AT_FIRST), count)
    }

    fn new(left: u64, count: Count) -> (Self, Allowance) {
        let added = Allowance(Arc::default());
        (Self { added: added.clone(), left, count }, added)
    }

    /// Counts bytes that came in. An error says that they are too many: the connection is of no use any more.
    pub(crate) fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        let added = self.added.take();
        let cost = match &mut self.count {
            Count::Http1(heads) => {
                if added > 0 {
                    self.left = added;
                    heads.begin();
                }
                heads.count(bytes)?;
                u64::try_from(bytes.len()).unwrap_or(u64::MAX)
            }
            Count::Http2 { frames, left_max } => {
                self.left = self.left.saturating_add(added).min(*left_max);
                frames.cost(bytes)
            }
        };
        let left = self.left.checked_sub(cost);
        self.left = left.ok_or_else(|| too_much("it sends too much beside the body"))?;
        Ok(())
    }
}

/// How much an answer over HTTP/1.1 may have in all whose body may have so many bytes.
pub(crate) fn answer_bytes_max(body_bytes_max: usize, head_bytes_max: u32) -> u64 {
    let body = u64::try_from(body_bytes_max).unwrap_or(u64::MAX);
    // The informational heads, the final one, and the trailers.
    body.saturating_mul(CHUNK_OVERHEAD).saturating_add(3 * u64::from(head_bytes_max))
}

/// Whether an error is one of those that end a connection here.
pub(crate) fn is_too_much(error: &io::Error) -> bool {
    // HTTP/2 keeps the kind and the text of an error, and nothing else.
    error.kind() == io::ErrorKind::QuotaExceeded
}

fn too_much(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, what)
}

/// Follows the heads of an answer over HTTP/1.1 up to the final one. It looks at nothing but the ends of lines and the
/// first digit of each status: what is well-formed is hyper's to judge.
#[derive(Debug)]
struct Heads {
    phase: Phase,
    /// How many informational answers there were.
    interim: u32,
    /// The bytes before the final head.
    bytes: u64,
    bytes_max: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// So many bytes of a status line have come.
    Status(usize),
    /// In the fields of an informational answer. The line has nothing in it so far, or it has.
    Fields { empty: bool },
    /// The final head has begun.
    Passed,
}

impl Heads {
    fn begin(&mut self) {
        (self.phase, self.interim, self.bytes) = (Phase::Status(0), 0, 0);
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.phase = match (self.phase, byte) {
                (Phase::Passed, _) => return Ok(()),
                // Empty lines before a status line are skipped.
                (Phase::Status(0), b'\r' | b'\n') | (Phase::Fields { empty: true }, b'\n') => {
                    Phase::Status(0)
                }
                (Phase::Status(STATUS_AT), b'1') => {
                    self.interim += 1;
                    if self.interim > INTERIM_MAX {
                        return Err(too_much("it sends more than 16 informational answers"));
                    }
                    Phase::Fields { empty: false }
                }
                (Phase::Status(STATUS_AT), _) => Phase::Passed,
                (Phase::Status(at), _) => Phase::Status(at + 1),
                (Phase::Fields { .. }, b'\n') => Phase::Fields { empty: true },
                (fields @ Phase::Fields { .. }, b'\r') => fields,
                (Phase::Fields { .. }, _) => Phase::Fields { empty: false },
            };
            self.bytes += 1;
            if self.bytes > self.bytes_max {
                return Err(too_much("its informational answers are longer than a head may be"));
            }
        }
        Ok(())
    }
}

/// Follows the frames of HTTP/2 (RFC 9113 section 4.1).
#[derive(Debug, Default)]
struct Frames {
    header: [u8; FRAME_HEADER_BYTES],
    /// How much of the header has come.
    known: usize,
    /// How much of the payload is still to come.
    payload_left: usize,
}

impl Frames {
    /// What the frames cost whose headers end in these bytes.
    fn cost(&mut self, mut bytes: &[u8]) -> u64 {
        let mut cost = 0;
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            let of_header = (FRAME_HEADER_BYTES - self.known).min(bytes.len());
            self.header[self.known..self.known + of_header].copy_from_slice(&bytes[..of_header]);
            self.known += of_header;
            bytes = &bytes[of_header..];
            if self.known == FRAME_HEADER_BYTES {
                let [high, middle, low, kind, ..] = self.header;
                let length = u32::from_be_bytes([0, high, middle, low]);
                self.payload_left = usize::try_from(length).unwrap_or(usize::MAX);
                self.known = 0;
                if kind != DATA {
                    cost += FRAME_COST + u64::from(length);
                }
            }
        }
        cost
    }
}

/// How many informational answers may come before the final one. More than one kind of them is rare.
const INTERIM_MAX: u32 = 16;
/// Where the status stands in a status line: behind `HTTP/1.1` and a space.
const STATUS_AT: usize = 9;
/// A chunk of one byte has five bytes around it. Two more for those who put a zero or two before its size.
const CHUNK_OVERHEAD: u64 = 8;
const FRAME_HEADER_BYTES: usize = 9;
/// What a frame costs beside its payload: many small ones are more work than one that is large.
const FRAME_COST: u64 = 64;
const DATA: u8 = 0;
/// So many heads' worth of frames may come before the first request is sent: settings and the like.
const HEADS_AT_FIRST: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_MAX: u32 = 1024;

    /// How many times `again` may come, in pieces of this size, before it is too much.
    fn endured(mut inflow: Inflow, first: &str, again: &[u8], piece: usize) -> Option<usize> {
        inflow.count(first.as_bytes()).unwrap();
        (0..100_000).find(|_| again.chunks(piece).any(|bytes| inflow.count(bytes).is_err()))
    }

    fn answer(body_bytes_max: usize) -> Inflow {
        let (inflow, allowance) = Inflow::http1(HEAD_MAX);
        allowance.add(answer_bytes_max(body_bytes_max, HEAD_MAX));
        inflow
    }

    // finding: B10
    #[test]
    fn informational_answers_are_bounded_in_number_and_bytes() {
        let long = format!("HTTP/1.1 103 \r\nlink: {}\r\n\r\n", "x".repeat(100));
        for piece in [1, 3, 7, 1_000] {
            for short in
                ["HTTP/1.1 103 \r\n\r\n", "HTTP/1.1 100 Continue\n\n", "\r\nHTTP/1.0 199 1\r\na: b\r\n\r\n"]
            {
                assert_eq!(endured(answer(0), "", short.as_bytes(), piece), Some(16), "{short:?} by {piece}");
            }
            assert_eq!(endured(answer(0), "", long.as_bytes(), piece), Some(8), "by {piece}");
            let endless = endured(answer(0), "HTTP/1.1 103 \r\nlink: ", b"x", piece);
            assert_eq!(endless, Some(1_003), "by {piece}");
        }
    }

    // finding: B10
    #[test]
    fn everything_around_a_body_is_bounded() {
        let zeros = endured(answer(100), "HTTP/1.1 202 \r\ntransfer-encoding: chunked\r\n\r\n", b"0", 1);
        assert_eq!(zeros, Some(100 * 8 + 3 * 1_024 - 45));
    }

    #[test]
    fn ordinary_answers_are_not_touched() {
        let mut inflow = answer(100);
        let head = "HTTP/1.1 103 \r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
        for piece in head.as_bytes().chunks(5) {
            inflow.count(piece).unwrap();
        }
        // What looks like an informational answer is a body.
        for _ in 0..40 {
            inflow.count(b"HTTP/1.1 103 \r\n\r\n").unwrap();
        }
        // And the next answer begins with nothing counted.
        let (mut inflow, allowance) = Inflow::http1(HEAD_MAX);
        for _ in 0..1_000 {
            allowance.add(answer_bytes_max(10, HEAD_MAX));
            for _ in 0..16 {
                inflow.count(b"HTTP/1.1 100 \r\n\r\n").unwrap();
            }
            inflow.count(b"HTTP/1.1 204 \r\n\r\n").unwrap();
        }
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[high, middle, low, kind, 0, 0, 0, 0, 1][..], payload].concat()
    }

    // finding: B10
    #[test]
    fn frames_without_data_are_bounded() {
        const HEADERS: u8 = 1;
        const PING: u8 = 6;
        for piece in [1, 8, 1_000] {
            for (kind, payload) in [(HEADERS, &[0x48, 0x82][..]), (PING, &[0; 8])] {
                let (inflow, allowance) = Inflow::http2(HEAD_MAX, 100);
                allowance.add(HEAD_MAX.into());
                let endured = endured(inflow, "", &frame(kind, payload), piece).unwrap();
                let expected = 5 * 1_024 / (64 + payload.len());
                assert_eq!(endured, expected, "{kind} by {piece}");
            }
            let (inflow, _) = Inflow::http2(HEAD_MAX, 100);
            assert_eq!(endured(inflow, "", &frame(DATA, b"data"), piece), None);
        }
    }

    #[test]
    fn answers_over_http2_do_not_add_up() {
        let (mut inflow, allowance) = Inflow::http2(HEAD_MAX, 2);
        for _ in 0..10_000 {
            allowance.add(HEAD_MAX.into());
            inflow.count(&frame(1, &[0; 900])).unwrap();
        }
        // What many answers have left over is not for one of them.
        allowance.add(1_000_000);
        let endured = endured(inflow, "", &frame(1, &[0; 960]), 1_000);
        assert_eq!(endured, Some(6));
    }
}
