//! One stream in the hands of its operator: named, shown, tried at once, deleted.

use crate::admin::World;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A stream that the file declares, and a pause after a failure that nobody waits for.
const MORE: &str = r#"
[delivery]
retry_delay_first_seconds = 300
retry_delay_max_seconds = 300
[[stream]]
name = "siem"
client = "shop"
events = ["caep:*"]
delivery = { method = "poll" }
description = "what the siem hears"
"#;

// finding: C2
#[test]
fn a_stream_is_shown_and_deleted_by_its_name_or_the_beginning_of_its_identifier() {
    let world = World::with(MORE);
    let (id, short) = (world.stream.as_str(), &world.stream[..8]);
    let table = world.run(&["streams"]).ok();
    let line =
        |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
    assert!(line("siem").contains("poll") && line(short).contains("push 127.0.0.1:"), "{table}");
    assert!(!table.contains(id) && table.lines().all(|line| line.chars().count() <= 120), "{table}");

    let shown = world.run(&["streams", "show", short]).ok();
    for part in
        [id, "shop", "https://shop.example", &world.sink.url, "with a credential", "caep:session-revoked"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("credential-of-shop"), "{shown}");
    let siem = world.json(&["streams", "show", "siem"]);
    assert_eq!(
        (&siem["name"], &siem["details"]["description"]),
        (&json!("siem"), &json!("what the siem hears"))
    );
    assert_eq!(siem["details"]["updated"]["actor"]["kind"], "configuration");
    let siem_id = siem["stream_id"].as_str().unwrap();

    // Wherever a stream is taken.
    let paused = world.run(&["streams", "pause", "siem", "--reason", "maintenance"]).ok();
    assert_eq!(paused, format!("stream siem ({siem_id}) is paused\n"));
    let shown = world.run(&["streams", "show", "siem"]).ok();
    assert!(shown.contains("paused by operator, set ") && shown.contains("by command-line"), "{shown}");
    assert!(shown.contains("maintenance"), "{shown}");
    world.run(&["streams", "enable", &siem_id[..4]]).ok();
    for named in ["siem", &siem_id[..5]] {
        let dead = world.json(&["dead", "list", "--stream", named]);
        assert!(dead["dead"].as_array().unwrap().iter().all(|one| one["stream_id"] == siem_id), "{dead}");
        assert!(world.json(&["dead", "discard", named, "--all", "--yes"])["discarded"].is_u64());
        let replay = ["replay", "start", named, "--since", "1h", "--preview"];
        assert_eq!(world.json(&replay)["count"], 0);
        let changes = world.json(&["audit", "--stream", named, "--action", "stream.", "--limit", "3"]);
        let told: Vec<&Value> =
            changes["changes"].as_array().unwrap().iter().map(|one| &one["action"]).collect();
        assert_eq!(told, ["stream.enable", "stream.pause", "stream.create"], "{changes}");
    }
    let replay = world.json(&["replay", "start", short, "--since", "1h", "--fresh-jti", "--wait"]);
    let listed = world.run(&["replay", "list"]).ok();
    assert!(listed.contains(short) && !listed.contains(id), "{listed}");
    assert_eq!(world.json(&["replay", "cancel", &replay["id"].as_str().unwrap()[..6]])["state"], "done");

    // What is declared is not deleted, and what is not is, with its identifier in the answer.
    let refused = world.run(&["streams", "delete", "siem", "--yes"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("declared as \"siem\""), "{refused:?}");
    assert_eq!(world.json(&["streams", "delete", short, "--yes"]), json!({ "deleted": id }));
    for (args, told) in [
        (["streams", "show", short], "there is no such stream"),
        (["streams", "show", "sie"], "give 4 characters or more"),
        (["streams", "delete", "nothing"], "no terminal"),
    ] {
        let ran = world.run(&args);
        assert!(ran.code != 0 && ran.stderr.contains(told), "{told}: {ran:?}");
    }
    let changes = world.json(&["audit", "--stream", id, "--limit", "1"]);
    assert_eq!(changes["changes"][0]["action"], "stream.delete");
    assert_eq!(world.server.stop(), 0);
}

// finding: C8
#[test]
fn a_receiver_that_works_again_need_not_wait() {
    let world = World::with(MORE);
    let short = &world.stream[..8];
    assert_eq!(world.run(&["streams", "retry", "--all"]).ok(), "no stream is waiting for its next attempt\n");
    world.sink.refuse_with(r#"{"err":"authentication_failed"}"#);
    world.emit("alice@example.com");
    world.sink.next();
    let is_suspended = |told: &Value| !told["suspended"].is_null();
    let told = world.json_once(&["streams", "show", short], is_suspended);
    assert_eq!(told["suspended"]["trouble"], "credentials");
    // Still refused: one attempt, and the wait goes on.
    let retried = world.json(&["streams", "retry", short]);
    assert_eq!((&retried["was_suspended"], &retried["failures"]), (&json!(true), &json!(1)), "{retried}");
    world.sink.next();
    let told = world.json_once(&["streams", "show", short], |told| told["in_flight"] == 0);
    assert_eq!(told["suspended"]["failures"], 1, "{told}");

    world.sink.refuse(false);
    let asked_at = Instant::now();
    let retried = world.run(&["streams", "retry", "--all"]).ok();
    assert!(retried.contains("was suspended after 1 failure, one SET is sent now"), "{retried}");
    assert_eq!(world.sink.next()["sub_id"]["email"], "alice@example.com");
    assert!(asked_at.elapsed() < Duration::from_secs(25), "it would have waited for 30 s at least");
    world.json_once(&["streams", "show", short], |told| told["backlog"]["pending"] == 0);
    let nothing = world.run(&["streams", "retry", short]).ok();
    assert!(nothing.ends_with("nothing was waiting for its next attempt\n"), "{nothing}");
    let polled = world.run(&["streams", "retry", "siem"]);
    assert!(polled.code == 1 && polled.stderr.contains("is polled"), "{polled:?}");
    assert_eq!(world.run(&["streams", "retry"]).code, 2);
    assert_eq!(world.server.stop(), 0);
}
