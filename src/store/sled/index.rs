//! The index: sled as a map from names to places in the log.
//!
//! What is relied on: a batch on one tree is applied whole or not at all, and what sled holds after `flush` and an
//! `fsync` of each of its files is there after a crash. `flush` alone is no barrier in 0.34 (`sync_file_range`; its
//! issues #1351 and #1452), so every checkpoint syncs the files itself.
//!
//! ```text
//! 'n' ‖ name 16 -> file 4 ‖ offset 8 ‖ length 4
//! 'f' ‖ file 4  -> live blobs in it 8
//! "mark"        -> file 4 ‖ offset 8          the log is indexed up to here
//! "head"        -> epoch 8 ‖ commit 8 ‖ file 4 ‖ offset 8 ‖ length 4
//! ```

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::log::{Location, Position};
use crate::codec::Decoder;
use crate::dir::sync_dir;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::HeadId;

/// Bytes of sled's own cache.
const CACHE_BYTES: u64 = 16 << 20;

/// How often, and how long apart, sled's own lock is tried.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The open index.
pub(super) struct Index {
    dir: PathBuf,
    db: sled::Db,
}

/// Runs sled's code, which panics on some damage, and turns that into an error.
fn guarded<T>(dir: &Path, f: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    let remedy = "remove this directory, it is built anew from the log when the store is next opened";
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(e))) => Err(Error::io(format!("the index {}", dir.display()), e)),
        Ok(Err(e)) => {
            Err(Error::new(ErrorKind::Corrupt, format!("the index {} is damaged; {remedy}", dir.display()))
                .with_source(e))
        }
        Err(_) => Err(Error::new(ErrorKind::Corrupt, format!("the index {} is damaged; {remedy}", dir.display()))),
    }
}

fn name_key(name: &BlobName) -> [u8; 17] {
    let mut key = [b'n'; 17];
    key[1..].copy_from_slice(&name.0);
    key
}

fn file_key(file: u32) -> [u8; 5] {
    let mut key = [b'f'; 5];
    key[1..].copy_from_slice(&file.to_be_bytes());
    key
}

impl Index {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let mut opened = guarded(dir, || config.open());
        // Who holds the store's lock has nobody to wait for but a child that another thread of this process is just
        // forking, and that has sled's lock until it runs its program.
        for _ in 0..LOCK_TRIES {
            if !opened.as_ref().is_err_and(|e| e.to_string().contains("could not acquire lock")) {
                break;
            }
            std::thread::sleep(LOCK_PAUSE);
            opened = guarded(dir, || config.open());
        }
        let db = opened?;
        let index = Index { dir: dir.to_owned(), db };
        // A look at every kind of entry, so that damage shows now.
        index.mark()?;
        index.head()?;
        index.live()?;
        Ok(index)
    }

    pub(super) fn get(&self, name: &BlobName) -> Result<Option<Location>> {
        match guarded(&self.dir, || self.db.get(name_key(name)))? {
            Some(value) => Location::decode(&mut Decoder::new(&value, "index entry")).map(Some),
            None => Ok(None),
        }
    }

    /// Up to where the log is indexed.
    pub(super) fn mark(&self) -> Result<Position> {
        match guarded(&self.dir, || self.db.get("mark"))? {
            Some(value) => {
                let mut d = Decoder::new(&value, "index entry");
                Ok(Position { file: d.u32()?, offset: d.u64()? })
            }
            None => Ok(Position::default()),
        }
    }

    pub(super) fn head(&self) -> Result<Option<(HeadId, Location)>> {
        let Some(value) = guarded(&self.dir, || self.db.get("head"))? else {
            return Ok(None);
        };
        let mut d = Decoder::new(&value, "index entry");
        Ok(Some((HeadId { epoch: d.u64()?, commit: d.u64()? }, Location::decode(&mut d)?)))
    }

    pub(super) fn live(&self) -> Result<BTreeMap<u32, u64>> {
        let mut live = BTreeMap::new();
        let all = guarded(&self.dir, || self.db.scan_prefix([b'f']).collect::<sled::Result<Vec<_>>>())?;
        for (key, value) in all {
            let (mut k, mut v) = (Decoder::new(&key, "index entry"), Decoder::new(&value, "index entry"));
            k.u8()?;
            live.insert(k.u32()?, v.u64()?);
        }
        Ok(live)
    }

    /// Takes in what the log holds up to `mark`, in one batch.
    pub(super) fn learn(
        &self,
        blobs: &BTreeMap<BlobName, Location>,
        head: Option<(HeadId, Location)>,
        live: &mut BTreeMap<u32, u64>,
        mark: Position,
    ) -> Result<()> {
        let mut batch = sled::Batch::default();
        let mut touched = BTreeMap::new();
        for (name, at) in blobs {
            if let Some(there) = self.get(name)? {
                if there == *at {
                    continue;
                }
                *touched.entry(there.file).or_insert(0i64) -= 1;
            }
            *touched.entry(at.file).or_insert(0) += 1;
            batch.insert(&name_key(name), &at.encode());
        }
        self.count(&mut batch, live, touched);
        if let Some((id, at)) = head {
            batch.insert("head", [&id.epoch.to_be_bytes()[..], &id.commit.to_be_bytes(), &at.encode()].concat());
        }
        batch.insert("mark", [&mark.file.to_be_bytes()[..], &mark.offset.to_be_bytes()].concat());
        guarded(&self.dir, || self.db.apply_batch(batch))
    }

    /// Forgets names, and says where their bytes are.
    pub(super) fn forget(&self, names: &[BlobName], live: &mut BTreeMap<u32, u64>) -> Result<Vec<Location>> {
        let mut batch = sled::Batch::default();
        let (mut touched, mut removed) = (BTreeMap::new(), Vec::new());
        for name in names {
            if let Some(at) = self.get(name)? {
                batch.remove(&name_key(name));
                *touched.entry(at.file).or_insert(0i64) -= 1;
                removed.push(at);
            }
        }
        self.count(&mut batch, live, touched);
        guarded(&self.dir, || self.db.apply_batch(batch))?;
        Ok(removed)
    }

    fn count(&self, batch: &mut sled::Batch, live: &mut BTreeMap<u32, u64>, touched: BTreeMap<u32, i64>) {
        for (file, by) in touched {
            let n = live.entry(file).or_insert(0);
            *n = n.saturating_add_signed(by);
            batch.insert(&file_key(file), &n.to_be_bytes());
        }
    }

    pub(super) fn names(&self, from: &BlobName, limit: usize) -> Result<Vec<BlobName>> {
        let keys = guarded(&self.dir, || {
            self.db.range(name_key(from)..).keys().take(limit).collect::<sled::Result<Vec<_>>>()
        })?;
        let name = |key: &sled::IVec| <[u8; 16]>::try_from(&key[1..]).ok().filter(|_| key[0] == b'n').map(BlobName);
        Ok(keys.iter().map_while(name).collect())
    }

    /// Flushes sled and syncs each of its files and directories: the barrier that `flush` is not.
    pub(super) fn sync(&self) -> Result<()> {
        guarded(&self.dir, || self.db.flush())?;
        sync_files(&self.dir).map_err(|e| Error::io(format!("syncing the index {}", self.dir.display()), e))?;
        sync_dir(&self.dir)
    }
}

fn sync_files(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        match std::fs::File::open(&path) {
            Ok(file) => {
                if file.metadata()?.is_dir() {
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
