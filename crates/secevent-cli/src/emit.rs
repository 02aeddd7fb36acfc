//! `secevent emit`: tell a transmitter that something happened.

use crate::access::{access_token, token_endpoint, told};
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use secevent::{Issuer, Subject};
use secevent_http::{Client, ClientConfig, Ports, TlsConfig};
use secevent_ssf::Transport;
use serde_json::{Value, json};

/// Tell a transmitter that something happened.
///
/// The event is durable, with a delivery for every stream that wants it, when this command ends with 0.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLES
  Alice's sessions have ended:
    secevent emit caep:session-revoked --subject alice@example.com

  Her laptop is no longer compliant:
    secevent emit caep:device-compliance-change \\
      --subject '{\"format\":\"opaque\",\"id\":\"laptop-7\"}' \\
      --data '{\"previous_status\":\"compliant\",\"current_status\":\"not-compliant\"}'

EXIT CODES
  0 the event is recorded; 1 it is not; 2 misuse")]
pub(crate) struct Emit {
    /// The event type: a short name such as caep:session-revoked, or its URI
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Who it is about: an e-mail address, or a subject identifier as JSON
    #[arg(long, value_name = "EMAIL|JSON")]
    subject: String,
    /// The event's data as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    /// When it happened, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    occurred_at: Option<i64>,
    /// What ties it to other events of the same cause
    #[arg(long)]
    txn: Option<String>,
    /// A name for this event: repeating the command with it records nothing twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The issuer in whose name it is told
    #[arg(long, value_name = "URL", env = "SECEVENT_ISSUER", default_value = "http://127.0.0.1:8080")]
    issuer: String,
    /// The client that tells it; it needs the scope events.write
    #[arg(long, value_name = "ID", env = "SECEVENT_CLIENT")]
    client: String,
    /// The client's secret; better given in the environment
    #[arg(long, env = "SECEVENT_SECRET", hide_env_values = true)]
    secret: String,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
}

/// Sends the event, and tells what the server said.
pub(crate) async fn run(args: Emit) -> anyhow::Result<()> {
    let issuer = Issuer::parse_insecure(&args.issuer)
        .map_err(|error| anyhow::anyhow!("--issuer {:?} {}", args.issuer, error.problem()))?;
    let event = event(&args)?;
    let transport = operator_client(issuer.as_str(), TlsConfig::default())?;
    let endpoint =
        token_endpoint(&transport, &issuer).await.context("cannot find where to get an access token")?;
    let token = access_token(&transport, &endpoint, &args.client, &args.secret, "events.write").await?;
    let url = format!("{}/events", issuer.as_str().trim_end_matches('/'));
    let mut request = Request::post(&url)
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, format!("Bearer {token}"));
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let response = transport.send(request.body(Bytes::from(event.to_string()))?).await?;
    if response.status() != StatusCode::ACCEPTED {
        bail!("the event is not recorded: {}", told(&response));
    }
    let answer: Value = serde_json::from_slice(response.body()).context("the answer is no JSON")?;
    if args.json {
        println!("{answer}");
    } else {
        let streams = answer["deliveries"].as_u64().unwrap_or_default();
        let plural = if streams == 1 { "stream" } else { "streams" };
        println!("recorded as {}, owed to {streams} {plural}", answer["event_id"].as_str().unwrap_or("?"));
    }
    Ok(())
}

fn event(args: &Emit) -> anyhow::Result<Value> {
    let subject = subject(&args.subject)?;
    let data: Value = serde_json::from_str(&args.data).context("--data is no JSON")?;
    ensure!(data.is_object(), "--data must be a JSON object");
    let mut event = json!({ "type": args.kind, "subject": subject, "data": data });
    if let Some(at) = args.occurred_at {
        event["occurred_at"] = at.into();
    }
    if let Some(txn) = &args.txn {
        event["txn"] = txn.as_str().into();
    }
    Ok(event)
}

/// Who is meant: an e-mail address, or a subject identifier as JSON.
pub(crate) fn subject(text: &str) -> anyhow::Result<Subject> {
    let subject = match text.trim_start().starts_with('{') {
        true => Subject::from_json(text),
        false => Subject::email(text),
    };
    subject.context("--subject is neither an e-mail address nor a subject identifier")
}

/// The network as an operator uses it: the address is the operator's own choice, on this machine or inside the
/// company; plain http goes to this machine alone.
pub(crate) fn operator_client(url: &str, tls: TlsConfig) -> anyhow::Result<Client> {
    let issuer =
        Issuer::parse_insecure(url).map_err(|error| anyhow::anyhow!("{url:?} {}", error.problem()))?;
    let host = issuer.origin().split_once("://").map_or("", |(_, rest)| rest);
    let here = ["127.", "localhost", "[::1]"].iter().any(|name| host.starts_with(name));
    let networks = ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
    let config = ClientConfig {
        allow_networks: networks.iter().map(|network| network.parse().expect("a network")).collect(),
        ports: Ports::Any,
        allow_plain_http: here,
        tls,
        ..ClientConfig::default()
    };
    if issuer.origin().starts_with("http:") && !here {
        bail!(
            "{url} is plain http: that is taken for this machine alone, because tokens and secrets go over it"
        );
    }
    Ok(Client::new(config)?)
}
