//! Events and deliveries: recorded, paged, settled, dropped, counted.

use super::*;

/// The deliveries of an event carry all that was recorded of it; other streams get none.
pub async fn an_event_is_paged_to_each_stream_that_it_is_owed_to(store: Arc<dyn Store>) {
    let event =
        NewEvent { owed: vec![owed(A, Queue::Regular, 3), owed(B, Queue::Regular, 4)], ..event(10, &[]) };
    let recorded = store.record(vec![event.clone()]).await.expect("record");
    let [Recorded::New { epoch, sequence }] = recorded[..] else { unreachable!("{recorded:?}") };
    for (stream, rendering) in [(A, 3), (B, 4)] {
        let expected = Delivery {
            epoch,
            sequence,
            stream,
            queue: Queue::Regular,
            rendering: Rendering(rendering),
            accepted_at: event.accepted_at,
            body: event.body.clone(),
            lanes: event.lanes.clone(),
            generation: 0,
            attempts: 0,
            due_at: event.accepted_at,
            signed: None,
        };
        let page = Page { deliveries: vec![expected], more: false };
        assert_eq!(store.page(stream, Queue::Regular, START, 10).await, Ok(page));
    }
    assert_eq!(store.page(StreamNumber(3), Queue::Regular, START, 10).await, Ok(Page::default()));
}

/// An event that matches no stream is recorded like any other.
pub async fn an_event_that_nobody_is_owed_has_a_place(store: Arc<dyn Store>) {
    let first = record(&*store, vec![event(1, &[])]).await;
    let second = record(&*store, vec![event(1, &[A])]).await;
    assert!(first < second, "{first:?} {second:?}");
    assert_eq!(pending(&*store, A).await, second);
}

/// However often a queue is named for an event, one delivery is owed to it: as it was named first.
pub async fn a_queue_that_is_named_twice_is_owed_once(store: Arc<dyn Store>) {
    let twice = vec![owed(A, Queue::Regular, 3), owed(B, Queue::Regular, 0), owed(A, Queue::Regular, 4)];
    let name = |owed| named("k", 7, NewEvent { owed, ..event(1, &[]) });
    let places = record(&*store, vec![name(twice)]).await;
    assert_eq!(only(store.deliveries(A, places[0]).await).rendering, Rendering(3));
    assert_eq!(backlog(&*store, A).await.pending, 1);
    assert_eq!(history(&*store, A).await[0].rendering, Rendering(3));
    let again = store.record(vec![name(Vec::new())]).await.expect("record");
    assert!(matches!(again[..], [Recorded::Repeated { deliveries: 2, .. }]), "{again:?}");
    settle(&*store, A, places[0], Verdict::Acked).await;
    settle(&*store, B, places[0], Verdict::Acked).await;
    record(&*store, vec![event(100, &[])]).await;
    trim(&*store, seconds(50)).await;
    assert_eq!(history(&*store, A).await, [], "nothing needed it any more");
}

/// Places grow within a call and from call to call; the first is 1.
pub async fn sequences_are_given_in_order(store: Arc<dyn Store>) {
    let mut places = record(&*store, vec![event(1, &[A]), event(1, &[A]), event(1, &[])]).await;
    places.extend(record(&*store, vec![event(1, &[B])]).await);
    places.extend(record(&*store, vec![event(1, &[A])]).await);
    assert_eq!(places[0], Sequence(1));
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert_eq!(pending(&*store, A).await, [places[0], places[1], places[4]]);
    assert_eq!(store.record(Vec::new()).await, Ok(Vec::new()), "a call may be empty");
}

/// Pages follow each other without gap or double; due or not makes no difference.
pub async fn a_page_is_bounded_and_says_if_there_is_more(store: Arc<dyn Store>) {
    let places = record(&*store, (0..5).map(|_| event(1, &[A])).collect()).await;
    settle(&*store, A, places[1], Verdict::Retry { at: seconds(9_999), attempts: 1, signed: None }).await;
    for (after, limit, expected, more) in [
        (START, 2, &places[0..2], true),
        (places[1], 2, &places[2..4], true),
        (places[3], 2, &places[4..5], false),
        (places[4], 2, &places[5..5], false),
        (START, 5, &places[0..5], false),
        (START, 4, &places[0..4], true),
        (START, 0, &places[0..0], true),
        (Sequence(u64::MAX), 9, &places[0..0], false),
    ] {
        let page = store.page(A, Queue::Regular, after, limit).await.expect("page");
        let paged: Vec<_> = page.deliveries.iter().map(|delivery| delivery.sequence).collect();
        assert_eq!((paged.as_slice(), page.more), (expected, more), "after {after:?}, {limit}");
    }
}

