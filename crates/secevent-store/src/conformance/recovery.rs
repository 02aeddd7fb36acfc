//! What is dead, what is past, and what is owed again.

use super::*;

/// Somebody looks at the dead to find out what is wrong: everything is as it was.
pub async fn the_dead_are_kept_as_they_were(store: Arc<dyn Store>) {
    let large = NewEvent { body: vec![b'x'; 9_000].into(), lanes: [9, u64::MAX].into(), ..event(7, &[A, B]) };
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 6)], ..event(8, &[]) };
    let places = record(&*store, vec![large, control, event(9, &[A])]).await;
    let retry = Verdict::Retry { at: seconds(60), attempts: 3, signed: Some(signed("h..s")) };
    settle(&*store, A, places[0], retry).await;
    let large = only(store.deliveries(A, places[0]).await);
    let control = only(store.deliveries(A, places[1]).await);
    let ends = [
        (large.clone(), Cause::Rejected, "invalid_audience: \u{e9}\"\0 is not us", seconds(70)),
        (control.clone(), Cause::Abandoned, "", seconds(-80)),
    ];
    for (delivery, cause, reason, at) in ends {
        let verdict = match cause {
            Cause::Rejected => Verdict::Rejected(reason.to_owned()),
            Cause::Abandoned => Verdict::Abandoned(reason.to_owned()),
        };
        assert_eq!(store.dead_at(delivery.place()).await, Ok(None), "it is not dead yet");
        let settlement = settlement_at(delivery.place(), verdict);
        store.settle(vec![Settlement { at, ..settlement }]).await.expect("settle");
        let expected = Dead { delivery, cause, reason: reason.to_owned(), at };
        assert_eq!(store.dead_at(expected.delivery.place()).await, Ok(Some(expected)));
    }
    let found = store.dead(None, None, 10).await.expect("dead");
    let found: Vec<Delivery> = found.into_iter().map(|dead| dead.delivery).collect();
    assert_eq!(found, [control, large]);
    for nothing in
        [regular(A, places[2]), regular(B, places[0]), regular(A, places[1]), regular(C, places[0])]
    {
        assert_eq!(store.dead_at(nothing).await, Ok(None), "{nothing:?}");
    }
    assert_eq!(store.deliveries(A, places[0]).await, Ok(Vec::new()), "nobody is owed the dead");
}

/// By stream, queue and sequence, each once, from any place on.
pub async fn the_dead_are_listed_in_pages(store: Arc<dyn Store>) {
    let both_queues = |stream| NewEvent {
        owed: vec![owed(stream, Queue::Control, 0), owed(stream, Queue::Regular, 0)],
        ..event(1, &[])
    };
    let places = record(&*store, vec![both_queues(B), both_queues(A), both_queues(C), both_queues(A)]).await;
    let place = |stream, queue, sequence: usize| Place { stream, queue, sequence: places[sequence] };
    let (control, regular) = (Queue::Control, Queue::Regular);
    let mut dead = vec![
        place(C, regular, 2),
        place(A, regular, 1),
        place(B, control, 0),
        place(A, control, 3),
        place(A, regular, 3),
        place(B, regular, 0),
        place(A, control, 1),
    ];
    kill(&*store, &dead).await;
    dead.sort();
    let listed = async |stream, after, limit| {
        let found = store.dead(stream, after, limit).await.expect("dead");
        found.iter().map(|dead| dead.delivery.place()).collect::<Vec<_>>()
    };
    for stream in [None, Some(A), Some(B), Some(C), Some(StreamNumber(0)), Some(StreamNumber(u32::MAX))] {
        let wanted: Vec<Place> =
            dead.iter().copied().filter(|place| stream.is_none_or(|stream| stream == place.stream)).collect();
        assert_eq!(listed(stream, None, 100).await, wanted, "{stream:?}");
        for limit in 0..4 {
            assert_eq!(listed(stream, None, limit).await, wanted[..limit.min(wanted.len())], "{stream:?}");
        }
        // From each of the dead on, and from places where there is none.
        let nowhere =
            [place(A, Queue::Again, 3), place(B, regular, 3), place(StreamNumber(u32::MAX), regular, 0)];
        for after in dead.iter().copied().chain(nowhere) {
            let behind: Vec<Place> = wanted.iter().copied().filter(|place| *place > after).collect();
            assert_eq!(listed(stream, Some(after), 100).await, behind, "{stream:?} behind {after:?}");
            assert_eq!(listed(stream, Some(after), 1).await, behind[..behind.len().min(1)]);
        }
    }
    settle_at(&*store, place(C, control, 2), Verdict::Acked).await;
    assert_eq!(listed(Some(C), None, 100).await, [place(C, regular, 2)], "acknowledged is not dead");
}

