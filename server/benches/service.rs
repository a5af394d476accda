//! What the service adds to the engine: over loopback, beside the library in the same run.
//!
//! `cargo bench -p keyfalld --bench service`, in the temporary directory or in
//! `KEYFALL_BENCH_DIR`. After `--` it takes the parts to run: `one`, `erase`, `many`, `memory`,
//! `pages`.
//! `KEYFALL_BENCH_SERVICE` is another build of the service, to compare with.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that prints")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyfall::{Builder, Class, Engine, Put, Scope, UserId};
use tempfile::TempDir;

/// Bytes of a short record.
const SHORT: usize = 200;
/// Connections at once.
const CONNECTIONS: usize = 64;

fn main() {
    let dir = match std::env::var_os("KEYFALL_BENCH_DIR") {
        Some(place) => TempDir::new_in(place).unwrap(),
        None => TempDir::new().unwrap(),
    };
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let asked = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    let service = Service::start(dir.path());
    let ada = service.user("ada");
    if asked("one") {
        one_at_a_time(&service, &ada, &dir.path().join("library.db"));
    }
    if asked("erase") {
        erases(&service, &ada, &dir.path().join("erased.db"));
    }
    if asked("many") {
        many(&service, &ada);
    }
    if asked("memory") {
        memory(&service, &ada);
    }
    if asked("pages") {
        pages(&service);
    }
}

/// A service of its own.
struct Service {
    child: Child,
    address: String,
    token: String,
}

impl Service {
    fn start(dir: &Path) -> Service {
        let program = std::env::var_os("KEYFALL_BENCH_SERVICE");
        let mut child = Command::new(program.unwrap_or(env!("CARGO_BIN_EXE_keyfalld").into()))
            .args(["--listen", "127.0.0.1:0", "--accept-remnants", "--log", "error"])
            .env("KEYFALL_REQUESTS_PER_SECOND", "1000000")
            .env("KEYFALL_BURST", "1000000")
            .args(["--store", "a.db", "--admin-token-file", "token"])
            .current_dir(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        let token = std::fs::read_to_string(dir.join("token")).unwrap().trim().to_owned();
        Service { child, address, token }
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream: BufReader::with_capacity(1 << 20, stream) }
    }

    fn request(&self, line: &str, length: usize, more: &str) -> Vec<u8> {
        format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{more}\
             Content-Length: {length}\r\n\r\n",
            self.token
        )
        .into_bytes()
    }

    /// A request with a body of JSON, and the value of a field of the answer.
    fn json(&self, path: &str, json: &str, field: &str) -> String {
        let mut request =
            self.request(&format!("POST {path}"), json.len(), "Content-Type: application/json\r\n");
        request.extend_from_slice(json.as_bytes());
        let answer = self.connect().ask(&request);
        let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        value[field].as_str().unwrap().to_owned()
    }

    fn user(&self, name: &str) -> String {
        self.json("/v1/users", &format!("{{\"name\":\"{name}\"}}"), "handle")
    }

    /// A put of a short record.
    fn put(&self, handle: &str) -> Vec<u8> {
        let line = format!("POST /v1/users/{handle}/records");
        let mut request = self.request(&line, SHORT, "Keyfall-Class: transcript\r\n");
        request.extend_from_slice(&[b'x'; SHORT]);
        request
    }

    /// Bytes of its memory.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept.
struct Connection {
    stream: BufReader<TcpStream>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// What a browser that was given these cookies sends.
    fn cookies(&self) -> String {
        let set = self.head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
        let pairs: Vec<&str> = set.filter_map(|cookie| cookie.split(';').next()).collect();
        format!("Cookie: {}\r\n", pairs.join("; "))
    }
}

