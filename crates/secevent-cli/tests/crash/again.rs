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

impl Taken {
    fn same_set(&self, other: &Self) -> bool {
        (&self.stream, &self.jti) == (&other.stream, &other.jti)
    }
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

/// All that befell a SET: when it was offered, taken, and asked for again. For whoever looks for a failure.
pub(crate) fn story(world: &World, offers: &[Offer], repeat: &Repeat) -> String {
    let Taken { stream, jti, .. } = &repeat.taken;
    let mut story = Vec::new();
    for offer in offers.iter().filter(|offer| offer.jti == *jti) {
        story.push((offer.at, format!("offered in life {}, answered {:?}", offer.life, offer.answer)));
    }
    for asked in world.poller.acks.iter().filter(|asked| asked.what.jtis.contains(jti)) {
        let refused = asked.what.refused.as_ref() == Some(jti);
        let told =
            format!("acked in life {}, refused {refused}, answered {:?}", asked.what.life, asked.answered);
        story.push((asked.begun, told));
    }
    for asked in world.operator.asked.iter().filter(|asked| asked.what.stream == stream) {
        story.push((asked.begun, format!("{:?}, answered {:?}", asked.what, asked.answered)));
    }
    let posts = posts_by_event(world);
    if let Some(post) = repeat.taken.event.as_ref().and_then(|event| posts.get(event)) {
        story.push((post.begun, format!("posted, answered {:?}", post.answered)));
    }
    story.sort_by_key(|(at, _)| *at);
    let story = story.into_iter().map(|(at, what)| format!("\n  {at:?} {what}"));
    format!("{jti} on {stream}:{}", story.collect::<String>())
}

impl Repeats {
    pub(crate) fn of(world: &World, offers: &[Offer]) -> Self {
        let taken = taken(world, offers);
        let posts = posts_by_event(world);
        // A dead letter stays what it is when a replay delivers it meanwhile.
        let refused = |repeat: &Repeat| {
            let mut same = taken.iter().filter(|taken| taken.same_set(&repeat.taken));
            same.any(|taken| taken.refused && taken.at < repeat.at)
        };
        // Each request explains one repeat of a SET; the last that may, so that earlier ones are left for earlier
        // repeats.
        let mut used: HashSet<(usize, String)> = HashSet::new();
        let mut explained = |repeat: &Repeat| {
            let post = repeat.taken.event.as_ref().and_then(|event| posts.get(event));
            let refused = refused(repeat);
            let mut asked = world.operator.asked.iter().enumerate().rev();
            asked.any(|(place, asked)| {
                let is_for_it = match asked.what.what {
                    What::Redrive => refused,
                    What::Replay { fresh, .. } => !fresh && post.is_some_and(|post| covers(asked, post)),
                };
                asked.what.stream == repeat.taken.stream
                    && asked.begun < repeat.at
                    && is_for_it
                    && used.insert((place, repeat.taken.jti.clone()))
            })
        };
        // Nothing but a request explains what comes again in one life, or after one that ended in order: these come
        // first.
        let (asked_for, across): (Vec<Repeat>, Vec<Repeat>) =
            repeats(&taken, offers).into_iter().partition(|repeat| {
                repeat.taken.life == repeat.life || world.in_order.contains(&repeat.taken.life)
            });
        let unasked: Vec<Repeat> = asked_for.into_iter().filter(|repeat| !explained(repeat)).collect();
        let undone = across.into_iter().filter(|repeat| !explained(repeat)).collect();
        let (redone, broken) = unasked.into_iter().partition(|repeat| {
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
