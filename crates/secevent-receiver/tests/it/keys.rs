//! Keys: fetched when needed, kept while good, fetched anew when they change.

use crate::transmitter::{SESSION_REVOKED, status, with_body};
use crate::world::{World, claims, err, push_request, push_source};
use bytes::Bytes;
use http::Response;
use http::header::{AGE, CACHE_CONTROL, RETRY_AFTER};
use secevent_jose::{Algorithm, Signer, SigningKey};
use secevent_receiver::JwksCache;
use secevent_ssf::TransportError;
use std::time::Duration;
use tokio::time::{Instant, advance, sleep, timeout};

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
    let push = async |jti: &str| {
        let stranger = Signer::new(key.clone().with_kid(jti).unwrap(), Signer::SECURITY_EVENT);
        world.push(stranger.sign(claims(jti).to_string().as_bytes()).unwrap()).await
    };
    let refused = push("b").await;
    assert_eq!((refused.status().as_u16(), err(&refused).as_str()), (400, "invalid_key"));
    for jti in ["c", "d", "b"] {
        assert_eq!(push(jti).await.status(), 503);
    }
    assert_eq!(fetches(&world), 2, "one fetch for all of them");
    advance(JwksCache::COOL_DOWN).await;
    assert_eq!(push("c").await.status(), 400);
    assert_eq!(push("d").await.status(), 503);
    assert_eq!(fetches(&world), 3, "one fetch in each cool-down");
}

fn wait_of(response: &Response<Bytes>) -> &str {
    assert_eq!(response.status(), 503);
    response.headers()[RETRY_AFTER].to_str().unwrap()
}

// finding: A2
#[tokio::test(start_paused = true)]
async fn a_key_that_may_be_new_is_not_refused_before_the_keys_were_fetched_again() {
    let world = World::pushed().await;
    assert_eq!(world.push_set("a").await.status(), 202);
    for (kid, cool_down) in [
        ("key-2", JwksCache::COOL_DOWN_FIRST),
        ("key-3", JwksCache::COOL_DOWN),
        ("key-4", JwksCache::COOL_DOWN),
    ] {
        world.transmitter.rotate(kid);
        let seconds = cool_down.as_secs();
        assert_eq!(wait_of(&world.push_set(kid).await), seconds.to_string());
        advance(Duration::from_millis(1_500)).await;
        assert_eq!(wait_of(&world.push_set(kid).await), (seconds - 1).to_string(), "rounded up");
        advance(cool_down - Duration::from_millis(1_500)).await;
        assert_eq!(world.push_set(kid).await.status(), 202);
    }
    assert_eq!(fetches(&world), 4);
    let looks: Vec<bool> = world
        .transmitter
        .requests("/odd/keys")
        .iter()
        .map(|request| request.headers().contains_key(CACHE_CONTROL))
        .collect();
    assert_eq!(looks, [false, true, true, true], "caches on the way are asked not to answer themselves");
    assert_eq!(world.receiver.counts().open, 6);
}

// finding: A2
#[tokio::test(start_paused = true)]
async fn polled_sets_of_a_new_key_stay_open_and_the_others_are_taken() {
    let world = World::polled().await;
    world.queue_set("old 1");
    world.transmitter.rotate("key-2");
    for jti in ["new 1", "new 2"] {
        world.queue_set(jti);
    }
    let begun = Instant::now();
    let acked = |jti: &str| world.transmitter.state().acked.contains(&jti.to_owned());
    world.until(|| acked("old 1")).await;
    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(!acked("new 1") && world.transmitter.state().queue.len() == 2);
    world.until(|| acked("new 1") && acked("new 2")).await;
    assert!(begun.elapsed() >= Duration::from_secs(4), "the cool-down is respected: {:?}", begun.elapsed());
    assert_eq!(fetches(&world), 2);
    assert!(world.transmitter.state().refused.is_empty());
    assert!(world.transmitter.polls().len() < 15, "and nothing spins: {}", world.transmitter.polls().len());
    world.until_handled(&["old 1", "new 1", "new 2"]).await;
}

