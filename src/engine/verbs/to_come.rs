//! For whoever notes what it is about to put, and may never hear that it was.

use super::engine::Engine;
use crate::catalogue::to_come;
use crate::error::Result;
use crate::ids::RecordId;
use crate::record::Put;

/// The id that a put would have if it came now. Nothing is taken by it: where the put names an
/// interaction, another one may have it first, and then this one has a later id of the same
/// class and interaction.
///
/// Whoever may never hear whether a put was done notes it before, and puts into its
/// interaction; [`fell_from`] says later whether it was put and fell.
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{Class, Engine, Options, Put, Scope, UserId};
/// # use keyfall::{cell::MemoryCell, store::MemoryStore};
/// use keyfall::engine::{fell_from, next_id};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// # let engine = Engine::init(store, cell, Options::default())?;
/// let ada = UserId::new("ada")?;
/// engine.create_user(&ada)?;
/// let put = Put::new(ada, Class::audio());
/// let noted = next_id(&engine, &put)?;
/// let id = engine.put(put.interaction(noted.interaction()), &b"RIFF...."[..])?;
/// assert_eq!((id, fell_from(&engine, &noted)?), (noted, false));
/// engine.erase(Scope::record(id))?;
/// assert!(fell_from(&engine, &noted)?);
/// # Ok::<(), keyfall::Error>(())
/// ```
///
/// # Errors
/// `Absent` for a user who is not here; as [`Engine::put`].
pub fn next_id(engine: &Engine, put: &Put) -> Result<RecordId> {
    let inner = &engine.inner;
    let env = &*inner.options.env;
    inner.look(|view| to_come::next_id(view, env, inner.reading_at(view.head), put))
}

/// Whether the record with this id fell, or one that was put after it into the same interaction
/// with the same class. Of an id that was erased before any record had it, it says that it fell.
///
/// # Errors
/// `Absent` for a user who never was here; `Corrupt`, `Io`.
pub fn fell_from(engine: &Engine, id: &RecordId) -> Result<bool> {
    engine.inner.look(|view| to_come::fell_from(view, id))
}
