//! `secevent key`: the keys that issuers sign with, and the master key.

use crate::admin::{Common, EXIT_CODES, Server, WHICH, many, number, text};
use crate::confirm::Confirm;
use crate::input;
use crate::output::{BOLD, Failure, note, parse_time, pretty, print, print_json, safe, table, utc};
use clap::{Args, Subcommand};
use http::Method;
use secevent::Timestamp;
use secevent_jose::SecretText;
use serde_json::{Value, json};
use std::process::ExitCode;

/// The subcommands of `secevent key`. What each is for stands with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(List),
    Show(Show),
    Generate(Generate),
    Import(Import),
    Rotate(Rotate),
    Withdraw(Withdraw),
    Rewrap(Rewrap),
}

/// List the keys of issuers: those that sign, those that will, those that did and are still published.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent key list
  secevent key list https://events.example.com --json

States: next is published and does not sign yet; current signs; previous has signed and is still
published; withdrawn was taken out.

JSON: {{keys: [{{issuer, kid, algorithm, state, published_at?, signs_from?, published_until?,
jwk?}}]}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct List {
    /// Of this issuer only
    issuer: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Show the public half of a key.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent key show https://events.example.com 2026-11

The private half is never shown.

JSON: {{issuer, kid, algorithm, state, published_at?, signs_from?, published_until?, jwk?}}.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Show {
    /// The issuer
    issuer: String,
    /// The key, as `secevent key list` names it
    kid: String,
    #[command(flatten)]
    common: Common,
}

/// Make the next key of an issuer, and publish it.
///
/// It signs nothing before `secevent key rotate` asks for that, or the issuer's rotate_every_days.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent key generate https://events.example.com
  secevent key generate https://events.example.com --algorithm ES256

JSON: as of `secevent key show`.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Generate {
    /// The issuer
    issuer: String,
    /// What it is to sign with, if the issuer's clients use several. Default: the issuer's own
    #[arg(long, value_name = "ALG")]
    algorithm: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Bring along the next key of an issuer, and publish it.
///
/// It signs nothing before `secevent key rotate` asks for that, or the issuer's rotate_every_days.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent key import https://events.example.com key.pem
  vault read -field=key events | secevent key import https://events.example.com - --kid 2026-11

JSON: as of `secevent key show`.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Import {
    /// The issuer
    issuer: String,
    /// A file with the private key as PEM (PKCS#8, PKCS#1 or SEC 1) or JWK; - or nothing: standard input
    file: Option<String>,
    /// What it is to sign with, for a PEM. Default: the issuer's own
    #[arg(long, value_name = "ALG")]
    algorithm: Option<String>,
    /// Its name. Default: what a JWK says, else its thumbprint
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Have the next key of an issuer sign. If there is none, one is made and published.
///
/// It signs once it was published long enough (keys.publish_ahead_seconds), so that receivers have it by then. The one
/// that signs now is published for a while longer (keys.keep_behind_seconds), for SETs that are on their way.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent key rotate https://events.example.com
  secevent key rotate https://events.example.com --at 2026-12-01T04:00:00Z
  secevent key rotate https://events.example.com --now

JSON: as of `secevent key show`.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Rotate {
    /// The issuer
    issuer: String,
    /// The key of this algorithm, if the issuer's clients use several. Default: the issuer's own
    #[arg(long, value_name = "ALG")]
    algorithm: Option<String>,
    /// At this time, as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "now")]
    at: Option<Timestamp>,
    /// At once. Receivers that keep the issuer's keys refuse SETs until they look again
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    common: Common,
}

/// Take a key out at once, because it may be in somebody else's hands.
///
/// It is published no longer, and receivers refuse what it signed as soon as they have fetched the keys again. SETs
/// that it signed and that are not delivered yet are signed anew. If it was the one that signs, the next one takes its
/// place, or one that is made now.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
Examples:
  secevent key withdraw https://events.example.com 2026-11
  secevent key withdraw https://events.example.com 2026-11 --yes

JSON: as of `secevent key list`.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Withdraw {
    /// The issuer
    issuer: String,
    /// The key, as `secevent key list` names it
    kid: String,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    common: Common,
}

/// Seal every secret in the store anew, with the first of secrets.keys.
///
/// To exchange the master key: put the new one before the old one into secrets.keys, restart the server, run this, and
/// take the old one out. Backups that were made before still need the old one.
#[derive(Debug, Args)]
#[command(after_long_help = format!("\
JSON: {{sealed_anew, master_key}}; the master key by its fingerprint.
{WHICH}
{EXIT_CODES}"))]
pub(crate) struct Rewrap {
    #[command(flatten)]
    common: Common,
}

/// Runs one subcommand.
pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::List(args) => args.common.run(async |server| list(args, &server).await),
        Command::Show(args) => args.common.run(async |server| show(args, &server).await),
        Command::Generate(args) => args.common.run(async |server| generate(args, &server).await),
        Command::Import(args) => args.common.run(async |server| import(args, &server).await),
        Command::Rotate(args) => args.common.run(async |server| rotate(args, &server).await),
        Command::Withdraw(args) => args.common.run(async |server| withdraw(args, &server).await),
        Command::Rewrap(args) => args.common.run(async |server| rewrap(args, &server).await),
    }
}

async fn list(args: &List, server: &Server) -> Result<(), Failure> {
    let query: Vec<(&str, &str)> = args.issuer.iter().map(|issuer| ("issuer", issuer.as_str())).collect();
    let told = server.get(&["keys"], &query).await?;
    tell_all(&told, args.common.json)
}

async fn show(args: &Show, server: &Server) -> Result<(), Failure> {
    let told = server.get(&["keys"], &[("issuer", &args.issuer)]).await?;
    let mut keys = told["keys"].as_array().into_iter().flatten();
    let key = keys.find(|key| key["kid"] == args.kid.as_str());
    let missing = || Failure::refused("not_found", "the issuer has no such key");
    tell_one(key.ok_or_else(missing)?, args.common.json)
}

async fn generate(args: &Generate, server: &Server) -> Result<(), Failure> {
    let body = json!({ "issuer": args.issuer, "algorithm": args.algorithm });
    let told = server.send(Method::POST, &["keys", "publish"], &body).await?;
    tell_one(&told, args.common.json)?;
    note_unused(&told, args.common.json);
    Ok(())
}

async fn import(args: &Import, server: &Server) -> Result<(), Failure> {
    const WHAT: &str = "the private key";
    let key = match args.file.as_deref().filter(|file| *file != "-") {
        Some(file) => input::file(file.as_ref(), WHAT)?,
        None => input::read(args.file.as_deref(), WHAT)?,
    };
    let key = String::from_utf8(key).map(SecretText::from);
    let key = key.map_err(|_| Failure::misuse("the private key is neither PEM nor a JWK"))?;
    let body = json!({
        "issuer": args.issuer,
        "algorithm": args.algorithm,
        "kid": args.kid,
        "key": key.expose(),
    });
    let told = server.send(Method::POST, &["keys", "publish"], &body).await?;
    tell_one(&told, args.common.json)?;
    note_unused(&told, args.common.json);
    Ok(())
}

async fn rotate(args: &Rotate, server: &Server) -> Result<(), Failure> {
    let body = json!({
        "issuer": args.issuer,
        "algorithm": args.algorithm,
        "at": args.at.map(utc),
        "now": args.now,
    });
    let told = server.send(Method::POST, &["keys", "rotate"], &body).await?;
    tell_one(&told, args.common.json)?;
    if args.now && !args.common.json {
        note("receivers that keep the issuer's keys refuse SETs until they have fetched them again");
    }
    Ok(())
}

async fn withdraw(args: &Withdraw, server: &Server) -> Result<(), Failure> {
    args.confirm.ask(&format!("this withdraws the key {} of {}", args.kid, args.issuer))?;
    let body = json!({ "issuer": args.issuer, "kid": args.kid });
    let told = server.send(Method::POST, &["keys", "withdraw"], &body).await?;
    tell_all(&told, args.common.json)
}

async fn rewrap(args: &Rewrap, server: &Server) -> Result<(), Failure> {
    let told = server.send_patiently(&["keys", "rewrap"], &json!({})).await?;
    if args.common.json {
        return print_json(&told);
    }
    let (count, master_key) = (number(&told, "sealed_anew"), text(&told, "master_key"));
    let secrets = many(count, "secret");
    print(&format!("{secrets} sealed anew: all are sealed with the master key {master_key}\n"))
}

fn tell_all(told: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(told);
    }
    let row = |key: &Value| {
        let of = |name| text(key, name).to_owned();
        let when = match text(key, "state") {
            "previous" => format!("published until {}", of("published_until")),
            "withdrawn" => String::new(),
            _ if key["signs_from"].is_null() => "signs when that is asked for".to_owned(),
            _ => format!("signs from {}", of("signs_from")),
        };
        vec![of("issuer"), of("kid"), of("algorithm"), of("state"), when]
    };
    let rows: Vec<Vec<String>> = told["keys"].as_array().into_iter().flatten().map(row).collect();
    print(&table(&["ISSUER", "KID", "ALGORITHM", "STATE", "WHEN"], &rows))
}

fn tell_one(key: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(key);
    }
    let mut shown = String::new();
    for (title, name) in [
        ("kid", "kid"),
        ("issuer", "issuer"),
        ("algorithm", "algorithm"),
        ("state", "state"),
        ("published", "published_at"),
        ("signs from", "signs_from"),
        ("published until", "published_until"),
    ] {
        if !key[name].is_null() {
            shown += &format!("{BOLD}{title:16}{BOLD:#} {}\n", safe(text(key, name)));
        }
    }
    if key["jwk"].is_object() {
        shown += &format!("{BOLD}public half{BOLD:#}\n  {}\n", pretty(&key["jwk"].to_string(), 2));
    }
    print(&shown)
}

fn note_unused(key: &Value, as_json: bool) {
    if !as_json {
        note(&format!("it signs once you ask for it: secevent key rotate {}", text(key, "issuer")));
    }
}
