//! `secevent stream verify`: whether SETs of a stream arrive and are good.

use super::poll::{GRACE, polled_stream};
use super::sets::{Judge, Judged};
use crate::link::{ACCESS, Access, EXIT_CODES, Link, Need, stream_id};
use crate::output::{Failure, GOOD, note, print, print_json, progress, safe};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secevent::ssf::Verification;
use secevent_ssf::StreamConfiguration;
use secevent_ssf::poll::PollRequest;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Ask for a verification event; with --wait, poll until it comes and check its signature.
///
/// The event comes on the stream itself. On a pushed stream its endpoint gets it; on a polled one --wait does.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream verify f67e39a0… --wait
  secevent stream verify f67e39a0… --state check-7

--wait acknowledges verification events and nothing else: other SETs that it sees come again. A
receiver that polls the same stream at the same time may take the event first.

JSON: {{stream_id, state, verified}}, and with --wait {{jti, claims}} of the event.
{ACCESS}
{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The stream, as `secevent stream list` names it
    stream: String,
    /// What the event shall carry [default with --wait: something that nobody guesses]
    #[arg(long, value_name = "TEXT")]
    state: Option<String>,
    /// Poll until the event comes, at most so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "60",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    wait: Option<u64>,
    #[command(flatten)]
    pub(crate) access: Access,
}

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let link = args.access.meet(Need::Manage).await?;
    let id = stream_id(&args.stream, &link)?;
    let stream = match args.wait {
        Some(_) => Some(polled_stream(&link, &id).await.map_err(|failure| {
            failure.fix("without --wait the event is asked for all the same, and its endpoint gets it")
        })?),
        None => None,
    };
    let guess_free = || URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
    let state = args.state.clone().or_else(|| args.wait.map(|_| guess_free()));
    link.client.verify(&id, state.as_deref()).await.map_err(|error| link.failure(&error))?;
    let (Some(seconds), Some(stream), Some(state)) = (args.wait, stream, &state) else {
        if args.access.json {
            return print_json(&json!({ "stream_id": args.stream, "state": state, "verified": false }));
        }
        return print(&format!("a verification event is asked for on stream {}\n", safe(&args.stream)));
    };
    progress("waiting for the verification event");
    let came = wait(&link, &stream, state, Duration::from_secs(seconds)).await?;
    if args.access.json {
        let told = came.to_json();
        return print_json(&json!({
            "stream_id": args.stream,
            "state": state,
            "verified": true,
            "jti": told["jti"],
            "claims": told["claims"],
        }));
    }
    print(&format!(
        "{GOOD}verified{GOOD:#}: the event came on stream {}, signed by the issuer's key\n",
        safe(&args.stream)
    ))
}

/// Polls until the event with this state comes. Verification events are acknowledged, and nothing else.
async fn wait(
    link: &Link,
    stream: &StreamConfiguration,
    state: &str,
    patience: Duration,
) -> Result<Judged, Failure> {
    // Some transmitters answer at once although they were asked to wait, and with the same SETs again.
    const PAUSE: Duration = Duration::from_secs(1);
    let judge = Judge::new(link, stream);
    let end = Instant::now() + patience;
    let mut seen: HashSet<String> = HashSet::new();
    let mut bad: Option<String> = None;
    let mut ack: Vec<String> = Vec::new();
    loop {
        let began = Instant::now();
        let poll = PollRequest { ack: std::mem::take(&mut ack), ..PollRequest::default() };
        let polled = timeout_at(end, link.client.poll(stream, &poll, patience + GRACE)).await;
        let Ok(polled) = polled else { break };
        let polled = polled.map_err(|error| link.failure(&error))?;
        let mut any_new = false;
        for set in polled.sets {
            if seen.contains(&set.0) {
                continue;
            }
            let judged = judge.judge(set).await;
            // One that cannot be judged yet comes again, and is judged again.
            if !judged.is_open() {
                seen.insert(judged.jti.clone());
                any_new = true;
            }
            let verification = match &judged.verdict {
                Ok(set) => set.events().get::<Verification>().ok().flatten(),
                Err(error) => {
                    let verdict = if judged.is_open() { "cannot be judged now" } else { "is not valid" };
                    bad = Some(format!("a SET that came {verdict}: {}: {error}", judged.jti));
                    None
                }
            };
            let Some(verification) = verification else { continue };
            ack.push(judged.jti.clone());
            if verification.state.as_deref() == Some(state) {
                let ack = PollRequest::acknowledge_only(ack, Vec::new());
                if let Err(error) = link.client.poll(stream, &ack, Duration::ZERO).await {
                    note(&format!("the event is not acknowledged, and will come again: {error}"));
                }
                return Ok(judged);
            }
            // An earlier one, perhaps sent unasked, is about the same subject: ours may have to wait until it is
            // acknowledged.
        }
        if !any_new && timeout_at(end, sleep(PAUSE.saturating_sub(began.elapsed()))).await.is_err() {
            break;
        }
    }
    let others = match seen.len() {
        0 => String::new(),
        1 => "; one other SET came, and was left".to_owned(),
        many => format!("; {many} other SETs came, and were left"),
    };
    let failure =
        Failure::failed(format!("no verification event with that state came within {patience:?}{others}"));
    Err(match bad {
        Some(bad) => failure.fix(bad),
        None => failure.fix("see with `secevent stream status` whether the stream is enabled"),
    })
}
