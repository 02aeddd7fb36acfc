//! A power cut: the files are rebuilt as a disk might have them, and the next start keeps all promises.

use crate::checks;
use crate::clock::Instant;
use crate::disk::{self, Damage, Unsynced};
use crate::scale::Scale;
use crate::server::Start;
use crate::world::{Traffic, World};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Posts of each producer in a short test, and in a long one.
const POSTS_SHORT: usize = 20;
const POSTS_LONG: usize = 40;
/// In a short test the power is cut after so many of the syncs, in a long one after each.
const CUTS_SHORT: usize = 24;
/// Longer than this no start takes, on the slowest machine.
const CUT_MAX: Duration = Duration::from_secs(60);

/// I1 and the rest of the promises hold after a power cut: a sync is what makes them.
#[test]
fn after_a_power_cut_it_keeps_its_promises() {
    let scale = Scale::from_environment();
    if scale.wants("power") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(cut_everywhere(&scale));
    }
}

async fn cut_everywhere(scale: &Scale) {
    println!("power  (cargo xtask crash --seed {} --point power)", scale.seed);
    let aside = tempfile::tempdir().unwrap();
    let journal = aside.path().join("journal");
    let power = Some((library(aside.path()), journal.clone()));
    let posts = if scale.long { POSTS_LONG } else { POSTS_SHORT };
    let mut world = World::new(scale.seed, Traffic { posts, trouble: 30, forget: false }).await;
    let life = world.begin(&Start { power, ..Start::default() }).await;
    assert!(!world.run(&life).await, "it ended by itself:\n{}", world.log_tail());
    life.server.kill().await;

    let entries = disk::read(&std::fs::read(journal).unwrap());
    let offers = world.receiver.journal.offers();
    let directory = world.path().canonicalize().unwrap();
    let syncs = disk::syncs(&entries);
    let mut chance = StdRng::seed_from_u64(scale.seed);
    let (mut cuts, mut all) = (0, Damage::default());
    for (number, sync) in syncs.iter().enumerate() {
        // The power goes somewhere before the next sync ends; most is at stake just before that.
        let next = syncs.get(number + 1).copied().unwrap_or(entries.len());
        let last = if chance.random() { next } else { chance.random_range(sync + 1..=next) };
        let moment = entries.get(last).map_or_else(Instant::now, |entry| entry.at);
        let both = [Unsynced::Lost, Unsynced::mixed(chance.random())];
        // A share is evenly spread, and mostly mixed.
        let share = |number: usize| number * CUTS_SHORT / syncs.len();
        let wanted = scale.long || share(number) < share(number + 1);
        let only = if cuts % 3 == 2 { 0..1 } else { 1..2 };
        let ways =
            both.into_iter().enumerate().filter(|(way, _)| wanted && (scale.long || only.contains(way)));
        for (_, mut unsynced) in ways {
            let kind =
                if matches!(unsynced, Unsynced::Lost) { "all unsynced lost" } else { "some unsynced lost" };
            let told = format!("power cut before entry {last} of {}, {kind}", entries.len());
            let mut after = world.at(moment, &offers);
            let damage = disk::rebuild(&entries[..last], &directory, &mut unsynced, after.path());
            let finished = tokio::time::timeout(CUT_MAX, after.finish()).await;
            assert!(finished.is_ok(), "{told}: it takes too long\n{}", after.log_tail());
            println!("{told}");
            checks::all(&after);
            cuts += 1;
            all.lost += damage.lost;
            all.torn += damage.torn;
            all.kept += damage.kept;
        }
    }
    println!(
        "\n{cuts} power cuts after {} syncs; of the writes that no sync covered {} were lost, {} torn, {} kept",
        syncs.len(),
        all.lost,
        all.torn,
        all.kept
    );
    assert!(cuts >= CUTS_SHORT && all.lost > 0 && all.torn > 0, "there was something to lose");
}

/// Builds the library that keeps the journal.
fn library(into: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/powercut.c");
    let library = into.join("powercut.so");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source);
    assert!(compiler.status().unwrap().success(), "{} is built", source.display());
    library
}
