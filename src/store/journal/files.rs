//! The blob journal: frames in numbered files, appended and never changed; space comes back as
//! holes and removed files.
//!
//! A commit is one frame with a head, and `fdatasync`. A frame says up to where the journal was
//! synced before it: damage below that point is damage, damage above it a write that was cut short
//! and never acknowledged.
//!
//! Small appends write zeros ahead: a growing file has its inode written with every `fdatasync`,
//! which takes as long again as the frame. Zeros are no frame, so an open after a crash cuts them
//! off; they end before the size at which another file follows, so only the last file has any.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dir::{files, open_file, path, sync_dir};
use super::frame::{self, Frame, HEADER, LABEL, Label, Location, Position};
use super::naming::Hint;
use super::sizes::Sizes;
use super::wipe::{runs, wipe};
use crate::disk::{Disk, DiskFile, How};
use crate::error::{Error, ErrorKind, Result, told};
use crate::ids::BlobName;
use crate::limits::BLOB_MAX_BYTES;
use crate::store::{Ahead, Blob, Head};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, locked};

/// Blobs, and where they are.
type Found = Vec<(BlobName, Location)>;

/// Files kept open for reading.
const OPEN_MAX: usize = 256;
/// A blob of at most so many bytes is read with its label: to take the label off costs a copy.
const AT_ONCE: usize = 16 << 10;

/// The files of an open journal.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    sizes: Sizes,
    tail: Mutex<Tail>,
    /// The number of the last file: readers do not wait for a sync to learn it.
    last: AtomicU32,
    readers: Mutex<BTreeMap<u32, Arc<dyn DiskFile>>>,
    /// Lengths of the files that grow no more, as far as they were asked for.
    lens: Mutex<BTreeMap<u32, u64>>,
}

struct Tail {
    file: Arc<dyn DiskFile>,
    end: Position,
    synced: Position,
    /// The number of its next blob.
    number: u32,
    /// At this length the file is followed by another; none was said so far.
    limit: Option<u64>,
    /// Bytes of frames since the journal was opened.
    written: u64,
    /// Bytes of the file: zeros from `end` on.
    filled: u64,
    /// Whether the last frame was a short one.
    short: bool,
    /// Bytes of frames since zeros were written.
    since: u64,
    /// Up to where the last frame says that the journal was synced, and up to where one does that
    /// is on the medium.
    says: Position,
    vouched: Position,
}

