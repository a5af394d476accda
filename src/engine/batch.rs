//! Batches: payloads stream into the store, then one commit makes them part of the tree. Batches
//! that wait at once share one.

use std::io::Read;
use std::sync::Arc;

use super::core::{Core, Staging};
use super::group;
use super::puts::{begin, stream};
use crate::catalogue::admit::{Admitted, admit};
use crate::catalogue::put::{self, Origins, Staged};
use crate::crypto::{self, Fresh, chunked, hedge};
use crate::error::Result;
use crate::ids::RecordId;
use crate::record::{self, Entry, Put, Source};
use crate::secret::WipeStack;
use crate::tree::inbox::EnvelopeName;

/// Records that become durable together, or not at all. Dropped without [`Batch::commit`] it leaves
/// nothing that can be read.
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
    pub fn add(&mut self, put: Put, mut payload: impl Read) -> Result<usize> {
        let _wiped = WipeStack;
        let inner = Arc::clone(&self.inner);
        inner.check_owner()?;
        inner.check_usable()?;
        record::check_media_type(&put.media_type)?;
        record::check_purpose(&put.purpose)?;
        let to = self.admit(&put)?;
        let env = &*inner.options.env;
        let created = put.created.unwrap_or_else(|| env.now());
        let context = record::payload_context(
            inner.realm,
            to.user,
            to.incarnation,
            &put.class,
            to.interaction,
        );
        let segment_bytes = inner.state().head.geometry.segment_bytes;
        let begun = begin(&mut payload, segment_bytes)?;
        // After the first bytes: a caller may take its time with them, and an erase reaches no
        // lineage secret here.
        let Origins { sources, secrets, depth } = match put.sources.is_empty() {
            true => Origins::default(),
            false => self.origins(put.sources)?,
        };
        let now = env.now().0.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![&context, &begun.plain[..begun.filled], &now];
        parts.extend(secrets.iter().map(|s| &s.bytes()[..]));
        let (first, secret, salt) = Fresh::new(env, hedge(&parts)).object()?;
        let root = crypto::content_root(&secret, secrets);
        let suite = chunked::Suite::derive(&crypto::content_key(&root), &salt, &context);
        let mut entry = Entry {
            secret,
            first,
            detached: false,
            sources: sources.len() as u16,
            depth,
            length: 0,
            created,
            media_type: put.media_type,
            purpose: put.purpose.into(),
        };
        let stored = self.staging.stored.len();
        let held = stream(&inner, &mut self.staging, &suite, &mut entry, begun, &mut payload)
            .inspect_err(|_| inner.names.release(self.staging.stored.drain(stored..), false))
            .inspect_err(|_| inner.observing.deliver())?;
        let (user, class) = (put.user, put.class);
        let staged = Staged { user, class, to, entry, held, sources, root, envelope: None };
        self.staging.staged.push(staged);
        Ok(self.staging.staged.len() - 1)
    }

    /// Whether a put may begin, and where it goes.
    fn admit(&self, put: &Put) -> Result<Admitted> {
        let inner = &self.inner;
        let state = inner.state();
        let pages = inner.pages();
        admit(&inner.view(&state, &pages), &*inner.options.env, inner.reading(&state), put)
    }

    /// Says that the record added last came in an envelope.
    pub(super) fn came_in(&mut self, envelope: EnvelopeName) {
        if let Some(last) = self.staging.staged.last_mut() {
            last.envelope = Some(envelope);
        }
    }

    /// What a record is derived from, looked up now.
    fn origins(&mut self, sources: Vec<Source>) -> Result<Origins> {
        let state = self.inner.state();
        let before = self.staging.erases.unwrap_or(state.erases);
        self.staging.erases = Some(before.min(state.erases));
        let pages = self.inner.pages();
        put::origins(&self.inner.view(&state, &pages), &self.staging.staged, sources)
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
    pub fn commit(mut self) -> Result<Vec<RecordId>> {
        let _wiped = WipeStack;
        if self.staging.staged.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.process.check()?;
        group::put(&self.inner, std::mem::take(&mut self.staging))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.inner.process.is_this() {
            self.inner.names.release(self.staging.stored.iter().copied(), false);
        }
    }
}