/// A reader's memory is bounded, however large the bodies are (I6); and a page is never without anything.
pub async fn a_page_ends_before_it_is_too_large(store: Arc<dyn Store>) {
    let large = |part: usize| NewEvent { body: vec![b'x'; PAGE_BYTES_MAX / part].into(), ..event(1, &[A]) };
    let events = vec![large(4), large(4), large(3), large(3), large(1), large(1), event(1, &[A])];
    let mut places = Vec::new();
    for event in events {
        places.extend(record(&*store, vec![event]).await);
    }
    // The event that reaches the bound is the last.
    let mut after = START;
    for (expected, more) in [(0..4, true), (4..5, true), (5..6, true), (6..7, false)] {
        let page = store.page(A, Queue::Regular, after, 100).await.expect("page");
        let found: Vec<_> = page.deliveries.iter().map(|delivery| delivery.sequence).collect();
        assert_eq!((found.as_slice(), page.more), (&places[expected], more));
        after = found[found.len() - 1];
    }
}

/// Control deliveries neither show in the regular queue nor are settled there.
pub async fn the_two_queues_are_apart(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A]), control, event(1, &[A])]).await;
    assert_eq!(pending(&*store, A).await, [places[0], places[2]]);
    let page = store.page(A, Queue::Control, START, 10).await.expect("page");
    assert_eq!((page.deliveries[0].sequence, page.deliveries.len(), page.more), (places[1], 1, false));

    settle(&*store, A, places[1], Verdict::Acked).await;
    let page = store.page(A, Queue::Control, START, 10).await.expect("page");
    assert_eq!(page.deliveries.len(), 1, "it was settled in the other queue");
    assert_eq!(store.backlog(A).await.expect("backlog").pending, 3);
}

/// A place finds its delivery in either queue, and nothing for other streams or once it is settled.
pub async fn deliveries_are_found_by_their_place(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A]), control]).await;
    for (place, queue) in [(places[0], Queue::Regular), (places[1], Queue::Control)] {
        let found = only(store.deliveries(A, place).await);
        assert_eq!((found.sequence, found.queue, found.stream), (place, queue, A));
        assert_eq!(store.deliveries(B, place).await, Ok(Vec::new()));
    }
    settle(&*store, A, places[0], Verdict::Acked).await;
    assert_eq!(store.deliveries(A, places[0]).await, Ok(Vec::new()));
    assert_eq!(store.deliveries(A, Sequence(4_711)).await, Ok(Vec::new()));
}

/// One look-up finds what is not settled among thousands that are, in whatever queue.
pub async fn unsettled_deliveries_are_found_together(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A, B]), event(2, &[A]), control, event(3, &[B])]).await;
    settle(&*store, A, places[1], Verdict::Acked).await;
    let asked: Vec<Sequence> = places.iter().copied().chain((5_000..15_000).map(Sequence)).collect();
    let found = store.unsettled(A, asked.clone()).await.expect("unsettled");
    assert_eq!(found.len(), 2, "{found:?}");
    for (sequence, queue) in [(places[0], Queue::Regular), (places[2], Queue::Control)] {
        let place = Place { stream: A, queue, sequence };
        let found = found.iter().find(|found| found.place == place).expect("it is found");
        let delivery = only(store.deliveries(A, sequence).await);
        let expected = (delivery.epoch, delivery.generation, delivery.body.len());
        assert_eq!((found.epoch, found.generation, found.body_bytes), expected);
    }
    assert_eq!(store.unsettled(StreamNumber(3), asked).await, Ok(Vec::new()));
    assert_eq!(store.unsettled(A, Vec::new()).await, Ok(Vec::new()));
}

/// What a producer said is not touched, whatever it is.
pub async fn bodies_and_lanes_come_back_byte_for_byte(store: Arc<dyn Store>) {
    let bodies = [Bytes::new(), Bytes::from_static(&[0, 0xff, b'"', 0]), Bytes::from(vec![b'x'; 100_000])];
    let lanes: [&[u64]; 3] = [&[], &[0, u64::MAX, 1 << 63], &[7]];
    let times = [Timestamp::from_micros(-1), Timestamp::from_micros(1_615_305_159_123_456), seconds(0)];
    let events = bodies.iter().zip(lanes).zip(times).map(|((body, lanes), at)| NewEvent {
        accepted_at: at,
        body: body.clone(),
        lanes: lanes.into(),
        idempotency: None,
        owed: vec![owed(A, Queue::Regular, u32::MAX)],
        dropped: Vec::new(),
    });
    store.record(events.collect()).await.expect("record");
    let page = store.page(A, Queue::Regular, START, 10).await.expect("page");
    for (delivery, ((body, lanes), at)) in page.deliveries.iter().zip(bodies.iter().zip(lanes).zip(times)) {
        assert_eq!((&delivery.body, delivery.lanes.as_ref(), delivery.accepted_at), (body, lanes, at));
        assert_eq!(delivery.rendering, Rendering(u32::MAX));
    }
}

