//! The receiver's side of the streams: created, paused, resumed, polled, deleted.

use crate::caller::{Caller, Gone};
use crate::clock::{Asked, Instant, before};
use crate::operator::Ids;
use crate::receiver::Journal;
use http::Method;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::sync::watch;

/// A push stream that is always enabled.
pub(crate) const STEADY: &str = "steady";
/// A poll stream that is always enabled.
pub(crate) const POLLED: &str = "polled";
/// A push stream that is paused and resumed.
pub(crate) const PAUSED: &str = "paused";

/// The streams that every event is owed to.
pub(crate) const LASTING: [&str; 3] = [STEADY, POLLED, PAUSED];

/// A change that was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create {
        name: String,
    },
    /// In this life of the server.
    Delete {
        name: String,
        life: usize,
    },
    /// Of the stream that is paused and resumed.
    Status(&'static str),
}

/// Changes streams, one at a time.
#[derive(Debug)]
pub(crate) struct Manager {
    push_to: SocketAddr,
    pub(crate) changes: Vec<Asked<Change>>,
    /// The streams that are there, and their ids.
    ids: HashMap<String, String>,
    /// The ids of all streams that were created.
    made: HashMap<String, String>,
    ended: usize,
}

impl Manager {
    pub(crate) fn new(push_to: SocketAddr) -> Self {
        Self { push_to, changes: Vec::new(), ids: HashMap::new(), made: HashMap::new(), ended: 0 }
    }

    /// The same manager as it was at a moment.
    pub(crate) fn at(&self, moment: Instant) -> Self {
        let (made, changes) = (self.made.clone(), before(&self.changes, moment));
        Self { push_to: self.push_to, changes, ids: HashMap::new(), made, ended: self.ended }
    }

    /// The lasting streams, once they are made.
    pub(crate) fn lasting(&self) -> Ids {
        LASTING.map(|name| (name, self.ids[name].clone())).into()
    }

    pub(crate) fn id(&self, name: &str) -> &str {
        &self.ids[name]
    }

    /// After a start: what was answered is as it was answered, and the lasting streams are made if they are not
    /// there yet.
    pub(crate) async fn take_stock(&mut self, life: usize, caller: &Caller) -> Result<(), Gone> {
        let (status, answer) = caller.ask(&Method::GET, "/ssf/stream", None).await?;
        assert_eq!(status, 200, "{answer}");
        self.ids.clear();
        for stream in answer.as_array().unwrap() {
            let (name, id) = (stream["description"].as_str().unwrap(), stream["stream_id"].as_str().unwrap());
            let twice = self.ids.insert(name.to_owned(), id.to_owned());
            assert_eq!(twice, None, "the stream {name} is there once");
        }
        for asked in &self.changes {
            let Change::Create { name } = &asked.what else { continue };
            let deletes = self.changes.iter().filter(
                |other| matches!(&other.what, Change::Delete { name: deleted, .. } if deleted == name),
            );
            let deletes: Vec<_> = deletes.collect();
            if deletes.iter().any(|delete| delete.is_answered()) {
                assert!(!self.ids.contains_key(name), "the stream {name} was deleted, and is back");
            } else if asked.is_answered() && deletes.is_empty() {
                assert_eq!(
                    self.ids.get(name),
                    self.made.get(name),
                    "the stream {name} was created, and is gone"
                );
            }
        }
        self.check_status(caller).await?;

        for name in LASTING {
            if !self.ids.contains_key(name) {
                self.create(name, caller).await?;
            }
        }
        let left: Vec<String> = self.ids.keys().filter(|name| name.starts_with("ended")).cloned().collect();
        for name in left {
            self.delete(&name, life, caller).await?;
        }
        Ok(())
    }

    async fn check_status(&self, caller: &Caller) -> Result<(), Gone> {
        let last = self.changes.iter().rev().find(|asked| matches!(asked.what, Change::Status(_)));
        if let Some(Asked { what: Change::Status(status), answered: Some(_), .. }) = last {
            let path = format!("/ssf/status?stream_id={}", self.id(PAUSED));
            let (_, told) = caller.ask(&Method::GET, &path, None).await?;
            assert_eq!(told["status"], *status, "the status that was set stays set");
        }
        Ok(())
    }

    /// Pauses and resumes, creates and deletes, in the middle of the traffic, until the producers have said enough or
    /// the server goes away.
    pub(crate) async fn stir(
        &mut self,
        life: usize,
        mut enough: watch::Receiver<bool>,
        caller: &Caller,
        journal: &Journal,
    ) -> Result<(), Gone> {
        while !*enough.borrow() {
            self.set_status("paused", caller).await?;
            let name = format!("ended-{}", self.ended);
            self.ended += 1;
            more_offers(journal, &mut enough).await;
            self.create(&name, caller).await?;
            more_offers(journal, &mut enough).await;
            self.delete(&name, life, caller).await?;
            self.set_status("enabled", caller).await?;
            more_offers(journal, &mut enough).await;
        }
        Ok(())
    }

