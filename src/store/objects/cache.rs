//! Windows of objects, kept in a directory of this machine, so that a process that starts reads
//! them without a request.
//!
//! ```text
//! CACHEDIR.TAG          says to backup programs what this is
//! <2 hex>/<30 hex>      key 32 ‖ bytes ‖ first 16 of SHA-256 over both
//! ```
//! The key is SHA-256 over the log (place and identity), the range and the object; its first 16
//! bytes are the file's name. All of it is ciphertext that the place has, too: an erase has nothing
//! to do here, and a copy of this directory gives nothing away.
//!
//! Nothing depends on it. A file that is torn, changed or missing is read from the place again, and
//! what cannot be written is not kept.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use sha2::{Digest, Sha256};

use super::named::Object;
use crate::dir::{check_subdir, make_dir, open_to_read};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Mutex, locked};

/// Bytes of a file beside those of its window.
const AROUND: usize = KEY + SUM;
const KEY: usize = 32;
const SUM: usize = 16;
/// Hexadecimal digits of a file's name, of which two name its folder.
const DIGITS: usize = 32;
/// How the name of a file begins that is being written.
const DRAFT: &str = "draft-";
/// The tag of directories that backup programs pass over (bford.info/cachedir).
const TAG: &str = "CACHEDIR.TAG";
const TAGGED: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
# Ciphertext of a keyfall store, read from its objects. It may be removed at any time.\n";

/// How full a cache is, as far as a handle knows.
struct Filled {
    /// Bytes of all files when they were last listed.
    listed: u64,
    /// Bytes of those that this handle wrote since: others write too.
    since: u64,
}

/// The directory, as the handle on one log uses it.
pub(super) struct ObjectCache {
    dir: PathBuf,
    /// Bytes of all files, at most; for a moment a sixteenth more for each process that writes.
    most: u64,
    log: [u8; 32],
    filled: Mutex<Filled>,
    drafts: AtomicU64,
    /// Whether anything came from here.
    hit: AtomicBool,
}

impl ObjectCache {
    /// Opens the cache in a directory, for the log at a place, which `identity` tells from
    /// another one there.
    ///
    /// # Errors
    /// `Refused` for a directory in which something else lies; `Medium` for a link; `Io`.
    pub(super) fn open(dir: &Path, most: u64, place: &str, identity: &[u8]) -> Result<Self> {
        check_subdir(dir)?;
        make_dir(dir)?;
        check_unused(dir)?;
        let log = Sha256::new()
            .chain_update((place.len() as u64).to_be_bytes())
            .chain_update(place)
            .chain_update(identity)
            .finalize()
            .into();
        remove_drafts(dir);
        let there = listed(dir).iter().map(|file| file.bytes).sum();
        let filled = Mutex::new(Filled { listed: there, since: 0 });
        let (drafts, hit) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(ObjectCache { dir: dir.to_owned(), most, log, filled, drafts, hit })
    }

    /// Whether anything that was read since it was opened came from here.
    pub(super) fn was_hit(&self) -> bool {
        self.hit.load(Ordering::Relaxed)
    }

