//! How far the journal was synced, kept beside the index: an engine that opens a store without its
//! index learns from it what must be there.
//!
//! ```text
//! STORE/synced = "KFSYNCED" ‖ file 4 ‖ offset 8 ‖ CRC-32 of all before 4
//! ```
//! It is written after the sync that it tells of, so that it never says too much, and is not synced
//! itself: an older one, a torn one and none at all only say less.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::codec::Decoder;
use crate::dir::{open_to_read, open_to_write};
use crate::store::journal::Position;

pub(super) const SYNCED: &str = "synced";
const MAGIC: &[u8; 8] = b"KFSYNCED";
const BYTES: usize = 8 + 4 + 8 + 4;

fn encode(at: Position) -> [u8; BYTES] {
    let mut out = [0; BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&at.file.to_be_bytes());
    out[12..20].copy_from_slice(&at.offset.to_be_bytes());
    let sum = crc32fast::hash(&out[..20]);
    out[20..].copy_from_slice(&sum.to_be_bytes());
    out
}

fn decode(bytes: &[u8; BYTES]) -> Option<Position> {
    let mut d = Decoder::new(&bytes[MAGIC.len()..], "mark of the journal");
    let at = Position { file: d.u32().ok()?, offset: d.u64().ok()? };
    (encode(at) == *bytes).then_some(at)
}

/// Up to where the journal of a store was synced, as far as that is known.
pub(super) fn read(store: &Path) -> Position {
    let mut bytes = [0; BYTES];
    let there =
        open_to_read(&store.join(SYNCED)).and_then(|file| file.read_exact_at(&mut bytes, 0));
    there.ok().and_then(|()| decode(&bytes)).unwrap_or_default()
}

/// Records it. If that fails, what stood there before is still true.
pub(super) fn write(store: &Path, at: Position) {
    let file = open_to_write(&store.join(SYNCED), File::options().create(true).truncate(false));
    let _ = file.and_then(|file| file.write_all_at(&encode(at), 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_mark_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), Position::default());
        for offset in [64, 1 << 40] {
            let at = Position { file: 7, offset };
            write(dir.path(), at);
            assert_eq!(read(dir.path()), at);
        }
        let whole = std::fs::read(dir.path().join(SYNCED)).unwrap();
        for n in 0..whole.len() {
            let mut other = whole.clone();
            other[n] ^= 1;
            std::fs::write(dir.path().join(SYNCED), &other).unwrap();
            assert_eq!(read(dir.path()), Position::default(), "byte {n}");
            std::fs::write(dir.path().join(SYNCED), &whole[..n]).unwrap();
            assert_eq!(read(dir.path()), Position::default(), "{n} bytes");
        }
    }
}
