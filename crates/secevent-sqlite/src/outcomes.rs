//! How deliveries ended, as it lies in a row that is written anyway.
//!
//! The blob of an event has an entry for each stream, in the order of their numbers: the stream (seven bits a byte), how
//! the delivery ended (1), when (6), and of the attempt that delivered it the milliseconds that it took (2) and the status
//! (1, less 100). Only if there were other attempts the entry is longer: their number (4) and the last of them. All numbers
//! are little-endian.

use crate::failure::Failure;
use crate::outbox::clamp;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension, Row, params};
use secevent::Timestamp;
use secevent_store::{
    Attempt, AttemptResult, DeliveryOutcome, DropReason, Ended, Ending, Queue, Sequence, StreamNumber,
};
use std::time::Duration;

/// The bytes of an attempt: its time in milliseconds (6), result (1), status (2), milliseconds that it took (2).
pub(crate) const ATTEMPT_BYTES: usize = 11;
const TIME_BYTES: usize = 6;
/// The bytes of an entry behind the stream's number, without a list.
const ENTRY_BYTES: usize = 1 + TIME_BYTES + 2 + 1;
/// In the byte for how it ended: a list of attempts follows.
const HAS_LIST: u8 = 0x80;
/// In the same byte: it was accepted at the first attempt.
const HAS_ATTEMPT: u8 = 0x40;
/// The milliseconds of an attempt that are not known.
const NOT_TIMED: u16 = u16::MAX;

/// How a delivery ended, for the blob of its event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) stream: u32,
    ended: Option<Ended>,
    /// The one attempt, by which it was accepted, unless there is a list.
    attempt: Option<Attempt>,
    list: Option<List>,
}

/// More than one attempt.
#[derive(Clone, Debug, Default, PartialEq)]
struct List {
    attempts: u32,
    last: Vec<Attempt>,
}

impl Outcome {
    pub(crate) fn new(
        stream: u32,
        ended: Ended,
        attempts: u32,
        mut tried: Vec<Attempt>,
        attempt: Option<Attempt>,
    ) -> Self {
        let is_short = tried.is_empty()
            && attempts == u32::from(attempt.is_some())
            && attempt.is_none_or(|attempt| {
                attempt.result == AttemptResult::Accepted && short_status(attempt.status).is_some()
            });
        let list = (!is_short).then(|| {
            tried.extend(attempt);
            List { attempts, last: tried }
        });
        Self { stream, ended: Some(ended), attempt: attempt.filter(|_| is_short), list }
    }

    /// One that has not ended.
    fn pending(stream: u32) -> Self {
        Self { stream, ended: None, attempt: None, list: None }
    }

    /// What is known after another end of the same stream's delivery.
    fn then(self, newer: Self) -> Self {
        if self.ended.is_none() && self.list.is_none() {
            return newer;
        }
        let (mut list, more) = (self.into_list(), newer.clone().into_list());
        list.attempts = list.attempts.saturating_add(more.attempts);
        list.last.extend(more.last);
        Self { attempt: None, list: Some(list), ..newer }
    }

    fn into_list(self) -> List {
        self.list.unwrap_or_else(|| List {
            attempts: u32::from(self.attempt.is_some()),
            last: self.attempt.into_iter().collect(),
        })
    }

    pub(crate) fn write(&self, blob: &mut Vec<u8>) {
        let mut stream = self.stream;
        while stream >= 0x80 {
            blob.push(stream.to_le_bytes()[0] | 0x80);
            stream >>= 7;
        }
        blob.push(stream.to_le_bytes()[0]);
        let list = if self.list.is_some() { HAS_LIST } else { 0 };
        let attempt = if self.attempt.is_some() { HAS_ATTEMPT } else { 0 };
        blob.push(self.ended.map_or(0, |ended| code_of_ending(ended.how)) | list | attempt);
        blob.extend(bytes_of_time(self.ended.map_or(Timestamp::default(), |ended| ended.at)));
        blob.extend(self.attempt.map_or([0; 2], |attempt| bytes_of_took(attempt.took)));
        blob.push(self.attempt.and_then(|attempt| short_status(attempt.status)).unwrap_or(0));
        if let Some(list) = &self.list {
            let last = Attempt::last(&list.last);
            blob.extend(list.attempts.to_le_bytes());
            blob.push(u8::try_from(last.len()).expect("few are kept"));
            last.iter().for_each(|attempt| blob.extend(bytes_of_attempt(attempt)));
        }
    }

