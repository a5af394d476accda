//! A keyholder's server: one thread for each connection, one request at a time.
//!
//! A connection counts as a stranger's until the handshake has shown a key that is allowed.
//! Strangers have few places and a short time, and give way to later ones, so that they keep no
//! engine out; engines have places of their own.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::KeyholderDir;
use super::tls;
use super::wire::{MAGIC, Request, encode_error, encode_held, receive, send};
use crate::crypto::Key;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::quorum::{Holder, Keyholder};
use crate::secret::{Secret, WipeStack};
use crate::sync::{Mutex, locked};

/// Connections of engines at a time.
const ENGINES: usize = 256;
/// Of them, with one key: an engine keeps one, and what broke unnoticed stays for a while.
const PER_ENGINE: usize = 32;
/// Connections at a time whose handshake is not done.
const STRANGERS: usize = 128;
/// Of them, from one address.
const PER_ADDRESS: usize = 32;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(600);
/// How long a handshake may take, all of it.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long an answer may take to be read.
const WRITE: Duration = Duration::from_secs(5);
/// How long the server waits if the system has no more sockets or threads.
const PAUSE: Duration = Duration::from_millis(200);
/// How often one kind of trouble is reported.
const SAY: Duration = Duration::from_secs(60);

type Log<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A keyholder that listens for engines.
pub struct Server {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    holder: Arc<Holder>,
    dir: Arc<KeyholderDir>,
    env: SharedEnv,
    places: Mutex<Places>,
    said: Mutex<HashMap<&'static str, (Instant, u64)>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({:?})", self.listener.local_addr().ok())
    }
}

/// The connections that are open.
#[derive(Default)]
struct Places {
    /// The one connected longest comes first.
    strangers: Vec<Stranger>,
    engines: HashMap<[u8; 32], usize>,
    next: u64,
}

/// A connection whose other end has not yet proved to be an allowed engine.
struct Stranger {
    /// Number of the connection.
    number: u64,
    address: IpAddr,
    /// To hang up.
    socket: TcpStream,
}

impl Places {
    /// Lets one in, and hangs up on another if there are too many: on one of the same address,
    /// or of the address that has most.
    fn enter(&mut self, address: IpAddr, socket: TcpStream) -> u64 {
        let of = |address: &IpAddr| {
            self.strangers.iter().filter(|other| other.address == *address).count()
        };
        if of(&address) >= PER_ADDRESS {
            self.hang_up(address);
        } else if self.strangers.len() >= STRANGERS {
            let most = self.strangers.iter().map(|other| other.address).max_by_key(of);
            most.into_iter().for_each(|most| self.hang_up(most));
        }
        self.next += 1;
        self.strangers.push(Stranger { number: self.next, address, socket });
        self.next
    }

    fn hang_up(&mut self, address: IpAddr) {
        if let Some(n) = self.strangers.iter().position(|other| other.address == address) {
            let Stranger { socket, .. } = self.strangers.remove(n);
            // Its thread hears of it, and ends.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn leave(&mut self, number: u64) {
        self.strangers.retain(|other| other.number != number);
    }

    /// Moves a stranger that proved to be an allowed engine; says whether a place is free for it.
    fn knows(&mut self, number: u64, engine: &[u8; 32]) -> bool {
        self.leave(number);
        let all: usize = self.engines.values().sum();
        let own = self.engines.entry(*engine).or_default();
        let room = all < ENGINES && *own < PER_ENGINE;
        *own += usize::from(room);
        room
    }

    fn goes(&mut self, engine: &[u8; 32]) {
        if let Some(own) = self.engines.get_mut(engine) {
            *own -= 1;
            if *own == 0 {
                self.engines.remove(engine);
            }
        }
    }
}

/// The address by which strangers are counted: of IPv6 the network, for a holder of one address has
/// 2^64.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// A socket all of whose reads and writes are done by one time: a deadline for each read would
/// never end a peer that sends a byte now and then.
struct Hurried<'s> {
    socket: &'s TcpStream,
    until: Instant,
}

