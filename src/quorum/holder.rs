//! A keyholder's own state: for each store eight slots (`cell/slots.rs`), and the key by which it
//! signs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use super::{Held, Keyholder, Share};
use crate::cell::{Owner, SHARE_SLOTS, ShareSlots};
use crate::dir::{check_subdir, has_one_of, make_dir, sync_dir};
use crate::disk::OsDisk;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{RootId, Statement};
use crate::secret::WipeStack;
use crate::sync::{Mutex, locked};

/// Opens the slots of a store; if the flag is set it may make them.
pub(crate) type OpenSlots = Arc<dyn Fn(StoreId, bool) -> Result<Option<ShareSlots>> + Send + Sync>;

/// A keyholder in this process.
pub struct Holder {
    place: String,
    env: SharedEnv,
    key: SigningKey,
    open: OpenSlots,
    /// One request of a store at a time. Those of several stores wait for their media together.
    stores: Mutex<HashMap<StoreId, Arc<Mutex<ShareSlots>>>>,
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Holder({})", self.place)
    }
}

impl Holder {
    pub(crate) fn new(place: String, env: SharedEnv, key: SigningKey, open: OpenSlots) -> Self {
        Holder { place, env, key, open, stores: Mutex::default() }
    }

    /// A keyholder whose slots lie below a directory, `stores/STORE/slot-*`.
    pub(crate) fn in_dir(dir: &Path, key: SigningKey, env: &SharedEnv) -> Self {
        let (stores, slots_env) = (dir.join("stores"), Arc::clone(env));
        let remnants = dir.join("remnants-accepted").exists();
        let open = move |store: StoreId, create: bool| {
            let dir = stores.join(store.to_string());
            if !create && !has_one_of(&dir, SHARE_SLOTS)? {
                return Ok(None);
            }
            check_subdir(&stores)?;
            check_subdir(&dir)?;
            make_dir(&dir)?;
            let slots =
                ShareSlots::new(Arc::new(OsDisk), &dir, Arc::clone(&slots_env)).accepting(remnants);
            // After a crash in the middle again; never if one holds something, though others be
            // missing.
            if slots.unfinished() {
                slots.make()?;
                sync_dir(&stores)?;
            }
            Ok(Some(slots))
        };
        Holder::new(dir.display().to_string(), Arc::clone(env), key, Arc::new(open))
    }

    /// Forgets what it held of a store, as if its disk were gone.
    #[cfg(feature = "testing")]
    pub(crate) fn lose(&self, store: StoreId) {
        locked(&self.stores).remove(&store);
    }

    fn with<T>(
        &self,
        store: StoreId,
        create: bool,
        act: impl FnOnce(&ShareSlots) -> Result<T>,
    ) -> Result<Option<T>> {
        let _wiped = WipeStack;
        let slots = match locked(&self.stores).entry(store) {
            Entry::Occupied(there) => Arc::clone(there.get()),
            Entry::Vacant(place) => match (self.open)(store, create)? {
                Some(slots) => Arc::clone(place.insert(Arc::new(Mutex::new(slots)))),
                None => return Ok(None),
            },
        };
        let named = |e: Error| match e.kind() {
            ErrorKind::Fenced => e.context(format!("the keyholder {}", self.place)),
            _ => e,
        };
        act(&locked(&slots)).map(Some).map_err(named)
    }
}

impl Keyholder for Holder {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.with(store, true, |slots| slots.admit(store, owner, Some(mark), None)).map(drop)
    }

    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> Result<()> {
        let done = self.with(store, true, |slots| {
            let fence = slots.admit(store, owner, None, None)?;
            if !fence.takes(&share.id) {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "the keyholder {} has ended epoch {}; a share of epoch {} comes too late",
                        self.place, fence.0.epoch, share.id.epoch
                    ),
                ));
            }
            slots.deposit(store, &share.id, &share.value, &share.note())
        });
        done.map(drop)
    }

    fn load(&self, store: StoreId) -> Result<Held> {
        let held = self.with(store, false, |slots| {
            let there = slots.shares()?;
            Ok(Held {
                committed: there.fence.0.epoch,
                owner: there.owner,
                mark: there.mark,
                shares: there
                    .live
                    .into_iter()
                    .filter_map(|(key, note)| Share::noted(key, &note))
                    .collect(),
            })
        });
        Ok(held?.unwrap_or_default())
    }

    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given_up: &[RootId],
        mark: u64,
    ) -> Result<Statement> {
        let done = self.with(store, true, |slots| {
            // The fence is durable before a share is destroyed, and long before that is signed.
            let fence = slots.admit(store, owner, Some(mark), Some(keep))?;
            if !fence.ends_at(keep) {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "the keyholder {} has ended epoch {} already, for another root key than \
                         {keep:?}; nothing was destroyed",
                        self.place, fence.0.epoch
                    ),
                ));
            }
            slots.retire(store, keep, given_up)?;
            Ok(Statement::sign(store.0, *keep, self.env.now(), &self.key))
        });
        done?.ok_or_else(|| {
            Error::new(
                ErrorKind::Io,
                format!("the keyholder {} could not make room for the store", self.place),
            )
        })
    }
}
