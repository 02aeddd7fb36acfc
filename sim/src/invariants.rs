//! The promises, each as a rule over the model. A rule is asked at the step that could break it.

use crate::events::Tag;
use crate::model::{End, Model, Owed, Place, Said, Standing, payload_of};
use secevent::Timestamp;
use secevent_store::{Backlog, DropReason, Queue, Settlement, Verdict};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use tokio::time::Instant;

/// A promise of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// I1: what was accepted is durable, and owed until it ended.
    AcceptedIsDurable,
    /// I2: a SET's claims never change.
    ClaimsNeverChange,
    /// I3: each delivery ends in one way, and is counted.
    EachEndsAndIsCounted,
    /// I4: first offers about one subject are made in order.
    InOrderPerSubject,
    /// I5: only what is kept is acknowledged, and what is acknowledged is handled.
    AcknowledgedIsKept,
    /// I6: everything has a bound.
    Bounded,
    /// SEM-15: one name, one event.
    OneNameOneEvent,
    /// SEM-16: nothing is sent to a stream that has ended or is paused.
    SilentWhenEnded,
    /// No part of the product panics.
    NoPanic,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcceptedIsDurable => "I1 (accepted means durable)",
            Self::ClaimsNeverChange => "I2 (claims never change)",
            Self::EachEndsAndIsCounted => "I3 (each delivery ends once and is counted)",
            Self::InOrderPerSubject => "I4 (in order per subject)",
            Self::AcknowledgedIsKept => "I5 (what is acknowledged is kept and handled)",
            Self::Bounded => "I6 (everything has a bound)",
            Self::OneNameOneEvent => "SEM-15 (one name, one event)",
            Self::SilentWhenEnded => "SEM-16 (silent when ended or paused)",
            Self::NoPanic => "no panic",
        })
    }
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub promise: Promise,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.seen)
    }
}

fn breach(promise: Promise, seen: impl Into<String>) -> Result<(), Violation> {
    Err(Violation { promise, seen: seen.into() })
}

/// A producer was told that its events are accepted. Each is recorded, and owed to all streams that stood firm
/// from the call to its answer.
pub(crate) fn accepted(
    model: &mut Model,
    tags: &[Tag],
    certain: &[Vec<(u32, u64)>],
    deliveries: &[usize],
) -> Result<(), Violation> {
    for ((tag, certain), deliveries) in tags.iter().zip(certain).zip(deliveries) {
        let Some(sequence) = model.now.committed.get(tag).copied() else {
            return breach(Promise::AcceptedIsDurable, format!("e{tag} was accepted and is not stored"));
        };
        for number in model.now.streams.keys() {
            if let Some(owed) = model.now.owed.get_mut(&(*number, sequence)) {
                owed.is_promised = true;
            }
        }
        let mut owed_to_firm = 0;
        for (number, changes) in certain {
            let firm = model.now.streams.get(number);
            if firm.is_none_or(|stream| stream.changes != *changes || stream.settled().is_none()) {
                continue;
            }
            if !model.now.owed.contains_key(&(*number, sequence)) {
                return breach(Promise::AcceptedIsDurable, format!("e{tag} is not owed to s{number}"));
            }
            owed_to_firm += 1;
        }
        if *deliveries < owed_to_firm {
            let seen =
                format!("e{tag} was answered with {deliveries} deliveries, and is owed to {owed_to_firm}");
            return breach(Promise::AcceptedIsDurable, seen);
        }
    }
    Ok(())
}

/// Events became durable that were not before.
pub(crate) fn recorded(model: &mut Model, new: &[(Tag, u64)]) -> Result<(), Violation> {
    for (tag, sequence) in new {
        if let Some(first) = model.now.committed.insert(*tag, *sequence) {
            let seen = format!("e{tag} is recorded as #{first} and again as #{sequence}");
            return breach(Promise::OneNameOneEvent, seen);
        }
    }
    Ok(())
}

