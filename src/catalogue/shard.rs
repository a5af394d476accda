//! A store that is one of several, which have the users of a realm among them: which users are its
//! own, and what it has in common with the others.

use std::sync::Arc;

use super::view::View;
use crate::crypto::{Key, realm_index};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, RecordId, StoreId, UserTag};
use crate::tree::head::HeadPage;

/// What is known of a realm where one of its shards is made or opened.
pub(crate) struct Shard {
    pub(crate) realm: RealmId,
    /// What a new store takes as its index key; it draws one if there is none.
    pub(crate) index_key: Option<Key>,
    /// Which of the shards it is; `None` while the realm is made.
    pub(crate) home: Option<Home>,
}

/// One shard of a realm that has a map.
pub(crate) struct Home {
    /// Its number.
    pub(crate) number: usize,
    pub(crate) homes: Arc<Homes>,
}

/// Where the users of a realm are.
pub(crate) struct Homes {
    /// Number of the map that says so.
    pub(crate) map: u64,
    /// What the map says of the index key.
    pub(crate) index: [u8; 16],
    /// The store of each shard, and its place in words.
    pub(crate) stores: Vec<(StoreId, String)>,
    /// The shard of each slot.
    pub(crate) slots: Vec<u16>,
}

impl Homes {
    /// The number of the shard that a user is in.
    pub(crate) fn of(&self, tag: UserTag) -> usize {
        usize::from(self.slots[tag.slot()])
    }

    /// A shard, in words.
    pub(crate) fn name(&self, number: usize) -> String {
        format!("shard {number} ({})", self.stores[number].1)
    }
}

impl Shard {
    /// Refuses a store that is not this shard of this realm.
    pub(crate) fn check(&self, id: StoreId, head: &HeadPage, place: &str) -> Result<()> {
        let refused = |what: String| Err(Error::new(ErrorKind::Mismatch, what));
        if head.realm == RealmId::from(id) {
            return refused(format!(
                "{place} is a store of its own and no shard; name another place for the shard"
            ));
        }
        if head.realm != self.realm {
            return refused(format!(
                "{place} is a shard of realm {}, and this is realm {}; put the shard of this realm \
                 back in its place",
                head.realm, self.realm
            ));
        }
        let index = realm_index(&head.index_key, self.realm);
        let expected = match (&self.home, &self.index_key) {
            (Some(home), _) => Some(home.homes.index),
            (None, Some(key)) => Some(realm_index(key, self.realm)),
            (None, None) => None,
        };
        if expected.is_some_and(|expected| expected != index) {
            return refused(format!(
                "{place} has another index key than its realm: users would not be found in it; put \
                 the shard that was there back, or restore it from a copy"
            ));
        }
        match &self.home {
            Some(home) => home.check(id, place),
            None => Ok(()),
        }
    }
}

impl Home {
    fn check(&self, id: StoreId, place: &str) -> Result<()> {
        let (expected, _) = self.homes.stores[self.number];
        if id == expected {
            return Ok(());
        }
        let other = self.homes.stores.iter().position(|(store, _)| *store == id);
        let what = match other {
            Some(other) => format!(
                "{place} holds shard {other} in the place of shard {}: two shards were exchanged; \
                 put each back in its place",
                self.number
            ),
            None => format!(
                "{place} holds store {id}, and shard {} of this realm is store {expected}; put that \
                 store back in its place, or restore it from a copy",
                self.number
            ),
        };
        Err(Error::new(ErrorKind::Mismatch, what))
    }
}

/// Refuses what a record is to be derived from, where that is in another shard: it is not found
/// here, and what is derived would not fall with it.
pub(crate) fn check_source(shard: Option<&Shard>, id: &RecordId) -> Result<()> {
    let Some(Home { number, homes }) = shard.and_then(|shard| shard.home.as_ref()) else {
        return Ok(());
    };
    let there = homes.of(id.user);
    if there == *number {
        return Ok(());
    }
    Err(far_source(id, &homes.name(there), &format!("this put goes to {}", homes.name(*number))))
}

/// What is said of a source in another shard.
pub(crate) fn far_source(id: &RecordId, there: &str, here: &str) -> Error {
    let text = format!(
        "record {id} is in {there}, and {here}: what is derived lies in the shard of its sources; \
         give both users names of one placement group (`UserId::in_group`), which are in one shard"
    );
    Error::new(ErrorKind::Refused, text)
}

/// Refuses a user that nobody named here before, and whose home is another shard: a user is in one
/// shard, and an erase elsewhere would be told as done.
pub(crate) fn check_home(view: &View<'_>, shard: Option<&Shard>, tag: UserTag) -> Result<()> {
    if !view.is_shard() {
        return Ok(());
    }
    let home = shard.and_then(|shard| shard.home.as_ref());
    let what = match home {
        Some(home) if home.homes.of(tag) == home.number => return Ok(()),
        Some(home) => {
            let homes = &home.homes;
            format!(
                "the user's home is {}, by map {}, and this is {}; nothing was changed; ask there, or \
                 call the realm",
                homes.name(homes.of(tag)),
                homes.map,
                homes.name(home.number)
            )
        }
        None => format!(
            "this store is a shard of realm {}, opened without it, and the user is not in it; nothing \
             was changed; name the realm's directory in place of this store's",
            view.head.realm
        ),
    };
    Err(Error::new(ErrorKind::Refused, what))
}
