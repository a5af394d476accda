//! Reading ahead: pages that will be needed, before they are.

use crate::Engine;
use crate::engine::warm;
use crate::error::Result;
use crate::ids::UserId;
use crate::secret::WipeStack;

/// Reads what leads to these users into memory, of a store in which a request takes long, with
/// several requests at a time: what is put for them next, read or erased waits for fewer. Without
/// users it reads the upper levels of the tree, 512 pages at most, which every look-up passes: a
/// process that will read much calls it once after it has opened the store. It says nothing of
/// whether there are such users, and of any other store it reads nothing.
///
/// # Errors
/// Those of any read; what is damaged on the way to a user whoever asks for that user finds out.
pub fn warm_up(engine: &Engine, users: &[UserId]) -> Result<()> {
    let _wiped = WipeStack;
    let inner = &engine.inner;
    inner.check_readable()?;
    if users.is_empty() {
        return warm::upper(inner);
    }
    let tags: Vec<_> = {
        let (state, pages) = (inner.state(), inner.pages());
        let view = inner.view(&state, &pages);
        users.iter().map(|user| view.tag(user)).collect()
    };
    warm::paths(inner, &tags)
}
