//! SIGKILL at each named step of an event's way, and what is left after the next start.

use crate::checks;
use crate::scale::Scale;
use crate::server::Start;
use crate::world::{Traffic, World};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Mutex;
use std::time::Duration;

/// A step at which the process can end, and how it is reached.
struct Point {
    /// As the crates tell it, in `tracing` events of the target `secevent::step`.
    step: &'static str,
    /// It ends when the step is reached for one of these times.
    times: RangeInclusive<u64>,
    /// Of a thousand pushes, so many meet trouble.
    trouble: u32,
    /// The store is to have something to forget.
    forget: bool,
}

const fn point(step: &'static str, times_max: u64) -> Point {
    Point { step, times: 1..=times_max, trouble: 30, forget: false }
}

/// To have a new step tested, tell it where it happens and add it here.
const POINTS: [Point; 19] = [
    point("accept", 30),
    point("commit", 80),
    point("committed", 80),
    point("hand-over", 80),
    point("dispatch", 80),
    point("response", 80),
    point("outcome", 30),
    point("outcome-stored", 30),
    Point { step: "retry", times: 1..=6, trouble: 200, forget: false },
    point("poll-hand-out", 20),
    point("poll-ack", 20),
    point("drop", 3),
    // What is old enough is forgotten by the second time; it ends before the third.
    Point { step: "trim", times: 3..=4, trouble: 30, forget: true },
    point("checkpoint", 12),
    point("put", 12),
    Point { step: "redrive", times: 1..=6, trouble: 200, forget: false },
    Point { step: "redriven", times: 1..=3, trouble: 200, forget: false },
    // Between owing again and writing down how far it has come: mostly in the middle of a replay.
    Point { step: "replay", times: 1..=10, trouble: 30, forget: false },
    // A copy is whole, and has another name yet.
    point("backup", 2),
];

/// Runs for each point: as many in a short test, and in a long one.
const RUNS_SHORT: u64 = 1;
const RUNS_LONG: u64 = 15;
/// Longer than this no run takes, on the slowest machine.
const RUN_MAX: Duration = Duration::from_secs(120);
/// How many runs go on at once.
const AT_ONCE: usize = 2;

/// One run: the process ends at one point, perhaps at another one after its restart, and then no more.
struct Run {
    point: &'static Point,
    times: u64,
    second: Option<(&'static Point, u64)>,
    seed: u64,
}

#[derive(Default)]
struct Report {
    hits: BTreeMap<&'static str, usize>,
    /// The most SETs that came again after one crash.
    again_max: usize,
    runs: usize,
    crashes: usize,
    redriven: u64,
    replays: usize,
    /// The replays that were under way when a server started.
    resumed: usize,
}

/// I1, I2, I4 and SEM-16 hold wherever the process ends.
#[test]
fn killed_at_every_step_it_keeps_its_promises() {
    let scale = Scale::from_environment();
    let wanted: Vec<&Point> = POINTS.iter().filter(|point| scale.wants(point.step)).collect();
    if wanted.is_empty() {
        assert!(scale.is_for_another_test(), "there is no point {:?}", scale.point);
        return;
    }
    let runs = Mutex::new(plan(&wanted, &scale));
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                loop {
                    let Some(run) = runs.lock().unwrap().pop() else { return };
                    runtime.block_on(run.go(&scale, &report));
                }
            });
        }
    });
    let report = report.into_inner().unwrap();
    report.print(&wanted);
    let enough = if scale.long { 10 } else { 1 };
    for point in &wanted {
        let hits = report.hits.get(point.step).copied().unwrap_or_default();
        assert!(hits >= enough, "{} was hit {hits} times", point.step);
    }
    assert!(!scale.long || scale.point.is_some() || report.crashes >= 200, "{} crashes", report.crashes);
}

