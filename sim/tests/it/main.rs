//! The simulation's own promises: it is deterministic, it finds nothing today, and it would find what is broken.

use sim::{Mutation, Promise, catch, run, try_seeds};
use std::collections::BTreeSet;

/// What fits into a test run without optimisation. `cargo xtask sim` runs more, faster.
const SEEDS: u64 = 150;

#[test]
fn a_seed_always_has_the_same_run() {
    for seed in [3, 14, 56] {
        let (first, second) = (run(seed, None), run(seed, None));
        let differs = first.trace.iter().zip(&second.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((first.digest, first.trace.len()), (second.digest, second.trace.len()), "seed {seed}");
    }
}

#[test]
fn seeds_differ() {
    let digests: BTreeSet<u64> = (1..=5).map(|seed| run(seed, None).digest).collect();
    assert_eq!(digests.len(), 5);
}

#[test]
fn no_seed_breaks_a_promise() {
    let tally = try_seeds(1, SEEDS, None);
    assert!(tally.stuck.is_empty(), "these do not end: {:?}", tally.stuck);
    if let Some(broken) = tally.broken {
        let from = broken.trace.len().saturating_sub(40);
        panic!("seed {}: {:?}\n{}", broken.seed, broken.violation, broken.trace[from..].join("\n"));
    }
    assert_eq!(tally.seeds, SEEDS);
    assert!(tally.deliveries > 10_000, "a world in which nothing happens proves nothing: {tally:?}");
}

#[test]
fn every_deliberate_fault_is_noticed() {
    let mut broken = BTreeSet::new();
    for mutation in Mutation::ALL {
        match catch(mutation, 60) {
            Ok(report) => broken.extend(report.violation.map(|violation| violation.promise)),
            Err(reason) => panic!("{mutation}: {reason}"),
        }
    }
    for promise in [
        Promise::AcceptedIsDurable,
        Promise::ClaimsNeverChange,
        Promise::EachEndsAndIsCounted,
        Promise::InOrderPerSubject,
        Promise::AcknowledgedIsKept,
        Promise::Bounded,
    ] {
        assert!(broken.contains(&promise), "no fault is reported as breaking {promise}");
    }
}
