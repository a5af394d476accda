//! What every command needs of the world around it: where things are, what is printed, output
//! files, stores to be opened.
//!
//! A file imports only from those named before it: again, failure, paths, media, print, read,
//! guarded, outfile, succeeded, drafts, cells, remedy, due, session, stores, make, realms, outside,
//! ask, places, which, waiting.

pub(crate) mod again;
pub(crate) mod ask;
pub(crate) mod cells;
pub(crate) mod drafts;
pub(crate) mod due;
pub(crate) mod failure;
pub(crate) mod guarded;
pub(crate) mod make;
pub(crate) mod media;
pub(crate) mod outfile;
pub(crate) mod outside;
pub(crate) mod paths;
pub(crate) mod places;
pub(crate) mod print;
pub(crate) mod read;
pub(crate) mod realms;
pub(crate) mod remedy;
pub(crate) mod session;
pub(crate) mod stores;
pub(crate) mod succeeded;
#[cfg(feature = "objects")]
pub(crate) mod waiting;
pub(crate) mod which;
