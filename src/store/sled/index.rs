//! The journal's index in sled: places of the blobs whose names do not say them, and what each file
//! of the journal holds.
//!
//! What is relied on: a batch on one tree is applied whole or not at all, a crash takes the newest
//! changes only, and what sled holds after `flush` and an `fsync` of each of its files is there
//! after a crash. `flush` alone is no barrier in 0.34 (`sync_file_range`; its issues #1351 and
//! #1452), so every checkpoint syncs the files itself.
//!
//! ```text
//! 'p' ...       -> places of blobs whose names do not say them (places.rs)
//! 'f' ‖ file 4  -> blobs written to it 4
//!                  ‖ 1 if bytes of those given back may still be there, else 0
//!                  ‖ a bit for each that was given back, the lowest of a byte first
//! "known"       -> file 4 ‖ offset 8   the journal is indexed up to here
//! "suspected"   -> bytes 8              about so much of the journal died and was not counted yet
//! "head"        -> epoch 8 ‖ commit 8 ‖ file 4 ‖ offset 8 ‖ length 4 ‖ 0 4
//! ```
//! Before entries had several places, each name had one: 'n' ‖ name 16 -> file 4 ‖ offset 8 ‖
//! length 4 ‖ number in the file 4, and "known" was "mark". Such an index is converted. A program
//! of that time finds no "mark" in this one, and reads the whole journal again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::places::{self, Places};
use super::synced;
use crate::codec::Decoder;
use crate::dir::{open_to_read, sync_dir};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::process::Process;
use crate::store::HeadId;
use crate::store::journal::{
    Blobs, Index, Location, NAMING_KEY_BYTES, Naming, Position, Summary, Update,
};

/// Bytes of sled's own cache.
const CACHE_BYTES: u64 = 16 << 20;

/// The key of the position up to which the journal is indexed.
const KNOWN: &str = "known";

/// How often, and how long apart, sled's own lock is tried.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The journal's index in an open sled database.
pub(super) struct SledIndex {
    dir: PathBuf,
    /// Gone only while it is dropped.
    db: Option<sled::Db>,
    naming: Naming,
    /// A flush did not end.
    stuck: AtomicBool,
    process: Process,
}

/// Runs sled's code, which panics on some damage, and turns that into an error.
fn guarded<T>(dir: &Path, f: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    let remedy =
        "remove this directory, and the next open of the store rebuilds it from the journal";
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(e))) => {
            Err(Error::io(format!("the index {}", dir.display()), of_system(e)))
        }
        Ok(Err(e)) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("the index {} is damaged; {remedy}", dir.display()),
        )
        .with_source(e)),
        Err(_) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("the index {} is damaged; {remedy}", dir.display()),
        )),
    }
}

/// What sled says while the database before still lets go of its files.
const STILL_HELD: &str = "could not acquire lock";

/// The system's own error, of which sled passes on the debug text alone.
fn of_system(e: std::io::Error) -> std::io::Error {
    let text = e.to_string();
    if text.contains(STILL_HELD) {
        return e;
    }
    let code = text.split_once("Os { code: ").and_then(|(_, rest)| rest.split(',').next());
    let code = code.and_then(|code| code.parse().ok());
    code.map_or(e, std::io::Error::from_raw_os_error)
}

/// How long sled may take to start its first thread.
const START: Duration = Duration::from_secs(3);

/// Opens sled, which waits for ever if none of its threads could be started.
fn patient(dir: &Path, config: sled::Config) -> Result<sled::Db> {
    let none = |e| {
        Error::io(
            "no thread can be started for the index; raise the limit of processes and threads",
            e,
        )
    };
    let (tell, hear) = std::sync::mpsc::sync_channel(1);
    let place = dir.to_owned();
    let opening = std::thread::Builder::new().name("keyfall-index".into());
    opening.spawn(move || drop(tell.send(guarded(&place, || config.open())))).map_err(none)?;
    match hear.recv_timeout(START) {
        Err(RecvTimeoutError::Timeout) if !has_sled_thread() => {
            Err(none(std::io::Error::new(std::io::ErrorKind::WouldBlock, "sled has none")))
        }
        // It works, however long that takes.
        Err(RecvTimeoutError::Timeout) => hear.recv().unwrap_or_else(|_| Err(ended(dir))),
        opened => opened.unwrap_or_else(|_| Err(ended(dir))),
    }
}

