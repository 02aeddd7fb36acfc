//! Keys come and go, and every SET can be verified.

use crate::network::{ACCEPT, Reply};
use crate::world::{ISSUER, World};
use secevent::Timestamp;
use secevent_jose::{Algorithm, Compact, IssuerKeys, JwkSet, RotationTimes, SigningKey, TypRule};
use secevent_store::Vault;
use secevent_transmitter::{KeyState, KeyView, KeysError, NewKey, RotateAt, TransmitterConfig};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn times(config: &mut TransmitterConfig) {
    config.key_times = RotationTimes { publish_ahead: HOUR, keep_behind: 3 * HOUR };
}

/// The `kid` of a token, and whether these keys verify it.
fn verified(keys: &JwkSet, token: &str) -> Result<String, String> {
    let compact = Compact::parse(token).unwrap();
    let kid = compact.header().kid().unwrap().to_owned();
    match IssuerKeys::new(ISSUER, keys.clone()).verify(&compact, TypRule::SecurityEvent) {
        Ok(_) => Ok(kid),
        Err(error) => Err(error.to_string()),
    }
}

fn kids(world: &World) -> Vec<String> {
    let keys = world.transmitter.public_keys(ISSUER).unwrap();
    keys.keys().iter().map(|key| key.kid().unwrap().to_owned()).collect()
}

fn state_of(world: &World, kid: &str) -> Option<KeyState> {
    let keys = world.transmitter.keys(Some(ISSUER)).unwrap();
    keys.into_iter().find(|view| view.kid == kid).map(|view| view.state)
}

/// A receiver keeps the issuer's keys for as long as it may, and never looks again because of a key that it does not
/// know. It verifies everything that is sent while keys change, retries of what was signed before included.
// spec: SSF-51, INTEROP-06
#[tokio::test(start_paused = true)]
async fn a_receiver_with_cached_keys_verifies_every_set_while_keys_rotate_under_load() {
    const MAX_AGE: Duration = Duration::from_secs(300);
    let world = World::with(times).await;
    world.push_stream().await;
    let transmitter = Arc::downgrade(&world.transmitter);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (cached, kept) = (Mutex::new(None::<(Instant, JwkSet)>), Arc::clone(&seen));
    let mut number = 0;
    world.network.answer(move |push| {
        let mut cached = cached.lock().unwrap();
        if cached.as_ref().is_none_or(|(at, _)| at.elapsed() >= MAX_AGE) {
            let keys = transmitter.upgrade().unwrap().public_keys(ISSUER).unwrap();
            *cached = Some((Instant::now(), keys));
        }
        kept.lock().unwrap().push(verified(&cached.as_ref().unwrap().1, &push.token));
        number += 1;
        if number % 5 == 0 { Reply::Status(503) } else { ACCEPT }
    });

    let first = kids(&world).remove(0);
    let next = world.transmitter.rotate_key(ISSUER, None, RotateAt::Soon).await.unwrap();
    assert_eq!(kids(&world), [first.clone(), next.kid.clone()]);
    for number in 0..6 * 60 {
        for user in ["alice", "bob", "carol"] {
            world.emit(&format!("{user}-{number}"), user).await;
        }
        sleep(MINUTE).await;
    }
    world.store.all_settled().await;
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 3 * 6 * 60, "{}", seen.len());
    let failed: Vec<_> = seen.iter().filter(|seen| seen.is_err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), seen.len());
    let by = |kid: &str| seen.iter().filter(|seen| seen.as_deref() == Ok(kid)).count();
    assert!(by(&first) > 100 && by(&next.kid) > 500, "{} {}", by(&first), by(&next.kid));
    assert_eq!(kids(&world), [next.kid], "the first key has had its time");
}

#[tokio::test(start_paused = true)]
async fn keys_rotate_by_themselves_and_go_on_after_a_restart() {
    let day = 24 * HOUR;
    let world = World::with(|config| {
        times(config);
        config.issuers[0].rotate_every = Some(day);
    })
    .await;
    let first = kids(&world).remove(0);
    sleep(day - HOUR - 2 * MINUTE).await;
    assert_eq!(kids(&world).len(), 1, "nothing is due");
    sleep(4 * MINUTE).await;
    let [current, next] = kids(&world).try_into().unwrap();
    assert_eq!(current, first);
    let Some(KeyState::Next { promote_at: Some(promote_at), published_at }) = state_of(&world, &next) else {
        panic!("{next} is not next")
    };
    assert!(promote_at.since(published_at) >= HOUR, "published before it signs");

    // The process ends here. The next one goes on where this one was.
    let world = world.restarted().await;
    assert_eq!(kids(&world), [first.clone(), next.clone()]);
    assert_eq!(state_of(&world, &next), Some(KeyState::Next { published_at, promote_at: Some(promote_at) }));
    sleep(HOUR + 2 * MINUTE).await;
    assert_eq!(kids(&world), [next.clone(), first.clone()]);
    assert!(matches!(state_of(&world, &first), Some(KeyState::Previous { .. })));
    // One that was down when something was due makes up for it at its start.
    let restarted = {
        sleep(3 * HOUR).await;
        world.restarted().await
    };
    assert_eq!(kids(&restarted), [next]);
    sleep(3 * day).await;
    assert_eq!(state_of(&restarted, &first), None, "it is forgotten");
    assert_eq!(restarted.transmitter.keys(None).unwrap().len(), 1, "each has had its time");
}