/// The same SET again, as if it had never been sent; beside the order, and counted as dead no more.
pub async fn a_redriven_delivery_is_owed_again(store: Arc<dyn Store>) {
    let retry = Verdict::Retry { at: seconds(60), attempts: 3, signed: Some(signed("h..s")) };
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 4)], ..event(6, &[]) };
    let places = record(&*store, vec![event(5, &[A, B]), control, event(7, &[A])]).await;
    settle(&*store, A, places[0], retry.clone()).await;
    let control = Place { stream: A, queue: Queue::Control, sequence: places[1] };
    settle_at(&*store, control, retry).await;
    let before = [only(store.deliveries(A, places[0]).await), only(store.deliveries(A, places[1]).await)];
    kill(&*store, &[regular(A, places[0]), control]).await;
    settle(&*store, A, places[2], Verdict::Abandoned("old".to_owned())).await;
    let dead = backlog(&*store, A).await;
    assert_eq!((dead.pending, dead.rejected, dead.abandoned, dead.dead), (0, 2, 1, 3));

    assert_eq!(store.redrive(vec![control, regular(A, places[0])]).await, Ok(2));
    let again = |delivery: &Delivery| Delivery {
        queue: Queue::Again,
        attempts: 0,
        due_at: delivery.accepted_at,
        signed: None,
        ..delivery.clone()
    };
    let expected: Vec<Delivery> = before.iter().map(again).collect();
    let page = store.page(A, Queue::Again, START, 10).await;
    assert_eq!(page, Ok(Page { deliveries: expected.clone(), more: false }));
    assert_eq!(store.deliveries(A, places[0]).await, Ok(expected[..1].to_vec()));
    assert_eq!(pending(&*store, A).await, [], "it does not go back into the order");
    assert_eq!(store.page(A, Queue::Control, START, 10).await, Ok(Page::default()));
    let redriven = backlog(&*store, A).await;
    assert_eq!((redriven.pending, redriven.dead), (2, 1));
    assert_eq!((redriven.rejected, redriven.abandoned, redriven.dropped), (2, 1, 0), "ever is ever");
    assert_eq!(redriven.oldest, Some(seconds(5)));
    let left = store.dead(None, None, 10).await.expect("dead");
    assert_eq!(left.iter().map(|dead| dead.delivery.place()).collect::<Vec<_>>(), [regular(A, places[2])]);

    settle_at(&*store, again_of(A, places[0]), Verdict::Retry { at: seconds(99), attempts: 1, signed: None })
        .await;
    let retried = only(store.deliveries(A, places[0]).await);
    assert_eq!((retried.attempts, retried.due_at, retried.queue), (1, seconds(99), Queue::Again));
    settle_at(&*store, again_of(A, places[0]), Verdict::Acked).await;
    settle_at(&*store, again_of(A, places[1]), Verdict::Acked).await;
    assert_eq!(store.page(A, Queue::Again, START, 10).await, Ok(Page::default()));
    assert_eq!(pending(&*store, B).await, [places[0]], "the other stream is as it was");
}

