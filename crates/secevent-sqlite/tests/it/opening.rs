//! Which files are opened, and which are left alone.

use crate::durability::open;
use rusqlite::Connection;
use secevent::Timestamp;
use secevent_sqlite::{Options, SqliteStore};
use secevent_store::{
    Attempt, AttemptResult, Audit, Cause, Change, ChangeFilter, DeliveryOutcome, Documents, DropReason,
    Ended, Ending, Epoch, History, Inbox, Listing, NewEvent, Outbox, Outcomes, Owing, Place, Queue, Receipt,
    Received, Recorded, Recovery, Sequence, Settlement, Signed, Standing, StoreError, StreamNumber,
    SubjectEntry, SubjectFingerprint, Subjects, Verdict, Version,
};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Two servers on one file would give the same sequences (SEM-28).
#[tokio::test]
async fn a_second_server_is_refused_while_the_first_lives() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let first = open(&path, 1);
    let error = refused(&path);
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("secevent.db: another server has it open"), "{text}");
    first.put("a", Version::default(), Some("b".into())).await.unwrap();
    drop(first);
    assert!(open(&path, 2).get("a").await.unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn another_name_of_the_file_is_the_same_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let _first = open(&path, 1);
    let other = directory.path().join("other.db");
    std::os::unix::fs::symlink(&path, &other).unwrap();
    assert!(matches!(refused(&other), StoreError::Unusable(_)));
}

/// The lock lies on the database itself: neither another name nor a lock file that was cleaned away lets in a second
/// server, and looking at the file shows that it is held.
// finding: B14
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hard_link_and_a_removed_lock_file_let_nobody_in() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let first = open(&path, 1);
    let link = directory.path().join("link.db");
    std::fs::hard_link(&path, &link).unwrap();
    assert!(matches!(refused(&link), StoreError::Unusable(_)));
    assert_eq!(secevent_sqlite::inspect(&link, &mut |_| Ok(())), Ok(secevent_sqlite::Inspection::Held));
    std::fs::remove_file(directory.path().join("secevent.db.lock")).unwrap();
    assert!(matches!(refused(&path), StoreError::Unusable(_)));
    assert_eq!(secevent_sqlite::inspect(&path, &mut |_| Ok(())), Ok(secevent_sqlite::Inspection::Held));
    first.put("a", Version::default(), Some("b".into())).await.unwrap();
    assert_eq!(first.backlog(StreamNumber(1)).await.unwrap().pending, 0);
    drop(first);
    std::fs::remove_file(&link).unwrap();
    assert!(open(&path, 2).get("a").await.unwrap().is_some());
}

/// SQLite's locks (`fcntl`) and that of the server (`flock`) do not see each other: another program reads the store
/// while a server has it, and the server writes while it does.
// finding: B14
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_lock_does_not_keep_other_programs_from_reading() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    store.put("a", Version::default(), Some("b".into())).await.unwrap();
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let reader = Connection::open_with_flags(&path, flags).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = || reader.query_row("SELECT count(*) FROM documents", [], |row| row.get::<_, i64>(0));
    assert_eq!(count(), Ok(1));
    store.put("c", Version::default(), Some("d".into())).await.unwrap();
    assert_eq!(count(), Ok(1), "what it reads stays as it was");
}

/// A store is opened on a full disk, too: nothing is written where nothing is to be changed.
// finding: B5
#[tokio::test]
async fn opening_writes_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    store.put("a", Version::default(), Some("b".into())).await.unwrap();
    drop(store);
    let before = std::fs::read(&path).unwrap();
    let store = open(&path, 2);
    assert_eq!(std::fs::metadata(directory.path().join("secevent.db-wal")).unwrap().len(), 0);
    assert_eq!(store.figures().log_pages, 0);
    drop(store);
    assert!(std::fs::read(&path).unwrap() == before);
}

/// Whom events are about is nobody else's business.
#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    store.new_stream_number().await.unwrap();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = TempDir::new().unwrap();
    for (name, content) in [
        ("text", b"This is a text that somebody wrote, longer than a header of a hundred bytes.".repeat(60)),
        ("random", (0..9_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, &content).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StoreError::Corrupt(_)), "{name}: {error:?}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content, "it is left as it was");
    }
}

#[tokio::test]
async fn a_damaged_header_is_told() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    drop(open(&path, 1));
    let mut content = std::fs::read(&path).unwrap();
    content[..16].fill(0);
    std::fs::write(&path, content).unwrap();
    assert!(matches!(refused(&path), StoreError::Corrupt(_)));
}

