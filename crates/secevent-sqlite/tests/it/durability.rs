//! What was answered is there: after a restart, after a crash, after a long life.

use bytes::Bytes;
use secevent::Timestamp;
use secevent_sqlite::{Options, SqliteStore};
use secevent_store::{
    Backup, Documents, DropReason, Epoch, Idempotency, Inbox, Keep, Listing, NewEvent, Outbox, Owed, Place,
    Queue, Receipt, Received, Recorded, Recovery, Rendering, Sequence, Settlement, Signed, Standing,
    StoreError, StreamNumber, SubjectEntry, SubjectFingerprint, Subjects, Verdict, Version,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const A: StreamNumber = StreamNumber(1);

/// Everything that was answered is there after a restart, and the writer's next life has its own epoch (SEM-1).
#[tokio::test]
async fn a_restart_keeps_everything() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    let events = vec![named("a", &[A]), named("b", &[A]), named("c", &[A]), named("d", &[A])];
    store.record(events).await.unwrap();
    let retry =
        Verdict::Retry { at: Timestamp::from_seconds(99), attempts: 3, signed: Some(Signed("h..s".into())) };
    let outcomes = [(1, Verdict::Acked), (2, Verdict::Rejected("no".to_owned())), (3, retry)];
    store.settle(outcomes.map(|(place, verdict)| settlement(place, verdict)).to_vec()).await.unwrap();
    let version = store.put("stream/a", Version::default(), Some("{}".into())).await.unwrap();
    let stream = store.new_stream_number().await.unwrap();
    store.receive(vec![set("1", 10), set("2", 10)]).await.unwrap();
    store.failed(1, false).await.unwrap();
    store.handled(vec![2]).await.unwrap();
    assert_eq!(store.replay(A, vec![Sequence(1)], 7).await, Ok(1));
    let (page, backlog) = (page(&store).await, store.backlog(A).await.unwrap());
    let (dead, history) = (store.dead(None, None, 9).await, store.history(A, Sequence(0), 9).await);
    drop(store);

    let store = open(&path, 2);
    assert_eq!(self::page(&store).await, page);
    assert_eq!(store.backlog(A).await.unwrap(), backlog);
    assert_eq!((backlog.pending, backlog.dead, dead.as_ref().unwrap().len()), (3, 1, 1));
    assert_eq!((store.dead(None, None, 9).await, store.history(A, Sequence(0), 9).await), (dead, history));
    let [again] = &store.deliveries(A, Sequence(1)).await.unwrap()[..] else { panic!("it is owed again") };
    assert_eq!((again.queue, again.generation), (Queue::Again, 7));
    let [retried] = &store.deliveries(A, Sequence(3)).await.unwrap()[..] else { panic!("it is owed") };
    assert_eq!(retried.signed, Some(Signed("h..s".into())));
    let again = store.record(vec![named("a", &[])]).await.unwrap();
    assert_eq!(again, [Recorded::Repeated { epoch: Epoch(1), sequence: Sequence(1), deliveries: 1 }]);
    let next = store.record(vec![named("e", &[])]).await.unwrap();
    assert_eq!(next, [Recorded::New { epoch: Epoch(2), sequence: Sequence(5) }]);
    assert_eq!(store.get("stream/a").await.unwrap().unwrap().version, version);
    assert!(store.put("b", Version::default(), Some("{}".into())).await.unwrap() > version);
    assert_ne!(store.new_stream_number().await.unwrap(), stream);
    let waiting = store.waiting(0, 10).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].attempts, &waiting[0].received), (1, 1, &set("1", 10)));
    assert_eq!(
        store.receive(vec![set("2", 11), set("3", 11)]).await.unwrap(),
        [Receipt::Repeat, Receipt::First]
    );
}

