//! The log as static files (C2SP tlog-tiles): tiles of 256 hashes, and bundles of 256 leaves.

use std::ops::ControlFlow;

use super::checkpoint::Checkpoint;
use super::hash::{Frontier, HASH_BYTES, Hash};
use super::note::{Note, VerifierKey};
use super::proof::{Subtrees, consistency, root, verify_consistency};
use crate::error::{Error, Result};

/// Hashes in a full tile, leaves in a full bundle.
pub const TILE_WIDTH: u64 = 256;
const TILE_BITS: u8 = 8;

fn numbered(n: u64, width: u64) -> String {
    let mut path = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

/// Where the tile of a level lies that begins at hash `256 * n` and holds `width` of them, 1 to
/// 256.
pub fn tile_path(level: u8, n: u64, width: u64) -> String {
    format!("tile/{level}/{}", numbered(n, width))
}

/// Where the bundle lies that begins at leaf `256 * n` and holds `width` of them.
pub fn bundle_path(n: u64, width: u64) -> String {
    format!("tile/entries/{}", numbered(n, width))
}

/// Leaves one after another, each after its length in two bytes.
///
/// # Errors
/// `Invalid` if a leaf is longer than two bytes can say.
pub fn bundle<'a>(leaves: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for leaf in leaves {
        let len = u16::try_from(leaf.len()).map_err(|_| {
            Error::invalid(format!(
                "a leaf of {} bytes does not fit into a bundle; {} is the most",
                leaf.len(),
                u16::MAX
            ))
        })?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(leaf);
    }
    Ok(out)
}

/// Reads what [`bundle`] wrote.
///
/// # Errors
/// `Corrupt` if it is cut short.
pub fn read_bundle(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let torn = || Error::corrupt("a bundle of the log is cut short; fetch it again");
    let mut leaves = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<2>().ok_or_else(torn)?;
        let (leaf, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or_else(torn)?;
        leaves.push(leaf.to_vec());
        bytes = rest;
    }
    Ok(leaves)
}

/// Hashes out of the tiles of a log of some size. What it gives is only as good as the root it
/// leads to: check that first.
#[derive(Debug)]
pub struct Tiles<F> {
    size: u64,
    fetch: F,
}

impl<F: Fn(&str) -> Result<Vec<u8>>> Tiles<F> {
    /// `fetch` reads a file by its path below the log.
    pub fn new(size: u64, fetch: F) -> Self {
        Tiles { size, fetch }
    }

    /// The hashes of a tile, as many as the log has.
    fn tile(&self, level: u8, n: u64) -> Result<Vec<Hash>> {
        let hashes = self.size >> (u32::from(level) * u32::from(TILE_BITS));
        let width = hashes.saturating_sub(n * TILE_WIDTH).min(TILE_WIDTH);
        let path = tile_path(level, n, width);
        let bytes = (self.fetch)(&path)?;
        if bytes.len() as u64 != width * HASH_BYTES as u64 {
            return Err(Error::corrupt(format!(
                "{path} has {} bytes, not {}; fetch it again",
                bytes.len(),
                width * 32
            )));
        }
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        Ok(hashes.iter().map(|hash| Hash(*hash)).collect())
    }

    /// The leaves of a bundle.
    ///
    /// # Errors
    /// `Corrupt` if they are not as many as the log has; as `fetch`.
    pub fn leaves(&self, n: u64) -> Result<Vec<Vec<u8>>> {
        let width = self.size.saturating_sub(n * TILE_WIDTH).min(TILE_WIDTH);
        let path = bundle_path(n, width);
        let leaves = read_bundle(&(self.fetch)(&path)?)?;
        if leaves.len() as u64 != width {
            return Err(Error::corrupt(format!(
                "{path} has {} leaves, not {width}; fetch it again",
                leaves.len()
            )));
        }
        Ok(leaves)
    }
}

impl<F: Fn(&str) -> Result<Vec<u8>>> Subtrees for Tiles<F> {
    fn subtree(&self, level: u8, index: u64) -> Result<Hash> {
        let (row, inside) = (level / TILE_BITS, level % TILE_BITS);
        let first = index << inside;
        let tile = self.tile(row, first / TILE_WIDTH)?;
        let from = (first % TILE_WIDTH) as usize;
        let short =
            || Error::corrupt("the log has fewer hashes than its checkpoint says; fetch it again");
        let hashes = tile.get(from..from + (1 << inside)).ok_or_else(short)?.to_vec();
        Hash::fold(hashes).ok_or_else(short)
    }
}

/// Reads a file of a log, by its path below it.
pub type ReadFile<'r> = &'r dyn Fn(&str) -> Result<Vec<u8>>;

/// Is shown leaves with their indexes, until it breaks.
pub type SeeLeaf<'s> = &'s mut dyn FnMut(u64, &[u8]) -> Result<ControlFlow<()>>;

/// Where files of a log go.
pub type WriteFile<'w> = &'w mut dyn FnMut(&str, &[u8]) -> Result<()>;

