//! Putting records, and creating the users whose they are.

use std::io::Read;
use std::sync::Arc;

use super::batch::Batch;
use super::change::Commit;
use super::commit::{publish, ready};
use super::Engine;
use crate::catalogue::edit::Edit;
use crate::catalogue::life::create;
use crate::error::Result;
use crate::ids::{InteractionId, RecordId, UserId};
use crate::record::Put;
use crate::secret::WipeStack;

impl Engine {
    /// Puts one record, durably, and returns its id.
    ///
    /// # Errors
    /// `Erased` where the user, the interaction or this class of it, or a record that it is derived from was erased, also
    /// while the payload streamed in; `Invalid`, `Refused` for a bad request; `Full`, `Io`; `Copy` where a copy in step did not take it.
    pub fn put(&self, put: Put, payload: impl Read) -> Result<RecordId> {
        let mut batch = self.batch();
        batch.add(put, payload)?;
        batch.commit()?.pop().ok_or_else(|| unreachable!("one record was added"))
    }

    /// Begins a batch.
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.inner))
    }

    /// Begins an interaction now; its id orders behind all that began before.
    ///
    /// # Errors
    /// `Io` where the system's generator fails.
    pub fn new_interaction(&self) -> Result<InteractionId> {
        self.inner.new_interaction(&self.inner.state())
    }

    /// Creates a user without records; a user that was erased is created anew. Does nothing for one that is there.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn create_user(&self, user: &UserId) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        let mut writer = inner.writer();
        ready(inner, &mut writer)?;
        let mut commit = {
            let state = inner.state();
            let pages = inner.pages();
            let mut edit = Edit::new(inner.start(&state, &pages));
            if !create(&mut edit, user)? {
                return Ok(());
            }
            Commit::from(edit.seal(inner.next_head(&state))?)
        };
        commit.change.head.users += 1;
        publish(inner, &mut writer, commit).map(|_| ())
    }
}
