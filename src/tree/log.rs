//! The public log's state, kept in the tree so that it changes in one commit with what it tells of:
//! its keys, its right edge, its last leaves; the others and the hashes of full subtrees stand in
//! an ordered tree.
//!
//! Invariant: the last `size % 8` leaves are in the page, all before them in the tree; every full
//! subtree of 8, 64, 512 ... leaves has its hash in the tree.
//!
//! ```text
//! log page = 1 ‖ origin text ‖ checkpoint seed 32 ‖ certificate seed 32 ‖ certificate key 32
//!            ‖ size 8 ‖ (peak 32)* ‖ there 1 ‖ [ref of the tree 48]
//!            ‖ (leaf text)*   as many peaks as size has bits set, size % 8 leaves
//! tree     : key = row 1 ‖ index 8 ‖ zeros 11
//!            row 0: value = leaf
//!            row r: value = hash over the 8^r leaves from index * 8^r on
//! ```

use std::ops::ControlFlow;

use super::geometry::Geometry;
use super::keys::OrderedKey;
use super::link::{Editor, Node, Pages, Sink};
use super::ordered::{Ordered, Place, Range};
use super::page::{Page, PageKind, REF_BYTES, Ref, pad};
use super::spot::{Edge, Spot};
use crate::codec::{Decoder, Encoder};
use crate::crypto::Key;
use crate::error::{Error, Result};
use crate::limits::{LEAF_MAX_BYTES, LOG_PAGE_MAX_BYTES, ORIGIN_MAX_BYTES, SEAL_OVERHEAD};
use crate::log::{Frontier, Hash, SeeLeaf, Subtrees};
use crate::secret::Secret;

const VERSION: u8 = 1;
/// Leaves of the tail, and the width of a row: 2^3.
const WIDTH: u64 = 8;
const BITS: u8 = 3;

/// The page with the public log's state, decoded.
#[derive(Debug)]
pub(crate) struct LogPage {
    /// Name of the log, which every checkpoint of it bears.
    pub(crate) origin: String,
    /// Seed of the key that signs checkpoints.
    pub(crate) checkpoint_seed: Key,
    /// Seed of the key that signs certificates.
    pub(crate) certificate_seed: Key,
    /// Public key of `certificate_seed`.
    pub(crate) certificate_key: [u8; 32],
    pub(crate) frontier: Frontier,
    tree: Ordered,
    tail: Vec<Secret>,
}

fn key(row: u8, index: u64) -> OrderedKey {
    let mut key = [0; 20];
    key[0] = row;
    key[1..9].copy_from_slice(&index.to_be_bytes());
    key
}

impl LogPage {
    const PLACE: Place = Place { kind: PageKind::LogTree, owner: None };

    pub(crate) fn new(
        origin: String,
        checkpoint_seed: Key,
        certificate_seed: Key,
        certificate_key: [u8; 32],
    ) -> Self {
        LogPage {
            origin,
            checkpoint_seed,
            certificate_seed,
            certificate_key,
            frontier: Frontier::default(),
            tree: Ordered::default(),
            tail: Vec::new(),
        }
    }

    /// Appends a leaf to the log, with the hashes of subtrees that it fills.
    pub(crate) fn append(&mut self, editor: &mut Editor<'_>, leaf: &str) -> Result<()> {
        self.frontier.push(Hash::leaf(leaf.as_bytes()));
        self.tail.push(Secret::copied_from(leaf.as_bytes()));
        let size = self.frontier.size();
        if !size.is_multiple_of(WIDTH) {
            return Ok(());
        }
        for (index, leaf) in (size - WIDTH..).zip(std::mem::take(&mut self.tail)) {
            self.tree.insert(editor, Self::PLACE, key(0, index), leaf)?;
        }
        let (mut row, mut rows) = (1, size / WIDTH);
        loop {
            let pages = editor.pages;
            let hash = self.joined(pages, row - 1, (rows - 1) * WIDTH, WIDTH)?;
            self.tree.insert(
                editor,
                Self::PLACE,
                key(row, rows - 1),
                Secret::copied_from(&hash.0),
            )?;
            if !rows.is_multiple_of(WIDTH) {
                return Ok(());
            }
            row += 1;
            rows /= WIDTH;
        }
    }