/// One stream's acknowledgement says nothing about another stream.
pub async fn a_settled_delivery_is_owed_no_more(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A, B]), event(2, &[A, B])]).await;
    settle(&*store, A, places[0], Verdict::Acked).await;
    assert_eq!(pending(&*store, A).await, [places[1]]);
    assert_eq!(pending(&*store, B).await, places);
    let backlog = store.backlog(A).await.expect("backlog");
    assert_eq!((backlog.pending, backlog.rejected, backlog.abandoned), (1, 0, 0), "acknowledged is not dead");
}

/// Outcomes may be told twice, and late: after a crash, or after the stream was dropped.
pub async fn settling_twice_or_the_unknown_changes_nothing(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(1, &[A, B]), event(1, &[A])]).await;
    settle(&*store, A, places[0], Verdict::Rejected("no".to_owned())).await;
    let before = store.backlog(A).await;
    for verdict in [
        Verdict::Rejected("no".to_owned()),
        Verdict::Abandoned("old".to_owned()),
        Verdict::Acked,
        Verdict::Retry { at: seconds(1), attempts: 7, signed: None },
    ] {
        settle(&*store, A, places[0], verdict.clone()).await;
        settle(&*store, A, Sequence(4_711), verdict.clone()).await;
        settle(&*store, StreamNumber(9), places[1], verdict).await;
    }
    assert_eq!(store.backlog(A).await, before);
    assert_eq!(pending(&*store, A).await, [places[1]]);
    assert_eq!(pending(&*store, B).await, [places[0]], "the other stream still has the whole event");
    assert_eq!(store.backlog(StreamNumber(9)).await, Ok(Backlog::default()));

    let twice = settlement(A, places[1], Verdict::Abandoned("old".to_owned()));
    store.settle(vec![twice.clone(), twice]).await.expect("settle");
    assert_eq!(store.backlog(A).await.expect("backlog").abandoned, 1, "twice in one call");
}

/// A delivery that is to be tried again stays where it is in the order.
pub async fn a_retry_keeps_its_attempts_and_its_time(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(5, &[A, B]), event(5, &[A])]).await;
    settle(&*store, A, places[0], Verdict::Retry { at: seconds(60), attempts: 1, signed: None }).await;
    settle(&*store, A, places[0], Verdict::Retry { at: seconds(90), attempts: 2, signed: None }).await;
    let page = store.page(A, Queue::Regular, START, 10).await.expect("page");
    let seen: Vec<_> = page.deliveries.iter().map(|d| (d.sequence, d.attempts, d.due_at)).collect();
    assert_eq!(seen, [(places[0], 2, seconds(90)), (places[1], 0, seconds(5))]);
    let other = only(store.deliveries(B, places[0]).await);
    assert_eq!((other.attempts, other.due_at), (0, seconds(5)), "attempts are one stream's own");
}

/// A delivery that was sent is sent again with the same bytes, from whichever process (SEM-4).
pub async fn a_retry_keeps_the_signature_that_was_sent(store: Arc<dyn Store>) {
    let places = record(&*store, vec![event(5, &[A, B]), event(5, &[A])]).await;
    let retry = |attempts, signed| Verdict::Retry { at: seconds(60), attempts, signed };
    for (given, expected) in [
        (None, None),
        (Some(signed("h..one")), Some(signed("h..one"))),
        (None, Some(signed("h..one"))),
        (Some(signed("h..two")), Some(signed("h..two"))),
        (Some(signed("")), Some(signed(""))),
        (None, Some(signed(""))),
    ] {
        settle(&*store, A, places[0], retry(2, given.clone())).await;
        let found = only(store.deliveries(A, places[0]).await);
        assert_eq!((found.signed, found.attempts), (expected.clone(), 2), "after {given:?}");
        let page = store.page(A, Queue::Regular, START, 10).await.expect("page");
        let paged: Vec<_> = page.deliveries.into_iter().map(|delivery| delivery.signed).collect();
        assert_eq!(paged, [expected, None], "and no other's");
    }
    assert_eq!(only(store.deliveries(B, places[0]).await).signed, None);
}