// finding: A2
#[tokio::test(start_paused = true)]
async fn sets_that_stay_open_do_not_hold_up_those_that_come_later() {
    let world = World::polled().await;
    let current = world.transmitter.state().signer.clone();
    world.transmitter.rotate("key-2");
    world.queue_set("open");
    world.transmitter.state().signer = current;
    world.transmitter.script("/odd/keys", Err(TransportError::Unreachable("nobody listens".to_owned())));
    world.transmitter.state().keys_hang = true;
    for number in 0..20 {
        let jti = format!("{number}");
        world.queue_set(&jti);
        let begun = Instant::now();
        world.until(|| world.transmitter.state().acked.contains(&jti)).await;
        // A poll of this round may itself wait for one fetch.
        assert!(begun.elapsed() <= JwksCache::FETCH_MAX + JwksCache::COOL_DOWN, "{:?}", begun.elapsed());
    }
    world.transmitter.state().keys_hang = false;
    world.until(|| world.transmitter.state().acked.contains(&"open".to_owned())).await;
    assert!(world.transmitter.state().refused.is_empty());
}

/// One fetch after they came settles all SETs of an answer.
// finding: A2
#[tokio::test(start_paused = true)]
async fn polled_sets_of_strangers_are_refused_after_one_fetch() {
    let world = World::polled().await;
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    for jti in ["a", "b", "c"] {
        let stranger = Signer::new(key.clone().with_kid(jti).unwrap(), Signer::SECURITY_EVENT);
        world
            .transmitter
            .state()
            .queue
            .push((jti.to_owned(), { stranger.sign(claims(jti).to_string().as_bytes()).unwrap() }));
    }
    world.queue_set("good");
    world.until(|| world.transmitter.state().queue.is_empty()).await;
    let refused = world.transmitter.state().refused.clone();
    assert_eq!(refused, ["a", "b", "c"].map(|jti| (jti.to_owned(), "invalid_key".to_owned())));
    assert_eq!(fetches(&world), 2);
}

// finding: A4
#[tokio::test(start_paused = true)]
async fn a_key_that_was_replaced_without_a_new_name_is_fetched_before_the_verdict() {
    for kid in [Some("key-1"), None] {
        let world = World::pushed().await;
        if kid.is_none() {
            world.transmitter.replace_key(None);
        }
        assert_eq!(world.push_set("a").await.status(), 202);
        advance(JwksCache::COOL_DOWN_FIRST).await;
        world.transmitter.replace_key(kid);
        assert_eq!(world.push_set("b").await.status(), 202, "{kid:?}");
        world.transmitter.replace_key(kid);
        let refused = world.push_set("c").await;
        assert_eq!((refused.status().as_u16(), err(&refused).as_str()), (400, "invalid_key"));
        advance(JwksCache::COOL_DOWN).await;
        assert_eq!(world.push_set("c").await.status(), 202, "{kid:?}");
        // Garbage has them fetched once in a cool-down.
        advance(JwksCache::COOL_DOWN).await;
        for _ in 0..3 {
            let mut token = world.transmitter.sign(&claims("d"));
            token.replace_range(token.len() - 8..token.len() - 4, "AAAA");
            assert_eq!(world.push(token).await.status(), 400);
        }
        assert_eq!(fetches(&world), 4, "{kid:?}");
        // While they cannot be fetched, a push is refused all the same.
        advance(JwksCache::COOL_DOWN).await;
        world.transmitter.replace_key(kid);
        world.transmitter.script("/odd/keys", Ok(status(500)));
        assert_eq!(world.push_set("e").await.status(), 400);
        advance(JwksCache::FAILURE_PAUSE).await;
        assert_eq!(world.push_set("e").await.status(), 202);
    }
}

// finding: A4
#[tokio::test(start_paused = true)]
async fn a_polled_set_of_a_replaced_key_stays_open_until_the_keys_were_fetched() {
    let world = World::polled().await;
    world.transmitter.replace_key(Some("key-1"));
    world.queue_set("a");
    world.until(|| world.transmitter.state().acked.contains(&"a".to_owned())).await;
    assert!(world.transmitter.state().refused.is_empty());
    let mut token = world.transmitter.sign(&claims("b"));
    token.replace_range(token.len() - 8..token.len() - 4, "AAAA");
    world.transmitter.queue("b", token);
    world.until(|| !world.transmitter.state().refused.is_empty()).await;
    assert_eq!(world.transmitter.state().refused, [("b".to_owned(), "invalid_key".to_owned())]);
    assert_eq!(fetches(&world), 3);
}