    /// A range of an object, if it is here as it was read.
    pub(super) fn get(&self, object: Object, from: u64, len: u64) -> Option<Vec<u8>> {
        let key = self.key(object, from, len);
        let path = self.path(&key);
        let file = open_to_read(&path).ok()?;
        let mut bytes = Vec::new();
        // What is longer is none of these.
        (&file).take(len.saturating_add(AROUND as u64 + 1)).read_to_end(&mut bytes).ok()?;
        let (checked, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
        if checked.get(..KEY)? != key || Sha256::digest(checked)[..SUM] != *sum {
            return None;
        }
        bytes.truncate(bytes.len() - SUM);
        bytes.drain(..KEY);
        self.hit.store(true, Ordering::Relaxed);
        // What was used longest ago goes first.
        let (now, as_it_is) = (time(UTIME_NOW), time(UTIME_OMIT));
        let _ = futimens(&file, &Timestamps { last_access: as_it_is, last_modification: now });
        Some(bytes)
    }

    /// Keeps a range of an object, in the place of what was kept of it before.
    pub(super) fn keep(&self, object: Object, from: u64, len: u64, bytes: &[u8]) {
        let size = (bytes.len() + AROUND) as u64;
        if size > self.most {
            return;
        }
        let key = self.key(object, from, len);
        if self.write(&key, bytes).is_err() {
            // The next process asks the place.
            return;
        }
        let mut filled = locked(&self.filled);
        filled.since += size;
        if filled.listed + filled.since > self.most || filled.since > self.most / 16 {
            *filled = Filled { listed: self.make_room(), since: 0 };
        }
    }

    fn key(&self, object: Object, from: u64, len: u64) -> [u8; KEY] {
        Sha256::new()
            .chain_update(self.log)
            .chain_update(from.to_be_bytes())
            .chain_update(len.to_be_bytes())
            .chain_update(object.name())
            .finalize()
            .into()
    }

    fn path(&self, key: &[u8; KEY]) -> PathBuf {
        let hex = data_encoding::HEXLOWER.encode(&key[..DIGITS / 2]);
        self.dir.join(&hex[..2]).join(&hex[2..])
    }

    /// Writes a file that is whole under its name, or not there. It is not synced: one that a power
    /// cut leaves torn has another sum.
    fn write(&self, key: &[u8; KEY], bytes: &[u8]) -> Result<()> {
        let path = self.path(key);
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let draft = self.dir.join(format!("{DRAFT}{}-{number}", std::process::id()));
        let io = |e| Error::io(path.display(), e);
        if let Some(folder) = path.parent() {
            check_subdir(folder)?;
            // Not the directory itself: whoever removed it may have put something else there.
            match fs::DirBuilder::new().mode(0o700).create(folder) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(io(e)),
                _ => {}
            }
        }
        let sum = Sha256::new().chain_update(key).chain_update(bytes).finalize();
        let written =
            File::options().write(true).create_new(true).mode(0o600).open(&draft).and_then(
                |mut file| {
                    file.write_all(&[&key[..], bytes, &sum[..SUM]].concat())?;
                    fs::rename(&draft, &path)
                },
            );
        written.map_err(|e| {
            let _ = fs::remove_file(&draft);
            io(e)
        })
    }

    /// If there is too much removes what was used longest ago, until an eighth of the room is free.
    /// Gives what is left.
    fn make_room(&self) -> u64 {
        let mut files = listed(&self.dir);
        files.sort_unstable_by_key(|file| file.used);
        let mut left: u64 = files.iter().map(|file| file.bytes).sum();
        if left <= self.most {
            return left;
        }
        for file in files {
            if left <= self.most - self.most / 8 {
                break;
            }
            if fs::remove_file(&file.path).is_ok() {
                left -= file.bytes;
            }
        }
        left
    }
}

struct Kept {
    path: PathBuf,
    bytes: u64,
    used: Option<SystemTime>,
}

/// A time that the system knows.
fn time(tv_nsec: i64) -> Timespec {
    Timespec { tv_sec: 0, tv_nsec }
}

fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(dir).into_iter().flatten().flatten()
}

/// The name of an entry, if it is so many hexadecimal digits.
fn has_digits(entry: &fs::DirEntry, digits: usize) -> bool {
    let name = entry.file_name();
    let is_digit = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    name.len() == digits && name.as_encoded_bytes().iter().all(is_digit)
}

/// The files of a cache, whoever wrote them.
fn listed(dir: &Path) -> Vec<Kept> {
    let is_folder = |entry: &fs::DirEntry| {
        has_digits(entry, 2) && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    let kept = |entry: fs::DirEntry| {
        let meta = entry.metadata().ok().filter(|meta| meta.is_file())?;
        let (bytes, used) = (meta.len(), meta.modified().ok());
        has_digits(&entry, DIGITS - 2).then_some(Kept { path: entry.path(), bytes, used })
    };
    let folders = entries(dir).filter(is_folder);
    folders
        .flat_map(|folder| entries(&folder.path()).filter_map(kept).collect::<Vec<_>>())
        .collect()
}

/// Removes what processes left that were killed. What another one is writing now it does not keep.
fn remove_drafts(dir: &Path) {
    for entry in entries(dir) {
        if entry.file_name().as_encoded_bytes().starts_with(DRAFT.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Refuses a directory in which anything lies that is not of a cache, and tags it if it has no tag,
/// or a torn one. Without a tag it is a cache all the same.
fn check_unused(dir: &Path) -> Result<()> {
    let is_ours = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let begins = |with: &str| name.as_encoded_bytes().starts_with(with.as_bytes());
        name == TAG || begins(DRAFT) || has_digits(entry, 2)
    };
    if entries(dir).any(|entry| !is_ours(&entry)) {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} holds something else than a cache of objects; name an empty directory",
                dir.display()
            ),
        ));
    }
    let tag = dir.join(TAG);
    if !fs::read(&tag).is_ok_and(|there| there == TAGGED.as_bytes()) {
        let draft = dir.join(format!("{DRAFT}{}-tag", std::process::id()));
        let _ = fs::write(&draft, TAGGED).and_then(|()| fs::rename(&draft, &tag));
    }
    Ok(())
}
