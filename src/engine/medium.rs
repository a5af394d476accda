//! Stores whose media are asked for a while, past what is kept of them elsewhere.

use crate::store::Store;

/// A store whose medium is asked until this goes.
pub(super) struct AskedMedium<'s>(&'s dyn Store);

impl<'s> AskedMedium<'s> {
    pub(super) fn new(store: &'s dyn Store) -> Self {
        store.ask_medium(true);
        AskedMedium(store)
    }
}

impl Drop for AskedMedium<'_> {
    fn drop(&mut self) {
        self.0.ask_medium(false);
    }
}
