//! What goes over the channel. Each message follows its length in four bytes.
//!
//! ```text
//! greeting = "KFHOLD02" ‖ key of the keyholder's statements 32 ‖ mask 32
//! request  = 1 deposit ‖ store 16 ‖ owner ‖ share   |  2 load ‖ store 16 ‖ mask 32
//!          | 3 retire ‖ store 16 ‖ owner ‖ root ‖ mark 8 ‖ count 1 ‖ root*
//!          | 4 claim ‖ store 16 ‖ owner ‖ mark 8
//! answer   = 0 ‖ (nothing
//!                 | committed 8 ‖ mark 8 ‖ owners 1 ‖ owner* ‖ count 1 ‖ share*
//!                 | time 8 ‖ signature 64)
//!          | 1 ‖ kind 1 ‖ text
//! owner    = instance 16 ‖ claim 8 ‖ token 16        of an answer: none or one
//! root     = epoch 8 ‖ attempt 16   what to keep, and candidates that were given up
//! share    = epoch 8 ‖ attempt 16 ‖ x 1 ‖ masked value 32 ‖ commitment 32
//!            ‖ root of the commitments to shares 32 ‖ path 5 * 32
//! ```
//! A share's value is XORed with PRF(mask, "keyfall/share-mask/v1", number 8 ‖ place 4), the mask
//! drawn by the receiver and kept in wiped memory: buffers of the channel, which are not wiped,
//! hold no share. *Number* counts the requests of a connection, *place* the shares of an answer.

use std::io::{Read, Write};

use zeroize::Zeroize;

use crate::cell::Owner;
use crate::codec::{Decoder, Encoder};
use crate::crypto::{Key, share_mask};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::RootId;
use crate::quorum::shares::PATH;
use crate::quorum::{Held, Share};
use crate::secret::Secret;

pub(super) const MAGIC: &[u8; 8] = b"KFHOLD02";
/// Most bytes of a message.
const MESSAGE_MAX: usize = 4096;
/// Most candidates that one retirement gives up; the others wait for the next.
const GIVEN_UP: usize = 64;
const SHARE: usize = 8 + 16 + 1 + 32 + 32 + 32 + 32 * PATH;
const OWNER: usize = 16 + 8 + 16;

/// A request of an engine to a keyholder.
#[derive(Debug)]
pub(super) enum Request {
    Claim(StoreId, Owner, u64),
    Deposit(StoreId, Owner, Box<Share>),
    Load(StoreId, Key),
    /// What to keep, the mark, and what was given up.
    Retire(StoreId, Owner, RootId, u64, Vec<RootId>),
}

fn masked(value: &Key, mask: &Key, number: u64, place: u32) -> Secret {
    let pad = share_mask(mask, number, place);
    let mut out = Secret::copied_from(value.bytes());
    out.iter_mut().zip(pad.bytes()).for_each(|(byte, pad)| *byte ^= pad);
    out
}

fn write_share(e: &mut Encoder, share: &Share, mask: &Key, number: u64, place: u32) {
    e.u64(share.id.epoch).bytes(&share.id.attempt).u8(share.x);
    e.bytes(&masked(&share.value, mask, number, place)).bytes(&share.commitment).bytes(&share.root);
    for hash in &share.path {
        e.bytes(hash);
    }
}

fn write_owner(e: &mut Encoder, owner: &Owner) {
    e.bytes(&owner.instance).u64(owner.claim).bytes(&owner.token);
}

fn read_owner(d: &mut Decoder<'_>) -> Result<Owner> {
    Ok(Owner { instance: d.array()?, claim: d.u64()?, token: d.array()? })
}

fn read_share(d: &mut Decoder<'_>, mask: &Key, number: u64, place: u32) -> Result<Share> {
    let id = read_root(d)?;
    let x = d.u8()?;
    let value: &[u8; 32] = d.bytes(32)?.try_into().map_err(|_| d.bad())?;
    let value = masked(&Key::copied_from(value), mask, number, place);
    let value = value.first_chunk().map(Key::copied_from).ok_or_else(|| d.bad())?;
    let (commitment, root) = (d.array()?, d.array()?);
    let mut path = [[0; 32]; PATH];
    for hash in &mut path {
        *hash = d.array()?;
    }
    Ok(Share { id, x, value, commitment, root, path })
}

