//! What has to be true whatever happened: the promises of ARCHITECTURE.md, over everything that was seen.

use crate::again::{Repeat, Repeats, Taken, covers, posts_by_event, story};
use crate::clock::Instant;
use crate::operator::{REPLAY_TURN, What, damaged};
use crate::receiver::{EventName, Offer};
use crate::streams::{Change, LASTING, POLLED};
use crate::world::{IN_FLIGHT_MAX, World};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Outcomes that a crash may undo: of the deliveries in flight, and of one group. With three producers that wait for
/// their answers, and a stream that is paused for a moment, a group does not get larger than this.
const UNSTORED_MAX: usize = 100;

/// How many SETs that a receiver had taken came again after each life of the server, and nobody had asked.
pub(crate) fn taken_again(world: &World) -> Vec<usize> {
    let repeats = Repeats::of(world, &world.receiver.journal.offers());
    (0..world.logs.len())
        .map(|life| repeats.undone.iter().filter(|repeat| repeat.taken.life == life).count())
        .collect()
}

/// Everything at once. The server has ended, and everything that was owed has been delivered.
pub(crate) fn all(world: &World) {
    let offers = world.receiver.journal.offers();
    let mut broken = Vec::new();
    broken.extend(lost(world, &offers));
    broken.extend(changed(&offers));
    broken.extend(doubled(world, &offers));
    broken.extend(replays(world, &offers));
    broken.extend(dead(world, &offers));
    broken.extend(world.operator.broken_copies());
    broken.extend(out_of_order(&offers));
    broken.extend(repeated(world, &offers));
    broken.extend(after_the_end(world, &offers));
    broken.extend(other_than_told(world, &offers));
    broken.extend(damaged(&world.path().join("events.db")));
    assert!(broken.is_empty(), "{}\nthe end of the last log:\n{}", broken.join("\n"), world.log_tail());
}

/// I1: what got its 2xx is offered to each stream that it is owed to.
fn lost(world: &World, offers: &[Offer]) -> Vec<String> {
    let offered: HashSet<(&str, &EventName)> =
        offers.iter().filter_map(|offer| Some((offer.stream.as_str(), offer.event.as_ref()?))).collect();
    let mut broken = Vec::new();
    for post in world.producers.iter().flat_map(|producer| &producer.posts) {
        assert!(post.is_answered(), "all is repeated until it is answered");
        for (event, stream) in post.what.events.iter().flat_map(|event| LASTING.map(|stream| (event, stream)))
        {
            if !offered.contains(&(stream, event)) {
                broken.push(format!("lost: {event} was accepted, and never offered to {stream}"));
            }
        }
    }
    broken
}

/// I2: a SET's claims are the same at each attempt, and no two SETs have one identifier.
fn changed(offers: &[Offer]) -> Vec<String> {
    let mut first: HashMap<&str, &Offer> = HashMap::new();
    let differs = offers.iter().filter_map(|offer| {
        let first = first.entry(&offer.jti).or_insert(offer);
        let same = (&first.stream, &first.claims) == (&offer.stream, &offer.claims);
        (!same).then(|| format!("changed: {first:?}\nbecame {offer:?}"))
    });
    differs.collect()
}

/// An event becomes one SET for each stream, also if its producer had to repeat itself; and one more for each replay as
/// new SETs.
fn doubled(world: &World, offers: &[Offer]) -> Vec<String> {
    let mut jtis: HashMap<(&str, &EventName), BTreeSet<&str>> = HashMap::new();
    for offer in offers {
        if let Some(event) = &offer.event {
            jtis.entry((&offer.stream, event)).or_default().insert(&offer.jti);
        }
    }
    let posts = || world.producers.iter().flat_map(|producer| &producer.posts);
    // A store that forgets keys after a second may take a late repeat for a new event, as it says.
    let forgotten: HashSet<&EventName> = posts()
        .filter(|post| world.traffic.forget && post.what.sent > 1)
        .flat_map(|p| &p.what.events)
        .collect();
    let by_event = posts_by_event(world);
    let allowed = |stream: &str, event: &EventName| {
        let fresh = world.operator.asked.iter().filter(|asked| {
            matches!(asked.what.what, What::Replay { fresh: true, .. })
                && asked.what.stream == stream
                && by_event.get(event).is_some_and(|post| covers(asked, post))
        });
        1 + fresh.count()
    };
    let doubled = jtis.iter().filter(|((stream, event), jtis)| {
        jtis.len() > 1 && jtis.len() > allowed(stream, event) && !forgotten.contains(event)
    });
    let mut broken: Vec<String> = doubled
        .map(|((stream, event), jtis)| format!("doubled: {event} came to {stream} as {jtis:?}"))
        .collect();
    let mut ids = HashSet::new();
    let repeated = posts().flat_map(|post| post.what.event_ids()).filter(|id| !ids.insert(*id));
    broken.extend(repeated.map(|id| format!("doubled: two events are called {id}")));
    broken
}

