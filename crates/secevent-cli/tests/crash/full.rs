//! The disk is full for a while: what does not fit is refused, all else goes on, a server that ends can start again, and
//! nobody has to help afterwards.

use crate::caller::Caller;
use crate::checks;
use crate::power::library;
use crate::receiver::Offer;
use crate::scale::Scale;
use crate::server::Start;
use crate::streams::STEADY;
use crate::world::{Traffic, World};
use http::Method;
use serde_json::json;
use std::fs;

/// More than the log and the database have room for that they have already.
const POSTS_MAX: usize = 20_000;

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let scale = Scale::from_environment();
    if !scale.wants("full") {
        return;
    }
    let aside = tempfile::tempdir().unwrap();
    let full = aside.path().join("full");
    let power = Some((library(aside.path()), aside.path().join("journal")));
    let start = Start { power, full: Some(full.clone()), ..Start::default() };
    let not_ready = async |caller: &Caller| {
        let (status, told) = caller.ready().await.unwrap();
        assert_eq!((status, &told["err"]), (503, &json!("not_ready")), "{told}");
        assert!(told["detail"].as_str().unwrap().contains("the disk is full"), "{told}");
    };
    let mut world = World::new(scale.seed, Traffic { posts: 4, trouble: 0, forget: false }).await;
    let life = world.begin(&start).await;
    assert!(!world.run(&life).await, "it ended by itself:\n{}", world.log_tail());

    fs::write(&full, "").unwrap();
    world.producers[0].post_until_refused(POSTS_MAX, &life.caller).await.unwrap();
    // What was taken before is delivered, whether or not the outcomes can be stored.
    let posts = &world.producers[0].posts;
    println!("full: {} posts were taken, and then no more", posts.len() - 1);
    let last = posts[posts.len() - 2].what.events.last().cloned();
    let came = |offers: &[Offer]| offers.iter().any(|offer| offer.stream == STEADY && offer.event == last);
    world.receiver.journal.until(came).await;
    let path = format!("/ssf/status?stream_id={}", world.manager.id(STEADY));
    let (status, told) = life.caller.ask(&Method::GET, &path, None).await.unwrap();
    assert_eq!((status, &told["status"]), (200, &json!("enabled")), "it answers");
    assert!(!world.producers[0].posts.last().unwrap().is_answered(), "what was refused is not recorded");

    // finding: B5
    not_ready(&life.caller).await;
    let ids = world.manager.lasting();
    let log = world.logs[world.life()].clone();
    world.operator.settled(STEADY, &ids, &life.caller, &log).await.unwrap();

    life.server.kill().await;
    let life = world.begin(&start).await;
    not_ready(&life.caller).await;
    assert_ne!(world.producers[0].offer_last(&life.caller).await.unwrap(), 202);
    fs::remove_file(&full).unwrap();
    world.producers[0].insist(&life.caller).await.unwrap();
    assert_eq!(life.caller.ready().await.unwrap().0, 200);

    // Another program fills the disk to the last byte while there is no server.
    life.server.stop().await;
    fs::write(&full, "").unwrap();
    let life = world.begin(&start).await;
    not_ready(&life.caller).await;
    fs::remove_file(&full).unwrap();
    world.producers[0].insist_on_one_more(&life.caller).await.unwrap();
    world.deliver_all(&life).await.unwrap();
    life.server.stop().await;
    let number = world.life();
    world.in_order.insert(number);
    checks::all(&world);
}
