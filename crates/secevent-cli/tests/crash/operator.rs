//! The operator's side: what was refused is delivered again, and so is a part of the past; the store is copied.

use crate::caller::{Caller, Gone};
use crate::clock::{Asked, Instant, before};
use crate::receiver::Journal;
use crate::server::Log;
use crate::streams::{LASTING, more_offers};
use http::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::watch;

/// As many SETs a replay owes again in one turn.
pub(crate) const REPLAY_TURN: usize = 4;
const REPLAY_PER_SECOND: usize = 10 * REPLAY_TURN;
/// About so many SETs are replayed: more than a stream is owed at the moment, so that most are delivered again.
const REPLAYED: usize = 30;

/// Something that is to be delivered again.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    /// By the name that these tests gave it.
    pub(crate) stream: &'static str,
    pub(crate) what: What,
    /// The life of the server in which it was asked for.
    pub(crate) life: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// All dead letters.
    Redrive,
    /// What was accepted at this time or later, as the same SETs or as new ones.
    Replay {
        since: Instant,
        fresh: bool,
        /// So many SETs the stream was owed at a moment just before it was asked for.
        owed: u64,
        owed_at: Instant,
    },
}

/// The streams that every event is owed to, and their identifiers.
pub(crate) type Ids = HashMap<&'static str, String>;

/// Asks for one thing at a time.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) asked: Vec<Asked<Again>>,
    /// The replays that are known by their identifiers, and which of `asked` they are.
    replays: HashMap<String, usize>,
    /// The replays as they were told last.
    pub(crate) told: Vec<(usize, Value)>,
    /// The dead letters of each stream as they were told last.
    pub(crate) dead: HashMap<&'static str, BTreeSet<String>>,
    /// Copies that were asked for.
    backups: Vec<Asked<PathBuf>>,
    into: Arc<TempDir>,
    turns: usize,
    /// How many SETs it was told are redriven.
    pub(crate) redriven: u64,
    /// How many replays were under way when the server started.
    pub(crate) resumed: usize,
}

impl Operator {
    pub(crate) fn new() -> Self {
        Self {
            asked: Vec::new(),
            replays: HashMap::new(),
            told: Vec::new(),
            dead: HashMap::new(),
            backups: Vec::new(),
            into: Arc::new(tempfile::tempdir().unwrap()),
            turns: 0,
            redriven: 0,
            resumed: 0,
        }
    }

    /// The same operator as it was at a moment.
    pub(crate) fn at(&self, moment: Instant) -> Self {
        let asked = before(&self.asked, moment);
        let known =
            self.replays.iter().filter(|(_, place)| asked.get(**place).is_some_and(Asked::is_answered));
        let replays = known.map(|(id, place)| (id.clone(), *place)).collect();
        Self { asked, replays, turns: self.turns, ..Self::new() }
    }

    /// After a start: the replays that were answered are there, and others that were asked for may be.
    pub(crate) async fn take_stock(&mut self, ids: &Ids, caller: &Caller) -> Result<(), Gone> {
        let replays = list_replays(caller).await?;
        for told in &replays {
            let (id, stream) = (told["id"].as_str().unwrap(), told["stream_id"].as_str().unwrap());
            assert_ne!(told["state"], "cancelled", "nobody called it off: {told}");
            self.resumed += usize::from(told["state"] == "running");
            if self.replays.contains_key(id) {
                continue;
            }
            let known: HashSet<usize> = self.replays.values().copied().collect();
            let unanswered = self.asked.iter().enumerate().position(|(place, asked)| {
                let is_replay = matches!(asked.what.what, What::Replay { .. });
                is_replay
                    && !asked.is_answered()
                    && ids[asked.what.stream] == stream
                    && !known.contains(&place)
            });
            let place = unanswered.unwrap_or_else(|| panic!("nobody asked for the replay {told}"));
            self.replays.insert(id.to_owned(), place);
        }
        for id in self.replays.keys() {
            assert!(replays.iter().any(|told| told["id"] == **id), "the replay {id} was begun, and is gone");
        }
        Ok(())
    }

