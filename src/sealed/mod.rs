//! Sealed to a public key: what leaves for a place where the engine's keys are not, or comes from
//! one. No store is needed.
//!
//! ```text
//! sealed = "KFSEALED" ‖ 1 ‖ kind 1 ‖ length of what follows 2 ‖ for whom and what
//!          ‖ encapsulated key 1120
//!          ‖ one object of C2SP chunked-encryption (crypto/chunked.rs)
//! ```
//! HPKE's info is everything before the encapsulated key; the object's context is all of that and
//! the encapsulated key.

mod envelope;
mod identity;
pub(crate) mod outlet;
mod parcel;

use std::io::{self, Read, Write};
use std::sync::Arc;

use self::outlet::{Outlet, Part};
use crate::codec::Decoder;
use crate::crypto::{Fresh, Key, chunked, hedge, kem};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, SEALED_ABOUT_MAX, TAG_BYTES};
use crate::secret::Secret;

pub(crate) use envelope::{Address, read_put};
pub use envelope::{InboxKey, seal};
pub(crate) use identity::{Asked, Request};
pub use identity::{Identity, PublicKey, Ticket};
pub(crate) use parcel::Finished;
#[cfg(feature = "testing")]
pub(crate) use parcel::read_item;
pub use parcel::{Content, Guarded, Item, Live, Packing, Unpack, unpack};

const MAGIC: &[u8; 8] = b"KFSEALED";
const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"keyfall/sealed/v1";

/// The kinds of sealed objects, by their numbers in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A record for an inbox.
    Envelope = 1,
    /// Records for a grantee, or all of a user's for that user.
    Parcel = 2,
}

fn prefix(kind: Kind, about: &[u8]) -> Vec<u8> {
    let length = u16::try_from(about.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&MAGIC[..], &[VERSION, kind as u8], &length, about].concat()
}

fn info(prefix: &[u8]) -> Vec<u8> {
    [CONTEXT, prefix].concat()
}

/// What writes to a file or a socket failed with; what our own readers said is said again.
pub(crate) fn reading(what: &str, e: io::Error) -> Error {
    e.downcast::<Error>().unwrap_or_else(|e| Error::io(what, e))
}

/// Reads as much as there is, up to the buffer's length. Any reader: nothing is sealed here.
pub(crate) fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match reader.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// Writes what is sealed; nothing of it opens as whole before [`Sealing::finish`].
pub(crate) struct Sealing<W> {
    out: W,
    suite: chunked::Suite,
    /// The chunk in hand.
    held: Arc<Outlet>,
    /// What is in it, or in what is being written, and may fall.
    live: Vec<(u64, Live)>,
    chunk: u64,
    sealed: Vec<u8>,
    /// A chunk was cut short: nothing may follow it.
    broken: bool,
}

