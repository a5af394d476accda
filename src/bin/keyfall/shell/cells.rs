//! Root cells: opening one to look, and the file that says where the cell of a restored store is.

use std::path::Path;
use std::sync::Arc;

use keyfall::Error;
use keyfall::cell::RootCell;
use keyfall::env::{SharedEnv, System};
use keyfall::opening::Location;

/// What the system gives a cell: its clock and its randomness.
pub(crate) fn env() -> SharedEnv {
    Arc::new(System)
}

/// Opens a cell of any kind to look at it, without disturbing a process that has it open.
pub(crate) fn look_root(place: &Path) -> Result<Arc<dyn RootCell>, Error> {
    keyfall::opening::look_root(place, &env())
}

/// The file that says where the cell of a restored store is, if the cell does not lie beside it. It
/// is written when the store is there.
pub(crate) struct Adopted(Location);

impl Adopted {
    /// Finds out whether such a file is needed, and whether it can be written.
    pub(crate) fn check(into: &Path, cell: &Path) -> Result<Self, Error> {
        let at = Location::find(into, Some(cell))?;
        at.pointer().map(|_| Adopted(at))
    }

    /// Writes the file, with the store that the cell says it belongs to.
    pub(crate) fn write(&self, root: &dyn RootCell) -> Result<(), Error> {
        self.0.write_pointer(root.load()?.store, &System)
    }
}
