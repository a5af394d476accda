//! A store adapter of your own: one file for each blob, and one for the head.
//!
//! It is small, not fast: each blob is synced alone. It keeps no claims, so the engine trusts
//! that this directory is the only one of its store (`Store::claimed`): an adapter for production
//! implements `claimed` and `claim` too, as `src/store/sled` does.
//!
//! `cargo run --example own_store`

use std::fs::{self, File};
use std::io::{ErrorKind as Os, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::HEXLOWER;
use keyfall::cell::MemoryCell;
use keyfall::store::{Blob, BlobName, Cursor, Head, HeadId, Published, Removed, Store, Usage};
use keyfall::testing::store_conformance;
use keyfall::{Class, Engine, Error, ErrorKind, Options, Put, Result, Scope, UserId};

/// Bytes of a head's number, before its own: epoch and commit.
const NUMBER_BYTES: usize = 16;

struct FileStore {
    dir: PathBuf,
    /// Held for as long as the store is open: one process at a time.
    _lock: File,
    /// Two writers of this process agree here which head is there.
    writing: Mutex<()>,
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |e| Error::io(&path, e)
}

impl FileStore {
    fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("blobs")).map_err(io(dir))?;
        let lock = File::create(dir.join("lock")).map_err(io(dir))?;
        lock.try_lock().map_err(|_| {
            Error::new(ErrorKind::Locked, "another process has this store open; close it there")
        })?;
        Ok(FileStore { dir: dir.to_owned(), _lock: lock, writing: Mutex::default() })
    }

    fn blob(&self, name: &BlobName) -> PathBuf {
        self.dir.join("blobs").join(HEXLOWER.encode(&name.0))
    }

    /// Writes a file whole or not at all: under another name first, synced, then renamed.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let part = path.with_extension("part");
        let mut file = File::create(&part).map_err(io(&part))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io(&part))?;
        fs::rename(&part, path).map_err(io(path))?;
        let parent = path.parent().unwrap_or(&self.dir);
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(io(parent))
    }
}

impl Store for FileStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        read(&self.blob(name))
    }

    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.blob(name).try_exists().map_err(io(&self.dir))
    }

    fn put(&self, blobs: &[Blob]) -> Result<()> {
        let mut written = Vec::new();
        for (name, bytes) in blobs {
            let path = self.blob(name);
            if let Err(e) = self.write(&path, bytes) {
                // `Full` must mean that the call changed nothing.
                written.push(path.with_extension("part"));
                written.iter().for_each(|path: &PathBuf| drop(fs::remove_file(path)));
                return Err(e);
            }
            written.push(path);
        }
        Ok(())
    }

    fn head(&self) -> Result<Option<Head>> {
        let Some(file) = read(&self.dir.join("head"))? else { return Ok(None) };
        let Some((number, bytes)) = file.split_first_chunk::<NUMBER_BYTES>() else {
            return Err(Error::new(ErrorKind::Corrupt, "the head's file is cut short; restore it"));
        };
        let number = u128::from_be_bytes(*number);
        let id = HeadId { epoch: (number >> 64) as u64, commit: number as u64 };
        Ok(Some(Head { id, bytes: bytes.to_vec() }))
    }

    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.head()?.map(|head| head.id);
        if there != over || over >= Some(head.id) {
            return Ok(Published::Conflict(there));
        }
        // Blobs are durable before the head that needs them: the rename of the head is the commit.
        self.put(blobs)?;
        let number = (u128::from(head.id.epoch) << 64) | u128::from(head.id.commit);
        let file = [&number.to_be_bytes()[..], &head.bytes].concat();
        self.write(&self.dir.join("head"), &file)?;
        Ok(Published::Done)
    }

    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir.join("blobs")).map_err(io(&self.dir))? {
            let file = entry.map_err(io(&self.dir))?.file_name();
            let name = HEXLOWER.decode(file.as_encoded_bytes()).ok();
            // A file with another name is what a crash left of a blob.
            names.extend(name.and_then(|name| <[u8; 16]>::try_from(name).ok()).map(BlobName));
        }
        names.sort_unstable_by_key(|name| name.0);
        let mut rest = names.into_iter().filter(|name| u128::from_be_bytes(name.0) >= from.0);
        let page = rest.by_ref().take(limit).collect();
        Ok((page, rest.next().map(|next| Cursor(u128::from_be_bytes(next.0)))))
    }

    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        let mut removed = Removed::default();
        for name in names {
            let path = self.blob(name);
            // A file system does not say that a removed file's blocks were overwritten.
            removed.left += fs::metadata(&path).map_or(0, |file| file.len());
            match fs::remove_file(&path) {
                Err(e) if e.kind() != Os::NotFound => return Err(io(&path)(e)),
                _ => {}
            }
        }
        Ok(removed)
    }

    fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for entry in fs::read_dir(self.dir.join("blobs")).map_err(io(&self.dir))? {
            let file = entry.and_then(|entry| entry.metadata()).map_err(io(&self.dir))?;
            usage.blobs += 1;
            usage.bytes += file.len();
        }
        Ok(usage)
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == Os::NotFound => Ok(None),
        Err(e) => Err(io(path)(e)),
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;

    // The contract, call by call: the suite panics where it is broken.
    let checked = dir.path().join("checked");
    store_conformance(|| match FileStore::open(&checked) {
        Ok(store) => Arc::new(store),
        Err(e) => panic!("{e}"),
    });
    println!("The adapter keeps the contract.");

    // And an engine on it.
    let (place, cell) = (dir.path().join("store"), MemoryCell::new());
    let store = Arc::new(FileStore::open(&place)?);
    let engine = Engine::init(store, Arc::new(cell.handle()), Options::default())?;
    let ada = UserId::new("ada")?;
    let id = engine.put(Put::new(ada.clone(), Class::audio()), &b"wake me at six"[..])?;
    engine.erase(Scope::user(ada))?;
    drop(engine);

    let store = Arc::new(FileStore::open(&place)?);
    let engine = Engine::open(store, Arc::new(cell.handle()), Options::default())?;
    assert_eq!(engine.get(&id).err().map(|e| e.kind()), Some(ErrorKind::Erased));
    println!("Opened again: the record is erased.");
    Ok(())
}
