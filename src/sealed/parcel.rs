//! Parcels: many records, and files beside them, in one stream that is sealed.
//!
//! ```text
//! content = item* ‖ 0
//! item    = 1 ‖ length 4 ‖ record id 40 ‖ user ‖ class ‖ created 8 ‖ media type ‖ purpose ‖ block*
//!           2 ‖ length 4 ‖ name ‖ block*
//! block   = length 4 ‖ bytes; of length 0: the item is whole; of length 2^32-1: it fell while it was being read
//! ```

use std::io::{Read, Write};

use super::{Head, Kind, Sealing, fill, reading};
use crate::codec::{Decoder, Encoder};
use crate::crypto::Key;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, RecordId, Timestamp, UserId};
use crate::limits::{CHUNK_BYTES, CLASS_MAX_BYTES, MEDIA_TYPE_MAX_BYTES, PURPOSE_MAX_BYTES, USER_MAX_BYTES};
use crate::record::RecordInfo;
use crate::secret::{Secret, WipeStack};

const END: u8 = 0;
const RECORD: u8 = 1;
const FILE: u8 = 2;
const FELL: u32 = u32::MAX;
const NAME_MAX: usize = 255;
const ABOUT_MAX: usize = 64 + USER_MAX_BYTES + CLASS_MAX_BYTES + MEDIA_TYPE_MAX_BYTES + PURPOSE_MAX_BYTES;

/// What a parcel holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A record.
    Record {
        /// Its id.
        id: RecordId,
        /// Whose it is.
        user: UserId,
        /// Its class.
        class: Class,
        /// When it was made.
        created: Timestamp,
        /// Its media type.
        media_type: String,
        /// Why it was kept.
        purpose: String,
    },
    /// A file beside the records.
    File(String),
}

/// Takes what a parcel holds.
pub trait Unpack {
    /// Begins an item; its content is written to what is returned.
    ///
    /// # Errors
    /// Ends the unpacking.
    fn begin(&mut self, item: &Item) -> Result<Box<dyn Write + '_>>;

    /// Ends an item; where it fell while it was being read, what was written of it must be dropped.
    ///
    /// # Errors
    /// Ends the unpacking.
    fn end(&mut self, item: &Item, fell: bool) -> Result<()>;
}

/// A parcel, being written.
pub struct Packing<W: Write>(Sealing<W>);

impl<W: Write> std::fmt::Debug for Packing<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packing(..)")
    }
}

fn writing(e: std::io::Error) -> Error {
    Error::io("writing a parcel", e)
}

impl<W: Write> Packing<W> {
    /// Begins a parcel for the holder of an identity.
    ///
    /// # Errors
    /// `Io`.
    pub fn new(env: &dyn Env, to: &super::PublicKey, out: W) -> Result<Self> {
        Self::to_key(env, &to.sealing, out)
    }

    pub(crate) fn to_key(env: &dyn Env, to: &[u8], out: W) -> Result<Self> {
        let _wiped = WipeStack;
        Ok(Packing(Sealing::new(env, Kind::Parcel, &[], to, out)?))
    }

