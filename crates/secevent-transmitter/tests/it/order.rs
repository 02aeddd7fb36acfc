//! Order: first offers of deliveries that share an identifier are made in the order of acceptance, the next
//! only after the one before is settled (I4); everything else goes side by side.

use crate::network::{ACCEPT, Moment, Reply};
use crate::world::{World, email, places};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn other_subjects_go_side_by_side_and_one_subject_in_its_order() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Hang);
    for (txn, user) in [("a1", "alice"), ("a2", "alice"), ("b1", "bob"), ("a3", "alice"), ("c1", "carol")] {
        world.emit(txn, user).await;
    }
    world.network.sent(4).await;
    assert_eq!(world.network.txns()[1..], ["a1", "b1", "c1"], "a2 and a3 wait for a1");
    world.network.answer(|_| ACCEPT);
    world.store.all_settled().await;
    let txns = world.network.txns();
    let at = places(&txns);
    assert!(at["a1"] < at["a2"] && at["a2"] < at["a3"], "{txns:?}");
}

// spec: SSF-126
#[tokio::test(start_paused = true)]
async fn held_events_about_one_user_arrive_in_their_order() {
    let world = World::new().await;
    let id = world.push_stream().await;
    world.set_status(&id, "paused").await;
    for txn in ["e1", "e2", "e3"] {
        world.emit(txn, "alice").await;
    }
    assert_eq!(world.network.pushes().len(), 1);
    world.set_status(&id, "enabled").await;
    world.store.all_settled().await;
    assert_eq!(world.network.txns()[1..], ["e1", "e2", "e3"]);
}

/// Subjects of few users and devices, so that they often overlap.
#[derive(Clone, Debug)]
enum Who {
    User(u8),
    Aliases(u8, u8),
    On { user: u8, device: u8, tenant: u8 },
}

impl Who {
    fn subject(&self) -> Value {
        let user = |number: u8| email(&format!("user{number}"));
        match *self {
            Self::User(number) => user(number),
            Self::Aliases(one, other) => {
                json!({"format": "aliases", "identifiers": [user(one), user(other)]})
            }
            Self::On { user: number, device, tenant } => json!({
                "format": "complex",
                "user": user(number),
                "device": {"format": "opaque", "id": format!("device{device}")},
                "tenant": {"format": "opaque", "id": format!("tenant{tenant}")},
            }),
        }
    }

    /// What keeps it in order: every identifier but the tenant.
    fn identifiers(&self) -> BTreeSet<String> {
        match self {
            Self::User(number) => BTreeSet::from([format!("user{number}")]),
            Self::Aliases(one, other) => BTreeSet::from([format!("user{one}"), format!("user{other}")]),
            Self::On { user, device, .. } => {
                BTreeSet::from([format!("user{user}"), format!("device{device}")])
            }
        }
    }
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        (0..4_u8).prop_map(Who::User),
        (0..4_u8, 0..4_u8)
            .prop_filter("two of them", |(one, other)| one != other)
            .prop_map(|(a, b)| Who::Aliases(a, b)),
        (0..4_u8, 0..3_u8, 0..2_u8).prop_map(|(user, device, tenant)| Who::On { user, device, tenant }),
    ]
}

/// Milliseconds until the answer, and which.
fn reply() -> impl Strategy<Value = (u64, u8)> {
    (0..400_u64, 0..10_u8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn first_offers_of_conflicting_deliveries_are_in_order(
        events in prop::collection::vec(who(), 1..40),
        replies in prop::collection::vec(reply(), 1..20)
            .prop_filter("one that is there at times", |replies| replies.iter().any(|(_, which)| *which != 0)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (moments, rejected) = runtime.block_on(run(&events, replies));
        check(&events, &moments)?;
        prop_assert!(rejected <= events.len() as u64);
    }
}

async fn run(events: &[Who], replies: Vec<(u64, u8)>) -> (Vec<Moment>, u64) {
    let world = World::new().await;
    world.push_stream().await;
    let mut replies = replies.into_iter().cycle();
    world.network.answer(move |_| {
        let (millis, which) = replies.next().unwrap();
        let reply = match which {
            0 => Reply::Status(503),
            1 => Reply::Refuse("invalid_request"),
            _ => ACCEPT,
        };
        reply.after(Duration::from_millis(millis))
    });
    for (number, who) in events.iter().enumerate() {
        world.emit_about(&format!("e{number}"), &who.subject()).await;
    }
    world.store.all_settled().await;
    // The first push is the verification's.
    let moments = world.network.moments().split_off(2);
    (moments, world.store.backlog_of(1).await.rejected)
}

fn check(events: &[Who], moments: &[Moment]) -> Result<(), TestCaseError> {
    let first_offer = |number: usize| {
        let sent = Moment::Sent(format!("e{number}"));
        moments.iter().position(|moment| *moment == sent)
    };
    let last_answer = |number: usize| {
        let answered = Moment::Answered(format!("e{number}"));
        moments.iter().rposition(|moment| *moment == answered)
    };
    for (later, who) in events.iter().enumerate() {
        let offer = first_offer(later);
        prop_assert!(offer.is_some(), "e{later} was never sent");
        for (earlier, other) in events[..later].iter().enumerate() {
            if !who.identifiers().is_disjoint(&other.identifiers()) {
                prop_assert!(
                    last_answer(earlier) < offer,
                    "e{later} was offered before e{earlier} was settled"
                );
            }
        }
    }
    Ok(())
}
