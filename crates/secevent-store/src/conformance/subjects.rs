//! The subjects of streams.

use super::*;

/// An entry takes the place of the one before it, in its stream alone.
pub async fn a_subject_is_kept_once_and_as_it_was_said_last(store: Arc<dyn Store>) {
    let removed = |was_added| Standing::Removed { at: Timestamp::from_micros(7_000_001), was_added };
    put(&*store, A, vec![simple(1), compound(2)]).await;
    let again = SubjectEntry { standing: removed(true), verified: false, ..simple(1) };
    put(&*store, A, vec![again.clone()]).await;
    let other = SubjectEntry { standing: removed(false), ..compound(2) };
    put(&*store, B, vec![other.clone()]).await;

    assert_eq!(listed(&*store, A, Listing::Whole).await, [again.clone(), compound(2)]);
    assert_eq!(listed(&*store, B, Listing::Whole).await, [other]);
    let asked = [(A, 2), (B, 1), (A, 1), (B, 2), (C, 1), (A, 2)];
    let asked = asked.map(|(stream, one)| (stream, fingerprint(one)));
    let added = Some(Standing::Added);
    let expected = [added, None, Some(again.standing), Some(removed(false)), None, added];
    assert_eq!(store.standings(asked.to_vec()).await.expect("standings"), expected);
    assert_eq!(store.standings(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 2), (B, 1)]));
}

/// A page goes on behind the last one, whatever was written between them.
pub async fn subjects_are_listed_by_fingerprint_in_pages(store: Arc<dyn Store>) {
    let entry = |one: u8| if one.is_multiple_of(10) { compound(one) } else { simple(one) };
    put(&*store, A, (1..=40).rev().map(entry).collect()).await;
    put(&*store, B, vec![simple(1), simple(u8::MAX)]).await;
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = store.list_subjects(A, Listing::Whole, after, 7).await.expect("list");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        after = Some(last.fingerprint);
        found.extend(page);
    }
    assert_eq!(found, (1..=40).map(entry).collect::<Vec<_>>());

    let index = listed(&*store, A, Listing::Index).await;
    let lean = |entry: SubjectEntry| match entry.compound {
        true => entry,
        false => SubjectEntry { subject: Bytes::new(), ..entry },
    };
    assert_eq!(index, found.into_iter().map(lean).collect::<Vec<_>>());
    let compounds = listed(&*store, A, Listing::Compound).await;
    assert_eq!(compounds, [10, 20, 30, 40].map(compound));
    let page = store.list_subjects(A, Listing::Compound, Some(fingerprint(10)), 2).await;
    assert_eq!(page, Ok(vec![compound(20), compound(30)]));
    assert_eq!(store.list_subjects(C, Listing::Whole, None, 9).await, Ok(Vec::new()));
}

/// What is not there is passed over.
pub async fn forgotten_subjects_are_gone_and_counted(store: Arc<dyn Store>) {
    put(&*store, A, vec![simple(1), simple(2), compound(3)]).await;
    put(&*store, B, vec![simple(1)]).await;
    let gone = [1, 3, 4, 1].map(fingerprint).to_vec();
    assert_eq!(store.forget_subjects(A, gone.clone()).await, Ok(2));
    assert_eq!(store.forget_subjects(A, gone).await, Ok(0));
    assert_eq!(listed(&*store, A, Listing::Whole).await, [simple(2)]);
    assert_eq!(listed(&*store, A, Listing::Compound).await, []);
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 1), (B, 1)]));
    assert_eq!(store.forget_subjects(A, vec![fingerprint(2)]).await, Ok(1));
    put(&*store, A, vec![simple(1)]).await;
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 1), (B, 1)]), "it may be said again");
}

/// However many they are; and other streams keep theirs.
pub async fn a_dropped_streams_subjects_are_gone(store: Arc<dyn Store>) {
    let many = |one: u16| SubjectEntry { fingerprint: wide(one), ..simple(0) };
    put(&*store, A, (0..3_000).map(many).collect()).await;
    put(&*store, B, vec![simple(1)]).await;
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 3_000), (B, 1)]));
    store.drop_subjects(A).await.expect("drop");
    assert_eq!(listed(&*store, A, Listing::Whole).await, []);
    assert_eq!(store.subject_counts().await, Ok(vec![(B, 1)]));
    store.drop_subjects(A).await.expect("drop again");
    put(&*store, A, vec![simple(1)]).await;
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 1), (B, 1)]));
}

/// An erased subject leaves no trace in any stream.
pub async fn erased_subjects_are_gone_from_all_streams(store: Arc<dyn Store>) {
    for stream in [A, B, C] {
        put(&*store, stream, vec![simple(1), simple(2), compound(3)]).await;
    }
    store.forget_subjects(C, vec![fingerprint(1)]).await.expect("forget");
    let gone = [1, 3, 9].map(fingerprint).to_vec();
    assert_eq!(store.erase_subjects(gone.clone()).await, Ok(5));
    assert_eq!(store.erase_subjects(gone).await, Ok(0));
    for stream in [A, B, C] {
        assert_eq!(listed(&*store, stream, Listing::Whole).await, [simple(2)]);
    }
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 1), (B, 1), (C, 1)]));
}

/// One call's entries are all there or none, and the last of two with one fingerprint counts.
pub async fn subjects_are_put_whole_or_not_at_all(store: Arc<dyn Store>) {
    let removed = Standing::Removed { at: seconds(3), was_added: false };
    put(&*store, A, vec![simple(1), SubjectEntry { standing: removed, ..simple(1) }]).await;
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 1)]));
    assert_eq!(store.standings(vec![(A, fingerprint(1))]).await, Ok(vec![Some(removed)]));
    put(&*store, A, Vec::new()).await;
    let (one, two) =
        both(store.put_subjects(A, vec![simple(2)]), store.put_subjects(A, vec![simple(2)])).await;
    assert_eq!((one, two), (Ok(()), Ok(())));
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 2)]));
}

fn fingerprint(one: u8) -> SubjectFingerprint {
    SubjectFingerprint([one; 16])
}

fn wide(one: u16) -> SubjectFingerprint {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&one.to_be_bytes());
    SubjectFingerprint(bytes)
}

fn simple(one: u8) -> SubjectEntry {
    SubjectEntry {
        fingerprint: fingerprint(one),
        standing: Standing::Added,
        verified: true,
        compound: false,
        subject: format!(r#"{{"format":"opaque","id":"{one}"}}"#).into(),
    }
}

fn compound(one: u8) -> SubjectEntry {
    SubjectEntry { compound: true, ..simple(one) }
}

async fn put(store: &dyn Store, stream: StreamNumber, entries: Vec<SubjectEntry>) {
    store.put_subjects(stream, entries).await.expect("put");
}

async fn listed(store: &dyn Store, stream: StreamNumber, listing: Listing) -> Vec<SubjectEntry> {
    store.list_subjects(stream, listing, None, 100_000).await.expect("list")
}
