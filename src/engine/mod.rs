//! The engine: joins the sealed tree to a store and a root cell.
//!
//! What may be is said in the catalogue, as rules over one state of the tree; here it is said in
//! what order it becomes durable. The invariants and the lock order stand in `core`.

mod anchor;
mod batch;
mod bell;
mod certify;
mod change;
mod check;
mod claims;
mod clock;
mod close;
mod commit;
mod copies;
mod core;
mod epoch;
mod erases;
mod erasure;
mod group;
mod heads;
mod keeper;
mod keys;
mod lines;
mod log;
mod names;
mod observing;
mod open;
mod options;
mod own;
mod progress;
mod puts;
mod queue;
mod reader;
mod readers;
mod replica;
mod sync;
mod tend;
#[cfg(feature = "testing")]
mod twin;
pub(crate) mod verbs;
mod walks;

pub use bell::Keeper;
pub use check::Checked;
pub use claims::Unsigned;
pub use copies::{Restored, restore};
pub use heads::root_of;
pub use options::{OpenAs, OpenCopy};
pub use progress::Progress;
pub use replica::Backup;
pub use verbs::audit::{Audit, PlaceAudit};
pub use verbs::certificates::Certificates;
pub use verbs::clock::Clock;
pub use verbs::copies::{Copies, CopyStatus};
pub use verbs::discard::Discarded;
pub use verbs::erasing::Foreseen;
pub use verbs::grants::Grants;
pub use verbs::holds::Holds;
pub use verbs::inbox::{Accepted, Inbox};
pub use verbs::lineage::Lineage;
pub use verbs::log::Log;
pub use verbs::ownership::Ownership;
pub use verbs::plans::Plans;
pub use verbs::policies::Policies;
pub use verbs::report::{Erased, Report};
pub use verbs::requests::Opened;
pub use verbs::status::Status;
pub use verbs::training::Training;

#[cfg(feature = "testing")]
pub(crate) use crate::catalogue::defect::Defect;
pub use crate::catalogue::fell::Follow;
pub use crate::catalogue::list::Listing;
pub use crate::catalogue::next::Due;
pub use crate::catalogue::tended::{Tended, Trouble};
pub use crate::record::padded;
pub use crate::scope::Request;
pub use crate::tree::Geometry;
pub use crate::tree::facts::Fact;
pub use crate::tree::grants::Grant;
pub use crate::tree::head::{CopyEntry, CopyMode};
pub use crate::tree::holds::Hold;
pub use crate::tree::lineage::Access;
pub use crate::tree::plans::Plan;
pub use crate::tree::sets::TrainingSet;

/// What the root of the crate exports: it has no other path.
pub(crate) mod paved {
    pub use super::batch::Batch;
    pub use super::erasure::Erasure;
    pub use super::options::Options;
    pub use super::reader::Reader;
    pub use super::verbs::engine::Engine;
    pub use crate::catalogue::list::Query;
}
