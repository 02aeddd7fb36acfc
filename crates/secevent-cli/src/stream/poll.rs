//! `secevent stream poll`: the SETs that wait on a stream, verified and told.

use super::sets::{Judge, Judged};
use crate::link::{ACCESS, Access, Link, Need, stream_id};
use crate::output::{Failure, note, print, print_json};
use secevent_ssf::poll::{PollRequest, PollResponse};
use secevent_ssf::{Method, StreamConfiguration, StreamId, push};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Poll a stream once, verify the SETs that come, and show them.
///
/// Nothing is acknowledged without --ack, so that all of it comes again. A receiver at work polls by itself: do not
/// poll beside it with --ack, because what is acknowledged here it never sees.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream poll f67e39a0…
  secevent stream poll f67e39a0… --wait 60 --ack --json

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
    /// If nothing is there, wait so many seconds for something
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: Option<u64>,
    #[command(flatten)]
    pub(crate) access: Access,
}

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let link = args.access.meet(Need::Read).await?;
    let stream = polled_stream(&link, &stream_id(&args.stream, &link)?).await?;
    let poll = PollRequest {
        max_events: Some(args.max),
        return_immediately: args.wait.is_none(),
        ..PollRequest::default()
    };
    let asked = link.client.poll(&stream, &poll, Duration::from_secs(args.wait.unwrap_or_default()) + GRACE);
    let polled = match args.wait {
        None => asked.await,
        // Transmitters that hold a poll for longer than we wait are left alone then.
        Some(seconds) => {
            timeout(Duration::from_secs(seconds), asked).await.unwrap_or(Ok(PollResponse::default()))
        }
    };
    let polled = polled.map_err(|error| link.failure(&error))?;
    let judge = Judge::new(&link, &stream);
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
        print("nothing waits\n")?;
    } else {
        let mut text = String::new();
        for set in &sets {
            set.write(&mut text);
        }
        print(&text)?;
        if !args.ack {
            note("nothing was acknowledged, so that it comes again: --ack does that");
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