#[tokio::test]
async fn a_damaged_page_is_told() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    let store = open(&path, 1);
    store.put("a", Version::default(), Some(vec![b'x'; 2_000].into())).await.unwrap();
    drop(store);
    let mut content = std::fs::read(&path).unwrap();
    let page =
        content.chunks_mut(4_096).find(|page| page.windows(500).any(|bytes| bytes == [b'x'; 500])).unwrap();
    page.fill(0xee);
    std::fs::write(&path, content).unwrap();
    let store = open(&path, 1);
    assert_eq!(store.figures().damaged, 0);
    let error = store.get("a").await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert_eq!(store.figures().damaged, 1, "readiness shows it (B5)");
}

#[test]
fn another_programs_database_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("theirs.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    assert!(error.to_string().contains("a database of another program"), "{error}");
}

#[test]
fn what_a_newer_release_wrote_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    drop(open(&path, 1));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    assert!(error.to_string().contains("its schema has version 99"), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_told() {
    let directory = TempDir::new().unwrap();
    let error = refused(&directory.path().join("missing").join("secevent.db"));
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

/// What last year wrote, today reads. The fixture is never edited.
#[tokio::test]
async fn a_store_of_version_1_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("../fixtures/v1/secevent.sql")).unwrap();
    let store = open(&path, 9);

    let page = store.page(StreamNumber(1), Queue::Regular, Sequence(0), 10).await.unwrap();
    let [retried, fresh] = &page.deliveries[..] else { panic!("{page:?}") };
    assert_eq!((retried.sequence, retried.epoch, retried.attempts), (Sequence(1), Epoch(7), 2));
    assert_eq!(
        (retried.due_at, retried.accepted_at),
        (Timestamp::from_seconds(60), Timestamp::from_seconds(10))
    );
    assert_eq!((&fresh.body[..], &fresh.lanes[..]), (&b"two"[..], &[1, u64::MAX][..]));
    let backlog = store.backlog(StreamNumber(1)).await.unwrap();
    assert_eq!((backlog.pending, backlog.rejected, backlog.abandoned), (3, 1, 0));
    assert_eq!((backlog.dropped, backlog.dead, backlog.bytes), (0, 1, 9));
    let owing = |stream, pending, bytes| Owing { stream: StreamNumber(stream), pending, bytes };
    assert_eq!(store.owing().await.unwrap(), [owing(1, 3, 9), owing(2, 1, 3)]);
    assert_eq!((retried.generation, &retried.signed), (0, &None));

    // When it died was not stored. It is kept as if that had been when it was accepted.
    let place = Place { stream: StreamNumber(1), queue: Queue::Regular, sequence: Sequence(4) };
    let dead = store.dead_at(place).await.unwrap().unwrap();
    assert_eq!((dead.cause, dead.reason.as_str()), (Cause::Rejected, "invalid_audience"));
    assert_eq!((&dead.delivery.body[..], dead.at), (&b"rej"[..], Timestamp::from_seconds(40)));
    // Nor to whom an event was owed that is settled.
    assert_eq!(store.history(StreamNumber(1), Sequence(0), 10).await, Ok(History::default()));
    assert_eq!(store.replay(StreamNumber(1), vec![Sequence(5)], 1).await, Ok(0));
    assert_eq!(store.redrive(vec![place]).await, Ok(1));
    let again = store.page(StreamNumber(1), Queue::Again, Sequence(0), 10).await.unwrap();
    assert_eq!(again.deliveries[0].body, dead.delivery.body);
    assert_eq!(store.backlog(StreamNumber(1)).await.unwrap().bytes, 12);

    let name = page.deliveries[0].clone();
    let again = NewEvent {
        accepted_at: name.accepted_at,
        body: name.body,
        lanes: name.lanes,
        idempotency: Some(secevent_store::Idempotency {
            scope: "s".into(),
            key: "k".into(),
            digest: [7; 32],
        }),
        owed: Vec::new(),
        dropped: Vec::new(),
    };
    let again = store.record(vec![again]).await.unwrap();
    assert_eq!(again, [Recorded::Repeated { epoch: Epoch(7), sequence: Sequence(1), deliveries: 2 }]);

    assert_eq!(store.list("", None, 9).await.unwrap().len(), 1);
    assert_eq!(store.new_stream_number().await.unwrap(), StreamNumber(3));
    let waiting = store.waiting(0, 9).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].attempts, waiting[0].received.jti.as_str()), (1, 1, "first"));
    let seen = ["first", "second", "third"]
        .map(|jti| Received { jti: jti.to_owned(), ..waiting[0].received.clone() });
    let receipts = store.receive(seen.to_vec()).await.unwrap();
    assert_eq!(receipts, [Receipt::Repeat, Receipt::Repeat, Receipt::First]);
}