/// A subject that was added is added, a removed one is removed, whatever happens then: the files as they are when the
/// call has just been answered are enough.
#[tokio::test]
async fn a_crash_undoes_no_subject_that_was_answered() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store =
        SqliteStore::open(&path, Options { log_pages_max: 1 << 20, ..Options::new(Epoch(1)) }).unwrap();
    let entry = |one: u8| SubjectEntry {
        fingerprint: SubjectFingerprint([one; 16]),
        standing: Standing::Added,
        verified: false,
        compound: one.is_multiple_of(2),
        subject: format!(r#"{{"format":"opaque","id":"{one}"}}"#).into(),
    };
    for one in 0..100 {
        store.put_subjects(A, vec![entry(one)]).await.unwrap();
    }
    assert_eq!(store.forget_subjects(A, vec![SubjectFingerprint([7; 16])]).await, Ok(1));
    let crashed = directory.path().join("crashed.db");
    copy_of_the_files(&path, &crashed);
    let expected: Vec<_> = (0..100).filter(|one| *one != 7).map(entry).collect();
    let after = open(&crashed, 2);
    assert_eq!(after.list_subjects(A, Listing::Whole, None, 1_000).await.unwrap(), expected);
    assert_eq!(after.subject_counts().await.unwrap(), [(A, 99)]);
}

/// A crash leaves the database and its log as they are at some moment. Whatever was answered before that moment
/// is in them (I1). No log is carried over during the copy here: the copy of two files is not one moment.
#[tokio::test]
async fn a_crash_in_full_flight_loses_nothing_that_was_answered() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let options = Options { log_pages_max: 1 << 20, ..Options::new(Epoch(1)) };
    let store = SqliteStore::open(&path, options).unwrap();
    for copy in 0..3 {
        let mut under_way: Vec<_> = (0..200).map(|_| store.record(vec![event(&[A]); 5])).collect();
        // Calls are carried out in their order: the first half is answered, the rest is in full flight.
        let mut answered = 0;
        for call in under_way.drain(..100) {
            let recorded = call.await.unwrap();
            let Some(Recorded::New { sequence, .. }) = recorded.last() else { panic!("{recorded:?}") };
            answered = sequence.0;
        }
        let crashed = directory.path().join(format!("crashed-{copy}.db"));
        copy_of_the_files(&path, &crashed);
        let recovered = open(&crashed, 2);
        let found = page(&recovered).await;
        let places: Vec<u64> = found.iter().map(|(sequence, ..)| *sequence).collect();
        let expected: Vec<u64> = (1..=u64::try_from(places.len()).unwrap()).collect();
        assert_eq!(places, expected, "no gap");
        assert!(places.len() as u64 >= answered, "{} of {answered}", places.len());
        assert!(places.len().is_multiple_of(5), "each call is whole");
        for call in under_way {
            call.await.unwrap();
        }
    }
}

/// What a crash leaves of a store, under another name.
fn copy_of_the_files(path: &Path, crashed: &Path) {
    for suffix in ["", "-wal"] {
        let beside = |path: &Path| format!("{}{suffix}", path.display());
        std::fs::copy(beside(path), beside(crashed)).unwrap();
    }
}

/// Names are found when they have long left memory, after a restart too, and are forgotten in time (SEM-15).
#[tokio::test]
async fn names_are_found_among_many() {
    const NAMES: u64 = 80_000;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let mut store = open(&path, 1);
    let at = |place: u64| Timestamp::from_seconds(i64::try_from(place).unwrap());
    let numbered = |place: u64| NewEvent { accepted_at: at(place), ..named(&place.to_string(), &[]) };
    for call in (1..=NAMES).collect::<Vec<_>>().chunks(1_000) {
        store.record(call.iter().map(|place| numbered(*place)).collect()).await.unwrap();
    }
    for _ in 0..2 {
        for place in (1..=NAMES).step_by(1_111).chain([32_768, 32_769, NAMES]) {
            let again = store.record(vec![numbered(place)]).await.unwrap();
            assert_eq!(
                again,
                [Recorded::Repeated { epoch: Epoch(1), sequence: Sequence(place), deliveries: 0 }]
            );
        }
        drop(store);
        store = open(&path, 2);
    }
    while store.trim(keep(at(70_000))).await.unwrap() {}
    drop(store);
    let store = open(&path, 3);
    for (name, remembered) in [(1, false), (40_000, false), (69_999, false), (70_000, true), (NAMES, true)] {
        let again =
            store.record(vec![NewEvent { accepted_at: at(NAMES + 1), ..numbered(name) }]).await.unwrap();
        assert_eq!(matches!(again[..], [Recorded::Repeated { .. }]), remembered, "{name}: {again:?}");
    }
}

