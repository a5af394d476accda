//! Open records: readers that an erase closes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};

use zeroize::Zeroize;

use super::clock::Floor;
use super::edit::Cuts;
use super::grants::revoked;
use super::read::{Selector, record_erased};
use super::watched::look_over;
use super::{Inner, locked};
use crate::crypto::{self, Key, chunked};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, RecordId, Timestamp, UserTag};
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, TAG_BYTES};
use crate::process::Process;
use crate::record::{self, RecordInfo};
use crate::sealed::outlet::{Falls, Outlet, settle};
use crate::sealed::{Content, Live};
use crate::secret::{Secret, WipeStack};
use crate::sync::Mutex;
use crate::tree::Geometry;
use crate::tree::keys::SetTag;

/// A derived record and every one that it depends on, each with its sources.
pub(super) type Needs = HashMap<RecordId, Vec<RecordId>>;

/// The part of a reader that an erase reaches: its keys, the one opened chunk, and what was read and is on its way out.
pub(super) struct Open {
    /// The record: it closes when that is erased.
    id: Option<RecordId>,
    /// Or one that it depends on.
    needs: Mutex<Needs>,
    /// A user whom all of it is about: it closes when anything of theirs is erased.
    about: Option<UserTag>,
    env: SharedEnv,
    inside: Mutex<Inside>,
}

/// Why a reader was closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    Erased,
    Revoked,
    /// The root key under which a store is looked at is gone.
    LookOver,
}

struct Inside {
    closed: Option<Closed>,
    /// Gone once it is closed.
    keys: Option<Keys>,
    /// By which grants it was opened; `None`: by the owner of the store.
    via: Option<Via>,
    /// Where what was read is held, and under which number.
    outlets: Vec<(Arc<Outlet>, u64)>,
}

/// What lets a third party's reader go on: as long as one of these grants holds.
pub(super) struct Via {
    pub(super) user: UserTag,
    /// Numbers of the grants, and their ends.
    pub(super) grants: Vec<(u64, Option<Timestamp>)>,
    /// No clock that is set back opens one again that ended.
    pub(super) floor: Floor,
    /// And this training set is there.
    pub(super) set: Option<SetTag>,
}

impl Inside {
    /// Lets go of keys and of what was read; gives where that is held.
    fn close(&mut self, why: Closed) -> Vec<Arc<Outlet>> {
        self.closed.get_or_insert(why);
        self.keys = None;
        let told = std::mem::take(&mut self.outlets);
        told.iter().for_each(|(outlet, number)| outlet.fell(*number));
        told.into_iter().map(|(outlet, _)| outlet).collect()
    }

    /// Whether it may be read now.
    fn check(&mut self, open: &Open) -> Result<()> {
        let over = self.via.as_ref().is_some_and(|via| {
            let now = via.floor.now(&*open.env);
            !via.grants.iter().any(|(_, until)| until.is_none_or(|until| now < until))
        });
        if over {
            self.close(Closed::Revoked);
        }
        match self.closed {
            None => Ok(()),
            Some(Closed::Revoked) => Err(revoked()),
            Some(Closed::Erased) => Err(open.erased()),
            Some(Closed::LookOver) => Err(look_over("this store")),
        }
    }

    /// The keys, where it may be read now.
    fn keys(&mut self, open: &Open) -> Result<&mut Keys> {
        self.check(open)?;
        self.keys.as_mut().ok_or_else(|| open.erased())
    }
}

impl Open {
    fn erased(&self) -> Error {
        match &self.id {
            Some(id) => record_erased(id),
            None => {
                Error::new(ErrorKind::Erased, "something of this user was erased meanwhile; ask for the report again")
            }
        }
    }

    /// Whether all that it reads from is gone with what is erased.
    fn falls(&self, erased: &[Selector]) -> bool {
        let taken = |id: &RecordId| erased.iter().any(|s| s.takes(id));
        erased.iter().any(|s| self.about == Some(s.user))
            || self.id.as_ref().is_some_and(taken)
            || locked(&self.needs).keys().any(taken)
    }

