//! Everything around the server: its files, its producers and receivers, and what they remember of it.

use crate::caller::{Caller, Gone};
use crate::clock::Instant;
use crate::operator::Operator;
use crate::producer::Producer;
use crate::receiver::{Offer, Receiver};
use crate::server::{Log, Server, Start, tail};
use crate::streams::{LASTING, Manager, POLLED, Poller};
use std::collections::HashSet;
use std::path::Path;
use std::process::ExitStatus;
use tempfile::TempDir;
use tokio::sync::watch;

/// Deliveries on their way to one receiver at most.
pub(crate) const IN_FLIGHT_MAX: usize = 4;

const CONFIG: &str = r#"
[server]
public_url = "http://127.0.0.1"
[store]
url = "sqlite:events.db"
log_pages_max = 100
reserve_bytes = 65536
[delivery]
pushes_per_stream_max = 4
retry_delay_first_seconds = 1
retry_delay_max_seconds = 1
poll_wait_max_seconds = 5
poll_visibility_seconds = 2
streams_per_client_max = 1000
[limits]
# No caller is slowed down: the faster, the more there is to lose.
requests_per_second = 1000000
requests_burst = 1000000
[[client]]
id = "shop"
secret = "a secret of the shop"
scopes = ["ssf.manage"]
audience = "https://shop.example"
[[client]]
id = "idp"
secret = "a secret of the idp"
scopes = ["events.write"]
"#;

/// How much is to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Posts of each producer in one life.
    pub(crate) posts: usize,
    /// Of a thousand pushes, so many meet trouble.
    pub(crate) trouble: u32,
    /// The store forgets after a second, so that it has something to forget.
    pub(crate) forget: bool,
}

pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) receiver: Receiver,
    pub(crate) producers: Vec<Producer>,
    pub(crate) manager: Manager,
    pub(crate) poller: Poller,
    pub(crate) operator: Operator,
    pub(crate) traffic: Traffic,
    /// The past was cut at a moment, and what the logs say goes beyond it.
    pub(crate) is_cut: bool,
    /// The lives that ended in order.
    pub(crate) in_order: HashSet<usize>,
    /// What each life of the server wrote; the last is the present one.
    pub(crate) logs: Vec<Log>,
}

/// A server that is ready, and the way to it.
pub(crate) struct Life {
    pub(crate) server: Server,
    pub(crate) caller: Caller,
}

impl World {
    pub(crate) async fn new(seed: u64, traffic: Traffic) -> Self {
        let receiver = Receiver::start(seed, traffic.trouble).await;
        let manager = Manager::new(receiver.address);
        Self {
            directory: new_directory(&traffic),
            producers: (0..3).map(|number| Producer::new(seed, number)).collect(),
            poller: Poller::new(),
            operator: Operator::new(),
            is_cut: false,
            in_order: HashSet::new(),
            logs: Vec::new(),
            receiver,
            manager,
            traffic,
        }
    }