fn ended(dir: &Path) -> Error {
    Error::new(
        ErrorKind::Io,
        format!("opening the index {} ended without a result; open the store again", dir.display()),
    )
}

/// Whether a thread of sled's runs in this process; true if the system does not say.
fn has_sled_thread() -> bool {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return true };
    let name = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()
    };
    threads.filter_map(name).any(|name| name.starts_with("sled-io"))
}

/// Longest that sled's flush is waited for: after a write that failed in one of its threads it may
/// wait for itself, for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs sled's code on a thread of its own, and waits for it no longer than that. `None` if it
/// does not end: the thread is left alone.
fn patiently<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let work = move || drop(tell.send(act()));
    std::thread::Builder::new().name("keyfall-flush".into()).spawn(work).ok()?;
    told.recv_timeout(PATIENCE).ok()
}

fn file_key(file: u32) -> [u8; 5] {
    let mut key = [b'f'; 5];
    key[1..].copy_from_slice(&file.to_be_bytes());
    key
}

impl SledIndex {
    /// Opens the index of a journal that makes its names with this key.
    pub(super) fn open(dir: &Path, naming_key: &[u8; NAMING_KEY_BYTES]) -> Result<Self> {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let open = || patient(dir, config.clone());
        let mut opened = open();
        // The holder of the store's lock waits only for a child that another thread of this process
        // is just forking, and that has sled's lock until it runs its program.
        for _ in 0..LOCK_TRIES {
            if !opened.as_ref().is_err_and(|e| e.to_string().contains(STILL_HELD)) {
                break;
            }
            std::thread::sleep(LOCK_PAUSE);
            opened = open();
        }
        let db = opened?;
        let index = SledIndex {
            dir: dir.to_owned(),
            db: Some(db),
            naming: Naming::new(naming_key),
            stuck: AtomicBool::new(false),
            process: Process::this(),
        };
        index.convert()?;
        // A look at every kind of entry, so that damage shows now.
        index.summary()?;
        Ok(index)
    }

    fn is_stuck(&self) -> Error {
        Error::new(
            ErrorKind::Io,
            format!(
                "the index {} does not answer: a write to it failed, or no thread can be started; \
                 open the store again",
                self.dir.display()
            ),
        )
    }

    /// Runs sled's code on the open database.
    fn run<T>(&self, act: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        let db = self.db.as_ref().ok_or_else(|| self.is_stuck())?;
        guarded(&self.dir, || act(db))
    }

    fn mark(&self) -> Result<Position> {
        match self.run(|db| db.get(KNOWN))? {
            Some(value) => {
                let mut d = Decoder::new(&value, "index entry");
                Ok(Position { file: d.u32()?, offset: d.u64()? })
            }
            None => Ok(Position::default()),
        }
    }

    fn suspected(&self) -> Result<Option<u64>> {
        let value = self.run(|db| db.get("suspected"))?;
        value.map(|value| Decoder::new(&value, "index entry").u64()).transpose()
    }

    fn head(&self) -> Result<Option<(HeadId, Location)>> {
        let Some(value) = self.run(|db| db.get("head"))? else {
            return Ok(None);
        };
        let mut d = Decoder::new(&value, "index entry");
        Ok(Some((HeadId { epoch: d.u64()?, commit: d.u64()? }, Location::decode(&mut d)?)))
    }

    fn files(&self) -> Result<BTreeMap<u32, Blobs>> {
        let mut files = BTreeMap::new();
        let all = self.run(|db| db.scan_prefix([b'f']).collect::<sled::Result<Vec<_>>>())?;
        for (key, value) in all {
            let mut k = Decoder::new(&key, "index entry");
            k.u8()?;
            files.insert(k.u32()?, Blobs::decode(&value)?);
        }
        Ok(files)
    }
}

/// Names that are converted at once.
const SOME: usize = 4096;

