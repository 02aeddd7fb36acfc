//! What is forgotten, and when.

use super::*;

/// Names are kept as long as promised and not for ever, also where the event is still owed.
pub async fn trimming_forgets_old_names_only(store: Arc<dyn Store>) {
    record(&*store, vec![named("old", 7, event(10, &[A])), named("young", 7, event(20, &[A]))]).await;
    let old = named("old", 8, event(30, &[]));
    let young = named("young", 8, event(30, &[]));
    trim(&*store, seconds(10)).await;
    assert_eq!(store.record(vec![old.clone()]).await, Ok(vec![Recorded::Different]), "10 is not before 10");
    trim(&*store, seconds(20)).await;
    assert!(matches!(store.record(vec![old.clone()]).await.as_deref(), Ok([Recorded::New { .. }])));
    assert_eq!(store.record(vec![young]).await, Ok(vec![Recorded::Different]));
    let again = store.record(vec![old]).await.expect("record");
    assert!(matches!(again[..], [Recorded::Repeated { .. }]), "it is remembered anew: {again:?}");
}

/// Trimming goes in bounded steps, comes to an end, and takes nothing that is still owed.
pub async fn trimming_ends_and_keeps_what_is_owed(store: Arc<dyn Store>) {
    let mut places = Vec::new();
    for at in 0..20 {
        places.extend(record(&*store, (0..300).map(|_| event(at, &[A, B])).collect()).await);
    }
    let kept = [places[0], places[3_000], places[5_999]];
    let outcomes = places.iter().flat_map(|place| {
        let a = (!kept.contains(place)).then(|| settlement(A, *place, Verdict::Acked));
        a.into_iter().chain([settlement(B, *place, Verdict::Acked)])
    });
    store.settle(outcomes.collect()).await.expect("settle");
    let steps = trim(&*store, seconds(1_000)).await;
    assert!(steps > 1, "six thousand events in one step are not bounded");
    assert_eq!(store.trim(keep(seconds(1_000))).await, Ok(false), "there was no more to do");
    assert_eq!(pending(&*store, A).await, kept, "bodies included");
    settle(&*store, A, kept[0], Verdict::Acked).await;
    trim(&*store, seconds(1_000)).await;
    assert_eq!(pending(&*store, A).await, kept[1..]);
}

/// The dead are kept from a time of their own on, in which they ended; their bodies as long as they are.
pub async fn trimming_forgets_the_dead_and_then_their_bodies(store: Arc<dyn Store>) {
    let mut places = Vec::new();
    for _ in 0..15 {
        places.extend(record(&*store, (0..100).map(|_| event(1, &[A])).collect()).await);
    }
    record(&*store, vec![event(9_999, &[])]).await;
    let died_at = |place: usize| seconds(1_000 + i64::try_from(place).expect("small"));
    let died = places.iter().enumerate().map(|(place, sequence)| Settlement {
        at: died_at(place),
        ..settlement(A, *sequence, Verdict::Abandoned("old".to_owned()))
    });
    store.settle(died.collect()).await.expect("settle");
    let trim = async |history, dead| {
        for steps in 1..10_000 {
            if !store.trim(Keep { history, dead }).await.expect("trim") {
                return steps;
            }
        }
        unreachable!("trimming does not end")
    };
    trim(seconds(5_000), died_at(0)).await;
    assert_eq!(backlog(&*store, A).await.dead, 1_500, "when it was accepted is not when it died");
    trim(seconds(5_000), died_at(2)).await;
    assert_eq!(backlog(&*store, A).await.dead, 1_498);
    assert_eq!(store.dead_at(regular(A, places[1])).await, Ok(None));
    assert!(store.dead_at(regular(A, places[2])).await.expect("dead").is_some());
    assert_eq!(history(&*store, A).await.len(), 1_498, "their bodies are gone with them");
    trim(seconds(1), died_at(4)).await;
    assert_eq!(history(&*store, A).await.len(), 1_498, "the history that was asked for is kept without them");
    let steps = trim(seconds(5_000), died_at(1_499)).await;
    assert!(steps > 1, "fifteen hundred in one step are not bounded");
    let left: Vec<_> = store.dead(None, None, 10).await.expect("dead");
    assert_eq!(left.iter().map(|dead| dead.delivery.sequence).collect::<Vec<_>>(), places[1_499..]);
    assert_eq!(history(&*store, A).await.len(), 1, "all bodies in the same pass");
    let counts = backlog(&*store, A).await;
    assert_eq!((counts.dead, counts.abandoned), (1, 1_500));
}