/// I4: first offers of events about one subject are made in the order of acceptance.
fn out_of_order(offers: &[Offer]) -> Vec<String> {
    let mut seen: HashSet<(&str, &EventName)> = HashSet::new();
    let mut last: HashMap<(&str, &str), u64> = HashMap::new();
    let mut broken = Vec::new();
    for offer in offers {
        let Some(event) = &offer.event else { continue };
        if !seen.insert((&offer.stream, event)) {
            continue;
        }
        let before = last.insert((&offer.stream, &event.subject), event.number);
        if before.is_some_and(|before| before > event.number) {
            broken.push(format!(
                "out of order: {event} was first offered to {} behind #{before:?}",
                offer.stream
            ));
        }
    }
    broken
}

/// A replay comes to its end, after a crash too, and delivers all that it is for but what was owed anyway.
fn replays(world: &World, offers: &[Offer]) -> Vec<String> {
    let mut broken = Vec::new();
    for (place, told) in &world.operator.told {
        let asked = &world.operator.asked[*place];
        let What::Replay { since, fresh, owed, owed_at } = asked.what.what else {
            unreachable!("only replays are told")
        };
        let known = |name: &str| told[name].as_u64().unwrap();
        let (total, count) = (known("total"), known("count"));
        let (earlier, later): (Vec<&Offer>, Vec<&Offer>) = offers
            .iter()
            .filter(|offer| offer.stream == asked.what.stream)
            .partition(|offer| offer.at < asked.begun);
        let seen: HashSet<&str> = earlier.iter().map(|offer| offer.jti.as_str()).collect();
        let again = later.iter().filter(|offer| !fresh || !seen.contains(offer.jti.as_str()));
        let again: HashSet<&EventName> = again.filter_map(|offer| offer.event.as_ref()).collect();
        // What was refused may be redriven meanwhile, and is owed then.
        let refused: HashSet<&EventName> = refused_by(world, offers, asked.what.stream);
        // Accepted between the two moments for sure.
        let posts = world.producers.iter().flat_map(|producer| &producer.posts);
        let wanted =
            posts.filter(|post| post.begun > since && post.answered.is_some_and(|at| at < asked.begun));
        let wanted: Vec<&EventName> = wanted.flat_map(|post| &post.what.events).collect();
        let had = had_by(world, offers, asked.what.stream, owed_at);
        let missing = wanted
            .iter()
            .filter(|event| had.contains(**event) && !again.contains(**event) && !refused.contains(**event));
        let missing = missing.count() as u64;
        // What nobody had taken yet was owed for sure, and leaves the less for others. A power cut may make more be
        // owed than was.
        let not_had = wanted.iter().filter(|event| !had.contains(**event)).count() as u64;
        let missing_max = if world.is_cut { total } else { owed.saturating_sub(not_had) };
        let is_right = told["state"] == "done" && count <= total && wanted.len() as u64 <= total;
        if !is_right || missing > missing_max {
            broken.push(format!(
                "replay: {told}, fresh {fresh}, with {owed} owed then, was for {} SETs at least, and {missing} of them did not come again",
                wanted.len()
            ));
        }
    }
    broken
}

