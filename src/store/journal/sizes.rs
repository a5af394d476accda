//! Sizes at which something happens in a journal.

/// Sizes that a simulation makes small, so that it reaches what happens at them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// A file of the journal that has grown to this is followed by another; in a short journal
    /// one that has grown to less.
    pub(crate) file_bytes: u64,
    /// Zeros that are written after short frames at once; a frame of up to a quarter of it is
    /// short.
    pub(crate) ahead_bytes: u64,
    /// Bytes of journal between two checkpoints of the index; an open after a crash replays twice
    /// as much at most.
    pub(crate) checkpoint_bytes: u64,
    /// Blobs that the index learns of in one step, at most twice as many.
    pub(crate) recent_max: usize,
    /// Whether the index learns on a thread of its own.
    pub(crate) beside: bool,
}

/// A file has this part of the bytes that the files before it have, if that is between the bounds.
const PART: u64 = 16;
/// No file need be shorter than this part of the longest.
const LEAST: u64 = 16;

impl Sizes {
    /// At what length a file is followed by another, if the ones before it have so many bytes:
    /// little is moved to free a short file, and a long journal has few files.
    pub(super) fn limit(&self, before: u64) -> u64 {
        (before / PART).clamp(self.file_bytes / LEAST, self.file_bytes)
    }
}

impl Default for Sizes {
    fn default() -> Self {
        // 131,072 recent blobs are some 8 MiB of memory.
        Sizes {
            file_bytes: 64 << 20,
            ahead_bytes: 256 << 10,
            checkpoint_bytes: 64 << 20,
            recent_max: 1 << 16,
            beside: true,
        }
    }
}
