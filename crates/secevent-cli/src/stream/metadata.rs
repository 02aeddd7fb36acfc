//! `secevent stream metadata`: what a transmitter says of itself, and what it lacks.

use crate::link::{EXIT_CODES, Reach, failure};
use crate::output::{BOLD, Failure, GOOD, WARNING, message, pretty, print, print_json, safe};
use secevent::json::problem;
use secevent_receiver::{AuthorizationServer, ClientError};
use secevent_ssf::{Method, TransmitterMetadata};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Find a transmitter, and show what it says of itself.
///
/// No credentials are needed. The documents that lead to its access tokens are looked for too, and what the CAEP
/// interoperability profile asks for and is not there is listed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("\
Examples:
  secevent stream metadata https://idp.example.com
  secevent stream metadata https://old.example.com --legacy --json

JSON: {{url, metadata, token_endpoint?, missing: [{{member, rule, message}}]}}, the metadata as it
is served.
{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The transmitter's issuer, letter by letter
    issuer: String,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long, help_heading = None::<&'static str>)]
    pub(crate) json: bool,
}

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let (found, transport) = args.reach.find(&args.issuer).await?;
    let server = AuthorizationServer::of(&found.metadata, found.peer.tolerance, &*transport).await;
    let server = match server {
        Ok(server) => Some(server),
        // That they cannot be found is nothing wrong.
        Err(ClientError::NoToken(_) | ClientError::Transport(_)) => None,
        Err(error) => return Err(failure(&error, args.reach.legacy)),
    };
    let missing = found.metadata.interop_breaches();
    let document: Box<RawValue> = serde_json::from_slice(&found.document)
        .map_err(|error| Failure::failed(format!("the metadata is not JSON: {}", problem(&error))))?;
    if args.json {
        let missing: Vec<Value> = missing
            .iter()
            .map(|breach| json!({ "member": breach.member(), "rule": breach.rule(), "message": breach.problem() }))
            .collect();
        let mut told = json!({ "url": found.url, "metadata": document, "missing": missing });
        if let Some(server) = server {
            told["token_endpoint"] = server.token_endpoint.as_str().into();
        }
        return print_json(&told);
    }
    let mut text =
        format!("{BOLD}Metadata{BOLD:#} at {}\n  {}\n", safe(&found.url), pretty(document.get(), 2));
    let _ = writeln!(text, "\n{BOLD}What it can do{BOLD:#}");
    for (what, can) in abilities(&found.metadata) {
        let _ = writeln!(text, "  {what:<28} {}", if can { "yes" } else { "no" });
    }
    let tokens = server.map_or_else(
        || "it does not tell where".to_owned(),
        |server| format!("{} (of {})", safe(server.token_endpoint.as_str()), safe(&server.issuer)),
    );
    let _ = writeln!(text, "  {:<28} {tokens}", "access tokens");
    if missing.is_empty() {
        let _ = writeln!(
            text,
            "\n{GOOD}The metadata has all that the interoperability profile asks for.{GOOD:#}"
        );
    } else {
        let _ = writeln!(text, "\n{WARNING}Not as the interoperability profile asks{WARNING:#}");
    }
    for breach in &missing {
        let _ =
            writeln!(text, "  `{}` {} [{}]", safe(breach.member()), message(breach.problem()), breach.rule());
    }
    print(&text)
}

fn abilities(metadata: &TransmitterMetadata) -> [(&'static str, bool); 6] {
    [
        ("push", metadata.supports(Method::Push)),
        ("poll", metadata.supports(Method::Poll)),
        ("streams made by receivers", metadata.configuration_endpoint.is_some()),
        ("status", metadata.status_endpoint.is_some()),
        ("subjects", metadata.add_subject_endpoint.is_some() && metadata.remove_subject_endpoint.is_some()),
        ("verification", metadata.verification_endpoint.is_some()),
    ]
}