/// A clock that was years ahead for a moment costs what was forgotten then. What comes after it is remembered as ever.
pub async fn trimming_outlives_a_clock_that_was_ahead(store: Arc<dyn Store>) {
    let ahead = seconds(1_000_000_000);
    record(&*store, vec![named("before", 7, event(100, &[]))]).await;
    let places = record(&*store, vec![event(101, &[A])]).await;
    while store.trim(Keep { history: ahead, dead: ahead }).await.expect("trim") {}
    let repeated = async |key: &str, at| {
        let recorded = store.record(vec![named(key, 7, event(at, &[]))]).await.expect("record");
        matches!(recorded[..], [Recorded::Repeated { .. }])
    };
    assert!(!repeated("before", 110).await, "it was forgotten");
    assert!(repeated("before", 111).await);
    assert!(!repeated("after", 120).await);
    assert!(repeated("after", 121).await);
    trim(&*store, seconds(115)).await;
    assert!(repeated("after", 122).await, "a clock that is right again");
    assert!(!repeated("before", 123).await, "110 is before 115");
    assert_eq!(pending(&*store, A).await, places, "what is owed is kept in any case");
    kill(&*store, &[regular(A, places[0])]).await;
    let past = Timestamp::from_micros(i64::MIN);
    while store.trim(Keep { history: past, dead: past }).await.expect("trim") {}
    assert_eq!(backlog(&*store, A).await.dead, 1);
    assert!(repeated("after", 124).await);
}

/// Clocks step back. An event leaves when its own time has come, whatever came before and after it.
pub async fn trimming_takes_each_event_by_its_own_time(store: Arc<dyn Store>) {
    let at = [100, 50, 101, 7_000, 20, 7_001, 102, 200];
    let places = record(&*store, at.iter().map(|at| event(*at, &[A])).collect()).await;
    for place in &places {
        settle(&*store, A, *place, Verdict::Acked).await;
    }
    // The clock was ahead for long: thousands of events from a time that is still to come.
    for _ in 0..30 {
        record(&*store, (0..100).map(|_| event(8_000, &[])).collect()).await;
    }
    let behind = record(&*store, vec![event(60, &[B]), event(300, &[B]), event(301, &[])]).await;
    settle(&*store, B, behind[0], Verdict::Acked).await;
    settle(&*store, B, behind[1], Verdict::Acked).await;
    let left =
        async |stream| history(&*store, stream).await.iter().map(|past| past.accepted_at).collect::<Vec<_>>();
    trim(&*store, seconds(60)).await;
    assert_eq!(left(A).await, [100, 101, 7_000, 7_001, 102, 200].map(seconds));
    assert_eq!(left(B).await, [60, 300].map(seconds));
    trim(&*store, seconds(102)).await;
    assert_eq!(left(A).await, [7_000, 7_001, 102, 200].map(seconds));
    assert_eq!(left(B).await, [seconds(300)], "those from the future do not stand in the way");
    trim(&*store, seconds(9_000)).await;
    assert_eq!((left(A).await, left(B).await), (vec![], vec![]));
}

/// A place is not given twice, also when nothing is left that remembers it.
pub async fn sequences_go_on_after_everything_was_trimmed(store: Arc<dyn Store>) {
    let before = record(&*store, vec![event(1, &[A]), event(1, &[])]).await;
    settle(&*store, A, before[0], Verdict::Acked).await;
    trim(&*store, seconds(1_000)).await;
    let after = record(&*store, vec![event(1, &[A])]).await;
    assert!(after[0] > before[1], "{before:?} {after:?}");
}
