//! The map of a realm: which shard has which slot. A file of its own for each number; a higher
//! number counts, and none is ever changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{lines, read, remedy, sealed};
use super::places::{ShardAt, bytes_of, check, has_founding, realm_id};
use crate::catalogue::shard::Homes;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, StoreId};
use crate::limits::SLOTS;
use crate::opening::is_store;

const TITLE: &str = "keyfall realm map, format 1";

/// Which shard has which slot, and what each shard is known by.
pub(super) struct Map {
    pub(super) number: u64,
    pub(super) realm: RealmId,
    /// What is said of the index key.
    pub(super) index: [u8; 16],
    pub(super) shards: Vec<ShardAt>,
    pub(super) stores: Vec<StoreId>,
    /// The shard of each slot.
    pub(super) slots: Vec<u16>,
}

/// Slots as they are spread over so many shards at first: a run for each, of about one length.
pub(super) fn even(shards: usize) -> Vec<u16> {
    (0..SLOTS).map(|slot| u16::try_from(slot * shards / SLOTS).unwrap_or_default()).collect()
}

/// The file of a map.
pub(super) fn file(dir: &Path, number: u64) -> PathBuf {
    dir.join("map").join(format!("{number:020}"))
}

/// Whether a directory is that of a realm, and of nothing else, or was: its map says so if the file
/// that it begins with is lost or damaged.
pub fn is_realm(dir: &Path) -> bool {
    !is_store(dir) && (has_founding(dir) || numbers(dir).is_ok_and(|numbers| !numbers.is_empty()))
}

/// The numbers of the maps that there are.
fn numbers(dir: &Path) -> Result<Vec<u64>> {
    let maps = dir.join("map");
    let io = |e| Error::io(maps.display(), e);
    let entries = match std::fs::read_dir(&maps) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(e)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        let is_number = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
        numbers.extend(name.parse::<u64>().ok().filter(|_| is_number));
    }
    Ok(numbers)
}

impl Map {
    pub(super) fn text(&self) -> String {
        let mut text = vec![
            TITLE.to_owned(),
            format!("realm {}", self.realm),
            format!("number {}", self.number),
            format!("index {}", data_encoding::HEXLOWER.encode(&self.index)),
        ];
        let shards = self.shards.iter().zip(&self.stores);
        text.extend(shards.map(|(shard, store)| format!("shard {store} {}", shard.line())));
        let mut from = 0;
        while from < SLOTS {
            let run = self.slots[from..].iter().take_while(|of| **of == self.slots[from]).count();
            text.push(format!("slots {from} {} {}", from + run - 1, self.slots[from]));
            from += run;
        }
        sealed(&text)
    }

    /// The map that counts; `None` if there is none yet.
    pub(super) fn newest(dir: &Path) -> Result<Option<Self>> {
        let newest = numbers(dir)?.into_iter().max();
        newest.map(|number| Map::read(&file(dir, number), number)).transpose()
    }

    /// Reads a map, and refuses one that cannot be: its file says which number it has.
    fn read(file: &Path, number: u64) -> Result<Self> {
        let bad = |what: &str| Error::corrupt(format!("{}: {what}{}", file.display(), remedy()));
        let text = read(file)?.ok_or_else(|| bad("it is gone"))?;
        let mut map = Map {
            number: 0,
            realm: RealmId([0; 16]),
            index: [0; 16],
            shards: Vec::new(),
            stores: Vec::new(),
            slots: vec![u16::MAX; SLOTS],
        };
        for line in lines(file, &text, TITLE)? {
            map.take(line).ok_or_else(|| {
                bad(&format!("`{line}` cannot be, or is there for the second time"))
            })?;
        }
        if map.number != number {
            return Err(bad(&format!("it is map {}, under the name of map {number}", map.number)));
        }
        check(&map.shards)?;
        let shards = map.shards.len();
        if map.slots.iter().any(|of| usize::from(*of) >= shards) {
            return Err(bad("a slot has no shard"));
        }
        Ok(map)
    }

    /// Takes a line in; `None` if it cannot be one, or says again what was said.
    fn take(&mut self, line: &str) -> Option<()> {
        let (what, rest) = line.split_once(' ')?;
        match what {
            "realm" if self.realm.0 == [0; 16] => self.realm = realm_id(rest)?,
            "number" if self.number == 0 => self.number = rest.parse().ok()?,
            "index" if self.index == [0; 16] => self.index = bytes_of(rest)?,
            "shard" => {
                let (store, at) = rest.split_once(' ')?;
                let store = StoreId(bytes_of(store)?);
                if self.stores.contains(&store) {
                    return None;
                }
                self.shards.push(ShardAt::read(self.shards.len(), at)?);
                self.stores.push(store);
            }
            "slots" => {
                let mut numbers = rest.split(' ').map(|number| number.parse::<u16>().ok());
                let (from, to, of) = (numbers.next()??, numbers.next()??, numbers.next()??);
                let run = self.slots.get_mut(usize::from(from)..=usize::from(to))?;
                if numbers.next().is_some() || run.iter().any(|of| *of != u16::MAX) {
                    return None;
                }
                run.fill(of);
            }
            _ => return None,
        }
        Some(())
    }

    /// The map of a realm, which is to be the one that it began as.
    pub(super) fn of(dir: &Path, realm: RealmId) -> Result<Option<Self>> {
        match Map::newest(dir)? {
            Some(map) if map.realm != realm => Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "{} is a map of realm {}, and this is realm {realm}{}",
                    file(dir, map.number).display(),
                    map.realm,
                    remedy()
                ),
            )),
            map => Ok(map),
        }
    }

    /// Where users are, for what opens the shards.
    pub(super) fn homes(&self, dir: &Path) -> Arc<Homes> {
        let places = self.shards.iter().map(|shard| shard.seen_from(dir).place);
        Arc::new(Homes {
            map: self.number,
            index: self.index,
            stores: self.stores.iter().copied().zip(places).collect(),
            slots: self.slots.clone(),
        })
    }
}
