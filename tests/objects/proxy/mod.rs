//! A proxy between an engine and a real server, of S3 or of PostgreSQL: it loses requests and
//! answers, delays them, sends them twice, and sends them after their sender has died. It keeps
//! every body that somebody sent, also of requests that the server refused.

mod http;
mod kept;
mod rows;

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use self::http::Http;
pub(crate) use self::kept::Kept;
use self::rows::Rows;

/// What happens to requests, each in so many of 100.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The connection is reset while the request is sent: nothing arrives.
    pub(crate) reset: u8,
    /// A write that never arrives: the connection ends.
    pub(crate) lost: u8,
    /// A request whose answer is lost, with the connection.
    pub(crate) unanswered: u8,
    /// An answer that is cut in its midst.
    pub(crate) cut: u8,
    /// A write that arrives later, perhaps after its sender is gone: the connection ends.
    pub(crate) late: u8,
    /// A write that is sent twice, the second time later.
    pub(crate) doubled: u8,
    /// Of S3: a write that takes effect, and is answered with 503.
    pub(crate) busy: u8,
    /// Of S3: a write that is answered with 409, and does not arrive.
    pub(crate) conflict: u8,
    /// A request that waits, up to `wait`, before it is sent.
    pub(crate) slow: u8,
    pub(crate) wait: Duration,
    /// What is late arrives within this time; if it is zero, when `land` is called.
    pub(crate) lands_within: Duration,
    /// What each write, and each other request, takes longer: the latency of a service far away.
    pub(crate) write_takes: Duration,
    pub(crate) read_takes: Duration,
}

impl Faults {
    /// A few of each.
    pub(crate) fn of_a_network() -> Self {
        Faults {
            reset: 2,
            lost: 3,
            unanswered: 4,
            cut: 2,
            late: 4,
            doubled: 6,
            busy: 2,
            conflict: 2,
            slow: 10,
            wait: Duration::from_millis(60),
            ..Faults::default()
        }
    }
}

/// A request, whole.
struct Request {
    bytes: Vec<u8>,
    /// The object that it is to create: its name, and its bytes.
    creates: Option<(String, Vec<u8>)>,
    deletes: bool,
    is_head: bool,
    /// What a connection has to be told before it: a statement that was prepared.
    before: Vec<u8>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Where the server is.
#[derive(Clone)]
pub(crate) enum Server {
    /// Of S3, at this host and port.
    S3(String),
    /// Of Azure, at this host and port.
    Azure(String),
    /// Of PostgreSQL, at this socket.
    Postgres(PathBuf),
}

/// What went through since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) writes: u64,
    pub(crate) reads: u64,
}

struct Held {
    greeting: Vec<u8>,
    request: Vec<u8>,
    deletes: bool,
}

struct Shared {
    server: Server,
    faults: Mutex<Faults>,
    rng: AtomicU64,
    writes: AtomicU64,
    reads: AtomicU64,
    /// Requests that are late.
    held: Mutex<Vec<Held>>,
    /// How many late and doubled requests arrived, and how many of these took effect.
    landed: AtomicU64,
    effective: AtomicU64,
    /// How many late and doubled deletes arrived.
    deleted: AtomicU64,
    faulted: AtomicU64,
    kept: Mutex<Kept>,
}

/// A proxy; it listens on a port of this machine.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