/// The fixture is never edited.
#[tokio::test]
async fn a_store_of_version_2_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("../fixtures/v2/secevent.sql")).unwrap();
    let store = open(&path, 9);
    let (one, two) = (StreamNumber(1), StreamNumber(2));

    let page = store.page(one, Queue::Regular, Sequence(0), 10).await.unwrap();
    let [retried, fresh] = &page.deliveries[..] else { panic!("{page:?}") };
    assert_eq!((retried.epoch, retried.attempts, retried.due_at), (Epoch(7), 2, Timestamp::from_seconds(60)));
    // What was signed names a jti that is not made any more.
    assert_eq!((&retried.signed, &fresh.signed), (&None, &None));
    let again = store.page(one, Queue::Again, Sequence(0), 10).await.unwrap();
    assert_eq!((&again.deliveries[0].body[..], again.deliveries[0].generation), (&b"ack"[..], 3));
    let backlog = store.backlog(one).await.unwrap();
    assert_eq!((backlog.pending, backlog.bytes, backlog.dead), (4, 12, 2));
    assert_eq!((backlog.rejected, backlog.abandoned, backlog.dropped), (1, 1, 0));
    assert_eq!(store.backlog(two).await.unwrap().dropped, 1);

    let dead = store.dead(None, None, 10).await.unwrap();
    let told: Vec<_> = dead.iter().map(|dead| (dead.cause, dead.reason.as_str(), dead.at)).collect();
    assert_eq!(
        told,
        [
            (Cause::Rejected, "invalid_audience", Timestamp::from_seconds(45)),
            (Cause::Abandoned, "too old", Timestamp::from_seconds(90))
        ]
    );
    let rejected = &dead[0].delivery;
    assert_eq!((rejected.attempts, rejected.due_at), (2, Timestamp::from_seconds(60)));
    assert_eq!((&rejected.body[..], &rejected.signed), (&b"rej"[..], &None));

    let history = store.history(one, Sequence(0), 10).await.unwrap().events;
    assert_eq!(history.iter().map(|past| past.sequence.0).collect::<Vec<_>>(), [1, 2, 4, 5, 6]);
    assert!(history.iter().all(|past| past.rendering.0 == 5 && past.lanes[..] == [1, u64::MAX]));
    assert_eq!(store.history(two, Sequence(0), 10).await.unwrap().events.len(), 1);
    assert_eq!(store.new_stream_number().await.unwrap(), StreamNumber(3));
    assert_eq!(store.waiting(0, 9).await.unwrap()[0].received.jti, "first");
}

/// The fixture is never edited.
#[tokio::test]
async fn a_store_of_version_3_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("../fixtures/v3/secevent.sql")).unwrap();
    let store = open(&path, 9);
    let (one, two) = (StreamNumber(1), StreamNumber(2));

    let email = SubjectEntry {
        fingerprint: SubjectFingerprint([1; 16]),
        standing: Standing::Added,
        verified: true,
        compound: false,
        subject: r#"{"email":"alice@example.com","format":"email"}"#.into(),
    };
    let removed = |at, was_added| Standing::Removed { at: Timestamp::from_seconds(at), was_added };
    let complex = SubjectEntry {
        fingerprint: SubjectFingerprint([2; 16]),
        standing: removed(70, false),
        verified: false,
        compound: true,
        subject: r#"{"format":"complex","user":{"format":"opaque","id":"u-1"}}"#.into(),
    };
    let listed = store.list_subjects(one, Listing::Whole, None, 9).await.unwrap();
    assert_eq!(listed, [email.clone(), complex.clone()]);
    assert_eq!(store.list_subjects(one, Listing::Compound, None, 9).await.unwrap(), [complex]);
    let standings = store.standings(vec![(two, email.fingerprint)]).await.unwrap();
    assert_eq!(standings, [Some(removed(80, true))]);
    assert_eq!(store.subject_counts().await.unwrap(), [(one, 2), (two, 1)]);
    assert_eq!(store.page(one, Queue::Regular, Sequence(0), 10).await.unwrap().deliveries.len(), 2);
}

