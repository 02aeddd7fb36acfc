//! The memory store keeps the rules that every store keeps.

use secevent_store::{Documents, Epoch, Inbox, MemoryStore, NewEvent, Outbox, Recorded, Version};
use std::sync::Arc;

secevent_store::conformance!(async || Arc::new(MemoryStore::new(Epoch(1))));

/// What a simulated crash leaves: everything that was answered, under a new epoch (SEM-1).
#[tokio::test]
async fn a_restarted_store_has_everything_and_a_new_epoch() {
    let event = || NewEvent {
        accepted_at: secevent::Timestamp::default(),
        body: "{}".into(),
        lanes: [].into(),
        idempotency: None,
        owed: Vec::new(),
        dropped: Vec::new(),
    };
    let store = MemoryStore::new(Epoch(1));
    let first = store.record(vec![event()]).await.unwrap();
    store.put("a", Version::default(), Some("b".into())).await.unwrap();
    let store = store.restarted(Epoch(2));
    let second = store.record(vec![event()]).await.unwrap();
    let [Recorded::New { epoch: Epoch(1), sequence: before }] = first[..] else { panic!("{first:?}") };
    let [Recorded::New { epoch: Epoch(2), sequence: after }] = second[..] else { panic!("{second:?}") };
    assert!(before < after);
    assert!(store.get("a").await.unwrap().is_some());
    assert!(store.waiting(0, 1).await.unwrap().is_empty());
}
