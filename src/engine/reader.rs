//! Open records: readers that an erase closes.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
#[cfg(feature = "tokio")]
use std::time::{Duration, Instant};

use super::core::Core;
use super::keys::{AHEAD, AHEAD_MIN, Keys, ReadAhead, RecordKeys};
use super::readers::{By, Of, Open};
use crate::catalogue::resolve::Needs;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::limits::CHUNK_BYTES;
use crate::record::RecordInfo;
use crate::sealed::outlet::{Falls, Outlet};
use crate::sealed::{Content, Live};
use crate::secret::WipeStack;
use crate::sync::locked;
use crate::tree::Geometry;

/// Chunks opened under one lock, at most: an erase waits for that long.
const AT_ONCE: usize = 4;
/// For so long an answer of the cell covers one piece of a record.
#[cfg(feature = "tokio")]
const ASKED_JUST_NOW: Duration = Duration::from_millis(100);

/// A record, open. Reads and seeks in the plaintext; memory: one segment (256 KiB
/// by default, 2 MiB of longer ones) and one chunk, three segments more while [`Reader::write_to`]
/// writes a long one.
///
/// When the record is erased, every later call fails as erased, also between two chunks.
///
/// From [`std::io::Read`] that is an `io::Error` of the kind `NotFound`, as for a record that was
/// never here; the [`crate::Error`] in it tells them apart:
///
/// ```
/// fn is_erased(e: &std::io::Error) -> bool {
///     let own = e.get_ref().and_then(|e| e.downcast_ref::<keyfall::Error>());
///     own.is_some_and(|e| e.kind() == keyfall::ErrorKind::Erased)
/// }
/// # assert!(is_erased(&keyfall::Error::new(keyfall::ErrorKind::Erased, "it was erased").into()));
/// ```
pub struct Reader {
    inner: Arc<Core>,
    open: Arc<Open>,
    info: RecordInfo,
    position: u64,
    /// When [`Reader::fill`] asked whether it may be read, until that was used.
    #[cfg(feature = "tokio")]
    asked: Option<Instant>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({})", self.info.id)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.info.wipe();
    }
}

impl Reader {
    /// A record, opened by what a look-up gave; it closes with any that it `needs`.
    pub(super) fn new(
        inner: &Arc<Core>,
        info: RecordInfo,
        geometry: Geometry,
        opened: RecordKeys,
        needs: Needs,
        by: By,
    ) -> Self {
        let keys = Keys::new(opened, geometry, info.length);
        let of = Of { id: Some(info.id), needs, about: None };
        let env = Arc::clone(&inner.options.env);
        let open = inner.readers.register(of, env, Some(keys), by);
        Reader {
            inner: Arc::clone(inner),
            open,
            info,
            position: 0,
            #[cfg(feature = "tokio")]
            asked: None,
        }
    }

    /// Writes the rest of the record to `out` and returns its length. Before each call of `out` it
    /// is asked whether the record is still there; an erase waits for a call in progress a
    /// twentieth of a second at most, for it may never end.
    ///
    /// # Errors
    /// As [`crate::Engine::get`]. If it fails in the middle, `out` holds a part of the record.
    pub fn write_to(&mut self, out: &mut impl Write) -> Result<u64> {
        if self.info.length.saturating_sub(self.position) < AHEAD_MIN {
            return self.write_on(&mut None, out);
        }
        let store = Arc::clone(self.inner.store());
        let (ask, asked) = sync_channel::<BlobName>(AHEAD);
        let (give, given) = sync_channel(AHEAD);
        std::thread::scope(|scope| {
            let fetch = move || asked.iter().all(|name| give.send(store.get(&name)).is_ok());
            // What it holds ends with it, and the thread with that. Without a thread it goes on
            // alone.
            let spawned = std::thread::Builder::new().spawn_scoped(scope, fetch);
            let mut ahead =
                spawned.is_ok().then(|| ReadAhead { ask, given, next: VecDeque::new() });
            self.write_on(&mut ahead, out)
        })
    }