    /// Adds a record with its content, and returns its length; `None` where it was erased while it was being read.
    ///
    /// # Errors
    /// What reading and writing say.
    pub fn record(&mut self, info: &RecordInfo, content: impl Read) -> Result<Option<u64>> {
        let mut e = Encoder::new(ABOUT_MAX);
        e.bytes(&info.id.to_bytes()).text(info.user.as_str()).text(info.class.as_str());
        e.u64(info.created.0).text(&info.media_type).text(&info.purpose);
        self.item(RECORD, &e.finish(), content)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// As [`Packing::record`].
    pub fn file(&mut self, name: &str, content: impl Read) -> Result<Option<u64>> {
        let mut e = Encoder::new(NAME_MAX + 2);
        e.text(name);
        self.item(FILE, &e.finish(), content)
    }

    fn item(&mut self, kind: u8, about: &[u8], mut content: impl Read) -> Result<Option<u64>> {
        let _wiped = WipeStack;
        // Piece by piece: what is joined in ordinary memory stays there.
        for piece in [&[kind][..], &(about.len() as u32).to_be_bytes(), about] {
            self.0.write_all(piece).map_err(writing)?;
        }
        let (mut buffer, mut length) = (Secret::zeroed(CHUNK_BYTES), 0);
        loop {
            let n = match fill(&mut content, &mut buffer).map_err(|e| reading("reading a record", e)) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Erased => {
                    self.0.write_all(&FELL.to_be_bytes()).map_err(writing)?;
                    return Ok(None);
                }
                Err(e) => return Err(e),
            };
            self.0.write_all(&(n as u32).to_be_bytes()).map_err(writing)?;
            if n == 0 {
                return Ok(Some(length));
            }
            self.0.write_all(&buffer[..n]).map_err(writing)?;
            length += n as u64;
        }
    }

    /// Ends the parcel: without this it does not open whole.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(mut self) -> Result<W> {
        self.0.write_all(&[END]).map_err(writing)?;
        self.0.finish()
    }
}

fn bad() -> Error {
    Error::corrupt("this parcel was changed, or cut short")
}

fn exactly(reader: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    let n = bytes.len();
    if fill(reader, bytes).map_err(|e| reading("reading a parcel", e))? == n { Ok(()) } else { Err(bad()) }
}

fn number(reader: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    exactly(reader, &mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

pub(crate) fn read_item(kind: u8, about: &[u8]) -> Result<Item> {
    let mut d = Decoder::new(about, "parcel");
    let item = match kind {
        RECORD => Item::Record {
            id: RecordId::from_bytes(&d.array()?)?,
            user: UserId::new(d.text(USER_MAX_BYTES)?)?,
            class: Class::new(d.text(CLASS_MAX_BYTES)?)?,
            created: Timestamp(d.u64()?),
            media_type: d.text(MEDIA_TYPE_MAX_BYTES)?.to_owned(),
            purpose: d.text(PURPOSE_MAX_BYTES)?.to_owned(),
        },
        FILE => Item::File(d.text(NAME_MAX)?.to_owned()),
        _ => return Err(d.bad()),
    };
    d.end()?;
    Ok(item)
}

/// Opens a parcel. What was given out is whole only where this returns `Ok`.
///
/// # Errors
/// `Corrupt` where it was changed, cut short, or is for another key; what `into` says; `Io`.
pub fn unpack(secret: &Key, mut parcel: impl Read, into: &mut dyn Unpack) -> Result<()> {
    let _wiped = WipeStack;
    let head = Head::read(Kind::Parcel, &mut parcel)?;
    let mut content = head.open(secret, parcel)?;
    let mut block = Secret::zeroed(CHUNK_BYTES);
    loop {
        let mut kind = [0];
        exactly(&mut content, &mut kind)?;
        if kind[0] == END {
            // The end of the items is the end of what was sealed.
            return if fill(&mut content, &mut kind).map_err(|e| reading("reading a parcel", e))? == 0 {
                Ok(())
            } else {
                Err(bad())
            };
        }
        let n = number(&mut content)? as usize;
        if n > ABOUT_MAX {
            return Err(bad());
        }
        let mut about = Secret::zeroed(n);
        exactly(&mut content, &mut about)?;
        let item = read_item(kind[0], &about)?;
        let mut out = into.begin(&item)?;
        let fell = loop {
            match number(&mut content)? {
                0 => break false,
                FELL => break true,
                n if n as usize <= CHUNK_BYTES => {
                    exactly(&mut content, &mut block[..n as usize])?;
                    out.write_all(&block[..n as usize]).map_err(|e| Error::io("writing what was opened", e))?;
                }
                _ => return Err(bad()),
            }
        };
        drop(out);
        into.end(&item, fell)?;
    }
}
