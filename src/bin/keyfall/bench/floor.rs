//! The floor of the disk: what durable writes take without a store.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use keyfall::Error;

/// Files beside the store that is measured.
pub(super) struct Floor {
    log: File,
    slot: File,
    at: u64,
}

impl Floor {
    /// `name` tells the files of several threads apart.
    pub(super) fn new(dir: &Path, name: &str) -> Result<Self, Error> {
        let make = |file: &str| {
            let path = dir.join(format!("floor-{name}-{file}"));
            File::create(&path).map_err(|e| Error::io(path.display(), e))
        };
        Ok(Floor { log: make("log")?, slot: make("slot")?, at: 0 })
    }

    /// What no erase can do without: 4 KiB appended and `fdatasync`, then 512 bytes in place and
    /// `fdatasync`.
    pub(super) fn two_writes(&mut self) -> Result<Duration, Error> {
        let began = Instant::now();
        self.append(&[9; 4096])?;
        self.slot.write_all_at(&[9; 512], 0).and_then(|()| self.slot.sync_data()).map_err(io)?;
        Ok(began.elapsed())
    }

    /// What no durable put can do without: 512 bytes appended, and `fdatasync`.
    pub(super) fn one_write(&mut self) -> Result<Duration, Error> {
        self.append(&[9; 512])
    }

    /// What no durable batch can do without: its bytes appended in one write, and `fdatasync`.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<Duration, Error> {
        let began = Instant::now();
        self.log.write_all_at(bytes, self.at).and_then(|()| self.log.sync_data()).map_err(io)?;
        self.at += bytes.len() as u64;
        Ok(began.elapsed())
    }
}

fn io(e: std::io::Error) -> Error {
    Error::io("the floor of the disk", e)
}
