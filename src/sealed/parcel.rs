//! Parcels: many records, and files beside them, in one stream that is sealed.
//!
//! ```text
//! content = item* ‖ 0
//! item    = kind 1 ‖ length 4 ‖ about ‖ flag 1 ‖ (1 ‖ length 4 ‖ bytes)* ‖ end 1
//! about   = of kind 1: record id 40 ‖ user ‖ class ‖ created 8 ‖ media type ‖ purpose;
//!           of kind 2: name
//! flag    = 1: as it says; 2: the item fell while this was being written, and what it is about is
//!           void
//! end     = 0: the item is whole; 2: it fell while it was being written, and must be dropped
//! ```
//! What falls before its chunk was sealed leaves zeros there, and an end that says so: nothing of
//! it goes out any more.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::outlet::{Falls, Outlet, Part};
use super::{Head, Kind, Sealing, fill, reading};
use crate::codec::{Decoder, Encoder};
use crate::crypto::Key;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, RecordId, Timestamp, UserId};
use crate::limits::{
    CHUNK_BYTES, CLASS_MAX_BYTES, MEDIA_TYPE_MAX_BYTES, PURPOSE_MAX_BYTES, USER_MAX_BYTES,
};
use crate::record::RecordInfo;
use crate::secret::{Secret, WipeStack};

const END: u8 = 0;
const RECORD: u8 = 1;
const FILE: u8 = 2;
/// Marks of what follows within an item.
const WHOLE: u8 = 0;
const GOES_ON: u8 = 1;
const FELL: u8 = 2;
/// Bytes before those of a block.
const BLOCK_HEADER: usize = 5;
const NAME_MAX: usize = 255;
const ABOUT_MAX: usize =
    64 + USER_MAX_BYTES + CLASS_MAX_BYTES + MEDIA_TYPE_MAX_BYTES + PURPOSE_MAX_BYTES;

/// One entry of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A record, and what is known of it.
    Record {
        /// Id of the record.
        id: RecordId,
        /// The user it belongs to.
        user: UserId,
        /// Its class, such as `audio`.
        class: Class,
        /// When the record was created.
        created: Timestamp,
        /// Media type of its content.
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

    /// Ends an item; if it fell while it was being read, what was written of it must be dropped.
    ///
    /// # Errors
    /// Ends the unpacking.
    fn end(&mut self, item: &Item, fell: bool) -> Result<()>;
}

/// Until when what was read may go out: while its record is there, and may be read.
#[derive(Clone)]
pub struct Live(Arc<dyn Falls>);

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live(..)")
    }
}

impl Live {
    pub(crate) fn new(falls: Arc<dyn Falls>) -> Self {
        Live(falls)
    }

    pub(super) fn check(&self) -> Result<()> {
        self.0.check()
    }

    /// Whether it may go out now.
    pub fn is_live(&self) -> bool {
        self.check().is_ok()
    }

    fn watch(&self, outlet: &Arc<Outlet>, number: u64) -> Result<()> {
        self.0.watch(outlet, number)
    }
}

/// What a parcel takes in.
pub trait Content: Read {
    /// Until when what was read of it may go out; `None`: for ever.
    fn live(&self) -> Option<Live> {
        None
    }
}

/// Bytes that may go out only as long as something is there: a report on a user, in a parcel.
#[derive(Debug)]
pub struct Guarded<'b> {
    bytes: &'b [u8],
    live: Live,
}

impl<'b> Guarded<'b> {
    /// These bytes, as long as `live` says.
    pub fn new(bytes: &'b [u8], live: &Live) -> Self {
        Guarded { bytes, live: live.clone() }
    }
}

impl Read for Guarded<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.live.check()?;
        self.bytes.read(out)
    }
}

impl Content for Guarded<'_> {
    fn live(&self) -> Option<Live> {
        Some(self.live.clone())
    }
}

impl Content for &[u8] {}
impl Content for io::Empty {}
impl Content for std::fs::File {}
impl<T: AsRef<[u8]>> Content for io::Cursor<T> {}
impl<C: Content + ?Sized> Content for &mut C {
    fn live(&self) -> Option<Live> {
        (**self).live()
    }
}

/// An item that is whole.
struct Whole {
    number: u64,
    length: u64,
}

/// A parcel that was written.
pub(crate) struct Finished<W> {
    pub(crate) out: W,
    /// How many whole items fell before they were written.
    pub(crate) late: u64,
    /// Their length.
    pub(crate) late_bytes: u64,
}

/// A parcel, being written.
pub struct Packing<W: Write> {
    sealing: Sealing<W>,
    /// Number of the next item.
    next: u64,
    /// Items that are whole, and can fall as long as they are held.
    whole: Vec<Whole>,
}

impl<W: Write> std::fmt::Debug for Packing<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packing(..)")
    }
}