    /// The hash over `count` neighbours of a row, a power of two up to 8.
    fn joined(&self, pages: &dyn Pages, row: u8, first: u64, count: u64) -> Result<Hash> {
        let mut hashes = Vec::with_capacity(WIDTH as usize);
        let mut see = |value: &[u8]| -> Result<()> {
            let hash = if row == 0 {
                Ok(Hash::leaf(value))
            } else {
                value.try_into().map(Hash).map_err(|_| bad())
            };
            hashes.push(hash?);
            Ok::<_, Error>(())
        };
        let in_tail = self.frontier.size() - self.tail.len() as u64;
        if row == 0 && first >= in_tail {
            let from = (first - in_tail) as usize;
            let leaves = self.tail.get(from..from + count as usize).ok_or_else(bad)?;
            leaves.iter().try_for_each(|leaf| see(leaf))?;
        } else {
            let range = Range {
                low: &key(row, first),
                high: &key(row, first + count - 1),
                descending: false,
            };
            self.tree.scan(pages, Self::PLACE, range, &mut |_, value| {
                see(value)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        if hashes.len() as u64 != count {
            return Err(bad());
        }
        Hash::fold(hashes).ok_or_else(bad)
    }

    /// Hashes of the log as it is.
    pub(crate) fn subtrees<'a>(&'a self, pages: &'a dyn Pages) -> impl Subtrees + 'a {
        move |level: u8, index: u64| {
            let (row, inside) = (level / BITS, level % BITS);
            self.joined(pages, row, index << inside, 1 << inside)
        }
    }

    /// Shows leaves from `from` on, until `see` has enough.
    pub(crate) fn leaves(&self, pages: &dyn Pages, from: u64, see: SeeLeaf<'_>) -> Result<()> {
        let in_tail = self.frontier.size() - self.tail.len() as u64;
        let (mut next, mut more) = (from, true);
        let range = Range { low: &key(0, from), high: &key(0, u64::MAX), descending: false };
        self.tree.scan(pages, Self::PLACE, range, &mut |at, value| {
            if *at != key(0, next) {
                return Err(bad());
            }
            next += 1;
            let flow = see(next - 1, value)?;
            more = flow.is_continue();
            Ok(flow)
        })?;
        if more && next < in_tail {
            return Err(bad());
        }
        for (index, leaf) in (in_tail..).zip(&self.tail).filter(|(index, _)| *index >= next) {
            if !more {
                break;
            }
            more = see(index, leaf)?.is_continue();
        }
        Ok(())
    }

    pub(crate) fn seal(self, geometry: Geometry, sink: &mut dyn Sink) -> Result<Ref> {
        let tree = self.tree.seal(Self::PLACE, geometry, sink)?;
        let capacity = LOG_PAGE_MAX_BYTES - SEAL_OVERHEAD;
        let mut e = Encoder::new(capacity);
        e.u8(VERSION)
            .text(&self.origin)
            .bytes(self.checkpoint_seed.bytes())
            .bytes(self.certificate_seed.bytes());
        e.bytes(&self.certificate_key);
        e.u64(self.frontier.size());
        for peak in self.frontier.peaks() {
            e.bytes(&peak.0);
        }
        e.u8(u8::from(tree.is_some()));
        if let Some(tree) = tree {
            tree.encode(&mut e);
        }
        for leaf in &self.tail {
            e.count(leaf.len()).bytes(leaf);
        }
        pad(PageKind::Log, &mut e, capacity);
        sink.seal(PageKind::Log, None, e.finish())
    }
}

fn bad() -> Error {
    Decoder::new(&[], "page of the log").bad()
}

impl Node for LogPage {
    fn decode(page: &Page) -> Result<Self> {
        let mut d = Decoder::of_page(page, "page of the log");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let origin = d.text(ORIGIN_MAX_BYTES)?.to_owned();
        let mut seed = || d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| bad());
        let (checkpoint_seed, certificate_seed) = (seed()?, seed()?);
        let certificate_key = d.array()?;
        let size = d.u64()?;
        let peaks =
            (0..size.count_ones()).map(|_| d.array().map(Hash)).collect::<Result<Vec<_>>>()?;
        let frontier = Frontier::new(size, peaks)?;
        let tree = match d.u8()? {
            0 => None,
            1 => Some(Ref::decode(&mut d)?),
            _ => return Err(d.bad()),
        };
        if tree.is_some() != (size >= WIDTH) {
            return Err(d.bad());
        }
        let mut tail = Vec::new();
        for _ in 0..size % WIDTH {
            let leaf = d.text(LEAF_MAX_BYTES)?;
            tail.push(Secret::copied_from(leaf.as_bytes()));
        }
        d.end_padding()?;
        Ok(LogPage {
            origin,
            checkpoint_seed,
            certificate_seed,
            certificate_key,
            frontier,
            tree: Ordered::stored(tree),
            tail,
        })
    }
}

/// What a stored log page points to.
pub(super) fn edges(page: &Page) -> Result<Vec<Edge>> {
    let tree = LogPage::decode(page)?.tree.into_stored();
    let spot = Spot { kind: PageKind::LogTree, owner: None, class: None };
    Ok(tree.map(|at| Edge::Page { spot, at }).into_iter().collect())
}

const _: () = assert!(
    LOG_PAGE_MAX_BYTES - SEAL_OVERHEAD
        > 1 + 2 + ORIGIN_MAX_BYTES + 96 + 8 + 63 * 32 + 1 + REF_BYTES + 7 * (2 + LEAF_MAX_BYTES),
    "a log page holds its edge and its last leaves"
);