impl Connection {
    fn ask(&mut self, request: &[u8]) -> Answer {
        self.stream.get_mut().write_all(request).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.stream.read_line(&mut head).unwrap() > 0, "it was closed: {head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lower = head.to_ascii_lowercase();
        let of = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name));
        let length: usize = of("content-length: ").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        if of("transfer-encoding: ") == Some("chunked") {
            body = self.chunks();
        }
        Answer { status, head, body }
    }

    /// A body whose length was not said before (RFC 9112, 7.1), without trailers.
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut length = String::new();
            self.stream.read_line(&mut length).unwrap();
            let length = usize::from_str_radix(length.trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            self.stream.read_exact(&mut chunk).unwrap();
            if length == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(of: Duration) -> f64 {
    of.as_secs_f64() * 1e3
}

/// A put of 200 bytes, by turns over HTTP and by the library.
fn one_at_a_time(service: &Service, handle: &str, library: &Path) {
    let engine: Engine = Builder::at(library).accept_remnants().create().unwrap();
    let user = UserId::new("ada").unwrap();
    let put = || Put::new(user.clone(), Class::transcript());
    let (request, mut connection) = (service.put(handle), service.connect());
    let (mut over_http, mut by_library) = (Vec::new(), Vec::new());
    for round in 0..40 {
        for _ in 0..50 {
            let began = Instant::now();
            assert_eq!(connection.ask(&request).status, 201);
            let http = began.elapsed();
            let began = Instant::now();
            engine.put(put(), &[b'x'; SHORT][..]).unwrap();
            if round > 0 {
                over_http.push(http);
                by_library.push(began.elapsed());
            }
        }
    }
    let (http, library) = (median(&mut over_http), median(&mut by_library));
    println!(
        "put of {SHORT} B, p50: {:.3} ms over HTTP, {:.3} ms by the library: {:+.3} ms",
        ms(http),
        ms(library),
        ms(http) - ms(library)
    );
}

/// An erase of a record of 200 bytes, by turns over HTTP and by the library.
fn erases(service: &Service, handle: &str, library: &Path) {
    let engine: Engine = Builder::at(library).accept_remnants().create().unwrap();
    let user = UserId::new("ada").unwrap();
    let (put, mut connection) = (service.put(handle), service.connect());
    let (mut over_http, mut by_library) = (Vec::new(), Vec::new());
    for round in 0..600 {
        let id: serde_json::Value = serde_json::from_slice(&connection.ask(&put).body).unwrap();
        let json = format!("{{\"scope\":{{\"record\":{}}}}}", id["id"]);
        let more = "Content-Type: application/json\r\n";
        let mut request = service.request("POST /v1/erasures", json.len(), more);
        request.extend_from_slice(json.as_bytes());
        let began = Instant::now();
        assert_eq!(connection.ask(&request).status, 200);
        let http = began.elapsed();
        let put = Put::new(user.clone(), Class::transcript());
        let id = engine.put(put, &[b'x'; SHORT][..]).unwrap();
        let began = Instant::now();
        engine.erase(Scope::record(id)).unwrap();
        if round >= 50 {
            over_http.push(http);
            by_library.push(began.elapsed());
        }
    }
    let (http, library) = (median(&mut over_http), median(&mut by_library));
    println!(
        "erase of a record, p50: {:.3} ms over HTTP, {:.3} ms by the library: {:+.3} ms",
        ms(http),
        ms(library),
        ms(http) - ms(library)
    );
}

/// Seconds that a process, with all its threads, has been on a processor.
fn busy(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which is in parentheses: the 12th and 13th, in hundredths of a second.
    let after = stat.rsplit_once(')').unwrap().1;
    let times = after.split_whitespace().skip(11).take(2).map(|time| time.parse::<f64>().unwrap());
    times.sum::<f64>() / 100.0
}

/// Puts of 200 bytes from many connections, each with one on its way.
fn many(service: &Service, handle: &str) {
    let request: Arc<[u8]> = service.put(handle).into();
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let id = service.child.id().to_string();
    let (rate, by_service, by_clients) = runtime.block_on(async {
        for _ in 0..CONNECTIONS {
            let stream = tokio::net::TcpStream::connect(&service.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (request, done, stop) = (request.clone(), done.clone(), stop.clone());
            tokio::spawn(keep_putting(stream, request, done, stop));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (began, before) = (Instant::now(), done.load(Ordering::Relaxed));
        let (service, clients) = (busy(&id), busy("self"));
        tokio::time::sleep(Duration::from_secs(8)).await;
        let puts = (done.load(Ordering::Relaxed) - before) as f64;
        let each = |before: f64, now: f64| (now - before) / puts * 1e6;
        let taken = (each(service, busy(&id)), each(clients, busy("self")));
        let rate = puts / began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
        (rate, taken.0, taken.1)
    });
    println!(
        "puts of {SHORT} B from {CONNECTIONS} connections: {rate:.0} a second; processor time \
         each: {by_service:.1} µs of the service, {by_clients:.1} µs of the clients"
    );
}

async fn keep_putting(
    mut stream: tokio::net::TcpStream,
    request: Arc<[u8]>,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut answer = vec![0; 4096];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&request).await.unwrap();
        let mut read = 0;
        // The body of such an answer ends with the only brace in it.
        while !answer[..read].ends_with(b"}") {
            let n = stream.read(&mut answer[read..]).await.unwrap();
            assert!(n > 0, "it was closed: {}", String::from_utf8_lossy(&answer[..read]));
            read += n;
        }
        assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer));
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Memory above idle while a GiB goes in, and comes out.
fn memory(service: &Service, handle: &str) {
    const LENGTH: usize = 1 << 30;
    std::thread::sleep(Duration::from_secs(1));
    let idle = service.resident();
    let (most, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(service.resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let above = || most.swap(0, Ordering::Relaxed).saturating_sub(idle) >> 20;
        let line = format!("POST /v1/users/{handle}/records");
        let mut connection = service.connect();
        let began = Instant::now();
        let head = service.request(&line, LENGTH, "Keyfall-Class: audio\r\n");
        connection.stream.get_mut().write_all(&head).unwrap();
        let piece = vec![7; 1 << 20];
        for _ in 0..LENGTH / piece.len() {
            connection.stream.get_mut().write_all(&piece).unwrap();
        }
        let answer = connection.answer();
        assert_eq!(answer.status, 201);
        println!("1 GiB in: {:.1} s, {} MiB above idle", began.elapsed().as_secs_f64(), above());
        let id: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let line = format!("GET /v1/records/{}", id["id"].as_str().unwrap());
        let began = Instant::now();
        connection.stream.get_mut().write_all(&service.request(&line, 0, "")).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(connection.stream.read_line(&mut head).unwrap() > 0);
        }
        let mut body = (&mut connection.stream).take(LENGTH as u64);
        assert_eq!(std::io::copy(&mut body, &mut std::io::sink()).unwrap(), LENGTH as u64);
        println!("1 GiB out: {:.1} s, {} MiB above idle", began.elapsed().as_secs_f64(), above());
        stop.store(true, Ordering::Relaxed);
    });
}

