//! The blob log: frames in numbered files, appended and never changed; space comes back as holes and removed files.
//!
//! ```text
//! frame  = header 64 ‖ table ‖ blobs ‖ zeros to a multiple of 64
//! header = "KFFRAME1" ‖ file 4 ‖ offset 8 ‖ synced file 4 ‖ synced offset 8 ‖ blobs 4 ‖ head length 4 ‖ body length 8
//!          ‖ CRC-32 of the body 4 ‖ CRC-32 of header and table 4 ‖ zeros
//! table  = (name 16 ‖ length 4)* ‖ [epoch 8 ‖ commit 8 ‖ head]
//! ```
//! A commit is one frame with a head, and `fdatasync`. A frame says up to where the log was synced before it: damage
//! below that point is damage, damage above it a write that was cut short and never acknowledged.
//!
//! Who appends little at a time has zeros written ahead: a file that grows has its inode written with every `fdatasync`, which
//! takes as long again as the frame. Zeros are no frame, so an open after a crash cuts them off; they end before the size at which another
//! file follows, so only the last file has any.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Sizes;
use crate::codec::Decoder;
use crate::disk::{Disk, DiskFile, How};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::limits::BLOB_MAX_BYTES;
use crate::store::{Blob, Head, HeadId};
use crate::sync::{Mutex, locked};

const MAGIC: &[u8; 8] = b"KFFRAME1";
const HEADER: usize = 64;
const ALIGN: u64 = 64;
/// Bytes of a blob's entry in a frame's table.
const TABLE_ENTRY: usize = 20;
/// Most bytes of one frame, as decode checks it.
const FRAME_MAX: u64 = 1 << 30;
/// Files kept open for reading.
const OPEN_MAX: usize = 64;
const BLOCK: u64 = 4096;

/// A point in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) file: u32,
    pub(crate) offset: u64,
}

impl Position {
    /// Bytes of log since `earlier`, about, in files of `file_bytes`.
    pub(super) fn since(self, earlier: Position, file_bytes: u64) -> u64 {
        (u64::from(self.file - earlier.file) * file_bytes + self.offset).saturating_sub(earlier.offset)
    }
}

/// Where a blob's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

impl Location {
    pub(super) fn position(self) -> Position {
        Position { file: self.file, offset: self.offset }
    }
}

#[cfg(feature = "sled")]
impl Location {
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..4].copy_from_slice(&self.file.to_be_bytes());
        out[4..12].copy_from_slice(&self.offset.to_be_bytes());
        out[12..].copy_from_slice(&self.len.to_be_bytes());
        out
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Location { file: d.u32()?, offset: d.u64()?, len: d.u32()? })
    }
}

/// A frame found by a replay.
pub(super) struct Frame {
    pub(super) blobs: Vec<(BlobName, Location)>,
    pub(super) head: Option<(HeadId, Location)>,
    at: Position,
    len: u64,
    synced: Position,
    whole: bool,
}

/// The open log.
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    sizes: Sizes,
    tail: Mutex<Tail>,
    readers: Mutex<BTreeMap<u32, Arc<dyn DiskFile>>>,
}

struct Tail {
    file: Arc<dyn DiskFile>,
    end: Position,
    synced: Position,
    /// Bytes of the file: zeros from `end` on.
    filled: u64,
    /// Whether the last frame was a short one.
    short: bool,
    /// Bytes of frames since zeros were written.
    since: u64,
}

fn path(dir: &Path, file: u32) -> PathBuf {
    dir.join(format!("{file:08}.log"))
}