/// What the operator's list said may be out of date. Nothing is owed twice for it.
pub async fn what_is_not_dead_is_not_redriven(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(1, &[A])]).await;
    kill(&*store, &[regular(A, places[0])]).await;
    settle(&*store, A, places[1], Verdict::Acked).await;
    let unknown = [
        regular(A, places[1]),
        regular(A, places[2]),
        regular(B, places[0]),
        again_of(A, places[0]),
        regular(A, Sequence(4_711)),
        regular(A, Sequence(u64::MAX)),
    ];
    let before = backlog(&*store, A).await;
    assert_eq!(store.redrive(unknown.to_vec()).await, Ok(0));
    assert_eq!(store.discard(unknown.to_vec()).await, Ok(0));
    assert_eq!(store.redrive(Vec::new()).await, Ok(0));
    assert_eq!(backlog(&*store, A).await, before);
    assert_eq!(backlog(&*store, B).await, Backlog::default());
    let twice = vec![regular(A, places[0]), unknown[0], regular(A, places[0])];
    assert_eq!(store.redrive(twice.clone()).await, Ok(1), "once, though it was named twice");
    assert_eq!(store.redrive(twice).await, Ok(0), "and once more");
    assert_eq!(backlog(&*store, A).await.pending, 2);
}

/// Then it is found as what it is by now, and may be redriven for another time.
pub async fn a_redriven_delivery_may_die_again(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A])]).await;
    kill(&*store, &[regular(A, places[0])]).await;
    for round in 1..=3 {
        let dead = if round == 1 { regular(A, places[0]) } else { again_of(A, places[0]) };
        assert_eq!(store.redrive(vec![dead]).await, Ok(1), "round {round}");
        kill(&*store, &[again_of(A, places[0])]).await;
        let backlog = backlog(&*store, A).await;
        assert_eq!((backlog.pending, backlog.dead, backlog.rejected), (0, 1, round + 1));
        let found = store.dead(Some(A), None, 9).await.expect("dead");
        assert_eq!(found[0].delivery.place(), again_of(A, places[0]));
    }

    // An event may be dead twice, as first delivered and as delivered again. One of them is delivered at a time.
    let places = record(&*store, vec![event(2, &[B])]).await;
    kill(&*store, &[regular(B, places[0])]).await;
    assert_eq!(store.replay(B, places.clone(), 7).await, Ok(1));
    kill(&*store, &[again_of(B, places[0])]).await;
    let both = vec![regular(B, places[0]), again_of(B, places[0])];
    assert_eq!(backlog(&*store, B).await.dead, 2);
    assert_eq!(store.redrive(both.clone()).await, Ok(1), "the first of them");
    assert_eq!(only(store.deliveries(B, places[0]).await).generation, 0);
    assert_eq!(store.redrive(both.clone()).await, Ok(0), "the other has to wait");
    assert_eq!(backlog(&*store, B).await.dead, 1);
    settle_at(&*store, both[1], Verdict::Abandoned("old".to_owned())).await;
    assert_eq!(backlog(&*store, B).await.dead, 1, "it takes the place of the other");
    assert_eq!(store.redrive(both.clone()).await, Ok(1));
    settle_at(&*store, both[1], Verdict::Acked).await;
    record(&*store, vec![event(900, &[])]).await;
    trim(&*store, seconds(800)).await;
    assert_eq!(history(&*store, B).await, [], "nothing needs the event any more");
}

/// It leaves at once, its body in time, and what was counted stays counted.
pub async fn a_discarded_delivery_is_forgotten_and_counted(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(900, &[])]).await;
    kill(&*store, &[regular(A, places[0]), regular(A, places[1])]).await;
    trim(&*store, seconds(800)).await;
    assert_eq!(history(&*store, A).await.len(), 2, "the dead keep their events");
    assert_eq!(store.discard(vec![regular(A, places[0]), regular(A, places[0])]).await, Ok(1));
    assert_eq!(store.discard(vec![regular(A, places[0])]).await, Ok(0));
    assert_eq!(store.dead_at(regular(A, places[0])).await, Ok(None));
    let backlog = backlog(&*store, A).await;
    assert_eq!((backlog.pending, backlog.dead, backlog.rejected), (0, 1, 2));
    assert_eq!(store.redrive(vec![regular(A, places[0])]).await, Ok(0));
    trim(&*store, seconds(800)).await;
    let left: Vec<_> = history(&*store, A).await.iter().map(|past| past.sequence).collect();
    assert_eq!(left, [places[1]]);
}

