//! Producers: each speaks about subjects of its own, waits for every answer, and repeats what was not answered.

use crate::caller::{Caller, Gone};
use crate::clock::{Asked, Instant, before};
use crate::receiver::{EventName, Journal};
use crate::streams::STEADY;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

/// One request with an event, or with several.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) key: String,
    pub(crate) events: Vec<EventName>,
    many: bool,
    body: String,
    /// How often it was sent.
    pub(crate) sent: usize,
    /// What the server said, if it did.
    pub(crate) answer: Value,
}

#[derive(Debug)]
pub(crate) struct Producer {
    number: usize,
    chance: StdRng,
    /// In their order: each began after the answer to the one before.
    pub(crate) posts: Vec<Asked<Post>>,
}

impl Producer {
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        let chance = StdRng::seed_from_u64(seed.wrapping_add(number as u64 + 1));
        Self { number, chance, posts: Vec::new() }
    }

    /// The same producer as it was at a moment.
    pub(crate) fn at(&self, moment: Instant) -> Self {
        let chance = StdRng::seed_from_u64(moment.0);
        Self { number: self.number, chance, posts: before(&self.posts, moment) }
    }

    /// Posts so many times, unless the server goes away.
    pub(crate) async fn post(
        &mut self,
        times: usize,
        caller: &Caller,
        journal: &Journal,
    ) -> Result<(), Gone> {
        self.repeat_unanswered(caller).await?;
        for _ in 0..times {
            let events = if self.chance.random_range(0..3) == 0 { self.chance.random_range(2..6) } else { 1 };
            let subjects =
                (0..events).map(|_| self.chance.random_range(0..Self::SUBJECTS)).collect::<Vec<_>>();
            self.ask(&subjects, caller).await?;
            // Whoever is far ahead waits, so that a run does not grow without end.
            if let Some(earlier) = self.posts.len().checked_sub(4) {
                let last = self.posts[earlier].what.events.last().cloned();
                journal.until(|offers| offers.iter().any(|o| o.stream == STEADY && o.event == last)).await;
            }
        }
        Ok(())
    }

    /// Posts until the server takes no more, which is before so many posts.
    pub(crate) async fn post_until_refused(&mut self, posts_max: usize, caller: &Caller) -> Result<(), Gone> {
        for post in 0..posts_max {
            self.prepare(&[post % Self::SUBJECTS]);
            if self.offer_last(caller).await? != 202 {
                return Ok(());
            }
        }
        panic!("it takes {posts_max} posts");
    }

    /// Repeats the last post until it is taken.
    pub(crate) async fn insist(&mut self, caller: &Caller) -> Result<(), Gone> {
        while self.offer_last(caller).await? != 202 {}
        Ok(())
    }

    /// Posts once more, and repeats that until it is taken.
    pub(crate) async fn insist_on_one_more(&mut self, caller: &Caller) -> Result<(), Gone> {
        self.prepare(&[0]);
        self.insist(caller).await
    }

    /// Posts one last event about each subject. A stream is sent it when all that came before is settled.
    pub(crate) async fn close(&mut self, caller: &Caller) -> Result<Vec<EventName>, Gone> {
        let subjects: Vec<usize> = (0..Self::SUBJECTS).collect();
        self.ask(&subjects, caller).await?;
        Ok(self.posts.last().unwrap().what.events.clone())
    }

    /// Repeats the post to which no answer came, if there is one.
    pub(crate) async fn repeat_unanswered(&mut self, caller: &Caller) -> Result<(), Gone> {
        match self.posts.last() {
            Some(last) if !last.is_answered() => self.send_last(caller).await,
            _ => Ok(()),
        }
    }

    /// A repeat of what was answered gets the same answer (SEM-15).
    pub(crate) async fn repeat_answered(&mut self, caller: &Caller) -> Result<(), Gone> {
        const REPEATS: usize = 3;
        let answered: Vec<&Asked<Post>> = self.posts.iter().filter(|post| post.is_answered()).collect();
        for _ in 0..REPEATS.min(answered.len()) {
            let Post { key, body, many, answer, .. } =
                &answered[self.chance.random_range(0..answered.len())].what;
            let again = caller.events(key, body.clone(), *many).await?;
            assert_eq!(again, (202, answer.clone()), "a repeat of {key} gets the first answer");
        }
        Ok(())
    }

    const SUBJECTS: usize = 2;

    async fn ask(&mut self, subjects: &[usize], caller: &Caller) -> Result<(), Gone> {
        self.prepare(subjects);
        self.send_last(caller).await
    }

    fn prepare(&mut self, subjects: &[usize]) {
        let mut events: Vec<EventName> = Vec::new();
        for subject in subjects {
            let subject = format!("p{}s{subject}", self.number);
            let earlier = self.posts.iter().flat_map(|post| &post.what.events).chain(&events);
            let number = earlier.filter(|event| event.subject == subject).count() as u64;
            events.push(EventName { subject, number });
        }
        let lines: Vec<String> = events.iter().map(|event| event_json(event).to_string()).collect();
        let key = format!("p{}-{}", self.number, self.posts.len());
        let post = Post {
            key,
            many: events.len() > 1,
            events,
            body: lines.join("\n"),
            sent: 0,
            answer: Value::Null,
        };
        self.posts.push(Asked::now(post));
    }

    async fn send_last(&mut self, caller: &Caller) -> Result<(), Gone> {
        let status = self.offer_last(caller).await?;
        assert_eq!(status, 202, "{:?}", self.posts.last());
        Ok(())
    }

    /// Sends the last post, which may be refused for want of room.
    pub(crate) async fn offer_last(&mut self, caller: &Caller) -> Result<u16, Gone> {
        let post = self.posts.last_mut().unwrap();
        post.what.sent += 1;
        let Post { key, body, many, .. } = &post.what;
        let (status, answer) = caller.events(key, body.clone(), *many).await?;
        if status == 503 {
            return Ok(status);
        }
        assert_eq!(status, 202, "{key}: {answer}");
        let told = answer["events"].as_array().map_or(1, Vec::len);
        assert_eq!(told, post.what.events.len(), "{key}: {answer}");
        (post.answered, post.what.answer) = (Some(Instant::now()), answer);
        Ok(status)
    }
}

impl Post {
    /// The identifiers that the server gave to the events.
    pub(crate) fn event_ids(&self) -> Vec<&str> {
        self.told("event_id")
    }

    /// The `txn` of each event.
    pub(crate) fn txns(&self) -> Vec<&str> {
        self.told("txn")
    }

    fn told(&self, member: &str) -> Vec<&str> {
        let one = std::slice::from_ref(&self.answer);
        let told = self.answer["events"].as_array().map_or(one, Vec::as_slice);
        told.iter().map(|event| event[member].as_str().unwrap()).collect()
    }
}

fn event_json(event: &EventName) -> Value {
    let mut json = json!({
        "type": "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
        "subject": { "format": "email", "email": format!("{}@example.com", event.subject) },
        "data": { "reason_admin": { "en": event.to_string() } },
    });
    // Some producers name the transaction themselves.
    if event.number.is_multiple_of(3) {
        json["txn"] = format!("txn-{event}").into();
    }
    json
}
