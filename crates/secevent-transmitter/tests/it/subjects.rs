//! Subjects: who is in a stream, who is not, and from when on.

use crate::store::TestStore;
use crate::world::{ISSUER, World, email};
use secevent_ssf::{AddSubject, DefaultSubjects, RemoveSubject, StreamId, Tolerance};
use secevent_store::{Documents as _, Outbox as _, Queue, Sequence, StreamNumber, Subjects as _};
use secevent_transmitter::{ManageError, TransmitterConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const A: StreamNumber = StreamNumber(1);

fn none(config: &mut TransmitterConfig) {
    config.issuers[0].default_subjects = DefaultSubjects::None;
}

impl World {
    pub(crate) async fn add(&self, id: &StreamId, subject: &Value) -> Result<(), ManageError> {
        let request = json!({"stream_id": id.as_str(), "subject": subject}).to_string();
        let request = AddSubject::read(request.as_bytes(), Tolerance::NONE).unwrap();
        self.transmitter.add_subject(ISSUER, "rp", request).await
    }

    async fn remove(&self, id: &StreamId, subject: &Value) -> Result<(), ManageError> {
        let request = json!({"stream_id": id.as_str(), "subject": subject}).to_string();
        let request = RemoveSubject::read(request.as_bytes(), Tolerance::NONE).unwrap();
        self.transmitter.remove_subject(ISSUER, "rp", request).await
    }

    /// To how many streams an event about this is owed.
    async fn owed(&self, subject: &Value) -> usize {
        self.emit_about("e", subject).await.deliveries
    }
}

fn user_on(user: &str, device: &str) -> Value {
    json!({"format": "complex", "user": email(user), "device": {"format": "opaque", "id": device}})
}

fn both(user: &str, id: &str) -> Value {
    json!({"format": "aliases", "identifiers": [email(user), {"format": "opaque", "id": id}]})
}

/// Simple, alias list or complex: what was added or removed counts as long as nothing else is said, also for the next
/// process (SEM-14).
#[tokio::test(start_paused = true)]
async fn what_was_said_counts_at_once_and_after_a_restart() {
    for default in [DefaultSubjects::All, DefaultSubjects::None] {
        let world = World::with(|config| config.issuers[0].default_subjects = default).await;
        let id = world.poll_stream().await;
        let by_default = usize::from(default == DefaultSubjects::All);
        let subjects = [email("alice"), both("bob", "u-2"), user_on("carol", "laptop")];
        let probes = [email("alice"), email("bob"), json!({"format": "complex", "user": email("carol")})];
        for probe in &probes {
            assert_eq!(world.owed(probe).await, by_default, "{probe}");
        }
        for said in [1 - by_default, by_default, 1 - by_default] {
            for (subject, probe) in subjects.iter().zip(&probes) {
                match said {
                    1 => world.add(&id, subject).await.unwrap(),
                    _ => world.remove(&id, subject).await.unwrap(),
                }
                assert_eq!(world.owed(probe).await, said, "{default:?} {probe}");
            }
        }
        let world = world.restarted().await;
        for probe in &probes {
            assert_eq!(world.owed(probe).await, 1 - by_default, "{probe}");
        }
        assert_eq!(world.owed(&email("dora")).await, by_default);
        assert_eq!(
            world.owed(&user_on("alice", "laptop")).await,
            by_default,
            "a simple one matches no complex one"
        );
    }
}

/// A stream keeps the default of its creation, and one that was stored before there was a choice has all subjects.
#[tokio::test(start_paused = true)]
async fn the_default_is_fixed_when_the_stream_is_created() {
    let world = World::with(none).await;
    let id = world.poll_stream().await;
    let mut config = world.config.clone();
    config.issuers[0].default_subjects = DefaultSubjects::All;
    let world = world.restarted_with(config).await;
    assert_eq!(world.owed(&email("alice")).await, 0);
    world.poll_stream().await;
    assert_eq!(world.owed(&email("alice")).await, 1);

    let name = format!("stream/{id}");
    let document = world.store.get(&name).await.unwrap().unwrap();
    let mut old: Value = serde_json::from_slice(&document.body).unwrap();
    assert_eq!(old.as_object_mut().unwrap().remove("default_subjects"), Some(json!("NONE")));
    world.store.put(&name, document.version, Some(old.to_string().into())).await.unwrap();
    let mut config = world.config.clone();
    none(&mut config);
    assert_eq!(world.restarted_with(config).await.owed(&email("alice")).await, 2);
}

/// Adding twice, removing twice and removing what was never added change nothing and are no errors.
#[tokio::test(start_paused = true)]
async fn saying_it_again_changes_nothing() {
    let world = World::with(none).await;
    let id = world.poll_stream().await;
    world.remove(&id, &email("alice")).await.unwrap();
    assert_eq!(world.store.subject_counts().await, Ok(Vec::new()));
    for _ in 0..2 {
        world.add(&id, &email("alice")).await.unwrap();
    }
    assert_eq!(world.store.subject_counts().await, Ok(vec![(A, 1)]));
    assert_eq!(world.owed(&email("alice")).await, 1);
    for _ in 0..2 {
        world.remove(&id, &email("alice")).await.unwrap();
    }
    assert_eq!(world.store.subject_counts().await, Ok(Vec::new()));
    assert_eq!(world.owed(&email("alice")).await, 0);
}

/// Streams are about their own subjects, and an event is owed to those that are about its subject.
#[tokio::test(start_paused = true)]
async fn each_stream_has_its_own_subjects() {
    let world = World::with(none).await;
    let (one, two) = (world.poll_stream().await, world.poll_stream().await);
    world.add(&one, &email("alice")).await.unwrap();
    world.add(&two, &email("alice")).await.unwrap();
    world.add(&two, &email("bob")).await.unwrap();
    let owed = [world.owed(&email("alice")).await, world.owed(&email("bob")).await];
    assert_eq!(owed, [2, 1]);
    world.delete(&two).await;
    assert_eq!((world.owed(&email("alice")).await, world.owed(&email("bob")).await), (1, 0));
    assert_eq!(world.store.subject_counts().await, Ok(vec![(A, 1)]), "its subjects went with it");
}

/// A removed subject stays in until the grace of removals is over, also if the process ends meanwhile.
#[tokio::test(start_paused = true)]
async fn a_removed_subject_stays_in_for_a_while() {
    for default in [DefaultSubjects::All, DefaultSubjects::None] {
        let world = World::with(|config| {
            config.issuers[0].default_subjects = default;
            config.subjects.removal_grace = Duration::from_secs(3_600);
        })
        .await;
        let id = world.poll_stream().await;
        for subject in [email("alice"), email("bob"), both("carol", "u-3")] {
            world.add(&id, &subject).await.unwrap();
            world.remove(&id, &subject).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(3_500)).await;
        world.add(&id, &email("bob")).await.unwrap();
        let world = world.restarted().await;
        for user in ["alice", "bob", "carol"] {
            assert_eq!(world.owed(&email(user)).await, 1, "{user}");
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        let owed = [world.owed(&email("alice")).await, world.owed(&email("bob")).await];
        assert_eq!((owed, world.owed(&email("carol")).await), ([0, 1], 0), "{default:?}");
        // Housekeeping has the store forget what means nothing any more.
        tokio::time::sleep(Duration::from_secs(120)).await;
        let left = if default == DefaultSubjects::All { 3 } else { 1 };
        assert_eq!(world.store.subject_counts().await, Ok(vec![(A, left)]));
        assert_eq!(world.restarted().await.owed(&email("bob")).await, 1);
    }
}

/// A removal of what was never added does not bring it in for the time of grace.
#[tokio::test(start_paused = true)]
async fn grace_brings_nobody_in() {
    let grace = |config: &mut TransmitterConfig| config.subjects.removal_grace = Duration::from_secs(60);
    let world = World::with(grace).await;
    let id = world.poll_stream().await;
    let anywhere = json!({"format": "complex", "user": email("alice")});
    world.remove(&id, &anywhere).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.remove(&id, &user_on("alice", "laptop")).await.unwrap();
    assert_eq!(world.owed(&user_on("alice", "laptop")).await, 0);
}

/// What the grace of removals ends for is counted as what a receiver does itself: nothing stays behind that would use up
/// the room in memory, and nothing is given back twice.
#[tokio::test(start_paused = true)]
async fn what_ends_by_itself_gives_back_its_room_in_memory() {
    for default in [DefaultSubjects::All, DefaultSubjects::None] {
        let world = World::with(|config| {
            config.issuers[0].default_subjects = default;
            config.subjects.removal_grace = Duration::from_secs(60);
            config.subjects.in_memory_max = 3;
        })
        .await;
        for asked in [true, false, true, false] {
            let id = world.poll_stream().await;
            for user in ["alice", "bob"] {
                world.add(&id, &email(user)).await.unwrap();
                world.remove(&id, &email(user)).await.unwrap();
            }
            // An event comes in, or housekeeping looks after the stream.
            tokio::time::sleep(Duration::from_secs(if asked { 60 } else { 200 })).await;
            assert_eq!(world.owed(&email("alice")).await, 0);
            world.delete(&id).await;
        }
        let id = world.poll_stream().await;
        world.add(&id, &email("carol")).await.unwrap();
        assert_eq!(world.add(&id, &user_on("carol", "laptop")).await, Ok(()), "{default:?}");
        let asked = world.store.standings_asked.load(SeqCst);
        world.owed(&email("carol")).await;
        assert_eq!(world.store.standings_asked.load(SeqCst), asked, "{default:?}");
    }
}

/// Beyond what memory may hold the store is asked, once for all events and streams of a call; compound subjects
/// are known without it.
#[tokio::test(start_paused = true)]
async fn beyond_memory_the_store_is_asked_once_for_each_call() {
    for default in [DefaultSubjects::All, DefaultSubjects::None] {
        let world = World::with(|config| {
            config.issuers[0].default_subjects = default;
            config.subjects.in_memory_max = 10;
        })
        .await;
        let streams = [world.poll_stream().await, world.poll_stream().await];
        let user = |number: usize| email(&format!("user{number}"));
        let by_default = if default == DefaultSubjects::All { 2 } else { 0 };
        for id in &streams {
            for number in 0..20 {
                match default {
                    DefaultSubjects::All => world.remove(id, &user(number)).await.unwrap(),
                    DefaultSubjects::None => world.add(id, &user(number)).await.unwrap(),
                }
            }
        }
        for world in [world.restarted().await, world] {
            let events: Vec<_> = (0..30).map(|number| crate::world::event("e", &user(number))).collect();
            let before = world.store.standings_asked.load(SeqCst);
            let accepted = world.accept(None, &events).await.unwrap();
            assert_eq!(world.store.standings_asked.load(SeqCst) - before, 1);
            for (number, accepted) in accepted.iter().enumerate() {
                let expected = if number < 20 { 2 - by_default } else { by_default };
                assert_eq!(accepted.deliveries, expected, "{default:?} {number}");
            }
            // What is said from here on counts too.
            world.add(&streams[0], &user(3)).await.unwrap();
            world.remove(&streams[0], &user(3)).await.unwrap();
            world.add(&streams[1], &user(3)).await.unwrap();
            assert_eq!(world.owed(&user(3)).await, 1);
            let before = world.store.standings_asked.load(SeqCst);
            world.owed(&json!({"format": "complex", "user": email("user3")})).await;
            assert_eq!(
                world.store.standings_asked.load(SeqCst),
                before,
                "no complex subject is in the store alone"
            );
        }
    }
}

/// The bound is reached, refuses what is new, and lets everything else through.
#[tokio::test(start_paused = true)]
async fn a_stream_has_a_bounded_number_of_subjects() {
    let world = World::with(|config| {
        none(config);
        config.subjects.per_stream_max = 2;
    })
    .await;
    let id = world.poll_stream().await;
    world.add(&id, &email("alice")).await.unwrap();
    world.store.subjects_fail.store(true, SeqCst);
    assert!(matches!(world.add(&id, &email("bob")).await, Err(ManageError::Ours(_))));
    assert_eq!(world.owed(&email("bob")).await, 0, "what is not stored does not count");
    world.store.subjects_fail.store(false, SeqCst);
    world.add(&id, &email("bob")).await.unwrap();
    assert_eq!(world.add(&id, &email("carol")).await, Err(ManageError::TooManySubjects));
    world.add(&id, &email("alice")).await.unwrap();
    world.remove(&id, &email("alice")).await.unwrap();
    world.add(&id, &email("carol")).await.unwrap();
    let world = world.restarted().await;
    assert_eq!(world.add(&id, &email("dora")).await, Err(ManageError::TooManySubjects));
}

/// Complex subjects come in so many shapes and alias lists are so long, and no more.
#[tokio::test(start_paused = true)]
async fn the_kinds_of_complex_subjects_and_the_length_of_lists_are_bounded() {
    let world = World::with(none).await;
    let id = world.poll_stream().await;
    let shape = |number: usize| json!({"format": "complex", format!("member{number}"): email("alice")});
    for number in 0..64 {
        world.add(&id, &shape(number)).await.unwrap();
    }
    assert_eq!(world.add(&id, &shape(64)).await, Err(ManageError::TooManySubjects));
    world.remove(&id, &shape(0)).await.unwrap();
    world.add(&id, &shape(64)).await.unwrap();
    assert_eq!((world.owed(&shape(0)).await, world.owed(&shape(64)).await), (0, 1));
    let list = |length: usize| {
        let one = |number: usize| json!({"format": "opaque", "id": number.to_string()});
        json!({"format": "aliases", "identifiers": (0..length).map(one).collect::<Vec<_>>()})
    };
    world.add(&id, &list(16)).await.unwrap();
    assert!(matches!(world.add(&id, &list(17)).await, Err(ManageError::Invalid(_))));
}

/// The stream's own subject is in whatever was said, and cannot be removed.
#[tokio::test(start_paused = true)]
async fn a_stream_is_always_about_itself() {
    let world = World::with(none).await;
    let id = world.poll_stream().await;
    let itself = json!({"format": "opaque", "id": id.as_str()});
    assert_eq!(world.owed(&itself).await, 1);
    assert!(
        matches!(world.remove(&id, &itself).await, Err(ManageError::Invalid(breach)) if breach.rule() == "SSF-149")
    );
    world.add(&id, &itself).await.unwrap();
    assert_eq!(world.owed(&itself).await, 1);
    world.verify(&id, "state").await;
    let page = world.store.page(A, Queue::Control, Sequence(0), 9).await.unwrap();
    assert_eq!(page.deliveries.len(), 1, "whatever subjects it has, it can be verified");
}

/// What could not be dropped with its stream is dropped at the next start.
#[tokio::test(start_paused = true)]
async fn subjects_of_a_stream_that_is_gone_are_dropped_at_the_start() {
    let store = TestStore::new();
    let world = World::on(Arc::clone(&store)).await;
    let id = world.poll_stream().await;
    world.remove(&id, &email("alice")).await.unwrap();
    let name = format!("stream/{id}");
    let version = store.get(&name).await.unwrap().unwrap().version;
    store.put(&name, version, None).await.unwrap();
    assert_eq!(store.subject_counts().await, Ok(vec![(A, 1)]));
    let world = world.restarted().await;
    assert_eq!(world.store.subject_counts().await, Ok(Vec::new()));
}

/// An erased subject is gone from all streams, alone and together with others.
#[tokio::test(start_paused = true)]
async fn an_erased_subject_is_gone_from_all_streams() {
    let world = World::with(none).await;
    let (one, two) = (world.poll_stream().await, world.poll_stream().await);
    for (id, subject) in [
        (&one, email("alice")),
        (&one, both("alice", "u-1")),
        (&two, user_on("alice", "laptop")),
        (&two, email("alice")),
        (&two, email("bob")),
    ] {
        world.add(id, &subject).await.unwrap();
    }
    let alice = serde_json::from_value(email("alice")).unwrap();
    assert_eq!(world.transmitter.erase_subject(&alice).await, Ok(4));
    assert_eq!(world.transmitter.erase_subject(&alice).await, Ok(0));
    for world in [world.restarted().await, world] {
        assert_eq!(world.owed(&email("alice")).await, 0);
        assert_eq!(world.owed(&json!({"format": "opaque", "id": "u-1"})).await, 0);
        assert_eq!(world.owed(&user_on("alice", "laptop")).await, 0);
        assert_eq!(world.owed(&email("bob")).await, 1);
        assert_eq!(world.store.subject_counts().await, Ok(vec![(StreamNumber(2), 1)]));
    }
}
