//! `secevent stream verify`: whether SETs of a stream arrive and are good.

use super::poll::{GRACE, HIDDEN, PAUSE, counted, polled_stream};
use super::sets::{Judge, Judged};
use crate::link::{ACCESS, Access, EXIT_CODES, Link, Need, stream_id};
use crate::output::{Failure, GOOD, note, print, print_json, progress, safe};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secevent::Span;
use secevent::ssf::Verification;
use secevent_ssf::poll::PollRequest;
use secevent_ssf::{StreamConfiguration, StreamId};
use serde_json::{Value, json};
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

--wait acknowledges verification events and nothing else: other SETs that it sees are shown, and
come again. A receiver that polls the same stream at the same time may take the event first.

JSON: {{stream_id, state, verified}}, and with --wait {{jti, claims}} of the event, and others: the
other SETs as `secevent stream poll` has them.
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
    /// A name by which the SETs mean us; may be repeated [default: those of the stream's configuration]
    #[arg(long, value_name = "NAME", requires = "wait")]
    audience: Vec<String>,
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
    let end = Instant::now() + Duration::from_secs(args.wait.unwrap_or_default());
    ask(&link, &id, state.as_deref(), stream.as_ref(), end).await?;
    let (Some(seconds), Some(stream), Some(state)) = (args.wait, stream, &state) else {
        if args.access.json {
            return print_json(&json!({ "stream_id": args.stream, "state": state, "verified": false }));
        }
        return print(&format!("a verification event is asked for on stream {}\n", safe(&args.stream)));
    };
    progress("waiting for the verification event");
    let judge = Judge::new(&link, &stream, &args.audience);
    let (came, others) = wait(&link, &stream, &judge, state, Duration::from_secs(seconds)).await?;
    if args.access.json {
        let told = came.to_json();
        let others: Vec<Value> = others.iter().map(Judged::to_json).collect();
        return print_json(&json!({
            "stream_id": args.stream,
            "state": state,
            "verified": true,
            "jti": told["jti"],
            "claims": told["claims"],
            "others": others,
        }));
    }
    print(&format!(
        "{GOOD}verified{GOOD:#}: the event came on stream {}, signed by the issuer's key\n",
        safe(&args.stream)
    ))?;
    if others.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    others.iter().for_each(|other| other.write(&mut text));
    print(&text)?;
    let (others, stream) = (counted(others.len()), &args.stream);
    note(&format!(
        "{others} came beside it and {HIDDEN}: `secevent stream poll {stream} --ack` takes what is valid"
    ));
    Ok(())
}

/// Asks for the event. Where the transmitter says that it was asked too often it is asked again when it wants to be, if
/// that is before the time is over.
async fn ask(
    link: &Link,
    id: &StreamId,
    state: Option<&str>,
    stream: Option<&StreamConfiguration>,
    end: Instant,
) -> Result<(), Failure> {
    let interval =
        stream.and_then(|stream| stream.min_verification_interval_seconds).map(Duration::from_secs);
    loop {
        let Err(error) = link.client.verify(id, state).await else { return Ok(()) };
        let pause = error.retry_after().or(interval).unwrap_or(PAUSE).max(PAUSE);
        let is_too_often = error.status().is_some_and(|status| status.as_u16() == 429);
        if !is_too_often || pause >= end.saturating_duration_since(Instant::now()) {
            return Err(link.failure(&error));
        }
        progress(&format!("verification was requested a moment ago: trying again in {} s", pause.as_secs()));
        sleep(pause).await;
    }
}

/// How many other SETs are named where the event did not come.
const NAMED_MAX: usize = 10;

/// Polls until the event with this state comes. Verification events are acknowledged, and nothing else: the others that
/// came are returned too.
async fn wait(
    link: &Link,
    stream: &StreamConfiguration,
    judge: &Judge,
    state: &str,
    patience: Duration,
) -> Result<(Judged, Vec<Judged>), Failure> {
    let end = Instant::now() + patience;
    let mut seen: HashSet<String> = HashSet::new();
    let mut bad: Option<String> = None;
    let mut others: Vec<Judged> = Vec::new();
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
            let Some(verification) = verification else {
                others.push(judged);
                continue;
            };
            ack.push(judged.jti.clone());
            if verification.state.as_deref() == Some(state) {
                let ack = PollRequest::acknowledge_only(ack, Vec::new());
                if let Err(error) = link.client.poll(stream, &ack, Duration::ZERO).await {
                    note(&format!("the event is not acknowledged, and will come again: {error}"));
                }
                return Ok((judged, others));
            }
            // An earlier one, perhaps sent unasked, is about the same subject: ours may have to wait until it is
            // acknowledged.
        }
        if !any_new && timeout_at(end, sleep(PAUSE.saturating_sub(began.elapsed()))).await.is_err() {
            break;
        }
    }
    let named = others.iter().take(NAMED_MAX).map(|other| other.jti.as_str()).collect::<Vec<_>>().join(", ");
    let others = match others.len() {
        0 => String::new(),
        1 => format!("; 1 other SET came and was not acknowledged: {named}"),
        many if many <= NAMED_MAX => format!("; {many} other SETs came and were not acknowledged: {named}"),
        many => format!("; {many} other SETs came and were not acknowledged: {named}, …"),
    };
    let failure = Failure::failed(format!(
        "no verification event with that state came within {}{others}",
        Span(patience)
    ));
    Err(match bad {
        Some(bad) => failure.fix(bad),
        None => failure.fix("see with `secevent stream status` whether the stream is enabled"),
    })
}
