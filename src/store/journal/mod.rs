//! A store that is a journal: blobs in numbered files that only grow, found by what their names
//! say, or else through an index.

pub(crate) mod claims;
mod clean;
mod dir;
mod doors;
mod files;
mod frame;
mod give;
mod index;
mod learn;
pub(crate) mod look;
mod naming;
mod sizes;
mod store;
mod sweep;
mod tally;
mod wipe;

#[cfg(feature = "testing")]
pub(crate) use self::frame::frame_in;
pub(crate) use self::frame::{Location, Position};
pub(crate) use self::index::{Index, Summary, Update};
pub(crate) use self::naming::{NAMING_KEY_BYTES, Naming};
pub(crate) use self::sizes::Sizes;
pub(crate) use self::store::JournalStore;
pub(crate) use self::tally::Blobs;
