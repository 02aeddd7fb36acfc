//! What is erased is not in the files any more: not in the database, not in its log.

use crate::durability::open;
use bytes::Bytes;
use rusqlite::Connection;
use secevent::Timestamp;
use secevent_sqlite::{Options, SqliteStore};
use secevent_store::{
    Audit, Change, ChangeFilter, DropReason, Epoch, Erase, Idempotency, Keep, NewEvent, Outbox, Owed, Place,
    Queue, Recorded, Records, Recovery, Rendering, Sequence, Settlement, StoreError, StreamNumber, Texts,
    Verdict,
};
use std::path::Path;
use std::pin::pin;
use tempfile::TempDir;

const A: StreamNumber = StreamNumber(1);
const ALICE: &str = "alice.planted@example.com";

/// Planted wherever a person's data can be: in events that are settled, pending and dead, in what producers called
/// them, in what receivers said, in the log of changes, and in what was overwritten and trimmed before.
#[tokio::test]
async fn an_address_that_was_planted_is_found_nowhere() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    let mut about_alice = Vec::new();
    for round in 0..40_u32 {
        // Among many others, some of them long enough for pages of their own.
        let others = (0..10).map(|other| event(&format!("user-{round}-{other}@example.com"), 600 * other));
        record(&store, others.collect()).await;
        about_alice.extend(record(&store, vec![event(ALICE, 40 * usize::try_from(round).unwrap())]).await);
    }
    let (settled, rest) = about_alice.split_at(10);
    let (dead, _pending) = rest.split_at(10);
    settle(&store, settled, |_| Verdict::Acked).await;
    settle(&store, dead, |_| Verdict::Rejected(format!("{ALICE} is unknown"))).await;
    let redriven: Vec<Place> = dead[..5].iter().map(|sequence| regular(*sequence)).collect();
    assert_eq!(store.redrive(redriven).await, Ok(5));
    let change = Change { before: Some(format!("{{\"reason\":\"{ALICE}\"}}")), ..Change::default() };
    store.enter(vec![change]).await.unwrap();
    while store.trim(keep(11)).await.unwrap() {}

    let texts = Texts::new([ALICE]);
    assert!(in_files(directory.path()) > 0, "it is planted");
    assert!(store.clear_traces(texts.clone(), false).await.unwrap().count() >= 30, "and found");
    let events = about_alice.iter().map(|sequence| Erase::Event {
        sequence: *sequence,
        streams: vec![A],
        at: Timestamp::default(),
    });
    let erased = store.erase(events.collect()).await.unwrap();
    // The trimmed ones are gone already.
    assert_eq!((erased.events, erased.dropped, erased.dead), (30, 25, 5));
    let place = store.changes(ChangeFilter::default(), None, 1).await.unwrap()[0].place;
    let object = String::new();
    store.erase(vec![Erase::Change { place, object, before: None, after: None }]).await.unwrap();
    assert_eq!(store.clear_traces(texts.clone(), false).await.unwrap().count(), 0);
    assert_eq!(in_files(directory.path()), 0, "not one byte of it while the store is open");
    // It goes on working.
    let again = record(&store, vec![event("bob@example.com", 0)]).await;
    drop(store);
    assert_eq!(in_files(directory.path()), 0, "nor when it is closed");
    let store = open(&path, 2);
    assert_eq!(store.event(again[0]).await.unwrap().unwrap().sequence, again[0]);
    let left = store.page(A, Queue::Regular, Sequence(0), 1_000).await.unwrap();
    assert_eq!(left.deliveries.len(), 401);
    record(&store, vec![event("carol@example.com", 0)]).await;
}

/// Free pages of a store that was made without the ability to give them back keep what they had, until it is written
/// anew: with little room in the log too.
#[tokio::test]
async fn writing_anew_clears_what_free_pages_have() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    drop(open(&path, 1));
    let without = "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM";
    Connection::open(&path).unwrap().execute_batch(without).unwrap();
    let texts = Texts::new([ALICE]);
    for log_pages_max in [8_192, 64] {
        let store = SqliteStore::open(&path, Options { log_pages_max, ..Options::new(Epoch(1)) }).unwrap();
        // The newest stays, so it must be about somebody else.
        for _ in 0..100 {
            record(&store, vec![unnamed(ALICE, 10_000), unnamed("bob@example.com", 0)]).await;
        }
        assert_eq!(store.drop_stream(A, DropReason::Disabled, Timestamp::default()).await, Ok(200));
        while store.trim(keep(11)).await.unwrap() {}
        assert!(store.clear_traces(texts.clone(), false).await.unwrap().count() > 0, "it is in free pages");
        assert_eq!(store.clear_traces(texts.clone(), true).await.unwrap().count(), 0);
        assert_eq!(in_files(directory.path()), 0);
        record(&store, vec![unnamed("carol@example.com", 0)]).await;
        assert_eq!(store.drop_stream(A, DropReason::Disabled, Timestamp::default()).await, Ok(1));
        drop(store);
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(without).unwrap();
    }
}

