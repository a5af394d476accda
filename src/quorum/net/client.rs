//! A keyholder at the other end of a connection.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::engine_key::EngineKey;
use super::wire::{MAGIC, Request, decode_held, mask_of, opened, receive, send};
use super::{EngineId, KeyholderId, tls};
use crate::cell::Owner;
use crate::codec::Decoder;
use crate::crypto::Key;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{StoreId, Timestamp};
use crate::promise::{RootId, Statement};
use crate::quorum::{Held, Keyholder, Share};
use crate::secret::Secret;
use crate::sync::{Mutex, locked};

const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(4);

struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Mask that the keyholder drew for this connection.
    mask: Key,
    requests: u64,
}

/// A keyholder elsewhere. Keeps one connection, and makes a new one if that broke.
pub struct RemoteKeyholder {
    id: KeyholderId,
    address: String,
    engine: EngineId,
    config: Arc<ClientConfig>,
    env: SharedEnv,
    connection: Mutex<Option<Connection>>,
}

impl std::fmt::Debug for RemoteKeyholder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteKeyholder({})", self.address)
    }
}

impl RemoteKeyholder {
    /// The keyholder with this key, at `HOST:PORT`. Nothing is sent yet.
    ///
    /// # Errors
    /// `Io` if the channel cannot be set up.
    pub fn new(id: KeyholderId, address: &str, engine: &EngineKey, env: SharedEnv) -> Result<Self> {
        let config = tls::client(engine.seed(), engine.id().0, id.channel)?;
        let (address, engine) = (address.to_owned(), engine.id());
        Ok(RemoteKeyholder { id, address, engine, config, env, connection: Mutex::default() })
    }

    /// Whether the keyholder with this key is there.
    ///
    /// # Errors
    /// `Io` if it cannot be reached; `Refused` if it does not know this engine, or another is
    /// there.
    pub(super) fn greet(&self) -> Result<()> {
        self.connect().map(drop)
    }

    /// What has the keyholder know this engine.
    fn to_allow(&self) -> String {
        format!("`keyfall keyholder allow DIR {}`", self.engine)
    }

    /// A handshake that one of the two sides broke off.
    fn broken_off(&self, e: &Error, proved: bool) -> Option<Error> {
        let text = match tls::broken_off(e)? {
            tls::BrokenOff::There if proved => {
                format!(
                    "the keyholder {} does not know this engine; run there {}",
                    self.address,
                    self.to_allow()
                )
            }
            tls::BrokenOff::There => format!(
                "the keyholder {} cannot be reached: what answers there breaks the handshake off \
                 before it shows its key, so it is not a keyholder; check the address",
                self.address
            ),
            tls::BrokenOff::Here(why) => format!(
                "the keyholder {} is another than was pinned: {why}; check its key and its address \
                 (`keyfall keyholder move` changes the address)",
                self.address
            ),
        };
        Some(Error::new(ErrorKind::Refused, text))
    }

    fn connect(&self) -> Result<Connection> {
        let away = |e: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Io,
                format!("the keyholder {} cannot be reached: {e}", self.address),
            )
        };
        let address = self.address.to_socket_addrs().map_err(|e| away(&e))?.next();
        let address = address.ok_or_else(|| away(&"its name has no address"))?;
        let socket = TcpStream::connect_timeout(&address, CONNECT).map_err(|e| away(&e))?;
        let ready = socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(ANSWER)));
        ready.and_then(|()| socket.set_write_timeout(Some(ANSWER))).map_err(|e| away(&e))?;
        let name = ServerName::try_from("keyholder.invalid").map_err(|e| away(&e))?;
        let connection =
            ClientConnection::new(Arc::clone(&self.config), name).map_err(|e| away(&e))?;
        let mut stream = StreamOwned::new(connection, socket);
        let received = receive(&mut stream);
        // On this side it is done once the other one has proved that it has the pinned key.
        let proved = !stream.conn.is_handshaking();
        let mut greeting = match received {
            Ok(Some(greeting)) => greeting,
            Ok(None) if proved => {
                let text = format!(
                    "it hung up: it has too many connections, or does not know this engine; then \
                     run there {}",
                    self.to_allow()
                );
                return Err(away(&text));
            }
            Ok(None) => return Err(away(&"it hung up in the middle of the handshake")),
            Err(e) => return Err(self.broken_off(&e, proved).unwrap_or_else(|| away(&e))),
        };
        let peer = tls::peer(
            stream.conn.peer_certificates(),
            stream.conn.negotiated_key_exchange_group(),
        )?;
        let mut d = Decoder::from_outside(&greeting, "greeting of a keyholder");
        let same = d.bytes(8)? == MAGIC
            && peer == self.id.channel
            && d.array::<32>()? == self.id.statements;
        if !same || greeting.len() != 72 {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("the keyholder {} is another than was pinned", self.address),
            ));
        }
        let mask = mask_of(&mut greeting[40..]).ok_or_else(|| away(&"its greeting is short"))?;
        Ok(Connection { stream, mask, requests: 0 })
    }

    fn attempt<T>(
        &self,
        connection: &mut Connection,
        request: &Request,
        read: &dyn Fn(&[u8], u64) -> Result<T>,
    ) -> Result<T> {
        let number = connection.requests;
        connection.requests += 1;
        send(&mut connection.stream, &request.encode(&connection.mask, number))?;
        let answer: Secret = receive(&mut connection.stream)?.ok_or_else(|| {
            Error::new(ErrorKind::Io, format!("the keyholder {} hung up", self.address))
        })?;
        read(opened(&answer, &self.address)?, number)
    }

    fn call<T>(&self, request: &Request, read: &dyn Fn(&[u8], u64) -> Result<T>) -> Result<T> {
        let mut slot = locked(&self.connection);
        if let Some(mut connection) = slot.take() {
            match self.attempt(&mut connection, request, read) {
                // It may have been restarted since: every verb may be said twice.
                Err(e) if e.kind() == ErrorKind::Io => {}
                done => {
                    *slot = Some(connection);
                    return done;
                }
            }
        }
        let mut connection = self.connect()?;
        let done = self.attempt(&mut connection, request, read);
        if !matches!(&done, Err(e) if e.kind() == ErrorKind::Io) {
            *slot = Some(connection);
        }
        done
    }
}

impl Keyholder for RemoteKeyholder {
    fn place(&self) -> String {
        self.address.clone()
    }

    fn key(&self) -> [u8; 32] {
        self.id.statements
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.call(&Request::Claim(store, *owner, mark), &|_, _| Ok(()))
    }

    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> Result<()> {
        self.call(&Request::Deposit(store, *owner, Box::new(share.duplicate())), &|_, _| Ok(()))
    }

    fn load(&self, store: StoreId) -> Result<Held> {
        let mask = Key::random(&*self.env)?;
        self.call(&Request::Load(store, mask.duplicate()), &|answer, number| {
            decode_held(answer, &mask, number)
        })
    }

    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given_up: &[RootId],
        mark: u64,
    ) -> Result<Statement> {
        self.call(&Request::Retire(store, *owner, *keep, mark, given_up.to_vec()), &|answer, _| {
            let mut d = Decoder::from_outside(answer, "statement of a keyholder");
            let (at, signature) = (Timestamp(d.u64()?), d.array()?);
            d.end()?;
            Ok(Statement {
                store: store.0,
                keep: *keep,
                at,
                keyholder: self.id.statements,
                signature,
            })
        })
    }
}