/// The same for identifiers of received SETs (SEM-18).
#[tokio::test]
async fn identifiers_are_found_among_many() {
    const SETS: i64 = 70_000;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    for call in (1..=SETS).collect::<Vec<_>>().chunks(1_000) {
        let sets = call.iter().map(|at| set(&at.to_string(), *at));
        assert!(
            store.receive(sets.collect()).await.unwrap().iter().all(|receipt| *receipt == Receipt::First)
        );
    }
    drop(store);
    let store = open(&path, 2);
    for at in (1..=SETS).step_by(1_111) {
        assert_eq!(store.receive(vec![set(&at.to_string(), at)]).await.unwrap(), [Receipt::Repeat], "{at}");
    }
    while store.forget(Timestamp::from_seconds(60_000)).await.unwrap() {}
    for (at, expected) in [(1, Receipt::First), (59_999, Receipt::First), (60_000, Receipt::Repeat)] {
        assert_eq!(store.receive(vec![set(&at.to_string(), SETS + 1)]).await.unwrap(), [expected], "{at}");
    }
}

/// The log is carried over while the writer goes on, and does not grow without bound (I6).
#[tokio::test]
async fn the_log_is_bounded() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = SqliteStore::open(&path, Options { log_pages_max: 64, ..Options::new(Epoch(1)) }).unwrap();
    let mut longest = 0;
    for _ in 0..400 {
        store.record((0..20).map(|_| event(&[A])).collect()).await.unwrap();
        longest = longest.max(std::fs::metadata(path.with_extension("db-wal")).unwrap().len());
    }
    // Eight thousand events are some fifteen megabytes of log.
    assert!(longest < 4 << 20, "{longest} bytes");
    assert_eq!(page(&store).await.len(), 8_000);
    drop(store);
    assert!(!path.with_extension("db-wal").exists(), "nothing is left beside the database");
    assert_eq!(page(&open(&path, 2)).await.len(), 8_000);
}

/// What a backlog took on the disk is given back when it is gone.
#[tokio::test]
async fn the_file_shrinks_after_the_drain() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    let large = || NewEvent { body: Bytes::from(vec![b'x'; 4_000]), ..event(&[A]) };
    for _ in 0..20 {
        store.record((0..500).map(|_| large()).collect()).await.unwrap();
    }
    drop(store);
    let full = std::fs::metadata(&path).unwrap().len();
    let store = open(&path, 2);
    let outcomes = (1..=10_000).map(|place| settlement(place, Verdict::Acked));
    store.settle(outcomes.collect()).await.unwrap();
    while store.trim(keep(Timestamp::from_seconds(1_000))).await.unwrap() {}
    drop(store);
    let drained = std::fs::metadata(&path).unwrap().len();
    assert!(full > 30 << 20, "{full} bytes");
    assert!(drained < 10 << 20, "{drained} bytes of {full}");
}

/// It is given back while the store is open too, though nothing is written any more and the log has room.
#[tokio::test]
async fn the_file_of_an_idle_store_shrinks() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let options = |epoch| Options { log_pages_max: 1 << 20, ..Options::new(Epoch(epoch)) };
    let store = SqliteStore::open(&path, options(1)).unwrap();
    for _ in 0..40 {
        store.record((0..1_000).map(|_| event(&[A])).collect()).await.unwrap();
    }
    drop(store);
    let bytes = || std::fs::metadata(&path).unwrap().len();
    let full = bytes();
    let store = SqliteStore::open(&path, options(2)).unwrap();
    let outcomes = (1..=40_000).map(|place| settlement(place, Verdict::Acked));
    store.settle(outcomes.collect()).await.unwrap();
    while store.trim(keep(Timestamp::from_seconds(1_000))).await.unwrap() {}
    let since = Instant::now();
    while bytes() > full / 2 {
        assert!(since.elapsed() < Duration::from_secs(30), "{} bytes of {full}", bytes());
        tokio::task::yield_now().await;
    }
}