impl Log {
    /// Opens the log behind its last byte; `replay` finds out whether that is where it ends.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, sizes: Sizes) -> Result<Self> {
        let number = files(&*disk, dir)?.last().copied().unwrap_or(1);
        let file = open_file(&*disk, dir, number, How::Create)?;
        // Also where the file is there already: it may owe its name to a process that died before this sync.
        sync_dir(&*disk, dir)?;
        let offset = file.len().map_err(|e| Error::io(path(dir, number).display(), e))?;
        let end = Position { file: number, offset };
        let tail = Mutex::new(Tail { file, end, synced: Position::default(), filled: offset, short: false, since: 0 });
        Ok(Log { disk, dir: dir.to_owned(), sizes, tail, readers: Mutex::default() })
    }

    pub(super) fn end(&self) -> Position {
        locked(&self.tail).end
    }

    /// Appends one frame. `Full` changes nothing.
    pub(super) fn append(&self, blobs: &[Blob], head: Option<&Head>) -> Result<(Vec<Location>, Option<Location>)> {
        let mut tail = locked(&self.tail);
        if tail.end.offset >= self.sizes.file_bytes {
            self.next_file(&mut tail)?;
        }
        let start = tail.end;
        let table: usize = blobs.len() * TABLE_ENTRY + head.map_or(0, |head| 16 + head.bytes.len());
        let whole = HEADER + table + blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>();
        let mut frame = Vec::with_capacity(whole.next_multiple_of(ALIGN as usize));
        frame.resize(HEADER, 0);
        for (name, blob) in blobs {
            frame.extend_from_slice(&name.0);
            frame.extend_from_slice(&(blob.len() as u32).to_be_bytes());
        }
        let mut head_at = None;
        if let Some(head) = head {
            frame.extend_from_slice(&head.id.epoch.to_be_bytes());
            frame.extend_from_slice(&head.id.commit.to_be_bytes());
            head_at = Some(Location {
                file: start.file,
                offset: start.offset + frame.len() as u64,
                len: head.bytes.len() as u32,
            });
            frame.extend_from_slice(&head.bytes);
        }
        let table = frame.len();
        let mut locations = Vec::with_capacity(blobs.len());
        for (_, blob) in blobs {
            assert!(blob.len() <= BLOB_MAX_BYTES, "a blob outgrew its limit");
            let offset = start.offset + frame.len() as u64;
            locations.push(Location { file: start.file, offset, len: blob.len() as u32 });
            frame.extend_from_slice(blob);
        }
        let body = frame.len() - table;
        let header = [
            &MAGIC[..],
            &start.file.to_be_bytes(),
            &start.offset.to_be_bytes(),
            &tail.synced.file.to_be_bytes(),
            &tail.synced.offset.to_be_bytes(),
            &(blobs.len() as u32).to_be_bytes(),
            &(head.map_or(0, |h| h.bytes.len()) as u32).to_be_bytes(),
            &(body as u64).to_be_bytes(),
            &crc32fast::hash(&frame[table..]).to_be_bytes(),
        ]
        .concat();
        frame[..header.len()].copy_from_slice(&header);
        let sum = crc32fast::hash(&frame[..table]);
        frame[header.len()..header.len() + 4].copy_from_slice(&sum.to_be_bytes());
        frame.resize(frame.len().next_multiple_of(ALIGN as usize), 0);
        if let Err(e) = tail.file.write_all_at(&frame, start.offset) {
            let full = Error::io(format!("writing {}", path(&self.dir, start.file).display()), e);
            return Err(match tail.cut() {
                Ok(()) => full,
                Err(e) => Error::new(ErrorKind::Io, format!("undoing a write that failed ({full})")).with_source(e),
            });
        }
        tail.end.offset += frame.len() as u64;
        self.fill_ahead(&mut tail, frame.len() as u64, head.is_some());
        Ok((locations, head_at))
    }

    /// Writes zeros where the file has just grown: behind a short frame that follows another, and behind a commit that ends four times as
    /// many bytes. What fails here costs time only.
    fn fill_ahead(&self, tail: &mut Tail, frame: u64, commit: bool) {
        let (end, ahead) = (tail.end.offset, self.sizes.ahead_bytes);
        let follows = std::mem::replace(&mut tail.short, frame <= ahead / 4);
        tail.since += frame;
        if end <= tail.filled {
            return;
        }
        tail.filled = end;
        let to = (end + ahead).min(self.sizes.file_bytes);
        if to > end && (follows && tail.short || commit && tail.since >= 4 * ahead) {
            tail.since = 0;
            match tail.file.write_all_at(&vec![0; (to - end) as usize], end) {
                Ok(()) => tail.filled = to,
                Err(_) => _ = tail.file.set_len(end),
            }
        }
    }

    /// Takes the zeros back.
    pub(super) fn trim(&self) -> Result<()> {
        let mut tail = locked(&self.tail);
        if tail.filled > tail.end.offset {
            tail.cut().map_err(|e| Error::io(path(&self.dir, tail.end.file).display(), e))?;
        }
        Ok(())
    }

    fn next_file(&self, tail: &mut Tail) -> Result<()> {
        sync_tail(&self.dir, tail)?;
        let number = tail.end.file + 1;
        let file = open_file(&*self.disk, &self.dir, number, How::Create)?;
        sync_dir(&*self.disk, &self.dir)?;
        tail.file = file;
        tail.end = Position { file: number, offset: 0 };
        tail.synced = tail.end;
        tail.filled = 0;
        Ok(())
    }

    /// Makes every frame durable, and says up to where.
    pub(super) fn sync(&self) -> Result<Position> {
        let mut tail = locked(&self.tail);
        sync_tail(&self.dir, &mut tail)?;
        Ok(tail.end)
    }

    pub(super) fn read(&self, at: Location) -> Result<Vec<u8>> {
        let place = path(&self.dir, at.file);
        if at.len as usize > BLOB_MAX_BYTES {
            return Err(Error::corrupt(format!("the index points out of bounds in {}", place.display())));
        }
        let file = self.reader(at.file)?;
        let mut bytes = vec![0; at.len as usize];
        match file.read_exact_at(&mut bytes, at.offset) {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(Error::corrupt(format!(
                "{} is shorter than its index says; restore the store from a copy",
                place.display()
            ))),
            Err(e) => Err(Error::io(place.display(), e)),
        }
    }

    /// Whether there is no such file.
    pub(super) fn is_gone(&self, number: u32) -> Result<bool> {
        Ok(!files(&*self.disk, &self.dir)?.contains(&number))
    }

    fn reader(&self, number: u32) -> Result<Arc<dyn DiskFile>> {
        let mut readers = locked(&self.readers);
        if let Some(file) = readers.get(&number) {
            return Ok(Arc::clone(file));
        }
        if readers.len() >= OPEN_MAX {
            readers.pop_first();
        }
        let file = open_file(&*self.disk, &self.dir, number, How::Read)?;
        readers.insert(number, Arc::clone(&file));
        Ok(file)
    }

    /// Finds every frame from `from` on, cuts off a write that was never finished, and leaves the log ready to append.
    pub(super) fn replay(&self, from: Position) -> Result<Vec<Frame>> {
        let numbers = files(&*self.disk, &self.dir)?;
        let mut frames: Vec<Frame> = Vec::new();
        let last = numbers.last().copied().unwrap_or(1);
        for number in numbers.into_iter().filter(|n| *n >= from.file) {
            let file = open_file(&*self.disk, &self.dir, number, How::Read)?;
            let place = path(&self.dir, number);
            let len = file.len().map_err(|e| Error::io(place.display(), e))?;
            let mut offset = if number == from.file { from.offset } else { 0 };
            if offset > len {
                return Err(damaged(&place, len));
            }
            while offset < len {
                let at = Position { file: number, offset };
                match read_frame(&*file, at, len).map_err(|e| Error::io(place.display(), e))? {
                    Some(frame) => {
                        offset += frame.len;
                        frames.push(frame);
                    }
                    None => {
                        if number != last || synced_above(&*file, at, len).map_err(|e| Error::io(place.display(), e))? {
                            return Err(damaged(&place, offset));
                        }
                        self.cut(at)?;
                        break;
                    }
                }
            }
        }
        // A frame with odd blobs is one with holes, if a later frame knows that it was synced; each blob is
        // authenticated by who opens it.
        let synced = frames.iter().map(|f| f.synced).max().unwrap_or_default();
        if let Some(torn) = frames.iter().position(|f| !f.whole && f.at >= synced && f.at.file == last) {
            self.cut(frames[torn].at)?;
            frames.truncate(torn);
        }
        self.write_again(synced.max(from))?;
        Ok(frames)
    }

    /// Writes what nobody knows to be on the medium once more. After a sync that failed, an earlier process's frames
    /// can stand in the page cache, be read as whole, and be passed over by the next sync as clean.
    fn write_again(&self, from: Position) -> Result<()> {
        let tail = locked(&self.tail);
        let mut offset = if from.file == tail.end.file { from.offset } else { 0 };
        let mut window = vec![0; 1 << 20];
        while offset < tail.end.offset {
            let n = window.len().min((tail.end.offset - offset) as usize);
            let again = tail.file.read_exact_at(&mut window[..n], offset);
            again.and_then(|()| tail.file.write_all_at(&window[..n], offset)).map_err(|e| {
                Error::io(format!("writing the end of {} once more", path(&self.dir, tail.end.file).display()), e)
            })?;
            offset += n as u64;
        }
        Ok(())
    }

    fn cut(&self, at: Position) -> Result<()> {
        let mut tail = locked(&self.tail);
        tail.end = at;
        tail.cut().map_err(|e| Error::io(path(&self.dir, at.file).display(), e))
    }

    /// Gives blocks inside these blobs back, where neighbours make up whole ones.
    pub(super) fn punch(&self, mut blobs: Vec<Location>) -> Result<()> {
        blobs.sort_unstable_by_key(|b| (b.file, b.offset));
        let mut runs: Vec<(u32, u64, u64)> = Vec::new();
        for blob in blobs {
            let end = blob.offset + u64::from(blob.len);
            match runs.last_mut() {
                Some((file, _, to)) if *file == blob.file && *to == blob.offset => *to = end,
                _ => runs.push((blob.file, blob.offset, end)),
            }
        }
        for (number, from, to) in runs {
            let (from, to) = (from.next_multiple_of(BLOCK), to / BLOCK * BLOCK);
            if from >= to {
                continue;
            }
            // A file system without holes gives space back file by file only.
            let file = open_file(&*self.disk, &self.dir, number, How::Write)?;
            file.punch(from, to - from).map_err(|e| Error::io(path(&self.dir, number).display(), e))?;
        }
        Ok(())
    }

    /// Removes a file without live blobs, unless it is the one that grows.
    pub(super) fn remove_file(&self, number: u32) -> Result<bool> {
        if locked(&self.tail).end.file == number {
            return Ok(false);
        }
        locked(&self.readers).remove(&number);
        match self.disk.remove(&path(&self.dir, number)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(e) => Err(Error::io(path(&self.dir, number).display(), e)),
        }
    }
}

