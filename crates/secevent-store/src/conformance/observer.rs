//! What is told of commits (SEM-12), and calls that nobody waits for.

use super::*;

/// The hand-over from commit to send: each delivery once, in the order of its queue, before the caller knows.
pub async fn the_observer_sees_each_delivery_once_in_order(store: Arc<dyn Store>) {
    record(&*store, vec![event(1, &[A])]).await;
    let observer = Seen::watching(&*store);
    let first = store.record(vec![event(2, &[A, B]), event(3, &[]), event(4, &[B])]);
    let second = store.record(vec![NewEvent { owed: vec![owed(A, Queue::Control, 9)], ..event(5, &[]) }]);
    let (first, second) = both(first, second).await;
    let mut places = vec![];
    for recorded in first.expect("record").into_iter().chain(second.expect("record")) {
        let Recorded::New { sequence, .. } = recorded else { unreachable!("{recorded:?}") };
        places.push(sequence);
    }
    let seen: Vec<_> = observer.take().into_iter().map(|(d, _)| (d.sequence, d.stream, d.queue)).collect();
    let mut expected = vec![
        (places[0], A, Queue::Regular),
        (places[0], B, Queue::Regular),
        (places[2], B, Queue::Regular),
        (places[3], A, Queue::Control),
    ];
    expected.sort_by_key(|(sequence, ..)| *sequence);
    assert_eq!(seen, expected);
}

/// By the link to the one before, an observer knows whether it has missed one (SEM-12).
pub async fn the_observer_is_told_what_came_before(store: Arc<dyn Store>) {
    let observer = Seen::watching(&*store);
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A]), event(1, &[B]), control, event(1, &[A, B])]).await;
    settle(&*store, A, places[3], Verdict::Acked).await;
    record(&*store, vec![event(1, &[A])]).await;
    let mut last = std::collections::HashMap::new();
    for (delivery, before) in observer.take() {
        let expected = last.insert((delivery.stream, delivery.queue), delivery.sequence);
        // A writer that does not know says nothing. It must know of what it has told itself.
        assert!(before == expected || expected.is_none(), "{delivery:?}: {before:?}, not {expected:?}");
    }
    assert_eq!(last.len(), 3);
}

/// What is not stored is not announced.
pub async fn the_observer_sees_no_repeats(store: Arc<dyn Store>) {
    let observer = Seen::watching(&*store);
    record(&*store, vec![named("k", 7, event(1, &[A]))]).await;
    assert_eq!(observer.take().len(), 1);
    store.record(vec![named("k", 7, event(1, &[A])), event(1, &[])]).await.expect("record");
    store.record(vec![named("k", 8, event(1, &[A])), event(1, &[A])]).await.expect("record");
    assert_eq!(observer.take(), []);
}

/// The announcement and the page say the same, so that either may be used (SEM-12).
pub async fn what_the_observer_saw_can_be_paged(store: Arc<dyn Store>) {
    let observer = Seen::watching(&*store);
    let event = NewEvent {
        accepted_at: Timestamp::from_micros(1_234_567),
        lanes: [3, 4].into(),
        owed: vec![owed(A, Queue::Regular, 5)],
        ..event(1, &[])
    };
    record(&*store, vec![event.clone(), event]).await;
    let seen: Vec<Delivery> = observer.take().into_iter().map(|(delivery, _)| delivery).collect();
    assert_eq!(store.page(A, Queue::Regular, START, 10).await, Ok(Page { deliveries: seen, more: false }));
}

/// A caller that gives up waiting leaves no call half done: those behind it find it carried out.
pub async fn a_call_that_nobody_waits_for_is_carried_out(store: Arc<dyn Store>) {
    let mut call = store.record(vec![named("k", 7, event(1, &[A]))]);
    // It is under way from the first poll at the latest.
    let _ = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    drop(call);
    let again = store.record(vec![named("k", 7, event(1, &[A]))]).await.expect("record");
    assert!(matches!(again[..], [Recorded::Repeated { .. }]), "{again:?}");
}