impl SledIndex {
    /// Brings an index that had an entry for each name to the form of this program. What a crash
    /// leaves half done is done again.
    fn convert(&self) -> Result<()> {
        let Some(mark) = self.run(|db| db.get("mark"))? else { return Ok(()) };
        let files = self.files()?;
        loop {
            let some = |db: &sled::Db| db.scan_prefix([b'n']).take(SOME).collect();
            let some: Vec<(sled::IVec, sled::IVec)> = self.run(some)?;
            if some.is_empty() {
                break;
            }
            let mut names = Vec::with_capacity(some.len());
            for (key, value) in &some {
                let mut d = Decoder::new(&key[1..], "index entry");
                let at = Location::decode(&mut Decoder::new(value, "index entry"))?;
                // Names that died could be left in it, and their files are gone by now.
                if files.contains_key(&at.file) {
                    names.push((BlobName(d.array()?), Some(at)));
                }
            }
            self.change(&names)?;
            for (key, _) in &some {
                self.run(|db| db.remove(key))?;
            }
        }
        let mut batch = sled::Batch::default();
        batch.insert(KNOWN, mark);
        batch.remove("mark");
        self.run(|db| db.apply_batch(batch))
    }

    /// The entry of these keys, and its places.
    fn places(&self, key: &[u8]) -> Result<Places> {
        let entry = self.run(|db| db.get(key))?;
        entry.map_or_else(|| Ok(Places::default()), |entry| Places::decode(&entry))
    }
}

impl Index for SledIndex {
    fn get(&self, name: &BlobName) -> Result<Option<Location>> {
        let block = self.naming.block(name);
        match self.run(|db| db.get(places::key(&block)))? {
            Some(entry) => places::find(&entry, &block),
            None => Ok(None),
        }
    }

    fn summary(&self) -> Result<Summary> {
        let synced = self.dir.parent().map(synced::read).unwrap_or_default();
        let suspected = self.suspected()?;
        let (mark, head, files) = (self.mark()?, self.head()?, self.files()?);
        Ok(Summary { mark, head, files, synced, suspected })
    }

    /// Not as a batch: one of 65,536 names keeps each version of each page that it touches in
    /// memory until its end, gigabytes.
    fn change(&self, names: &[(BlobName, Option<Location>)]) -> Result<Vec<Option<Location>>> {
        let blocks: Vec<_> = names.iter().map(|(name, _)| self.naming.block(name)).collect();
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_unstable_by_key(|n| blocks[*n]);
        let mut before = vec![None; names.len()];
        for some in order.chunk_by(|a, b| places::key(&blocks[*a]) == places::key(&blocks[*b])) {
            let key = places::key(&blocks[some[0]]);
            let (mut places, mut changed) = (self.places(&key)?, false);
            for n in some {
                before[*n] = places.change(&blocks[*n], names[*n].1);
                changed |= before[*n] != names[*n].1;
            }
            if changed {
                match places.encode() {
                    Some(entry) => self.run(|db| db.insert(key, entry))?,
                    None => self.run(|db| db.remove(key))?,
                };
            }
        }
        Ok(before)
    }

    fn apply(&self, update: &Update) -> Result<()> {
        let mut batch = sled::Batch::default();
        let mut touched: BTreeMap<_, Places> = BTreeMap::new();
        for name in &update.remove {
            let block = self.naming.block(name);
            let entry = match touched.entry(places::key(&block)) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(free) => free.insert(self.places(&places::key(&block))?),
            };
            entry.change(&block, None);
        }
        for (key, places) in touched {
            match places.encode() {
                Some(entry) => batch.insert(&key, entry),
                None => batch.remove(&key),
            }
        }
        for (file, blobs) in &update.files {
            batch.insert(&file_key(*file), blobs.encode());
        }
        for file in &update.gone {
            batch.remove(&file_key(*file));
        }
        if let Some((id, at)) = update.head {
            batch.insert(
                "head",
                [&id.epoch.to_be_bytes()[..], &id.commit.to_be_bytes(), &at.encode()].concat(),
            );
        }
        if let Some(mark) = update.mark {
            batch
                .insert(KNOWN, [&mark.file.to_be_bytes()[..], &mark.offset.to_be_bytes()].concat());
        }
        if let Some(bytes) = update.suspected {
            batch.insert("suspected", &bytes.to_be_bytes());
        }
        self.run(|db| db.apply_batch(batch))
    }

    /// Flushes sled and syncs each of its files and directories: the barrier that `flush` is not.
    fn sync(&self) -> Result<()> {
        let open = self.db.clone().filter(|_| !self.stuck.load(Ordering::Acquire));
        let (db, dir) = (open.ok_or_else(|| self.is_stuck())?, self.dir.clone());
        match patiently(move || guarded(&dir, || db.flush())) {
            Some(flushed) => flushed.map(drop)?,
            None => {
                self.stuck.store(true, Ordering::Release);
                return Err(self.is_stuck());
            }
        }
        sync_files(&self.dir)
            .map_err(|e| Error::io(format!("syncing the index {}", self.dir.display()), e))?;
        sync_dir(&self.dir)?;
        // The journal was synced before the index learnt of it.
        let mark = self.mark()?;
        if let Some(store) = self.dir.parent().filter(|_| mark > Position::default()) {
            synced::write(store, mark);
        }
        Ok(())
    }
}

