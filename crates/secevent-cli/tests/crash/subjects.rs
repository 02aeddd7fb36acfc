//! What a receiver has said of subjects, and was answered, counts after the process was killed.

use crate::caller::{Caller, Gone};
use crate::scale::Scale;
use crate::server::{Log, Server, Start};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

const CONFIG: &str = r#"
[server]
public_url = "http://127.0.0.1"
[store]
url = "sqlite:events.db"
log_pages_max = 100
reserve_bytes = 65536
[[issuer]]
url = "http://127.0.0.1"
algorithm = "EdDSA"
default_subjects = "DEFAULT"
[limits]
# No caller is slowed down: the faster, the more there is to lose.
requests_per_second = 1000000
requests_burst = 1000000
[[client]]
id = "shop"
secret = "a secret of the shop"
scopes = ["ssf.manage"]
audience = "https://shop.example"
[[client]]
id = "idp"
secret = "a secret of the idp"
scopes = ["events.write"]
"#;

/// Callers at once, each with subjects of its own.
const CALLERS: usize = 8;

/// I1 and SEM-14: what was answered is so, whatever step of a commit the process ended at.
#[tokio::test]
async fn subjects_outlive_the_process() {
    if !Scale::from_environment().wants("subjects") {
        return;
    }
    for default in ["NONE", "ALL"] {
        let directory = tempfile::tempdir().unwrap();
        let config = CONFIG.replace("DEFAULT", default);
        std::fs::write(directory.path().join("secevent.toml"), config).unwrap();
        let log = Log::default();
        let mut said = Said { stream: String::new(), words: BTreeMap::new() };
        for (life, (step, times)) in
            [("commit", 60), ("committed", 40), ("put-subjects", 30)].into_iter().enumerate()
        {
            let start = Start { kill_at: Some((step.to_owned(), times)), ..Start::default() };
            let server = Server::start(directory.path(), &start, &log).await.unwrap();
            if let Ok(caller) = Caller::meet(server.address, directory.path()).await {
                said.go_on(life, default, &caller).await;
            }
            assert_eq!(server.ended().await.signal(), Some(9), "it ends at {step}");
            said.check(life, default, directory.path(), &log).await;
        }
        let (added, removed): (Vec<bool>, Vec<bool>) =
            said.words.values().flatten().partition(|added| **added);
        assert!(added.len() > 5 && removed.len() > 5, "{} and {}", added.len(), removed.len());
    }
}

/// What was said of each subject last: whether it was added, or nothing if no answer came.
struct Said {
    stream: String,
    words: BTreeMap<String, Option<bool>>,
}

impl Said {
    /// Says more, until the server is gone.
    async fn go_on(&mut self, life: usize, default: &str, caller: &Caller) {
        if self.stream.is_empty() {
            let wanted = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
            let request = json!({ "events_requested": [wanted] });
            let (status, created) = caller.ask(&Method::POST, "/ssf/stream", Some(&request)).await.unwrap();
            assert_eq!(status, 201, "{created}");
            self.stream = created["stream_id"].as_str().unwrap().to_owned();
        }
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..CALLERS {
            let (stream, caller, all) = (self.stream.clone(), caller.clone(), default == "ALL");
            tasks.spawn(async move { say_until_the_end(life, number, &stream, all, &caller).await });
        }
        while let Some(words) = tasks.join_next().await {
            self.words.extend(words.unwrap());
        }
    }

    /// An event about each subject tells whether it is in.
    async fn check(&self, life: usize, default: &str, directory: &Path, log: &Log) {
        let server = Server::start(directory, &Start::default(), log).await.unwrap();
        let caller = Caller::meet(server.address, directory).await.unwrap();
        let words: Vec<_> = self.words.iter().filter_map(|(name, word)| Some((name, (*word)?))).collect();
        for (name, added) in words {
            let key = format!("{name} after {life}");
            assert_eq!(deliveries(name, &key, &caller).await, u64::from(added), "{default} {key}");
        }
        server.kill().await;
    }
}

/// Adds subjects and removes some of them, each its own.
async fn say_until_the_end(
    life: usize,
    number: usize,
    stream: &str,
    all: bool,
    caller: &Caller,
) -> BTreeMap<String, Option<bool>> {
    let mut words = BTreeMap::new();
    for turn in 0_usize.. {
        let name = format!("user-{life}-{number}-{turn}");
        // Where all are in by default, what counts is first that it is removed.
        let both = [!all, all];
        let changes = if turn % 3 == 0 { &both[..] } else { &both[..1] };
        for add in changes {
            words.insert(name.clone(), None);
            match say(stream, &name, *add, caller).await {
                Ok(()) => words.insert(name.clone(), Some(*add)),
                Err(Gone(_)) => return words,
            };
        }
    }
    words
}

async fn say(stream: &str, name: &str, add: bool, caller: &Caller) -> Result<(), Gone> {
    let request = json!({ "stream_id": stream, "subject": subject(name) });
    let (path, expected) = if add { ("/ssf/subjects:add", 200) } else { ("/ssf/subjects:remove", 204) };
    let (status, told) = caller.ask(&Method::POST, path, Some(&request)).await?;
    assert_eq!(status, expected, "{told}");
    Ok(())
}

/// To how many streams an event about it is owed.
async fn deliveries(name: &str, key: &str, caller: &Caller) -> u64 {
    let event = json!({ "type": "caep:session-revoked", "subject": subject(name) });
    let (status, told) = caller.events(key, event.to_string(), false).await.unwrap();
    assert_eq!(status, 202, "{told}");
    told["deliveries"].as_u64().unwrap()
}

fn subject(name: &str) -> Value {
    json!({ "format": "opaque", "id": name })
}
