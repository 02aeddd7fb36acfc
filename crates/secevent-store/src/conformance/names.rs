//! Producers' names for events (SEM-15).

use super::*;

/// A producer that missed the answer asks again and changes nothing (SEM-15).
pub async fn a_repeated_name_gets_the_first_answer(store: Arc<dyn Store>) {
    let first = store.record(vec![named("k", 7, event(1, &[A, B]))]).await.expect("record");
    let [Recorded::New { epoch, sequence }] = first[..] else { unreachable!("{first:?}") };
    // The streams may have changed in the meantime: the first answer counts.
    let repeat = named("k", 7, event(2, &[A]));
    for _ in 0..2 {
        let again = store.record(vec![repeat.clone()]).await.expect("record");
        assert_eq!(again, [Recorded::Repeated { epoch, sequence, deliveries: 2 }]);
    }
    settle(&*store, A, sequence, Verdict::Acked).await;
    settle(&*store, B, sequence, Verdict::Acked).await;
    let again = store.record(vec![repeat]).await.expect("record");
    assert_eq!(
        again,
        [Recorded::Repeated { epoch, sequence, deliveries: 2 }],
        "even when it is long settled"
    );
    assert_eq!(pending(&*store, A).await, []);
}

/// The same name with another content is the producer's mistake (SEM-15).
pub async fn a_name_is_not_given_to_other_content(store: Arc<dyn Store>) {
    let places = record(&*store, vec![named("k", 7, event(1, &[A]))]).await;
    let other = store.record(vec![named("k", 8, event(1, &[A]))]).await;
    assert_eq!(other, Ok(vec![Recorded::Different]));
    assert_eq!(pending(&*store, A).await, places, "nothing was stored");
}

/// A name is one producer's own.
pub async fn names_of_different_scopes_do_not_meet(store: Arc<dyn Store>) {
    let scoped = |scope: &str, key: &str| {
        let mut event = named(key, 7, event(1, &[A]));
        if let Some(name) = &mut event.idempotency {
            scope.clone_into(&mut name.scope);
        }
        event
    };
    // Neither may the border between scope and name be lost.
    let events = vec![scoped("a", "k"), scoped("b", "k"), scoped("ak", ""), scoped("", "ak")];
    let places = record(&*store, events).await;
    assert_eq!(pending(&*store, A).await, places);
}

/// A repeat that comes before the first is stored waits for it (SEM-15).
pub async fn concurrent_repeats_are_recorded_once(store: Arc<dyn Store>) {
    let call = || store.record(vec![named("k", 7, event(1, &[A]))]);
    let (one, two) = both(call(), call()).await;
    let (one, two) = (one.expect("record"), two.expect("record"));
    let new = [&one, &two].into_iter().filter(|answer| matches!(answer[..], [Recorded::New { .. }]));
    assert_eq!(new.count(), 1, "{one:?} {two:?}");
    let repeated =
        [&one, &two].into_iter().filter(|answer| matches!(answer[..], [Recorded::Repeated { .. }]));
    assert_eq!(repeated.count(), 1, "{one:?} {two:?}");
    assert_eq!(pending(&*store, A).await.len(), 1);
}

/// Within one call a repeated name is a repeat like any other.
pub async fn a_name_may_come_twice_in_one_call(store: Arc<dyn Store>) {
    let events =
        vec![named("k", 7, event(1, &[A])), named("l", 7, event(1, &[A])), named("k", 7, event(1, &[A]))];
    let recorded = store.record(events).await.expect("record");
    let [Recorded::New { epoch, sequence }, Recorded::New { .. }, third] = recorded[..] else {
        unreachable!("{recorded:?}")
    };
    assert_eq!(third, Recorded::Repeated { epoch, sequence, deliveries: 1 });
    assert_eq!(pending(&*store, A).await.len(), 2);

    let events = vec![named("m", 7, event(1, &[A])), named("m", 8, event(1, &[A]))];
    assert_eq!(store.record(events).await, Ok(vec![Recorded::Different; 2]));
    assert_eq!(pending(&*store, A).await.len(), 2);
}

/// All or nothing: one event that cannot be recorded takes the others with it.
pub async fn a_call_is_recorded_whole_or_not_at_all(store: Arc<dyn Store>) {
    let places = record(&*store, vec![named("k", 7, event(1, &[A]))]).await;
    let events = vec![event(1, &[A]), named("l", 7, event(1, &[A])), named("k", 8, event(1, &[A]))];
    assert_eq!(store.record(events).await, Ok(vec![Recorded::Different; 3]));
    assert_eq!(pending(&*store, A).await, places);
    let later = store.record(vec![named("l", 9, event(1, &[A]))]).await.expect("record");
    assert!(matches!(later[..], [Recorded::New { .. }]), "its name was not taken: {later:?}");
}
