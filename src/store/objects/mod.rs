//! The object log: a store on numbered objects that are created once, as S3 and its like keep them
//! (SPEC.md 9.8).
//!
//! ```text
//! keyfall          marker: format, and the key of the names; made once
//! c/<number>       a commit or a claim, 20 digits: whoever creates it has won the number
//! p/<number>-<k>   a part of a commit that does not fit into its object; what was put before it
//! x/<number>-<r>   blobs whose names say no place in this log
//! s/<name>         one long blob
//! f/<number>       a floor: nothing above this number was ever deleted
//! f/newest-<number>  a hint: an object of this number is there
//! f/beats-<claim>-<ms>  how often the writer with that claim leaves a sign of life
//! f/dead-<number>-<r>  names of blobs that were removed from objects which hold live ones too
//! b/<claim>-<n>    a sign of life of the writer that made this claim
//! a/<number>-<r>   which objects are claims, up to a number
//! probe/<r>        of the probe, deleted again
//! ```
//! Creating `c/<number>` is the compare-and-swap of the whole store, and the only one. An object is
//! never overwritten, and never compared but by its first 64 bytes.
//!
//! Invariants. A number is never passed over before it is decided, and no two are under way at
//! once. After a timeout the same bytes are sent again until the name is taken: "not there" is no
//! answer. A claim is never deleted: it is what refuses the commit of a writer that was stopped
//! before it and woke up after it.

mod bucket;
mod cache;
mod catalogue;
mod claim;
mod claims;
mod earlier;
mod find;
mod frame;
mod give;
mod hints;
mod likely;
mod live;
mod log;
mod marker;
mod named;
mod naming;
mod opening;
mod packs;
mod remove;
mod room;
mod signs;
mod sparse;
mod state;
mod survey;
mod tables;
mod windows;
mod witnesses;
mod write;

pub use self::log::ObjectLog;
