//! One frame of the journal: how it is laid out, written and read.
//!
//! ```text
//! frame  = header 64 ‖ blobs ‖ table ‖ zeros to a multiple of 64
//! header = "KFFRAME1" ‖ file 4 ‖ offset 8 ‖ synced file 4 ‖ synced offset 8 ‖ blobs 4
//!          ‖ head length 4 ‖ body length 8
//!          ‖ CRC-32 of the blobs 4 ‖ CRC-32 of header and table 4 ‖ first number 4
//!          ‖ CRC-32 of the header before this 4
//! blob   = label ‖ bytes
//! label  = name 16 ‖ length 4 ‖ number 4 ‖ CRC-32 of: the label's file 4 ‖ its offset 8
//!          ‖ what comes before the sum
//! table  = (name 16 ‖ length 4)* ‖ [epoch 8 ‖ commit 8 ‖ head]
//! ```
//! In the CRC-32 of header and table both sums of the header count as zeros. What a header says is
//! believed once its own sum is right, and only as far as there is room: reading a journal takes
//! time and memory in proportion to its length, even where it was forged.
//!
//! Blobs are numbered within their file, from 0. Each has a label, so that a reader that knows a
//! place finds out what lies there; a label holds at its own place only, and nothing else in a
//! journal passes for one. The table names all blobs at once, also where they are holes by now.

use std::io::{self, BufWriter, Write};

use crate::codec::Decoder;
use crate::disk::DiskFile;
use crate::error::Result;
use crate::ids::BlobName;
use crate::limits::BLOB_MAX_BYTES;
use crate::store::{Blob, Head, HeadId};

const MAGIC: &[u8; 8] = b"KFFRAME1";
pub(super) const HEADER: usize = 64;
pub(super) const ALIGN: u64 = 64;
/// Bytes before a blob's own.
pub(super) const LABEL: usize = 28;
/// Bytes of a blob's entry in a frame's table.
const TABLE_ENTRY: usize = 20;
/// Most bytes of one frame, as decode checks it.
const FRAME_MAX: u64 = 1 << 30;
/// Bytes that are read at once to be summed up.
const WINDOW: usize = 256 << 10;

/// A point in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) file: u32,
    pub(crate) offset: u64,
}

impl Position {
    /// Where a journal begins.
    pub(super) const FIRST: Position = Position { file: 1, offset: 0 };
}

/// Where the bytes of a blob are, after its label, or those of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// The blob's number within its file; a head has none, and says 0.
    pub(crate) number: u32,
}

#[cfg(feature = "sled")]
impl Location {
    pub(crate) fn encode(self) -> [u8; 20] {
        let mut out = [0; 20];
        out[..4].copy_from_slice(&self.file.to_be_bytes());
        out[4..12].copy_from_slice(&self.offset.to_be_bytes());
        out[12..16].copy_from_slice(&self.len.to_be_bytes());
        out[16..].copy_from_slice(&self.number.to_be_bytes());
        out
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Location { file: d.u32()?, offset: d.u64()?, len: d.u32()?, number: d.u32()? })
    }
}

/// The label before a blob.
pub(super) struct Label {
    pub(super) name: BlobName,
    pub(super) len: u32,
    pub(super) number: u32,
}

impl Label {
    /// The label at `at`, if there is one.
    pub(super) fn decode(bytes: &[u8], at: Position) -> Option<Self> {
        let mut d = Decoder::new(bytes.get(..LABEL)?, "label in the journal");
        let label =
            Label { name: BlobName(d.array().ok()?), len: d.u32().ok()?, number: d.u32().ok()? };
        (label.encode(at) == bytes[..LABEL] && label.len as usize <= BLOB_MAX_BYTES)
            .then_some(label)
    }

    pub(super) fn encode(&self, at: Position) -> [u8; LABEL] {
        let mut out = [0; LABEL];
        out[..16].copy_from_slice(&self.name.0);
        out[16..20].copy_from_slice(&self.len.to_be_bytes());
        out[20..24].copy_from_slice(&self.number.to_be_bytes());
        let mut sum = crc32fast::Hasher::new();
        sum.update(&at.file.to_be_bytes());
        sum.update(&at.offset.to_be_bytes());
        sum.update(&out[..24]);
        out[24..].copy_from_slice(&sum.finalize().to_be_bytes());
        out
    }
}

/// A frame that was found.
pub(super) struct Frame {
    pub(super) blobs: Vec<(BlobName, Location)>,
    pub(super) head: Option<(HeadId, Location)>,
    pub(super) at: Position,
    pub(super) len: u64,
    pub(super) synced: Position,
    /// Whether its blobs are what was written.
    pub(super) whole: bool,
}