impl Hurried<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Hurried<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(out)
    }
}

impl Write for Hurried<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn cannot_listen(listen: &str, e: &io::Error) -> Error {
    let remedy = "name another address, or end what listens there";
    Error::new(ErrorKind::Io, format!("cannot listen at {listen}: {e}; {remedy}"))
}

/// An engine that is connected.
struct Admitted {
    stream: StreamOwned<ServerConnection, TcpStream>,
    engine: [u8; 32],
}

impl Server {
    /// Whether [`Server::bind`] could listen there now.
    ///
    /// # Errors
    /// `Io` if nothing can.
    pub fn check(listen: &str) -> Result<()> {
        TcpListener::bind(listen).map(drop).map_err(|e| cannot_listen(listen, &e))
    }

    /// Listens at `HOST:PORT` for a keyholder's directory.
    ///
    /// # Errors
    /// `Io` if nothing can listen there.
    pub fn bind(dir: KeyholderDir, listen: &str, env: SharedEnv) -> Result<Self> {
        let listener = TcpListener::bind(listen).map_err(|e| cannot_listen(listen, &e))?;
        let dir = Arc::new(dir);
        let known = Arc::clone(&dir);
        let config =
            tls::server(dir.channel_seed(), dir.id().channel, move |key| known.admits(key))?;
        let (holder, places) = (Arc::new(dir.holder(&env)), Mutex::default());
        Ok(Server { listener, config, holder, dir, env, places, said: Mutex::default() })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// `Io`.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|e| Error::io("the listener", e))
    }

    /// Serves for ever; `log` hears of connections that failed, in one line, without anything
    /// secret, and of each kind of trouble once a minute.
    pub fn run(&self, log: Log<'_>) {
        thread::scope(|scope| {
            for accepted in std::iter::repeat_with(|| self.listener.accept()) {
                match accepted {
                    Ok((socket, peer)) => {
                        let serve = move || self.take(socket, peer, log);
                        if let Err(e) = thread::Builder::new().spawn_scoped(scope, serve) {
                            self.say(
                                log,
                                "threads",
                                &format!("no thread can be started for a connection: {e}"),
                            );
                            thread::sleep(PAUSE);
                        }
                    }
                    Err(e) => {
                        self.say(log, "accept", &format!("connections cannot be taken: {e}"));
                        // Those that wait for a stranger have sockets to give back.
                        let mut places = locked(&self.places);
                        let oldest = places.strangers.first().map(|stranger| stranger.address);
                        oldest.into_iter().for_each(|oldest| places.hang_up(oldest));
                        drop(places);
                        thread::sleep(PAUSE);
                    }
                }
            }
        });
    }

    /// Reports trouble, or counts it if the like was reported a short while ago.
    fn say(&self, log: Log<'_>, kind: &'static str, what: &str) {
        let mut said = locked(&self.said);
        let now = Instant::now();
        let more = match said.get_mut(kind) {
            Some((last, more)) if now.duration_since(*last) < SAY => {
                *more += 1;
                return;
            }
            Some((_, more)) => *more,
            None => 0,
        };
        said.insert(kind, (now, 0));
        drop(said);
        if more == 0 {
            log(what)
        } else {
            log(&format!("{what} ({more} times more since this was last said)"))
        }
    }

    fn take(&self, socket: TcpStream, peer: SocketAddr, log: Log<'_>) {
        // Network trouble and refused engines are reported apart, so that neither drowns the other.
        let failed = |e: &Error| {
            let kind = match e.kind() {
                ErrorKind::Refused | ErrorKind::Limit | ErrorKind::Medium => "refused",
                _ => "connection",
            };
            self.say(log, kind, &format!("{peer}: {e}"));
        };
        let number = match socket.try_clone() {
            Ok(other) => locked(&self.places).enter(counted(peer.ip()), other),
            Err(e) => return self.say(log, "accept", &format!("connections cannot be taken: {e}")),
        };
        let admitted = self.handshake(socket);
        let Admitted { stream, engine } = match admitted {
            Ok(admitted) => admitted,
            Err(e) => {
                locked(&self.places).leave(number);
                return failed(&e);
            }
        };
        if !locked(&self.places).knows(number, &engine) {
            return failed(&Error::new(ErrorKind::Refused, "too many connections of engines"));
        }
        let served = self.serve(stream, &engine);
        locked(&self.places).goes(&engine);
        if let Err(e) = served {
            failed(&e);
        }
    }