/// What was replayed twice and refused twice is one dead delivery, and needs its event once.
pub async fn a_delivery_that_dies_twice_is_dead_once(store: Arc<dyn Store>) {
    let place = record(&*store, vec![event(1, &[A]), event(9_999, &[])]).await[0];
    settle(&*store, A, place, Verdict::Acked).await;
    for generation in [1, 2] {
        assert_eq!(store.replay(A, vec![place], generation).await, Ok(1));
        let refused = settlement(A, place, Verdict::Rejected("no".to_owned()));
        store.settle(vec![Settlement { queue: Queue::Again, ..refused }]).await.expect("settle");
    }
    let dead = store.dead(Some(A), None, 10).await.expect("dead");
    assert_eq!(dead.iter().map(|dead| dead.delivery.generation).collect::<Vec<_>>(), [2], "the last one");
    assert_eq!(store.discard(vec![dead[0].delivery.place()]).await, Ok(1));
    while store.trim(keep(seconds(5_000))).await.expect("trim") {}
    assert_eq!(store.history(A, START, 10).await.expect("history").events, [], "nothing needs the event");
}

/// What a stream did not take is looked at after its end too. It leaves by its age.
pub async fn a_dropped_stream_keeps_its_dead(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(1, &[A])]).await;
    kill(&*store, &[regular(A, places[0]), regular(A, places[1])]).await;
    store.redrive(vec![regular(A, places[1])]).await.expect("redrive");
    assert_eq!(drop_stream(&*store, A).await, Ok(2), "what was to be delivered again included");
    assert_eq!(store.page(A, Queue::Again, START, 9).await, Ok(Page::default()));
    let backlog = backlog(&*store, A).await;
    assert_eq!((backlog.pending, backlog.dead, backlog.dropped, backlog.rejected), (0, 1, 2, 2));
    assert!(store.dead_at(regular(A, places[0])).await.expect("dead").is_some());
}

/// Settled or not, dead or not, as it was recorded; and nothing of other queues or streams.
pub async fn a_history_is_what_was_owed_regularly(store: Arc<dyn Store>) {
    assert_eq!(store.history(A, START, 10).await, Ok(History::default()));
    let of_a = NewEvent { owed: vec![owed(A, Queue::Regular, 3)], lanes: [9, 8].into(), ..event(1, &[]) };
    let of_both = NewEvent {
        owed: vec![owed(B, Queue::Regular, 4), owed(A, Queue::Regular, u32::MAX)],
        ..event(2, &[])
    };
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 5)], ..event(3, &[]) };
    let far = StreamNumber(u32::MAX);
    let recorded =
        store.record(vec![of_a, of_both, control, event(4, &[far]), event(5, &[A])]).await.expect("record");
    let [Recorded::New { epoch, .. }, ..] = recorded[..] else { unreachable!("{recorded:?}") };
    let places: Vec<Sequence> = recorded
        .iter()
        .map(|recorded| match recorded {
            Recorded::New { sequence, .. } => *sequence,
            other => unreachable!("{other:?}"),
        })
        .collect();
    let past = |place: usize, rendering, at, lanes: &[u64]| Past {
        epoch,
        sequence: places[place],
        rendering: Rendering(rendering),
        accepted_at: seconds(at),
        lanes: lanes.into(),
    };
    let expected = [past(0, 3, 1, &[9, 8]), past(1, u32::MAX, 2, &[1, 2]), past(4, 0, 5, &[1, 2])];
    assert_eq!(history(&*store, A).await, expected);
    settle(&*store, A, places[0], Verdict::Acked).await;
    kill(&*store, &[regular(A, places[1])]).await;
    assert_eq!(drop_stream(&*store, A).await, Ok(2));
    assert_eq!(history(&*store, A).await, expected, "whatever became of them");
    assert_eq!(history(&*store, B).await, [past(1, 4, 2, &[1, 2])]);
    assert_eq!(history(&*store, far).await, [past(3, 0, 4, &[1, 2])]);
    assert_eq!(history(&*store, StreamNumber(9)).await, []);
}

