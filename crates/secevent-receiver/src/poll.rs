//! Poll: asking a transmitter for its SETs, again and again (RFC 8936).

use crate::credentials::Caller;
use crate::intake::{Intake, Taken};
use crate::retry::RetryPolicy;
use crate::{ClientError, stopped};
use http::HeaderValue;
use secevent::Span;
use secevent::json::Limits;
use secevent_ssf::poll::{PollRequest, PollResponse, request};
use secevent_ssf::{Endpoint, ResponseLimit, ResponseTime, Secret, push};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// How a transmitter is polled.
#[derive(Clone, Copy, Debug)]
pub struct PollSettings {
    /// The most SETs to ask for at once. Default: 100.
    pub sets_max: u64,
    /// The most acknowledgements in one request, refusals included. Default: 1 000.
    pub acks_max: usize,
    /// The bounds of an answer. Default: 8 MiB, 16 levels.
    pub answer: Limits,
    /// How long the transmitter may hold a poll while it has nothing for us. Default: 2 min, longer than any that
    /// we know holds it.
    pub held_max: Duration,
    /// How long to wait at least between polls that bring nothing, because some transmitters answer at once
    /// although they were asked to wait, and sources with [`crate::Source::short_polls`] ask for that. Default: 1 s.
    pub empty_pause: Duration,
    /// How long to wait after a failure.
    pub retry: RetryPolicy,
    /// How long the last acknowledgements may take when we stop. Default: 5 s.
    pub farewell_max: Duration,
}

impl Default for PollSettings {
    fn default() -> Self {
        Self {
            sets_max: 100,
            acks_max: 1_000,
            answer: Limits { bytes_max: 8 * 1024 * 1024, depth_max: 16 },
            held_max: Duration::from_secs(120),
            empty_pause: Duration::from_secs(1),
            retry: RetryPolicy::default(),
            farewell_max: Duration::from_secs(5),
        }
    }
}

