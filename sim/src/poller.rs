//! A receiver that polls in its own way: several pollers on one stream, which ask for few, acknowledge late, forget
//! what they owe and hang up.

use crate::events::TYPES;
use crate::service::{Service, events_requested};
use crate::sim::Sim;
use secevent::Fault;
use secevent_ssf::poll::{PollRequest, PollResponse};
use secevent_ssf::{CreateStream, StreamId, push};
use secevent_transmitter::PollError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

pub(crate) struct Pollers {
    sim: Arc<Sim>,
    service: Arc<Service>,
    pub(crate) number: usize,
    issuer: usize,
    kinds: [bool; TYPES.len()],
    stream: Mutex<Option<StreamId>>,
}

impl Pollers {
    /// Starts `count` pollers, and one who sees to it that there is a stream.
    pub(crate) fn new(
        sim: &Arc<Sim>,
        service: &Arc<Service>,
        number: usize,
        issuer: usize,
        kinds: [bool; TYPES.len()],
        count: u64,
    ) -> Arc<Self> {
        let pollers = Arc::new(Self {
            sim: Arc::clone(sim),
            service: Arc::clone(service),
            number,
            issuer,
            kinds,
            stream: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&pollers).subscribe());
        for _ in 0..count {
            tokio::spawn(Arc::clone(&pollers).poll());
        }
        pollers
    }

    async fn subscribe(self: Arc<Self>) {
        loop {
            if self.stream().is_none() {
                let request = CreateStream {
                    events_requested: Some(events_requested(self.kinds)),
                    ..CreateStream::default()
                };
                if let Ok(Ok(made)) = self.service.create(self.issuer, self.number, request).await {
                    *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.stream_id);
                }
            }
            sleep(Duration::from_secs(5)).await;
        }
    }

    async fn poll(self: Arc<Self>) {
        // What was taken and is not known to be acknowledged.
        let mut owed: Vec<String> = Vec::new();
        loop {
            sleep(self.sim.millis(1, 3_000)).await;
            let Some(stream) = self.stream() else { continue };
            if self.sim.fault(20) {
                // It dies, and another one takes its place.
                owed.clear();
                sleep(self.sim.millis(1, 60_000)).await;
            }
            let request = self.request(&owed);
            if self.sim.fault(15) {
                continue;
            }
            match self.exchange(&stream, &request).await {
                None => {}
                Some(Err(PollError::NoSuchStream)) => {
                    // Another one may have found that out before, and there is a new stream.
                    let mut current = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
                    current.take_if(|current| *current == stream);
                }
                Some(Err(_)) => sleep(self.sim.millis(100, 2_000)).await,
                Some(Ok(response)) => {
                    owed.retain(|jti| {
                        !request.ack.contains(jti) && !request.set_errs.iter().any(|(one, _)| one == jti)
                    });
                    for (jti, _) in response.sets {
                        self.sim.model(|model| model.receivers[self.number].keep(&jti));
                        if !owed.contains(&jti) {
                            owed.push(jti);
                        }
                    }
                }
            }
        }
    }

    fn request(&self, owed: &[String]) -> PollRequest {
        let is_calm = self.sim.is_calm();
        let settled: Vec<&String> = owed.iter().filter(|_| !self.sim.fault(5)).collect();
        let (refused, acked): (Vec<&String>, Vec<&String>) =
            settled.into_iter().partition(|_| self.sim.fault(12));
        let error =
            |jti: &String| (jti.clone(), push::Error::new(Fault::InvalidRequest, "not this one".to_owned()));
        PollRequest {
            max_events: match self.sim.below(4) {
                _ if is_calm => None,
                0 => None,
                1 => Some(self.sim.below(2)),
                _ => Some(1 + self.sim.below(20)),
            },
            return_immediately: !is_calm && self.sim.one_in(2),
            ack: acked.into_iter().cloned().collect(),
            set_errs: refused.into_iter().map(error).collect(),
        }
    }

    /// Sends a request; none if its answer is lost.
    async fn exchange(
        self: &Arc<Self>,
        stream: &StreamId,
        request: &PollRequest,
    ) -> Option<Result<PollResponse, PollError>> {
        sleep(self.sim.millis(1, 50)).await;
        let polling = self.service.poll(self.number, stream, request);
        let answer = match self.sim.fault(15) {
            // It hangs up, and the transmitter's server drops what it was about to answer.
            true => timeout(self.sim.millis(1, 5_000), polling).await.ok()?,
            false => polling.await,
        };
        sleep(self.sim.millis(1, 50)).await;
        if self.sim.fault(15) { None } else { answer.ok() }
    }

    /// The stream that they poll.
    pub(crate) fn stream(&self) -> Option<StreamId> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