    /// Takes the first entry off the blob. None if that is none.
    fn read(blob: &mut &[u8]) -> Option<Self> {
        let end = blob.iter().position(|byte| byte & 0x80 == 0)?;
        let (number, rest) = blob.split_at(end + 1);
        let mut digits = number.iter().rev().map(|byte| u32::from(byte & 0x7f));
        let stream = digits.try_fold(0_u32, |number, digit| Some(number.checked_mul(1 << 7)? | digit))?;
        let (entry, rest) = rest.split_first_chunk::<ENTRY_BYTES>()?;
        *blob = rest;
        let [how, time @ .., took_low, took_high, status] = *entry;
        let at = time_of(time);
        let ended = match how & !(HAS_LIST | HAS_ATTEMPT) {
            0 => None,
            code => Some(Ended { how: ending_of_code(code)?, at }),
        };
        let attempt = (how & HAS_ATTEMPT != 0).then(|| Attempt {
            at,
            result: AttemptResult::Accepted,
            status: Some(status).filter(|status| *status != 0).map(|status| u16::from(status) + 100),
            took: took_of([took_low, took_high]),
        });
        let list = match how & HAS_LIST {
            0 => None,
            _ => {
                let (attempts, rest) = blob.split_first_chunk::<4>()?;
                let (count, rest) = rest.split_first()?;
                let (last, rest) = rest.split_at_checked(usize::from(*count) * ATTEMPT_BYTES)?;
                *blob = rest;
                Some(List { attempts: u32::from_le_bytes(*attempts), last: read_attempts(last)? })
            }
        };
        Some(Self { stream, ended, attempt, list })
    }
}

/// The blob of an event that was just recorded.
pub(crate) fn blob_of_new(owed: &[u32], dropped: &[StreamNumber], at: Timestamp) -> Vec<u8> {
    let ended = Ended { how: Ending::Dropped(DropReason::Full), at };
    let dropped = dropped.iter().map(|stream| Outcome { ended: Some(ended), ..Outcome::pending(stream.0) });
    let mut outcomes: Vec<Outcome> =
        owed.iter().map(|stream| Outcome::pending(*stream)).chain(dropped).collect();
    outcomes.sort_by_key(|outcome| outcome.stream);
    outcomes.dedup_by_key(|outcome| outcome.stream);
    let mut blob = Vec::with_capacity(outcomes.len() * (2 + ENTRY_BYTES));
    outcomes.iter().for_each(|outcome| outcome.write(&mut blob));
    blob
}

/// The outcomes in `old` together with those in `new`. What cannot be read in `old` is let go of: that a delivery has
/// ended must be stored, whatever is known of the others.
fn with_outcomes(old: &[u8], new: &[u8]) -> Vec<u8> {
    let (mut old, mut new, mut blob) = (old, new, Vec::with_capacity(old.len().max(new.len())));
    let mut olds = std::iter::from_fn(|| Outcome::read(&mut old)).peekable();
    let mut news = std::iter::from_fn(|| Outcome::read(&mut new)).peekable();
    loop {
        let is_old = match (olds.peek(), news.peek()) {
            (Some(old), Some(new)) => old.stream <= new.stream,
            (old, _) => old.is_some(),
        };
        let Some(mut outcome) = (if is_old { olds.next() } else { news.next() }) else { return blob };
        // The same delivery may end more than once in one group.
        while let Some(newer) = news.next_if(|newer| newer.stream == outcome.stream) {
            outcome = outcome.then(newer);
        }
        outcome.write(&mut blob);
    }
}

