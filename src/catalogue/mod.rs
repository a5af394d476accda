//! The catalogue: what may be. Rules over one state of the tree: what a reader finds in it, what a
//! change makes of it.
//!
//! Invariants. No root cell, no lock, no thread, and no store but where [`open_payload`] fetches a
//! record's segments: a rule reads a [`view::View`] and edits an [`edit::Edit`], and nothing lasts
//! of an edit that is dropped. The engine decides in which order what was edited becomes durable;
//! it imports the catalogue, never the other way.

pub(crate) mod admit;
pub(crate) mod blob_names;
pub(crate) mod by_name;
pub(crate) mod change;
pub(crate) mod defect;
pub(crate) mod descent;
pub(crate) mod detach;
pub(crate) mod docket;
pub(crate) mod due;
pub(crate) mod due_for_user;
pub(crate) mod due_outcome;
pub(crate) mod edit;
pub(crate) mod erase;
pub(crate) mod fate;
pub(crate) mod fell;
pub(crate) mod follow;
pub(crate) mod grant;
pub(crate) mod hold;
pub(crate) mod hold_check;
pub(crate) mod inbox;
pub(crate) mod info;
pub(crate) mod interactions;
pub(crate) mod judge;
pub(crate) mod keep;
pub(crate) mod keep_derived;
pub(crate) mod leaf;
pub(crate) mod life;
pub(crate) mod list;
pub(crate) mod means;
pub(crate) mod moment;
pub(crate) mod name;
pub(crate) mod next;
pub(crate) mod number;
pub(crate) mod open_payload;
pub(crate) mod origins;
pub(crate) mod part;
pub(crate) mod plan;
pub(crate) mod put;
pub(crate) mod query;
pub(crate) mod record;
pub(crate) mod renew;
pub(crate) mod resolve;
pub(crate) mod retention;
pub(crate) mod seal_pages;
pub(crate) mod sealer;
pub(crate) mod set;
pub(crate) mod shard;
pub(crate) mod span;
pub(crate) mod staged;
pub(crate) mod to_come;
pub(crate) mod uploads;
pub(crate) mod view;
pub(crate) mod walk;
