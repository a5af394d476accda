//! Starting the program, and speaking HTTP to it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A service that runs, and ends with the test.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) dir: PathBuf,
    /// Whether it stands by.
    pub(crate) waits: bool,
    lines: BufReader<ChildStdout>,
    keep: Option<TempDir>,
}

impl Service {
    /// A service over a store of its own.
    pub(crate) fn start() -> Service {
        let dir = TempDir::new().unwrap();
        let mut service = Service::over(dir.path(), &[]);
        service.keep = Some(dir);
        service
    }

    /// A service over the store in a directory.
    pub(crate) fn over(dir: &Path, more: &[&str]) -> Service {
        Service::run(Command::new(env!("CARGO_BIN_EXE_keyfalld")), dir, more)
    }

    /// The same, as a command starts it.
    pub(crate) fn run(command: Command, dir: &Path, more: &[&str]) -> Service {
        let store = dir.join("a.db");
        Service::run_at(command, dir, store.to_str().unwrap(), more)
    }

    /// A service over the store at a place, with its log and its token in a directory.
    pub(crate) fn at(dir: &Path, store: &str, more: &[&str]) -> Service {
        Service::run_at(Command::new(env!("CARGO_BIN_EXE_keyfalld")), dir, store, more)
    }

    /// A service over the store at a place, as a command starts it.
    pub(crate) fn run_at(mut command: Command, dir: &Path, store: &str, more: &[&str]) -> Service {
        let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--accept-remnants", "--log", "trace"])
            .args(["--store", store])
            .arg("--admin-token-file")
            .arg(dir.join("token"))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let waits = line.starts_with("standing by on ");
        let address = line.trim().split_once(" on ").map(|(_, url)| url);
        let address = address.and_then(|url| Some(url.split_once("://")?.1));
        let log = || std::fs::read_to_string(dir.join("log")).unwrap();
        let address = address.unwrap_or_else(|| panic!("it says where: {line:?}\n{}", log()));
        let token = std::fs::read_to_string(dir.join("token")).unwrap().trim().to_owned();
        let (address, dir) = (address.to_owned(), dir.to_owned());
        Service { child, address, token, dir, waits, lines, keep: None }
    }

    /// The next line that it writes; none once it has ended.
    pub(crate) fn says(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// A request of the admin.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Request<'_> {
        let request = Request {
            service: self,
            head: format!("{method} {path} HTTP/1.1\r\n"),
            body: Vec::new(),
        };
        request.header("Host", "x").header("Connection", "close")
    }

    /// A request of the admin.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Request<'_> {
        self.ask(method, path).header("Authorization", &format!("Bearer {}", self.token))
    }

    /// Creates a user, and gives the handle.
    pub(crate) fn user(&self, name: &str) -> String {
        let made = self.admin("POST", "/v1/users").json(&format!("{{\"name\":\"{name}\"}}"));
        made.json()["handle"].as_str().unwrap().to_owned()
    }

    /// Puts a record, and gives its id.
    pub(crate) fn put(&self, handle: &str, class: &str, body: &[u8]) -> String {
        let path = format!("/v1/users/{handle}/records");
        let put = self.admin("POST", &path).header("Keyfall-Class", class).body(body);
        assert_eq!(put.status, 201, "{}", put.text());
        put.json()["id"].as_str().unwrap().to_owned()
    }

    /// Makes a credential, and gives its token.
    pub(crate) fn credential(&self, json: &str) -> String {
        let made = self.admin("POST", "/v1/credentials").json(json);
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["token"].as_str().unwrap().to_owned()
    }

    /// All that it logged.
    pub(crate) fn log(&self) -> String {
        // It is written beside the requests.
        std::thread::sleep(Duration::from_millis(100));
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.keep.take());
    }
}

/// Notes that a program is not installed: a test that needs it looks at nothing. Where all are to be
/// there, as in CI, that is a failure.
pub(crate) fn absent(program: &str) {
    assert!(std::env::var_os("KEYFALL_ALL_PROGRAMS").is_none(), "{program} is not installed");
    println!("skipped: {program} is not installed");
}

/// Whether one more round of kills is needed: some are always made, and then so many that what is
/// looked for was seen. How long that takes depends on the machine.
pub(crate) fn goes_on(round: u64, least: u64, seen: bool) -> bool {
    assert!(round < 200, "200 rounds of kills have not shown it");
    round < least || !seen
}

/// How long the service is left alone in a round: at first nothing, and later longer than any
/// machine takes.
pub(crate) fn moment(round: u64) -> Duration {
    Duration::from_micros(40 * round * round)
}

/// A request in the making.
pub(crate) struct Request<'s> {
    service: &'s Service,
    head: String,
    body: Vec<u8>,
}

impl Request<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn json(self, json: &str) -> Reply {
        self.header("Content-Type", "application/json").body(json.as_bytes())
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Reply {
        self.body = body.to_vec();
        self.send()
    }

    /// Has a body, and is not sent yet.
    pub(crate) fn with(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub(crate) fn send(self) -> Reply {
        let head_only = self.head.starts_with("HEAD");
        Reply::read(self.stream(), head_only)
    }

    /// Sends it, and leaves the answer to be read.
    pub(crate) fn stream(mut self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.service.address).unwrap();
        if !self.head.starts_with("GET") && !self.head.starts_with("HEAD") {
            self.head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        stream.write_all(format!("{}\r\n", self.head).as_bytes()).unwrap();
        // It may be refused before it is read.
        let _ = stream.write_all(&self.body);
        stream
    }
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body is as long as it was said to be.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) fn read(stream: TcpStream, head_only: bool) -> Reply {
        Reply::try_read(stream, head_only).unwrap()
    }

    /// Fails if there is no answer.
    pub(crate) fn try_read(stream: impl Read, head_only: bool) -> std::io::Result<Reply> {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let status = lines.first().ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let of = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let (mut body, mut whole) = (Vec::new(), true);
        if head_only {
            // It has none.
        } else if of("transfer-encoding") == Some("chunked") {
            (body, whole) = chunks(&mut stream);
        } else {
            let read = stream.read_to_end(&mut body);
            let length: usize = of("content-length").unwrap_or("0").parse().unwrap();
            whole = read.is_ok() && body.len() == length;
        }
        Ok(Reply { status, headers, body, whole })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The kind of its problem.
    pub(crate) fn kind(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        self.json()["kind"].as_str().unwrap().to_owned()
    }
}

/// A chunked body, and whether it had its last chunk.
fn chunks(stream: &mut impl BufRead) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).is_err() || line.is_empty() {
            return (body, false);
        }
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        if stream.read_exact(&mut chunk).is_err() {
            return (body, false);
        }
        body.extend_from_slice(&chunk[..length]);
        if length == 0 {
            return (body, true);
        }
    }
}