impl Frame {
    pub(super) fn end(&self) -> Position {
        Position { file: self.at.file, offset: self.at.offset + self.len }
    }
}

/// A frame to be written: what goes around its blobs.
pub(super) struct Built {
    at: Position,
    header: [u8; HEADER],
    labels: Vec<[u8; LABEL]>,
    /// The table, and the zeros after it.
    table: Vec<u8>,
    pub(super) len: u64,
    pub(super) blobs: Vec<(BlobName, Location)>,
    pub(super) head: Option<Location>,
}

/// Lays a frame out at `at`, its blobs numbered from `first` on.
pub(super) fn build(
    blobs: &[Blob],
    head: Option<&Head>,
    at: Position,
    synced: Position,
    first: u32,
) -> Built {
    let mut labels = Vec::with_capacity(blobs.len());
    let mut places = Vec::with_capacity(blobs.len());
    let mut table = Vec::with_capacity(blobs.len() * TABLE_ENTRY);
    let mut body_sum = crc32fast::Hasher::new();
    let body = at.offset + HEADER as u64;
    let mut offset = body;
    for ((name, blob), number) in blobs.iter().zip(first..) {
        assert!(blob.len() <= BLOB_MAX_BYTES, "a blob outgrew its limit");
        let len = blob.len() as u32;
        let label = Label { name: *name, len, number }.encode(Position { file: at.file, offset });
        offset += LABEL as u64;
        places.push((*name, Location { file: at.file, offset, len, number }));
        offset += u64::from(len);
        body_sum.update(&label);
        body_sum.update(blob);
        labels.push(label);
        table.extend_from_slice(&name.0);
        table.extend_from_slice(&len.to_be_bytes());
    }
    let mut head_at = None;
    if let Some(head) = head {
        table.extend_from_slice(&head.id.epoch.to_be_bytes());
        table.extend_from_slice(&head.id.commit.to_be_bytes());
        assert!(head.bytes.len() <= BLOB_MAX_BYTES, "a head outgrew its limit");
        let offset = offset + table.len() as u64;
        head_at = Some(Location { file: at.file, offset, len: head.bytes.len() as u32, number: 0 });
        table.extend_from_slice(&head.bytes);
    }
    let mut header = [0; HEADER];
    let fields = [
        &MAGIC[..],
        &at.file.to_be_bytes(),
        &at.offset.to_be_bytes(),
        &synced.file.to_be_bytes(),
        &synced.offset.to_be_bytes(),
        &(blobs.len() as u32).to_be_bytes(),
        &(head.map_or(0, |h| h.bytes.len()) as u32).to_be_bytes(),
        &(offset - body).to_be_bytes(),
        &body_sum.finalize().to_be_bytes(),
        &[0; 4],
        &first.to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    header[..fields.len()].copy_from_slice(&fields);
    put_sums(&mut header, &table);
    let end = offset - at.offset + table.len() as u64;
    let len = end.next_multiple_of(ALIGN);
    table.resize(table.len() + (len - end) as usize, 0);
    Built { at, header, labels, table, len, blobs: places, head: head_at }
}

/// Bytes that are written at once, about: a long frame is not copied together, which would take as
/// much memory again.
const PIECE: usize = 256 << 10;

impl Built {
    /// Writes it with the blobs that it was built of.
    pub(super) fn write(&self, file: &dyn DiskFile, blobs: &[Blob]) -> io::Result<()> {
        let capacity = PIECE.min(self.len as usize);
        let mut out = BufWriter::with_capacity(capacity, Appended { file, offset: self.at.offset });
        let done = self.send(blobs, &mut out);
        // Dropped, it would try once more what failed.
        let _ = out.into_parts();
        done
    }

    fn send(&self, blobs: &[Blob], out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.header)?;
        for (label, (_, blob)) in self.labels.iter().zip(blobs) {
            out.write_all(label)?;
            out.write_all(blob)?;
        }
        out.write_all(&self.table)?;
        out.flush()
    }
}

/// A file that is written from an offset on.
struct Appended<'f> {
    file: &'f dyn DiskFile,
    offset: u64,
}

impl Write for Appended<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the sum of header and table is in the header, and that of the header alone.
const SUM_AT: usize = 52;
const OWN_SUM_AT: usize = HEADER - 4;

