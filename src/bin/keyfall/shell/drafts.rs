//! Where the drafts of certificates of what is due are kept: beside the store, for a user who is
//! named in one may be erased by it.

use std::io::Write;
use std::path::{Path, PathBuf};

use keyfall::Error;
use keyfall::certificate::Draft;

use crate::shell::outfile::{Replace, private_dir, write_private};

/// The directory of a store's drafts.
pub(crate) fn drafts_of(store: &Path) -> PathBuf {
    let mut place = store.as_os_str().to_owned();
    place.push(".certificates");
    place.into()
}

/// Keeps the draft of an erase before the erase is done. One of the same leaf and slot that lies
/// there is of an erase that was not done.
pub(crate) fn keep_draft(dir: &Path, draft: &Draft) -> Result<(), Error> {
    private_dir(dir)?;
    let place = dir.join(format!("{:012}-{:06}.draft", draft.index, draft.facts.slot.index));
    write_private(&place, Replace::Anything, |out| {
        out.write_all(draft.to_string().as_bytes()).map_err(|e| Error::io(place.display(), e))
    })
}