impl Tail {
    /// Cuts the file off at its end.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.end.offset)?;
        self.filled = self.end.offset;
        Ok(())
    }
}

fn sync_tail(dir: &Path, tail: &mut Tail) -> Result<()> {
    if tail.synced < tail.end {
        tail.file.sync_data().map_err(|e| {
            // What a failed sync leaves on the disk is unknown, also when there was no space.
            Error::new(ErrorKind::Io, format!("syncing {}: {e}", path(dir, tail.end.file).display())).with_source(e)
        })?;
        tail.synced = tail.end;
    }
    Ok(())
}

fn damaged(place: &Path, offset: u64) -> Error {
    Error::corrupt(format!(
        "{} is damaged at byte {offset}, before what was acknowledged last; restore the store from a copy with `keyfall restore`",
        place.display()
    ))
}

fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    disk.sync_dir(dir).map_err(|e| Error::new(ErrorKind::Io, format!("syncing {}: {e}", dir.display())).with_source(e))
}

fn open_file(disk: &dyn Disk, dir: &Path, number: u32, how: How) -> Result<Arc<dyn DiskFile>> {
    let place = path(dir, number);
    disk.open(&place, how).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::corrupt(format!(
            "{} is missing; restore the store from a copy with `keyfall restore`",
            place.display()
        )),
        _ => Error::io(place.display(), e),
    })
}

