//! A root cell whose answers are lost or late, and every key it was ever given.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::gate::{Fault, Gate, Touch, Verdict};
use crate::cell::{Contents, Durable, Owner, RootCell, RootKey};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{Awaited, Dealt, Promise, Retirement, RootId, Statement};
use crate::testing::lock::locked;

/// Every root key that was ever deposited: what a cell would hold that failed to destroy any.
pub(crate) type Hoard = Arc<Mutex<Vec<RootKey>>>;

/// A deposit that was reported as failed and is still on its way.
pub(crate) type Late = Arc<Mutex<Option<(StoreId, RootId, Key)>>>;

/// A root cell that answers late, twice or not at all.
pub(crate) struct FaultyCell {
    pub(crate) cell: Arc<dyn RootCell>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) hoard: Hoard,
    pub(crate) late: Late,
}

impl FaultyCell {
    /// Lets a late deposit take effect.
    fn arrive(&self) {
        if let Some((store, id, key)) = locked(&self.late).take() {
            // Nobody receives the answer.
            let _ = self.cell.deposit(store, &id, &key);
        }
    }
}

impl RootCell for FaultyCell {
    fn describe(&self) -> Promise {
        self.cell.describe()
    }

    fn destroys(&self) -> Promise {
        self.cell.destroys()
    }

    fn look_every(&self) -> Duration {
        self.cell.look_every()
    }

    fn prepare(&self) {
        self.cell.prepare();
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.arrive();
        self.gate.verb(Touch::Cell, || self.cell.claim(store, owner, mark))
    }

    fn check_kept(&self, live: &RootId) -> Result<()> {
        self.cell.check_kept(live)
    }

    fn brand(&self, id: &mut RootId) {
        self.cell.brand(id);
    }

    fn mark(&self, store: StoreId, commit: u64) -> Result<()> {
        self.gate.verb(Touch::Cell, || self.cell.mark(store, commit))
    }

    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        self.cell.ready(keep, next)
    }

    fn take_over(&self) {
        self.cell.take_over();
    }

    fn unfinished(&self) -> Vec<Dealt> {
        self.cell.unfinished()
    }

    fn awaited(&self, keep: &RootId) -> Option<Awaited> {
        self.cell.awaited(keep)
    }

    fn remembered(&self) -> Vec<Statement> {
        self.cell.remembered()
    }

    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.arrive();
        locked(&self.hoard).push(RootKey { id: *id, key: key.duplicate() });
        let lost = || Err(Error::new(ErrorKind::Io, "no answer came"));
        match self.gate.pass(Touch::Cell) {
            Some(Verdict::Fault(Fault::Late)) => {
                *locked(&self.late) = Some((store, *id, key.duplicate()));
                lost()
            }
            Some(Verdict::Go) => self.cell.deposit(store, id, key),
            Some(Verdict::Fault(Fault::Twice)) => {
                self.cell.deposit(store, id, key)?;
                self.cell.deposit(store, id, key)
            }
            Some(Verdict::Fault(Fault::FailsApplied | Fault::PowerAfter)) => {
                self.cell.deposit(store, id, key)?;
                lost()
            }
            _ => lost(),
        }
    }

    fn load(&self) -> Result<Contents> {
        self.arrive();
        self.gate.verb(Touch::Cell, || self.cell.load())
    }

    fn load_for(&self, id: &RootId) -> Result<Contents> {
        self.arrive();
        self.gate.verb(Touch::Cell, || self.cell.load_for(id))
    }

    fn wants_epoch(&self) -> bool {
        self.cell.wants_epoch()
    }

    fn retire_for(
        &self,
        keep: &RootId,
        next: &RootKey,
        proof: Durable,
    ) -> Result<Option<Retirement>> {
        self.arrive();
        locked(&self.hoard).push(next.duplicate());
        self.gate.verb(Touch::Cell, || self.cell.retire_for(keep, next, proof.again()))
    }

    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.arrive();
        self.gate.verb(Touch::Cell, || self.cell.retire(keep, proof.again()))
    }
}