/// The fixture is never edited.
#[tokio::test]
async fn a_store_of_version_4_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("../fixtures/v4/secevent.sql")).unwrap();
    let store = open(&path, 9);
    let retried = store.deliveries(StreamNumber(1), Sequence(1)).await.unwrap().remove(0);
    assert_eq!((retried.attempts, retried.signed), (2, None));

    let places = async |filter: ChangeFilter| -> Vec<u64> {
        store.changes(filter, None, 9).await.unwrap().iter().map(|entered| entered.place).collect()
    };
    assert_eq!(places(ChangeFilter::default()).await, [4, 3, 1]);
    let of_stream = ChangeFilter { stream: Some("a".to_owned()), ..ChangeFilter::default() };
    assert_eq!(places(of_stream).await, [3, 1]);
    let update = store.changes(ChangeFilter::default(), Some(4), 1).await.unwrap().remove(0).change;
    let expected = Change {
        at: Timestamp::from_seconds(30),
        actor: "operator".to_owned(),
        actor_id: None,
        action: "stream.update".to_owned(),
        object: "stream/a".to_owned(),
        client: Some("receiver".to_owned()),
        stream: Some("a".to_owned()),
        request: Some("r-3".to_owned()),
        before: Some(r#"{"status":"enabled"}"#.to_owned()),
        after: Some(r#"{"status":"paused"}"#.to_owned()),
    };
    assert_eq!(update, expected);
    // By their own time, whatever their places: clocks step back.
    assert_eq!(store.forget_changes(Timestamp::from_seconds(25)).await, Ok(false));
    assert_eq!(places(ChangeFilter::default()).await, [3]);
    store.enter(vec![Change::default()]).await.unwrap();
    assert_eq!(places(ChangeFilter::default()).await, [5, 3], "a place is never given twice");
}

/// The fixture is never edited. What ended before is not known; what ends from then on is.
// finding: C13
#[tokio::test]
async fn a_store_of_version_5_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secevent.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("../fixtures/v5/secevent.sql")).unwrap();
    let store = open(&path, 9);
    let (one, two) = (StreamNumber(1), StreamNumber(2));
    let retried = store.deliveries(one, Sequence(1)).await.unwrap().remove(0);
    assert_eq!((retried.attempts, retried.signed), (2, Some(Signed("h..s".into()))));
    let outcomes = async |sequence| store.outcomes(Sequence(sequence)).await.unwrap();
    for sequence in 1..=6 {
        assert_eq!(outcomes(sequence).await, [], "event {sequence}");
    }

    let at = Timestamp::from_seconds(100);
    let attempt = Attempt {
        at,
        result: AttemptResult::Accepted,
        status: Some(202),
        took: Some(Duration::from_millis(9)),
    };
    let settlement = |stream, queue, sequence, verdict| Settlement {
        sequence: Sequence(sequence),
        stream,
        queue,
        at,
        verdict,
        attempts: None,
        attempt: Some(attempt),
    };
    let settlements = vec![
        settlement(two, Queue::Regular, 1, Verdict::Acked),
        settlement(one, Queue::Regular, 1, Verdict::Acked),
        settlement(one, Queue::Control, 3, Verdict::Dropped(DropReason::Superseded)),
        settlement(one, Queue::Regular, 4, Verdict::Dropped(DropReason::Superseded)),
        settlement(one, Queue::Again, 5, Verdict::Acked),
    ];
    store.settle(settlements).await.unwrap();
    let ended = |stream, how, attempts, last_attempts: &[Attempt]| DeliveryOutcome {
        stream,
        ended: Some(Ended { how, at }),
        attempts,
        last_attempts: last_attempts.to_vec(),
    };
    let (acked, superseded) = (Ending::Acked, Ending::Dropped(DropReason::Superseded));
    let both = [ended(one, acked, 3, &[attempt]), ended(two, acked, 1, &[attempt])];
    assert_eq!(outcomes(1).await, both, "two attempts were counted, and are not known");
    assert_eq!(outcomes(3).await, [ended(one, superseded, 1, &[attempt])]);
    assert_eq!(outcomes(4).await, [ended(one, superseded, 0, &[])], "it was dead");
    assert_eq!(outcomes(5).await, [ended(one, acked, 1, &[attempt])]);
    assert_eq!(outcomes(2).await, []);
    assert_eq!(store.drop_stream(one, DropReason::Disabled, at).await, Ok(1));
    assert_eq!(outcomes(2).await, [ended(one, Ending::Dropped(DropReason::Disabled), 0, &[])]);
    drop(store);
    assert_eq!(open(&path, 10).outcomes(Sequence(1)).await.unwrap(), both);
}

fn refused(path: &Path) -> StoreError {
    SqliteStore::open(path, Options::new(Epoch(9))).unwrap_err()
}
