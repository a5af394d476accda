//! What a store takes that is not needed, and what was given back of it.

/// How much of a store is not needed, as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waste {
    /// Bytes that it takes for blobs, dead or alive.
    pub bytes: u64,
    /// Of these, about how many were given back and are still there.
    pub given_back: u64,
    /// Of the others, about how many are believed to be dead.
    pub suspected: u64,
    /// Fewer suspected bytes than this are not worth a walk.
    pub least: u64,
}

impl Waste {
    /// Whether a sweep is worth its walk over everything that lives.
    pub fn wants_sweep(&self, packing: Packing) -> bool {
        let live = self.bytes.saturating_sub(self.given_back).saturating_sub(self.suspected);
        match packing {
            Packing::Loose => self.suspected > self.least.max(live / 2),
            Packing::Dense => self.suspected > (self.least / 4).max(live / 8),
        }
    }

    /// Whether more was given back than lives: a cleaner that keeps up does not let it come so far.
    pub fn is_behind(&self) -> bool {
        self.given_back > self.bytes.saturating_sub(self.given_back)
    }
}

/// How full the files of a store are to be: the fuller, the more live blobs are written once more
/// for each byte that is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Two thirds at least, as while much is written.
    Loose,
    /// Nine tenths at least, as in a store that is at rest.
    Dense,
}

/// One step of giving space back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Bytes given back to the medium.
    pub freed: u64,
    /// Bytes of live blobs that were written once more, so that their old places can go.
    pub moved: u64,
    /// Whether there is more to do.
    pub more: bool,
    /// What keeps some space from being given back.
    pub stuck: Option<String>,
}
