//! Batches: the two stages of a put, from the caller's side. Payloads are staged as records are
//! added (`stage`); then one commit makes them part of the tree (`group`, `puts`).

use std::io::Read;
use std::sync::Arc;

use super::asked::{Staging, mixed_up};
use super::core::Core;
use super::group;
use super::stage::stage;
use crate::catalogue::staged::Joins;
use crate::error::Result;
use crate::ids::RecordId;
use crate::record::Put;
use crate::secret::WipeStack;
use crate::tree::inbox::EnvelopeName;

/// Puts one record, which may have come in an envelope: a batch of its own.
pub(super) fn put_one(
    core: &Arc<Core>,
    put: Put,
    payload: impl Read,
    envelope: Option<EnvelopeName>,
) -> Result<RecordId> {
    let mut batch = Batch::new(Arc::clone(core));
    batch.add(put, payload)?;
    if let Some(staged) = batch.staging.staged.last_mut() {
        staged.envelope = envelope;
    }
    batch.commit()?.pop().ok_or_else(mixed_up)
}

/// Puts one record that belongs to an upload, or that an upload becomes.
pub(super) fn put_joining(
    core: &Arc<Core>,
    put: Put,
    joins: Joins,
    payload: impl Read,
) -> Result<RecordId> {
    let _wiped = WipeStack;
    let mut batch = Batch::new(Arc::clone(core));
    stage(core, &mut batch.staging, put, joins, payload)
        .inspect_err(|_| core.observing.deliver())?;
    batch.commit()?.pop().ok_or_else(mixed_up)
}

/// Records that become durable together, or not at all. Dropped without [`Batch::commit`] it leaves
/// nothing that can be read.
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{Class, Engine, Options, Put, Source, UserId};
/// # use keyfall::{cell::MemoryCell, store::MemoryStore};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// # let engine = Engine::init(store, cell, Options::default())?;
/// let ada = UserId::new("ada")?;
/// let turn = engine.new_interaction()?;
/// let mut batch = engine.batch();
/// let audio = Put::new(ada.clone(), Class::audio()).interaction(turn);
/// let audio = batch.add(audio, &b"RIFF...."[..])?;
/// // The transcript falls with the recording.
/// let text = Put::new(ada, Class::transcript()).interaction(turn);
/// batch.add(text.derived_from(Source::Added(audio)), &b"wake me at six"[..])?;
/// assert_eq!(batch.commit()?.len(), 2);
/// # Ok::<(), keyfall::Error>(())
/// ```
pub struct Batch {
    inner: Arc<Core>,
    staging: Staging,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} records)", self.staging.staged.len())
    }
}

impl Batch {
    pub(super) fn new(inner: Arc<Core>) -> Self {
        Batch { inner, staging: Staging::default() }
    }

    /// Streams a record's payload into the store, and returns its number in the batch, from 0.
    /// Memory: two segments, 256 KiB each by default, whatever the length.
    ///
    /// # Errors
    /// As [`crate::Engine::put`]; the batch can go on without this record.
    pub fn add(&mut self, put: Put, payload: impl Read) -> Result<usize> {
        let _wiped = WipeStack;
        stage(&self.inner, &mut self.staging, put, Joins::Record, payload)
            .inspect_err(|_| self.inner.observing.deliver())?;
        Ok(self.staging.staged.len() - 1)
    }

    /// Number of records added.
    pub fn len(&self) -> usize {
        self.staging.staged.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.staging.staged.is_empty()
    }

    /// Makes all records durable at once and returns their ids in the order in which they were
    /// added. Batches that wait at once share one commit.
    ///
    /// # Errors
    /// As [`crate::Engine::put`]; none of the records is there then.
    pub fn commit(self) -> Result<Vec<RecordId>> {
        let _wiped = WipeStack;
        let inner = Arc::clone(&self.inner);
        match self.into_staging()? {
            Some(staging) => group::put(&inner, staging),
            None => Ok(Vec::new()),
        }
    }

    /// What is to be committed; `None` if that is nothing.
    pub(super) fn into_staging(mut self) -> Result<Option<Staging>> {
        if self.staging.staged.is_empty() {
            return Ok(None);
        }
        self.inner.process.check()?;
        Ok(Some(std::mem::take(&mut self.staging)))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.inner.process.is_this() {
            self.inner.in_flight.release(self.staging.stored.iter().copied(), false);
        }
    }
}