/// SEM-4: what a withdrawn key has signed is signed anew, with the same claims.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_gone_at_once_and_what_it_signed_is_signed_anew() {
    let world = World::with(times).await;
    world.push_stream().await;
    world.network.answer(|_| Reply::Status(503));
    world.emit("e1", "alice").await;
    let before = world.network.sent(3).await.pop().unwrap();
    let leaked = verified(&world.transmitter.public_keys(ISSUER).unwrap(), &before.token).unwrap();
    world.transmitter.withdraw_key(ISSUER, &leaked).await.unwrap();
    let [successor] = kids(&world).try_into().unwrap();
    assert_ne!(successor, leaked);
    assert_eq!(state_of(&world, &leaked), Some(KeyState::Withdrawn));
    let sent = world.network.pushes().len();
    world.network.answer(|_| ACCEPT);
    world.store.all_settled().await;
    let after = world.network.sent(sent + 1).await.pop().unwrap();
    assert_eq!(
        verified(&world.transmitter.public_keys(ISSUER).unwrap(), &after.token),
        Ok(successor.clone())
    );
    assert_eq!(after.claims, before.claims);
    let again = world.transmitter.withdraw_key(ISSUER, &leaked).await;
    assert_eq!(again, Err(KeysError::NoSuchKey));
    // A restart brings nothing back.
    assert_eq!(kids(&world.restarted().await), [successor]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_brought_along_is_published_and_signs_when_that_is_asked_for() {
    let world = World::with(times).await;
    let first = kids(&world).remove(0);
    let brought = SigningKey::generate(Algorithm::EdDsa).unwrap().with_kid("2026-11").unwrap();
    let view = world.transmitter.publish_key(ISSUER, NewKey::Given(brought.clone())).await.unwrap();
    assert_eq!(view.public.as_ref().map(|public| public.kid()), Some(Some("2026-11")));
    assert!(matches!(view, KeyView { state: KeyState::Next { promote_at: None, .. }, .. }));
    sleep(10 * HOUR).await;
    assert_eq!(kids(&world), [first.clone(), "2026-11".to_owned()], "nobody asked");
    let in_time = world.now().plus(HOUR);
    let view = world.transmitter.rotate_key(ISSUER, None, RotateAt::Time(in_time)).await.unwrap();
    assert!(matches!(view.state, KeyState::Next { promote_at: Some(at), .. } if at == in_time));
    let view = world.transmitter.rotate_key(ISSUER, None, RotateAt::Now).await.unwrap();
    assert!(matches!(view.state, KeyState::Current { since: Some(_) }), "{view:?}");
    assert_eq!(kids(&world), ["2026-11".to_owned(), first]);

    // What cannot be is told.
    let refused = |told: KeysError| told.to_string();
    let again = world.transmitter.publish_key(ISSUER, NewKey::Given(brought)).await.unwrap_err();
    assert_eq!(refused(again), "the key \"2026-11\" is or was in the ring");
    let early = RotateAt::Time(Timestamp::from_seconds(0));
    let early = world.transmitter.rotate_key(ISSUER, None, early).await.unwrap_err();
    assert_eq!(refused(early), "the next key has not been published long enough by then");
    let other = world.transmitter.publish_key(ISSUER, NewKey::Generate(Algorithm::Es256)).await.unwrap_err();
    assert_eq!(refused(other), "the ring has no key for ES256");
    let stranger = world.transmitter.rotate_key("https://other.example", None, RotateAt::Now).await;
    assert_eq!(stranger, Err(KeysError::NoSuchIssuer("https://other.example".to_owned())));
    assert_eq!(kids(&world).len(), 2, "none of that changed anything");
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_the_algorithm_that_it_wants() {
    let world = World::with(times).await;
    world.push_stream().await;
    let algorithm = |world: &World| {
        let token = world.network.pushes().pop().unwrap().token;
        verified(&world.transmitter.public_keys(ISSUER).unwrap(), &token).unwrap();
        Compact::parse(&token).unwrap().header().algorithm()
    };
    assert_eq!(algorithm(&world), Algorithm::EdDsa);
    let vault = || Vault::new(&[7; 32]);
    let es256 = |config: &mut TransmitterConfig| {
        config.client_algorithms.insert("rp".to_owned(), Algorithm::Es256);
    };
    let world = world.restarted_under(es256, vault()).await.unwrap();
    assert_eq!(kids(&world).len(), 2);
    world.emit("e1", "alice").await;
    world.store.all_settled().await;
    assert_eq!(algorithm(&world), Algorithm::Es256);
    // Each algorithm rotates on its own.
    let before = kids(&world);
    world.transmitter.rotate_key(ISSUER, Some(Algorithm::Es256), RotateAt::Now).await.unwrap();
    assert_eq!((kids(&world).len(), &kids(&world)[0]), (3, &before[0]));

    // Once nobody wants it, its keys leave as after a rotation.
    let world = world.restarted_under(|config| config.client_algorithms.clear(), vault()).await.unwrap();
    world.emit("e2", "alice").await;
    world.store.all_settled().await;
    assert_eq!((algorithm(&world), kids(&world).len()), (Algorithm::EdDsa, 3));
    sleep(3 * HOUR + 2 * MINUTE).await;
    assert_eq!(kids(&world), [before[0].clone()]);

    // The issuer itself may change its mind.
    let es256 = |config: &mut TransmitterConfig| config.issuers[0].algorithm = Algorithm::Es256;
    let world = world.restarted_under(es256, vault()).await.unwrap();
    world.emit("e3", "alice").await;
    world.store.all_settled().await;
    assert_eq!((algorithm(&world), kids(&world).len()), (Algorithm::Es256, 2));
}

/// SEM-21: several master keys at once; everything is sealed anew; a start without the right one fails.
#[tokio::test(start_paused = true)]
async fn the_master_key_can_be_exchanged() {
    let (old, new) = ([7; 32], [8; 32]);
    let world = World::new().await;
    world.push_stream().await;
    let published = kids(&world);

    let Err(wrong) = world.restarted_under(|_| {}, Vault::new(&new)).await else { panic!("it started") };
    let told = wrong.to_string();
    assert!(
        told.contains(&Vault::fingerprint_of(&old)) && told.contains(&Vault::fingerprint_of(&new)),
        "{told}"
    );

    let both = world.restarted_under(|_| {}, Vault::with_keys(&new, &[old])).await.unwrap();
    both.emit("e1", "alice").await;
    both.store.all_settled().await;
    assert_eq!(both.transmitter.rewrap().await, Ok(3), "the store's key, the issuer's keys, a credential");
    assert_eq!(both.transmitter.rewrap().await, Ok(0), "there is nothing more to do");
    // Streams and keys can still be changed.
    both.transmitter.rotate_key(ISSUER, None, RotateAt::Soon).await.unwrap();
    both.set_status(&stream_of(&both).await, "paused").await;
    both.set_status(&stream_of(&both).await, "enabled").await;

    let alone = both.restarted_under(|_| {}, Vault::new(&new)).await.unwrap();
    assert_eq!(kids(&alone)[0], published[0]);
    alone.emit("e2", "alice").await;
    alone.store.all_settled().await;
    let push = alone.network.pushes().pop().unwrap();
    assert_eq!(push.parts.headers["authorization"], "Bearer abc");
    assert!(both.restarted_under(|_| {}, Vault::new(&old)).await.is_err());
}

/// A credential that cannot be opened is noticed at the start, not when there is something to send.
#[tokio::test(start_paused = true)]
async fn a_start_without_the_key_of_one_stream_fails_and_names_it() {
    let (old, new) = ([7; 32], [8; 32]);
    let world = World::new().await;
    let both = world.restarted_under(|_| {}, Vault::with_keys(&new, &[old])).await.unwrap();
    assert_eq!(both.transmitter.rewrap().await, Ok(2));
    let mixed = both.restarted_under(|_| {}, Vault::with_keys(&old, &[new])).await.unwrap();
    mixed.push_stream().await;
    let Err(error) = mixed.restarted_under(|_| {}, Vault::new(&new)).await else { panic!("it started") };
    let (told, id) = (error.to_string(), stream_of(&mixed).await);
    assert!(told.contains(&format!("stream/{id}/authorization")), "{told}");
    assert!(told.contains(&Vault::fingerprint_of(&old)), "{told}");
}

async fn stream_of(world: &World) -> secevent_ssf::StreamId {
    world.transmitter.all_stream_figures(None, 1).pop().unwrap().stream
}
