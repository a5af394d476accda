//! The space of what counts as given back: files without live blobs are removed, and a file of
//! which little lives is emptied, its live blobs written once more at the end of the journal.
//!
//! A blob that is moved keeps its name and its bytes. It is there once or twice at any moment: its
//! old place counts as given back once the new one can be found, and goes with its file after the
//! journal was synced. A crash before that leaves both, and whatever comes next takes one of them.

use std::collections::BTreeSet;

use super::frame::{LABEL, Location, Position};
use super::give::{Places, removable, remove_files};
use super::naming::Hint;
use super::store::{JournalStore, Moving, check_whole};
use super::tally::Share;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::{Blob, Cleaned, Head, Packing, Waste};
use crate::sync::atomic::Ordering;
use crate::sync::locked;

/// Blobs of a file that are looked at in one step, about.
const LOOK: usize = 512;
/// A sweep is worth its walk if this part of a file's size is believed to have died, or more.
const LEAST_PART: u64 = 16;
/// The last file is ended if this part of a file's size was given back in it.
const ROLL_PART: u64 = 32;

/// How much of the journal is not needed, as far as is known.
pub(super) fn waste(store: &JournalStore) -> Result<Waste> {
    let (bytes, mut given_back) = (store.journal.bytes()?, 0);
    let shares = store.tally().shares();
    for share in shares {
        given_back += share.dead(store.journal.bytes_of(share.file)?);
    }
    let given_back = given_back.min(bytes);
    let suspected = store.suspected.load(Ordering::Relaxed).min(bytes - given_back);
    Ok(Waste { bytes, given_back, suspected, least: store.sizes.file_bytes / LEAST_PART })
}

/// One step of giving space back, which moves about `most` bytes of blobs at once.
pub(super) fn clean(store: &JournalStore, most: u64, packing: Packing) -> Result<Cleaned> {
    let mut moving = locked(&store.moving);
    let freed = free(store)?;
    if freed > 0 || most == 0 {
        return Ok(Cleaned { freed, more: freed > 0, ..Cleaned::default() });
    }
    let Some(from) = next_file(store, &mut moving, packing)? else {
        return Ok(Cleaned::default());
    };
    match empty_some(store, &mut moving, from, most) {
        Ok(moved) => Ok(Cleaned { moved, more: true, ..Cleaned::default() }),
        // A blob that cannot be read stays where it is, and its file with it.
        Err(e) if check_whole(&store.tail(), &store.dir).is_ok() && e.kind() != ErrorKind::Full => {
            moving.from = None;
            moving.stuck.insert(from.file);
            Ok(Cleaned { more: true, stuck: Some(e.to_string()), ..Cleaned::default() })
        }
        Err(e) => Err(e),
    }
}

/// Removes files without live blobs, and says how many bytes they had.
fn free(store: &JournalStore) -> Result<u64> {
    let files = {
        let mut tail = store.tail();
        check_whole(&tail, &store.dir)?;
        let last = store.journal.end().file;
        // The head alone keeps no file: it is written once more.
        if let Some((id, at)) = tail.head.filter(|(_, at)| at.file != last)
            && store.tally().empty().contains(&at.file)
        {
            let head = Head { id, bytes: store.journal.read(at)? };
            match store.append(&mut tail, &[], Some(&head)) {
                Ok(at) => tail.head = at.map(|at| (id, at)),
                // Without room for it that file stays.
                Err(e) if e.kind() == ErrorKind::Full => {}
                Err(e) => return Err(e),
            }
        }
        let files = removable(store, &tail);
        if !files.is_empty() {
            // What was moved out of them.
            store.sync(&mut tail)?;
        }
        files
    };
    let mut freed = 0;
    for file in &files {
        freed += store.journal.bytes_of(*file)?;
    }
    // A directory whose sync failed may pass the next one over.
    remove_files(store, &files).inspect_err(|_| store.tail().broken = true)?;
    store.tail().gone.extend(files);
    Ok(freed)
}

/// Whether a file is emptied: whether less of its blobs live than is wanted.
fn is_sparse(share: &Share, packing: Packing) -> bool {
    let (part, of) = match packing {
        Packing::Loose => (2, 3),
        Packing::Dense => (9, 10),
    };
    share.live * of < share.count * part
}

