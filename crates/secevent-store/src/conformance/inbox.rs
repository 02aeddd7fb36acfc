//! What was received.

use super::*;

/// The replay guard: by issuer and `jti`, with the payload's digest (SEM-18).
pub async fn a_set_is_received_once(store: Arc<dyn Store>) {
    let receive = async |set: Received| store.receive(vec![set]).await.expect("receive")[0];
    assert_eq!(receive(set("i", "1", 7, 10)).await, Receipt::First);
    assert_eq!(receive(set("i", "1", 7, 11)).await, Receipt::Repeat);
    assert_eq!(receive(set("i", "1", 8, 12)).await, Receipt::Changed);
    assert_eq!(receive(set("i", "1", 7, 13)).await, Receipt::Repeat, "the changed one changed nothing");
    assert_eq!(
        receive(set("j", "1", 8, 14)).await,
        Receipt::First,
        "another issuer's identifiers are its own"
    );
    assert_eq!(receive(set("", "i1", 8, 14)).await, Receipt::First);
    assert_eq!(receive(set("i1", "", 8, 14)).await, Receipt::First);
    let waiting = store.waiting(0, 10).await.expect("waiting");
    let received: Vec<_> = waiting.into_iter().map(|stored| stored.received).collect();
    assert_eq!(
        received,
        [set("i", "1", 7, 10), set("j", "1", 8, 14), set("", "i1", 8, 14), set("i1", "", 8, 14)]
    );
}

/// A poll answer, or two pushes at once, may hold a SET twice.
pub async fn a_set_is_received_once_even_in_one_call(store: Arc<dyn Store>) {
    let sets = vec![set("i", "1", 7, 10), set("i", "1", 7, 10), set("i", "1", 8, 10), set("i", "2", 7, 10)];
    let receipts = store.receive(sets).await.expect("receive");
    assert_eq!(receipts, [Receipt::First, Receipt::Repeat, Receipt::Changed, Receipt::First]);
    assert_eq!(store.receive(Vec::new()).await, Ok(Vec::new()), "a call may be empty");

    let call = || store.receive(vec![set("i", "3", 7, 10)]);
    let (one, two) = both(call(), call()).await;
    let receipts = BTreeSet::from([format!("{one:?}"), format!("{two:?}")]);
    assert_eq!(receipts, BTreeSet::from(["Ok([First])".to_owned(), "Ok([Repeat])".to_owned()]));
    assert_eq!(store.waiting(0, 10).await.expect("waiting").len(), 3);
}

/// Handlers take SETs in the order in which they came.
pub async fn received_sets_wait_in_their_order(store: Arc<dyn Store>) {
    let sets: Vec<Received> = (0..5).map(|n| set("i", &n.to_string(), 7, 10 - n)).collect();
    store.receive(sets[..2].to_vec()).await.expect("receive");
    store.receive(sets[2..].to_vec()).await.expect("receive");
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = store.waiting(after, 2).await.expect("waiting");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = last.place;
        assert!(page.iter().all(|stored| stored.attempts == 0));
        seen.extend(page.into_iter().map(|stored| stored.received));
    }
    assert_eq!(seen, sets);
}

/// A handled SET is gone, and still known when it comes again (SEM-17).
pub async fn handled_sets_leave_and_are_remembered(store: Arc<dyn Store>) {
    store.receive((0..3).map(|n| set("i", &n.to_string(), 7, 10)).collect()).await.expect("receive");
    let places: Vec<u64> =
        store.waiting(0, 10).await.expect("waiting").iter().map(|stored| stored.place).collect();
    store.handled(vec![places[0], places[2], 4_711]).await.expect("handled");
    store.handled(vec![places[0]]).await.expect("handled");
    let waiting = store.waiting(0, 10).await.expect("waiting");
    assert_eq!(waiting.iter().map(|stored| stored.place).collect::<Vec<_>>(), [places[1]]);
    assert_eq!(store.receive(vec![set("i", "0", 7, 11)]).await, Ok(vec![Receipt::Repeat]));
    assert_eq!(store.receive(vec![set("i", "0", 8, 11)]).await, Ok(vec![Receipt::Changed]));
}