/// Part by part, each event once, from any place on.
pub async fn a_history_comes_in_parts(store: Arc<dyn Store>) {
    let places =
        record(&*store, vec![event(1, &[A]), event(1, &[B]), event(1, &[A]), event(1, &[A, B])]).await;
    let of_a = [places[0], places[2], places[3]];
    for limit in 1..=4 {
        let (mut after, mut found, mut parts) = (START, Vec::new(), 0);
        loop {
            let part = store.history(A, after, limit).await.expect("history");
            assert!(part.events.len() <= limit, "{limit}");
            found.extend(part.events.iter().map(|past| past.sequence));
            parts += 1;
            let Some(next) = part.next else { break };
            assert!(next > after && parts < 10, "it goes on from {after:?} to {next:?}");
            after = next;
        }
        assert_eq!(found, of_a, "{limit} at a time");
    }
    let behind = store.history(A, places[0], 9).await.expect("history");
    assert_eq!(behind.events.iter().map(|past| past.sequence).collect::<Vec<_>>(), of_a[1..]);
    for (after, limit) in [(places[3], 9), (Sequence(u64::MAX), 9), (START, 0)] {
        assert_eq!(store.history(A, after, limit).await.expect("history").events, []);
    }
    assert_ne!(store.history(A, START, 0).await.expect("history").next, None, "there is something");
}

/// Looking for the few events of a quiet stream among many does not take a reader for long: a call may find nothing,
/// and says where to go on.
pub async fn a_long_history_comes_in_bounded_steps(store: Arc<dyn Store>) {
    let first = record(&*store, vec![event(1, &[A])]).await;
    for _ in 0..40 {
        record(&*store, (0..250).map(|_| event(2, &[B])).collect()).await;
    }
    let last = record(&*store, vec![event(3, &[A])]).await;
    let found: Vec<_> = history(&*store, A).await.iter().map(|past| past.sequence).collect();
    assert_eq!(found, [first[0], last[0]]);
    assert_eq!(history(&*store, B).await.len(), 10_000);
    assert_eq!(history(&*store, C).await, []);
}

/// A history is as long as events are kept.
pub async fn a_history_ends_where_it_was_trimmed(store: Arc<dyn Store>) {
    let places =
        record(&*store, vec![event(10, &[A]), event(20, &[A]), event(30, &[A]), event(40, &[A])]).await;
    for place in &places[..3] {
        settle(&*store, A, *place, Verdict::Acked).await;
    }
    for (before, left) in [(10, 0), (11, 1), (30, 2), (31, 3), (1_000, 3)] {
        trim(&*store, seconds(before)).await;
        let found: Vec<_> = history(&*store, A).await.iter().map(|past| past.sequence).collect();
        assert_eq!(found, places[left..], "what was accepted before {before} and is settled is gone");
    }
    assert_eq!(store.replay(A, places.clone(), 1).await, Ok(0), "what is not kept, and what is owed");
    assert_eq!(pending(&*store, A).await, places[3..]);
}

/// Replay: what was settled comes again, as it was rendered then, under the generation that it is asked for in.
pub async fn a_replayed_event_is_owed_again(store: Arc<dyn Store>) {
    let first =
        NewEvent { owed: vec![owed(A, Queue::Regular, 3), owed(B, Queue::Regular, 4)], ..event(1, &[]) };
    let places = record(&*store, vec![first, event(2, &[A, B]), event(3, &[A])]).await;
    let before = only(store.deliveries(A, places[0]).await);
    settle(&*store, A, places[0], Verdict::Acked).await;
    settle(&*store, A, places[1], Verdict::Abandoned("old".to_owned())).await;
    let dead = backlog(&*store, A).await;

    assert_eq!(store.replay(A, vec![places[1], places[0]], 5).await, Ok(2));
    let page = store.page(A, Queue::Again, START, 10).await.expect("page");
    let [first, second] = &page.deliveries[..] else { unreachable!("{page:?}") };
    assert_eq!(*first, Delivery { queue: Queue::Again, generation: 5, ..before });
    assert_eq!((second.sequence, second.generation, second.due_at), (places[1], 5, seconds(2)));
    assert_eq!(store.deliveries(A, places[0]).await, Ok(vec![first.clone()]));
    let replayed = backlog(&*store, A).await;
    assert_eq!(replayed.pending, dead.pending + 2);
    assert_eq!((replayed.dead, replayed.abandoned), (1, 1), "the dead one is still that");
    assert_eq!(pending(&*store, A).await, [places[2]], "the order is as it was");
    assert_eq!(pending(&*store, B).await, places[..2], "and so is the other stream");
    assert_eq!(store.page(B, Queue::Again, START, 10).await, Ok(Page::default()));

    settle_at(&*store, again_of(A, places[0]), Verdict::Acked).await;
    for generation in [0, u16::MAX] {
        assert_eq!(store.replay(A, vec![places[0]], generation).await, Ok(1));
        assert_eq!(only(store.deliveries(A, places[0]).await).generation, generation);
        settle_at(&*store, again_of(A, places[0]), Verdict::Acked).await;
    }
}

