//! For whoever notes what it is about to put, and may never hear that it was.

use super::engine::Engine;
use crate::catalogue::to_come::{fell_from, next_id};
use crate::error::Result;
use crate::ids::RecordId;
use crate::record::Put;

/// Records to come, and what became of them.
impl Engine {
    /// The id that a put would have if it came now. Nothing is taken by it: where the put names an
    /// interaction, another one may have it first, and then this one has a later id of the same
    /// class and interaction.
    ///
    /// Whoever may never hear whether a put was done notes it before, and puts into its
    /// interaction; [`Engine::fell_from`] says later whether it was put and fell.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keyfall::{Class, Engine, Options, Put, Scope, UserId};
    /// # use keyfall::{cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// let ada = UserId::new("ada")?;
    /// engine.create_user(&ada)?;
    /// let put = Put::new(ada, Class::audio());
    /// let noted = engine.next_id(&put)?;
    /// let id = engine.put(put.interaction(noted.interaction()), &b"RIFF...."[..])?;
    /// assert_eq!((id, engine.fell_from(&noted)?), (noted, false));
    /// engine.erase(Scope::record(id))?;
    /// assert!(engine.fell_from(&noted)?);
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Absent` for a user who is not here; as [`Engine::put`].
    pub fn next_id(&self, put: &Put) -> Result<RecordId> {
        let inner = &self.inner;
        let env = &*inner.options.env;
        inner.look(|view| next_id(view, env, inner.reading_at(view.head), put))
    }

    /// Whether the record with this id fell, or one that was put after it into the same interaction
    /// with the same class. Of an id that was erased before any record had it, it says that it fell.
    ///
    /// # Errors
    /// `Absent` for a user who never was here; `Corrupt`, `Io`.
    pub fn fell_from(&self, id: &RecordId) -> Result<bool> {
        self.inner.look(|view| fell_from(view, id))
    }
}
