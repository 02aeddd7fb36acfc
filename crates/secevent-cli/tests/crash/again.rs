//! What came again although it had been taken, and whether somebody had asked for it.

use crate::clock::{Asked, Instant};
use crate::operator::{Again, What};
use crate::producer::Post;
use crate::receiver::{EventName, Offer};
use crate::streams::{Acked, POLLED};
use crate::world::World;
use std::collections::{HashMap, HashSet};

/// A SET that a receiver had: a push was answered for good, or an acknowledgement was.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) stream: String,
    pub(crate) jti: String,
    event: Option<EventName>,
    at: Instant,
    pub(crate) life: usize,
    refused: bool,
}

/// A SET that was offered after it had been taken.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    pub(crate) taken: Taken,
    at: Instant,
    life: usize,
}

/// All that came again, by what it came of.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// Everything that was taken.
    pub(crate) taken: Vec<Taken>,
    /// After a crash, which may have undone the outcome.
    pub(crate) undone: Vec<Repeat>,
    /// After a crash, by a replay that did not know how far it had come.
    pub(crate) redone: Vec<Repeat>,
    /// Of nothing.
    pub(crate) broken: Vec<Repeat>,
}

impl Repeats {
    pub(crate) fn of(world: &World, offers: &[Offer]) -> Self {
        let taken = taken(world, offers);
        let posts = posts_by_event(world);
        // Each request explains one repeat of a SET.
        let mut used: HashSet<(usize, String)> = HashSet::new();
        let mut explained = |repeat: &Repeat| {
            let post = repeat.taken.event.as_ref().and_then(|event| posts.get(event));
            let mut asked = world.operator.asked.iter().enumerate();
            asked.any(|(place, asked)| {
                let is_for_it = match asked.what.what {
                    What::Redrive => repeat.taken.refused,
                    What::Replay { fresh, .. } => !fresh && post.is_some_and(|post| covers(asked, post)),
                };
                asked.what.stream == repeat.taken.stream
                    && asked.begun < repeat.at
                    && is_for_it
                    && used.insert((place, repeat.taken.jti.clone()))
            })
        };
        // Nothing but a request explains what comes again in one life, so that these come first.
        let (within, across): (Vec<Repeat>, Vec<Repeat>) =
            repeats(&taken, offers).into_iter().partition(|repeat| repeat.taken.life == repeat.life);
        let within: Vec<Repeat> = within.into_iter().filter(|repeat| !explained(repeat)).collect();
        let undone = across.into_iter().filter(|repeat| !explained(repeat)).collect();
        let (redone, broken) = within.into_iter().partition(|repeat| {
            let post = repeat.taken.event.as_ref().and_then(|event| posts.get(event));
            world.operator.asked.iter().any(|asked| {
                matches!(asked.what.what, What::Replay { .. })
                    && asked.what.stream == repeat.taken.stream
                    && asked.what.life < repeat.life
                    && post.is_some_and(|post| covers(asked, post))
            })
        });
        Self { taken, undone, redone, broken }
    }
}

/// Whether a replay may deliver the events of a post.
pub(crate) fn covers(asked: &Asked<Again>, post: &Asked<Post>) -> bool {
    let What::Replay { since, .. } = asked.what.what else { return false };
    post.answered.is_none_or(|at| at >= since) && asked.answered.is_none_or(|at| post.begun < at)
}

/// The post that each event is in.
pub(crate) fn posts_by_event(world: &World) -> HashMap<&EventName, &Asked<Post>> {
    let posts = world.producers.iter().flat_map(|producer| &producer.posts);
    posts.flat_map(|post| post.what.events.iter().map(move |event| (event, post))).collect()
}

fn taken(world: &World, offers: &[Offer]) -> Vec<Taken> {
    let pushed = offers.iter().filter_map(|offer| {
        let refused = offer.answer? == 400;
        let (stream, jti, event) = (offer.stream.clone(), offer.jti.clone(), offer.event.clone());
        Some(Taken { stream, jti, event, at: offer.at, life: offer.life, refused })
    });
    let events: HashMap<&str, &Option<EventName>> =
        offers.iter().map(|offer| (offer.jti.as_str(), &offer.event)).collect();
    let mut taken: Vec<Taken> = pushed.collect();
    for asked in &world.poller.acks {
        let Some(at) = asked.answered else { continue };
        let Acked { jtis, refused, life } = &asked.what;
        taken.extend(jtis.iter().map(|jti| Taken {
            stream: POLLED.to_owned(),
            jti: jti.clone(),
            event: events.get(jti.as_str()).and_then(|event| (*event).clone()),
            at,
            life: *life,
            refused: refused.as_ref() == Some(jti),
        }));
    }
    taken
}

/// The first offer after each time that a SET was taken, if there is one, in their order.
fn repeats(taken: &[Taken], offers: &[Offer]) -> Vec<Repeat> {
    let mut by_jti: HashMap<&str, Vec<&Offer>> = HashMap::new();
    for offer in offers {
        by_jti.entry(&offer.jti).or_default().push(offer);
    }
    let repeat = |taken: &Taken| {
        let next = by_jti.get(taken.jti.as_str())?.iter().find(|offer| offer.at > taken.at)?;
        Some(Repeat { taken: taken.clone(), at: next.at, life: next.life })
    };
    let mut repeats: Vec<Repeat> = taken.iter().filter_map(repeat).collect();
    repeats.sort_by_key(|repeat| repeat.at);
    repeats
}