/// The first page of 10,000 records: as JSON, and as the person sees it.
fn pages(service: &Service) {
    let handle = service.user("ben");
    let request = service.put(&handle);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut connection = service.connect();
                for _ in 0..500 {
                    assert_eq!(connection.ask(&request).status, 201);
                }
            });
        }
    });
    let mut connection = service.connect();
    for limit in [100, 10_000] {
        let line = format!("GET /v1/users/{handle}/records?order=desc&limit={limit}");
        took(&format!("{limit} of 10,000 records, JSON"), &mut connection, &{
            service.request(&line, 0, "")
        });
    }
    let url = service.json(&format!("/v1/users/{handle}/page-links"), "{}", "url");
    let asking = connection.ask(&service.request(&format!("GET {url}"), 0, ""));
    let text = String::from_utf8(asking.body.clone()).unwrap();
    let entry = text.split_once("name=\"entry\" value=\"").unwrap().1.split('"').next().unwrap();
    let form = format!("entry={entry}");
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let pressed = format!("{kind}{}", asking.cookies());
    let mut press = service.request(&format!("POST {url}"), form.len(), &pressed);
    press.extend_from_slice(form.as_bytes());
    let cookie = connection.ask(&press).cookies();
    let page = service.request("GET /page", 0, &cookie);
    took("first page of 10,000 records, as the person sees it", &mut connection, &page);
}

fn took(what: &str, connection: &mut Connection, request: &[u8]) {
    let mut times = Vec::new();
    let mut first = Duration::ZERO;
    for n in 0..11 {
        let began = Instant::now();
        let answer = connection.ask(request);
        assert_eq!(answer.status, 200, "{}", answer.head);
        if n == 0 { first = began.elapsed() } else { times.push(began.elapsed()) }
    }
    println!("{what}: {:.1} ms at first, p50 {:.1} ms", ms(first), ms(median(&mut times)));
}