    /// A handshake that one of the two sides broke off.
    fn broken_off(&self, e: &io::Error) -> Option<Error> {
        Some(match tls::broken_off(e)? {
            tls::BrokenOff::Here(why) => Error::new(ErrorKind::Refused, why),
            tls::BrokenOff::There => Error::new(
                ErrorKind::Io,
                format!(
                    "the other side broke the handshake off; an engine does if another key is \
                     pinned than that of this keyholder, {}",
                    self.dir.id()
                ),
            ),
        })
    }

    fn handshake(&self, socket: TcpStream) -> Result<Admitted> {
        let io = |e| Error::io("the connection", e);
        socket.set_nodelay(true).map_err(io)?;
        let failed = |e| Error::new(ErrorKind::Io, format!("the connection: {e}"));
        let mut connection = ServerConnection::new(Arc::clone(&self.config)).map_err(failed)?;
        let mut hurried = Hurried { socket: &socket, until: Instant::now() + HANDSHAKE };
        while connection.is_handshaking() {
            connection
                .complete_io(&mut hurried)
                .map_err(|e| self.broken_off(&e).unwrap_or_else(|| io(e)))?;
        }
        let engine =
            tls::peer(connection.peer_certificates(), connection.negotiated_key_exchange_group())?;
        let ready = socket
            .set_read_timeout(Some(IDLE))
            .and_then(|()| socket.set_write_timeout(Some(WRITE)));
        ready.map_err(io)?;
        Ok(Admitted { stream: StreamOwned::new(connection, socket), engine })
    }

    fn serve(
        &self,
        mut stream: StreamOwned<ServerConnection, TcpStream>,
        engine: &[u8; 32],
    ) -> Result<()> {
        let mask = Key::random(&*self.env)?;
        let mut greeting = Secret::copied_from(MAGIC);
        greeting.extend_from_slice(&self.holder.key());
        greeting.extend_from_slice(mask.bytes());
        send(&mut stream, &greeting)?;
        let mut number = 0;
        while let Some(message) = receive(&mut stream)? {
            let _wiped = WipeStack;
            let answer = match self.answer(&message, engine, &mask, number) {
                Ok(answer) => answer,
                Err(e) => Secret::copied_from(&encode_error(&e)),
            };
            number += 1;
            send(&mut stream, &answer)?;
        }
        Ok(())
    }

    fn answer(&self, message: &[u8], engine: &[u8; 32], mask: &Key, number: u64) -> Result<Secret> {
        let request = Request::decode(message, mask, number)?;
        let mut answer = Secret::with_capacity(4096);
        answer.extend_from_slice(&[0]);
        match request {
            Request::Claim(store, owner, mark) => {
                self.dir.claim(store, engine)?;
                self.holder.claim(store, &owner, mark)?;
            }
            Request::Deposit(store, owner, share) => {
                self.dir.claim(store, engine)?;
                self.holder.deposit(store, &owner, &share)?;
            }
            Request::Load(store, theirs) => {
                self.dir.has(store, engine)?;
                answer.extend_from_slice(&encode_held(&self.holder.load(store)?, &theirs, number));
            }
            Request::Retire(store, owner, keep, mark, given_up) => {
                self.dir.claim(store, engine)?;
                let statement = self.holder.retire(store, &owner, &keep, &given_up, mark)?;
                answer.extend_from_slice(&statement.at.0.to_be_bytes());
                answer.extend_from_slice(&statement.signature);
            }
        }
        Ok(answer)
    }
}