#[tokio::test(start_paused = true)]
async fn many_wait_for_one_fetch() {
    let world = World::pushed().await;
    let pushes = ["a", "b", "c", "d"].map(|jti| {
        let (endpoint, token) = (world.endpoint(), world.transmitter.sign(&claims(jti)));
        tokio::spawn(async move { endpoint.handle(push_request(token)).await })
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
    let failures = [
        Ok(status(500)),
        Ok(with_body(200, "<html>")),
        Err(TransportError::Timeout("late".to_owned())),
        // finding: A5
        Ok(with_body(200, r#"{"keys":[]}"#)),
        Ok(with_body(200, r#"{"keys":[{"kty":"oct","kid":"key-1","k":"c2VjcmV0"}]}"#)),
    ];
    let count = failures.len();
    for (place, failure) in failures.into_iter().enumerate() {
        world.transmitter.script("/odd/keys", failure);
        assert_eq!(world.push_set(&format!("old {place}")).await.status(), 202, "the old keys are good");
        world.until(|| fetches(&world) == 2 + place && world.receiver.counts().keys_failing == 1).await;
        assert_eq!(
            world.push_set(&format!("soon {place}")).await.status(),
            202,
            "and no more is asked for now"
        );
        assert_eq!(fetches(&world), 2 + place);
        advance(Duration::from_secs(5)).await;
    }
    assert_eq!(world.push_set("c").await.status(), 202);
    world.until(|| fetches(&world) == 2 + count && world.receiver.counts().keys_failing == 0).await;
}

// finding: A3
#[tokio::test(start_paused = true)]
async fn old_keys_answer_at_once_while_the_key_endpoint_hangs() {
    let world = World::pushed().await;
    assert_eq!(world.push_set("a").await.status(), 202);
    advance(JwksCache::AGE_DEFAULT).await;
    world.transmitter.state().keys_hang = true;
    let begun = Instant::now();
    for number in 0..10 {
        assert_eq!(world.push_set(&number.to_string()).await.status(), 202);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits");
    world.until(|| fetches(&world) == 2).await;
    // The pause after a failure counts from its end.
    advance(JwksCache::FETCH_MAX).await;
    world.until(|| world.receiver.counts().keys_failing == 1).await;
    for (after, count) in [(JwksCache::FAILURE_PAUSE / 2, 2), (JwksCache::FAILURE_PAUSE / 2, 3)] {
        advance(after).await;
        let begun = Instant::now();
        assert_eq!(world.push_set(&format!("after {count}")).await.status(), 202);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(fetches(&world), count);
    }
}

// finding: A3
#[tokio::test(start_paused = true)]
async fn stale_keys_are_used_for_a_day() {
    let world = World::pushed().await;
    assert_eq!(world.push_set("a").await.status(), 202);
    world.transmitter.state().keys_hang = true;
    // Nothing came for so long that a key may have been withdrawn: a fetch is tried first, once.
    advance(JwksCache::AGE_DEFAULT + JwksCache::STALE_UNASKED_MAX).await;
    let begun = Instant::now();
    assert_eq!(world.push_set("b").await.status(), 202);
    assert_eq!(begun.elapsed(), JwksCache::FETCH_MAX);
    assert_eq!(world.push_set("c").await.status(), 202);
    assert_eq!(begun.elapsed(), JwksCache::FETCH_MAX);

    advance(JwksCache::STALE_MAX - JwksCache::STALE_UNASKED_MAX - begun.elapsed() - Duration::from_secs(1))
        .await;
    assert_eq!(world.push_set("d").await.status(), 202);
    advance(Duration::from_secs(1)).await;
    assert_eq!(wait_of(&world.push_set("e").await), "5");
    world.transmitter.state().keys_hang = false;
    advance(JwksCache::FAILURE_PAUSE).await;
    assert_eq!(world.push_set("e").await.status(), 202);
}

// finding: A3
#[tokio::test(start_paused = true)]
async fn without_keys_a_bounded_number_waits_for_one_fetch() {
    let world = World::pushed().await;
    world.transmitter.state().keys_hang = true;
    let begun = Instant::now();
    let (endpoint, token) = (world.endpoint(), world.transmitter.sign(&claims("a")));
    let pushes: Vec<_> = (0..JwksCache::WAITING_MAX + 10)
        .map(|_| {
            let (endpoint, token) = (endpoint.clone(), token.clone());
            tokio::spawn(async move {
                (endpoint.handle(push_request(token)).await.status().as_u16(), begun.elapsed())
            })
        })
        .collect();
    let mut waited = 0;
    for push in pushes {
        let (status, after) = push.await.unwrap();
        assert_eq!(status, 503);
        assert!(after.is_zero() || after == JwksCache::FETCH_MAX, "{after:?}");
        waited += usize::from(!after.is_zero());
    }
    assert_eq!((waited, fetches(&world)), (JwksCache::WAITING_MAX, 1));
    world.transmitter.state().keys_hang = false;
    advance(JwksCache::FAILURE_PAUSE).await;
    assert_eq!(world.push_set("a").await.status(), 202);
}

// finding: A5
#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_is_skipped_and_the_age_of_an_answer_counts() {
    let world = World::pushed().await;
    let keys = format!("\u{feff}{}", world.transmitter.state().published.to_json());
    let mut answer = with_body(200, &keys);
    answer.headers_mut().insert(CACHE_CONTROL, "max-age=600".parse().unwrap());
    answer.headers_mut().insert(AGE, "500".parse().unwrap());
    let metadata = format!("\u{feff}{}", world.transmitter.state().metadata);
    world.transmitter.script("/.well-known/ssf-configuration", Ok(with_body(200, &metadata)));
    world.transmitter.script("/odd/keys", Ok(answer));
    assert_eq!(world.push_set("a").await.status(), 202);
    advance(Duration::from_secs(99)).await;
    assert_eq!(world.push_set("b").await.status(), 202);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(fetches(&world), 1);
    advance(Duration::from_secs(1)).await;
    assert_eq!(world.push_set("c").await.status(), 202);
    world.until(|| fetches(&world) == 2).await;
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

// finding: B6
#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_neither_holds_up_fetches_nor_causes_them() {
    const DAY: i64 = 24 * 3600;
    // A clock that is wrong makes every SET look old or new, which is not what this is about: `iat` has no lower bound.
    for step in [-3_600, 8 * DAY, -8 * DAY] {
        let world = World::pushed().await;
        let push = async |jti: &str| world.push(world.transmitter.sign(&old_claims(jti))).await;
        assert_eq!(push("a").await.status(), 202);
        for number in 0..50 {
            world.clock.step(step);
            assert_eq!(push(&format!("stepped {number}")).await.status(), 202);
            world.clock.step(-step);
            assert_eq!(push(&format!("back {number}")).await.status(), 202);
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(fetches(&world), 1, "no step made the keys stale: {step}");

        // The cool-down is as long as always.
        advance(JwksCache::COOL_DOWN_FIRST).await;
        let stranger = Signer::new(
            SigningKey::generate(Algorithm::EdDsa).unwrap().with_kid("strange").unwrap(),
            Signer::SECURITY_EVENT,
        );
        let strange = || stranger.sign(old_claims("strange").to_string().as_bytes()).unwrap();
        assert_eq!(world.push(strange()).await.status(), 400);
        for _ in 0..50 {
            world.clock.step(step);
            assert_eq!(wait_of(&world.push(strange()).await), JwksCache::COOL_DOWN.as_secs().to_string());
        }
        assert_eq!(fetches(&world), 2, "{step}");
        advance(JwksCache::COOL_DOWN).await;
        world.transmitter.rotate("key-2");
        assert_eq!(push("rotated").await.status(), 202, "a new key is fetched in time: {step}");
        assert_eq!(fetches(&world), 3, "{step}");

        // And so is the time of the keys.
        advance(JwksCache::AGE_DEFAULT - Duration::from_secs(1)).await;
        world.clock.step(step);
        assert_eq!(push("fresh").await.status(), 202);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(fetches(&world), 3, "{step}");
        advance(Duration::from_secs(1)).await;
        assert_eq!(push("stale").await.status(), 202);
        world.until(|| fetches(&world) == 4).await;
    }
}

/// The claims of a SET that is older than any step of a clock.
fn old_claims(jti: &str) -> serde_json::Value {
    let mut claims = claims(jti);
    claims["iat"] = 1_000_000_000.into();
    claims["events"][SESSION_REVOKED]["event_timestamp"] = 1_000_000_000.into();
    claims
}
