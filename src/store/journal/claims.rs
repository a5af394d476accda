//! The claims of a journal's directory: two files written in turn, so that one is whole at any
//! moment. The first claim makes both.
//!
//! ```text
//! claim-a, claim-b = magic 8 ‖ instance 16 ‖ claim 8 ‖ known token 16 ‖ next token 16 ‖ CRC-32 4
//! ```
//! Nothing else in the journal ever writes to them: frames, discards and checkpoints pass them
//! over.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::Decoder;
use crate::disk::{Disk, How};
use crate::error::{Error, Result};
use crate::store::{Claimed, fenced};

/// The files; a claim of an even number goes into the first.
pub(crate) const FILES: [&str; 2] = ["claim-a", "claim-b"];
const MAGIC: &[u8; 8] = b"KFCLAIM1";
const BYTES: usize = 8 + 16 + 8 + 16 + 16 + 4;

fn encode(claimed: &Claimed) -> Vec<u8> {
    let fields = [
        &MAGIC[..],
        &claimed.instance,
        &claimed.claim.to_be_bytes(),
        &claimed.known,
        &claimed.next,
    ]
    .concat();
    let sum = crc32fast::hash(&fields).to_be_bytes();
    [&fields[..], &sum].concat()
}

/// `None` for what is torn: the claim before it counts.
fn decode(bytes: &[u8]) -> Option<Claimed> {
    let parse = || -> Result<Claimed> {
        let mut d = Decoder::new(bytes, "claim");
        d.bytes(MAGIC.len())?;
        Ok(Claimed { instance: d.array()?, claim: d.u64()?, known: d.array()?, next: d.array()? })
    };
    parse().ok().filter(|claimed| encode(claimed) == bytes)
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Claimed>> {
    let mut bytes = [0; BYTES];
    match disk.open(path, How::Read).and_then(|file| file.read_exact_at(&mut bytes, 0)) {
        Ok(()) => Ok(decode(&bytes)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            Ok(None)
        }
        Err(e) => Err(Error::io(path.display(), e)),
    }
}

/// The last claim of a directory.
pub(crate) fn last(disk: &dyn Disk, dir: &Path) -> Result<Option<Claimed>> {
    let mut last: Option<Claimed> = None;
    for file in FILES {
        let there = read(disk, &dir.join(file))?;
        last = last.into_iter().chain(there).max_by_key(|claimed| claimed.claim);
    }
    Ok(last)
}

/// Writes a claim over the one before the last, and makes it durable.
///
/// The last one may never have reached its medium, if another process wrote it: it is written
/// again first, so that the one before it, which this overwrites, is needed no more.
pub(super) fn make(disk: &dyn Disk, dir: &Path, claimed: &Claimed) -> Result<()> {
    // The same claim may be made twice.
    if let Some(there) = last(disk, dir)? {
        if there.claim >= claimed.claim && there != *claimed {
            return Err(fenced(&dir.display().to_string()));
        }
        write(disk, dir, &there)?;
    }
    write(disk, dir, claimed)?;
    make_room(disk, dir, claimed)
}

/// Makes the other file, if it is not there: on a disk that is full by then the next claim could
/// not, and the store would not open. Zeros are no claim; killed before they are written, the store
/// has one file, and the claim in it counts.
fn make_room(disk: &dyn Disk, dir: &Path, claimed: &Claimed) -> Result<()> {
    let path = dir.join(FILES[1 - (claimed.claim % 2) as usize]);
    let io = |e| Error::io(format!("making room for a claim {}", path.display()), e);
    let there = match disk.open(&path, How::Read).and_then(|file| file.len()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        there => there.map_err(io)?,
    };
    if there >= BYTES as u64 {
        return Ok(());
    }
    put(disk, dir, &path, &[0; BYTES]).map_err(io)
}

fn write(disk: &dyn Disk, dir: &Path, claimed: &Claimed) -> Result<()> {
    let path: PathBuf = dir.join(FILES[(claimed.claim % 2) as usize]);
    put(disk, dir, &path, &encode(claimed))
        .map_err(|e| Error::io(format!("writing the claim {}", path.display()), e))
}

fn put(disk: &dyn Disk, dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, How::Create)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::disk::OsDisk;
    use crate::error::ErrorKind;

    fn claim(number: u64) -> Claimed {
        Claimed {
            instance: [1; 16],
            claim: number,
            known: [number as u8; 16],
            next: [number as u8 + 1; 16],
        }
    }

    #[test]
    fn a_torn_claim_leaves_the_one_before_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last(&OsDisk, dir.path()).unwrap(), None);
        for number in 1..=5 {
            make(&OsDisk, dir.path(), &claim(number)).unwrap();
            assert_eq!(last(&OsDisk, dir.path()).unwrap(), Some(claim(number)));
        }
        make(&OsDisk, dir.path(), &claim(5)).unwrap();
        let late = make(&OsDisk, dir.path(), &Claimed { next: [7; 16], ..claim(5) }).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Fenced);
        let newest = dir.path().join(FILES[1]);
        std::fs::File::options()
            .write(true)
            .open(&newest)
            .unwrap()
            .write_all_at(&[9; 9], 30)
            .unwrap();
        assert_eq!(last(&OsDisk, dir.path()).unwrap(), Some(claim(4)));
    }
}
