//! `secevent client`: who may call a running server.

use crate::admin::{Common, EXIT_CODES, Server, WHICH, number, text};
use crate::confirm::Confirm;
use crate::output::{BOLD, Failure, message, note, print, print_json, safe, table};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// The subcommands of `secevent client`. What each is for stands with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(List),
    Show(One),
    Create(Create),
    Update(Update),
    Disable(Disable),
    Enable(Enable),
    Rotate(Rotate),
    Delete(Delete),
}

/// List clients: those that configuration declares, and those that were made here.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent client list
  secevent client list --json

JSON: {{clients: [{{id, enabled, declared, created_at, secrets: [{{until}}], streams, scopes, audience?,
issuers?, events?, subjects?, token_lifetime_seconds?, jwks?, jwks_uri?, algorithms?, limits?}}]}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct List {
    #[command(flatten)]
    common: Common,
}

/// Show one client.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent client show billing

JSON: as in `secevent client list --json`.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct One {
    #[command(flatten)]
    named: Named,
}

/// Make a client. Its secret is printed, once.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  A receiver of one tenant's events:
    secevent client create billing --scope ssf.manage --audience https://billing.example.com \\
        --issuer https://events.example.com/tenant-a --event 'caep:*'

  Who tells what happens, about the people of one domain:
    secevent client create idp --scope events.write --email-domain example.com

  Who signs instead of having a secret:
    secevent client create partner --scope ssf.manage --audience https://partner.example \\
        --jwks-uri https://partner.example/jwks.json

JSON: as in `secevent client list --json`, with the secret.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Create {
    #[command(flatten)]
    settings: Settings,
    /// Give it no secret: its tokens come from another authorization server
    #[arg(long, conflicts_with_all = ["jwks", "jwks_uri"])]
    no_secret: bool,
    #[command(flatten)]
    named: Named,
}

/// Change a client: what is named here is replaced, the rest stays.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent client update billing --event caep:session-revoked --event caep:credential-change
  secevent client update billing --clear events --clear limits

JSON: as in `secevent client list --json`.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Update {
    #[command(flatten)]
    settings: Settings,
    /// Take a restriction away
    #[arg(long, value_name = "NAME", value_parser = CLEARABLE)]
    clear: Vec<String>,
    #[command(flatten)]
    named: Named,
}

/// Switch a client off, at once: its tokens are refused, it gets no new ones, and nothing is sent to its streams.
///
/// What was owed to its streams is kept until it is switched on again; what happens meanwhile is not owed to them.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent client disable billing

JSON: as in `secevent client list --json`.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Disable {
    #[command(flatten)]
    named: Named,
}

/// Switch a client on again. It has to ask for a new token.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent client enable billing

JSON: as in `secevent client list --json`.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Enable {
    #[command(flatten)]
    named: Named,
}

/// Give a client a new secret, which is printed, once.
///
/// The old one stays good for a while, so that the client can be given the new one in peace. Without grace the old one
/// ends at once, and so do the access tokens that were given so far.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent client rotate billing
  secevent client rotate billing --grace 0

JSON: as in `secevent client list --json`, with the secret.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Rotate {
    /// How long the old secret stays good, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    grace: u64,
    #[command(flatten)]
    named: Named,
}

/// Delete a client, with its streams and all that they are owed.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent client delete billing
  secevent client delete billing --yes

JSON: {{deleted}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Delete {
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
struct Named {
    /// The client
    client: String,
    #[command(flatten)]
    common: Common,
}

/// What a client may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "What it may do")]
struct Settings {
    /// A scope: ssf.read, ssf.manage, events.write or admin
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// What the receiver is called in the `aud` of its SETs
    #[arg(long, value_name = "NAME")]
    audience: Vec<String>,
    /// An issuer that it may have to do with. Without this flag, all
    #[arg(long = "issuer", value_name = "URL")]
    issuers: Vec<String>,
    /// An event type, or a pattern of them, that it may send and be sent. Without this flag, all
    #[arg(long = "event", value_name = "TYPE")]
    events: Vec<String>,
    /// A domain of e-mail addresses about which it may send events. Without this flag and the next, about everybody
    #[arg(long = "email-domain", value_name = "DOMAIN")]
    email_domains: Vec<String>,
    /// An issuer of subjects about which it may send events
    #[arg(long = "subject-issuer", value_name = "URL")]
    subject_issuers: Vec<String>,
    /// How long its access tokens are good for, in seconds
    #[arg(long, value_name = "SECONDS")]
    token_lifetime: Option<u32>,
    /// The file with its public keys (a JWK Set): it signs instead of having a secret
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<PathBuf>,
    /// Where it publishes its public keys
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// An algorithm that it may sign with
    #[arg(long = "algorithm", value_name = "ALG")]
    algorithms: Vec<String>,
    /// How many requests it may send in a second
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// How many events it may send in a second
    #[arg(long, value_name = "N")]
    events_per_second: Option<u32>,
}

const CLEARABLE: [&str; 8] =
    ["issuers", "events", "subjects", "token_lifetime_seconds", "jwks", "jwks_uri", "algorithms", "limits"];

/// Runs one subcommand.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::List(args) => args.common.run(async |server| list(args, &server).await),
        Command::Show(args) => args.named.run(async |server| show(&args.named, &server).await),
        Command::Create(args) => args.named.run(async |server| create(args, &server).await),
        Command::Update(args) => args.named.run(async |server| update(args, &server).await),
        Command::Disable(args) => {
            args.named.run(async |server| switch(&args.named, "disable", &server).await)
        }
        Command::Enable(args) => args.named.run(async |server| switch(&args.named, "enable", &server).await),
        Command::Rotate(args) => args.named.run(async |server| rotate(args, &server).await),
        Command::Delete(args) => args.named.run(async |server| delete(args, &server).await),
    }
}

async fn list(args: &List, server: &Server) -> Result<(), Failure> {
    let clients = server.list("clients", "clients", &[], None, usize::MAX).await?.found;
    if args.common.json {
        return print_json(&json!({ "clients": clients }));
    }
    if clients.is_empty() {
        return print("there are no clients\n");
    }
    let row = |client: &Value| {
        let from = if client["declared"] == true { "configuration" } else { "here" };
        vec![
            text(client, "id").to_owned(),
            state(client).to_owned(),
            words(&client["scopes"]),
            number(client, "streams").to_string(),
            from.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = clients.iter().map(row).collect();
    print(&table(&["CLIENT", "STATE", "SCOPES", "STREAMS", "DECLARED"], &rows))
}

async fn show(named: &Named, server: &Server) -> Result<(), Failure> {
    let client = server.get(&["clients", &named.client], &[]).await?;
    named.tell(&client)
}

async fn create(args: &Create, server: &Server) -> Result<(), Failure> {
    let mut body = args.settings.members()?;
    body.insert("id".to_owned(), args.named.client.as_str().into());
    if args.no_secret {
        body.insert("secret".to_owned(), false.into());
    }
    let made = server.send(Method::POST, &["clients"], &Value::Object(body)).await?;
    args.named.tell_secret(&made, "client")
}

async fn update(args: &Update, server: &Server) -> Result<(), Failure> {
    let (client, seen) = server.get_seen(&["clients", &args.named.client]).await?;
    let changes = args.settings.members()?;
    let mut body = Map::new();
    for name in ["scopes", "audience"].into_iter().chain(CLEARABLE) {
        let cleared = args.clear.iter().any(|cleared| cleared == name);
        let before = Some(&client[name]).filter(|before| !cleared && !before.is_null());
        if let Some(value) = changes.get(name).or(before) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    // One kind of keys takes the place of the other.
    for (one, other) in [("jwks", "jwks_uri"), ("jwks_uri", "jwks")] {
        if changes.contains_key(one) {
            body.remove(other);
        }
    }
    // These are several: those that are not named stay.
    for several in ["limits", "subjects"] {
        let cleared = args.clear.iter().any(|name| name == several);
        let before = client[several].as_object().filter(|_| !cleared);
        if let (Some(now), Some(before)) = (changes.get(several).and_then(Value::as_object), before) {
            let mut all = before.clone();
            all.extend(now.clone());
            body.insert(several.to_owned(), Value::Object(all));
        }
    }
    let (path, body) = (["clients", &args.named.client], Value::Object(body));
    let updated = server.send_if(Method::PUT, &path, &body, seen.as_ref()).await?;
    args.named.tell(&updated)
}

async fn switch(named: &Named, verb: &str, server: &Server) -> Result<(), Failure> {
    let client = server.send(Method::POST, &["clients", &named.client, verb], &json!({})).await?;
    if named.common.json {
        return print_json(&client);
    }
    print(&format!("client {} is {}\n", safe(text(&client, "id")), state(&client)))
}

async fn rotate(args: &Rotate, server: &Server) -> Result<(), Failure> {
    let body = json!({ "grace_seconds": args.grace });
    let told = server.send(Method::POST, &["clients", &args.named.client, "secret"], &body).await?;
    args.named.tell_secret(&told, "new secret of client")?;
    match told["secrets"][1]["until"].as_str() {
        Some(until) if !args.named.common.json => note(&format!("the old one is good until {}", safe(until))),
        _ => {}
    }
    Ok(())
}

async fn delete(args: &Delete, server: &Server) -> Result<(), Failure> {
    let Delete { confirm, named } = args;
    confirm.ask(&format!(
        "this deletes the client {}, its streams and all that is pending for them",
        named.client
    ))?;
    server.send(Method::DELETE, &["clients", &named.client], &json!({})).await?;
    if named.common.json {
        return print_json(&json!({ "deleted": named.client }));
    }
    print(&format!("client {} is deleted, with its streams\n", safe(&named.client)))
}

impl Named {
    fn run(&self, work: impl AsyncFnOnce(Server) -> Result<(), Failure>) -> ExitCode {
        self.common.run(work)
    }

    fn tell(&self, client: &Value) -> Result<(), Failure> {
        if self.common.json {
            return print_json(client);
        }
        let mut shown = String::new();
        let mut line = |title: &str, value: String| {
            if !value.is_empty() {
                shown += &format!("{BOLD}{title:14}{BOLD:#} {}\n", message(&value));
            }
        };
        line("client", text(client, "id").to_owned());
        line("state", state(client).to_owned());
        line("scopes", words(&client["scopes"]));
        line("audience", words(&client["audience"]));
        line("issuers", words(&client["issuers"]));
        line("events", words(&client["events"]));
        line("email domains", words(&client["subjects"]["email_domains"]));
        line("about those of", words(&client["subjects"]["issuers"]));
        line("token lifetime", seconds(&client["token_lifetime_seconds"]));
        line("keys at", words(&client["jwks_uri"]));
        line("keys", words(&keys(&client["jwks"])));
        line("algorithms", words(&client["algorithms"]));
        line("limits", limits(&client["limits"]));
        line("secrets", secrets(client));
        line("streams", number(client, "streams").to_string());
        line("declared", if client["declared"] == true { "in configuration" } else { "here" }.to_owned());
        print(&shown)
    }

    /// Prints a secret by itself, so that it can be piped to where it is to be kept.
    fn tell_secret(&self, client: &Value, what: &str) -> Result<(), Failure> {
        if self.common.json {
            return print_json(client);
        }
        let id = safe(text(client, "id")).to_string();
        match client["secret"].as_str() {
            Some(secret) => {
                note(&format!("{what} {id}: this is shown once and stored nowhere"));
                print(&format!("{secret}\n"))
            }
            None => print(&format!("{what} {id} is made, without a secret\n")),
        }
    }
}

impl Settings {
    /// What is named, in the words of the admin API.
    fn members(&self) -> Result<Map<String, Value>, Failure> {
        let mut members = Map::new();
        for (name, values) in [
            ("scopes", &self.scopes),
            ("issuers", &self.issuers),
            ("events", &self.events),
            ("algorithms", &self.algorithms),
        ] {
            if !values.is_empty() {
                members.insert(name.to_owned(), json!(values));
            }
        }
        match &self.audience[..] {
            [] => {}
            [one] => drop(members.insert("audience".to_owned(), json!(one))),
            many => drop(members.insert("audience".to_owned(), json!(many))),
        }
        let mut subjects = Map::new();
        for (name, values) in [("email_domains", &self.email_domains), ("issuers", &self.subject_issuers)] {
            if !values.is_empty() {
                subjects.insert(name.to_owned(), json!(values));
            }
        }
        if !subjects.is_empty() {
            members.insert("subjects".to_owned(), Value::Object(subjects));
        }
        if let Some(lifetime) = self.token_lifetime {
            members.insert("token_lifetime_seconds".to_owned(), lifetime.into());
        }
        if let Some(path) = &self.jwks {
            let wrong =
                |error: &dyn std::fmt::Display| Failure::misuse(format!("{}: {error}", path.display()));
            let keys = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
            let keys: Value = serde_json::from_str(&keys).map_err(|error| wrong(&error))?;
            members.insert("jwks".to_owned(), keys);
        }
        if let Some(uri) = &self.jwks_uri {
            members.insert("jwks_uri".to_owned(), json!(uri));
        }
        let mut limits = Map::new();
        for (name, value) in
            [("requests_per_second", self.requests_per_second), ("events_per_second", self.events_per_second)]
        {
            limits.extend(value.map(|value| (name.to_owned(), value.into())));
        }
        if !limits.is_empty() {
            members.insert("limits".to_owned(), Value::Object(limits));
        }
        Ok(members)
    }
}

fn state(client: &Value) -> &'static str {
    if client["enabled"] == true { "enabled" } else { "disabled" }
}

/// A text, or a list of texts, in a line.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}

fn seconds(value: &Value) -> String {
    value.as_u64().map_or_else(String::new, |seconds| format!("{seconds} s"))
}

fn keys(set: &Value) -> Value {
    let kid = |key: &Value| key["kid"].as_str().unwrap_or("without kid").to_owned();
    set["keys"].as_array().map_or(Value::Null, |keys| keys.iter().map(kid).collect())
}

fn limits(limits: &Value) -> String {
    let named = limits.as_object().into_iter().flatten().map(|(name, value)| format!("{name} {value}"));
    named.collect::<Vec<_>>().join(", ")
}

fn secrets(client: &Value) -> String {
    let until = |secret: &Value| match secret["until"].as_str() {
        Some(until) => format!("one until {until}"),
        None => "one".to_owned(),
    };
    client["secrets"].as_array().into_iter().flatten().map(until).collect::<Vec<_>>().join(", ")
}
