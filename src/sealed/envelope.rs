//! Envelopes: a record, sealed to a user's inbox by a sender that has only the public key. Copies
//! of it in queues, logs and spools open as long as the inbox key lives, and no longer.
//!
//! ```text
//! for whom = store id 16 ‖ user tag 12 ‖ incarnation 2 ‖ number of the inbox key 8
//! content  = length of the metadata 4 ‖ metadata ‖ payload
//! metadata = 1 ‖ user ‖ class ‖ interaction 16 ‖ created 8 ‖ media type ‖ purpose ‖ sources 2
//!            ‖ (record id 40)*
//! ```

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

use super::{Kind, Sealing, fill, reading};
use crate::codec::{Decoder, Encoder};
use crate::crypto::kem::PUBLIC_BYTES;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::ids::{Class, InteractionId, RecordId, StoreId, Timestamp, UserId, UserTag};
use crate::limits::{
    CHUNK_BYTES, CLASS_MAX_BYTES, ENVELOPE_SOURCES_MAX, MEDIA_TYPE_MAX_BYTES, PURPOSE_MAX_BYTES,
    USER_MAX_BYTES,
};
use crate::record::{self, Put, Source};
use crate::secret::{Secret, WipeStack};

const VERSION: u8 = 1;
const PREFIX: &str = "keyfall-inbox-1:";
const METADATA_MAX: usize = 64
    + USER_MAX_BYTES
    + CLASS_MAX_BYTES
    + MEDIA_TYPE_MAX_BYTES
    + PURPOSE_MAX_BYTES
    + ENVELOPE_SOURCES_MAX * 40;

/// For which inbox key an envelope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) store: StoreId,
    pub(crate) user: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) number: u64,
}

impl Address {
    const BYTES: usize = 16 + 12 + 2 + 8;

    fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(Self::BYTES);
        e.bytes(&self.store.0).bytes(&self.user.0).u16(self.incarnation).u64(self.number);
        e.finish().to_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::from_outside(bytes, "address of an envelope");
        let address = Address {
            store: StoreId(d.array()?),
            user: UserTag(d.array()?),
            incarnation: d.u16()?,
            number: d.u64()?,
        };
        d.end()?;
        Ok(address)
    }
}

/// The public key of a user's inbox, to be given to producers. As text it is one line.
///
/// It names the store and a pseudonym of the user; treat it as personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxKey {
    pub(crate) address: Address,
    pub(crate) key: Vec<u8>,
}

impl fmt::Debug for InboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InboxKey({:016x})", self.address.number)
    }
}

impl fmt::Display for InboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.address.encode()[..], &self.key].concat();
        write!(f, "{PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for InboxKey {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        let bad = || Error::invalid("not the public key of an inbox; `Inbox::key` gives it");
        let text = s.trim().strip_prefix(PREFIX).ok_or_else(bad)?;
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| bad())?;
        if bytes.len() != Address::BYTES + PUBLIC_BYTES {
            return Err(bad());
        }
        let (address, key) = bytes.split_at(Address::BYTES);
        Ok(InboxKey { address: Address::decode(address).map_err(|_| bad())?, key: key.to_vec() })
    }
}

/// Seals a record to an inbox, and returns the length of its payload. Memory: one chunk of 16 KiB,
/// whatever the length. The user of `put` must be the inbox's; its sources are records that the
/// store gave ids to.
///
/// # Errors
/// `Invalid` for bad metadata, or more than 256 sources; `Io` for what reading and writing say.
pub fn seal(
    put: &Put,
    mut payload: impl Read,
    to: &InboxKey,
    env: &dyn Env,
    out: impl Write,
) -> Result<u64> {
    let _wiped = WipeStack;
    record::check_media_type(&put.media_type)?;
    record::check_purpose(&put.purpose)?;
    let now = env.now();
    let interaction = match put.interaction {
        Some(id) => id,
        None => {
            let mut random = [0; 10];
            env.fill(&mut random)?;
            InteractionId::from_parts(now, random)
        }
    };
    let mut e = Encoder::new(METADATA_MAX);
    e.u8(VERSION).text(put.user.as_str()).text(put.class.as_str()).bytes(&interaction.0);
    e.u64(put.created.unwrap_or(now).0).text(&put.media_type).text(&put.purpose);
    if put.sources.len() > ENVELOPE_SOURCES_MAX {
        return Err(Error::invalid(format!(
            "an envelope names at most {ENVELOPE_SOURCES_MAX} sources"
        )));
    }
    e.count(put.sources.len());
    for source in &put.sources {
        match source {
            Source::Record(id) => e.bytes(&id.to_bytes()),
            Source::Added(_) => {
                return Err(Error::invalid(
                    "an envelope is not a batch: name its sources by their ids",
                ));
            }
        };
    }
    let metadata = e.finish();
    let mut sealing = Sealing::new(env, Kind::Envelope, &to.address.encode(), &to.key, out)?;
    let writing = |e| Error::io("writing an envelope", e);
    sealing.write_all(&(metadata.len() as u32).to_be_bytes()).map_err(writing)?;
    sealing.write_all(&metadata).map_err(writing)?;
    let (mut buffer, mut length) = (Secret::zeroed(CHUNK_BYTES), 0);
    loop {
        match fill(&mut payload, &mut buffer)
            .map_err(|e| reading("reading what is to be sealed", e))?
        {
            0 => break,
            n => {
                sealing.write_all(&buffer[..n]).map_err(writing)?;
                length += n as u64;
            }
        }
    }
    sealing.finish()?;
    Ok(length)
}

/// Reads the metadata of an envelope; what is left of `reader` is the payload.
pub(crate) fn read_put(reader: &mut impl Read) -> Result<Put> {
    let mut exactly = |n: usize| -> Result<Secret> {
        let mut bytes = Secret::zeroed(n);
        match fill(reader, &mut bytes).map_err(|e| reading("reading an envelope", e))? {
            got if got == n => Ok(bytes),
            _ => Err(Decoder::from_outside(&[], "envelope").bad()),
        }
    };
    let mut length = [0; 4];
    length.copy_from_slice(&exactly(4)?);
    let length = u32::from_be_bytes(length) as usize;
    if length > METADATA_MAX {
        return Err(Decoder::from_outside(&[], "envelope").bad());
    }
    let metadata = exactly(length)?;
    let mut d = Decoder::from_outside(&metadata, "envelope");
    if d.u8()? != VERSION {
        return Err(d.bad());
    }
    let user = UserId::new(d.text(USER_MAX_BYTES)?)?;
    let class = Class::new(d.text(CLASS_MAX_BYTES)?)?;
    let interaction = InteractionId::from_bytes(d.array()?)?;
    let created = Timestamp(d.u64()?);
    let mut put = Put::new(user, class).interaction(interaction).created(created);
    put = put.media_type(d.text(MEDIA_TYPE_MAX_BYTES)?).purpose(d.text(PURPOSE_MAX_BYTES)?);
    for _ in 0..d.u16()? {
        put = put.derived_from(RecordId::from_bytes(&d.array()?)?);
    }
    d.end()?;
    Ok(put)
}