/// Gives a connection the SQL function `with_outcomes`, by which outcomes are added to those of an event.
pub(crate) fn register(connection: &Connection) -> Result<(), Failure> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("with_outcomes", 2, flags, |context| {
        let blob = |argument| context.get_raw(argument).as_blob_or_null().ok().flatten().unwrap_or_default();
        Ok(with_outcomes(blob(0), blob(1)))
    })?;
    Ok(())
}

/// What a delivery has been through that is still pending.
#[derive(Default)]
pub(crate) struct Tried {
    pub(crate) attempts: u32,
    pub(crate) last: Vec<Attempt>,
}

impl Tried {
    /// From the columns `attempts` and `tried`, beginning with this one.
    pub(crate) fn read(row: &Row<'_>, first: usize) -> Result<Self, Failure> {
        let tried = row.get_ref(first + 1)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
        let last = read_attempts(tried.unwrap_or_default());
        let last = last.ok_or_else(|| Failure::Damaged("attempts cannot be read".to_owned()))?;
        Ok(Self { attempts: row.get(first)?, last })
    }
}

/// What is known of an event's deliveries.
pub(crate) fn outcomes(connection: &Connection, sequence: Sequence) -> Result<Vec<DeliveryOutcome>, Failure> {
    let select = "SELECT outcomes FROM needed WHERE sequence = ?1";
    let blob: Option<Option<Vec<u8>>> =
        connection.prepare_cached(select)?.query_row([clamp(sequence)], |row| row.get(0)).optional()?;
    let blob = blob.flatten().unwrap_or_default();
    let mut rest = &blob[..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let outcome = Outcome::read(&mut rest);
        let outcome = outcome.ok_or_else(|| Failure::Damaged("outcomes cannot be read".to_owned()))?;
        found.push(with_pending(connection, sequence, outcome)?);
    }
    Ok(found)
}

fn with_pending(
    connection: &Connection,
    sequence: Sequence,
    outcome: Outcome,
) -> Result<DeliveryOutcome, Failure> {
    let (stream, ended) = (StreamNumber(outcome.stream), outcome.ended);
    let List { mut attempts, mut last } = outcome.into_list();
    let mut select = connection.prepare_cached(
        "SELECT attempts, tried FROM deliveries WHERE stream = ?1 AND queue IN (?2, ?3, ?4) AND sequence = ?5",
    )?;
    let [control, regular, again] = Queue::ALL.map(crate::outbox::number);
    let mut rows = select.query(params![stream.0, control, regular, again, clamp(sequence)])?;
    while let Some(row) = rows.next()? {
        let pending = Tried::read(row, 0)?;
        attempts = attempts.saturating_add(pending.attempts);
        last.extend(pending.last);
    }
    let last_attempts = Attempt::last(&last).to_vec();
    Ok(DeliveryOutcome { stream, ended, attempts, last_attempts })
}

/// The last of these attempts, for the column `tried`.
pub(crate) fn blob_of_attempts(attempts: &[Attempt]) -> Vec<u8> {
    Attempt::last(attempts).iter().flat_map(bytes_of_attempt).collect()
}

fn read_attempts(blob: &[u8]) -> Option<Vec<Attempt>> {
    let (attempts, rest) = blob.as_chunks::<ATTEMPT_BYTES>();
    let attempts = attempts.iter().map(read_attempt).collect::<Option<_>>()?;
    rest.is_empty().then_some(attempts)
}

fn bytes_of_attempt(attempt: &Attempt) -> [u8; ATTEMPT_BYTES] {
    let mut bytes = [0; ATTEMPT_BYTES];
    bytes[..TIME_BYTES].copy_from_slice(&bytes_of_time(attempt.at));
    bytes[TIME_BYTES] = code_of_result(attempt.result);
    bytes[TIME_BYTES + 1..][..2].copy_from_slice(&attempt.status.unwrap_or(0).to_le_bytes());
    bytes[TIME_BYTES + 3..].copy_from_slice(&bytes_of_took(attempt.took));
    bytes
}