/// A store that holds all that it may takes nothing new, goes on with the old, and recovers by itself (SEM-9).
#[tokio::test]
async fn a_full_store_finishes_what_it_has() {
    const BYTES_MAX: u64 = 2 << 20;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let options = Options { bytes_max: Some(BYTES_MAX), ..Options::new(Epoch(1)) };
    let store = SqliteStore::open(&path, options).unwrap();
    for _ in 0..3 {
        let refused = loop {
            match store.record((0..20).map(|_| event(&[A])).collect()).await {
                Ok(recorded) => {
                    let Some(Recorded::New { sequence, .. }) = recorded.last() else {
                        panic!("{recorded:?}")
                    };
                    assert!(sequence.0 < 50_000, "nothing is refused");
                }
                Err(error) => break error,
            }
        };
        assert_eq!(refused, StoreError::Full);
        assert_eq!(store.receive(vec![set("1", 10)]).await, Err(StoreError::Full));
        assert_eq!(store.record(vec![event(&[])]).await, Err(StoreError::Full));
        let pending = page(&store).await;
        assert!(pending.len() > 1_500, "{} events of 600 bytes", pending.len());
        // Neither configuration nor what is owed is held up.
        store
            .put(
                "a",
                store.get("a").await.unwrap().map_or(Version::default(), |a| a.version),
                Some("b".into()),
            )
            .await
            .unwrap();
        store.settle(vec![settlement(pending[0].0, Verdict::Rejected("no".to_owned()))]).await.unwrap();
        let dead = Place { stream: A, queue: Queue::Regular, sequence: Sequence(pending[0].0) };
        assert_eq!(store.redrive(vec![dead]).await, Ok(1));
        assert_eq!(
            store.drop_stream(A, DropReason::Disabled, Timestamp::default()).await,
            Ok(pending.len() as u64)
        );
        while store.trim(keep(Timestamp::from_seconds(1_000))).await.unwrap() {}
        assert_eq!(store.record(vec![event(&[A])]).await.unwrap().len(), 1);
    }
    drop(store);
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes < BYTES_MAX * 3 / 2, "{bytes}");
}

/// The restore drill: a copy is made while events come in, and a server starts on it. Everything that was answered
/// before is there, places go on, and the epoch keeps the identifiers of both lives apart (SEM-1).
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_busy_store_is_a_store() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let copy = directory.path().join("copy.db");
    // A log that would be carried over many times meanwhile.
    let store = SqliteStore::open(&path, Options { log_pages_max: 64, ..Options::new(Epoch(1)) }).unwrap();
    for call in 0..50 {
        store.record((0..100).map(|n| named(&format!("{call} {n}"), &[A])).collect()).await.unwrap();
    }
    let version = store.put("stream/a", Version::default(), Some("{}".into())).await.unwrap();
    store.receive(vec![set("1", 10)]).await.unwrap();
    let retry = Verdict::Retry { at: Timestamp::from_seconds(9), attempts: 2, signed: None };
    let outcomes = [(1, Verdict::Acked), (2, Verdict::Rejected("no".to_owned())), (3, retry)];
    store.settle(outcomes.map(|(place, verdict)| settlement(place, verdict)).to_vec()).await.unwrap();

    let mut backup = std::pin::pin!(store.backup(copy.clone()));
    let mut meanwhile = 0_u64;
    loop {
        tokio::select! {
            biased;
            done = &mut backup => {
                done.unwrap();
                break;
            }
            recorded = store.record(vec![event(&[A])]) => {
                recorded.unwrap();
                meanwhile += 1;
            }
        }
    }
    let refused = store.backup(copy.clone()).await;
    assert!(matches!(&refused, Err(StoreError::Unusable(why)) if why.contains("copy.db")), "{refused:?}");
    let Some(original) = page(&store).await.pop() else { panic!("it is owed something") };
    // A call that the loop did not wait for any more was carried out too.
    let gone_on = 5_000 + meanwhile..=5_001 + meanwhile;
    assert!(gone_on.contains(&original.0), "{} is not in {gone_on:?}", original.0);

    let restored = open(&copy, 2);
    let found = page(&restored).await;
    assert!(found.len() >= 4_998, "{}", found.len());
    assert_eq!((found[0].0, found[0].1), (3, 2));
    let last = found[found.len() - 1].0;
    assert_eq!(last, found.len() as u64 + 2, "no gap");
    assert!(last <= *gone_on.end());
    assert_eq!(restored.get("stream/a").await.unwrap().unwrap().version, version);
    assert_eq!(restored.receive(vec![set("1", 11)]).await, Ok(vec![Receipt::Repeat]));
    let backlog = restored.backlog(A).await.unwrap();
    assert_eq!((backlog.rejected, backlog.dead), (1, 1));
    let again = restored.record(vec![named("7 7", &[A])]).await.unwrap();
    assert_eq!(
        again,
        [Recorded::Repeated { epoch: Epoch(1), sequence: Sequence(708), deliveries: 1 }],
        "producers are answered as before"
    );
    let next = restored.record(vec![event(&[A])]).await.unwrap();
    let (epoch, sequence) = (Epoch(2), Sequence(last + 1));
    assert_eq!(
        next,
        [Recorded::New { epoch, sequence }],
        "a place that the original gave under another epoch"
    );
    // Closed and opened, it is a store like any other: what is free can be given back.
    restored.drop_stream(A, DropReason::Disabled, Timestamp::default()).await.unwrap();
    while restored.trim(keep(Timestamp::from_seconds(1_000))).await.unwrap() {}
    drop(restored);
    drop(open(&copy, 3));
    let mut left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.retain(|name| name.to_string_lossy().contains("partial"));
    assert!(left.is_empty(), "{left:?}");
}

