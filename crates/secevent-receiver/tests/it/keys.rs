//! Keys: fetched when needed, kept while good, fetched anew when they change.

use crate::transmitter::{status, with_body};
use crate::world::{World, claims, err, push_source};
use secevent_jose::{Algorithm, Signer, SigningKey};
use secevent_ssf::TransportError;
use std::time::Duration;
use tokio::time::{advance, timeout};

fn fetches(world: &World) -> usize {
    world.transmitter.requests("/odd/keys").len()
}

// spec: SSF-33, PUSH-37
#[tokio::test(start_paused = true)]
async fn keys_are_found_by_metadata_and_fetched_anew_after_a_rotation() {
    let world = World::pushed().await;
    for junk in ["abc", "e30.e30.e30"] {
        assert_eq!(world.push(junk).await.status(), 400);
    }
    let mut foreign = claims("x");
    foreign["iss"] = "https://other.example".into();
    assert_eq!(world.push(world.transmitter.sign(&foreign)).await.status(), 400);
    assert_eq!(fetches(&world), 0, "what is cheap to refuse costs no request");

    assert_eq!(world.push_set("a").await.status(), 202);
    assert_eq!(world.push_set("b").await.status(), 202);
    assert_eq!(fetches(&world), 1);
    advance(Duration::from_secs(30)).await;
    world.transmitter.rotate("key-2");
    assert_eq!(world.push_set("c").await.status(), 202);
    assert_eq!(fetches(&world), 2);
}

// spec: LEGACY-18
#[tokio::test(start_paused = true)]
async fn strangers_do_not_make_us_a_nuisance() {
    let world = World::pushed().await;
    assert_eq!(world.push_set("a").await.status(), 202);
    advance(Duration::from_secs(30)).await;
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    for jti in ["b", "c", "d"] {
        let stranger = Signer::new(key.clone().with_kid(jti).unwrap(), Signer::SECURITY_EVENT);
        let response = world.push(stranger.sign(claims(jti).to_string().as_bytes()).unwrap()).await;
        assert_eq!((response.status().as_u16(), err(&response).as_str()), (400, "invalid_key"));
    }
    assert_eq!(fetches(&world), 2, "one look for all of them");
}

#[tokio::test(start_paused = true)]
async fn many_wait_for_one_fetch() {
    let world = World::pushed().await;
    let pushes = ["a", "b", "c", "d"].map(|jti| {
        let (endpoint, token) = (world.endpoint(), world.transmitter.sign(&claims(jti)));
        tokio::spawn(async move { endpoint.handle(crate::world::push_request(token)).await })
    });
    for push in pushes {
        assert_eq!(push.await.unwrap().status(), 202);
    }
    assert_eq!((fetches(&world), world.transmitter.requests("/.well-known/ssf-configuration").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_does_not_keep_the_keys_from_the_others() {
    let world = World::pushed().await;
    let hung_up = timeout(Duration::ZERO, world.push_set("a")).await;
    assert!(hung_up.is_err(), "it was still waiting for the keys");
    assert_eq!(world.push_set("b").await.status(), 202);
    assert_eq!(fetches(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_kept_as_long_as_they_say_and_longer_when_new_ones_cannot_be_had() {
    let world = World::pushed().await;
    world.transmitter.state().keys_max_age = Some(120);
    assert_eq!(world.push_set("a").await.status(), 202);
    advance(Duration::from_secs(119)).await;
    assert_eq!(world.push_set("b").await.status(), 202);
    assert_eq!(fetches(&world), 1);

    advance(Duration::from_secs(1)).await;
    let failures =
        [Ok(status(500)), Ok(with_body(200, "<html>")), Err(TransportError::Timeout("late".to_owned()))];
    for (place, failure) in failures.into_iter().enumerate() {
        world.transmitter.script("/odd/keys", failure);
        assert_eq!(world.push_set(&format!("old {place}")).await.status(), 202, "the old keys are good");
        assert_eq!(
            world.push_set(&format!("soon {place}")).await.status(),
            202,
            "and no more is asked for now"
        );
        assert_eq!(fetches(&world), 2 + place);
        advance(Duration::from_secs(5)).await;
    }
    assert_eq!(world.push_set("c").await.status(), 202);
    assert_eq!(fetches(&world), 5);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_not_judged_while_keys_cannot_be_had() {
    let world = World::pushed().await;
    assert_eq!(world.push_set("a").await.status(), 202);
    advance(Duration::from_secs(30)).await;
    world.transmitter.rotate("key-2");
    world.transmitter.script("/odd/keys", Ok(status(503)));
    assert_eq!(world.push_set("b").await.status(), 503);
    assert_eq!(world.push_set("b").await.status(), 503);
    advance(Duration::from_secs(5)).await;
    assert_eq!(world.push_set("b").await.status(), 202);
}

#[tokio::test(start_paused = true)]
async fn metadata_of_another_issuer_gives_no_keys() {
    let world = World::pushed().await;
    world.transmitter.state().metadata["issuer"] = "https://other.example".into();
    assert_eq!(world.push_set("a").await.status(), 503);
    assert_eq!(fetches(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_may_say_where_the_keys_are() {
    let mut source = push_source();
    source.keys_at = Some("https://tr.example/odd/keys".parse().unwrap());
    let world = World::with(source).await;
    assert_eq!(world.push_set("a").await.status(), 202);
    assert!(world.transmitter.requests("/.well-known/ssf-configuration").is_empty());
}