/// The events that a receiver may have settled before a moment.
fn had_by<'a>(world: &World, offers: &'a [Offer], stream: &str, moment: Instant) -> HashSet<&'a EventName> {
    let acks = world.poller.acks.iter().filter(|asked| asked.begun < moment);
    let polled: HashSet<&String> = acks.flat_map(|asked| &asked.what.jtis).collect();
    let had = offers.iter().filter(|offer| offer.stream == stream && offer.at < moment);
    let had = had.filter(|offer| offer.answer.is_some() || polled.contains(&offer.jti));
    had.filter_map(|offer| offer.event.as_ref()).collect()
}

/// The events that a stream refused at some time.
fn refused_by<'a>(world: &World, offers: &'a [Offer], stream: &str) -> HashSet<&'a EventName> {
    let polled: HashSet<&String> =
        world.poller.acks.iter().filter_map(|asked| asked.what.refused.as_ref()).collect();
    let refused = offers.iter().filter(|offer| offer.stream == stream);
    let refused = refused.filter(|offer| offer.answer == Some(400) || polled.contains(&offer.jti));
    refused.filter_map(|offer| offer.event.as_ref()).collect()
}

/// The dead letters are what the receivers refused last. What was refused and taken again in a replay may be among
/// them.
fn dead(world: &World, offers: &[Offer]) -> Vec<String> {
    let mut last: HashMap<(&str, &EventName), (&str, bool)> = HashMap::new();
    let mut refused: HashSet<(&str, &str)> = HashSet::new();
    for offer in offers {
        if let (Some(answer), Some(event)) = (offer.answer, &offer.event) {
            last.insert((&offer.stream, event), (&offer.jti, answer == 400));
            refused.extend((answer == 400).then_some((offer.stream.as_str(), offer.jti.as_str())));
        }
    }
    let polled = offers.iter().filter(|offer| offer.stream == POLLED);
    let polled: HashMap<&str, Option<&EventName>> =
        polled.map(|offer| (offer.jti.as_str(), offer.event.as_ref())).collect();
    for acked in world.poller.acks.iter().map(|asked| &asked.what) {
        for jti in &acked.jtis {
            let is_refused = acked.refused.as_ref() == Some(jti);
            if let Some(Some(event)) = polled.get(jti.as_str()) {
                last.insert((POLLED, event), (jti, is_refused));
                refused.extend(is_refused.then_some((POLLED, jti.as_str())));
            }
        }
    }
    let by_event = posts_by_event(world);
    let mut broken = Vec::new();
    for ((stream, event), (jti, is_refused)) in &last {
        let Some(dead) = world.operator.dead.get(stream) else { continue };
        if *is_refused && !dead.contains(*jti) {
            broken.push(format!("not dead: {stream} refused {event} last, and {jti} is no dead letter"));
        }
    }
    let names: HashMap<&str, &EventName> =
        offers.iter().filter_map(|offer| Some((offer.jti.as_str(), offer.event.as_ref()?))).collect();
    for (stream, jti) in
        world.operator.dead.iter().flat_map(|(stream, dead)| dead.iter().map(move |jti| (*stream, jti)))
    {
        let event = names.get(jti.as_str());
        let is_last =
            event.is_some_and(|event| last.get(&(stream, *event)).is_some_and(|(_, refused)| *refused));
        let is_replayed = event.and_then(|event| by_event.get(event)).is_some_and(|post| {
            let mut replays = world.operator.asked.iter().filter(|asked| asked.what.stream == stream);
            replays.any(|asked| covers(asked, post) && !matches!(asked.what.what, What::Redrive))
        });
        // SSF's own events have no names here.
        if event.is_some() && !(refused.contains(&(stream, jti.as_str())) && (is_last || is_replayed)) {
            broken.push(format!("dead: {stream} did not refuse {jti} last, which is {event:?}"));
        }
    }
    broken
}