    async fn create(&mut self, name: &str, caller: &Caller) -> Result<(), Gone> {
        let delivery = match name {
            POLLED => json!({ "method": "urn:ietf:rfc:8936" }),
            name => json!({
                "method": "urn:ietf:rfc:8935",
                "endpoint_url": format!("http://{}/{name}", self.push_to),
            }),
        };
        let wanted = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
        let request = json!({ "delivery": delivery, "events_requested": [wanted], "description": name });
        self.changes.push(Asked::now(Change::Create { name: name.to_owned() }));
        let (status, created) = caller.ask(&Method::POST, "/ssf/stream", Some(&request)).await?;
        assert_eq!(status, 201, "{name}: {created}");
        for ids in [&mut self.ids, &mut self.made] {
            ids.insert(name.to_owned(), created["stream_id"].as_str().unwrap().to_owned());
        }
        self.answered();
        Ok(())
    }

    async fn delete(&mut self, name: &str, life: usize, caller: &Caller) -> Result<(), Gone> {
        self.changes.push(Asked::now(Change::Delete { name: name.to_owned(), life }));
        let path = format!("/ssf/stream?stream_id={}", self.id(name));
        let (status, told) = caller.ask(&Method::DELETE, &path, None).await?;
        assert_eq!(status, 204, "{name}: {told}");
        self.answered();
        Ok(())
    }

    pub(crate) async fn set_status(&mut self, status: &'static str, caller: &Caller) -> Result<(), Gone> {
        self.changes.push(Asked::now(Change::Status(status)));
        let request = json!({ "stream_id": self.id(PAUSED), "status": status });
        loop {
            let (code, told) = caller.ask(&Method::POST, "/ssf/status", Some(&request)).await?;
            // A replay as new SETs changes the stream too, and neither waits for the other.
            if code != 409 {
                assert_eq!(code, 200, "{told}");
                break;
            }
        }
        self.answered();
        Ok(())
    }

    fn answered(&mut self) {
        self.changes.last_mut().unwrap().answered = Some(Instant::now());
    }
}

/// Waits for a few more pushes, if there are to be any.
pub(crate) async fn more_offers(journal: &Journal, enough: &mut watch::Receiver<bool>) {
    let then = journal.count(STEADY) + 3;
    tokio::select! {
        () = journal.until(|offers| offers.iter().filter(|offer| offer.stream == STEADY).count() >= then) => {}
        _ = enough.wait_for(|enough| *enough) => {}
    }
}

/// Identifiers that were acknowledged or refused, in a life of the server.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) jtis: Vec<String>,
    /// The one of them that was refused.
    pub(crate) refused: Option<String>,
    pub(crate) life: usize,
}

/// Polls, and acknowledges what it got with the next poll.
#[derive(Debug)]
pub(crate) struct Poller {
    pub(crate) acks: Vec<Asked<Acked>>,
    /// Some SETs are refused.
    pub(crate) refuses: bool,
    polls: usize,
}

impl Poller {
    pub(crate) fn new() -> Self {
        Self { acks: Vec::new(), refuses: true, polls: 0 }
    }

    /// The same poller as it was at a moment.
    pub(crate) fn at(&self, moment: Instant) -> Self {
        Self { acks: before(&self.acks, moment), refuses: self.refuses, polls: 0 }
    }

    /// Polls until the server goes away.
    pub(crate) async fn poll(&mut self, stream: &str, caller: &Caller, journal: &Journal) -> Gone {
        let mut held = Vec::new();
        loop {
            held = match self.poll_once(stream, held, json!({ "maxEvents": 20 }), caller, journal).await {
                Ok(held) => held,
                Err(gone) => return gone,
            };
        }
    }

    /// Acknowledges what it holds, and returns what it gets.
    pub(crate) async fn poll_once(
        &mut self,
        stream: &str,
        held: Vec<String>,
        mut request: Value,
        caller: &Caller,
        journal: &Journal,
    ) -> Result<Vec<String>, Gone> {
        self.polls += 1;
        let (mut ack, mut set_errs, mut refused) = (held.clone(), json!({}), None);
        if self.refuses
            && self.polls.is_multiple_of(5)
            && let Some(jti) = ack.pop()
        {
            set_errs[&jti] = json!({ "err": "invalid_request", "description": "a mood" });
            refused = Some(jti);
        }
        request["ack"] = json!(ack);
        request["setErrs"] = set_errs;
        self.acks.push(Asked::now(Acked { jtis: held, refused, life: journal.life() }));
        let sets = caller.poll(stream, request).await?;
        self.acks.last_mut().unwrap().answered = Some(Instant::now());
        let mut got = Vec::new();
        for (jti, claims) in sets {
            journal.record(POLLED, claims, None);
            got.push(jti);
        }
        Ok(got)
    }
}
