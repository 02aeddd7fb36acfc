//! A power cut: the files are rebuilt as a disk might have them, and the next start keeps all promises.

use crate::checks;
use crate::clock::Instant;
use crate::disk::{self, Damage, Entry, Unsynced};
use crate::receiver::Offer;
use crate::scale::Scale;
use crate::server::Start;
use crate::world::{Traffic, World};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::task::LocalSet;

/// Posts of each producer in each of two lives: in a short test, and in a long one.
const POSTS_SHORT: usize = 10;
const POSTS_LONG: usize = 25;
/// In a short test the power is cut after so many of the syncs, in a long one after each.
const CUTS_SHORT: usize = 24;
/// Longer than this no start takes, on the slowest machine.
const CUT_MAX: Duration = Duration::from_secs(60);

/// I1 and the rest of the promises hold after a power cut: a sync is what makes them.
#[test]
fn after_a_power_cut_it_keeps_its_promises() {
    let scale = Scale::from_environment();
    if scale.wants("power") {
        println!("power  ({})", scale.command("power"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let past = Past::live(&scale).await;
            past.cut_everywhere(&scale).await;
            past.forget_what_was_synced().await;
        });
    }
}

/// What happened, and what was written meanwhile.
struct Past {
    world: World,
    /// The directory of the files, as the journal names it.
    directory: PathBuf,
    entries: Vec<Entry>,
    offers: Vec<Offer>,
}

impl Past {
    /// Two lives with everything that happens in one. The first is killed, the second ends in order.
    async fn live(scale: &Scale) -> Self {
        let aside = tempfile::tempdir().unwrap();
        let journal = aside.path().join("journal");
        let start = Start { power: Some((library(aside.path()), journal.clone())), ..Start::default() };
        let posts = if scale.long { POSTS_LONG } else { POSTS_SHORT };
        let mut world = World::new(scale.seed, Traffic { posts, trouble: 30, forget: false }).await;
        for last in [false, true] {
            let life = world.begin(&start).await;
            assert!(!world.run(&life).await, "it ended by itself:\n{}", world.log_tail());
            match last {
                false => life.server.kill().await,
                true => life.server.stop().await,
            }
        }
        let entries = disk::read(&std::fs::read(journal).unwrap());
        let offers = world.receiver.journal.offers();
        let directory = world.path().canonicalize().unwrap();
        Self { world, directory, entries, offers }
    }

    async fn cut_everywhere(&self, scale: &Scale) {
        let syncs = disk::syncs(&self.entries);
        let mut chance = StdRng::seed_from_u64(scale.seed);
        let (mut cuts, mut all) = (0, Damage::default());
        for (number, sync) in syncs.iter().enumerate() {
            // The power goes somewhere before the next sync ends; most is at stake just before that.
            let next = syncs.get(number + 1).copied().unwrap_or(self.entries.len());
            let last = if chance.random() { next } else { chance.random_range(sync + 1..=next) };
            let (mixed, is_mixed) = (Unsynced::mixed(chance.random()), cuts % 3 != 2);
            let share = |number: usize| number * CUTS_SHORT / syncs.len();
            let ways = match scale.long {
                true => vec![Unsynced::Lost, mixed],
                // A share is evenly spread, and mostly mixed.
                false if share(number) == share(number + 1) => continue,
                false => vec![if is_mixed { mixed } else { Unsynced::Lost }],
            };
            for unsynced in ways {
                let damage = self.cut(last, unsynced).await;
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

    /// The power goes before this entry.
    async fn cut(&self, last: usize, mut unsynced: Unsynced) -> Damage {
        let kind = if matches!(unsynced, Unsynced::Lost) { "all" } else { "some" };
        let told = format!("before entry {last} of {}, {kind} unsynced writes lost", self.entries.len());
        let moment = self.entries.get(last).map_or_else(Instant::now, |entry| entry.at);
        let mut after = self.world.at(moment, &self.offers);
        let entries = &self.entries[..last];
        let damage = disk::rebuild(entries, &self.directory, &mut unsynced, after.path());
        let finished = tokio::time::timeout(CUT_MAX, after.finish()).await;
        assert!(finished.is_ok(), "{told}: it takes too long\n{}", after.log_tail());
        println!("{told}");
        checks::all(&after);
        damage
    }

    /// These tests see what they are for: a disk that forgets what was synced breaks the promises.
    async fn forget_what_was_synced(mut self) {
        let half = self.entries.len() / 2;
        self.entries = disk::without_syncs_from(self.entries, half);
        println!("what follows is wanted: this disk forgets");
        let last = self.entries.len();
        let local = LocalSet::new();
        let cut = local.spawn_local(async move { self.cut(last, Unsynced::Lost).await });
        let noticed = local.run_until(cut).await;
        assert!(noticed.is_err(), "it is noticed");
    }
}

/// Builds the library that keeps the journal.
pub(crate) fn library(into: &Path) -> PathBuf {
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
