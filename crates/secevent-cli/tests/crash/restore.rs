//! An older backup is put back: what came after it is forgotten, and no identifier is given again.

use crate::checks;
use crate::clock::Instant;
use crate::scale::Scale;
use crate::server::Start;
use crate::streams::{LASTING, POLLED};
use crate::world::{Traffic, World};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;

/// SEM-1: sequences are given again after a restore, identifiers are not; and an identifier of the lost time names
/// nothing, least of all the delivery that has its place now.
#[tokio::test]
async fn after_a_restore_no_jti_comes_again() {
    let scale = Scale::from_environment();
    if !scale.wants("restore") {
        return;
    }
    let mut world = World::new(scale.seed, Traffic { posts: 4, trouble: 0, forget: false }).await;
    live(&mut world).await;
    let (backup, made_at) = (tempfile::tempdir().unwrap(), Instant::now());
    copy_store(world.path(), backup.path());
    live(&mut world).await;

    let offers = world.receiver.journal.offers();
    // The backup owes nothing to the lasting streams: what they got later belongs to the lost time.
    let lost = offers.iter().filter(|offer| offer.at > made_at && LASTING.contains(&offer.stream.as_str()));
    // What was redriven or replayed then was there before, too.
    let known: HashSet<&str> =
        offers.iter().filter(|offer| offer.at < made_at).map(|offer| offer.jti.as_str()).collect();
    let lost: Vec<_> = lost.filter(|offer| !known.contains(offer.jti.as_str())).collect();
    let lost_jtis: HashSet<&str> = lost.iter().map(|offer| offer.jti.as_str()).collect();
    let lost_polled = lost.iter().filter(|offer| offer.stream == POLLED).map(|offer| offer.jti.clone());
    let lost_polled: Vec<String> = lost_polled.collect();
    let known = event_ids(&world);

    let mut restored = world.at(made_at, &offers);
    copy_store(backup.path(), restored.path());
    let kept = event_ids(&restored);
    let life = restored.begin(&Start::default()).await;
    let (caller, journal) = (&life.caller, &*restored.receiver.journal);
    for producer in &mut restored.producers {
        producer.post(6, caller, journal).await.unwrap();
    }
    // These come late, and must not settle what has their places now: it has not been offered yet.
    let (stream, nothing) = (restored.manager.id(POLLED), json!({ "maxEvents": 0 }));
    restored.poller.poll_once(stream, lost_polled.clone(), nothing, caller, journal).await.unwrap();
    restored.deliver_all(&life).await.unwrap();
    life.server.stop().await;
    checks::all(&restored);

    let offers = restored.receiver.journal.offers();
    let again: Vec<_> = offers.iter().filter(|offer| lost_jtis.contains(&*offer.jti)).collect();
    assert!(again.is_empty(), "given again: {again:?}");
    let now = event_ids(&restored);
    let new: HashSet<&String> = now.difference(&kept).collect();
    assert!(new.iter().all(|id| !known.contains(*id)), "none of {new:?} is one of {known:?}");
    assert!(lost_polled.len() >= 10 && new.len() >= 10, "something was lost, and as much came after it");
}

/// A life in which something happens, and everything is delivered.
async fn live(world: &mut World) {
    let life = world.begin(&Start::default()).await;
    assert!(!world.run(&life).await, "it ended by itself:\n{}", world.log_tail());
    world.deliver_all(&life).await.unwrap();
    life.server.stop().await;
}

fn event_ids(world: &World) -> HashSet<String> {
    let posts = world.producers.iter().flat_map(|producer| &producer.posts);
    posts.flat_map(|post| post.what.event_ids()).map(str::to_owned).collect()
}

/// Copies the files of a store that nobody has open.
fn copy_store(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