/// How a SET reaches a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way<'a> {
    Push { endpoint: &'a str },
    Poll,
}

/// A SET goes out. Returns its delivery's place.
pub(crate) fn offered(model: &mut Model, token: &[u8], way: Way<'_>) -> Result<Place, Violation> {
    use Promise::{ClaimsNeverChange, EachEndsAndIsCounted, SilentWhenEnded};
    let fail = |promise, seen: String| Violation { promise, seen };
    let claims = payload_of(token).and_then(|payload| {
        let claims = serde_json::from_slice::<Value>(&payload).ok()?;
        Some((payload, claims))
    });
    let Some((payload, claims)) = claims else {
        return Err(fail(ClaimsNeverChange, "what goes out is no SET".to_owned()));
    };
    let jti = claims["jti"].as_str().unwrap_or_default();
    let Some(place) = model.place_of(jti) else {
        return Err(fail(
            EachEndsAndIsCounted,
            format!("a SET goes out that nobody is owed: {:?}", claims["events"]),
        ));
    };
    let name = model.name(place);
    said(model, jti, &payload, &claims).map_err(|seen| fail(ClaimsNeverChange, format!("{name}: {seen}")))?;
    let owed = &model.now.owed[&place];
    claims_of(model, place, owed, &claims)
        .map_err(|seen| fail(ClaimsNeverChange, format!("{name} {seen}")))?;

    let stream = &model.now.streams[&place.0];
    match stream.settled() {
        Some(standing @ (Standing::Paused | Standing::Disabled | Standing::Deleted)) => {
            return Err(fail(SilentWhenEnded, format!("{name} goes out, and its stream is {standing:?}")));
        }
        _ if owed.is_closed => {
            return Err(fail(SilentWhenEnded, format!("{name} goes out, and was given up with its stream")));
        }
        None => {}
        Some(Standing::Enabled | Standing::Unknown) => {
            if let Way::Push { endpoint } = way
                && stream.endpoint.as_deref() != Some(endpoint)
            {
                return Err(fail(
                    SilentWhenEnded,
                    format!("{name} goes to {endpoint}, where its stream was before"),
                ));
            }
        }
    }
    if let Some(end) = owed.end {
        return Err(fail(EachEndsAndIsCounted, format!("{name} goes out, and has ended: {end:?}")));
    }
    if owed.answered_in == Some(model.life) {
        return Err(fail(EachEndsAndIsCounted, format!("{name} goes out again after its answer")));
    }
    if way == Way::Poll
        && let Some((life, at)) = owed.handed
        && life == model.life
        // What is too old may have been given up in vain, and is read anew then.
        && !model.is_too_old(owed)
        // What was due for a moment, before the clock was set back, may go out.
        && model.clock.latest() < at.plus(model.limits.poll_visibility)
    {
        let seen = format!("{name} is handed out again before its time, to whoever polls");
        return Err(fail(EachEndsAndIsCounted, seen));
    }
    in_order(model, place, &name)?;

    model.now.owed.get_mut(&place).expect("it was there a moment ago").is_offered = true;
    if let Way::Push { .. } = way {
        if !model.flying.insert(place) {
            return Err(fail(EachEndsAndIsCounted, format!("{name} goes out while it is on its way")));
        }
        in_bounds(model, place.0)?;
        left_alone(model, place.0, &name)?;
    }
    Ok(place)
}

/// I2, one half: what was said under a `jti` is said again to the letter.
pub(crate) fn said(model: &mut Model, jti: &str, payload: &[u8], claims: &Value) -> Result<(), String> {
    let said = Said::of(payload, claims);
    let first = model.said.entry(jti.to_owned()).or_insert_with(|| said.clone());
    if first.digest == said.digest {
        return Ok(());
    }
    Err(format!(
        "another SET goes out under its jti; it told of e{:?}, and tells of e{:?}",
        first.tag, said.tag
    ))
}