/// Each delivery ends as acked, rejected, abandoned or dropped, and each is counted (I3).
pub async fn refused_and_given_up_deliveries_are_counted(store: Arc<dyn Store>) {
    let places = record(&*store, (0..4).map(|_| event(1, &[A, B])).collect()).await;
    let settlements = vec![
        settlement(A, places[0], Verdict::Rejected("invalid_audience".to_owned())),
        settlement(A, places[1], Verdict::Abandoned("too old".to_owned())),
        settlement(A, places[2], Verdict::Rejected(String::new())),
        settlement(B, places[0], Verdict::Abandoned("too old".to_owned())),
    ];
    store.settle(settlements).await.expect("settle");
    let a = store.backlog(A).await.expect("backlog");
    assert_eq!((a.pending, a.rejected, a.abandoned), (1, 2, 1));
    let b = store.backlog(B).await.expect("backlog");
    assert_eq!((b.pending, b.rejected, b.abandoned), (3, 0, 1));
    store.trim(keep(seconds(1_000))).await.expect("trim");
    assert_eq!(store.backlog(A).await, Ok(a), "the counts outlive what was trimmed");
}

/// A stream that holds all that it may: what it is not owed for that reason is counted all the same (I3, SEM-9).
pub async fn what_is_dropped_as_it_comes_is_counted(store: Arc<dyn Store>) {
    let dropped = |streams: &[StreamNumber], event| NewEvent { dropped: streams.to_vec(), ..event };
    let first = named("k", 7, dropped(&[B], event(1, &[A])));
    record(&*store, vec![first.clone(), dropped(&[B, C], event(1, &[])), dropped(&[C], event(1, &[A]))])
        .await;
    record(&*store, vec![dropped(&[B], event(1, &[]))]).await;
    for (stream, pending, dropped) in [(A, 2, 0), (B, 0, 3), (C, 0, 2)] {
        let backlog = backlog(&*store, stream).await;
        assert_eq!((backlog.pending, backlog.dropped), (pending, dropped), "{stream}");
        assert_eq!((backlog.rejected, backlog.abandoned, backlog.dead), (0, 0, 0));
    }
    store.record(vec![first.clone()]).await.expect("record");
    store.record(vec![named("k", 8, first), dropped(&[B], event(1, &[]))]).await.expect("record");
    assert_eq!(backlog(&*store, B).await.dropped, 3, "what is not recorded is not dropped");
    assert_eq!(history(&*store, B).await, [], "it was never owed");
    assert_eq!(drop_stream(&*store, A).await, Ok(2));
    assert_eq!(backlog(&*store, A).await.dropped, 2);
}

/// The end of a stream: what is pending ends as dropped, counted (SEM-16).
pub async fn a_dropped_stream_is_owed_nothing(store: Arc<dyn Store>) {
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[A, B]), control, event(1, &[A])]).await;
    assert_eq!(drop_stream(&*store, A).await, Ok(3));
    assert_eq!(pending(&*store, A).await, []);
    assert_eq!(store.page(A, Queue::Control, START, 9).await, Ok(Page::default()));
    assert_eq!(pending(&*store, B).await, [places[0]]);
    let backlog = store.backlog(A).await.expect("backlog");
    assert_eq!((backlog.pending, backlog.oldest, backlog.dropped), (0, None, 3));
    assert_eq!(drop_stream(&*store, A).await, Ok(0));
    assert_eq!(drop_stream(&*store, StreamNumber(9)).await, Ok(0));

    let later = record(&*store, vec![event(2, &[A])]).await;
    assert_eq!(pending(&*store, A).await, later, "a disabled stream may be enabled again");
}

/// However many they are and in however many steps the store does it.
pub async fn many_deliveries_are_dropped_and_all_are_counted(store: Arc<dyn Store>) {
    for _ in 0..30 {
        record(&*store, (0..200).map(|_| event(1, &[A, B])).collect()).await;
    }
    assert_eq!(drop_stream(&*store, A).await, Ok(6_000));
    assert_eq!(store.backlog(A).await.expect("backlog").dropped, 6_000);
    assert_eq!(store.backlog(B).await.expect("backlog").pending, 6_000);
    assert_eq!(owing_to(&*store).await, [B]);
}

