//! How commands find the running server, and talk to its admin listener. None of them opens its store (SEM-28).

pub(crate) mod file;
pub(crate) mod names;

use crate::config::File;
use crate::network::{Trust, on_loop, operator_client, reach_fix};
use crate::output::{Failure, note, print_json};
use bytes::Bytes;
use clap::Args;
use file::{AdminFile, Entrance};
use http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use secevent::json::{Limits, check};
use secevent_http::{Client, ConnectTo, TlsConfig};
use secevent_ssf::{ResponseLimit, ResponseTime, Transport, TransportError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

/// Which server is meant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which server")]
struct Which {
    /// The server's configuration file, which names its store. Without this flag, secevent.toml if it is there
    #[arg(long, value_name = "FILE", env = "SECEVENT_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The server's store, such as sqlite:secevent.db; wins over store.url
    #[arg(long, value_name = "URL", env = "SECEVENT_STORE", hide_env_values = true)]
    store: Option<String>,
    /// The URL of its admin listener, with a token of scope admin in SECEVENT_ADMIN_TOKEN; for a server elsewhere
    #[arg(long, value_name = "URL", env = "SECEVENT_ADMIN", hide_env_values = true)]
    admin: Option<String>,
    #[command(flatten)]
    trust: Trust,
}

/// What every command for operators takes: how it prints its result, and which server is meant.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    which: Which,
}

impl Common {
    /// Runs a command against the server that is meant.
    pub(crate) fn run(&self, command: impl AsyncFnOnce(Server) -> Result<(), Failure>) -> ExitCode {
        on_loop(self.json, async { command(self.which.find()?).await })
    }

    /// Whether the server may be on another machine, whose files have other names.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.which.admin.is_some()
    }
}

/// What all these commands say in their help.
pub(crate) const WHICH: &str = "
The server is found by the file that it keeps beside its store while it runs, which only its user
can read. A server on another machine, or of another user, is named with --admin and
SECEVENT_ADMIN_TOKEN.";
pub(crate) const EXIT_CODES: &str = "
Exit codes: 0 done; 1 not done, such as when no server runs; 2 misuse.";

const TOKEN: &str = "SECEVENT_ADMIN_TOKEN";
/// Lists are longer than what the network client takes by default.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long most requests may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, as its operator sees it.
pub(crate) struct Server {
    client: Client,
    url: Url,
    token: String,
    /// The store by which it was found.
    store: Option<PathBuf>,
    /// Whether the token was found there too.
    is_local: bool,
}

impl Which {
    fn find(&self) -> Result<Server, Failure> {
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        if let Some(url) = &self.admin {
            // The token of a local server goes to nobody else.
            let missing = || Failure::misuse(format!("--admin needs a token, and {TOKEN} is not set"));
            let token = token
                .ok_or_else(|| missing().fix("set it to an access token of a client with the scope admin"))?;
            return Server::open(url, token, None, false, self.trust.tls()?, self.trust.connect.of(url)?);
        }
        let database = self.database()?;
        let found = AdminFile::read(&database).map_err(|error| {
            let store = database.display();
            Failure::failed(format!("the file {store}.admin cannot be read: {error}"))
                .fix("run this as the server's user, or name the server with --admin")
        })?;
        match found {
            Some(Entrance { url, token: local, certificate }) => {
                let is_local = token.is_none();
                let connect_to = self.trust.connect.of(&url)?;
                // A certificate for the name of the server does not hold for its address: the file says which one it is.
                let tls = TlsConfig { only_pem: certificate.unwrap_or_default(), ..TlsConfig::default() };
                Server::open(&url, token.unwrap_or(local), Some(database), is_local, tls, connect_to)
            }
            None => Err(nobody_there(&database)),
        }
    }

    fn database(&self) -> Result<PathBuf, Failure> {
        const DEFAULT_FILE: &str = "secevent.toml";
        let file = match &self.config {
            Some(path) => File::read(path),
            None if Path::new(DEFAULT_FILE).exists() => File::read(DEFAULT_FILE.as_ref()),
            None => Ok(File::default()),
        };
        let database = file.and_then(|file| file.database(self.store.as_deref()));
        database.map_err(|error| Failure::misuse(format!("{error:#}")))
    }
}

/// A part of a list, and from behind which place it goes on if it does.
pub(crate) struct List {
    pub(crate) found: Vec<Value>,
    pub(crate) next: Option<String>,
}