    fn write_on(&mut self, ahead: &mut Option<ReadAhead>, out: &mut impl Write) -> Result<u64> {
        let left = self.info.length.saturating_sub(self.position);
        let outlet = Outlet::of_one(left.clamp(1, (AT_ONCE * CHUNK_BYTES) as u64) as usize);
        let open = Arc::clone(&self.open);
        open.watch(&outlet, 0)?;
        let _unwatched = Unwatched(&open, &outlet);
        let lend = || {
            open.check()?;
            outlet.lend().ok_or_else(|| open.erased())
        };
        let mut written = 0;
        loop {
            let mut buffer = lend()?;
            let n = self.read_on(&mut buffer, ahead)?;
            drop(buffer);
            if n == 0 {
                return Ok(written);
            }
            let (mut at, failed) = (0, |e| Error::io("writing what was read", e));
            while at < n {
                let buffer = lend()?;
                let taken = out.write(&buffer[at..n]);
                drop(buffer);
                match taken {
                    Ok(0) => return Err(failed(io::ErrorKind::WriteZero.into())),
                    Ok(taken) => at += taken,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(failed(e)),
                }
            }
            written += n as u64;
            if self.position >= self.info.length {
                open.check()?;
                return Ok(written);
            }
        }
    }

    /// Metadata of the record that is read.
    pub fn info(&self) -> &RecordInfo {
        &self.info
    }

    /// Reads as [`Read::read`], with this crate's error.
    ///
    /// # Errors
    /// `Erased` from the moment an erase of the record returns, at the latest; `Corrupt`, `Io`.
    pub fn read_some(&mut self, out: &mut [u8]) -> Result<usize> {
        self.read_on(out, &mut None)
    }

    /// Opens the chunk at the position, so that [`Reader::read_opened`] can read it.
    #[cfg(feature = "tokio")]
    pub(super) fn fill(&mut self) -> Result<()> {
        let asked = Instant::now();
        self.inner.check_readable()?;
        if self.position >= self.info.length {
            self.asked = Some(asked);
            return Ok(());
        }
        self.or_again(|reader| {
            let chunk = reader.chunk();
            reader.fetch(chunk, &mut None)?;
            let mut inside = locked(&reader.open.inside);
            let keys = inside.keys(&reader.open)?;
            let _wiped = WipeStack;
            keys.open(chunk).map(drop)
        })?;
        self.asked = Some(asked);
        Ok(())
    }

    /// Reads from the chunk that is open already, without blocking; `None` if the position lies in
    /// another, or if the engine has to ask first and has not just asked: its cell before each
    /// piece, if it is read-only, or a store that it shares.
    #[cfg(feature = "tokio")]
    pub(super) fn read_opened(&mut self, out: &mut [u8]) -> Option<Result<usize>> {
        let asked = self.asked.take().is_some_and(|asked| asked.elapsed() < ASKED_JUST_NOW);
        if self.inner.must_ask() {
            if !asked {
                return None;
            }
        } else if let Err(e) = self.inner.check_readable() {
            return Some(Err(e));
        }
        let mut inside = locked(&self.open.inside);
        let keys = match inside.keys(&self.open) {
            Ok(keys) => keys,
            Err(e) => return Some(Err(e)),
        };
        if self.position >= self.info.length || out.is_empty() {
            return Some(Ok(0));
        }
        let filled = keys.opened(self.chunk())?;
        let piece = self.piece(filled, out.len());
        out[..piece.len()].copy_from_slice(&keys.plain[piece.clone()]);
        self.position += piece.len() as u64;
        Some(Ok(piece.len()))
    }

    /// What comes next of the opened chunk at the position, of which so much was filled: as much as
    /// there is room for.
    fn piece(&self, filled: usize, room: usize) -> Range<usize> {
        let start = (self.position % CHUNK_BYTES as u64) as usize;
        let left = usize::try_from(self.info.length - self.position).unwrap_or(usize::MAX);
        start..start + room.min(filled.saturating_sub(start)).min(left)
    }

