//! Heads: how one is sealed under a root key, and opened with the cell's.

use crate::cell::{Contents, RootCell, RootKey, Unheard};
use crate::crypto::{Fresh, hedge};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::RootId;
use crate::store::{Head, HeadId, Store};
use crate::tree::head::{HeadPage, Prefix};

/// Seals a head under a root key.
pub(super) fn seal_head(
    env: &dyn Env,
    store: StoreId,
    commit: u64,
    head: &HeadPage,
    root: &RootKey,
) -> Result<Head> {
    let plaintext = head.encode();
    let prefix =
        Prefix { store, id: HeadId { epoch: root.id.epoch, commit }, attempt: root.id.attempt };
    let salt = Fresh::new(env, hedge(&[&plaintext])).salt()?;
    Ok(HeadPage::seal(&plaintext, &prefix, &root.key, &salt))
}

/// Names the root key under which a store's newest head is sealed; `None` if there is no head.
///
/// # Errors
/// `Corrupt`, `Io`.
pub fn root_of(store: &dyn Store) -> Result<Option<RootId>> {
    store.head()?.map(|head| Prefix::decode(&head.bytes).map(|prefix| prefix.root_id())).transpose()
}

/// How often cell and head are looked at before it is said that they do not stand still.
pub(super) const TRIES: usize = 10;

/// The newest head of a store, opened.
pub(super) struct OpenHead {
    pub(super) stored: Head,
    pub(super) page: HeadPage,
    /// The root key that opens it.
    pub(super) root: RootKey,
}

/// Finds the root key of the head that was seen at a store, and opens it.
pub(super) fn open_seen(
    store: &dyn Store,
    stored: Option<Head>,
    contents: Contents,
) -> Result<OpenHead> {
    let place = store.place();
    let unfinished = contents.is_unfinished();
    let Contents { store: belongs, keys, epoch: newest, unheard, .. } = contents;
    // The next epoch's key may be in the cell already: a store without it lacks nothing.
    let oldest = keys.iter().map(|key| key.id.epoch).min().unwrap_or(newest);
    let Some(stored) = stored else {
        return Err(without_head(&place, newest, unfinished, unheard.as_ref()));
    };
    let prefix = Prefix::decode(&stored.bytes)?;
    if prefix.id != stored.id {
        return Err(Error::corrupt(format!(
            "the head of {place} is not the one that it is stored as; restore the store from a copy"
        )));
    }
    if belongs.is_some_and(|id| id != prefix.store) {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "the cell belongs to another store than {place}; name the right one with `Builder::cell_at`"
            ),
        ));
    }
    if let Some(root) = keys.into_iter().find(|k| k.id == prefix.root_id()) {
        let page = HeadPage::open(&stored.bytes, &root.key)
            .map_err(|e| e.context(format!("the head of {place}")))?;
        return Ok(OpenHead { stored, page, root });
    }
    let at = prefix.id.epoch;
    if let Some(Unheard { silent, ended, .. }) = unheard
        && at >= ended
    {
        return Err(Error::new(
            ErrorKind::Io,
            format!(
                "too few shares of the root key of {place}, epoch {at}, were found, and not all keyholders answered; start the others ({silent})"
            ),
        ));
    }
    let text = if at < oldest {
        format!(
            "{place} is at epoch {at}, the cell is at epoch {oldest}: the root key of epoch {at} is destroyed; restore the store from a copy that holds epoch {oldest}, with `restore`"
        )
    } else if at > newest {
        format!(
            "the cell is at epoch {newest}, {place} at epoch {at}: this is an old copy of the cell, which does not open the store as it is now; use the cell as it is now, and destroy this copy, for it still opens what was live at its epoch, in a copy of the store from then"
        )
    } else {
        format!(
            "another writer published epoch {at} of {place}; this cell's key does not belong to it"
        )
    };
    Err(Error::new(ErrorKind::Mismatch, text))
}

/// Whether the root key of a head is destroyed, as far as the cell tells.
pub(super) fn is_over(contents: &Contents, head: &Head) -> Result<bool> {
    let prefix = Prefix::decode(&head.bytes)?;
    let (root, is_of_it) = (prefix.root_id(), contents.store.is_none_or(|it| it == prefix.store));
    let oldest = contents.keys.iter().map(|key| key.id.epoch).min().unwrap_or(contents.epoch);
    Ok(is_of_it && root.epoch < oldest && !contents.may_have(&root))
}

/// The error if there is no head at a place, but a key in its cell.
fn without_head(place: &str, newest: u64, unfinished: bool, unheard: Option<&Unheard>) -> Error {
    if let Some(Unheard { silent, may_hide: true, .. }) = unheard {
        let text = format!(
            "{place} holds no head, and too few keyholders answered to tell whether it ever did; have the others answer, and try again ({silent})"
        );
        return Error::new(ErrorKind::Io, text).for_keyholders();
    }
    Error::corrupt(if unfinished {
        format!(
            "{place} holds no head, and the cell holds the root key of an init that was cut short before anything could be put; move both away, and init again"
        )
    } else {
        format!(
            "{place} holds no head, but the cell holds the root key of epoch {newest}; leave the cell as it is, and restore the store from a copy (an empty store is never taken for a new one; if a restore was cut short, run it again)"
        )
    })
}

/// Finds the root key of the newest head of a store that an engine may be writing to, and opens it:
/// where the cell and the head do not fit, either may have gone on between the two looks.
///
/// # Errors
/// `Changed` if they go on meanwhile, each time.
pub(super) fn open_as_it_goes_on(store: &dyn Store, cell: &dyn RootCell) -> Result<OpenHead> {
    let mut before = None;
    for _ in 0..TRIES {
        let contents = cell.load()?;
        let (told, stored) = (contents.epoch, store.head()?);
        let now = Some((told, stored.as_ref().map(|head| head.id)));
        match open_seen(store, stored, contents) {
            Err(e) if e.kind() == ErrorKind::Mismatch && before != now => before = now,
            opened => return opened,
        }
    }
    let text = format!("{} went on meanwhile, at each look; try again", store.place());
    Err(Error::new(ErrorKind::Changed, text))
}