impl Journal {
    /// Opens the journal after its last byte; `replay` finds out whether that is where it ends.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, sizes: Sizes) -> Result<Self> {
        let tail = Tail::open(&*disk, dir)?;
        Ok(Journal {
            disk,
            dir: dir.to_owned(),
            sizes,
            last: AtomicU32::new(tail.end.file),
            tail: Mutex::new(tail),
            readers: Mutex::default(),
            lens: Mutex::default(),
        })
    }

    /// The same, of the journal that is open.
    pub(super) fn open_again(&self) -> Result<()> {
        let mut tail = locked(&self.tail);
        *tail = Tail::open(&*self.disk, &self.dir)?;
        self.last.store(tail.end.file, Ordering::Release);
        locked(&self.readers).clear();
        locked(&self.lens).clear();
        Ok(())
    }

    /// Numbers of its files.
    pub(super) fn numbers(&self) -> Result<Vec<u32>> {
        files(&*self.disk, &self.dir)
    }

    /// Bytes of all its files.
    pub(super) fn bytes(&self) -> Result<u64> {
        self.numbers()?.into_iter().map(|file| self.bytes_of(file)).sum()
    }

    /// Bytes of the frames in a file; none if it is not there any more.
    pub(super) fn bytes_of(&self, number: u32) -> Result<u64> {
        let end = self.end();
        if number >= end.file {
            return Ok(if number == end.file { end.offset } else { 0 });
        }
        self.len_of(number)
    }

    /// Bytes of a file that grows no more.
    fn len_of(&self, number: u32) -> Result<u64> {
        if let Some(len) = locked(&self.lens).get(&number) {
            return Ok(*len);
        }
        let file = match self.reader(number) {
            Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(0),
            file => file?,
        };
        let len = file.len().map_err(|e| Error::io(path(&self.dir, number).display(), e))?;
        locked(&self.lens).insert(number, len);
        Ok(len)
    }

    pub(super) fn end(&self) -> Position {
        locked(&self.tail).end
    }

    /// Bytes of frames that were written since it was opened.
    pub(super) fn written(&self) -> u64 {
        locked(&self.tail).written
    }

    /// At what length the last file is followed by another.
    fn limit(&self, tail: &mut Tail) -> u64 {
        *tail.limit.get_or_insert_with(|| {
            let older = self.numbers().and_then(|all| {
                all.into_iter().filter(|n| *n < tail.end.file).map(|n| self.len_of(n)).sum()
            });
            // What cannot be found out is no reason for many small files.
            older.map_or(self.sizes.file_bytes, |older: u64| self.sizes.limit(older))
        })
    }

    /// Where the label of a blob goes that has `ahead` before it in the next frame.
    pub(super) fn next(&self, ahead: Ahead) -> Position {
        let mut tail = locked(&self.tail);
        let (limit, end) = (self.limit(&mut tail), tail.end);
        let before = (HEADER + ahead.bytes + ahead.blobs * LABEL) as u64;
        if end.offset >= limit {
            Position { file: end.file + 1, offset: before }
        } else {
            Position { file: end.file, offset: end.offset + before }
        }
    }

    /// Appends one frame. `Full` changes nothing.
    pub(super) fn append(
        &self,
        blobs: &[Blob],
        head: Option<&Head>,
    ) -> Result<(Found, Option<Location>)> {
        let mut tail = locked(&self.tail);
        if tail.end.offset >= self.limit(&mut tail) {
            self.next_file(&mut tail)?;
        }
        let start = tail.end;
        let frame = frame::build(blobs, head, start, tail.synced, tail.number);
        frame.write(&*tail.file, blobs).map_err(|e| {
            let full = Error::io(format!("writing {}", path(&self.dir, start.file).display()), e);
            match tail.cut() {
                Ok(()) => full,
                Err(e) => {
                    Error::new(ErrorKind::Io, format!("undoing a write that failed ({full})"))
                        .with_source(e)
                }
            }
        })?;
        tail.says = tail.synced;
        tail.end.offset += frame.len;
        tail.written += frame.len;
        tail.number += blobs.len() as u32;
        self.fill_ahead(&mut tail, frame.len, head.is_some());
        Ok((frame.blobs, frame.head))
    }

    /// Writes zeros where the file has just grown: after a short frame that follows another, and
    /// after a commit that ends four times as many bytes. What fails here costs time only.
    fn fill_ahead(&self, tail: &mut Tail, frame: u64, commit: bool) {
        let (end, ahead) = (tail.end.offset, self.sizes.ahead_bytes);
        let follows = std::mem::replace(&mut tail.short, frame <= ahead / 4);
        tail.since += frame;
        if end <= tail.filled {
            return;
        }
        tail.filled = end;
        let to = (end + ahead).min(self.limit(tail));
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

    /// Ends the last file before it is full, and begins another. `Full` changes nothing.
    pub(super) fn roll(&self) -> Result<()> {
        let mut tail = locked(&self.tail);
        if tail.filled > tail.end.offset {
            // Durably: zeros in a file that is not the last would pass for damage.
            let cut = tail.cut().and_then(|()| tail.file.sync_data());
            cut.map_err(|e| {
                let place = path(&self.dir, tail.end.file);
                Error::new(ErrorKind::Io, format!("ending {}: {e}", place.display())).with_source(e)
            })?;
            tail.synced = tail.end;
            tail.vouched = tail.says;
        }
        self.next_file(&mut tail)
    }

    fn next_file(&self, tail: &mut Tail) -> Result<()> {
        sync_tail(&self.dir, tail)?;
        let number = tail.end.file + 1;
        let file = open_file(&*self.disk, &self.dir, number, How::Create)?;
        sync_dir(&*self.disk, &self.dir)?;
        tail.file = file;
        tail.end = Position { file: number, offset: 0 };
        tail.synced = tail.end;
        tail.number = 0;
        tail.limit = None;
        self.last.store(number, Ordering::Release);
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
            return Err(Error::corrupt(format!(
                "the index points out of bounds in {}",
                place.display()
            )));
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

    /// What lies at a place, if it says this name: where, and its bytes where they are `wanted`.
    pub(super) fn look(
        &self,
        name: &BlobName,
        hint: Hint,
        wanted: bool,
    ) -> Result<Option<(Location, Vec<u8>)>> {
        let Hint { at, len } = hint;
        if !(1..=self.last.load(Ordering::Acquire)).contains(&at.file) || len > 2 * BLOB_MAX_BYTES {
            return Ok(None);
        }
        let failed = |e| Error::io(path(&self.dir, at.file).display(), e);
        let file = match self.reader(at.file) {
            Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(None),
            file => file?,
        };
        let mut bytes = vec![0; LABEL + if wanted && len <= AT_ONCE { len } else { 0 }];
        let mut read = file.read_exact_at(&mut bytes, at.offset);
        if bytes.len() > LABEL && is_end(&read) {
            // A place says a little more than the length, and this is the last blob.
            bytes.truncate(LABEL);
            read = file.read_exact_at(&mut bytes, at.offset);
        }
        if is_end(&read) {
            return Ok(None);
        }
        read.map_err(failed)?;
        let Some(label) = Label::decode(&bytes, at).filter(|label| label.name == *name) else {
            return Ok(None);
        };
        let offset = at.offset + LABEL as u64;
        let location = Location { file: at.file, offset, len: label.len, number: label.number };
        let len = label.len as usize;
        if wanted && bytes.len() < LABEL + len {
            return self.read(location).map(|bytes| Some((location, bytes)));
        }
        bytes.truncate(LABEL + len);
        bytes.drain(..LABEL);
        Ok(Some((location, bytes)))
    }

    /// Blobs of the frames from `from` on, about `limit` of them, and where the next frame is; at
    /// the end of the journal `None`.
    pub(super) fn list(&self, from: Position, limit: usize) -> Result<(Found, Option<Position>)> {
        let end = self.end();
        let (mut blobs, mut at) = (Vec::new(), from);
        for number in files(&*self.disk, &self.dir)?
            .into_iter()
            .filter(|n| (from.file..=end.file).contains(n))
        {
            if number > at.file {
                at = Position { file: number, offset: 0 };
            }
            let place = path(&self.dir, number);
            let file = match self.reader(number) {
                // Nothing lives in it any more.
                Err(e) if e.kind() == ErrorKind::Corrupt && self.is_gone(number)? => continue,
                file => file?,
            };
            let len = if number == end.file {
                end.offset
            } else {
                file.len().map_err(|e| Error::io(place.display(), e))?
            };
            while at.offset < len {
                if blobs.len() >= limit {
                    return Ok((blobs, Some(at)));
                }
                let frame = frame::read_table(&*file, at, len)
                    .map_err(|e| Error::io(place.display(), e))?;
                let frame = frame.ok_or_else(|| damaged(&place, at.offset))?;
                at = frame.end();
                blobs.extend(frame.blobs);
            }
        }
        Ok((blobs, None))
    }

    /// Whether a file is missing.
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

    /// Finds every frame from `from` on, cuts off a write that was never finished, and leaves the
    /// journal ready to append, once it knows the [number](Journal::set_number) of its next blob.
    /// What lies below `known` was synced, whether or not a frame says so.
    pub(super) fn replay(&self, from: Position, known: Position) -> Result<Vec<Frame>> {
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
                match frame::read(&*file, at, len).map_err(|e| Error::io(place.display(), e))? {
                    Some(frame) => {
                        offset += frame.len;
                        frames.push(frame);
                    }
                    None => {
                        let above = || {
                            frame::synced_above(&*file, at, len)
                                .map_err(|e| Error::io(place.display(), e))
                        };
                        if number != last || at < known || above()? {
                            return Err(damaged(&place, offset));
                        }
                        self.cut(at)?;
                        break;
                    }
                }
            }
        }
        let end = self.end();
        if end < known {
            let offset = if end.file == known.file { end.offset } else { 0 };
            return Err(damaged(&path(&self.dir, known.file), offset));
        }
        // A frame with odd blobs is one with holes, if a later frame knows that it was synced; each
        // blob is authenticated when it is opened.
        let synced = frames.iter().map(|f| f.synced).fold(known, Position::max);
        if let Some(torn) =
            frames.iter().position(|f| !f.whole && f.at >= synced && f.at.file == last)
        {
            self.cut(frames[torn].at)?;
            frames.truncate(torn);
        }
        self.write_again(synced.max(from))?;
        Ok(frames)
    }

    /// Says how many blobs the last file has.
    pub(super) fn set_number(&self, count: impl FnOnce(u32) -> u32) {
        let mut tail = locked(&self.tail);
        tail.number = count(tail.end.file);
    }

    /// Writes what nobody knows to be on the medium once more. After a sync that failed, an earlier
    /// process's frames can stand in the page cache, be read as whole, and be passed over by the
    /// next sync as clean.
    fn write_again(&self, from: Position) -> Result<()> {
        let tail = locked(&self.tail);
        let mut offset = if from.file == tail.end.file { from.offset } else { 0 };
        let mut window = vec![0; 1 << 20];
        while offset < tail.end.offset {
            let n = window.len().min((tail.end.offset - offset) as usize);
            let again = tail.file.read_exact_at(&mut window[..n], offset);
            again.and_then(|()| tail.file.write_all_at(&window[..n], offset)).map_err(|e| {
                Error::io(
                    format!(
                        "writing the end of {} once more",
                        path(&self.dir, tail.end.file).display()
                    ),
                    e,
                )
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

    /// Whether a frame on the medium says that the journal was synced beyond these blobs. Only such
    /// a one may lose its bytes: else a frame with holes would pass for a write that was cut short,
    /// with all after it.
    pub(super) fn is_vouched(&self, at: Location) -> bool {
        let tail = locked(&self.tail);
        at.file < tail.end.file || at.offset < tail.vouched.offset && at.file == tail.vouched.file
    }

    /// Whether a blob's label stands where it was.
    pub(super) fn is_labelled(&self, name: &BlobName, at: Location) -> Result<bool> {
        let Some(offset) = at.offset.checked_sub(LABEL as u64) else { return Ok(false) };
        let (place, mut there) = (Position { file: at.file, offset }, [0; LABEL]);
        let read = self.reader(at.file)?.read_exact_at(&mut there, place.offset);
        if is_end(&read) {
            return Ok(false);
        }
        read.map_err(|e| Error::io(path(&self.dir, at.file).display(), e))?;
        Ok(Label { name: *name, len: at.len, number: at.number }.encode(place) == there)
    }

    /// Has nothing left of these blobs on the medium, and touches nothing beside them: whole blocks
    /// are given back, if neighbours make some up, and the rest is overwritten with zeros.
    pub(super) fn wipe(&self, blobs: Vec<Location>) -> Result<()> {
        for (number, spans) in runs(blobs) {
            let place = path(&self.dir, number);
            let file = match open_file(&*self.disk, &self.dir, number, How::Write) {
                // With its file all of it is gone.
                Err(e) if e.kind() == ErrorKind::Corrupt => continue,
                file => file?,
            };
            wipe(&*file, spans).map_err(|e| {
                Error::new(
                    ErrorKind::Io,
                    format!("overwriting what was removed from {}: {}", place.display(), told(&e)),
                )
                .with_source(e)
            })?;
        }
        Ok(())
    }

    /// Makes durable which files there are.
    pub(super) fn sync_names(&self) -> Result<()> {
        sync_dir(&*self.disk, &self.dir)
    }

    /// Removes a file without live blobs, unless it is the one that grows.
    pub(super) fn remove_file(&self, number: u32) -> Result<bool> {
        if locked(&self.tail).end.file == number {
            return Ok(false);
        }
        let removed = self.disk.remove(&path(&self.dir, number));
        // Only now: nobody can open it again, and a file that is open keeps its space.
        locked(&self.readers).remove(&number);
        locked(&self.lens).remove(&number);
        match removed {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(e) => Err(Error::io(path(&self.dir, number).display(), e)),
        }
    }
}

impl Tail {
    /// The end of the last file.
    fn open(disk: &dyn Disk, dir: &Path) -> Result<Self> {
        let number = files(disk, dir)?.last().copied().unwrap_or(1);
        let file = open_file(disk, dir, number, How::Create)?;
        // Also if the file is there already: it may owe its name to a process that died before
        // this sync.
        sync_dir(disk, dir)?;
        let offset = file.len().map_err(|e| Error::io(path(dir, number).display(), e))?;
        let end = Position { file: number, offset };
        let synced = Position::default();
        Ok(Tail {
            file,
            end,
            synced,
            number: 0,
            limit: None,
            written: 0,
            filled: offset,
            short: false,
            since: 0,
            says: synced,
            vouched: synced,
        })
    }

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
            Error::new(
                ErrorKind::Io,
                format!("syncing {}: {}", path(dir, tail.end.file).display(), told(&e)),
            )
            .with_source(e)
        })?;
        tail.synced = tail.end;
        tail.vouched = tail.says;
    }
    Ok(())
}

fn damaged(place: &Path, offset: u64) -> Error {
    Error::corrupt(format!(
        "{} is damaged at byte {offset}, before what was acknowledged last; restore the store from \
         a copy with `restore`",
        place.display()
    ))
}

fn is_end(read: &io::Result<()>) -> bool {
    read.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::UnexpectedEof)
}