impl Proxy {
    pub(crate) fn to(server: Server, faults: Faults, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server,
            faults: Mutex::new(faults),
            rng: AtomicU64::new(seed),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            held: Mutex::default(),
            landed: AtomicU64::new(0),
            effective: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            faulted: AtomicU64::new(0),
            kept: Mutex::default(),
        });
        let there = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&there);
                thread::spawn(move || {
                    // What fails is a connection that ends.
                    let _ = shared.serve(&client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Proxy { shared, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, faults: Faults) {
        *locked(&self.shared.faults) = faults;
    }

    /// The requests since the last call, one for each try of each.
    pub(crate) fn take(&self) -> Passed {
        let of = |count: &AtomicU64| count.swap(0, Ordering::SeqCst);
        Passed { writes: of(&self.shared.writes), reads: of(&self.shared.reads) }
    }

    /// Has everything arrive that is late.
    pub(crate) fn land(&self) {
        let all = std::mem::take(&mut *locked(&self.shared.held));
        for held in all {
            self.shared.deliver(&held);
        }
    }

    /// What somebody has who has every body that was sent.
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        locked(&self.shared.kept)
    }

    /// What was done to requests, in words.
    pub(crate) fn told(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let shared = &self.shared;
        format!(
            "{} faults, {} late or doubled creates arrived, {} of which took effect, and {} deletes",
            of(&shared.faulted),
            of(&shared.landed),
            of(&shared.effective),
            of(&shared.deleted)
        )
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passes,
    Reset,
    Lost,
    Unanswered,
    Cut,
    Late,
    Doubled,
    Busy,
    Conflict,
}

impl Shared {
    fn draw(&self, below: u64) -> u64 {
        // Splitmix64.
        let mut z = self
            .rng
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn fate(&self, faults: &Faults, request: Option<&Request>) -> Fate {
        let Some(request) = request else {
            return if self.draw(100) < u64::from(faults.reset) {
                Fate::Reset
            } else {
                Fate::Passes
            };
        };
        let is_write = request.creates.is_some() || request.deletes;
        let is_http = !matches!(self.server, Server::Postgres(_));
        let mut roll = self.draw(100);
        for (fate, of_100, applies) in [
            (Fate::Lost, faults.lost, is_write),
            (Fate::Unanswered, faults.unanswered, true),
            (Fate::Cut, faults.cut, true),
            (Fate::Late, faults.late, is_write),
            (Fate::Doubled, faults.doubled, is_write),
            (Fate::Busy, faults.busy, is_write && is_http),
            (Fate::Conflict, faults.conflict, is_write && is_http),
        ] {
            match roll.checked_sub(u64::from(of_100)) {
                None => return if applies { fate } else { Fate::Passes },
                Some(left) => roll = left,
            }
        }
        Fate::Passes
    }

    fn serve(self: &Arc<Self>, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        // A reset leaves unread what the client sent: no more than this is taken in advance.
        let mut from = BufReader::with_capacity(256, client.try_clone()?);
        match &self.server {
            Server::S3(_) | Server::Azure(_) => self.pass(client, &mut from, &mut Http::default()),
            Server::Postgres(_) => self.pass(client, &mut from, &mut Rows::default()),
        }
    }

    fn pass(
        self: &Arc<Self>,
        mut client: &TcpStream,
        from: &mut BufReader<TcpStream>,
        protocol: &mut dyn Protocol,
    ) -> io::Result<()> {
        let greeting = protocol.greeting(from)?;
        let mut server = None;
        if !greeting.is_empty() {
            let (session, answer) = self.connected(protocol, &greeting)?;
            client.write_all(&answer)?;
            server = Some(session);
        }
        while let Some(begun) = protocol.begin(from)? {
            let faults = *locked(&self.faults);
            if self.fate(&faults, None) == Fate::Reset {
                self.faulted.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            let request = protocol.rest(from, begun)?;
            if protocol.is_last(&request) {
                return Ok(());
            }
            let fate = self.fate_of(&faults, &request);
            let held = || Held {
                greeting: greeting.clone(),
                request: [&request.before[..], &request.bytes].concat(),
                deletes: request.deletes,
            };
            match fate {
                Fate::Lost => return Ok(()),
                Fate::Late => {
                    self.hold(&faults, held());
                    return Ok(());
                }
                Fate::Conflict => {
                    // Azure's 409 says that the object is there.
                    let is_azure = matches!(self.server, Server::Azure(_));
                    let status = if is_azure { "503 Server Busy" } else { "409 Conflict" };
                    return client.write_all(&http::status(status));
                }
                _ => {}
            }
            let mut once;
            let to = match &mut server {
                Some(session) => session,
                // Of HTTP: each request over a connection of its own.
                None => {
                    once = self.connected(protocol, &greeting)?.0;
                    &mut once
                }
            };
            to.write_all(&request.bytes)?;
            let answer = protocol.answer(to, request.is_head)?;
            match fate {
                Fate::Unanswered => return Ok(()),
                Fate::Cut => return client.write_all(&answer[..answer.len() / 2]),
                Fate::Busy => return client.write_all(&http::status("503 Slow Down")),
                Fate::Doubled => self.hold(&faults, held()),
                _ => {}
            }
            client.write_all(&answer)?;
            if protocol.is_over() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Notes a request, has it take its time, and draws what becomes of it.
    fn fate_of(&self, faults: &Faults, request: &Request) -> Fate {
        match &request.creates {
            Some((name, bytes)) => {
                self.writes.fetch_add(1, Ordering::SeqCst);
                locked(&self.kept).take(name, bytes);
                thread::sleep(faults.write_takes);
            }
            None => {
                self.reads.fetch_add(1, Ordering::SeqCst);
                thread::sleep(faults.read_takes);
            }
        }
        if self.draw(100) < u64::from(faults.slow) {
            let most = u64::try_from(faults.wait.as_micros()).unwrap();
            thread::sleep(Duration::from_micros(self.draw(most.max(1))));
        }
        let fate = self.fate(faults, Some(request));
        self.faulted.fetch_add(u64::from(fate != Fate::Passes), Ordering::SeqCst);
        fate
    }

    /// A new connection to the server, and what it answers to the greeting.
    fn connected(
        &self,
        protocol: &mut dyn Protocol,
        greeting: &[u8],
    ) -> io::Result<(Box<dyn Stream>, Vec<u8>)> {
        let mut server: Box<dyn Stream> = match &self.server {
            Server::S3(at) | Server::Azure(at) => {
                let stream = TcpStream::connect(at)?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Server::Postgres(socket) => Box::new(UnixStream::connect(socket)?),
        };
        server.write_all(greeting)?;
        let answer =
            if greeting.is_empty() { Vec::new() } else { protocol.answer(&mut server, false)? };
        Ok((server, answer))
    }

    fn hold(self: &Arc<Self>, faults: &Faults, held: Held) {
        let within = u64::try_from(faults.lands_within.as_millis()).unwrap();
        if within == 0 {
            locked(&self.held).push(held);
            return;
        }
        let (shared, wait) = (Arc::clone(self), self.draw(within));
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(wait));
            shared.deliver(&held);
        });
    }

    /// Sends a request whose sender waits for nothing.
    fn deliver(&self, held: &Held) {
        let mut protocol: Box<dyn Protocol> = match &self.server {
            Server::S3(_) | Server::Azure(_) => Box::<Http>::default(),
            Server::Postgres(_) => Box::<Rows>::default(),
        };
        let send = |protocol: &mut dyn Protocol| {
            let (mut server, _) = self.connected(protocol, &held.greeting)?;
            server.write_all(&held.request)?;
            protocol.answer(&mut server, false)
        };
        let sent = send(&mut *protocol);
        if held.deletes {
            self.deleted.fetch_add(u64::from(sent.is_ok()), Ordering::SeqCst);
        } else if let Ok(answer) = sent {
            self.landed.fetch_add(1, Ordering::SeqCst);
            self.effective.fetch_add(u64::from(protocol.took_effect(&answer)), Ordering::SeqCst);
        }
    }
}

/// How requests and answers are told apart.
trait Protocol {
    /// What a client says before its first request.
    fn greeting(&mut self, from: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>>;
    /// The beginning of a request; `None` at the end.
    fn begin(&mut self, from: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>>;
    fn rest(&mut self, from: &mut BufReader<TcpStream>, begun: Vec<u8>) -> io::Result<Request>;
    /// Whether nothing comes after it, and no answer either.
    fn is_last(&self, request: &Request) -> bool;
    /// One answer, whole.
    fn answer(&mut self, from: &mut Box<dyn Stream>, of_a_head: bool) -> io::Result<Vec<u8>>;
    /// Whether the last answer ended its connection.
    fn is_over(&self) -> bool;
    /// Whether this is the answer to a create that made something.
    fn took_effect(&self, answer: &[u8]) -> bool;
}
