//! Room that a place keeps for when it has none left: for erases, and for a discard.

use super::bucket::Bucket;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::atomic::{AtomicBool, Ordering};

/// Whether there is room.
#[derive(Default)]
pub(super) struct Room {
    /// What is kept was given up, and could not be kept again since.
    squeezed: AtomicBool,
    erasing: AtomicBool,
}

impl Room {
    /// Says from when on, and until when, what is put is needed by an erase.
    pub(super) fn for_an_erase(&self, on: bool) {
        self.erasing.store(on, Ordering::Relaxed);
    }

    /// Keeps room again, as far as there is any.
    pub(super) fn lay_in(&self, bucket: &Bucket) {
        self.squeezed.store(!bucket.keep_room(), Ordering::Relaxed);
    }

    /// Whether there is more room than what is kept, as far as is known.
    pub(super) fn has_room(&self, bucket: &Bucket) -> bool {
        if self.squeezed.load(Ordering::Relaxed) {
            self.lay_in(bucket);
        }
        !self.squeezed.load(Ordering::Relaxed)
    }

    /// Writes where there is room: for an erase also in what is kept.
    pub(super) fn write<T>(
        &self,
        bucket: &Bucket,
        begins_epoch: bool,
        mut write: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        if begins_epoch || self.erasing.load(Ordering::Relaxed) {
            return self.or_give(bucket, write);
        }
        self.check(bucket)?;
        write()
    }

    /// Fails where the room that is left is for erases alone.
    pub(super) fn check(&self, bucket: &Bucket) -> Result<()> {
        if self.has_room(bucket) {
            return Ok(());
        }
        let text = format!(
            "{}: no space left but for erases; free some space and call again",
            bucket.place()
        );
        Err(Error::new(ErrorKind::Full, text))
    }

    /// Writes once more, in the room that is kept, where there was none else.
    pub(super) fn or_give<T>(
        &self,
        bucket: &Bucket,
        mut write: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        match write() {
            Err(e) if e.kind() == ErrorKind::Full && bucket.give_room() => {
                self.squeezed.store(true, Ordering::Relaxed);
                write()
            }
            done => done,
        }
    }
}