fn read_root(d: &mut Decoder<'_>) -> Result<RootId> {
    Ok(RootId { epoch: d.u64()?, attempt: d.array()? })
}

impl Request {
    /// `mask` is the keyholder's.
    pub(super) fn encode(&self, mask: &Key, number: u64) -> Secret {
        let mut e = Encoder::new(1 + 16 + OWNER + 24 + 8 + 1 + GIVEN_UP * 24);
        match self {
            Request::Claim(store, owner, mark) => {
                e.u8(4).bytes(&store.0);
                write_owner(&mut e, owner);
                e.u64(*mark);
            }
            Request::Deposit(store, owner, share) => {
                e.u8(1).bytes(&store.0);
                write_owner(&mut e, owner);
                write_share(&mut e, share, mask, number, 0);
            }
            Request::Load(store, own) => {
                e.u8(2).bytes(&store.0).bytes(own.bytes());
            }
            Request::Retire(store, owner, keep, mark, given_up) => {
                e.u8(3).bytes(&store.0);
                write_owner(&mut e, owner);
                e.u64(keep.epoch)
                    .bytes(&keep.attempt)
                    .u64(*mark)
                    .u8(given_up.len().min(GIVEN_UP) as u8);
                for id in given_up.iter().take(GIVEN_UP) {
                    e.u64(id.epoch).bytes(&id.attempt);
                }
            }
        }
        e.finish()
    }

    pub(super) fn decode(bytes: &[u8], mask: &Key, number: u64) -> Result<Self> {
        let mut d = Decoder::from_outside(bytes, "request to a keyholder");
        let (verb, store) = (d.u8()?, StoreId(d.array()?));
        let request = match verb {
            1 => Request::Deposit(
                store,
                read_owner(&mut d)?,
                Box::new(read_share(&mut d, mask, number, 0)?),
            ),
            2 => Request::Load(
                store,
                d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?,
            ),
            3 => {
                let (owner, keep, mark) = (read_owner(&mut d)?, read_root(&mut d)?, d.u64()?);
                let given_up = (0..d.u8()?).map(|_| read_root(&mut d)).collect::<Result<_>>()?;
                Request::Retire(store, owner, keep, mark, given_up)
            }
            4 => Request::Claim(store, read_owner(&mut d)?, d.u64()?),
            _ => return Err(d.bad()),
        };
        d.end()?;
        Ok(request)
    }
}

/// What a load is answered with.
pub(super) fn encode_held(held: &Held, mask: &Key, number: u64) -> Secret {
    let mut e = Encoder::new(18 + OWNER + held.shares.len() * SHARE);
    e.u64(held.committed).u64(held.mark).u8(u8::from(held.owner.is_some()));
    if let Some(owner) = &held.owner {
        write_owner(&mut e, owner);
    }
    e.u8(held.shares.len() as u8);
    for (place, share) in (0..).zip(&held.shares) {
        write_share(&mut e, share, mask, number, place);
    }
    e.finish()
}

pub(super) fn decode_held(bytes: &[u8], mask: &Key, number: u64) -> Result<Held> {
    let mut d = Decoder::from_outside(bytes, "answer of a keyholder");
    let (committed, mark) = (d.u64()?, d.u64()?);
    let owner = match d.u8()? {
        0 => None,
        1 => Some(read_owner(&mut d)?),
        _ => return Err(d.bad()),
    };
    let shares = (0..u32::from(d.u8()?)).map(|place| read_share(&mut d, mask, number, place));
    let held = Held { shares: shares.collect::<Result<_>>()?, committed, owner, mark };
    d.end()?;
    Ok(held)
}

