//! A clock that is wrong for a while costs nothing: nothing is given up, forgotten or held up (SEM-30).

use crate::network::{ACCEPT, Reply};
use crate::world::{World, email, event, jtis};
use secevent_ssf::Status;
use secevent_store::{ChangeFilter, Records as _, Recovery as _, Sequence};
use secevent_transmitter::{Ending, Inactivity};
use serde_json::json;
use std::time::Duration;

const DAY: i64 = 86_400;
const MINUTE: Duration = Duration::from_secs(60);

// finding: B6, B7
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_for_a_while_costs_nothing() {
    for step in [-3_600, 8 * DAY, 400 * DAY] {
        let inactivity = Inactivity { timeout: 7 * 1_440 * MINUTE, then: Ending::Delete };
        let world = World::with(|config| config.inactivity = Some(inactivity)).await;
        world.push_stream().await;
        let polled = world.poll_stream().await;
        world.network.answer(|push| match push.claims["txn"] == "dead" {
            true => Reply::Refuse("invalid_request"),
            false => Reply::Status(503),
        });
        let named = (Some(("key", &b"x"[..])), [event("dead", &email("alice"))]);
        world.accept(named.0, &named.1).await.unwrap();
        world.emit("waiting", "bob").await;
        world.network.answered(3).await;
        let at_once = json!({"returnImmediately": true});
        assert_eq!(world.poll(&polled, &at_once).await.sets.len(), 2);
        assert_eq!(world.poll(&polled, &at_once).await.sets.len(), 0, "they are hidden");
        let entered = world.transmitter.changes(ChangeFilter::default(), None, 100).await.unwrap().len();

        world.set_clock_by(step);
        tokio::time::sleep(3 * MINUTE).await;
        assert_eq!(world.poll(&polled, &at_once).await.sets.len(), 2, "{step}: hidden for a minute, no more");
        let attempts = world.network.txns().len();
        tokio::time::sleep(10 * MINUTE).await;
        assert!(world.network.txns().len() > attempts, "{step}: what rests is tried again");
        world.emit("during", "carol").await;
        assert_eq!(world.transmitter.figures().clock_ahead.is_zero(), step < 0);
        world.set_clock_by(-step);
        tokio::time::sleep(3 * MINUTE).await;

        world.network.answer(|_| ACCEPT);
        let waiting = world.poll(&polled, &at_once).await;
        assert_eq!(waiting.sets.len(), 3, "{step}");
        world.poll(&polled, &json!({"ack": jtis(&waiting), "maxEvents": 0})).await;
        tokio::time::timeout(10 * MINUTE, world.store.all_settled()).await.expect("nothing stands still");
        let sent = world.network.txns();
        assert!(
            ["waiting", "during"].iter().all(|txn| sent.iter().any(|sent| sent == txn)),
            "{step}: {sent:?}"
        );
        let figures = world.transmitter.figures();
        assert_eq!((figures.abandoned, figures.dropped, figures.pending), (0, 0, 0), "{step}");
        assert_eq!(figures.clock_ahead, Duration::ZERO);
        assert_eq!(world.store.dead(None, None, 9).await.unwrap().len(), 1, "{step}: a dead letter is kept");
        let events = world.store.events(Sequence(0), 100).await.unwrap().len();
        world.accept(named.0, &named.1).await.unwrap();
        let after = world.store.events(Sequence(0), 100).await.unwrap().len();
        assert_eq!(after, events, "{step}: a repeat is known for one");
        let changes = world.transmitter.changes(ChangeFilter::default(), None, 100).await.unwrap();
        assert!(changes.len() >= entered, "{step}: the log is kept");
        let streams = world.transmitter.all_stream_figures(None, 9);
        assert_eq!(streams.len(), 2);
        assert!(streams.iter().all(|stream| stream.status == Status::Enabled), "{step}: {streams:?}");
    }
}

// finding: B7
#[tokio::test(start_paused = true)]
async fn an_operator_confirms_a_clock_and_a_restart_does_not() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Status(503));
    world.emit("old", "alice").await;
    world.set_clock_by(8 * DAY);
    tokio::time::sleep(10 * MINUTE).await;
    let state = world.transmitter.clock_state().expiry;
    assert!(state.needs_confirmation && state.ahead > Some(191 * 60 * MINUTE), "{state:?}");

    let next = world.restarted().await;
    next.network.answer(|_| Reply::Status(503));
    tokio::time::sleep(120 * MINUTE).await;
    assert!(next.transmitter.clock_state().expiry.needs_confirmation);
    assert_eq!(next.transmitter.figures().abandoned, 0);
    let state = next.transmitter.confirm_clock().await.unwrap();
    assert_eq!((state.expiry.ahead, state.expiry.now), (None, next.now()));
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(next.transmitter.figures().abandoned, 1, "it is eight days old, an operator says");
    let changes = next.transmitter.changes(ChangeFilter::default(), None, 100).await.unwrap();
    assert!(changes.iter().any(|entered| entered.change.action == "clock.confirm"));
}