fn read_attempt(bytes: &[u8; ATTEMPT_BYTES]) -> Option<Attempt> {
    let [time @ .., result, status_low, status_high, took_low, took_high] = *bytes;
    let status = Some(u16::from_le_bytes([status_low, status_high])).filter(|status| *status != 0);
    let (result, took) = (result_of_code(result)?, took_of([took_low, took_high]));
    Some(Attempt { at: time_of(time), result, status, took })
}

/// A status of an answer that delivers, in one byte. 0 is none.
fn short_status(status: Option<u16>) -> Option<u8> {
    match status {
        None => Some(0),
        Some(status @ 200..300) => u8::try_from(status - 100).ok(),
        Some(_) => None,
    }
}

fn bytes_of_took(took: Option<Duration>) -> [u8; 2] {
    let millis = took.map_or(NOT_TIMED, |took| {
        u16::try_from(took.min(Attempt::TOOK_MAX).as_millis()).expect("it is not longer than that")
    });
    millis.to_le_bytes()
}

fn took_of(bytes: [u8; 2]) -> Option<Duration> {
    let millis = Some(u16::from_le_bytes(bytes)).filter(|millis| *millis != NOT_TIMED);
    millis.map(|millis| Duration::from_millis(millis.into()))
}

fn bytes_of_time(at: Timestamp) -> [u8; TIME_BYTES] {
    const MAX: i64 = (1 << 47) - 1;
    let [a, b, c, d, e, f, ..] = at.as_millis().clamp(-MAX, MAX).to_le_bytes();
    [a, b, c, d, e, f]
}

fn time_of([a, b, c, d, e, f]: [u8; TIME_BYTES]) -> Timestamp {
    // Shifted down again, the uppermost bit is the sign.
    Timestamp::from_millis(i64::from_le_bytes([0, 0, a, b, c, d, e, f]) >> 16)
}

// Codes are never given another meaning.

fn code_of_ending(ending: Ending) -> u8 {
    match ending {
        Ending::Acked => 1,
        Ending::Rejected => 2,
        Ending::Abandoned => 3,
        Ending::Dropped(DropReason::Disabled) => 4,
        Ending::Dropped(DropReason::Deleted) => 5,
        Ending::Dropped(DropReason::Full) => 6,
        Ending::Dropped(DropReason::Superseded) => 7,
        Ending::Dropped(DropReason::Erased) => 8,
        Ending::Dropped(DropReason::Paused) => 9,
    }
}

fn ending_of_code(code: u8) -> Option<Ending> {
    let dropped = DropReason::ALL.map(Ending::Dropped);
    let mut all = [Ending::Acked, Ending::Rejected, Ending::Abandoned].into_iter().chain(dropped);
    all.find(|ending| code_of_ending(*ending) == code)
}

fn code_of_result(result: AttemptResult) -> u8 {
    match result {
        AttemptResult::Accepted => 1,
        AttemptResult::Rejected => 2,
        AttemptResult::Unreachable => 3,
        AttemptResult::Tls => 4,
        AttemptResult::Busy => 5,
        AttemptResult::Credentials => 6,
        AttemptResult::Trust => 7,
        AttemptResult::Gone => 8,
        AttemptResult::Unexpected => 9,
        AttemptResult::Guard => 10,
    }
}

