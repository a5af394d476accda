//! How the index keeps places: those of blobs whose names say neighbouring places in one entry, so
//! that sled, which takes some hundred bytes for an entry however short, keeps few.
//!
//! ```text
//! key   = 'p' ‖ the first 5 bytes of the block that a name is made of: file 3 ‖ upper part of an
//!         offset 2
//! entry = (the block's other 11 bytes ‖ place)*, in the order of these bytes, each once
//! place = file, offset, length, number in the file, as varints
//! ```

use std::collections::BTreeMap;

use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::store::journal::Location;

/// Bytes of a block that are in the key.
const SHARED: usize = 5;
/// The other bytes of it.
const OWN: usize = 16 - SHARED;

/// The longest place with its block.
const LONGEST: usize = OWN + 5 + 10 + 5 + 5;

/// What the keys of entries begin with.
pub(super) const PLACES: u8 = b'p';

/// The key of the entry that has a block's place, if any has.
pub(super) fn key(block: &[u8; 16]) -> [u8; 1 + SHARED] {
    let mut key = [PLACES; 1 + SHARED];
    key[1..].copy_from_slice(&block[..SHARED]);
    key
}

/// The bytes of a block that are in the entry.
fn own(block: &[u8; 16]) -> [u8; OWN] {
    let mut own = [0; OWN];
    own.copy_from_slice(&block[SHARED..]);
    own
}

fn next(d: &mut Decoder<'_>) -> Result<([u8; OWN], Location)> {
    let block = d.array()?;
    let file = u32::try_from(d.varint()?).map_err(|_| d.bad())?;
    let offset = d.varint()?;
    let len = u32::try_from(d.varint()?).map_err(|_| d.bad())?;
    let number = u32::try_from(d.varint()?).map_err(|_| d.bad())?;
    Ok((block, Location { file, offset, len, number }))
}

/// The place of a block in an entry.
pub(super) fn find(entry: &[u8], block: &[u8; 16]) -> Result<Option<Location>> {
    let (mut d, wanted) = (Decoder::new(entry, "index entry"), own(block));
    while d.left() > 0 {
        let (there, at) = next(&mut d)?;
        if there >= wanted {
            return Ok((there == wanted).then_some(at));
        }
    }
    Ok(None)
}

/// An entry that is being changed.
#[derive(Default)]
pub(super) struct Places(BTreeMap<[u8; OWN], Location>);

impl Places {
    pub(super) fn decode(entry: &[u8]) -> Result<Self> {
        let (mut d, mut places) = (Decoder::new(entry, "index entry"), BTreeMap::new());
        while d.left() > 0 {
            let (block, at) = next(&mut d)?;
            if places.last_key_value().is_some_and(|(last, _)| *last >= block) {
                return Err(d.bad());
            }
            places.insert(block, at);
        }
        Ok(Places(places))
    }

    /// `None` if nothing is left in it.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Encoder::new(self.0.len() * LONGEST);
        for (block, at) in &self.0 {
            out.bytes(block);
            out.varint(at.file.into()).varint(at.offset);
            out.varint(at.len.into()).varint(at.number.into());
        }
        (!self.0.is_empty()).then(|| out.finish().to_vec())
    }

    /// Puts the place of a block in, or takes it out; gives the one before.
    pub(super) fn change(&mut self, block: &[u8; 16], at: Option<Location>) -> Option<Location> {
        match at {
            Some(at) => self.0.insert(own(block), at),
            None => self.0.remove(&own(block)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_what_was_put_in_and_refuses_what_it_would_not_write() {
        let block = |n: u8| [n; 16];
        let at = |n: u32| Location { file: n, offset: u64::from(n) << 20, len: 3 * n, number: n };
        let mut places = Places::default();
        for n in [9, 2, 200, 5] {
            assert_eq!(places.change(&block(n), Some(at(n.into()))), None);
        }
        assert_eq!(places.change(&block(5), None), Some(at(5)));
        assert_eq!(places.change(&block(9), Some(at(10))), Some(at(9)));
        let entry = places.encode().unwrap();
        assert!(entry.len() < 3 * 24, "{}", entry.len());
        for (n, there) in [(1, None), (2, Some(2)), (5, None), (9, Some(10)), (200, Some(200))] {
            assert_eq!(find(&entry, &block(n)).unwrap(), there.map(at), "{n}");
        }
        let mut again = Places::decode(&entry).unwrap();
        assert_eq!(again.encode().as_ref(), Some(&entry));
        for twice in [[&entry[..], &entry].concat(), entry[..entry.len() - 1].to_vec()] {
            assert!(Places::decode(&twice).is_err());
        }
        for n in [2, 9, 200] {
            again.change(&block(n), None);
        }
        assert_eq!(again.encode(), None);
    }
}
