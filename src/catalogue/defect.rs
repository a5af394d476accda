//! Defects that tests plant, to see that they would be found.

/// Ways to break the erase protocol; tests must turn red under each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "testing"),
    allow(dead_code, unreachable_pub, reason = "tests alone plant them, and name them")
)]
pub enum Defect {
    /// The new head is sealed under the old root key.
    KeepRootKey,
    /// The old root key is never destroyed.
    SkipRetire,
    /// The old root key is destroyed before the new head is published.
    RetireBeforePublish,
    /// A user's page keeps its key from version to version.
    KeepPageKey,
    /// One key seals all pages of a commit.
    ReuseKey,
    /// Pages of what was erased stay in the cache, and readers stay open.
    ForgetCache,
    /// An erase adds no leaf to the log.
    SkipLog,
    /// Every engine that opens a store recovers it: whatever state it is shown, it destroys every
    /// other key of the cell.
    LookRecovers,
    /// A planned erase of which a look at another record failed is dropped, as one that has nothing
    /// left to take.
    PlanDropped,
    /// Sources are looked up again only if an epoch ended, not if something fell within one.
    EpochForErase,
    /// One erase that cannot be done fails all that share its commit.
    FailTogether,
    /// The writer's list of copies changes before the head's does.
    TwoLists,
    /// A sweep takes blobs that live.
    SweepLive,
    /// A page that lives is told to be replaced.
    ReplaceLive,
    /// What lives in a place that is emptied is given back before it stands elsewhere.
    EmptyFirst,
    /// A put that takes a name leaves the record that had it.
    KeepReplaced,
    /// A put under a name that was done is done once more.
    PutTwice,
    /// An erase of a class leaves the class's unfinished uploads.
    KeepUploads,
    /// A record is opened by name, and no line says so.
    OpenUnrecorded,
    /// A record is put with the digest of other bytes.
    WrongDigest,
}

/// The defect that is planted, if one is: none outside tests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(feature = "testing")]
    defect: Option<Defect>,
}

impl Planted {
    #[cfg(feature = "testing")]
    pub(crate) fn new(defect: Option<Defect>) -> Self {
        Planted { defect }
    }

    /// Whether it is this one.
    #[cfg(feature = "testing")]
    pub(crate) fn is(self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether it is this one: never.
    #[cfg(not(feature = "testing"))]
    pub(crate) const fn is(self, _: Defect) -> bool {
        false
    }
}
