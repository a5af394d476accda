//! What has the cell open beside the store's own engine.

use crate::{Engine, Options, Query, Scope};
use std::sync::{Arc, Mutex};

use super::media::gate::Gate;
use super::media::port::Media;
use super::names::{BACKUP, user_id};
use super::op::Chosen;
use super::tally::Tally;
use crate::Batch;
use crate::engine::OpenAs;
use crate::error::ErrorKind;
use crate::store::HeadId;
use crate::testing::lock::locked;

/// What each look in the middle of a verb found wrong; empty: nothing.
type Seen = Arc<Mutex<Vec<String>>>;

/// What has the cell open beside the store's own engine.
#[derive(Default)]
pub(super) struct Others {
    /// The head of the backup, if it lists no copies.
    pub(super) backup: Option<HeadId>,
    /// The operation of the next verb before which the backup is opened to look.
    pub(super) spies: Option<u64>,
    seen: Seen,
    /// Whether the cell records no owner, so that a look must say that it is one.
    ownerless: bool,
    /// The engine over the backup, from which the store was taken back.
    pub(super) stale: Option<Engine>,
    pub(super) batch: Option<OpenBatch>,
    /// An engine over a snapshot of the running machine, and the head it had.
    pub(super) snapshot: Option<(Engine, HeadId)>,
}

/// A batch that stays open across steps.
pub(super) struct OpenBatch {
    pub(super) batch: Batch,
    pub(super) user: u8,
    pub(super) items: Vec<Chosen>,
}

impl Others {
    pub(super) fn new(ownerless: bool) -> Self {
        Others { ownerless, ..Others::default() }
    }

    /// How to open a copy only to look.
    pub(super) fn open_as(&self, wanted: OpenAs) -> OpenAs {
        if self.ownerless { OpenAs::ReadOnly } else { wanted }
    }

    /// Before a verb: somebody may look at the backup in the middle of it.
    pub(super) fn let_in(&mut self, media: &Arc<dyn Media>, options: &Options) {
        let Some(nth) = self.spies.take() else { return };
        let open_as = self.open_as(OpenAs::Owner);
        let (gate, media, options, seen) =
            (Arc::clone(media.gate()), Arc::clone(media), options.clone(), Arc::clone(&self.seen));
        let hook = move || {
            let wrong = look(&*media, &options, BACKUP, open_as);
            locked(&seen).push(wrong.unwrap_or_default());
        };
        gate.interrupt(Some((nth, Box::new(hook))));
    }

    /// After a verb: what was seen in the middle of it must have been right.
    pub(super) fn let_out(&self, gate: &Gate, tally: &mut Tally) {
        gate.interrupt(None);
        for wrong in std::mem::take(&mut *locked(&self.seen)) {
            tally.count("looks in the middle of a verb");
            assert!(wrong.is_empty(), "{wrong}");
        }
    }

    /// A power cut ends the other engines too.
    pub(super) fn switch_off(&mut self) {
        self.stale = None;
        if let Some((old, _)) = self.snapshot.take() {
            old.unplug();
        }
    }
}

/// Opens a copy of the store with its cell; returns what is wrong with what it sees.
pub(super) fn look(
    media: &dyn Media,
    options: &Options,
    place: &str,
    open_as: OpenAs,
) -> Option<String> {
    let store = media.store(place, false).ok()?;
    let options = options.clone().open_as(open_as);
    let keys = || {
        media
            .keys_on_medium(false)
            .ok()
            .map(|keys| keys.iter().map(|key| key.id).collect::<Vec<_>>())
    };
    let before = keys();
    let opened = media.cell().and_then(|cell| Engine::open(store, cell, options));
    let listed = match &opened {
        Err(_) => None,
        Ok(engine) if engine.read_only().is_none() => {
            return Some(format!("FOUND: {place} owns the cell by itself"));
        }
        Ok(engine) => {
            let erased = engine.erase(Scope::user(user_id(0))).err().map(|e| e.kind());
            if erased != Some(ErrorKind::Fenced) {
                return Some(format!(
                    "FOUND: {place} does not own the cell, and erases: {erased:?}"
                ));
            }
            let _ = (engine.run_due(&mut |_| {}), engine.status());
            engine.list(&Query::default()).err()
        }
    };
    drop(opened);
    // What is on its way to a keyholder may arrive meanwhile.
    if before != keys() && !media.has_keyholders() {
        return Some(format!("FOUND: a look at {place} changes the root keys in the cell"));
    }
    listed.map(|e| format!("LOST: a look at {place}: {e}"))
}
