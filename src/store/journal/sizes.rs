//! Sizes at which something happens in a journal.

/// Sizes that a simulation makes small, so that it reaches what happens at them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// A file of the journal that has grown to this is followed by another.
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
