//! Events as they are kept, and how they are erased.

use super::*;
use crate::Traces;

async fn kept(store: &dyn Store, sequence: Sequence) -> Kept {
    store.event(sequence).await.expect("event").expect("it is kept")
}

/// An event is found by its place and in its turn, with all that is known of it.
pub async fn events_are_looked_at_one_by_one(store: Arc<dyn Store>) {
    let places = record(&*store, vec![named("key", 1, event(10, &[A, B])), event(20, &[])]).await;
    settle(&*store, A, places[0], Verdict::Acked).await;
    let first = kept(&*store, places[0]).await;
    assert_eq!((first.sequence, first.accepted_at), (places[0], seconds(10)));
    assert_eq!((&first.body, &first.lanes[..]), (&event(10, &[]).body, &[1, 2][..]));
    assert_eq!(first.owed, [(A, Rendering(0)), (B, Rendering(0))], "settled or not");
    assert_eq!(first.name.as_deref(), Some("key"));
    let second = kept(&*store, places[1]).await;
    assert_eq!((second.name.as_deref(), second.owed.len()), (None, 0));
    assert_eq!(store.event(Sequence(u64::MAX)).await, Ok(None));
    let (mut after, mut found) = (START, Vec::new());
    loop {
        let page = store.events(after, 1).await.expect("events");
        let Some(last) = page.last() else { break };
        after = last.sequence;
        found.extend(page);
    }
    assert_eq!(found, [first, second]);
}

/// Whatever it was, pending, dead or history: nobody reads it any more, and what was owed is counted as dropped.
pub async fn an_erased_event_is_nowhere(store: Arc<dyn Store>) {
    let places = record(&*store, (0..4).map(|_| event(10, &[A, B])).collect()).await;
    let [settled, pending_one, dead, other] = places[..] else { unreachable!("there are four") };
    for stream in [A, B] {
        settle(&*store, stream, settled, Verdict::Acked).await;
    }
    kill(&*store, &[regular(A, dead)]).await;
    assert_eq!(store.replay(B, vec![settled], 1).await, Ok(1));
    let streams = vec![A, B];
    let erase: Vec<Erase> = [settled, pending_one, dead, Sequence(u64::MAX)]
        .map(|sequence| Erase::Event { sequence, streams: streams.clone(), at: seconds(700) })
        .into();
    let erased = store.erase(erase.clone()).await.expect("erase");
    let expected = Erased { events: 3, dropped: 4, dead: 1, ..Erased::default() };
    assert_eq!(erased, expected);
    assert_eq!(store.erase(erase).await, Ok(Erased::default()), "there is nothing left");
    for stream in [A, B] {
        assert_eq!(pending(&*store, stream).await, [other]);
        assert_eq!(
            history(&*store, stream).await.iter().map(|past| past.sequence).collect::<Vec<_>>(),
            [other]
        );
        let again = store.page(stream, Queue::Again, START, 9).await.expect("page");
        assert_eq!(again.deliveries, []);
    }
    assert_eq!(store.dead_at(regular(A, dead)).await, Ok(None));
    let counts = backlog(&*store, A).await;
    assert_eq!((counts.pending, counts.dropped, counts.rejected, counts.dead), (1, 1, 1, 0));
    assert_eq!(backlog(&*store, B).await.dropped, 3);
    for place in [settled, pending_one, dead] {
        let gone = store.event(place).await.expect("event");
        assert!(
            gone.is_none_or(|gone| gone.body.is_empty() && gone.lanes.is_empty() && gone.owed.is_empty())
        );
    }
    assert_eq!(kept(&*store, other).await.body, event(10, &[]).body);
    assert_eq!(store.clear_traces(Texts::new(["nobody"]), false).await, Ok(Traces::default()));
    trim(&*store, seconds(1_000)).await;
    assert_eq!(pending(&*store, A).await, [other], "tidying takes nothing else");
    assert!(record(&*store, vec![event(20, &[A])]).await[0] > other);
}

/// With the event goes what its producer called it; the name alone may go too.
pub async fn an_erased_name_may_be_given_again(store: Arc<dyn Store>) {
    let both = vec![named("one", 1, event(10, &[A])), named("two", 1, event(10, &[A]))];
    let places = record(&*store, both.clone()).await;
    let whole = Erase::Event { sequence: places[0], streams: vec![A], at: seconds(700) };
    let erased = store.erase(vec![whole, Erase::Name(places[1])]).await.expect("erase");
    assert_eq!((erased.events, erased.dropped, erased.names), (1, 1, 1));
    assert_eq!(kept(&*store, places[1]).await.name, None);
    assert_eq!(pending(&*store, A).await, [places[1]]);
    record(&*store, both).await;
}

/// What receivers said, and what a change was about.
pub async fn what_was_said_is_erased(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(10, &[A])]).await;
    let place = regular(A, places[0]);
    kill(&*store, &[place]).await;
    let change = Change { action: "x".to_owned(), before: Some("a".to_owned()), ..Change::default() };
    store.enter(vec![change]).await.expect("enter");
    let entered = store.changes(ChangeFilter::default(), None, 1).await.expect("changes")[0].place;
    let erase = vec![
        Erase::Reason { place, becomes: "(erased)".to_owned() },
        Erase::Change { place: entered, object: "o".to_owned(), before: None, after: Some("b".to_owned()) },
    ];
    let erased = store.erase(erase).await.expect("erase");
    assert_eq!((erased.reasons, erased.changes, erased.events), (1, 1, 0));
    assert_eq!(store.dead_at(place).await.expect("dead").expect("it is there").reason, "(erased)");
    let change = &store.changes(ChangeFilter::default(), None, 1).await.expect("changes")[0].change;
    assert_eq!((change.object.as_str(), &change.before, change.after.as_deref()), ("o", &None, Some("b")));
}