    /// Records were cut from sources: what it depended on through these alone it needs no more.
    fn cut(&self, cuts: &Cuts) {
        let (Some(id), mut needs) = (self.id, locked(&self.needs)) else { return };
        let mut is_cut = false;
        for (record, from) in cuts {
            if let Some(sources) = needs.get_mut(record) {
                sources.retain(|source| !from.contains(source));
                is_cut = true;
            }
        }
        if !is_cut {
            return;
        }
        let (mut reached, mut next) = (BTreeSet::new(), vec![id]);
        while let Some(at) = next.pop() {
            if reached.insert(at) {
                next.extend(needs.get(&at).into_iter().flatten().copied());
            }
        }
        needs.retain(|id, _| reached.contains(id));
    }
}

impl Falls for Open {
    fn watch(&self, outlet: &Arc<Outlet>, number: u64) -> Result<()> {
        let mut inside = locked(&self.inside);
        inside.check(self)?;
        inside.outlets.push((Arc::clone(outlet), number));
        Ok(())
    }

    fn check(&self) -> Result<()> {
        locked(&self.inside).check(self)
    }
}

struct Keys {
    secret: Key,
    /// Name of the first segment.
    first: BlobName,
    root: Key,
    suite: Option<chunked::Suite>,
    context: Vec<u8>,
    geometry: Geometry,
    /// The segment in hand, as stored.
    segment: Option<(u64, Vec<u8>)>,
    /// The chunk in hand, opened, and its length.
    chunk: Option<(u64, usize)>,
    plain: Secret,
}

/// Chunks opened under one lock, at most: an erase waits for that long.
const AT_ONCE: usize = 4;
/// Segments of a long record that are fetched while the one before is opened.
const AHEAD: usize = 2;
/// Bytes from which on that pays for its thread.
const AHEAD_MIN: u64 = 2 << 20;

/// Fetches segments as they are stored, in order, in a thread of its own.
struct Ahead {
    ask: SyncSender<BlobName>,
    given: Receiver<Result<Option<Vec<u8>>>>,
    /// What was asked for and not taken yet.
    next: VecDeque<u64>,
}

/// A record, open. Reads and seeks in the plaintext; memory: one segment (256 KiB by default) and one chunk, three segments more while
/// [`Reader::write_to`] writes a long one.
///
/// When the record is erased, every later call fails as erased, also between two chunks.
pub struct Reader {
    inner: Arc<Inner>,
    open: Arc<Open>,
    info: RecordInfo,
    position: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({})", self.info.id)
    }
}

impl Inner {
    /// Closes the readers of what is erased; a read in progress ends first. Gives where what they had read is held, for
    /// [`settle`].
    pub(super) fn close_readers(&self, erased: &[Selector]) -> Vec<Arc<Outlet>> {
        self.close_where(|open| open.falls(erased).then(|| locked(&open.inside).close(Closed::Erased)))
    }

    /// Closes every reader; gives where what they had read is held.
    pub(super) fn close_all_readers(&self) -> Vec<Arc<Outlet>> {
        self.close_where(|open| Some(locked(&open.inside).close(Closed::LookOver)))
    }

    /// Has the readers of records that were cut from sources go on when these are erased.
    pub(super) fn cut_readers(&self, cuts: &Cuts) {
        if !cuts.is_empty() {
            locked(&self.readers).iter().filter_map(Weak::upgrade).for_each(|open| open.cut(cuts));
        }
    }

    /// Closes the readers that were opened by nothing but what `hit` takes from them.
    pub(super) fn close_granted(&self, hit: impl Fn(&mut Via)) {
        let outlets = self.close_where(|open| {
            let mut inside = locked(&open.inside);
            let via = inside.via.as_mut()?;
            hit(via);
            via.grants.is_empty().then(|| inside.close(Closed::Revoked))
        });
        settle(&outlets);
    }