/// After a restart the transmitter asks whom it owes.
pub async fn streams_that_are_owed_something_are_known(store: Arc<dyn Store>) {
    assert_eq!(owing_to(&*store).await, []);
    let far = StreamNumber(u32::MAX);
    let control = NewEvent { owed: vec![owed(far, Queue::Control, 0)], ..event(1, &[]) };
    let places = record(&*store, vec![event(1, &[B, A]), event(1, &[A]), control]).await;
    let owing = async || {
        let owing = owing_to(&*store).await;
        let streams: BTreeSet<_> = owing.iter().copied().collect();
        assert_eq!(streams.len(), owing.len(), "each once: {owing:?}");
        streams
    };
    assert_eq!(owing().await, BTreeSet::from([A, B, far]));
    settle(&*store, B, places[0], Verdict::Acked).await;
    settle(&*store, A, places[0], Verdict::Retry { at: seconds(5), attempts: 1, signed: None }).await;
    assert_eq!(owing().await, BTreeSet::from([A, far]));
}

/// Backlogs are bounded in bytes as well: sums of bodies, over all queues and with what is to be tried again.
pub async fn the_bytes_that_are_owed_are_known(store: Arc<dyn Store>) {
    let sized =
        |bytes, streams: &[StreamNumber]| NewEvent { body: vec![b'x'; bytes].into(), ..event(1, streams) };
    let control = NewEvent { owed: vec![owed(B, Queue::Control, 0)], ..sized(1_000, &[]) };
    let places =
        record(&*store, vec![sized(1, &[A]), sized(10, &[A, B]), sized(100, &[A]), control, sized(0, &[C])])
            .await;
    let bytes = async || {
        let owing = store.owing().await.expect("owing");
        for Owing { stream, pending, bytes } in &owing {
            let backlog = backlog(&*store, *stream).await;
            assert_eq!((backlog.pending, backlog.bytes), (*pending, *bytes), "{stream}");
        }
        owing.iter().map(|owing| (owing.stream, owing.pending, owing.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(bytes().await, [(A, 3, 111), (B, 2, 1_010), (C, 1, 0)]);
    settle(&*store, A, places[0], Verdict::Acked).await;
    settle(
        &*store,
        A,
        places[1],
        Verdict::Retry { at: seconds(9), attempts: 1, signed: Some(signed("long")) },
    )
    .await;
    settle(&*store, A, places[2], Verdict::Rejected("no".to_owned())).await;
    settle(&*store, C, places[4], Verdict::Acked).await;
    assert_eq!(bytes().await, [(A, 1, 10), (B, 2, 1_010)], "the dead are not owed");
    assert_eq!(store.redrive(vec![regular(A, places[2])]).await, Ok(1));
    assert_eq!(store.replay(A, vec![places[0]], 1).await, Ok(1));
    assert_eq!(bytes().await, [(A, 3, 111), (B, 2, 1_010)]);
    assert_eq!(drop_stream(&*store, B).await, Ok(2));
    assert_eq!(bytes().await, [(A, 3, 111)]);
}

/// The age of a backlog is the age of its oldest delivery, in whichever queue.
pub async fn the_oldest_pending_delivery_is_known(store: Arc<dyn Store>) {
    assert_eq!(store.backlog(A).await, Ok(Backlog::default()));
    let control = NewEvent { owed: vec![owed(A, Queue::Control, 0)], ..event(30, &[]) };
    let places = record(&*store, vec![event(10, &[A]), event(20, &[A]), control]).await;
    let oldest = async || store.backlog(A).await.expect("backlog").oldest;
    assert_eq!(oldest().await, Some(seconds(10)));
    settle(&*store, A, places[0], Verdict::Acked).await;
    assert_eq!(oldest().await, Some(seconds(20)));
    settle(&*store, A, places[1], Verdict::Acked).await;
    assert_eq!(oldest().await, Some(seconds(30)));
}

/// The writer says what it has done.
pub async fn groups_and_calls_are_counted(store: Arc<dyn Store>) {
    let before = store.figures();
    for _ in 0..3 {
        record(&*store, vec![event(1, &[A]), event(1, &[A])]).await;
    }
    let after = store.figures();
    assert_eq!(after.calls - before.calls, 3, "a call is one, whatever is in it");
    assert!((1..=3).contains(&(after.groups - before.groups)), "{before:?} {after:?}");
    assert_eq!(after.failed, before.failed);
    assert!(after.time >= before.time);
    store.page(A, Queue::Regular, START, 10).await.expect("page");
    assert_eq!(store.figures().calls, after.calls, "reading is not writing");
}