/// A replay does not make two of what is under way, nor invents anything.
pub async fn what_is_owed_or_never_was_is_not_replayed(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places =
        record(&*store, vec![event(1, &[A]), event(1, &[B]), control, event(1, &[]), event(1, &[A])]).await;
    for place in &places {
        settle(&*store, B, *place, Verdict::Acked).await;
        settle_at(&*store, Place { stream: A, queue: Queue::Control, sequence: *place }, Verdict::Acked)
            .await;
    }
    settle(&*store, A, places[4], Verdict::Retry { at: seconds(9), attempts: 1, signed: None }).await;
    let before = backlog(&*store, A).await;
    let mut asked_for = places.clone();
    asked_for.extend([Sequence(0), Sequence(4_711), Sequence(u64::MAX)]);
    assert_eq!(store.replay(A, asked_for, 1).await, Ok(0));
    assert_eq!(backlog(&*store, A).await, before);
    assert_eq!(store.replay(A, Vec::new(), 1).await, Ok(0));

    settle(&*store, A, places[0], Verdict::Acked).await;
    assert_eq!(
        store.replay(A, vec![places[0], places[0]], 1).await,
        Ok(1),
        "once, though it was named twice"
    );
    assert_eq!(store.replay(A, vec![places[0]], 2).await, Ok(0), "it is owed again already");
    assert_eq!(only(store.deliveries(A, places[0]).await).generation, 1);
    settle(&*store, A, places[4], Verdict::Rejected("no".to_owned())).await;
    store.redrive(vec![regular(A, places[4])]).await.expect("redrive");
    assert_eq!(store.replay(A, vec![places[4]], 2).await, Ok(0), "it is being redriven");
}

/// An event that is owed again is as safe from trimming as a new one.
pub async fn a_replayed_event_is_kept_until_it_is_settled(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A, B]), event(900, &[])]).await;
    for place in &places[..2] {
        settle(&*store, A, *place, Verdict::Acked).await;
        settle(&*store, B, *place, Verdict::Acked).await;
    }
    assert_eq!(store.replay(A, places[1..2].to_vec(), 1).await, Ok(1));
    trim(&*store, seconds(800)).await;
    let page = store.page(A, Queue::Again, START, 10).await.expect("page");
    assert_eq!(page.deliveries.iter().map(|delivery| delivery.sequence).collect::<Vec<_>>(), places[1..2]);
    assert_eq!(page.deliveries[0].body, event(1, &[]).body);
    kill(&*store, &[again_of(A, places[1])]).await;
    trim(&*store, seconds(800)).await;
    assert!(
        store.dead_at(again_of(A, places[1])).await.expect("dead").is_some(),
        "dead it needs its body too"
    );
    assert_eq!(store.redrive(vec![again_of(A, places[1])]).await, Ok(1));
    settle_at(&*store, again_of(A, places[1]), Verdict::Acked).await;
    trim(&*store, seconds(800)).await;
    assert_eq!(history(&*store, A).await, [], "now it is gone");
}

