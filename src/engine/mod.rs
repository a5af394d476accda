//! The engine: joins the sealed tree to a store and a root cell.
//!
//! What may be is said in the catalogue, as rules over one state of the tree; here it is said in
//! what order it becomes durable. The invariants and the lock order are in `core`.

mod anchor;
mod asked;
mod batch;
mod beat;
mod bell;
mod bodies;
mod borrow;
mod catch_up;
mod changes;
mod check;
mod cleaner;
mod clock;
mod close;
mod commit;
mod commit_edit;
mod copies;
mod core;
mod declared;
mod draft;
mod draw_root_key;
mod due_drafts;
mod dying;
mod empty;
mod epoch;
mod erases;
mod erasure;
mod find;
mod group;
mod heads;
mod in_flight;
mod in_step;
mod issue;
mod keeper;
mod keys;
#[cfg(feature = "tokio")]
mod later;
mod leaf;
mod lines;
mod loan;
mod log;
mod mark;
mod medium;
mod observing;
mod open;
mod options;
mod own;
mod progress;
mod puts;
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "callers that do not block come with tokio")
)]
mod queue;
mod reader;
mod readers;
mod ready;
mod ready_key;
mod reopen;
mod replica;
mod retire;
mod run_due;
mod show;
mod side_by_side;
mod stage;
mod tell;
mod term;
mod told;
mod turn;
#[cfg(feature = "testing")]
mod twin;
mod two_cores;
mod unsigned;
pub(crate) mod verbs;
mod walks;
mod warm;

pub(crate) use beat::check_beat;
pub use bell::Keeper;
pub use changes::{Changed, Fallen, Watched};
pub use check::{Checked, check_restored, check_some_restored};
pub use cleaner::Cleaning;
pub use copies::{Restored, restore};
pub use dying::{Cleaned, Cleaner};
pub(crate) use find::{Prepared, prepare};
pub use heads::root_of;
pub use lines::Parted;
pub use options::{OpenAs, OpenCopy};
pub use progress::Progress;
pub use replica::Backup;
pub use unsigned::Unsigned;
pub use verbs::audit::{Audit, CopyAway, PlaceAudit};
pub use verbs::certificates::Certificates;
pub use verbs::clock::Clock;
pub use verbs::copies::{Copies, CopyStatus};
pub use verbs::discard::Discarded;
pub use verbs::erasing::Foreseen;
pub use verbs::grants::Grants;
pub use verbs::holds::Holds;
pub use verbs::inbox::{Accepted, Inbox, May};
pub use verbs::lineage::Lineage;
pub use verbs::log::Log;
pub use verbs::ownership::Ownership;
pub use verbs::plans::Plans;
pub use verbs::policies::Policies;
pub use verbs::report::{Erased, Report};
pub use verbs::requests::Opened;
pub use verbs::status::Status;
pub use verbs::to_come::{fell_from, next_id};
pub use verbs::training::Training;
pub use verbs::uploads::{UploadState, Uploads};
pub use verbs::warm::warm_up;

#[cfg(feature = "testing")]
pub(crate) use crate::catalogue::defect::Defect;
pub use crate::catalogue::due_outcome::{DueOutcome, Trouble};
pub use crate::catalogue::fell::Follow;
pub use crate::catalogue::inbox::KeyDestroyed;
pub use crate::catalogue::interactions::{Interaction, Interactions};
pub use crate::catalogue::next::Due;
pub use crate::catalogue::query::Listing;
pub use crate::catalogue::uploads::WrongOffset;
pub use crate::pages::CacheUse;
pub use crate::record::layout::padded;
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
    #[cfg(feature = "tokio")]
    pub use super::verbs::asynchronous::{AsyncEngine, AsyncOpening, AsyncReader, AsyncUploads};
    pub use super::verbs::engine::Engine;
    pub use super::verbs::openings::Opening;
    pub use crate::catalogue::query::Query;
}
