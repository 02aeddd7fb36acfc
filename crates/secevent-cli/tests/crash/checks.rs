//! What has to be true whatever happened: the promises of ARCHITECTURE.md, over everything that was seen.

use crate::receiver::{EventName, Offer};
use crate::streams::{Change, LASTING};
use crate::world::{IN_FLIGHT_MAX, World};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Outcomes that a crash may undo: of the deliveries in flight, and of one group. With three producers that wait for
/// their answers, and a stream that is paused for a moment, a group does not get larger than this.
const UNSTORED_MAX: usize = 100;

/// How many SETs that a receiver had taken came again after each life of the server.
pub(crate) fn taken_again(world: &World) -> Vec<usize> {
    let offers = world.receiver.journal.offers();
    let again = |life| {
        [false, true].map(|polled| again_after(&offers, life, &taken_in(world, &offers, life, polled)))
    };
    (0..world.logs.len()).map(|life| again(life).iter().sum()).collect()
}

/// Everything at once. The server has ended, and everything that was owed has been delivered.
pub(crate) fn all(world: &World) {
    let offers = world.receiver.journal.offers();
    let mut broken = Vec::new();
    broken.extend(lost(world, &offers));
    broken.extend(changed(&offers));
    broken.extend(doubled(world, &offers));
    broken.extend(out_of_order(&offers));
    broken.extend(repeated(world, &offers));
    broken.extend(after_the_end(world, &offers));
    broken.extend(other_than_told(world, &offers));
    broken.extend(damaged(world));
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

/// An event becomes one SET for each stream, also if its producer had to repeat itself.
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
    let doubled = jtis.iter().filter(|((_, event), jtis)| jtis.len() > 1 && !forgotten.contains(event));
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

/// What was taken and stored does not come again; what was taken and not stored is what was in flight and one
/// group of outcomes.
fn repeated(world: &World, offers: &[Offer]) -> Vec<String> {
    let mut broken = Vec::new();
    let at_once = |offer: &Offer| format!("repeated: {offer:?} had been taken in the same life");
    for (place, offer) in offers.iter().enumerate().filter(|(_, offer)| offer.answer.is_some()) {
        let mut later = offers[place + 1..].iter().filter(|later| later.life == offer.life);
        broken.extend(later.find(|later| later.jti == offer.jti).map(at_once));
    }
    for asked in &world.poller.acks {
        let Some(at) = asked.answered else { continue };
        let mut later = offers.iter().filter(|later| later.life == asked.what.life && later.at > at);
        broken.extend(later.find(|later| asked.what.jtis.contains(&later.jti)).map(at_once));
    }
    for (life, log) in world.logs.iter().enumerate() {
        for polled in [false, true] {
            let taken = taken_in(world, offers, life, polled);
            let log = log.lock().unwrap();
            let stored: usize = log.iter().filter_map(|line| stored_outcomes(line, polled)).sum();
            let again = again_after(offers, life, &taken);
            if world.in_order.contains(&life) && stored < taken.len() {
                broken.push(format!(
                    "not stored: of {} in life {life}, which ended in order, {stored}",
                    taken.len()
                ));
            }
            let again_max = match world.in_order.contains(&life) {
                true => 0,
                // What is known of a past that was cut goes on after the cut, and its outcomes are anybody's guess.
                false if world.is_cut => continue,
                false => taken.len().saturating_sub(stored).min(UNSTORED_MAX),
            };
            if again > again_max {
                let (taken, how) = (taken.len(), if polled { "polled" } else { "pushed" });
                broken.push(format!(
                    "repeated: of {taken} that were {how} in life {life} {stored} were stored, and yet {again} came again"
                ));
            }
        }
    }
    broken
}

/// The SETs that push receivers answered for good in a life, or whose acknowledgement by poll was answered.
fn taken_in<'a>(world: &'a World, offers: &'a [Offer], life: usize, polled: bool) -> HashSet<&'a str> {
    if polled {
        let acks = world.poller.acks.iter().filter(|asked| asked.what.life == life && asked.is_answered());
        return acks.flat_map(|asked| &asked.what.jtis).map(String::as_str).collect();
    }
    let taken = offers.iter().filter(|offer| offer.life == life && offer.answer.is_some());
    taken.map(|offer| offer.jti.as_str()).collect()
}

fn again_after(offers: &[Offer], life: usize, taken: &HashSet<&str>) -> usize {
    let later = offers.iter().filter(|offer| offer.life > life).map(|offer| offer.jti.as_str());
    later.filter(|jti| taken.contains(jti)).collect::<HashSet<_>>().len()
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

/// The file itself is whole.
fn damaged(world: &World) -> Option<String> {
    let path = world.path().join("events.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let told: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    (told != "ok").then(|| format!("damaged: {told}"))
}