/// Two deliveries of one event: an outcome is told of one of them.
pub async fn a_delivery_and_its_repetition_are_settled_apart(store: Arc<dyn Store>) {
    let both_queues =
        NewEvent { owed: vec![owed(A, Queue::Regular, 0), owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![both_queues.clone(), both_queues]).await;
    let control = |place| Place { stream: A, queue: Queue::Control, sequence: places[place] };
    kill(&*store, &[control(0), regular(A, places[1])]).await;
    assert_eq!(store.redrive(vec![control(0), regular(A, places[1])]).await, Ok(2));
    let queues = async |place: usize| {
        let found = store.deliveries(A, places[place]).await.expect("deliveries");
        found.iter().map(|delivery| delivery.queue).collect::<Vec<_>>()
    };
    assert_eq!(queues(0).await, [Queue::Regular, Queue::Again]);
    assert_eq!(queues(1).await, [Queue::Control, Queue::Again]);
    settle(&*store, A, places[0], Verdict::Acked).await;
    settle_at(&*store, again_of(A, places[1]), Verdict::Acked).await;
    assert_eq!(queues(0).await, [Queue::Again]);
    assert_eq!(queues(1).await, [Queue::Control]);
    settle(&*store, A, places[1], Verdict::Acked).await;
    assert_eq!(queues(1).await, [Queue::Control], "nothing was owed there any more");
    assert_eq!(backlog(&*store, A).await.pending, 2);
}

/// An observer is told of commits of events. Who asks for a repetition reads the queue.
pub async fn what_is_delivered_again_is_not_announced(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A]), event(1, &[A])]).await;
    kill(&*store, &[regular(A, places[0])]).await;
    settle(&*store, A, places[1], Verdict::Acked).await;
    let observer = Seen::watching(&*store);
    assert_eq!(store.redrive(vec![regular(A, places[0])]).await, Ok(1));
    assert_eq!(store.replay(A, vec![places[1]], 1).await, Ok(1));
    assert_eq!(observer.take(), []);
    let next = record(&*store, vec![event(1, &[A])]).await;
    let seen: Vec<_> = observer.take().into_iter().map(|(delivery, _)| delivery.sequence).collect();
    assert_eq!(seen, next);
}

/// Those of control events lie together, however often they were delivered again, and whatever else is dead.
pub async fn dead_control_events_are_found_together(store: Arc<dyn Store>) {
    let control = |stream| NewEvent { owed: vec![owed(stream, Queue::Control, 3)], ..event(1, &[]) };
    let events = vec![event(1, &[A]), control(A), control(B), control(A), event(1, &[A]), control(A)];
    let places = record(&*store, events).await;
    let at = |stream, event: usize| Place { stream, queue: Queue::Control, sequence: places[event] };
    let found = async |stream, limit| {
        let found = store.dead_control(stream, limit).await.expect("dead");
        for dead in &found {
            assert_eq!(store.dead_at(dead.delivery.place()).await, Ok(Some(dead.clone())));
        }
        found.iter().map(|dead| dead.delivery.place()).collect::<Vec<_>>()
    };
    assert_eq!(found(A, 10).await, [], "nothing is dead");
    let all = [regular(A, places[0]), at(A, 1), at(B, 2), at(A, 3), regular(A, places[4])];
    kill(&*store, &all).await;
    assert_eq!(found(A, 10).await, [at(A, 1), at(A, 3)], "oldest first");
    assert_eq!(found(A, 1).await, [at(A, 1)]);
    assert_eq!(found(A, 0).await, []);
    assert_eq!(found(B, 10).await, [at(B, 2)]);
    assert_eq!(found(C, 10).await, []);

    let again = [regular(A, places[0]), at(A, 3)];
    assert_eq!(store.redrive(again.to_vec()).await, Ok(2));
    assert_eq!(found(A, 10).await, [at(A, 1)], "it is owed again");
    let before = only(store.deliveries(A, places[3]).await);
    kill(&*store, &[again_of(A, places[0])]).await;
    settle_at(&*store, again_of(A, places[3]), Verdict::Rejected("no".to_owned())).await;
    assert_eq!(found(A, 10).await, [at(A, 1), at(A, 3)], "it died again");
    let dead = store.dead_at(at(A, 3)).await.expect("dead").expect("it is there");
    assert_eq!(dead.delivery, Delivery { queue: Queue::Control, ..before });
    assert!(
        store.dead_at(again_of(A, places[0])).await.expect("dead").is_some(),
        "others stay where they died"
    );
    assert_eq!(backlog(&*store, A).await.dead, 4);

    settle_at(&*store, at(A, 1), Verdict::Dropped(DropReason::Superseded)).await;
    settle_at(&*store, at(A, 3), Verdict::Dropped(DropReason::Superseded)).await;
    assert_eq!(found(A, 10).await, []);
    assert_eq!(backlog(&*store, A).await.dead, 2);
}