fn files(disk: &dyn Disk, dir: &Path) -> Result<Vec<u32>> {
    let names = disk.list(dir).map_err(|e| Error::io(dir.display(), e))?;
    let number = |name: &String| name.strip_suffix(".log").and_then(|n| n.parse::<u32>().ok());
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the frame at `at`; `None` where there is none.
fn read_frame(file: &dyn DiskFile, at: Position, len: u64) -> io::Result<Option<Frame>> {
    if len - at.offset < HEADER as u64 {
        return Ok(None);
    }
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, at.offset)?;
    let Ok((mut frame, blobs, head_len, body_len, sums)) = parse_header(&header, at) else {
        return Ok(None);
    };
    let head_part = if head_len > 0 { 16 + u64::from(head_len) } else { 0 };
    let table_len = u64::from(blobs) * TABLE_ENTRY as u64 + head_part;
    let total = HEADER as u64 + table_len + body_len;
    if total > FRAME_MAX || total.next_multiple_of(ALIGN) > len - at.offset {
        return Ok(None);
    }
    let mut bytes = vec![0; total as usize];
    file.read_exact_at(&mut bytes, at.offset)?;
    let (table, body) = bytes.split_at(HEADER + table_len as usize);
    let mut checked = table.to_vec();
    checked[52..56].fill(0);
    if crc32fast::hash(&checked) != sums.1 {
        return Ok(None);
    }
    frame.whole = crc32fast::hash(body) == sums.0;
    frame.len = total.next_multiple_of(ALIGN);
    Ok(parse_table(frame, &table[HEADER..], (blobs, head_len), (table.len() as u64, body.len() as u64)).ok())
}

