//! A keyholder's server: one thread for each connection, one request at a time.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::KeyholderDir;
use super::tls;
use super::wire::{MAGIC, Request, encode_error, encode_held, receive, send};
use crate::cell::Owner;
use crate::crypto::Key;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::quorum::{Holder, Keyholder};
use crate::secret::{Secret, WipeStack};

/// Until the cell has claimed.
const NOBODY: Owner = Owner { instance: [0; 16], claim: 0, token: [0; 16] };

/// Connections at a time: engines keep one each.
const CONNECTIONS: usize = 256;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(600);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A keyholder, listening.
pub struct Server {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    holder: Arc<Holder>,
    dir: Arc<KeyholderDir>,
    env: SharedEnv,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({:?})", self.listener.local_addr().ok())
    }
}

impl Server {
    /// Listens at `HOST:PORT` for a keyholder's directory.
    ///
    /// # Errors
    /// `Io` where nothing can listen there.
    pub fn bind(dir: KeyholderDir, listen: &str, env: SharedEnv) -> Result<Self> {
        let listener = TcpListener::bind(listen).map_err(|e| Error::io(format!("listening on {listen}"), e))?;
        let dir = Arc::new(dir);
        let known = Arc::clone(&dir);
        let config = tls::server(dir.channel_seed(), dir.id().channel, move |key| known.allows(key))?;
        Ok(Server { listener, config, holder: Arc::new(dir.holder(&env)), dir, env })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// `Io`.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|e| Error::io("the listener", e))
    }

    /// Serves for ever; `log` hears of connections that failed, in one line, without anything secret.
    pub fn run(&self, log: &(dyn Fn(&str) + Send + Sync)) {
        let open = AtomicUsize::new(0);
        thread::scope(|scope| {
            for socket in self.listener.incoming() {
                let Ok(socket) = socket else { continue };
                if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                    open.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let open = &open;
                scope.spawn(move || {
                    let peer = socket.peer_addr().map_or_else(|_| "somebody".to_owned(), |peer| peer.to_string());
                    if let Err(e) = self.serve(socket) {
                        log(&format!("{peer}: {e}"));
                    }
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }

    fn serve(&self, socket: TcpStream) -> Result<()> {
        let io = |e| Error::io("the connection", e);
        socket.set_nodelay(true).map_err(io)?;
        socket
            .set_read_timeout(Some(HANDSHAKE))
            .and_then(|()| socket.set_write_timeout(Some(HANDSHAKE)))
            .map_err(io)?;
        let failed = |e| Error::new(ErrorKind::Io, format!("the connection: {e}"));
        let connection = ServerConnection::new(Arc::clone(&self.config)).map_err(failed)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(io)?;
        }
        let engine = tls::peer(stream.conn.peer_certificates(), stream.conn.negotiated_key_exchange_group())?;
        stream.sock.set_read_timeout(Some(IDLE)).map_err(io)?;
        let mask = Key::random(&*self.env)?;
        let mut greeting = Secret::copied_from(MAGIC);
        greeting.extend_from_slice(&self.holder.key());
        greeting.extend_from_slice(mask.bytes());
        send(&mut stream, &greeting)?;
        let mut number = 0;
        while let Some(message) = receive(&mut stream)? {
            let _wiped = WipeStack;
            let answer = match self.answer(&message, &engine, &mask, number) {
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
        let (Request::Deposit(store, _) | Request::Load(store, _) | Request::Retire(store, ..)) = &request;
        self.dir.check_owner(*store, engine)?;
        let mut answer = Secret::with_capacity(4096);
        answer.extend_from_slice(&[0]);
        match request {
            Request::Deposit(store, share) => {
                self.dir.claim(store, engine)?;
                self.holder.deposit(store, &NOBODY, &share)?;
            }
            Request::Load(store, theirs) => {
                answer.extend_from_slice(&encode_held(&self.holder.load(store)?, &theirs, number));
            }
            Request::Retire(store, keep, given_up) => {
                self.dir.claim(store, engine)?;
                let statement = self.holder.retire(store, &NOBODY, &keep, &given_up, 0)?;
                answer.extend_from_slice(&statement.at.0.to_be_bytes());
                answer.extend_from_slice(&statement.signature);
            }
        }
        Ok(answer)
    }
}
