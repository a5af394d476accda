//! The log's files over HTTP: one answer a connection, a bounded number of connections at once, a
//! bounded time for each.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that are answered at once; others wait until one of these has ended.
const AT_ONCE: usize = 64;
/// For a request and its answer, all in all.
const TIME: Duration = Duration::from_secs(10);
/// After trouble that only time ends, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// Most bytes of a request.
const REQUEST_MAX_BYTES: usize = 8192;
/// Most bytes of a file: an export writes none so large.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// How many connections are being answered.
#[derive(Default)]
struct Busy(Mutex<usize>, Condvar);

/// One of them, until it is dropped.
struct Slot(Arc<Busy>);

impl Slot {
    fn wait_for(busy: &Arc<Busy>) -> Slot {
        let n = busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut n = busy.1.wait_while(n, |n| *n >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
        *n += 1;
        Slot(Arc::clone(busy))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.1.notify_one();
    }
}

/// Accepts connections for ever; each is answered on a thread of its own.
pub(super) fn serve(dir: &Path, listener: &TcpListener) -> ! {
    let busy = Arc::default();
    loop {
        let slot = Slot::wait_for(&busy);
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let dir = dir.to_owned();
        let work = move || {
            let _slot = slot;
            // A client that has disconnected meanwhile is no error of the server.
            let _ = answer(&dir, &stream);
        };
        if thread::Builder::new().stack_size(256 << 10).spawn(work).is_err() {
            thread::sleep(PAUSE);
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn answer(dir: &Path, stream: &TcpStream) -> io::Result<()> {
    let deadline = Instant::now() + TIME;
    let (status, kind, body) = match request(stream, deadline)? {
        None => ("400 Bad Request", "text/plain", Vec::new()),
        Some((method, _)) if method != "GET" && method != "HEAD" => {
            ("405 Method Not Allowed", "text/plain", Vec::new())
        }
        Some((_, path)) => match file(dir, &path) {
            Some(body) if path == "checkpoint" => ("200 OK", "text/plain; charset=utf-8", body),
            Some(body) => ("200 OK", "application/octet-stream", body),
            None => ("404 Not Found", "text/plain", Vec::new()),
        },
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nAllow: GET, \
         HEAD\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let wanted = if status == "200 OK" { body } else { Vec::new() };
    let mut rest = &[head.as_bytes(), &wanted].concat()[..];
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match (&*stream).write(rest)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => rest = &rest[n..],
        }
    }
    stream.shutdown(Shutdown::Write)
}

/// Method and path of a request, without the slash in front; `None` if it is none.
fn request(stream: &TcpStream, deadline: Instant) -> io::Result<Option<(String, String)>> {
    let (mut head, mut some) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match (&*stream).read(&mut some)? {
            0 => return Ok(None),
            n => head.extend_from_slice(&some[..n]),
        }
        if head.len() > REQUEST_MAX_BYTES {
            return Ok(None);
        }
    }
    let text = String::from_utf8_lossy(&head);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let (method, path, version) = (words.next(), words.next(), words.next());
    let known =
        version.is_some_and(|version| version.starts_with("HTTP/1.")) && words.next().is_none();
    Ok(match (method, path) {
        (Some(method), Some(path)) if known => {
            Some((method.to_owned(), path.trim_start_matches('/').to_owned()))
        }
        _ => None,
    })
}

/// A file of the log: only what the export writes has such names.
fn file(dir: &Path, path: &str) -> Option<Vec<u8>> {
    let named = path == "checkpoint"
        || path.starts_with("tile/")
            && path.chars().all(|c| c.is_ascii_alphanumeric() || "/.".contains(c))
            && !path.contains("..");
    let place = dir.join(named.then_some(path)?);
    let about = std::fs::metadata(&place).ok()?;
    if about.is_file() && about.len() <= FILE_MAX_BYTES { std::fs::read(&place).ok() } else { None }
}