impl<W: Write> Sealing<W> {
    /// Begins with a fresh key for the holder of the private key of `to`.
    pub(crate) fn new(
        env: &dyn Env,
        kind: Kind,
        about: &[u8],
        to: &[u8],
        mut out: W,
    ) -> Result<Self> {
        let prefix = prefix(kind, about);
        let (sent, key) = kem::encapsulate(env, to, &info(&prefix))?;
        let head = [&prefix[..], &sent].concat();
        let salt = Fresh::new(env, hedge(&[&head])).salt()?;
        let suite = chunked::Suite::derive(&key, &salt, &info(&head));
        let io = |e| Error::io("writing what is sealed", e);
        out.write_all(&head).and_then(|()| out.write_all(suite.header())).map_err(io)?;
        let held = Outlet::new(CHUNK_BYTES);
        Ok(Sealing {
            out,
            suite,
            held,
            live: Vec::new(),
            chunk: 0,
            sealed: Vec::new(),
            broken: false,
        })
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(Error::new(
                ErrorKind::Io,
                "what was sealed before this was cut short; start again",
            )));
        }
        // A writer whose item is over by now learns it.
        for (_, live) in &self.live {
            let _ = live.check();
        }
        let Sealing { sealed, suite, chunk, held, .. } = self;
        sealed.clear();
        held.empty(|plain| suite.seal_chunk(*chunk, plain, sealed));
        *chunk += 1;
        self.broken = true;
        let mut at = 0;
        while at < self.sealed.len() {
            let mut going = self.live.iter().filter(|(number, _)| self.held.is_going(*number));
            going.try_for_each(|(_, live)| live.check())?;
            let fell = || {
                Error::new(
                    ErrorKind::Erased,
                    "a record fell while a piece of it was being written; start again",
                )
            };
            // A chunk that is out in part cannot be sealed again: its nonce was used.
            let lent = self.held.lend().ok_or_else(fell)?;
            let written = self.out.write(&self.sealed[at..]);
            drop(lent);
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => at += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.broken = false;
        self.live.retain(|(number, _)| self.held.is_going(*number));
        Ok(())
    }

    /// Takes bytes in, of an item or of what stands around items.
    pub(crate) fn push(&mut self, item: Option<(u64, Part)>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.held.push(item, bytes)..];
            self.push_out()?;
        }
        Ok(())
    }

    /// Writes the chunk in hand, if it is full.
    pub(crate) fn push_out(&mut self) -> io::Result<()> {
        if self.held.room() == 0 { self.put_chunk() } else { Ok(()) }
    }

    /// Writes the last chunk.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let done = self.put_chunk().and_then(|()| self.out.flush());
        done.map_err(|e| reading("writing what is sealed", e))
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(None, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is in the clear before something sealed.
pub(crate) struct Head {
    /// For whom and what.
    pub(crate) about: Vec<u8>,
    head: Vec<u8>,
    prefix: usize,
}

impl Head {
    /// Reads the clear part of an object of this kind.
    pub(crate) fn read(kind: Kind, reader: &mut impl Read) -> Result<Self> {
        let mut exactly = |n: usize| -> Result<Vec<u8>> {
            let mut bytes = vec![0; n];
            match fill(reader, &mut bytes).map_err(|e| reading("reading what is sealed", e))? {
                got if got == n => Ok(bytes),
                _ => Err(Error::corrupt("this is not sealed, or it was cut short")),
            }
        };
        let first = exactly(12)?;
        let what = match kind {
            Kind::Envelope => "envelope",
            Kind::Parcel => "parcel",
        };
        let mut d = Decoder::from_outside(&first, what);
        if d.bytes(8)? != MAGIC || d.u8()? != VERSION || d.u8()? != kind as u8 {
            return Err(d.bad());
        }
        let n = usize::from(d.u16()?);
        if n > SEALED_ABOUT_MAX {
            return Err(d.bad());
        }
        let about = exactly(n)?;
        let sent = exactly(kem::ENCAPSULATED_BYTES)?;
        let prefix = first.len() + n;
        Ok(Head { head: [&first[..], &about, &sent].concat(), about, prefix })
    }

    /// Names this one sealing among all.
    pub(crate) fn name(&self) -> [u8; 32] {
        hedge(&[&self.head])
    }

    /// Opens what follows the clear part.
    pub(crate) fn open<R: Read>(&self, secret: &Key, reader: R) -> Result<Opening<R>> {
        self.open_with(&self.key(secret)?, reader)
    }

    /// The key of what follows, and of nothing else.
    pub(crate) fn key(&self, secret: &Key) -> Result<Key> {
        let (prefix, sent) = self.head.split_at(self.prefix);
        kem::decapsulate(secret, sent, &info(prefix))
    }

    /// Opens what follows with its own key.
    pub(crate) fn open_with<R: Read>(&self, key: &Key, mut reader: R) -> Result<Opening<R>> {
        let mut header = [0; HEADER_BYTES];
        let n = fill(&mut reader, &mut header).map_err(|e| reading("reading what is sealed", e))?;
        let suite = chunked::Suite::from_header(key, &header[..n], &info(&self.head)).map_err(|_| {
            Error::corrupt("what was sealed does not open: its bytes have changed, or it is for another key")
        })?;
        let (sealed, plain) = (vec![0; CHUNK_BYTES + TAG_BYTES], Secret::zeroed(CHUNK_BYTES));
        Ok(Opening { reader, suite, sealed, plain, chunk: 0, at: 0, filled: 0, ended: false })
    }
}

/// Whether a private key opens an envelope.
#[cfg(feature = "testing")]
pub(crate) fn opens(secret: &Key, envelope: &[u8]) -> bool {
    let mut rest = envelope;
    Head::read(Kind::Envelope, &mut rest).and_then(|head| head.open(secret, rest)).is_ok()
}

/// Reads what was sealed. Its end is its end only if no error came before.
pub(crate) struct Opening<R> {
    reader: R,
    suite: chunked::Suite,
    sealed: Vec<u8>,
    plain: Secret,
    chunk: u64,
    at: usize,
    filled: usize,
    ended: bool,
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.filled && !self.ended {
            let n = fill(&mut self.reader, &mut self.sealed)?;
            // Full chunks go on; the last is shorter, and nothing follows it.
            self.ended = n < self.sealed.len();
            self.filled = self
                .suite
                .open_chunk(self.chunk, &self.sealed[..n], &mut self.plain)
                .map_err(|_| {
                    io::Error::other(Error::corrupt("what was sealed was changed, or cut short"))
                })?;
            self.chunk += 1;
            self.at = 0;
        }
        let n = out.len().min(self.filled - self.at);
        out[..n].copy_from_slice(&self.plain[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