    /// What was known at a moment, with a new directory for the files as they were then. The receiver is the same
    /// one; of the offers it knows those that had been made.
    pub(crate) fn at(&self, moment: Instant, offers: &[Offer]) -> Self {
        let known = offers.iter().filter(|offer| offer.at < moment);
        self.receiver.journal.replace(known.cloned().collect());
        Self {
            directory: new_directory(&self.traffic),
            receiver: self.receiver.clone(),
            producers: self.producers.iter().map(|producer| producer.at(moment)).collect(),
            manager: self.manager.at(moment),
            poller: self.poller.at(moment),
            operator: self.operator.at(moment),
            traffic: self.traffic,
            is_cut: true,
            in_order: HashSet::new(),
            logs: self.logs.clone(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Which life of the server this is, counted from 0.
    pub(crate) fn life(&self) -> usize {
        self.logs.len() - 1
    }

    /// The end of the present life's log.
    pub(crate) fn log_tail(&self) -> String {
        self.logs.last().map(tail).unwrap_or_default()
    }

    /// Starts the server. An error is how it ended before it was ready.
    pub(crate) async fn start(&mut self, start: &Start) -> Result<Server, ExitStatus> {
        self.receiver.hear_out().await;
        self.logs.push(Log::default());
        self.receiver.journal.begin_life(self.life());
        Server::start(self.path(), start, &self.logs[self.life()]).await
    }

    /// Meets the server, and sees to it that the streams are there.
    pub(crate) async fn meet(&mut self, server: Server) -> Result<Life, (Server, Gone)> {
        let (life, path) = (self.life(), self.directory.path());
        let (manager, operator) = (&mut self.manager, &mut self.operator);
        let met = async {
            let caller = Caller::meet(server.address, path).await?;
            manager.take_stock(life, &caller).await?;
            operator.take_stock(&manager.lasting(), &caller).await?;
            Ok(caller)
        };
        match met.await {
            Ok(caller) => Ok(Life { server, caller }),
            Err(gone) => Err((server, gone)),
        }
    }

    /// Lets everybody do what they do, until the producers have said enough or the server has ended. Returns
    /// whether it has.
    pub(crate) async fn run(&mut self, life: &Life) -> bool {
        let (number, Life { server, caller }, journal) = (self.life(), life, &*self.receiver.journal);
        let Self { producers, manager, poller, operator, traffic, logs, .. } = self;
        let [first, second, third] = &mut producers[..] else { unreachable!("there are three") };
        let (polled, ids) = (manager.id(POLLED).to_owned(), manager.lasting());
        let (enough, enough_said) = watch::channel(false);
        let posting = async {
            let (first, second, third) = tokio::join!(
                first.post(traffic.posts, caller, journal),
                second.post(traffic.posts, caller, journal),
                third.post(traffic.posts, caller, journal),
            );
            enough.send_replace(true);
            first.and(second).and(third)
        };
        // No change of a stream is broken off: nobody would know when it takes effect. A poll can be.
        let work = async {
            let operating = async {
                // What is forgotten after a second nobody can deliver again.
                match traffic.forget {
                    true => Ok(()),
                    false => operator.stir(number, &ids, enough_said.clone(), caller, journal).await,
                }
            };
            let stirring = manager.stir(number, enough_said.clone(), caller, journal);
            let (posted, stirred, operated) = tokio::join!(posting, stirring, operating);
            posted.and(stirred).and(operated)
        };
        let work = async {
            tokio::select! {
                done = work => done,
                gone = poller.poll(&polled, caller, journal) => Err(gone),
            }
        };
        tokio::select! {
            biased;
            _ = server.ended() => true,
            done = work => match done {
                Ok(()) => false,
                // Without an answer all depends on whether the server ended.
                Err(Gone(why)) => {
                    logs[number].push(format!("no answer: {why}"));
                    server.ended().await;
                    true
                }
            },
        }
    }

    /// Starts a server that is not to end before it is told, and meets it.
    pub(crate) async fn begin(&mut self, start: &Start) -> Life {
        let started = self.start(start).await;
        let server =
            started.unwrap_or_else(|status| panic!("it does not start, {status}:\n{}", self.log_tail()));
        let met = self.meet(server).await.map_err(|(_, gone)| gone);
        met.unwrap_or_else(|gone| panic!("{}\n{}", gone.0, self.log_tail()))
    }

    /// Leaves a stream paused, with deliveries that it is owed.
    pub(crate) async fn leave_something_owed(&mut self, life: &Life) -> Result<(), Gone> {
        self.manager.set_status("paused", &life.caller).await?;
        for producer in &mut self.producers {
            producer.post(2, &life.caller, &self.receiver.journal).await?;
        }
        Ok(())
    }

    /// In a life that is not to end: what was not answered is repeated, everything that is owed is delivered,
    /// and the server ends in order.
    pub(crate) async fn finish(&mut self) {
        self.receiver.manners.lock().unwrap().trouble = 0;
        self.poller.refuses = false;
        let life = self.begin(&Start::default()).await;
        let delivered = self.deliver_all(&life).await;
        delivered.unwrap_or_else(|gone| panic!("{}\n{}", gone.0, self.log_tail()));
        life.server.stop().await;
        self.in_order.insert(self.life());
    }

    /// Delivers what was refused again, and sees to everything else as at the end.
    pub(crate) async fn redrive_and_finish(&mut self) {
        let life = self.begin(&Start::default()).await;
        let (ids, number) = (self.manager.lasting(), self.life());
        let all = async {
            for stream in LASTING {
                self.operator.redrive(stream, number, &ids, &life.caller).await?;
            }
            self.deliver_all(&life).await
        };
        all.await.unwrap_or_else(|gone: Gone| panic!("{}\n{}", gone.0, self.log_tail()));
        life.server.stop().await;
        self.in_order.insert(self.life());
    }

    pub(crate) async fn deliver_all(&mut self, life: &Life) -> Result<(), Gone> {
        let (caller, journal) = (&life.caller, &*self.receiver.journal);
        self.manager.set_status("enabled", caller).await?;
        let mut last = Vec::new();
        for producer in &mut self.producers {
            producer.repeat_unanswered(caller).await?;
            if !self.traffic.forget {
                producer.repeat_answered(caller).await?;
            }
            last.extend(producer.close(caller).await?);
        }
        let offered_to = |stream: &str, offers: &[Offer]| {
            last.iter().all(|event| {
                offers.iter().any(|offer| offer.stream == stream && offer.event.as_ref() == Some(event))
            })
        };
        let (polled, ids, number) = (self.manager.id(POLLED).to_owned(), self.manager.lasting(), self.life());
        let Self { poller, operator, logs, .. } = self;
        let settling = async {
            journal.until(|offers| LASTING.iter().all(|stream| offered_to(stream, offers))).await;
            operator.quiet(&ids, caller, &logs[number]).await
        };
        // When nothing is owed any more, the last poll has nothing to tell either.
        tokio::select! {
            done = settling => done,
            gone = poller.poll(&polled, caller, journal) => Err(gone),
        }
    }
}

fn new_directory(traffic: &Traffic) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let forget = "[delivery]\nhistory_seconds = 1\nhousekeeping_seconds = 1";
    let config = if traffic.forget { CONFIG.replace("[delivery]", forget) } else { CONFIG.to_owned() };
    std::fs::write(directory.path().join("secevent.toml"), config).unwrap();
    directory
}