/// I2, the other half: the claims are those of the event that its producer told of.
fn claims_of(model: &Model, place: Place, owed: &Owed, claims: &Value) -> Result<(), String> {
    let stream = &model.now.streams[&place.0];
    let expected = [
        ("iss", Value::from(format!("https://tr.example/i{}", stream.issuer))),
        ("aud", Value::from(format!("https://rp{}.example", stream.client))),
        ("iat", Value::from(owed.accepted_at.as_seconds())),
    ];
    for (name, value) in expected {
        if claims[name] != value {
            return Err(format!("has {name} {}, and should have {value}", claims[name]));
        }
    }
    let Some(tag) = owed.tag else { return Ok(()) };
    let event = &model.events[&tag];
    let txn_differs = event.txn.as_ref().is_some_and(|txn| claims["txn"] != **txn);
    if claims["sub_id"] != event.subject
        || claims["events"][crate::events::TYPES[event.kind]] != event.data()
        || txn_differs
    {
        return Err(format!("says what its producer did not: {claims}"));
    }
    Ok(())
}

/// I4: what conflicts with this delivery and was accepted before it is settled; and nothing overlaps.
fn in_order(model: &Model, place: Place, name: &str) -> Result<(), Violation> {
    let owed = &model.now.owed[&place];
    for other in model.flying.range((place.0, 0)..=(place.0, u64::MAX)) {
        let one = &model.now.owed[other];
        if *other != place && !one.is_excused && model.conflict(owed, one) {
            let seen = format!("{name} goes out while {} is on its way", model.name(*other));
            return breach(Promise::InOrderPerSubject, seen);
        }
    }
    if owed.is_offered || owed.queue == Queue::Control {
        return Ok(());
    }
    for (earlier, one) in model.now.owed.range((place.0, 0)..place) {
        let is_heard = one.was_taken || one.was_refused || model.is_too_old(one);
        let is_settled = one.end.is_some() || one.is_excused || is_heard;
        if !is_settled && one.queue == owed.queue && model.conflict(owed, one) {
            let seen = format!("{name} is offered before {} is settled", model.name(*earlier));
            return breach(Promise::InOrderPerSubject, seen);
        }
    }
    Ok(())
}

fn in_bounds(model: &Model, stream: u32) -> Result<(), Violation> {
    let (all, of_stream) = (model.flying.len(), model.flying.range((stream, 0)..=(stream, u64::MAX)).count());
    let limits = &model.limits;
    if all > limits.pushes_max || of_stream > limits.pushes_per_stream_max {
        let seen = format!(
            "{all} pushes are on their way, {of_stream} of them to s{stream}; {} and {} are allowed",
            limits.pushes_max, limits.pushes_per_stream_max
        );
        return breach(Promise::Bounded, seen);
    }
    Ok(())
}

/// A receiver that fails everything, or asked for a pause, is left alone for a while.
fn left_alone(model: &Model, stream: u32, name: &str) -> Result<(), Violation> {
    let Some(outage) = model.outages.get(&stream) else { return Ok(()) };
    let now = Instant::now();
    if outage.paused_until.is_some_and(|until| now < until) {
        return breach(Promise::Bounded, format!("{name} goes out before the receiver may be asked again"));
    }
    if outage.probed.is_some_and(|probed| now < probed + model.limits.delay_min) {
        return breach(Promise::Bounded, format!("{name} goes out at once although nothing succeeds"));
    }
    Ok(())
}

/// Something has a size, and a bound.
pub(crate) fn bounded(what: &str, size: usize, bound: usize) -> Result<(), Violation> {
    if size <= bound {
        return Ok(());
    }
    breach(Promise::Bounded, format!("{size} {what}, {bound} are allowed"))
}

