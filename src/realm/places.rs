//! Where the shards of a realm are, and the file that a realm begins with.

use std::path::Path;
use std::sync::Arc;

use super::files::{lines, read, remedy, sealed};
use crate::Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::RealmId;
use crate::limits::SHARDS_MAX;
use crate::opening::url_of;

/// Title of the file that says where the shards are.
const TITLE: &str = "keyfall realm, format 1";
/// Its name in the realm's directory.
pub(super) const FILE: &str = "realm";

/// Says how a shard's store and cell are opened.
pub type OpenShard = Arc<dyn Fn(&ShardAt) -> Result<Builder> + Send + Sync>;

/// One shard of a realm: its number, and where its store and its cell are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardAt {
    /// Its number in the realm, from 0 on.
    pub number: usize,
    /// Its store: a path, a URL, or what an adapter of your own goes by.
    pub place: String,
    /// Its cell; `None` if the store says where that is.
    pub cell: Option<String>,
}

impl ShardAt {
    /// As a line of a file has it, after its first word.
    pub(super) fn line(&self) -> String {
        let cell = self.cell.as_deref().unwrap_or_default();
        // JSON has no line break in a text.
        format!("{} {}", serde_json::json!(self.place), serde_json::json!(cell))
    }

    /// Reads what [`ShardAt::line`] wrote.
    pub(super) fn read(number: usize, line: &str) -> Option<Self> {
        let mut texts = serde_json::Deserializer::from_str(line).into_iter::<String>();
        let (place, cell) = (texts.next()?.ok()?, texts.next()?.ok()?);
        let whole = texts.next().is_none() && !place.is_empty();
        whole.then(|| ShardAt { number, place, cell: (!cell.is_empty()).then_some(cell) })
    }

    /// The same, with places in a directory as seen from here.
    pub(super) fn seen_from(&self, dir: &Path) -> Self {
        let seen = |place: &String| match url_of(Path::new(place)) {
            Some(url) => url.to_owned(),
            None => dir.join(place).display().to_string(),
        };
        let cell = self.cell.as_ref().map(seen);
        ShardAt { number: self.number, place: seen(&self.place), cell }
    }
}

/// Whether the file that a realm begins with is there.
pub(super) fn has_founding(dir: &Path) -> bool {
    read(&dir.join(FILE)).is_ok_and(|text| text.is_some_and(|text| text.starts_with(TITLE)))
}

/// What is decided before the first shard is made.
pub(super) struct Founding {
    pub(super) realm: RealmId,
    pub(super) shards: Vec<ShardAt>,
}

impl Founding {
    pub(super) fn text(&self) -> String {
        let mut text = vec![TITLE.to_owned(), format!("realm {}", self.realm)];
        text.extend(self.shards.iter().map(|shard| format!("shard {}", shard.line())));
        sealed(&text)
    }

    /// What is in the directory of a realm; `None` if nothing is.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        let file = dir.join(FILE);
        let Some(text) = read(&file)? else { return Ok(None) };
        let mut rest = lines(&file, &text, TITLE)?.into_iter();
        let bad = || Error::corrupt(format!("{} cannot be read{}", file.display(), remedy()));
        let realm = rest.next().and_then(|line| realm_id(line.strip_prefix("realm ")?));
        let shards: Option<Vec<ShardAt>> = rest
            .enumerate()
            .map(|(n, line)| ShardAt::read(n, line.strip_prefix("shard ")?))
            .collect();
        let founding = Founding { realm: realm.ok_or_else(bad)?, shards: shards.ok_or_else(bad)? };
        check(&founding.shards)?;
        Ok(Some(founding))
    }
}

/// Reads a realm's id.
pub(super) fn realm_id(text: &str) -> Option<RealmId> {
    bytes_of(text).map(RealmId)
}

/// Reads 16 bytes in hexadecimal.
pub(super) fn bytes_of(text: &str) -> Option<[u8; 16]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Refuses a number of shards that no realm has, and two in one place.
pub(super) fn check(shards: &[ShardAt]) -> Result<()> {
    if !(1..=SHARDS_MAX).contains(&shards.len()) {
        return Err(Error::invalid(format!(
            "a realm has 1 to {SHARDS_MAX} shards, this one would have {}; say how many",
            shards.len()
        )));
    }
    for (n, shard) in shards.iter().enumerate() {
        if let Some(other) = shards[..n].iter().find(|other| other.place == shard.place) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "shards {} and {n} would both be {}; give each a place of its own",
                    other.number, shard.place
                ),
            ));
        }
    }
    Ok(())
}

/// Opens a shard as any store is opened.
#[cfg(feature = "sled")]
pub(super) fn by_default(shard: &ShardAt) -> Result<Builder> {
    let builder = Builder::at(&shard.place);
    Ok(match &shard.cell {
        Some(cell) => builder.cell_at(cell),
        None => builder,
    })
}

#[cfg(not(feature = "sled"))]
pub(super) fn by_default(shard: &ShardAt) -> Result<Builder> {
    Err(Error::invalid(format!(
        "no adapter opens {:?}; say how with `RealmBuilder::open_shard`",
        shard.place
    )))
}
