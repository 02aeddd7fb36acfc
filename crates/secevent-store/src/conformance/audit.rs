//! The log of changes.

use super::*;

fn change(at: i64, action: &str) -> Change {
    Change {
        at: seconds(at),
        actor: "client".to_owned(),
        actor_id: Some("rp".to_owned()),
        action: action.to_owned(),
        object: "stream/a".to_owned(),
        client: Some("rp".to_owned()),
        stream: Some("a".to_owned()),
        request: None,
        before: None,
        after: Some(r#"{"status":"enabled"}"#.to_owned()),
    }
}

async fn actions(store: &dyn Store, filter: ChangeFilter) -> Vec<String> {
    let found = store.changes(filter, None, 100).await.expect("changes");
    found.into_iter().map(|entered| entered.change.action).collect()
}

/// The newest is told first, and each page goes on where the one before ended.
pub async fn changes_are_told_newest_first(store: Arc<dyn Store>) {
    assert_eq!(store.changes(ChangeFilter::default(), None, 10).await, Ok(vec![]));
    let all: Vec<Change> = (0..5).map(|number| change(10, &format!("stream.{number}"))).collect();
    store.enter(all[..2].to_vec()).await.expect("enter");
    store.enter(all[2..].to_vec()).await.expect("enter");
    let (mut before, mut told) = (None, Vec::new());
    loop {
        let page = store.changes(ChangeFilter::default(), before, 2).await.expect("changes");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        before = Some(last.place);
        told.extend(page.into_iter().map(|entered| entered.change));
    }
    told.reverse();
    assert_eq!(told, all, "as they were entered");
}

/// A document and what is told of it are written together, or neither is.
pub async fn a_change_is_entered_with_its_document_or_not_at_all(store: Arc<dyn Store>) {
    let none = Version::default();
    let (body, told) = (Some("one".into()), Some(change(10, "stream.create")));
    let first = store.put_and_enter("stream/a", none, body, told).await.expect("put");
    let refused = store.put_and_enter("stream/a", none, None, Some(change(20, "stream.delete"))).await;
    assert_eq!(refused, Err(StoreError::Conflict));
    assert_eq!(actions(&*store, ChangeFilter::default()).await, ["stream.create"]);
    store.put_and_enter("stream/a", first, None, Some(change(30, "stream.delete"))).await.expect("put");
    assert_eq!(actions(&*store, ChangeFilter::default()).await, ["stream.delete", "stream.create"]);
    assert_eq!(store.get("stream/a").await, Ok(None));
}

/// Each filter leaves out what it does not want; several do so together.
pub async fn changes_are_filtered(store: Arc<dyn Store>) {
    let of_nobody = Change { client: None, stream: None, ..change(30, "backup") };
    let of_other =
        Change { client: Some("other".to_owned()), stream: Some("b".to_owned()), ..change(20, "stream.x") };
    store.enter(vec![change(10, "stream.create"), of_other, of_nobody]).await.expect("enter");
    let text = |text: &str| Some(text.to_owned());
    let none = ChangeFilter::default();
    for (filter, expected) in [
        (ChangeFilter { client: text("rp"), ..none.clone() }, &["stream.create"][..]),
        (ChangeFilter { stream: text("b"), ..none.clone() }, &["stream.x"]),
        (ChangeFilter { action: text("stream."), ..none.clone() }, &["stream.x", "stream.create"]),
        (ChangeFilter { action: text("stream"), ..none.clone() }, &[]),
        (ChangeFilter { action: text("backup"), ..none.clone() }, &["backup"]),
        (ChangeFilter { since: Some(seconds(20)), ..none.clone() }, &["backup", "stream.x"]),
        (ChangeFilter { client: text("rp"), since: Some(seconds(11)), ..none.clone() }, &[]),
    ] {
        assert_eq!(actions(&*store, filter.clone()).await, expected, "{filter:?}");
    }
}

/// What is old is forgotten, in steps that are bounded, and places go on.
pub async fn old_changes_are_forgotten_in_steps(store: Arc<dyn Store>) {
    store.enter((0..2_000).map(|_| change(10, "old")).collect()).await.expect("enter");
    store.enter(vec![change(20, "young")]).await.expect("enter");
    let last = store.changes(ChangeFilter::default(), None, 1).await.expect("changes")[0].place;
    let mut steps = 1;
    while store.forget_changes(seconds(20)).await.expect("forget") {
        steps += 1;
    }
    assert!(steps > 1, "two thousand in one step are not bounded");
    assert_eq!(actions(&*store, ChangeFilter::default()).await, ["young"]);
    while store.forget_changes(seconds(21)).await.expect("forget") {}
    store.enter(vec![change(30, "new")]).await.expect("enter");
    let new = store.changes(ChangeFilter::default(), None, 9).await.expect("changes");
    assert_eq!(new.len(), 1);
    assert!(new[0].place > last, "{} {last}: a page that was begun before must not show it", new[0].place);
}