fn writing(e: io::Error) -> Error {
    reading("writing a parcel", e)
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
        Ok(Packing {
            sealing: Sealing::new(env, Kind::Parcel, &[], to, out)?,
            next: 0,
            whole: Vec::new(),
        })
    }

    /// Adds a record with its content, and returns its length; `None` if it was erased while it
    /// was being read.
    ///
    /// # Errors
    /// What reading and writing say; `Erased` if a record fell when a piece of it was written in
    /// part: the parcel is not whole then.
    pub fn record(&mut self, info: &RecordInfo, content: impl Content) -> Result<Option<u64>> {
        let mut e = Encoder::new(ABOUT_MAX);
        e.bytes(&info.id.to_bytes()).text(info.user.as_str()).text(info.class.as_str());
        e.u64(info.created.0).text(&info.media_type).text(&info.purpose);
        self.item(RECORD, &e.finish(), content)
    }

    /// Adds a file of this name to the parcel.
    ///
    /// # Errors
    /// As [`Packing::record`].
    pub fn file(&mut self, name: &str, content: impl Content) -> Result<Option<u64>> {
        let mut e = Encoder::new(NAME_MAX + 2);
        e.text(name);
        self.item(FILE, &e.finish(), content)
    }

    fn item(&mut self, kind: u8, about: &[u8], mut content: impl Content) -> Result<Option<u64>> {
        let _wiped = WipeStack;
        let (number, live) = (self.next, content.live());
        self.next += 1;
        if let Some(live) = live {
            if live.watch(&self.sealing.held, number).is_err() {
                return Ok(None);
            }
            self.sealing.live.push((number, live));
        }
        // Piece by piece: what is joined in ordinary memory stays there.
        self.sealing.push(None, &[kind]).map_err(writing)?;
        self.sealing.push(None, &(about.len() as u32).to_be_bytes()).map_err(writing)?;
        self.sealing.push(Some((number, Part::Bytes)), about).map_err(writing)?;
        self.sealing.push(Some((number, Part::Flag(FELL))), &[GOES_ON]).map_err(writing)?;
        let (mut buffer, mut length) = (Secret::zeroed(CHUNK_BYTES), 0);
        loop {
            if self.sealing.held.room() <= BLOCK_HEADER {
                // So that what is read goes into the chunk in hand as a whole, where it is reached
                // when it falls.
                self.sealing.push(None, &[GOES_ON, 0, 0, 0, 0]).map_err(writing)?;
            }
            let room = self.sealing.held.room() - BLOCK_HEADER;
            let n = match content.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    let e = reading("reading a record", e);
                    let fell = content.live().is_some_and(|live| live.check().is_err());
                    if !fell && e.kind() != ErrorKind::Erased {
                        return Err(e);
                    }
                    self.sealing.held.fell(number);
                    break;
                }
            };
            self.sealing.push(None, &[GOES_ON]).map_err(writing)?;
            self.sealing.push(None, &(n as u32).to_be_bytes()).map_err(writing)?;
            let full = self.sealing.held.push(Some((number, Part::Bytes)), &buffer[..n]);
            debug_assert_eq!(full, n, "no more was read than there was room for");
            buffer[..n].fill(0);
            length += n as u64;
            self.sealing.push_out().map_err(writing)?;
        }
        let whole = !self.sealing.held.has_fallen(number);
        if whole {
            self.whole.push(Whole { number, length });
        }
        self.sealing.push(Some((number, Part::End(FELL))), &[WHOLE]).map_err(writing)?;
        Ok(whole.then_some(length))
    }

    /// Ends the parcel: without this it does not open whole.
    ///
    /// # Errors
    /// As [`Packing::record`].
    pub fn finish(self) -> Result<W> {
        self.finish_counted().map(|finished| finished.out)
    }

    /// As [`Packing::finish`], with what fell late.
    pub(crate) fn finish_counted(mut self) -> Result<Finished<W>> {
        self.sealing.push(None, &[END]).map_err(writing)?;
        self.sealing.finish()?;
        let late = self.sealing.held.late();
        let mut finished = Finished { out: self.sealing.out, late: 0, late_bytes: 0 };
        for fell in self.whole.iter().filter(|item| late.contains(&item.number)) {
            finished.late += 1;
            finished.late_bytes += fell.length;
        }
        Ok(finished)
    }
}

fn bad() -> Error {
    Error::corrupt("this parcel was changed, or cut short")
}

fn exactly(reader: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    let n = bytes.len();
    if fill(reader, bytes).map_err(|e| reading("reading a parcel", e))? == n {
        Ok(())
    } else {
        Err(bad())
    }
}

fn number(reader: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    exactly(reader, &mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn mark(reader: &mut impl Read) -> Result<u8> {
    let mut byte = [0];
    exactly(reader, &mut byte)?;
    Ok(byte[0])
}

fn block_length(reader: &mut impl Read) -> Result<usize> {
    let n = number(reader)? as usize;
    if n <= CHUNK_BYTES { Ok(n) } else { Err(bad()) }
}

/// The length of the next block of an item that fell; `None` at its end.
fn block_of(reader: &mut impl Read) -> Result<Option<usize>> {
    match mark(reader)? {
        GOES_ON => block_length(reader).map(Some),
        FELL => Ok(None),
        _ => Err(bad()),
    }
}

pub(crate) fn read_item(kind: u8, about: &[u8]) -> Result<Item> {
    let mut d = Decoder::from_outside(about, "parcel");
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

/// Opens a parcel. What was given out is whole only if this returns `Ok`.
///
/// # Errors
/// `Corrupt` if it was changed, cut short, or is for another key; what `into` says; `Io`.
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
            return if fill(&mut content, &mut kind).map_err(|e| reading("reading a parcel", e))?
                == 0
            {
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
        let item = match mark(&mut content)? {
            GOES_ON => read_item(kind[0], &about)?,
            // It fell before anybody could read what it is.
            FELL => {
                while let Some(n) = block_of(&mut content)? {
                    exactly(&mut content, &mut block[..n])?;
                }
                continue;
            }
            _ => return Err(bad()),
        };
        let mut out = into.begin(&item)?;
        let fell = loop {
            match mark(&mut content)? {
                WHOLE => break false,
                FELL => break true,
                GOES_ON => {
                    let n = block_length(&mut content)?;
                    exactly(&mut content, &mut block[..n])?;
                    out.write_all(&block[..n])
                        .map_err(|e| Error::io("writing what was opened", e))?;
                }
                _ => return Err(bad()),
            }
        };
        drop(out);
        into.end(&item, fell)?;
    }
}
