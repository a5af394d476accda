//! The floor of a durable batch: its bytes appended in one write, and `fdatasync`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) struct Floor {
    file: File,
    path: PathBuf,
}

impl Floor {
    pub(crate) fn new(path: &Path) -> Self {
        Floor { file: File::create(path).unwrap(), path: path.to_owned() }
    }

    pub(crate) fn write(&mut self, len: usize) -> Duration {
        let bytes = vec![9; len];
        let began = Instant::now();
        self.file.write_all(&bytes).unwrap();
        self.file.sync_data().unwrap();
        began.elapsed()
    }

    /// Removes the file, which is not the peer's space.
    pub(crate) fn remove(self) {
        std::fs::remove_file(self.path).unwrap();
    }
}