    /// Fetches what a chunk lies in, as it is stored, unless that is in hand. An erase does not
    /// wait for the store.
    fn fetch(&self, chunk: u64, ahead: &mut Option<ReadAhead>) -> Result<()> {
        if locked(&self.open.inside).keys(&self.open)?.opened(chunk).is_some() {
            return Ok(());
        }
        let store = self.inner.store();
        // The header, and the chunk; and the header of where the payload lies now.
        for _ in 0..3 {
            let wanted = {
                let mut inside = locked(&self.open.inside);
                let keys = inside.keys(&self.open)?;
                let _wiped = WipeStack;
                keys.wants(self.info.length, chunk, ahead.is_some())?
            };
            let Some(wanted) = wanted else { break };
            let blob = wanted.fetch(&**store, ahead)?;
            let moved = if blob.is_none() { self.first_now()? } else { None };
            let mut inside = locked(&self.open.inside);
            let keys = inside.keys(&self.open)?;
            let _wiped = WipeStack;
            if moved.is_some_and(|first| keys.first.replace(first) != Some(first)) {
                continue;
            }
            keys.give(&wanted, blob, &**store)?;
        }
        Ok(())
    }

    /// The name that the payload's first segment has now: it may have been written once more since
    /// this was opened.
    fn first_now(&self) -> Result<Option<BlobName>> {
        let id = self.info.id;
        self.inner.look_at(|_, view| Ok(view.users().look_up(&id)?.1.body.first()))
    }

    /// The chunk that the position lies in.
    fn chunk(&self) -> u64 {
        self.position / CHUNK_BYTES as u64
    }

    /// Reads, and once more if what was fetched does not open and the store has something else to
    /// give than what is kept of it elsewhere.
    fn or_again<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        match read(self) {
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                let shut = locked(&self.open.inside).keys(&self.open)?.let_go(self.chunk());
                match shut.map(|name| self.inner.store().get_again(&name)) {
                    Some(Ok(Some(_))) => read(self),
                    _ => Err(e),
                }
            }
            done => done,
        }
    }

    fn read_on(&mut self, out: &mut [u8], ahead: &mut Option<ReadAhead>) -> Result<usize> {
        self.inner.check_readable()?;
        let done = self.or_again(|reader| reader.read_in_hand(out, ahead))?;
        self.check_late(&mut out[..done])?;
        Ok(done)
    }

    fn read_in_hand(&mut self, out: &mut [u8], ahead: &mut Option<ReadAhead>) -> Result<usize> {
        if self.position < self.info.length && !out.is_empty() {
            self.fetch(self.chunk(), ahead)?;
        }
        // The lock is held until the bytes are in `out`: an erase that returns afterwards has seen
        // them delivered.
        let mut inside = locked(&self.open.inside);
        let keys = inside.keys(&self.open)?;
        // A short record was opened with its page: no cipher runs for it here.
        let wiped = (!keys.is_whole()).then(|| WipeStack);
        let room = out.len().min(AT_ONCE * CHUNK_BYTES);
        let mut done = 0;
        while done < room && self.position < self.info.length {
            let chunk = self.chunk();
            if done > 0 && !keys.has(chunk) {
                break;
            }
            let filled = match keys.open(chunk) {
                Err(_) if done > 0 => break,
                opened => opened?,
            };
            let piece = self.piece(filled, room - done);
            if piece.is_empty() {
                break;
            }
            out[done..done + piece.len()].copy_from_slice(&keys.plain[piece.clone()]);
            self.position += piece.len() as u64;
            done += piece.len();
        }
        // Before the lock is let go: an erase that returns leaves no round keys on this thread's
        // stack.
        drop(wiped);
        drop(inside);
        Ok(done)
    }

    /// Asks once more where the store was so slow that what it gave may not go out unasked; takes
    /// it back where it may not.
    fn check_late(&self, out: &mut [u8]) -> Result<()> {
        if self.inner.may_deliver() {
            return Ok(());
        }
        let may = self.inner.check_readable().and_then(|()| self.open.check());
        may.inspect_err(|_| out.fill(0))
    }
}

/// Takes an outlet off a reader's list again.
struct Unwatched<'o>(&'o Open, &'o Arc<Outlet>);

impl Drop for Unwatched<'_> {
    fn drop(&mut self) {
        locked(&self.0.inside).outlets.retain(|(outlet, _)| !Arc::ptr_eq(outlet, self.1));
    }
}

impl Content for Reader {
    fn live(&self) -> Option<Live> {
        Some(Live::new(Arc::clone(&self.open) as Arc<dyn Falls>))
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.read_some(out).map_err(io::Error::from)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.info.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = at.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the beginning")
        })?;
        Ok(self.position)
    }
}