/// In a row nothing lies between a key and the name of its scope.
#[tokio::test]
async fn an_address_that_is_a_key_is_found() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory.path().join("secevent.db"), 1);
    let texts = Texts::new([ALICE]);
    let key = Idempotency { scope: "s".to_owned(), key: ALICE.to_owned(), digest: [b'7'; 32] };
    let named = NewEvent { idempotency: Some(key), ..event("bob@example.com", 0) };
    let sequence = record(&store, vec![named]).await[0];
    assert_eq!(store.clear_traces(texts.clone(), false).await.unwrap().count(), 1);
    store.erase(vec![Erase::Name(sequence)]).await.unwrap();
    assert_eq!(store.clear_traces(texts, false).await.unwrap().count(), 0);
}

/// As long as somebody reads an older state the log cannot be cut off. Whoever asked is told, and nobody else waits.
#[tokio::test]
async fn a_log_that_cannot_be_cut_off_is_told_and_holds_up_nobody() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    let planted = record(&store, vec![event(ALICE, 0)]).await;
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    let erase = Erase::Event { sequence: planted[0], streams: vec![A], at: Timestamp::default() };
    store.erase(vec![erase]).await.unwrap();
    let texts = Texts::new([ALICE]);
    let mut cleared = pin!(store.clear_traces(texts.clone(), false));
    for _ in 0..20 {
        tokio::select! {
            biased;
            cleared = &mut cleared => panic!("{cleared:?} before the others"),
            _ = record(&store, vec![unnamed("bob@example.com", 0)]) => {}
        }
    }
    assert_eq!(cleared.await, Err(StoreError::Busy));
    drop(reader);
    assert_eq!(store.clear_traces(texts, false).await.unwrap().count(), 0);
    assert_eq!(in_files(directory.path()), 0);
}

fn event(email: &str, padding: usize) -> NewEvent {
    let padding = ".".repeat(padding);
    let body = format!(
        r#""sub_id":{{"format":"email","email":"{email}"}},"events":{{"urn:e":{{"note":"{padding}"}}}}"#
    );
    NewEvent {
        accepted_at: Timestamp::from_seconds(10),
        body: Bytes::from(body),
        lanes: [1].into(),
        idempotency: Some(Idempotency {
            scope: "s".to_owned(),
            key: format!("{email} {}", padding.len()),
            digest: [1; 32],
        }),
        owed: vec![Owed { stream: A, queue: Queue::Regular, rendering: Rendering(1) }],
        dropped: Vec::new(),
    }
}

fn unnamed(email: &str, padding: usize) -> NewEvent {
    NewEvent { idempotency: None, ..event(email, padding) }
}

fn keep(from_seconds: i64) -> Keep {
    Keep { history: Timestamp::from_seconds(from_seconds), dead: Timestamp::default() }
}

fn regular(sequence: Sequence) -> Place {
    Place { stream: A, queue: Queue::Regular, sequence }
}

async fn record(store: &SqliteStore, events: Vec<NewEvent>) -> Vec<Sequence> {
    let recorded = store.record(events).await.unwrap();
    let new = recorded.into_iter().map(|one| match one {
        Recorded::New { sequence, .. } => sequence,
        other => unreachable!("not new: {other:?}"),
    });
    new.collect()
}

async fn settle(store: &SqliteStore, sequences: &[Sequence], verdict: impl Fn(Sequence) -> Verdict) {
    let settlement = |sequence: &Sequence| Settlement {
        sequence: *sequence,
        stream: A,
        queue: Queue::Regular,
        at: Timestamp::from_seconds(20),
        verdict: verdict(*sequence),
        attempts: None,
        attempt: None,
    };
    store.settle(sequences.iter().map(settlement).collect()).await.unwrap();
}

/// How often the address is in any file of the directory, as plain bytes.
fn in_files(directory: &Path) -> usize {
    let files =
        std::fs::read_dir(directory).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(ALICE.len()).filter(|window| *window == ALICE.as_bytes()).count()).sum()
}