/// The answer to one poll, which looked at a clock that showed `earliest` or later: bounded, and no SET twice.
pub(crate) fn poll_answered(
    model: &mut Model,
    (sets, more_available): (&[(String, String)], bool),
    asked: Option<u64>,
    earliest: Timestamp,
) -> Result<(), Violation> {
    if more_available && sets.is_empty() {
        // Whoever believes it polls again at once, for nothing (POLL-23).
        return breach(Promise::Bounded, "a poll answer without SETs says that there are more");
    }
    let asked = asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(usize::MAX);
    let distinct: BTreeSet<&str> = sets.iter().map(|(jti, _)| jti.as_str()).collect();
    if distinct.len() < sets.len() {
        let seen = format!("one poll answer holds {} SETs, {} of them different", sets.len(), distinct.len());
        return breach(Promise::Bounded, seen);
    }
    bounded("SETs in a poll answer", sets.len(), model.limits.poll_sets_max.min(asked))?;
    for (_, token) in sets {
        let place = offered(model, token.as_bytes(), Way::Poll)?;
        let life = model.life;
        if let Some(owed) = model.now.owed.get_mut(&place) {
            owed.handed = Some((life, earliest));
        }
    }
    Ok(())
}

/// A settlement becomes durable: the receiver has said so, or the delivery is too old. Returns what it ended.
pub(crate) fn settled(model: &mut Model, settlements: &[Settlement]) -> Result<Vec<Place>, Violation> {
    let mut ended = Vec::new();
    for settlement in settlements {
        let place = (settlement.stream.0, settlement.sequence.0);
        let name = model.name(place);
        let Some(owed) = model.now.owed.get(&place).filter(|owed| owed.end.is_none()) else { continue };
        let is_too_old = model.is_too_old(owed);
        let newer = model.now.owed.range((place.0, place.1 + 1)..=(place.0, u64::MAX));
        let is_replaced =
            owed.queue == Queue::Control && newer.into_iter().any(|(_, owed)| owed.queue == Queue::Control);
        let Some(owed) = model.now.owed.get_mut(&place) else { continue };
        let (end, is_known) = match &settlement.verdict {
            Verdict::Acked => (End::Acked, owed.was_taken),
            Verdict::Rejected(_) => (End::Rejected, owed.was_refused),
            Verdict::Abandoned(_) => (End::Abandoned, is_too_old),
            Verdict::Dropped(DropReason::Superseded) => (End::Dropped, is_replaced),
            // A stream that is paused or disabled gets that as its last control event.
            Verdict::Dropped(reason) => {
                let is_of_status = matches!(reason, DropReason::Paused | DropReason::Disabled);
                (End::Dropped, is_of_status && owed.queue == Queue::Control)
            }
            Verdict::Retry { .. } => continue,
        };
        owed.end = Some(end);
        ended.push(place);
        if !is_known {
            let seen = format!("{name} is settled as {end:?}, for no reason that was seen");
            return Err(Violation { promise: Promise::EachEndsAndIsCounted, seen });
        }
    }
    Ok(ended)
}

/// What is owed to a stream is given up: only if the stream has ended, or is about to.
pub(crate) fn dropped(model: &mut Model, number: u32) -> Result<(), Violation> {
    let standing = model.now.streams.get(&number).and_then(crate::model::Stream::settled);
    if let Some(standing @ (Standing::Enabled | Standing::Paused)) = standing {
        let seen = format!("what is owed to s{number} is given up, and the stream is {standing:?}");
        return breach(Promise::EachEndsAndIsCounted, seen);
    }
    for owed in model.owed_to(number).filter(|owed| owed.end.is_none()) {
        (owed.end, owed.is_excused) = (Some(End::Dropped), true);
    }
    Ok(())
}

/// A receiver acknowledges these SETs: it has them.
pub(crate) fn acknowledged(model: &Model, receiver: usize, jti: &str) -> Result<(), Violation> {
    if model.receivers[receiver].kept.contains_key(jti) {
        return Ok(());
    }
    let name = model.place_of(jti).map_or_else(|| "a SET".to_owned(), |place| model.name(place));
    breach(Promise::AcknowledgedIsKept, format!("rp{receiver} acknowledges {name} and has not stored it"))
}

