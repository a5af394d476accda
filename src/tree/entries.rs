//! The entries of a page of the user tree: as they are stored, but for those taken out to be
//! changed. Most of a page is passed on as it is when one entry of it changes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::page::Page;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;

/// The value after a key, always of one length.
pub(super) trait Entry: Sized {
    /// Bytes of a value as stored.
    const LEN: usize;
    /// Whether the next value is well formed.
    fn check(d: &mut Decoder<'_>) -> Result<()>;
    /// Reads the next value.
    fn decode(d: &mut Decoder<'_>) -> Result<Self>;
}

/// Entries in the order of their keys of `K` bytes.
#[derive(Debug)]
pub(super) struct Entries<const K: usize, V> {
    stored: Option<Stored>,
    /// Entries that were taken out, and new ones, in the order of their keys: of most pages it is
    /// one, and a map would make room for eleven.
    taken: Vec<([u8; K], V)>,
    /// How many of them are new.
    new: usize,
}

/// Entries as a page holds them.
#[derive(Debug)]
struct Stored {
    page: Page,
    /// Where they begin in it.
    from: usize,
    count: usize,
}

impl<const K: usize, V> Default for Entries<K, V> {
    fn default() -> Self {
        Entries { stored: None, taken: Vec::new(), new: 0 }
    }
}

impl<const K: usize, V: Entry> Entries<K, V> {
    const LEN: usize = K + V::LEN;

    /// The next `count` entries of a page, checked.
    pub(super) fn read(page: &Page, d: &mut Decoder<'_>, count: usize) -> Result<Self> {
        let from = page.len() - d.left();
        let mut last: Option<[u8; K]> = None;
        for _ in 0..count {
            let key = d.array()?;
            if last.is_some_and(|last| last >= key) {
                return Err(d.bad());
            }
            V::check(d)?;
            last = Some(key);
        }
        let stored = Some(Stored { page: page.clone(), from, count });
        Ok(Entries { stored, ..Entries::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.stored.as_ref().map_or(0, |stored| stored.count) + self.new
    }

    fn raw(&self) -> &[u8] {
        self.stored
            .as_ref()
            .map_or(&[], |Stored { page, from, count }| &page[*from..*from + *count * Self::LEN])
    }

    /// Where the entry of a key is among those taken out, or would be.
    fn place(&self, key: &[u8; K]) -> std::result::Result<usize, usize> {
        self.taken.binary_search_by(|(taken, _)| taken.cmp(key))
    }

    /// Takes the entry of a key out, if it has one that is not: says where it is then.
    fn take_out(&mut self, key: &[u8; K]) -> Result<std::result::Result<usize, usize>> {
        let place = self.place(key);
        let (Err(at), Some(Stored { page, from, .. })) = (place, &self.stored) else {
            return Ok(place);
        };
        let Some(n) = position(self.raw(), Self::LEN, key) else { return Ok(place) };
        let mut d = Decoder::of_page(page, "page of the user tree");
        d.bytes(from + n * Self::LEN + K)?;
        let value = V::decode(&mut d)?;
        self.add(at, *key, value);
        Ok(Ok(at))
    }

    fn add(&mut self, at: usize, key: [u8; K], value: V) {
        if self.taken.capacity() == 0 {
            self.taken.reserve_exact(1);
        }
        self.taken.insert(at, (key, value));
    }

    /// The entry of a key, taken out.
    pub(super) fn take(&mut self, key: &[u8; K]) -> Result<Option<&mut V>> {
        let place = self.take_out(key)?;
        Ok(place.ok().map(|at| &mut self.taken[at].1))
    }

    /// As [`Entries::take`], with a new entry for a key that has none.
    pub(super) fn take_or_add(&mut self, key: [u8; K], new: impl FnOnce() -> V) -> Result<&mut V> {
        let at = match self.take_out(&key)? {
            Ok(at) => at,
            Err(at) => {
                self.new += 1;
                self.add(at, key, new());
                at
            }
        };
        Ok(&mut self.taken[at].1)
    }

    /// Every entry, taken out.
    pub(super) fn into_all(self) -> Result<BTreeMap<[u8; K], V>> {
        let mut all: BTreeMap<[u8; K], V> = self.taken.into_iter().collect();
        if let Some(Stored { page, from, count }) = &self.stored {
            let mut d = Decoder::of_page(page, "page of the user tree");
            d.bytes(*from)?;
            for _ in 0..*count {
                let (key, value) = (d.array()?, V::decode(&mut d)?);
                all.entry(key).or_insert(value);
            }
        }
        Ok(all)
    }

    /// Writes all of them; `write` writes those that were taken out, after their keys.
    pub(super) fn encode(
        mut self,
        e: &mut Encoder,
        mut write: impl FnMut(&mut Encoder, [u8; K], V) -> Result<()>,
    ) -> Result<()> {
        let taken = std::mem::take(&mut self.taken);
        let raw = self.raw();
        let mut at = 0;
        for (key, value) in taken {
            // Up to the first entry that does not come before it.
            let to = lower_bound(&raw[at..], Self::LEN, &key) * Self::LEN + at;
            e.bytes(&raw[at..to]).bytes(&key);
            write(e, key, value)?;
            at = if raw[to..].starts_with(&key) { to + Self::LEN } else { to };
        }
        e.bytes(&raw[at..]);
        Ok(())
    }
}

/// How many of the entries of `len` bytes, each beginning with its key, come before `key`.
fn lower_bound(entries: &[u8], len: usize, key: &[u8]) -> usize {
    let (mut low, mut high) = (0, entries.len() / len);
    while low < high {
        let middle = low.midpoint(high);
        if entries[middle * len..][..key.len()].cmp(key) == Ordering::Less {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn position(entries: &[u8], len: usize, key: &[u8]) -> Option<usize> {
    let n = lower_bound(entries, len, key);
    entries.get(n * len..)?.starts_with(key).then_some(n)
}

/// The entry of `key` among entries of `len` bytes, each beginning with its key.
pub(super) fn search<'e>(entries: &'e [u8], len: usize, key: &[u8]) -> Option<&'e [u8]> {
    position(entries, len, key).map(|n| &entries[n * len..(n + 1) * len])
}