/// Begins the CRC-32 of a header, its sums left out, and the table after it.
fn table_sum(header: &[u8; HEADER]) -> crc32fast::Hasher {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&header[..SUM_AT]);
    sum.update(&[0; 4]);
    sum.update(&header[SUM_AT + 4..OWN_SUM_AT]);
    sum.update(&[0; 4]);
    sum
}

fn put_sums(header: &mut [u8; HEADER], table: &[u8]) {
    let mut sum = table_sum(header);
    sum.update(table);
    header[SUM_AT..SUM_AT + 4].copy_from_slice(&sum.finalize().to_be_bytes());
    let own = crc32fast::hash(&header[..OWN_SUM_AT]);
    header[OWN_SUM_AT..].copy_from_slice(&own.to_be_bytes());
}

/// Goes on with a CRC-32 over a part of a file, in bounded memory.
fn sum_of(mut sum: crc32fast::Hasher, file: &dyn DiskFile, from: u64, len: u64) -> io::Result<u32> {
    let (mut window, end, mut at) = (vec![0; WINDOW.min(len as usize)], from + len, from);
    while at < end {
        let n = window.len().min((end - at) as usize);
        file.read_exact_at(&mut window[..n], at)?;
        sum.update(&window[..n]);
        at += n as u64;
    }
    Ok(sum.finalize())
}

/// The fields of a header that is well formed.
struct Header {
    synced: Position,
    blobs: u32,
    head_len: u32,
    body_len: u64,
    /// Of the blobs; of header and table.
    sums: (u32, u32),
    first: u32,
}

impl Header {
    fn decode(header: &[u8; HEADER], at: Position) -> Result<Self> {
        let mut d = Decoder::new(header, "frame of the journal");
        let magic = d.bytes(8)? == MAGIC;
        let here = Position { file: d.u32()?, offset: d.u64()? };
        let synced = Position { file: d.u32()?, offset: d.u64()? };
        let own = u32::from_be_bytes([header[60], header[61], header[62], header[63]]);
        if !magic || here != at || crc32fast::hash(&header[..OWN_SUM_AT]) != own {
            return Err(d.bad());
        }
        let (blobs, head_len, body_len) = (d.u32()?, d.u32()?, d.u64()?);
        let (sums, first) = ((d.u32()?, d.u32()?), d.u32()?);
        // Each blob has a label in the body, and so has each that came before in the file.
        let label = LABEL as u64;
        if body_len > FRAME_MAX
            || u64::from(blobs) * label > body_len
            || head_len as usize > BLOB_MAX_BYTES
            || u64::from(first) * label > at.offset
            || first.checked_add(blobs).is_none()
        {
            return Err(d.bad());
        }
        Ok(Header { synced, blobs, head_len, body_len, sums, first })
    }

    fn table_len(&self) -> u64 {
        let head = if self.head_len > 0 { 16 + u64::from(self.head_len) } else { 0 };
        u64::from(self.blobs) * TABLE_ENTRY as u64 + head
    }

    /// Bytes of the frame; `None` if it does not fit before `len`.
    fn frame_len(&self, at: Position, len: u64) -> Option<u64> {
        let total = HEADER as u64 + self.body_len + self.table_len();
        let padded = total.next_multiple_of(ALIGN);
        (total <= FRAME_MAX && padded <= len - at.offset).then_some(padded)
    }

    fn frame(&self, at: Position, len: u64, table: &[u8]) -> Result<Frame> {
        let mut d = Decoder::new(table, "frame of the journal");
        let body = at.offset + HEADER as u64;
        let mut offset = body;
        let mut blobs = Vec::with_capacity(self.blobs as usize);
        for number in self.first..self.first + self.blobs {
            let name = BlobName(d.array()?);
            let len = d.u32()?;
            offset += LABEL as u64;
            blobs.push((name, Location { file: at.file, offset, len, number }));
            offset += u64::from(len);
        }
        if offset != body + self.body_len {
            return Err(d.bad());
        }
        let mut head = None;
        if self.head_len > 0 {
            let id = HeadId { epoch: d.u64()?, commit: d.u64()? };
            let offset = offset + u64::from(self.blobs) * TABLE_ENTRY as u64 + 16;
            head = Some((id, Location { file: at.file, offset, len: self.head_len, number: 0 }));
            d.bytes(self.head_len as usize)?;
        }
        d.end()?;
        Ok(Frame { blobs, head, at, len, synced: self.synced, whole: false })
    }
}

