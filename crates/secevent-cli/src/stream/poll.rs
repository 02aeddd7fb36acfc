//! `secevent stream poll`: the SETs that wait on a stream, verified and shown; `secevent stream ack`.

use super::sets::{Judge, Judged};
use crate::link::{ACCESS, Access, EXIT_CODES, Link, Need, stream_id};
use crate::output::{Failure, note, print, print_json, safe};
use secevent_ssf::poll::{PollRequest, PollResponse};
use secevent_ssf::{Method, StreamConfiguration, StreamId, push};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Poll a stream, verify the SETs that come, and show them.
///
/// Nothing is acknowledged without --ack: it is handed out again later, by a secevent server after 60 seconds. A
/// receiver at work polls by itself: do not poll beside it with --ack, because what is acknowledged here it never sees.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream poll f67e39a0… --ack
  secevent stream poll f67e39a0… --wait 60 --ack --json
  secevent stream poll f67e39a0…

JSON: {{sets: [{{jti, valid, events, claims, token}} or {{jti, valid, error, token}}], more_available,
acknowledged, refused}}, where error is {{code, message, fix?}}; valid is null where the keys to tell
by cannot be had.
{ACCESS}

Exit codes: 0 done, and all SETs are valid; 1 not done, or a SET is not valid or cannot be
judged; 2 misuse."))]
pub(crate) struct Args {
    /// The stream, as `secevent stream list` names it
    stream: String,
    /// Acknowledge the SETs that are valid: they do not come again
    #[arg(long)]
    ack: bool,
    /// Refuse the SETs that are not valid, with the reason: they do not come again either
    #[arg(long)]
    refuse: bool,
    /// How many SETs to ask for
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    max: u64,
    /// If nothing is there, wait so many seconds for something; it is asked again where the transmitter answers at once
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: Option<u64>,
    /// A name by which the SETs mean us; may be repeated [default: those of the stream's configuration]
    #[arg(long, value_name = "NAME")]
    audience: Vec<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Acknowledge SETs that were polled, so that they do not come again.
///
/// A transmitter does not say whether it knows a SET that is acknowledged.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream ack f67e39a0… EDx5Zl4rMvbYgzGUdwbBkW

JSON: {{stream_id, acknowledged}}, the number of SETs.
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Ack {
    /// The stream, as `secevent stream list` names it
    stream: String,
    /// The SETs, as `secevent stream poll` names them; behind -- if one begins with a hyphen
    #[arg(value_name = "JTI", required = true, num_args = 1..=ACKS_MAX)]
    jti: Vec<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// As many as a transmitter of another make takes in one request.
const ACKS_MAX: usize = 1000;

pub(crate) async fn ack(args: &Ack) -> Result<(), Failure> {
    let link = args.access.meet(Need::Read).await?;
    let stream = polled_stream(&link, &stream_id(&args.stream, &link)?).await?;
    let ack = PollRequest::acknowledge_only(args.jti.clone(), Vec::new());
    link.client.poll(&stream, &ack, Duration::ZERO).await.map_err(|error| link.failure(&error))?;
    let count = args.jti.len();
    if args.access.json {
        return print_json(&json!({ "stream_id": args.stream, "acknowledged": count }));
    }
    print(&format!("acknowledged on stream {}: {}\n", safe(&args.stream), counted(count)))
}

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let link = args.access.meet(Need::Read).await?;
    let stream = polled_stream(&link, &stream_id(&args.stream, &link)?).await?;
    let poll = PollRequest {
        max_events: Some(args.max),
        return_immediately: args.wait.is_none(),
        ..PollRequest::default()
    };
    let polled = match args.wait {
        None => {
            let polled = link.client.poll(&stream, &poll, Duration::ZERO).await;
            polled.map_err(|error| link.failure(&error))?
        }
        Some(seconds) => poll_for(&link, &stream, &poll, Duration::from_secs(seconds)).await?,
    };
    let judge = Judge::new(&link, &stream, &args.audience);
    let mut sets: Vec<Judged> = Vec::new();
    for set in polled.sets {
        sets.push(judge.judge(set).await);
    }
    let (acknowledged, refused) = settle(args, &link, &stream, &sets).await?;
    let open = sets.iter().filter(|set| set.is_open()).count();
    let invalid = sets.iter().filter(|set| set.verdict.is_err()).count() - open;
    if args.access.json {
        let told: Vec<Value> = sets.iter().map(Judged::to_json).collect();
        print_json(&json!({
            "sets": told,
            "more_available": polled.more_available,
            "acknowledged": acknowledged,
            "refused": refused,
        }))?;
    } else if sets.is_empty() {
        print("no SETs available\n")?;
        note(&format!("SETs that were handed out and not acknowledged {HIDDEN}"));
    } else {
        let mut text = String::new();
        for set in &sets {
            set.write(&mut text);
        }
        print(&text)?;
        let open = sets.len() - acknowledged - refused;
        if open > 0 {
            note(&format!(
                "{} handed out and not acknowledged {HIDDEN}: --ack acknowledges what is valid, as does \
                 `secevent stream ack {} JTI`",
                counted(open),
                args.stream
            ));
        }
        if polled.more_available {
            note("there is more");
        }
    }
    match (invalid, open) {
        (0, 0) => Ok(()),
        (0, _) => Err(Failure::refused("unavailable", "what came cannot be judged now, and comes again")
            .fix("see with `secevent stream metadata` where the transmitter's keys are, and try again")),
        (1, _) => Err(Failure::refused("invalid", "one SET is not valid")),
        (many, _) => Err(Failure::refused("invalid", format!("{many} SETs are not valid"))),
    }
}

/// How much longer than we wait the network may: it must not be the one that gives up.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Some transmitters answer at once although they were asked to wait: how long from one request to the next.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// How long it is, as far as a client can know.
pub(super) const HIDDEN: &str = "are hidden for up to 60 s at a secevent server, and handed out again later";

/// SETs in words.
pub(super) fn counted(sets: usize) -> String {
    match sets {
        1 => "1 SET".to_owned(),
        many => format!("{many} SETs"),
    }
}

/// Polls until there is something, for as long as this. A transmitter that says that it is asked too often is asked
/// again when it wants to be.
async fn poll_for(
    link: &Link,
    stream: &StreamConfiguration,
    poll: &PollRequest,
    patience: Duration,
) -> Result<PollResponse, Failure> {
    let end = Instant::now() + patience;
    loop {
        let began = Instant::now();
        // Transmitters that hold a poll for longer than we wait are left alone then.
        let asked = timeout_at(end, link.client.poll(stream, poll, patience + GRACE)).await;
        let pause = match asked {
            Err(_) => return Ok(PollResponse::default()),
            Ok(Ok(polled)) if !polled.sets.is_empty() => return Ok(polled),
            Ok(Ok(_)) => PAUSE.saturating_sub(began.elapsed()),
            Ok(Err(error)) => {
                let too_often = error.status().is_some_and(|status| status.as_u16() == 429);
                let pause = error.retry_after().unwrap_or(PAUSE).max(PAUSE);
                if !too_often || pause >= end.saturating_duration_since(Instant::now()) {
                    return Err(link.failure(&error));
                }
                pause
            }
        };
        if timeout_at(end, sleep(pause)).await.is_err() {
            return Ok(PollResponse::default());
        }
    }
}

/// Acknowledges and refuses, as far as that is wished.
async fn settle(
    args: &Args,
    link: &Link,
    stream: &StreamConfiguration,
    sets: &[Judged],
) -> Result<(usize, usize), Failure> {
    let ack = sets.iter().filter(|set| args.ack && set.verdict.is_ok()).map(|set| set.jti.clone());
    let refuse = sets.iter().filter(|_| args.refuse).filter_map(|set| {
        // What cannot be judged at the moment is nobody's fault, and comes again.
        let error = set.verdict.as_ref().err().filter(|error| !error.is_open())?;
        Some((set.jti.clone(), push::Error::new(error.fault()?, error.description())))
    });
    let settle = PollRequest::acknowledge_only(ack.collect(), refuse.collect());
    let counts = (settle.ack.len(), settle.set_errs.len());
    if counts != (0, 0) {
        let settled = link.client.poll(stream, &settle, Duration::ZERO).await;
        settled.map_err(|error| link.failure(&error))?;
    }
    Ok(counts)
}

/// The configuration of a stream that is polled.
pub(super) async fn polled_stream(link: &Link, stream: &StreamId) -> Result<StreamConfiguration, Failure> {
    let stream = link.client.read(stream).await.map_err(|error| link.failure(&error))?;
    match stream.delivery.method {
        Method::Poll => Ok(stream),
        Method::Push => Err(Failure::misuse(format!(
            "the stream is pushed to {}: its SETs cannot be polled",
            stream.delivery.endpoint_url
        ))),
    }
}
