//! What a making leaves in a file system, taken away again if it fails.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What was at a place before something is made there.
#[derive(Debug)]
pub struct Traces {
    place: PathBuf,
    /// What the directory holds, if it is one.
    names: Vec<OsString>,
    /// What was not there: the place, and the directories that it is to lie in, from the inside.
    missing: Vec<PathBuf>,
}

impl Traces {
    /// Looks at a place.
    pub fn before(place: &Path) -> Self {
        let named = place.ancestors().filter(|dir| !dir.as_os_str().is_empty());
        let missing = named.take_while(|dir| dir.symlink_metadata().is_err());
        let missing = missing.map(Path::to_owned).collect();
        Traces { place: place.to_owned(), names: names(place), missing }
    }

    /// Takes away what was made at the place since, and the directories that were made for it. For
    /// what nobody else can have made meanwhile.
    pub fn undo(&self) {
        for name in names(&self.place).iter().filter(|name| !self.names.contains(name)) {
            let made = self.place.join(name);
            let is_dir = made.symlink_metadata().is_ok_and(|meta| meta.is_dir());
            let _ = if is_dir { fs::remove_dir_all(made) } else { fs::remove_file(made) };
        }
        self.undo_empty();
    }

    /// Takes away the directories that were made since, as far as nothing is in them.
    pub fn undo_empty(&self) {
        for made in &self.missing {
            let _ = fs::remove_dir(made);
        }
    }
}

fn names(dir: &Path) -> Vec<OsString> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}