fn result_of_code(code: u8) -> Option<AttemptResult> {
    AttemptResult::ALL.into_iter().find(|result| code_of_result(*result) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(at: i64, result: AttemptResult) -> Attempt {
        Attempt {
            at: Timestamp::from_millis(at),
            result,
            status: Some(503),
            took: Some(Duration::from_millis(7)),
        }
    }

    fn outcome_is_long(blob: &[u8]) -> bool {
        let behind_stream = blob.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        blob.len() > behind_stream + ENTRY_BYTES
    }

    fn ended(how: Ending, at: i64) -> Ended {
        Ended { how, at: Timestamp::from_millis(at) }
    }

    #[test]
    fn outcomes_are_read_as_they_are_written() {
        let endings = [Ending::Acked, Ending::Rejected, Ending::Abandoned];
        let endings: Vec<Ending> = endings.into_iter().chain(DropReason::ALL.map(Ending::Dropped)).collect();
        for (number, how) in endings.into_iter().enumerate() {
            for result in AttemptResult::ALL {
                let attempt = Attempt { status: None, took: None, ..attempt(-5, result) };
                let at = Ended { how, at: attempt.at };
                for (attempts, stream) in [(1, 7), (u32::MAX, 7), (1, 127), (1, 128), (1, u32::MAX)] {
                    let outcome = Outcome::new(stream, at, attempts, Vec::new(), Some(attempt));
                    let mut blob = Vec::new();
                    outcome.write(&mut blob);
                    let mut rest = &blob[..];
                    assert_eq!(Outcome::read(&mut rest), Some(outcome), "{number}");
                    let is_long = attempts > 1 || result != AttemptResult::Accepted;
                    assert_eq!((outcome_is_long(&blob), rest.is_empty()), (is_long, true));
                    for cut in 0..blob.len() {
                        assert_eq!(Outcome::read(&mut &blob[..cut]), None);
                    }
                }
            }
        }
        for time in [i64::MIN, -1, 0, 1, i64::MAX] {
            let bytes =
                bytes_of_attempt(&Attempt { took: Some(Duration::MAX), ..attempt(0, AttemptResult::Tls) });
            assert_eq!(read_attempt(&bytes).unwrap().took, Some(Attempt::TOOK_MAX));
            let stored = bytes_of_time(Timestamp::from_micros(time));
            let (read, time) = (time_of(stored).as_millis(), Timestamp::from_micros(time).as_millis());
            assert_eq!((read.signum(), read == time), (time.signum(), time.abs() < 1 << 47));
        }
    }

    // finding: C13
    #[test]
    fn an_outcome_takes_the_place_that_was_left_for_it() {
        let streams: Vec<u32> = (1..=9).collect();
        let mut blob = blob_of_new(&streams, &[StreamNumber(4), StreamNumber(20)], Timestamp::default());
        let length = blob.len();
        assert_eq!(length, 10 * 11, "eleven bytes for each stream");
        for stream in [5, 9, 1] {
            let accepted = Attempt { status: Some(202), ..attempt(50, AttemptResult::Accepted) };
            let outcome = Outcome::new(stream, ended(Ending::Acked, 50), 1, Vec::new(), Some(accepted));
            let mut new = Vec::new();
            outcome.write(&mut new);
            blob = with_outcomes(&blob, &new);
            assert_eq!(blob.len(), length);
        }
        let mut rest = &blob[..];
        let all: Vec<Outcome> = std::iter::from_fn(|| Outcome::read(&mut rest)).collect();
        let acked = all.iter().filter(|one| one.ended == Some(ended(Ending::Acked, 50)));
        assert_eq!(acked.map(|one| one.stream).collect::<Vec<_>>(), [1, 5, 9]);
    }

    #[test]
    fn what_cannot_be_read_does_not_keep_an_outcome_from_being_stored() {
        let outcome = Outcome::new(3, ended(Ending::Acked, 1), 0, Vec::new(), None);
        let mut new = Vec::new();
        outcome.write(&mut new);
        for damaged in [&b"x"[..], &[0xff; 40], b""] {
            let blob = with_outcomes(damaged, &new);
            assert_eq!(Outcome::read(&mut &blob[..]), Some(outcome.clone()), "{damaged:?}");
        }
    }
}