impl List {
    /// What `--json` prints of it.
    pub(crate) fn print_json(self, member: &str) -> Result<(), Failure> {
        let mut told = json!({ member: self.found });
        if let Some(next) = self.next {
            told["next"] = next.into();
        }
        print_json(&told)
    }

    /// Says so if there may be more than what was asked for.
    pub(crate) fn note_next(&self, limit: u32) {
        if let Some(next) = &self.next {
            note(&format!("there may be more: --limit {}, or --after {next}", limit.saturating_mul(10)));
        }
    }
}

impl Server {
    fn open(
        url: &str,
        token: String,
        store: Option<PathBuf>,
        is_local: bool,
        tls: TlsConfig,
        connect_to: Option<ConnectTo>,
    ) -> Result<Self, Failure> {
        let misuse = |error: String| Failure::misuse(format!("--admin: {error}"));
        let parsed = Url::parse(url).ok().filter(|url| !url.cannot_be_a_base());
        let parsed = parsed.ok_or_else(|| misuse(format!("{url:?} is not a URL")))?;
        let client = operator_client(url.trim_end_matches('/'), tls, connect_to)
            .map_err(|error| misuse(format!("{error:#}")))?;
        Ok(Self { client, url: parsed, token, store, is_local })
    }

    /// What is at a path, whose parts stand as they are and not as they would be written in a URL.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = self.request(Method::GET, path, query, None)?;
        self.read(&self.ask(request, PATIENCE).await?)
    }

    /// A list with its filters, page by page: the member of this name in what is at this path, from behind `after`, until
    /// there are as many as are wanted.
    pub(crate) async fn list(
        &self,
        path: &str,
        member: &str,
        filters: &[(&str, Option<&str>)],
        after: Option<&str>,
        wanted: usize,
    ) -> Result<List, Failure> {
        const PAGE: usize = 500;
        let mut list = List { found: Vec::new(), next: after.map(str::to_owned) };
        loop {
            let limit = (wanted - list.found.len()).min(PAGE).to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(filters.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
            query.extend(list.next.as_deref().map(|after| ("after", after)));
            let mut page = self.get(&[path], &query).await?;
            if let Value::Array(found) = page[member].take() {
                list.found.extend(found);
            }
            list.next = page["next"].as_str().map(str::to_owned);
            if list.next.is_none() || list.found.len() >= wanted {
                return Ok(list);
            }
        }
    }

    /// The same, with the mark by which a later change is known to be one of what was seen here.
    pub(crate) async fn get_seen(&self, path: &[&str]) -> Result<(Value, Option<HeaderValue>), Failure> {
        let request = self.request(Method::GET, path, &[], None)?;
        let response = self.ask(request, PATIENCE).await?;
        Ok((self.read(&response)?, response.headers().get(ETAG).cloned()))
    }

    /// Asks for something to be done.
    pub(crate) async fn send(&self, method: Method, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let request = self.request(method, path, &[], Some(body))?;
        self.read(&self.ask(request, PATIENCE).await?)
    }

    /// The same, if what is at the path is still what was seen.
    pub(crate) async fn send_if(
        &self,
        method: Method,
        path: &[&str],
        body: &Value,
        seen: Option<&HeaderValue>,
    ) -> Result<Value, Failure> {
        let mut request = self.request(method, path, &[], Some(body))?;
        if let Some(seen) = seen {
            request.headers_mut().insert(IF_MATCH, seen.clone());
        }
        self.read(&self.ask(request, PATIENCE).await?)
    }

    /// Asks for something that takes its time.
    pub(crate) async fn send_patiently(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        const HOURS: Duration = Duration::from_secs(6 * 3600);
        let request = self.request(Method::POST, path, &[], Some(body))?;
        self.read(&self.ask(request, HOURS).await?)
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Request<Bytes>, Failure> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["admin", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .header(USER, os_user())
            .body(body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string())))
            .map_err(|_| Failure::misuse(format!("{TOKEN} is no token")))
    }

    async fn ask(&self, mut request: Request<Bytes>, patience: Duration) -> Result<Response<Bytes>, Failure> {
        request.extensions_mut().insert(ResponseLimit(ANSWER_BYTES_MAX));
        request.extensions_mut().insert(ResponseTime(patience));
        self.client.send(request).await.map_err(|error| self.not_reached(&error))
    }

    fn read(&self, response: &Response<Bytes>) -> Result<Value, Failure> {
        #[derive(Default, Deserialize)]
        struct Problem {
            err: Option<String>,
            detail: Option<String>,
            member: Option<String>,
        }
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        if status.is_success() {
            let text = check(response.body(), Limits { bytes_max: ANSWER_BYTES_MAX, ..Limits::BODY });
            return text.ok().and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| {
                Failure::failed("the answer is none of a secevent server: is --admin right?")
            });
        }
        let problem: Problem = serde_json::from_slice(response.body()).unwrap_or_default();
        if status == StatusCode::UNAUTHORIZED {
            return Err(match &self.store {
                // What listens there now is another server: the one that wrote the file was killed.
                Some(store) if self.is_local => nobody_there(store),
                _ => Failure::refused("authentication_failed", "the admin token is not valid").fix(format!(
                    "set {TOKEN} to a fresh access token of a client with the scope admin; it is good for ten minutes"
                )),
            });
        }
        let detail = problem.detail.unwrap_or_else(|| format!("the server answered {status}"));
        let message = match problem.member {
            // The detail of a wrong member names it already.
            Some(member) if !detail.contains(&member) => format!("{member}: {detail}"),
            _ => detail,
        };
        Err(match problem.err.as_deref() {
            Some("invalid_request") => Failure::refused("invalid_request", message),
            Some("access_denied") => Failure::refused("access_denied", message),
            Some("misdirected") => Failure::refused("misdirected", message)
                .fix("name the server as it knows itself, or add the name to server.admin_names"),
            Some("not_found") => Failure::refused("not_found", message),
            Some("conflict") => Failure::refused("conflict", message),
            Some("precondition_failed") => Failure::refused("conflict", "somebody else changed it meanwhile")
                .fix("look at it, and try again"),
            Some("unavailable") => Failure::refused("unavailable", message),
            _ => Failure::failed(message),
        })
    }

    fn not_reached(&self, error: &TransportError) -> Failure {
        match (error, &self.store) {
            // A server that was killed has left its file behind.
            (TransportError::Unreachable(_), Some(store)) => nobody_there(store),
            _ => {
                let failure = Failure::failed(format!("{}: {error}", self.url));
                match reach_fix(error) {
                    Some(fix) => failure.fix(fix),
                    None => failure,
                }
            }
        }
    }
}