/// Writes the files by which a log grew: feed it every leaf from [`TileWriter::first`] on, then
/// [`TileWriter::finish`].
#[derive(Debug)]
pub struct TileWriter {
    next: u64,
    bundle: Vec<Vec<u8>>,
    /// For each level the hashes of its last tile, as far as it is full.
    rows: Vec<Vec<Hash>>,
}

impl TileWriter {
    /// Of a log that had been written up to `old` leaves; `log` knows its hashes.
    ///
    /// # Errors
    /// As `log`.
    pub fn new(old: u64, log: &dyn Subtrees) -> Result<Self> {
        let next = old - old % TILE_WIDTH;
        let mut rows = vec![Vec::new()];
        for level in 1.. {
            let hashes = next.checked_shr(u32::from(TILE_BITS) * level).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let tile = hashes - hashes % TILE_WIDTH..hashes;
            rows.push(
                tile.map(|n| log.subtree(TILE_BITS * level as u8, n)).collect::<Result<_>>()?,
            );
        }
        Ok(TileWriter { next, bundle: Vec::new(), rows })
    }

    /// The leaf that it wants first.
    pub fn first(&self) -> u64 {
        self.next
    }

    /// Adds the next leaf to the tiles.
    ///
    /// # Errors
    /// As `write`.
    pub fn push(&mut self, leaf: &[u8], write: WriteFile<'_>) -> Result<()> {
        self.bundle.push(leaf.to_vec());
        self.rows[0].push(Hash::leaf(leaf));
        self.next += 1;
        let mut level = 0;
        while self.rows[level].len() as u64 == TILE_WIDTH {
            self.write(level, write)?;
            let tile = std::mem::take(&mut self.rows[level]);
            if self.rows.len() == level + 1 {
                self.rows.push(Vec::new());
            }
            self.rows[level + 1].extend(Hash::fold(tile));
            level += 1;
        }
        Ok(())
    }

    /// Writes what is not full.
    ///
    /// # Errors
    /// As `write`.
    pub fn finish(mut self, write: WriteFile<'_>) -> Result<()> {
        let started: Vec<usize> =
            (0..self.rows.len()).filter(|level| !self.rows[*level].is_empty()).collect();
        started.into_iter().try_for_each(|level| self.write(level, write))
    }

    fn write(&mut self, level: usize, write: WriteFile<'_>) -> Result<()> {
        let width = self.rows[level].len() as u64;
        // The tile ends where the level's last hash is.
        let hashes = self.next >> (usize::from(TILE_BITS) * level);
        let n = (hashes - 1) / TILE_WIDTH;
        let bytes: Vec<u8> = self.rows[level].iter().flat_map(|hash| hash.0).collect();
        write(&tile_path(level as u8, n, width), &bytes)?;
        if level == 0 {
            write(&bundle_path(n, width), &bundle(self.bundle.iter().map(Vec::as_slice))?)?;
            if width == TILE_WIDTH {
                self.bundle.clear();
            }
        }
        Ok(())
    }
}

/// Checks a log that lies in files: the checkpoint's signature, every leaf and the hashes above
/// against it, and that it goes on from a checkpoint that was kept. Gives the checkpoint.
///
/// # Errors
/// `Corrupt` if something does not fit: a log that was rolled back, or shows others another
/// history, is such a one; as `fetch`.
pub fn check_files(
    fetch: ReadFile<'_>,
    key: &VerifierKey,
    kept: Option<&Checkpoint>,
    see: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<(Checkpoint, Note)> {
    let note = String::from_utf8(fetch("checkpoint")?)
        .map_err(|_| Error::invalid("the checkpoint is not text"))?;
    let note: Note = note.parse()?;
    let checkpoint = Checkpoint::verified(&note, key)?;
    let tiles = Tiles::new(checkpoint.size, fetch);
    let wrong = |what: &str| {
        Error::corrupt(format!(
            "the log's {what} do not give the root that its checkpoint signs; keep it, it is \
             evidence"
        ))
    };
    if root(&tiles, checkpoint.size)? != checkpoint.root {
        return Err(wrong("hashes"));
    }
    let mut frontier = Frontier::default();
    for n in 0..checkpoint.size.div_ceil(TILE_WIDTH) {
        for leaf in tiles.leaves(n)? {
            see(frontier.size(), &leaf)?;
            frontier.push(Hash::leaf(&leaf));
        }
    }
    if frontier.root() != checkpoint.root {
        return Err(wrong("leaves"));
    }
    if let Some(kept) = kept {
        let rolled_back = || {
            Error::corrupt(format!(
                "the log has {} leaves, and had {} before: it was rolled back; keep both \
                 checkpoints, they are evidence",
                checkpoint.size, kept.size
            ))
        };
        let proof = if kept.size > checkpoint.size {
            Err(rolled_back())
        } else {
            consistency(&tiles, kept.size, checkpoint.size)
        };
        verify_consistency(kept.extent(), checkpoint.extent(), &proof?)?;
    }
    Ok((checkpoint, note))
}