/// A SET that no handler can take does not hold up the others for ever, and is not taken in again.
pub async fn failures_are_counted_until_the_set_is_dead(store: Arc<dyn Store>) {
    store.receive(vec![set("i", "1", 7, 10), set("i", "2", 7, 10)]).await.expect("receive");
    let place = store.waiting(0, 1).await.expect("waiting")[0].place;
    for attempts in 1..=3 {
        store.failed(place, false).await.expect("failed");
        let first = &store.waiting(0, 1).await.expect("waiting")[0];
        assert_eq!((first.place, first.attempts), (place, attempts));
    }
    store.failed(place, true).await.expect("failed");
    store.failed(place, true).await.expect("failed");
    store.failed(4_711, false).await.expect("failed");
    let waiting = store.waiting(0, 10).await.expect("waiting");
    assert_eq!(waiting.iter().map(|stored| stored.received.jti.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(waiting[0].attempts, 0);
    assert_eq!(store.receive(vec![set("i", "1", 7, 11)]).await, Ok(vec![Receipt::Repeat]));
}

/// Identifiers are kept as long as promised and not for ever; what waits is not touched.
pub async fn forgetting_forgets_old_identifiers_only(store: Arc<dyn Store>) {
    store.receive(vec![set("i", "old", 7, 10), set("i", "young", 7, 20)]).await.expect("receive");
    let places = store.waiting(0, 10).await.expect("waiting");
    store.handled(places.iter().map(|stored| stored.place).collect()).await.expect("handled");
    store.receive(vec![set("i", "waits", 7, 5)]).await.expect("receive");
    forget(&*store, seconds(10)).await;
    assert_eq!(
        store.receive(vec![set("i", "old", 7, 30)]).await,
        Ok(vec![Receipt::Repeat]),
        "10 is not before 10"
    );
    forget(&*store, seconds(20)).await;
    let again = vec![set("i", "old", 8, 30), set("i", "young", 7, 30)];
    assert_eq!(store.receive(again).await, Ok(vec![Receipt::First, Receipt::Repeat]));
    assert_eq!(
        store.receive(vec![set("i", "old", 8, 30)]).await,
        Ok(vec![Receipt::Repeat]),
        "remembered anew"
    );
    let waiting = store.waiting(0, 10).await.expect("waiting");
    let waiting: Vec<_> = waiting.iter().map(|stored| stored.received.jti.as_str()).collect();
    assert_eq!(waiting, ["waits", "old"]);
}

/// A clock that was years ahead for a moment must not switch the replay guard off until then (SEM-18).
pub async fn forgetting_outlives_a_clock_that_was_ahead(store: Arc<dyn Store>) {
    let receive = async |jti: &str, at| store.receive(vec![set("i", jti, 7, at)]).await.expect("receive")[0];
    assert_eq!(receive("before", 10).await, Receipt::First);
    forget(&*store, seconds(1_000_000_000)).await;
    assert_eq!(receive("after", 20).await, Receipt::First);
    assert_eq!(receive("after", 21).await, Receipt::Repeat);
    // And for long: thousands of SETs from a time that is still to come.
    for call in 0..30 {
        let ahead = (0..100).map(|n| set("i", &format!("ahead {call} {n}"), 7, 8_000));
        store.receive(ahead.collect()).await.expect("receive");
    }
    assert_eq!(receive("behind", 30).await, Receipt::First);
    assert_eq!(receive("last", 50).await, Receipt::First);
    forget(&*store, seconds(40)).await;
    assert_eq!(receive("last", 51).await, Receipt::Repeat);
    assert_eq!(receive("ahead 7 7", 52).await, Receipt::Repeat, "its time is still to come");
    assert_eq!(receive("behind", 53).await, Receipt::First);
}

/// A place is not given twice, also when nothing is left that remembers it.
pub async fn places_go_on_after_everything_was_forgotten(store: Arc<dyn Store>) {
    let mut before = 0;
    for round in 0..3 {
        store.receive(vec![set("i", "1", 7, 10 + round)]).await.expect("receive");
        let place = store.waiting(0, 1).await.expect("waiting")[0].place;
        assert!(place > before, "{place} after {before}");
        before = place;
        store.handled(vec![place]).await.expect("handled");
        forget(&*store, seconds(11 + round)).await;
    }
}