/// The header that says in the server's audit log who runs a command.
const USER: &str = "secevent-user";

/// The user of the operating system; with `sudo`, the user who called it too. In the form of a header: ASCII.
fn os_user() -> String {
    let of_environment = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
    #[cfg(unix)]
    let user = {
        let id = rustix::process::getuid().as_raw();
        let known = std::fs::read_to_string("/etc/passwd").ok().and_then(|text| user_named(&text, id));
        known.unwrap_or_else(|| format!("uid {id}"))
    };
    #[cfg(not(unix))]
    let user = of_environment("USERNAME").unwrap_or_else(|| "unknown".to_owned());
    let user = match of_environment("SUDO_USER") {
        Some(asked) if asked != user => format!("{asked} as {user}"),
        _ => user,
    };
    user.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

/// The name of a user in the text of `/etc/passwd`.
#[cfg(unix)]
fn user_named(passwd: &str, id: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid) = (fields.next()?, fields.next()?, fields.next()?);
        (uid.parse() == Ok(id) && !name.is_empty()).then(|| name.to_owned())
    })
}

fn nobody_there(database: &Path) -> Failure {
    Failure::failed(format!("no server is running on this store ({})", database.display()))
        .fix("start one with `secevent serve`, name its store with --config or --store, or a server elsewhere with --admin")
}

/// The text of a member of an answer.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("-")
}

/// What to call the stream of an answer, of somebody who called it so.
pub(crate) fn called(typed: &str, answer: &Value) -> String {
    match text(answer, "stream_id") {
        id if id == typed => id.to_owned(),
        id => format!("{typed} ({id})"),
    }
}

/// The number in a member of an answer.
pub(crate) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// So many of something.
pub(crate) fn many(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    // finding: C11
    #[test]
    fn a_user_has_the_name_that_the_system_knows() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n# no user\nsecevent:x:998:998::/var/lib/secevent:/bin/false\n";
        assert_eq!(user_named(passwd, 998).as_deref(), Some("secevent"));
        assert_eq!(user_named(passwd, 1000), None);
        assert!(HeaderValue::from_str(&os_user()).is_ok());
    }
}