impl Drop for SledIndex {
    fn drop(&mut self) {
        if !self.process.is_this() {
            // Closed here, it would write, and wait for threads that are not here.
            std::mem::forget(self.db.take());
            return;
        }
        // sled panics if its last write fails; the journal has all that it would have written.
        let (Some(db), dir) = (self.db.take(), self.dir.clone()) else { return };
        if self.stuck.load(Ordering::Acquire) {
            std::mem::forget(db);
            return;
        }
        let _ = patiently(move || {
            guarded(&dir, || {
                drop(db);
                Ok(())
            })
        });
    }
}

fn sync_files(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let opened = if is_dir { std::fs::File::open(&path) } else { open_to_read(&path) };
        match opened {
            Ok(file) => {
                if is_dir {
                    sync_files(&path)?;
                }
                file.sync_all()?;
            }
            // sled removes snapshots as it goes.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; NAMING_KEY_BYTES] = [7; NAMING_KEY_BYTES];

    fn name(n: u32) -> BlobName {
        let mut name = [3; 16];
        name[..4].copy_from_slice(&n.to_be_bytes());
        BlobName(name)
    }

    fn place(n: u32) -> Location {
        Location { file: 1 + n % 3, offset: u64::from(n) * 100, len: n, number: n }
    }

    #[test]
    fn names_go_in_and_out_and_each_says_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let index = SledIndex::open(dir.path(), &KEY).unwrap();
        let all: Vec<_> = (0..500).map(|n| (name(n), Some(place(n)))).collect();
        assert!(index.change(&all).unwrap().iter().all(Option::is_none));
        let some: Vec<_> =
            (0..500).map(|n| (name(n), n.is_multiple_of(2).then(|| place(n + 7)))).collect();
        let before = index.change(&some).unwrap();
        assert!((0..500).zip(&before).all(|(n, before)| *before == Some(place(n))));
        let remove = (0..500).filter(|n| n % 4 == 0).map(name).collect();
        index.apply(&Update { remove, ..Update::default() }).unwrap();
        for n in 0..500 {
            let there = (n % 4 == 2).then(|| place(n + 7));
            assert_eq!(index.get(&name(n)).unwrap(), there, "{n}");
        }
        let rest: Vec<_> = (0..500).map(|n| (name(n), None)).collect();
        index.change(&rest).unwrap();
        assert_eq!(index.run(|db| Ok(db.len())).unwrap(), 0, "no entry is left empty");
    }

    #[test]
    fn an_index_with_an_entry_for_each_name_is_converted() {
        let dir = tempfile::tempdir().unwrap();
        let index = SledIndex::open(dir.path(), &KEY).unwrap();
        let mark = Position { file: 3, offset: 4096 };
        let old = |n: u32| [&b"n"[..], &name(n).0].concat();
        for n in 0..10_000 {
            index.run(|db| db.insert(old(n), &place(n).encode())).unwrap();
        }
        // The second file is gone.
        for file in [1, 3] {
            index.run(|db| db.insert(file_key(file), Blobs::default().encode())).unwrap();
        }
        let said = [&mark.file.to_be_bytes()[..], &mark.offset.to_be_bytes()].concat();
        index.run(|db| db.insert("mark", said)).unwrap();
        drop(index);
        for when in ["converted", "opened again"] {
            let index = SledIndex::open(dir.path(), &KEY).unwrap();
            assert_eq!(index.summary().unwrap().mark, mark, "{when}");
            for n in 0..10_000 {
                let there = Some(place(n)).filter(|at| at.file != 2);
                assert_eq!(index.get(&name(n)).unwrap(), there, "{when}: {n}");
            }
            let is_left = |db: &sled::Db| Ok(db.scan_prefix(b"n").next().is_some());
            assert!(!index.run(is_left).unwrap(), "{when}");
        }
    }
}