type Header = (Frame, u32, u32, u64, (u32, u32));

fn parse_header(header: &[u8; HEADER], at: Position) -> Result<Header> {
    let mut d = Decoder::new(header, "frame of the log");
    let magic = d.bytes(8)? == MAGIC;
    let here = Position { file: d.u32()?, offset: d.u64()? };
    let synced = Position { file: d.u32()?, offset: d.u64()? };
    if !magic || here != at {
        return Err(d.bad());
    }
    let (blobs, head_len, body_len) = (d.u32()?, d.u32()?, d.u64()?);
    let sums = (d.u32()?, d.u32()?);
    if body_len > FRAME_MAX || u64::from(blobs) > FRAME_MAX / TABLE_ENTRY as u64 || u64::from(head_len) > FRAME_MAX {
        return Err(d.bad());
    }
    let frame = Frame { blobs: Vec::new(), head: None, at, len: 0, synced, whole: false };
    Ok((frame, blobs, head_len, body_len, sums))
}

fn parse_table(
    mut frame: Frame,
    table: &[u8],
    (blobs, head_len): (u32, u32),
    (start, body): (u64, u64),
) -> Result<Frame> {
    let mut d = Decoder::new(table, "frame of the log");
    let mut offset = frame.at.offset + start;
    for _ in 0..blobs {
        let name = BlobName(d.array()?);
        let len = d.u32()?;
        frame.blobs.push((name, Location { file: frame.at.file, offset, len }));
        offset += u64::from(len);
    }
    if head_len > 0 {
        let id = HeadId { epoch: d.u64()?, commit: d.u64()? };
        let at = frame.at.offset + HEADER as u64 + u64::from(blobs) * TABLE_ENTRY as u64 + 16;
        frame.head = Some((id, Location { file: frame.at.file, offset: at, len: head_len }));
        d.bytes(head_len as usize)?;
    }
    if offset != frame.at.offset + start + body {
        return Err(d.bad());
    }
    d.end()?;
    Ok(frame)
}

/// Whether a whole frame behind `at` says that the log was synced beyond `at`.
fn synced_above(file: &dyn DiskFile, at: Position, len: u64) -> io::Result<bool> {
    let mut window = vec![0; 1 << 20];
    let mut offset = at.offset.next_multiple_of(ALIGN);
    while offset < len {
        let n = window.len().min((len - offset) as usize);
        file.read_exact_at(&mut window[..n], offset)?;
        for i in (0..n.saturating_sub(7)).step_by(ALIGN as usize) {
            if &window[i..i + 8] == MAGIC {
                let here = Position { file: at.file, offset: offset + i as u64 };
                if read_frame(file, here, len)?.is_some_and(|f| f.whole && f.synced > at) {
                    return Ok(true);
                }
            }
        }
        offset += n as u64;
    }
    Ok(false)
}

/// Reads bytes as the first frame of a log, with its sums put right, so that a fuzzer comes past them. Returns whether they
/// are one.
#[cfg(feature = "testing")]
pub(crate) fn frame_in(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    let at = Position { file: 1, offset: 0 };
    let header = bytes.get(..HEADER).and_then(|h| <&[u8; HEADER]>::try_from(h).ok());
    let Some(Ok((_, blobs, head_len, body_len, _))) = header.map(|h| parse_header(h, at)) else {
        return false;
    };
    let table =
        HEADER as u64 + u64::from(blobs) * TABLE_ENTRY as u64 + if head_len > 0 { 16 + u64::from(head_len) } else { 0 };
    if table + body_len > bytes.len() as u64 {
        return false;
    }
    let body_sum = crc32fast::hash(&bytes[table as usize..(table + body_len) as usize]);
    bytes[48..52].copy_from_slice(&body_sum.to_be_bytes());
    bytes[52..56].fill(0);
    let sum = crc32fast::hash(&bytes[..table as usize]);
    bytes[52..56].copy_from_slice(&sum.to_be_bytes());
    let len = bytes.len() as u64;
    read_frame(&Bytes(bytes), at, len).is_ok_and(|frame| frame.is_some_and(|f| f.whole))
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
        into.copy_from_slice(self.0.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
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
    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