/// A handler begins with a SET: in its turn, and only if its effect was not applied in this life.
pub(crate) fn handling(model: &mut Model, receiver: usize, jti: &str) -> Result<(), Violation> {
    let handlers_max = model.limits.handlers_max;
    let identifiers = |model: &Model, jti: &str| {
        let tag = model.said.get(jti).and_then(|said| said.tag)?;
        model.events.get(&tag).map(|event| event.identifiers.clone())
    };
    let own = identifiers(model, jti);
    let one = &model.receivers[receiver];
    let Some(place) = one.kept.get(jti).copied() else {
        return breach(Promise::AcknowledgedIsKept, format!("rp{receiver} handles what it has not stored"));
    };
    if one.effects.get(jti).is_some_and(|lives| lives.contains(&one.life)) {
        let seen = format!("rp{receiver} handles a SET twice in one life, the {place}th that came");
        return breach(Promise::AcknowledgedIsKept, seen);
    }
    for earlier in &one.arrived[..place] {
        let conflicts = || match (&own, identifiers(model, earlier)) {
            (Some(own), Some(other)) => !own.is_disjoint(&other),
            _ => false,
        };
        if !one.is_done(earlier) && conflicts() {
            let seen =
                format!("rp{receiver} handles the {place}th SET before an earlier one about its subject");
            return breach(Promise::InOrderPerSubject, seen);
        }
    }
    let working = &mut model.receivers[receiver].working;
    working.insert(jti.to_owned());
    bounded("handlers at work", working.len(), handlers_max)
}

/// The end of a run, when everything had its time: nothing is pending, and everything is accounted for.
pub(crate) fn nothing_is_left(model: &Model) -> Result<(), Violation> {
    if let Some(place) = model.pending().first() {
        let seen = format!("{} is never settled", model.name(*place));
        return breach(Promise::EachEndsAndIsCounted, seen);
    }
    for (place, owed) in &model.now.owed {
        let was_kept = !owed.is_promised || owed.is_excused || owed.end != Some(End::Dropped);
        if !was_kept {
            return breach(Promise::AcceptedIsDurable, format!("{} was dropped", model.name(*place)));
        }
    }
    for (number, receiver) in model.receivers.iter().enumerate().filter(|(_, one)| one.is_production) {
        let is_event = |jti: &&String| model.said.get(*jti).is_some_and(|said| said.tag.is_some());
        if let Some(jti) = receiver.kept.keys().filter(is_event).find(|jti| !receiver.is_done(jti)) {
            let place = model.place_of(jti).map_or_else(|| "a SET of before".to_owned(), |at| model.name(at));
            return breach(
                Promise::AcknowledgedIsKept,
                format!("rp{number} has {place} and never handles it"),
            );
        }
    }
    Ok(())
}

/// The store counts as the model does.
pub(crate) fn counted(model: &Model, stream: u32, backlog: &Backlog) -> Result<(), Violation> {
    let count = |ends: &[Option<End>]| {
        let of_stream = model.now.owed.range((stream, 0)..=(stream, u64::MAX));
        u64::try_from(of_stream.filter(|(_, owed)| ends.contains(&owed.end)).count()).unwrap_or(u64::MAX)
    };
    let ends = [None, Some(End::Rejected), Some(End::Abandoned), Some(End::Dropped)];
    let expected = ends.map(|end| count(&[end]));
    let found = [backlog.pending, backlog.rejected, backlog.abandoned, backlog.dropped];
    if found == expected {
        return Ok(());
    }
    let seen =
        format!("s{stream} counts {found:?} as pending, rejected, abandoned, dropped; it is {expected:?}");
    breach(Promise::EachEndsAndIsCounted, seen)
}