    fn register(
        &self,
        (id, needs, about): (Option<RecordId>, Needs, Option<UserTag>),
        keys: Option<Keys>,
        via: Option<Via>,
    ) -> Arc<Open> {
        let inside = Inside { closed: None, keys, via, outlets: Vec::new() };
        let (needs, env) = (Mutex::new(needs), Arc::clone(&self.options.env));
        let open = Arc::new(Open { id, needs, about, env, inside: Mutex::new(inside) });
        let mut readers = locked(&self.readers);
        readers.retain(|r| r.strong_count() > 0);
        readers.push(Arc::downgrade(&open));
        open
    }

    /// Until when what is told of a user may go out: until something of theirs is erased. To be asked for in the state that it is told from.
    pub(super) fn live(&self, user: UserTag) -> Live {
        Live::new(self.register((None, Needs::new(), Some(user)), None, None))
    }

    fn close_where(&self, close: impl Fn(&Open) -> Option<Vec<Arc<Outlet>>>) -> Vec<Arc<Outlet>> {
        let mut outlets = Vec::new();
        locked(&self.readers).retain(|reader| {
            let Some(open) = reader.upgrade() else { return false };
            let closed = close(&open);
            let stays = closed.is_none();
            outlets.extend(closed.into_iter().flatten());
            stays
        });
        outlets
    }
}

impl Reader {
    /// A record whose secret, first segment's name, content root and context are these; it closes with any that it `needs`.
    pub(super) fn new(
        inner: &Arc<Inner>,
        needs: Needs,
        (secret, first, root, context): (Key, BlobName, Key, Vec<u8>),
        (info, geometry): (RecordInfo, Geometry),
        via: Option<Via>,
    ) -> Self {
        // Most records are short: a buffer costs its wiping.
        let plain = Secret::zeroed(record::padded(info.length).min(CHUNK_BYTES as u64) as usize);
        let keys = Keys { secret, first, root, suite: None, context, geometry, segment: None, chunk: None, plain };
        let open = inner.register((Some(info.id), needs, None), Some(keys), via);
        Reader { inner: Arc::clone(inner), open, info, position: 0 }
    }

    /// Writes the rest of the record to `out` and returns its length. Before each call of `out` it is asked whether the record is
    /// still there; an erase waits for a call in progress a twentieth of a second at most, for it may never end.
    ///
    /// # Errors
    /// As [`crate::Engine::get`]. Where it fails in the middle, `out` holds a part of the record.
    pub fn write_to(&mut self, out: &mut impl Write) -> Result<u64> {
        if self.info.length.saturating_sub(self.position) < AHEAD_MIN {
            return self.write_on(&mut None, out);
        }
        let store = Arc::clone(self.inner.store());
        let (ask, asked) = sync_channel::<BlobName>(AHEAD);
        let (give, given) = sync_channel(AHEAD);
        std::thread::scope(|scope| {
            let fetch = move || asked.iter().all(|name| give.send(store.get(&name)).is_ok());
            // What it holds ends with it, and the thread with that. Without a thread it goes on alone.
            let spawned = std::thread::Builder::new().spawn_scoped(scope, fetch);
            let mut ahead = spawned.is_ok().then(|| Ahead { ask, given, next: VecDeque::new() });
            self.write_on(&mut ahead, out)
        })
    }

    fn write_on(&mut self, ahead: &mut Option<Ahead>, out: &mut impl Write) -> Result<u64> {
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
        }
    }

    /// The record's metadata.
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

    fn read_on(&mut self, out: &mut [u8], ahead: &mut Option<Ahead>) -> Result<usize> {
        self.inner.check_usable()?;
        // The lock is held until the bytes are in `out`: an erase that returns afterwards has seen them delivered.
        let mut inside = locked(&self.open.inside);
        let keys = inside.keys(&self.open)?;
        // Before the lock is let go: an erase that returns leaves no round keys on this thread's stack.
        let _wiped = WipeStack;
        let room = out.len().min(AT_ONCE * CHUNK_BYTES);
        let mut done = 0;
        while done < room && self.position < self.info.length {
            let chunk = self.position / CHUNK_BYTES as u64;
            let filled = match keys.open(&self.inner, self.info.length, chunk, ahead) {
                Err(_) if done > 0 => break,
                opened => opened?,
            };
            let start = (self.position % CHUNK_BYTES as u64) as usize;
            let left = usize::try_from(self.info.length - self.position).unwrap_or(usize::MAX);
            let n = (room - done).min(filled.saturating_sub(start)).min(left);
            if n == 0 {
                break;
            }
            out[done..done + n].copy_from_slice(&keys.plain[start..start + n]);
            self.position += n as u64;
            done += n;
        }
        Ok(done)
    }
}

