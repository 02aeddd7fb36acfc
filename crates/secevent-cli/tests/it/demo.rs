//! The demo: the whole way of an event, with the real parts.

use crate::program::Place;

/// The story is told in order, and only ends well if all of it happened: both streams verified, the event
/// delivered by push and by poll, and nothing owed any more.
#[test]
fn the_story_is_told_to_its_end() {
    let told = Place::new().run(&["demo", "--exit"]).ok();
    let steps = [
        "A transmitter listens on http://127.0.0.1:",
        "POST /ssf/stream",
        "SET: ssf:verification",
        "is verified: the transmitter reaches us",
        "is verified",
        // The producer's answer comes before what is delivered because of it (finding: C16).
        "POST /events",
        "owed to 2 streams",
        "only now does the producer get its answer",
        "SET: caep:session-revoked",
        "shop by push",
        "shop by poll",
        "Nothing is owed to the receiver any more",
        "The story is told.",
    ];
    let mut rest = told.as_str();
    for step in steps {
        let at =
            rest.find(step).unwrap_or_else(|| panic!("{step:?} is missing, or out of turn, in:\n{told}"));
        rest = &rest[at + step.len()..];
    }
    for by in ["push", "poll"] {
        let line = format!("shop by {by}: session-revoked about alice@example.com (laptop reported stolen)");
        assert!(told.contains(&line), "{told}");
    }
    assert!(told.contains("acknowledges 1 SET"), "{told}");
}

/// Two demos at once do not meet: each finds a port of its own.
#[test]
fn two_demos_run_beside_each_other() {
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| Place::new().run(&["demo", "--exit"]).ok()));
        for demo in both {
            assert!(demo.join().unwrap().contains("The story is told."));
        }
    });
}
