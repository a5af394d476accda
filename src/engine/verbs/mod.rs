//! The public face: what callers may ask of an engine.
//!
//! [`engine`] holds [`Engine`](crate::Engine): the verbs that name no collection, and a handle for
//! each noun that has verbs of its own, in the grammar of the command line (`keyfall hold add` is
//! `engine.holds(&user).add(..)`). A handle borrows the engine, keeps nothing and is defined, with
//! its verbs, in the file of its noun. The other files hold one verb each, or a few, as functions
//! that `engine` calls.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
pub(crate) mod audit;
pub(crate) mod certificates;
pub(crate) mod clock;
pub(crate) mod copies;
pub(crate) mod discard;
pub(crate) mod engine;
pub(crate) mod erasing;
pub(crate) mod grants;
pub(crate) mod holds;
pub(crate) mod inbox;
pub(crate) mod lineage;
pub(crate) mod log;
pub(crate) mod openings;
pub(crate) mod ownership;
pub(crate) mod plans;
pub(crate) mod policies;
mod records;
pub(crate) mod report;
pub(crate) mod requests;
pub(crate) mod status;
pub(crate) mod to_come;
pub(crate) mod training;
mod until;
pub(crate) mod uploads;
pub(crate) mod warm;
mod watch;
