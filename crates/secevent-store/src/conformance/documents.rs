//! Documents, and the numbers of streams.

use super::*;

/// Of two who change the same document, the second is told.
pub async fn documents_are_compared_and_set(store: Arc<dyn Store>) {
    let none = Version::default();
    assert_eq!(store.get("a").await, Ok(None));
    let first = store.put("a", none, Some("one".into())).await.expect("put");
    assert_ne!(first, none);
    assert_eq!(
        store.put("a", none, Some("x".into())).await,
        Err(StoreError::Conflict),
        "there is one already"
    );
    let second = store.put("a", first, Some("two".into())).await.expect("put");
    assert_ne!(second, first);
    assert_eq!(store.put("a", first, Some("x".into())).await, Err(StoreError::Conflict));
    assert_eq!(store.put("a", first, None).await, Err(StoreError::Conflict));
    let document = Document { name: "a".to_owned(), version: second, body: "two".into() };
    assert_eq!(store.get("a").await, Ok(Some(document)));

    let (one, two) =
        both(store.put("a", second, Some("3".into())), store.put("a", second, Some("3".into()))).await;
    assert_eq!([&one, &two].into_iter().filter(|answer| answer.is_ok()).count(), 1, "{one:?} {two:?}");
}

/// A deleted document leaves nothing that an old reader could mistake for a new one.
pub async fn a_document_made_again_has_a_new_version(store: Arc<dyn Store>) {
    let none = Version::default();
    assert_eq!(store.put("a", none, None).await, Ok(none), "there is nothing to delete");
    let first = store.put("a", none, Some("one".into())).await.expect("put");
    assert_eq!(store.put("a", first, None).await, Ok(none));
    assert_eq!(store.get("a").await, Ok(None));
    assert_eq!(store.put("a", first, Some("x".into())).await, Err(StoreError::Conflict));
    let again = store.put("a", none, Some("two".into())).await.expect("put");
    assert_ne!(again, first);
}

/// Names are ordered by their bytes; a beginning is not a pattern.
pub async fn documents_are_listed_by_their_beginning(store: Arc<dyn Store>) {
    for name in ["stream/b", "stream/a", "stream", "streams/x", "key/1", "stream/ä", "stream/%", "stream/_"]
    {
        store.put(name, Version::default(), Some(name.to_owned().into())).await.expect("put");
    }
    for (beginning, expected) in [
        ("stream/", &["stream/%", "stream/_", "stream/a", "stream/b", "stream/ä"][..]),
        ("stream/%", &["stream/%"]),
        ("stream/_", &["stream/_"]),
        ("key", &["key/1"]),
        ("nothing", &[]),
        ("z", &[]),
    ] {
        let listed = store.list(beginning, None, 100).await.expect("list");
        let names: Vec<_> = listed.iter().map(|document| document.name.as_str()).collect();
        assert_eq!(names, expected, "{beginning}");
        assert!(listed.iter().all(|document| document.body == document.name));
    }
    assert_eq!(store.list("", None, 100).await.expect("list").len(), 8);
}

/// Page by page, each document once.
pub async fn documents_are_listed_in_pages(store: Arc<dyn Store>) {
    for name in ["a", "s/1", "s/2", "s/3", "t"] {
        store.put(name, Version::default(), Some(Bytes::new())).await.expect("put");
    }
    for (after, limit, expected) in [
        (None, 2, &["s/1", "s/2"][..]),
        (Some("s/2"), 2, &["s/3"]),
        (Some("s/3"), 2, &[]),
        (Some("s/11"), 9, &["s/2", "s/3"]),
        (Some("a"), 9, &["s/1", "s/2", "s/3"]),
        (Some("z"), 9, &[]),
        (None, 0, &[]),
    ] {
        let listed = store.list("s/", after, limit).await.expect("list");
        let names: Vec<_> = listed.iter().map(|document| document.name.as_str()).collect();
        assert_eq!(names, expected, "after {after:?}, {limit}");
    }
}

/// A stream's number never means another stream (SEM-1), nor the event itself, which is number 0.
pub async fn stream_numbers_are_given_once(store: Arc<dyn Store>) {
    let mut given = BTreeSet::from([StreamNumber(0)]);
    for _ in 0..10 {
        let (one, two) = both(store.new_stream_number(), store.new_stream_number()).await;
        for number in [one, two] {
            assert!(given.insert(number.expect("a number")), "given twice: {given:?}");
        }
    }
}
