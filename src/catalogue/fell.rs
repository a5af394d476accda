//! What fell with one erase.

use super::docket::Docket;
use super::span::Span;
use crate::ids::{Class, UserTag};
use crate::limits::{LINKS_FOLLOWED, USERS_FOLLOWED};
use crate::tree::keys::LINK_BYTES;
use crate::tree::ordered::Ordered;

/// What one erase of a commit did to the tree.
pub(crate) struct Fell {
    /// Records of its scope; `None` if damaged pages kept them from being counted.
    pub(crate) records: Option<u64>,
    /// Number of these records in each class.
    pub(crate) counts: Vec<(Class, u64)>,
    /// Whether the scope had been erased before.
    pub(crate) already: bool,
    /// Whether the user itself is gone now.
    pub(crate) user_gone: bool,
    pub(crate) spans: Vec<Span>,
    /// Links of the records that fell.
    pub(crate) links: Vec<Links>,
    /// What its certificate needs, if it asked for one.
    pub(crate) docket: Option<Docket>,
}

/// The links of records that fell.
pub(crate) struct Links {
    pub(crate) owner: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) tree: Ordered<LINK_BYTES>,
    pub(crate) count: u64,
}

impl Fell {
    /// The scope had been erased before.
    pub(crate) fn already() -> Self {
        Fell { already: true, ..Fell::nothing() }
    }

    /// Nothing was there to fall.
    pub(crate) fn nothing() -> Self {
        Fell::of(Vec::new())
    }

    /// Records of some classes fell.
    pub(crate) fn of(counts: Vec<(Class, u64)>) -> Self {
        Fell {
            records: Some(counts.iter().map(|(_, n)| n).sum()),
            counts,
            already: false,
            user_gone: false,
            spans: Vec::new(),
            links: Vec::new(),
            docket: None,
        }
    }
}

/// How far an erase follows links before it returns: each further user costs it a path of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The most lineage links that one erase follows before it returns.
    pub links: u64,
    /// The most users that it reaches in addition to those it names.
    pub users: usize,
}

impl Default for Follow {
    fn default() -> Self {
        Follow { links: LINKS_FOLLOWED, users: USERS_FOLLOWED }
    }
}
