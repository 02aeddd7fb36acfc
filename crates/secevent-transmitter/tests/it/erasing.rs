//! A person's data is erased, wherever it is, and nobody else's.

use crate::network::{ACCEPT, Reply};
use crate::world::{ISSUER, PATIENCE, World, email, event, jtis, read, txns};
use secevent::Subject;
use secevent_ssf::Status;
use secevent_store::{ChangeFilter, Records, Recovery, Sequence, Subjects};
use secevent_transmitter::{EraseError, Erasure, ErasureState, ReplayRequest, Transmitter};
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

fn alice() -> Subject {
    Subject::email("alice@example.com").unwrap()
}

async fn ended(transmitter: &Transmitter, id: &str) -> Erasure {
    let ending = async {
        loop {
            let erasure = transmitter.erasure(id).await.unwrap();
            if erasure.state == ErasureState::Done {
                return erasure;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ending).await.expect("the erasure ends")
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_dead_and_past_is_erased_and_nothing_else() {
    let world = World::new().await;
    let pushed = world.push_stream().await;
    let polled = world.poll_stream().await;
    world.network.answer(|push| match push.claims["txn"] == "dead" {
        true => Reply::Refuse("invalid_request"),
        false => ACCEPT,
    });
    for (txn, user) in [("past", "alice"), ("dead", "alice"), ("bob", "bob"), ("joann", "malice")] {
        world.emit(txn, user).await;
    }
    // About somebody else, and it names her all the same; her name is hidden by an escape.
    let named = r#"{"type":"caep:session-revoked","subject":{"format":"email","email":"carol@example.com"},
        "data":{"reason_admin":{"en":"told by \u0061lice@example.com"}},"txn":"named"}"#;
    let named =
        secevent_transmitter::Incoming::read(named.as_bytes(), secevent::Vocabulary::standard()).unwrap();
    world.accept(None, &[named]).await.unwrap();
    let key = Some(("logout of alice@example.com", &b"x"[..]));
    world.accept(key, &[event("key", &email("dave"))]).await.unwrap();
    world.network.answered(7).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reason = Some("asked by alice@example.com".to_owned());
    world.transmitter.hold_stream(&pushed, Status::Paused, reason).await.unwrap();
    world.network.answered(8).await;
    world.transmitter.hold_stream(&pushed, Status::Enabled, None).await.unwrap();
    let request = ReplayRequest { subject: Some(alice()), ..ReplayRequest::default() };
    let replay = world.transmitter.start_replay(&pushed, &request).await.unwrap();
    while world.transmitter.replays().await.unwrap()[0].state == secevent_transmitter::ReplayState::Running {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(replay.total >= 1);
    tokio::time::sleep(Duration::from_secs(1)).await;

    let foreseen = world.transmitter.preview_erasure(&alice()).await.unwrap();
    let found = foreseen.found;
    assert!(found.events == 4 && found.dead == 2 && found.names == 1 && found.changes >= 1, "{found:?}");
    assert_eq!((found.replays, found.dropped), (1, 3), "they wait to be polled: {found:?}");
    assert_eq!(
        world
            .transmitter
            .preview_erasure(&Subject::email("nobody@example.com").unwrap())
            .await
            .unwrap()
            .found,
        Default::default()
    );

    let begun = world.transmitter.start_erasure(&alice(), false).await.unwrap();
    let again = world.transmitter.start_erasure(&alice(), false).await;
    assert!(matches!(again, Err(EraseError::UnderWay)), "{again:?}");
    let erasure = ended(&world.transmitter, &begun.id).await;
    assert!(erasure.left.as_ref().unwrap().is_nothing(), "{erasure:?}");
    assert_eq!(erasure.erased.events, found.events);
    assert_eq!((erasure.erased.dead, erasure.erased.dropped, erasure.erased.names), (2, 3, 1));
    let waiting = world.poll(&polled, &json!({"returnImmediately": true})).await;
    let mut left = txns(&waiting);
    left.sort();
    assert_eq!(left, ["bob", "joann", "key"], "nobody else's is touched, and hers is not handed out");
    world.poll(&polled, &json!({"ack": jtis(&waiting), "maxEvents": 0, "returnImmediately": true})).await;
    assert_eq!(world.store.dead(None, None, 9).await.unwrap(), []);
    let stored = format!("{:?}", world.store.events(Sequence(0), 100).await.unwrap());
    assert!(!stored.contains("\"alice@") && !stored.contains("u0061lice"), "{stored}");

    let changes = world.transmitter.changes(ChangeFilter::default(), None, 100).await.unwrap();
    let told = format!("{changes:?}");
    assert!(!told.contains(" alice@") && told.contains("asked by (erased)"), "{told}");
    let actions: Vec<_> = changes.iter().map(|entered| entered.change.action.as_str()).collect();
    assert_eq!(actions[..2], ["erasure.done", "erasure.start"]);
    assert!(told.contains(&erasure.person) && erasure.person.len() == 32);
    assert_eq!(world.transmitter.erasures().await.unwrap().len(), 1);
    // What comes afterwards is delivered as ever.
    world.emit("new", "alice").await;
    let waiting = world.poll(&polled, &json!({"returnImmediately": true})).await;
    assert_eq!(txns(&waiting), ["new"]);
    assert!(
        world
            .transmitter
            .explain(ISSUER, &read(&json!({"type": "caep:session-revoked", "subject": email("x")})))
            .await
            .is_ok()
    );
}

/// What receivers said of the person in another spelling or form is erased as well, and keys that producers built of an
/// address. A second run finds nothing.
// finding: B12
#[tokio::test(start_paused = true)]
async fn other_spellings_are_erased_too() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for subject in [
        json!({"format": "email", "email": "alice@example.com"}),
        json!({"format": "email", "email": "Alice@Example.COM"}),
        json!({"format": "account", "uri": "acct:alice@example.com"}),
        json!({"format": "aliases", "identifiers": [
            {"format": "phone_number", "phone_number": "+491511"}, {"format": "email", "email": "ALICE@example.com"}]}),
        json!({"format": "complex", "user": {"format": "email", "email": "alice@EXAMPLE.com"}}),
        json!({"format": "email", "email": "malice@example.com"}),
    ] {
        world.add(&id, &subject).await.unwrap();
    }
    for (key, user) in [("logout-Alice@example.com-7", "dave"), ("malice@example.com", "erin")] {
        world.accept(Some((key, &b"x"[..])), &[event(user, &email(user))]).await.unwrap();
    }
    let foreseen = world.transmitter.preview_erasure(&alice()).await.unwrap();
    assert_eq!((foreseen.found.subjects, foreseen.found.names), (5, 1), "{foreseen:?}");
    let begun = world.transmitter.start_erasure(&alice(), false).await.unwrap();
    let first = ended(&world.transmitter, &begun.id).await;
    assert_eq!((first.erased.subjects, first.erased.names), (5, 1), "{first:?}");
    assert!(first.left.unwrap().is_nothing());
    let account = Subject::from_json(r#"{"format":"account","uri":"acct:alice@example.com"}"#).unwrap();
    let begun = world.transmitter.start_erasure(&account, false).await.unwrap();
    let second = ended(&world.transmitter, &begun.id).await;
    assert_eq!((second.erased, second.left.unwrap().is_nothing()), (Default::default(), true));
    let counts = world.store.subject_counts().await.unwrap();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 1, "somebody else's is left");
}

/// A push that is on its way ends first; what waits behind it never goes out.
#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_ends_first_and_nothing_follows() {
    let world = World::new().await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Status(503));
    world.emit("first", "alice").await;
    world.emit("second", "alice").await;
    world.network.answered(2).await;
    let begun = world.transmitter.start_erasure(&alice(), false).await.unwrap();
    let erasure = ended(&world.transmitter, &begun.id).await;
    assert_eq!((erasure.erased.events, erasure.erased.dropped), (2, 2));
    world.network.answer(|_| ACCEPT);
    world.emit("other", "bob").await;
    world.store.all_settled().await;
    let sent = world.network.txns();
    assert_eq!(sent.last().map(String::as_str), Some("other"));
    assert!(!sent.contains(&"second".to_owned()), "{sent:?}");
    let figures = world.transmitter.figures();
    assert_eq!((figures.pending, figures.dropped), (0, 2));
}