/// Kinds of errors that cross the channel.
const KINDS: [ErrorKind; 7] = [
    ErrorKind::Io,
    ErrorKind::Refused,
    ErrorKind::Corrupt,
    ErrorKind::Full,
    ErrorKind::Invalid,
    ErrorKind::Absent,
    ErrorKind::Fenced,
];

pub(super) fn encode_error(e: &Error) -> Vec<u8> {
    // Kinds that are younger than the channel cross it as what they were.
    let sent = match e.kind() {
        ErrorKind::Mismatch | ErrorKind::Limit | ErrorKind::Medium => ErrorKind::Refused,
        kind => kind,
    };
    let kind = KINDS.iter().position(|kind| *kind == sent).unwrap_or(0) as u8;
    let text = e.to_string();
    // A character that is cut is shown as one that is not known.
    [&[1, kind][..], &text.as_bytes()[..text.len().min(1000)]].concat()
}

/// What an answer carries, or the error that it is.
pub(super) fn opened<'a>(answer: &'a [u8], place: &str) -> Result<&'a [u8]> {
    match answer {
        [0, rest @ ..] => Ok(rest),
        [1, kind, text @ ..] => {
            let kind = KINDS.get(usize::from(*kind)).copied().unwrap_or(ErrorKind::Io);
            // The far side's words go to a terminal, maybe.
            let text: String =
                String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
            Err(Error::new(kind, text).context(format!("the keyholder {place}")))
        }
        _ => {
            Err(Error::new(ErrorKind::Io, format!("the keyholder {place} answers something else")))
        }
    }
}

fn lost(e: std::io::Error) -> Error {
    use std::io::ErrorKind as K;
    // What a socket says whose time is over.
    if matches!(e.kind(), K::WouldBlock | K::TimedOut) {
        return Error::new(ErrorKind::Io, "the channel: no answer in time").with_source(e);
    }
    Error::io("the channel", e)
}

/// Sends a message after its length.
pub(super) fn send(channel: &mut dyn Write, message: &[u8]) -> Result<()> {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut whole = Secret::copied_from(&len);
    whole.extend_from_slice(message);
    channel.write_all(&whole).and_then(|()| channel.flush()).map_err(lost)
}

/// Receives one; `None` if the other side ended in between.
pub(super) fn receive(channel: &mut dyn Read) -> Result<Option<Secret>> {
    let mut len = [0; 4];
    match channel.read_exact(&mut len) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(lost(e)),
    }
    let len = u32::from_be_bytes(len) as usize;
    if len > MESSAGE_MAX {
        return Err(Error::new(
            ErrorKind::Io,
            "the channel: a message is longer than any there is",
        ));
    }
    let mut message = Secret::zeroed(len);
    channel.read_exact(&mut message).map_err(lost)?;
    Ok(Some(message))
}

/// Whether bytes are a request, or an answer to a load: for fuzzing. What decodes encodes to
/// itself.
#[cfg(feature = "testing")]
pub(crate) fn well_formed(bytes: &[u8]) -> bool {
    let mask = Key::copied_from(&[7; 32]);
    let request = Request::decode(bytes, &mask, 3);
    if let Ok(request) = &request {
        // More are given up than one message names only if nobody here wrote it.
        let few = !matches!(request, Request::Retire(.., given_up) if given_up.len() > GIVEN_UP);
        assert!(
            !few || request.encode(&mask, 3)[..] == *bytes,
            "a request encodes to what it was decoded from"
        );
    }
    let held = decode_held(bytes, &mask, 3);
    if let Ok(held) = &held {
        assert_eq!(
            encode_held(held, &mask, 3)[..],
            *bytes,
            "an answer encodes to what it was decoded from"
        );
    }
    request.is_ok() || held.is_ok()
}

/// Wipes what a mask came in.
pub(super) fn mask_of(bytes: &mut [u8]) -> Option<Key> {
    let key = bytes.first_chunk().map(Key::copied_from);
    bytes.zeroize();
    key
}