/// A store that is closed does not wait for a copy to be whole, and leaves no half of one.
#[tokio::test]
async fn closing_ends_a_backup() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory.path().join("secevent.db"), 1);
    for _ in 0..10 {
        store.record((0..1_000).map(|_| event(&[A])).collect()).await.unwrap();
    }
    let copy = directory.path().join("copy.db");
    let backup = store.backup(copy.clone());
    let second = store.backup(copy.clone()).await;
    let begun = matches!(second, Err(StoreError::Busy));
    drop(backup);
    drop(store);
    assert!(!directory.path().join("copy.db.partial").exists());
    // The copy may have been quick. Then it is whole.
    if copy.exists() {
        assert_eq!(page(&open(&copy, 2)).await.len(), 10_000);
    }
    assert!(begun || copy.exists(), "{second:?}");
}

pub(crate) fn temporary() -> (Arc<SqliteStore>, TempDir) {
    let directory = TempDir::new().unwrap();
    (open(&directory.path().join("secevent.db"), 1), directory)
}

pub(crate) fn open(path: &Path, epoch: u32) -> Arc<SqliteStore> {
    // As small a reserve as does, so that tests need not write much.
    SqliteStore::open(path, Options { reserve_bytes: 1 << 16, ..Options::new(Epoch(epoch)) }).unwrap()
}

/// Places, attempts and bodies of what the stream is owed.
async fn page(store: &SqliteStore) -> Vec<(u64, u32, Bytes)> {
    let (mut after, mut found) = (Sequence(0), Vec::new());
    loop {
        let page = store.page(A, Queue::Regular, after, 1_000_000).await.unwrap();
        after = page.deliveries.last().map_or(after, |last| last.sequence);
        found.extend(page.deliveries.into_iter().map(|found| (found.sequence.0, found.attempts, found.body)));
        if !page.more {
            return found;
        }
    }
}

fn keep(from: Timestamp) -> Keep {
    Keep { history: from, dead: from }
}

fn event(streams: &[StreamNumber]) -> NewEvent {
    let owed =
        |stream: &StreamNumber| Owed { stream: *stream, queue: Queue::Regular, rendering: Rendering(0) };
    NewEvent {
        accepted_at: Timestamp::from_seconds(1),
        body: Bytes::from_static(&[b'x'; 600]),
        lanes: [1].into(),
        idempotency: None,
        owed: streams.iter().map(owed).collect(),
        dropped: Vec::new(),
    }
}

fn named(key: &str, streams: &[StreamNumber]) -> NewEvent {
    let idempotency = Idempotency { scope: "client".to_owned(), key: key.to_owned(), digest: [7; 32] };
    NewEvent { idempotency: Some(idempotency), body: key.to_owned().into(), ..event(streams) }
}

fn settlement(place: u64, verdict: Verdict) -> Settlement {
    let at = Timestamp::from_seconds(500);
    let (sequence, stream, queue) = (Sequence(place), A, Queue::Regular);
    Settlement { sequence, stream, queue, at, verdict, attempts: None, attempt: None }
}

fn set(jti: &str, at: i64) -> Received {
    Received {
        source: "partner".to_owned(),
        iss: "https://idp.example/".to_owned(),
        jti: jti.to_owned(),
        digest: [7; 32],
        token: Bytes::from_static(b"h.p.s"),
        at: Timestamp::from_seconds(at),
    }
}