    /// Redrives, replays and copies in the middle of the traffic, until the producers have said enough or the server
    /// goes away.
    pub(crate) async fn stir(
        &mut self,
        life: usize,
        ids: &Ids,
        mut enough: watch::Receiver<bool>,
        caller: &Caller,
        journal: &Journal,
    ) -> Result<(), Gone> {
        while !*enough.borrow() {
            more_offers(journal, &mut enough).await;
            self.turns += 1;
            let stream = LASTING[self.turns % LASTING.len()];
            self.redrive(stream, life, ids, caller).await?;
            if list_replays(caller).await?.iter().all(|told| told["state"] != "running") {
                self.replay(stream, life, ids, caller, journal).await?;
            }
            if self.turns.is_multiple_of(5) {
                self.back_up(caller).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn redrive(
        &mut self,
        stream: &'static str,
        life: usize,
        ids: &Ids,
        caller: &Caller,
    ) -> Result<(), Gone> {
        self.asked.push(Asked::now(Again { stream, what: What::Redrive, life }));
        let path = format!("/streams/{}/dead/redrive", ids[stream]);
        let (status, told) = caller.operate(&Method::POST, &path, Some(&json!({ "all": true }))).await?;
        assert_eq!(status, 200, "{told}");
        self.redriven += told["redriven"].as_u64().unwrap();
        self.asked.last_mut().unwrap().answered = Some(Instant::now());
        Ok(())
    }

    /// Replays what was accepted lately, in small steps.
    async fn replay(
        &mut self,
        stream: &'static str,
        life: usize,
        ids: &Ids,
        caller: &Caller,
        journal: &Journal,
    ) -> Result<(), Gone> {
        let offers = journal.offers();
        let mut offers = offers.iter().rev().filter(|offer| offer.stream == stream && offer.event.is_some());
        // What is offered after this moment was accepted before it or behind it: not many were before.
        let Some(since) = offers.nth(REPLAYED).map(|offer| offer.at) else { return Ok(()) };
        let fresh = self.asked.len().is_multiple_of(2);
        let request = json!({ "since": since.told(), "fresh_jti": fresh, "per_second": REPLAY_PER_SECOND });
        let begun = Instant::now();
        let owed = figures(stream, ids, caller).await?["backlog"]["pending"].as_u64().unwrap();
        let what = Again { stream, what: What::Replay { since, fresh, owed, owed_at: Instant::now() }, life };
        self.asked.push(Asked { what, begun, answered: None });
        let path = format!("/streams/{}/replays", ids[stream]);
        let (status, told) = caller.operate(&Method::POST, &path, Some(&request)).await?;
        if status == 409 {
            // The stream was being changed, and nothing has begun.
            self.asked.pop();
            return Ok(());
        }
        assert_eq!(status, 201, "{told}");
        self.replays.insert(told["id"].as_str().unwrap().to_owned(), self.asked.len() - 1);
        self.asked.last_mut().unwrap().answered = Some(Instant::now());
        Ok(())
    }

    /// Copies the store while it is at work. Returns where to.
    pub(crate) async fn back_up(&mut self, caller: &Caller) -> Result<PathBuf, Gone> {
        let to = self.into.path().join(format!("copy-{}.db", self.backups.len()));
        self.backups.push(Asked::now(to.clone()));
        let (status, told) = caller.operate(&Method::POST, "/backup", Some(&json!({ "path": to }))).await?;
        assert_eq!(status, 201, "{told}");
        self.backups.last_mut().unwrap().answered = Some(Instant::now());
        Ok(to)
    }

    /// Waits until no replay is under way and nothing is owed to any of the streams.
    pub(crate) async fn quiet(&mut self, ids: &Ids, caller: &Caller, log: &Log) -> Result<(), Gone> {
        loop {
            // What this waits for is told when it is stored.
            let next = log.next();
            let replays = list_replays(caller).await?;
            let mut owed = replays.iter().filter(|told| told["state"] == "running").count() as u64;
            for stream in LASTING {
                owed += figures(stream, ids, caller).await?["backlog"]["pending"].as_u64().unwrap();
            }
            if owed == 0 {
                self.told = replays
                    .into_iter()
                    .map(|told| (self.replays[told["id"].as_str().unwrap()], told))
                    .collect();
                break;
            }
            next.await;
        }
        for stream in LASTING {
            // What is stored is taken out of the memory a moment later.
            while figures(stream, ids, caller).await?["pending"] != 0 {}
            let path = format!("/dead?stream={}&limit=500", ids[stream]);
            let (status, told) = caller.operate(&Method::GET, &path, None).await?;
            assert_eq!(status, 200, "{told}");
            let dead = told["dead"].as_array().unwrap();
            assert_eq!(figures(stream, ids, caller).await?["backlog"]["dead"], dead.len(), "{stream}");
            let jtis = dead.iter().map(|dead| dead["jti"].as_str().unwrap().to_owned());
            self.dead.insert(stream, jtis.collect());
        }
        Ok(())
    }

    /// Waits until nothing is owed to a stream.
    pub(crate) async fn settled(
        &self,
        stream: &str,
        ids: &Ids,
        caller: &Caller,
        log: &Log,
    ) -> Result<(), Gone> {
        loop {
            let next = log.next();
            if figures(stream, ids, caller).await?["backlog"]["pending"] == 0 {
                return Ok(());
            }
            next.await;
        }
    }

    /// What is wrong with the copies: each stands whole under its name, or not at all.
    pub(crate) fn broken_copies(&self) -> Vec<String> {
        let broken = |copy: &Asked<PathBuf>| match copy.what.exists() {
            false => copy.is_answered().then(|| format!("no copy: {} was answered", copy.what.display())),
            true => damaged(&copy.what),
        };
        self.backups.iter().filter_map(broken).collect()
    }
}

/// What is wrong with the file of a store.
pub(crate) fn damaged(path: &Path) -> Option<String> {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let told: rusqlite::Result<String> = database.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    (told.as_deref() != Ok("ok")).then(|| format!("damaged: {}: {told:?}", path.display()))
}

async fn list_replays(caller: &Caller) -> Result<Vec<Value>, Gone> {
    let (status, mut told) = caller.operate(&Method::GET, "/replays", None).await?;
    assert_eq!(status, 200, "{told}");
    match told["replays"].take() {
        Value::Array(replays) => Ok(replays),
        other => panic!("{other} are no replays"),
    }
}

async fn figures(stream: &str, ids: &Ids, caller: &Caller) -> Result<Value, Gone> {
    let (status, told) = caller.operate(&Method::GET, &format!("/streams/{}", ids[stream]), None).await?;
    assert_eq!(status, 200, "{told}");
    Ok(told)
}