impl Keys {
    fn segment_name(&self, n: u64) -> BlobName {
        record::segment_name(&self.secret, self.first, n)
    }

    fn fetch(&mut self, inner: &Inner, segment: u64, last: u64, ahead: &mut Option<Ahead>) -> Result<()> {
        if self.segment.as_ref().is_some_and(|(there, _)| *there == segment) {
            return Ok(());
        }
        self.segment = None;
        let name = self.segment_name(segment);
        let blob = match ahead {
            Some(ahead) => ahead.fetch(|n| self.segment_name(n), segment, last),
            None => inner.store().get(&name),
        };
        let blob = blob?.ok_or_else(|| super::pages::missing(name, &inner.store().place()))?;
        self.segment = Some((segment, blob));
        Ok(())
    }

    /// Has chunk `chunk` opened in `plain`, and returns its length.
    fn open(&mut self, inner: &Inner, length: u64, chunk: u64, ahead: &mut Option<Ahead>) -> Result<usize> {
        if let Some((_, filled)) = self.chunk.filter(|(there, _)| *there == chunk) {
            return Ok(filled);
        }
        // Nothing is read of segments that hold padding alone.
        let last = record::locate(length.saturating_sub(1) / CHUNK_BYTES as u64, self.geometry).0;
        if self.suite.is_none() {
            self.fetch(inner, 0, last, ahead)?;
            let header = self.segment.as_ref().and_then(|(_, s)| s.get(..HEADER_BYTES)).unwrap_or_default();
            self.suite = Some(chunked::Suite::from_header(&crypto::content_key(&self.root), header, &self.context)?);
        }
        let (segment, start) = record::locate(chunk, self.geometry);
        self.fetch(inner, segment, last, ahead)?;
        let expected = (record::padded(length) - chunk * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64) as usize;
        let sealed = self.segment.as_ref().and_then(|(_, s)| s.get(start..start + expected + TAG_BYTES));
        let (Some(sealed), Some(suite)) = (sealed, &self.suite) else {
            return Err(Error::corrupt("a record's payload is shorter than its entry says; restore it from a copy"));
        };
        self.chunk = None;
        let filled = suite.open_chunk(chunk, sealed, &mut self.plain)?;
        self.chunk = Some((chunk, filled));
        Ok(filled)
    }
}

impl Ahead {
    /// The blob of a segment, and asks for those behind it.
    fn fetch(&mut self, name: impl Fn(u64) -> BlobName, segment: u64, last: u64) -> Result<Option<Vec<u8>>> {
        let gone = || Error::new(ErrorKind::Io, "the thread that reads ahead ended");
        if self.next.front().is_some_and(|front| *front != segment) {
            for _ in self.next.drain(..) {
                drop(self.given.recv());
            }
        }
        let behind = self.next.back().map_or(segment, |back| back + 1);
        for n in (behind..=last).take(AHEAD - self.next.len()) {
            self.ask.send(name(n)).map_err(|_| gone())?;
            self.next.push_back(n);
        }
        self.next.pop_front();
        self.given.recv().map_err(|_| gone())?
    }
}

impl Drop for Open {
    /// A fork has none of its parent's secrets: it notes that it is one before they are let go.
    fn drop(&mut self) {
        let _ = Process::this();
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

impl Drop for Keys {
    fn drop(&mut self) {
        self.context.zeroize();
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
        self.position =
            at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the beginning"))?;
        Ok(self.position)
    }
}