/// Polls one stream until it is told to stop.
pub(crate) struct Poller {
    pub(crate) intake: Arc<Intake>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) endpoint: Endpoint,
    /// What each poll carries instead of our own credentials, if the transmitter handed that out.
    pub(crate) authorization: Option<Secret<HeaderValue>>,
    pub(crate) settings: PollSettings,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Poller {
    pub(crate) async fn run(mut self) {
        let source = self.intake.source.name.clone();
        info!(source.id = source, "Polling `{source}`");
        let mut owed = Owed::default();
        let mut fruitless: u32 = 0;
        loop {
            let pause = match self.round(&mut owed).await {
                Ok(Round::Stopped) => break,
                Ok(Round::Fruitful) => {
                    fruitless = 0;
                    None
                }
                Ok(Round::Quiet { pause }) => {
                    fruitless = 0;
                    Some(pause)
                }
                // One such round is the price of an acknowledgement that got lost, and of no concern.
                Ok(Round::Fruitless) => {
                    fruitless = fruitless.saturating_add(1);
                    (fruitless > 1).then(|| self.settings.retry.delay(fruitless - 1, None, &mut rand::rng()))
                }
                Ok(Round::Open { count, wait }) => {
                    fruitless = fruitless.saturating_add(1);
                    if fruitless == 1 {
                        warn!(source.id = source, sets = count, "SETs left open, keys unavailable");
                    }
                    Some(self.open_pause(fruitless, wait))
                }
                Err(error) => {
                    fruitless = fruitless.saturating_add(1);
                    let pause = self.settings.retry.delay(fruitless, error.retry_after(), &mut rand::rng());
                    warn!(source.id = source, %error, attempt = fruitless, "Polling `{source}` failed, next try in {}", Span(pause));
                    Some(pause)
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    biased;
                    () = stopped(&mut self.stop) => break,
                    () = sleep(pause) => {}
                }
            }
        }
        self.farewell(owed).await;
        info!(source.id = source, "No longer polling `{source}`");
    }

    /// One request and what follows from it. Only the waiting is cut short when we stop: what has come is
    /// stored, so that it can be acknowledged.
    async fn round(&mut self, owed: &mut Owed) -> Result<Round, PollError> {
        let (ack, set_errs) = owed.chunk(self.settings.acks_max);
        let has_more = ack.len() + set_errs.len() < owed.len();
        let poll = match has_more {
            true => PollRequest::acknowledge_only(ack, set_errs),
            false => PollRequest {
                max_events: Some(self.settings.sets_max),
                return_immediately: !self.intake.source.holds_polls(),
                ack,
                set_errs,
            },
        };
        let asked_at = Instant::now();
        let mut stop = self.stop.clone();
        let mut response = tokio::select! {
            biased;
            () = stopped(&mut stop) => return Ok(Round::Stopped),
            response = self.send(&poll) => response?,
        };
        owed.settle(&poll);
        if has_more {
            return Ok(Round::Fruitful);
        }
        if response.sets.is_empty() {
            let pause = self.settings.empty_pause.saturating_sub(asked_at.elapsed());
            return Ok(if pause.is_zero() { Round::Fruitful } else { Round::Quiet { pause } });
        }
        // A transmitter that sends more than was asked for sends the rest again.
        response.sets.truncate(self.settings.acks_max);
        let count = response.sets.len();
        let taken = self.intake.take_batch(response.sets).await?;
        debug!(source.id = self.intake.source.name, sets = count, refused = taken.refused.len(), "Polled");
        let round = match taken.open_for {
            _ if taken.any_new => Round::Fruitful,
            Some(wait) => Round::Open { count: taken.open, wait },
            None => Round::Fruitless,
        };
        owed.add(taken);
        Ok(round)
    }

    /// How long to wait when nothing new came but SETs without a final verdict, `rounds` times in a row. Other SETs may
    /// come in the meantime, so it asks sooner than the verdict can be there, but less and less often.
    fn open_pause(&self, rounds: u32, wait: Duration) -> Duration {
        let least = self.settings.empty_pause;
        self.settings.retry.delay(rounds, None, &mut rand::rng()).clamp(least, wait.max(least))
    }

    async fn send(&self, poll: &PollRequest) -> Result<PollResponse, PollError> {
        let mut request = request(&self.endpoint, poll, self.authorization.as_ref());
        request.extensions_mut().insert(ResponseLimit(self.settings.answer.bytes_max));
        if !poll.return_immediately {
            request.extensions_mut().insert(ResponseTime(self.settings.held_max));
        }
        let response = self.caller.send(request).await?;
        if !response.status().is_success() {
            return Err(ClientError::refused(&response).into());
        }
        let read = PollResponse::read(response.body(), self.settings.answer);
        read.map_err(|breach| ClientError::Malformed(breach).into())
    }

    /// Acknowledges what is stored, so that it need not come again. If that does not work, it comes again.
    async fn farewell(&self, mut owed: Owed) {
        let all = async {
            while owed.len() > 0 {
                let (ack, set_errs) = owed.chunk(self.settings.acks_max);
                let poll = PollRequest::acknowledge_only(ack, set_errs);
                if let Err(error) = self.send(&poll).await {
                    warn!(source.id = self.intake.source.name, %error, "The last acknowledgements failed");
                    return;
                }
                owed.settle(&poll);
            }
        };
        if timeout(self.settings.farewell_max, all).await.is_err() {
            warn!(source.id = self.intake.source.name, "The last acknowledgements took too long");
        }
    }
}

/// What a round was good for.
enum Round {
    /// We are to stop.
    Stopped,
    /// There may be more: ask again at once.
    Fruitful,
    /// There was nothing.
    Quiet { pause: Duration },
    /// Everything that came had come before.
    Fruitless,
    /// Some of what came has no final verdict yet, and nothing else is new.
    Open { count: usize, wait: Duration },
}

#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] secevent_store::StoreError),
}

impl PollError {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Client(error) => error.retry_after(),
            Self::Store(_) => None,
        }
    }
}

/// The acknowledgements and refusals that the transmitter does not have yet.
#[derive(Debug, Default)]
struct Owed {
    ack: VecDeque<String>,
    refused: VecDeque<(String, push::Error)>,
}

impl Owed {
    fn len(&self) -> usize {
        self.ack.len() + self.refused.len()
    }

    fn add(&mut self, taken: Taken) {
        self.ack.extend(taken.ack);
        self.refused.extend(taken.refused);
    }

    /// The oldest ones, refusals first: the transmitter may have to do something about them.
    fn chunk(&self, count_max: usize) -> (Vec<String>, Vec<(String, push::Error)>) {
        let refused: Vec<_> = self.refused.iter().take(count_max).cloned().collect();
        let ack = self.ack.iter().take(count_max - refused.len()).cloned().collect();
        (ack, refused)
    }

    /// The transmitter has those of `poll`.
    fn settle(&mut self, poll: &PollRequest) {
        let acked: HashSet<&str> = poll.ack.iter().map(String::as_str).collect();
        let refused: HashSet<&str> = poll.set_errs.iter().map(|(jti, _)| jti.as_str()).collect();
        self.ack.retain(|jti| !acked.contains(jti.as_str()));
        self.refused.retain(|(jti, _)| !refused.contains(jti.as_str()));
    }
}