/// Whether three quarters as much was given back as lives: until then the files that lose their
/// blobs fastest are left to, for what they still hold need not be moved.
fn is_wasteful(store: &JournalStore, shares: &[Share]) -> Result<bool> {
    let (mut bytes, mut dead) = (0, 0);
    for share in shares {
        let of = store.journal.bytes_of(share.file)?;
        bytes += of;
        dead += share.dead(of);
    }
    Ok(dead > store.sizes.file_bytes / LEAST_PART && dead / 3 > (bytes - dead) / 4)
}

/// Where the next blobs are to be moved from: in the file that is being emptied, or else in that of
/// which least lives.
fn next_file(
    store: &JournalStore,
    moving: &mut Moving,
    packing: Packing,
) -> Result<Option<Position>> {
    if moving.from.is_some() {
        return Ok(moving.from);
    }
    let shares = store.tally().shares();
    if packing == Packing::Loose && !is_wasteful(store, &shares)? {
        return Ok(None);
    }
    let stuck: &BTreeSet<u32> = &moving.stuck;
    let sparse = |share: &&Share| is_sparse(share, packing) && !stuck.contains(&share.file);
    let last = store.journal.end().file;
    if let Some(share) = shares.iter().filter(sparse).find(|share| share.file == last) {
        let dead = share.dead(store.journal.bytes_of(last)?);
        if dead >= store.sizes.file_bytes / ROLL_PART {
            let mut tail = store.tail();
            // Another may have followed it by now.
            if store.journal.end().file == last {
                store.roll(&mut tail)?;
            }
        }
    }
    let last = store.journal.end().file;
    let by_share = |a: &&Share, b: &&Share| (a.live * b.count).cmp(&(b.live * a.count));
    let found = shares.iter().filter(sparse).filter(|share| share.file < last).min_by(by_share);
    moving.from = found.map(|share| Position { file: share.file, offset: 0 });
    Ok(moving.from)
}

/// Moves some blobs out of a file, and says how many bytes they have.
fn empty_some(store: &JournalStore, moving: &mut Moving, from: Position, most: u64) -> Result<u64> {
    let (blobs, next) = store.journal.list(from, LOOK)?;
    let (mut moved, mut some, mut bytes): (u64, Vec<(Location, Blob)>, u64) = (0, Vec::new(), 0);
    for (name, at) in blobs.into_iter().filter(|(_, at)| at.file == from.file) {
        if store.tally().is_dead(at) {
            continue;
        }
        if bytes > 0 && bytes + u64::from(at.len) > most {
            moved += write_again(store, &mut some)?;
            bytes = 0;
        }
        match store.locate(&name)? {
            // It was put twice, and this one is not read.
            Some(read) if read != at => drop_twin(store, at)?,
            _ => {
                some.push((at, (name, read(store, &name, at)?)));
                bytes += u64::from(at.len);
            }
        }
    }
    moved += write_again(store, &mut some)?;
    moving.from = next.filter(|next| next.file == from.file);
    Ok(moved)
}

/// The bytes of a blob, once its label is seen to say this name.
fn read(store: &JournalStore, name: &BlobName, at: Location) -> Result<Vec<u8>> {
    let label = Position { file: at.file, offset: at.offset - LABEL as u64 };
    match store.journal.look(name, Hint { at: label, len: at.len as usize }, true)? {
        Some((there, bytes)) if there == at => Ok(bytes),
        _ => Err(Error::corrupt(format!(
            "the blob {name} of {} is damaged, and its file is kept; restore the store from its \
             copies with `restore`",
            store.dir.display()
        ))),
    }
}

/// Counts a place as given back whose blob is read elsewhere. That other place may not be synced:
/// it is, before this one's file goes.
fn drop_twin(store: &JournalStore, at: Location) -> Result<()> {
    let tail = store.tail();
    check_whole(&tail, &store.dir)?;
    store.tally_mut().kill(at);
    Ok(())
}

/// Writes blobs once more, at the end of the journal. Their old places count as given back.
fn write_again(store: &JournalStore, some: &mut Vec<(Location, Blob)>) -> Result<u64> {
    let mut tail = store.tail();
    let (mut old, mut blobs): (Places, Vec<Blob>) = Default::default();
    for (at, blob) in some.drain(..).filter(|(at, _)| !store.tally().is_dead(*at)) {
        old.push((blob.0, at));
        blobs.push(blob);
    }
    if blobs.is_empty() {
        return Ok(0);
    }
    store.append(&mut tail, &blobs, None)?;
    {
        let mut tally = store.tally_mut();
        old.iter().for_each(|(_, at)| tally.kill(*at));
    }
    store.checkpoint_if_due(&mut tail)?;
    Ok(blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum())
}