/// What was taken and stored does not come again, unless somebody asked for it; what was taken and not stored is what
/// was in flight and one group of outcomes.
fn repeated(world: &World, offers: &[Offer]) -> Vec<String> {
    let repeats = Repeats::of(world, offers);
    let mut broken: Vec<String> = repeats
        .broken
        .iter()
        .map(|repeat| {
            let story = story(world, offers, repeat);
            format!("repeated: it had been taken in the same life or one that ended in order, and nobody asked: {story}")
        })
        .collect();
    // A turn of a replay that was cut short is done again.
    let redone_max = world.logs.len() * REPLAY_TURN;
    if repeats.redone.len() > redone_max {
        broken.push(format!("repeated: replays did {} SETs again, after crashes", repeats.redone.len()));
    }
    let is_replayed = world.operator.asked.iter().any(|asked| matches!(asked.what.what, What::Replay { .. }));
    let turn = if is_replayed { REPLAY_TURN } else { 0 };
    for polled in [false, true] {
        let mut again_max = 0;
        for (life, log) in world.logs.iter().enumerate() {
            let of_life = |taken: &&Taken| taken.life == life && (taken.stream == POLLED) == polled;
            let taken = repeats.taken.iter().filter(of_life).count();
            let stored: usize = log.lock().iter().filter_map(|line| stored_outcomes(line, polled)).sum();
            match world.in_order.contains(&life) {
                true if stored < taken => {
                    broken.push(format!(
                        "not stored: of {taken} in life {life}, which ended in order, {stored}"
                    ));
                }
                true => {}
                false => again_max += taken.saturating_sub(stored).min(UNSTORED_MAX) + turn,
            }
        }
        let again = repeats.undone.iter().filter(|repeat| (repeat.taken.stream == POLLED) == polled);
        let again: Vec<&Repeat> = again.collect();
        // What is known of a past that was cut goes on after the cut, and its outcomes are anybody's guess. Which of the
        // crashes undid an outcome cannot be told from what came again, if there was a replay too.
        if again.len() > again_max && !world.is_cut {
            let stories: Vec<String> = again.iter().map(|repeat| story(world, offers, repeat)).collect();
            let how = if polled { "polled" } else { "pushed" };
            broken.push(format!(
                "repeated: of those that were {how} {again_max} were not stored or owed again by a replay, and yet {} came \
                 again: {}",
                again.len(),
                stories.join("\n")
            ));
        }
    }
    broken
}

/// How many outcomes a line of the log says are stored, of streams that are polled or of those that are not.
fn stored_outcomes(line: &str, polled: bool) -> Option<usize> {
    let (_, rest) = line.split_once("step=\"outcome-stored\" deliveries=")?;
    let (deliveries, rest) = rest.split_once(" polled=")?;
    (rest.trim() == polled.to_string()).then(|| deliveries.parse().ok())?
}

/// SEM-16: a stream that was deleted is sent nothing more.
fn after_the_end(world: &World, offers: &[Offer]) -> Vec<String> {
    let mut broken = Vec::new();
    for asked in &world.manager.changes {
        let (Change::Delete { name, life }, Some(at)) = (&asked.what, asked.answered) else { continue };
        let after = offers.iter().filter(|offer| &offer.stream == name && offer.at > at);
        // What had begun before may arrive at the receiver after the answer.
        let late = after.clone().filter(|offer| offer.life == *life).count();
        if late > IN_FLIGHT_MAX {
            broken.push(format!("after the end: {late} attempts on {name}"));
        }
        let risen = after.filter(|offer| offer.life > *life);
        broken.extend(risen.map(|offer| format!("after the end: {name} was deleted, and gets {offer:?}")));
    }
    broken
}

/// What the producer was told is what the receivers see.
fn other_than_told(world: &World, offers: &[Offer]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut txns: HashMap<&EventName, String> = HashMap::new();
    for post in world.producers.iter().flat_map(|producer| &producer.posts) {
        for (event, txn) in post.what.events.iter().zip(post.what.txns()) {
            txns.insert(event, txn.to_owned());
        }
    }
    for offer in offers {
        let told = offer.event.as_ref().and_then(|event| txns.get(event));
        let claims: Value = serde_json::from_str(&offer.claims).unwrap();
        if told.is_some_and(|told| claims["txn"] != **told) && !world.traffic.forget {
            broken.push(format!("other than told: {told:?} is not the txn of {offer:?}"));
        }
    }
    broken
}