/// The header at `at` in a file of `len` bytes that has room for its frame, the frame's bytes, and
/// its table, which is what was written.
fn read_header(
    file: &dyn DiskFile,
    at: Position,
    len: u64,
) -> io::Result<Option<(Header, u64, Vec<u8>)>> {
    if len.saturating_sub(at.offset) < HEADER as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, at.offset)?;
    let Ok(header) = Header::decode(&bytes, at) else {
        return Ok(None);
    };
    let Some(frame_len) = header.frame_len(at, len) else {
        return Ok(None);
    };
    let (from, table_len) = (at.offset + HEADER as u64 + header.body_len, header.table_len());
    // Nothing long is kept before it is known to be what was written.
    if table_len > WINDOW as u64
        && sum_of(table_sum(&bytes), file, from, table_len)? != header.sums.1
    {
        return Ok(None);
    }
    let mut table = vec![0; table_len as usize];
    file.read_exact_at(&mut table, from)?;
    let mut sum = table_sum(&bytes);
    sum.update(&table);
    Ok((sum.finalize() == header.sums.1).then_some((header, frame_len, table)))
}

/// Reads the frame at `at` in a file of `len` bytes, if there is one.
pub(super) fn read(file: &dyn DiskFile, at: Position, len: u64) -> io::Result<Option<Frame>> {
    let Some((header, frame_len, table)) = read_header(file, at, len)? else {
        return Ok(None);
    };
    let Ok(frame) = header.frame(at, frame_len, &table) else {
        return Ok(None);
    };
    let sum = sum_of(crc32fast::Hasher::new(), file, at.offset + HEADER as u64, header.body_len)?;
    Ok(Some(Frame { whole: sum == header.sums.0, ..frame }))
}

/// As [`read`], without a look at the blobs: for a frame that was synced.
pub(super) fn read_table(file: &dyn DiskFile, at: Position, len: u64) -> io::Result<Option<Frame>> {
    let read = read_header(file, at, len)?;
    Ok(read.and_then(|(header, frame_len, table)| header.frame(at, frame_len, &table).ok()))
}

/// Whether the header of a frame after `at` says that the journal was synced beyond `at`. It need
/// not be followed by its frame: it was written after that sync.
pub(super) fn synced_above(file: &dyn DiskFile, at: Position, len: u64) -> io::Result<bool> {
    let mut window = vec![0; WINDOW];
    let mut offset = at.offset.next_multiple_of(ALIGN);
    while offset < len {
        let n = window.len().min((len - offset) as usize);
        file.read_exact_at(&mut window[..n], offset)?;
        for (i, header) in window[..n].as_chunks::<HEADER>().0.iter().enumerate() {
            let here = Position { file: at.file, offset: offset + (i * HEADER) as u64 };
            if header.starts_with(MAGIC)
                && Header::decode(header, here).is_ok_and(|header| header.synced > at)
            {
                return Ok(true);
            }
        }
        offset += n as u64;
    }
    Ok(false)
}

/// Reads bytes as the first frame of a journal, with its sums put right, so that a fuzzer comes
/// past them. Returns whether they are one.
#[cfg(feature = "testing")]
pub(crate) fn frame_in(bytes: &[u8]) -> bool {
    let at = Position { file: 1, offset: 0 };
    let Some(mut header) = bytes.first_chunk::<HEADER>().copied() else {
        return false;
    };
    let own = crc32fast::hash(&header[..OWN_SUM_AT]);
    header[OWN_SUM_AT..].copy_from_slice(&own.to_be_bytes());
    let Ok(decoded) = Header::decode(&header, at) else {
        return false;
    };
    let table = HEADER as u64 + decoded.body_len;
    let end = table + decoded.table_len();
    if end > bytes.len() as u64 {
        return false;
    }
    let mut bytes = bytes.to_vec();
    let body_sum = crc32fast::hash(&bytes[HEADER..table as usize]);
    header[SUM_AT - 4..SUM_AT].copy_from_slice(&body_sum.to_be_bytes());
    put_sums(&mut header, &bytes[table as usize..end as usize]);
    bytes[..HEADER].copy_from_slice(&header);
    let len = bytes.len() as u64;
    let file = Bytes(bytes);
    let whole = read(&file, at, len).is_ok_and(|frame| frame.is_some_and(|f| f.whole));
    let listed = read_table(&file, at, len).is_ok_and(|frame| frame.is_some());
    assert_eq!(whole, listed, "a frame with right sums is read in both ways");
    whole
}

#[cfg(feature = "testing")]
struct Bytes(Vec<u8>);

#[cfg(feature = "testing")]
impl DiskFile for Bytes {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let from = offset as usize;
        into.copy_from_slice(
            self.0.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn punch(&self, _: u64, _: u64) -> io::Result<bool> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