fn plan(points: &[&'static Point], scale: &Scale) -> Vec<Run> {
    let rounds = if scale.long { RUNS_LONG } else { RUNS_SHORT };
    let runs = (0..rounds).flat_map(|round| points.iter().map(move |point| (round, *point)));
    let run = |(round, point): (u64, &'static Point)| {
        // Each run has its own chance, so that it is the same one when it runs alone.
        let name = point.step.bytes().fold(0, |name, byte| name << 5 ^ name ^ u64::from(byte));
        let mut chance = StdRng::seed_from_u64(scale.seed ^ name << 20 ^ round << 52);
        let times = chance.random_range(point.times.clone());
        // The next start after a crash can be cut short too.
        let other = &POINTS[chance.random_range(0..POINTS.len())];
        let second = (chance.random_range(0..3) == 0 && !other.forget)
            .then(|| (other, chance.random_range(1..=20.min(*other.times.end()))));
        Run { point, times, second, seed: chance.random() }
    };
    runs.map(run).collect()
}

impl Run {
    async fn go(&self, scale: &Scale, report: &Mutex<Report>) {
        let Self { point, times, second, seed } = self;
        let second_told = second.map(|(point, times)| format!(", then {}:{times}", point.step));
        let told = format!("{}:{times}{}", point.step, second_told.unwrap_or_default());
        // Whoever looks for a failure finds in its output where it was and how to get there again.
        println!("{told}  ({})", scale.command(point.step));
        // More events in the first life than are needed to reach the point, however fast the server is; a few in the second.
        let posts = if point.forget { 10 } else { 5_000 };
        let traffic = Traffic { posts, trouble: point.trouble, forget: point.forget };
        let mut world = World::new(*seed, traffic).await;
        let all = async {
            let hit = self.live(&mut world, point, *times).await;
            assert!(hit, "the point is reached\n{}", world.log_tail());
            let mut hits = vec![point.step];
            if let Some((point, times)) = second {
                world.traffic.posts = 5;
                if self.live(&mut world, point, *times).await {
                    hits.push(point.step);
                }
            }
            world.finish().await;
            // It ended in order: nothing of that life may come again in one more.
            if !point.forget {
                world.redrive_and_finish().await;
            } else {
                world.finish().await;
            }
            hits
        };
        let Ok(hits) = tokio::time::timeout(RUN_MAX, all).await else {
            panic!("{told}: it takes too long\n{}", world.log_tail());
        };
        checks::all(&world);
        report.lock().unwrap().add(&hits, &world);
    }

    /// One life with a kill point. Returns whether it was reached; if not, the process ends all the same.
    async fn live(&self, world: &mut World, point: &Point, times: u64) -> bool {
        let kill_at = Some((point.step.to_owned(), times));
        let status = match world.start(&Start { kill_at, ..Start::default() }).await {
            Err(status) => status,
            Ok(server) => match world.meet(server).await {
                Err((server, _)) => server.ended().await,
                Ok(life) => {
                    let ended = world.run(&life).await;
                    if !ended && !point.forget {
                        life.server.kill().await;
                        return false;
                    }
                    if !ended {
                        // It ends by itself, if not now, then while nothing else happens.
                        let _ = world.leave_something_owed(&life).await;
                    }
                    life.server.ended().await
                }
            },
        };
        assert_eq!(status.signal(), Some(9), "it ends by its own hand: {status}\n{}", world.log_tail());
        true
    }
}

impl Report {
    fn add(&mut self, hits: &[&'static str], world: &World) {
        let again = checks::taken_again(world);
        self.redriven += world.operator.redriven;
        self.replays += world.operator.told.len();
        self.resumed += world.operator.resumed;
        self.runs += 1;
        self.crashes += hits.len();
        for hit in hits {
            *self.hits.entry(hit).or_default() += 1;
        }
        self.again_max = self.again_max.max(again.iter().copied().max().unwrap_or_default());
    }

    fn print(&self, points: &[&Point]) {
        println!("\n{:<16} {:>5}", "killed at", "hits");
        for point in points {
            println!("{:<16} {:>5}", point.step, self.hits.get(point.step).copied().unwrap_or_default());
        }
        println!("{:<16} {:>5}", "all", self.crashes);
        let Self { redriven, replays, resumed, .. } = self;
        println!("{redriven} SETs redriven, {replays} replays, {resumed} of them gone on with after a start");
        println!("{} runs; at most {} SETs came again after one crash", self.runs, self.again_max);
    }
}
