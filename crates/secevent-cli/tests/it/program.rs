//! Runs the binary in a directory of its own, and serves it documents over loopback.

use base64::Engine as _;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tempfile::TempDir;

/// What a run has left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output of a run that ended well.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }
}

/// A directory with files, in which the program runs.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(name, content);
        self
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The names of the files, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    pub(crate) fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secevent"));
        finish(command.args(args), self.directory.path(), stdin)
    }

    /// The same, with these variables in the environment.
    pub(crate) fn run_in(&self, environment: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secevent"));
        command.envs(environment.iter().copied());
        finish(command.args(args), self.directory.path(), "")
    }

    /// Runs a line of shell in which `secevent` is this program.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let program = Path::new(env!("CARGO_BIN_EXE_secevent")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        finish(command.args(["-c", line]).env("PATH", path), self.directory.path(), "")
    }
}

fn finish(command: &mut Command, directory: &Path, stdin: &str) -> Ran {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.current_dir(directory).env_remove("CLICOLOR_FORCE").spawn().unwrap();
    // The program may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A receiver of pushes on a free port of loopback, until the tests end.
pub(crate) struct Sink {
    pub(crate) url: String,
    pushed: mpsc::Receiver<String>,
    /// What it refuses with, if it does.
    refusing: Arc<Mutex<Option<String>>>,
}

impl Sink {
    pub(crate) fn open() -> Self {
        Self::answer(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Answers from now on. Before that, who connected waits.
    pub(crate) fn answer(listener: TcpListener) -> Self {
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (told, pushed) = mpsc::channel();
        let refusing = Arc::new(Mutex::new(None::<String>));
        let refuses = Arc::clone(&refusing);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(&stream);
                let mut length = 0;
                for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty())
                {
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut token = vec![0; length];
                if reader.read_exact(&mut token).is_err() {
                    continue;
                }
                let answer = if let Some(body) = refuses.lock().unwrap().clone() {
                    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n";
                    format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
                } else {
                    "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
                };
                let _ = told.send(String::from_utf8(token).unwrap());
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Self { url, pushed, refusing }
    }

    /// Whether it refuses what it is pushed, from now on.
    pub(crate) fn refuse(&self, refuse: bool) {
        let body = r#"{"err":"invalid_request","description":"what is this?"}"#;
        *self.refusing.lock().unwrap() = refuse.then(|| body.to_owned());
    }

    /// The same, with a body of the caller's choice.
    pub(crate) fn refuse_with(&self, body: &str) {
        *self.refusing.lock().unwrap() = Some(body.to_owned());
    }

    /// The claims of the next SET that it is pushed.
    pub(crate) fn next(&self) -> serde_json::Value {
        claims(&self.pushed.recv_timeout(Duration::from_secs(60)).unwrap())
    }

    /// The claims of all that it was pushed and nobody asked for yet.
    pub(crate) fn rest(&self) -> Vec<serde_json::Value> {
        self.pushed.try_iter().map(|token| claims(&token)).collect()
    }
}

pub(crate) fn claims(token: &str) -> serde_json::Value {
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
/// Serves documents over plain HTTP on a free port of loopback, until the tests end. `ORIGIN` in a document
/// becomes the server's own.
pub(crate) fn serve(documents: &[(&str, &str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let documents =
        documents.iter().map(|(path, body)| ((*path).to_owned(), body.replace("ORIGIN", &origin)));
    let documents: HashMap<String, String> = documents.collect();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let path =
                lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (status, body) = match documents.get(&path) {
                Some(body) => ("200 OK", body.as_str()),
                None => ("404 Not Found", ""),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = (&stream).write_all((head + body).as_bytes());
        }
    });
    origin
}