/// After a restart an erasure goes on where it was.
#[tokio::test(start_paused = true)]
async fn an_erasure_goes_on_after_a_restart() {
    let world = World::new().await;
    let id = world.poll_stream().await;
    for txn in ["e1", "e2"] {
        world.emit(txn, "alice").await;
    }
    let begun = world.transmitter.start_erasure(&alice(), false).await.unwrap();
    // Nothing of it has been done yet, because nobody had a turn.
    let next = world.restarted().await;
    let erasure = ended(&next.transmitter, &begun.id).await;
    assert_eq!((erasure.erased.events, erasure.person == begun.person), (2, true));
    let waiting = next.poll(&id, &json!({"returnImmediately": true})).await;
    assert_eq!(waiting.sets.len(), 0);
}

/// Files that cannot be written anew are told, and not tried again: nobody is served meanwhile.
#[tokio::test(start_paused = true)]
async fn an_erasure_ends_without_the_rewrite_that_fails() {
    let world = World::new().await;
    world.poll_stream().await;
    world.emit("e1", "alice").await;
    world.store.rewrite_fails.store(true, SeqCst);
    let begun = world.transmitter.start_erasure(&alice(), true).await.unwrap();
    let erasure = ended(&world.transmitter, &begun.id).await;
    let reason = "the store is not available: as the test wants it";
    assert_eq!((erasure.rewrite, erasure.not_rewritten.as_deref()), (true, Some(reason)));
    assert_eq!((erasure.erased.events, erasure.left.map(|left| left.is_nothing())), (1, Some(true)));
    assert_eq!(*world.store.rewrites.borrow(), 1);

    world.store.rewrite_fails.store(false, SeqCst);
    let begun = world.transmitter.start_erasure(&alice(), true).await.unwrap();
    let erasure = ended(&world.transmitter, &begun.id).await;
    assert_eq!((erasure.rewrite, erasure.not_rewritten), (true, None));
}

/// Nor is it tried again after it took the server down.
#[tokio::test(start_paused = true)]
async fn a_rewrite_that_ends_the_server_is_not_tried_again() {
    let world = World::new().await;
    world.store.rewrite_hangs.store(true, SeqCst);
    let begun = world.transmitter.start_erasure(&alice(), true).await.unwrap();
    world.store.rewrites.subscribe().wait_for(|rewrites| *rewrites == 1).await.unwrap();
    let next = world.restarted().await;
    let erasure = ended(&next.transmitter, &begun.id).await;
    assert_eq!(erasure.not_rewritten.as_deref(), Some("the server ended while it wrote them"));
    assert_eq!(*next.store.rewrites.borrow(), 0);
}
