//! A storage engine for cryptographic erasure: destroy one key, and every copy of what it opened is
//! noise.
//!
//! Each user's records are kept under keys of their own, in a tree of encrypted pages. The one key
//! at the top is in a small *root cell*, the only place that must be able to forget. To erase, the
//! engine drops a pointer, rekeys the path to the top and has the cell destroy the old root key:
//! no older page opens any more, in any replica, backup, log or disk remnant, and what lives stays
//! restorable from the same copies.
//!
//! **Losing the root cell loses all data, and no backup of the store helps. The cell is never
//! copied or backed up.**
//!
//! ```no_run
//! # #[cfg(feature = "sled")] {
//! use keyfall::{Class, ErrorKind, Put, Scope, UserId};
//!
//! let engine = keyfall::open("assistant.db")?; // and assistant.db.cell; makes both if neither is
//! let ada = UserId::new("ada")?;
//! let recording = &b"RIFF...."[..]; // any reader
//! let id = engine.put(Put::new(ada.clone(), Class::audio()).media_type("audio/wav"), recording)?;
//! engine.get_to(&id, &mut std::io::sink())?; // or engine.get(&id)?, which reads and seeks
//!
//! let erasure = engine.erase(Scope::user(ada))?; // complete when it returns
//! println!("{:?} records; {}", erasure.records, engine.promise());
//! assert_eq!(engine.get(&id).unwrap_err().kind(), ErrorKind::Erased);
//! # }
//! # Ok::<(), keyfall::Error>(())
//! ```
//!
//! An [`Engine`] is `Clone`, `Send` and `Sync`, its calls block (`AsyncEngine`, feature `tokio`, is
//! for async programs), and one process at a time can have a store open. Scheduled work runs
//! automatically, on a thread of the engine.
//!
//! # How do I ...
//!
//! | | |
//! |---|---|
//! | open a store, or make one | [`open`]; with anything else to say, [`Builder`] |
//! | keep the cell elsewhere | [`Builder::cell_at`] |
//! | look only, or take another place over | [`Builder::read_only`], [`Builder::take_over`] |
//! | wait for the process that has it open | [`Builder::wait_for_lock`] |
//! | keep an index of my own up to date | [`Engine::watch`] |
//! | create a user, also one that was erased | [`Engine::create_user`] |
//! | name a user in an address, without the name | [`Engine::handle`], [`Engine::user_of`] |
//! | begin an interaction, for the records of one exchange | [`Engine::new_interaction`], [`Put::interaction`] |
//! | put a record, or several at once | [`Engine::put`], [`Engine::batch`] |
//! | take a payload in parts, over restarts | [`Engine::uploads`] |
//! | derive a transcript that falls with its recording | [`Put::derived_from`], [`Source`] |
//! | call it from an async program | `AsyncEngine` (feature `tokio`) |
//! | read a record, seek in it | [`Engine::get`], [`Reader`] |
//! | open it once, on record, for a player that seeks | [`Engine::open_as`], [`Opening`] |
//! | list what a user has | [`Engine::list`], [`Query`] |
//! | give a record a name, and find it by that | [`Put::name`], [`Engine::find`], [`PutMode`] |
//! | show what was said and done, day by day, in pages | [`Engine::interactions`], [`engine::Interactions::by_day`], [`time::Zone`] |
//! | erase a user, a class, an interaction, a span of time | [`Engine::erase`], [`Scope`] |
//! | let some of it stay, plan it | [`Erase::keep`], [`Engine::erase_at`] |
//! | have a certificate made | [`Erase::certified`], [`Erasure::certificate`], [`engine::Unsigned::sign`] |
//! | have one made of a planned erase, or of what passes a limit | [`Options::drafts`], [`Policy::certified`] |
//! | have it made even after a crash between erase and certificate | [`Erase::drafted`], [`Engine::certificates`] |
//! | check one | [`certificate::Certificate::verify`], [`certificate::Trust`], [`Engine::log`] |
//! | keep records for so long and no longer | [`Policy`], [`Engine::policies`] |
//! | show a person everything that is kept about them | [`Engine::report`] |
//! | keep copies | [`Engine::copies`], [`Engine::backup`] |
//! | restore from copies, read back what was restored | [`Builder::restore`], [`Builder::check_restored`] |
//! | try whether that works | [`engine::Copies::check_restore`] |
//! | give space back, automatically or at once | [`engine::Cleaner`], [`Engine::clean`], [`Engine::discard`] |
//! | know what to do about an error | [`ErrorKind`], [`Error::may_have_happened`] |
//! | go on after [`ErrorKind::Poisoned`], shut down | [`Engine::reopen`], [`Engine::close`] |
//! | be told of commits, erases, what was due, failures | [`Builder::observer`], [`observer`] |
//! | take over from a writer that is gone, on another machine | [`Builder::stand_by`], [`Builder::beat`] |
//! | read on another machine while the writer writes | [`Builder::open_reader`], [`Builder::lend`] |
//! | spread users over several stores | [`realm::Realm`], [`UserId::in_group`] |
//! | bring a store or a cell of my own | [`store::Store`], [`cell::RootCell`], [`Builder::over`] |
//!
//! # Features
//!
//! Features only add. `default` is `sled` (the store in a directory) and `cli` (the programs); a
//! service takes `default-features = false, features = ["sled"]`.
//!
//! | feature | adds |
//! |---|---|
//! | `engine` | the engine and its two ports, without the store in a directory |
//! | `sled` | the store in a directory |
//! | `keyholders` | the root key shared among servers |
//! | `tokio` | the engine for asynchronous programs |
//! | `tracing` | an observer that makes events of `tracing` of what an engine does |
//! | `metrics` | an observer that makes metrics of it |
//! | `aws-lc` | AES-256-GCM by AWS-LC: the same bytes |
//! | `objects` | the store on S3, Google Cloud Storage, Azure, and places as URLs in the program |
//! | `postgres` | the same on rows of PostgreSQL |
//! | `cli` | the program `keyfall` |
//! | `verify` | the program `keyfall-verify`, which has no engine in it |
//! | `testing` | conformance suites, recording ports, the archive adversary, the simulator |
//! | `shuttle` | the locks of a schedule explorer, for `cargo test --test explore` alone |
//!
//! Without any feature the crate checks logs and certificates: no engine and no cipher is in it
//! then.
//!
//! # Map of the code
//!
//! From the ground up: a module imports only from those above it in this table, which a test reads.
//! A re-export in a `mod.rs` does not count as an import. `docs/architecture.md#where-is-it` has
//! the file in which a given thing happens: a commit, a hold's check, the end of a root key.
//!
//! | module | holds |
//! |---|---|
//! | `error` | [`Error`] and [`ErrorKind`], for everything below |
//! | [`limits`] | every limit, and how they relate |
//! | [`time`] | points in time, and how they are written |
//! | [`promise`] | what a root cell says: how far its medium forgets, and that a key is destroyed |
//! | [`log`] | the public log of erasures, and how it is checked |
//! | [`certificate`] | the erasure certificate, and how it is checked |
//! | `ids` | (feature `engine`, as all below) names of users, records, stores and blobs |
//! | [`mod@env`] | the one door through which time and randomness come in |
//! | `process` | which process this is: a fork must do nothing with what its parent opened |
//! | [`secret`] | memory for keys: locked, left out of core dumps, wiped |
//! | `sync` | locks, which a schedule explorer can take the place of |
//! | `codec` | the one border between bytes and values |
//! | `scope` | what an erase names, and when it is done |
//! | `policy` | how long a class is kept |
//! | `dir` | directories: one process at a time in each, and no link that leads out |
//! | `traces` | what a making leaves, taken away again if it fails |
//! | `disk` | files as a medium: how they are written, synced and overwritten |
//! | [`store`] | the port that may keep every byte for ever, and its adapters: ciphertext only |
//! | [`observer`] | what an engine tells of its work: numbers and kinds, and nobody's data |
//! | [`crypto`] | the key schedule and the one sealing format |
//! | [`cell`] | the port that must forget, and its adapters |
//! | `tree` | the sealed tree, without I/O: users, classes, records, fences, links, holds |
//! | `record` | what a record is, and how its payload is laid out |
//! | [`sealed`] | what is sealed to a public key, without a store: envelopes, grants |
//! | `quorum` | (feature `keyholders`) the root key shared among keyholders |
//! | `stock` | blobs as they are stored, kept while a walk goes on |
//! | `pages` | the page cache, and where pages come from |
//! | `catalogue` | what may be: rules over one state of the tree, without store or cell |
//! | [`engine`] | in what order it becomes durable, and what callers may ask |
//! | [`opening`] | where a store and its cell are, and how both are made and opened |
//! | [`realm`] | several stores that have their users among them |
//! | `testing` | (feature `testing`) conformance suites, the archive adversary, the simulator |

#[cfg(feature = "engine")]
mod catalogue;
#[cfg(feature = "engine")]
pub mod cell;
pub mod certificate;
#[cfg(feature = "engine")]
mod codec;
#[cfg(feature = "engine")]
pub mod crypto;
#[cfg(feature = "engine")]
mod dir;
#[cfg(feature = "engine")]
#[cfg_attr(
    not(any(feature = "sled", feature = "testing")),
    expect(dead_code, reason = "a part of it serves the blob log alone")
)]
mod disk;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "engine")]
pub mod env;
mod error;
#[cfg(feature = "engine")]
mod ids;
pub mod limits;
pub mod log;
#[cfg(feature = "engine")]
pub mod observer;
#[cfg(feature = "engine")]
pub mod opening;
#[cfg(feature = "engine")]
mod pages;
#[cfg(feature = "engine")]
mod policy;
#[cfg(feature = "engine")]
mod process;
pub mod promise;
#[cfg(feature = "keyholders")]
pub mod quorum;
#[cfg(feature = "engine")]
pub mod realm;
#[cfg(feature = "engine")]
mod record;
#[cfg(feature = "engine")]
mod scope;
#[cfg(feature = "engine")]
pub mod sealed;
#[cfg(feature = "engine")]
pub mod secret;
#[cfg(feature = "engine")]
mod stock;
#[cfg(feature = "engine")]
pub mod store;
#[cfg(feature = "engine")]
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
#[cfg(feature = "sled")]
mod traces;
#[cfg(feature = "engine")]
mod tree;

#[cfg(feature = "tokio")]
pub use engine::paved::{AsyncEngine, AsyncOpening, AsyncReader, AsyncUploads};
#[cfg(feature = "engine")]
pub use engine::paved::{Batch, Engine, Erasure, Opening, Options, Query, Reader};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "engine")]
pub use ids::{Class, InteractionId, RecordId, UploadId, UserHandle, UserId};
#[cfg(feature = "engine")]
pub use opening::builder::Builder;
#[cfg(feature = "sled")]
pub use opening::builder::open;
#[cfg(feature = "engine")]
pub use policy::Policy;
#[cfg(feature = "engine")]
pub use record::{Put, PutMode, RecordInfo, Source};
#[cfg(feature = "engine")]
pub use scope::{Erase, Scope, When};
pub use time::point::Timestamp;

/// The example of the README, run as a test.
#[cfg(all(doctest, feature = "sled"))]
#[doc = include_str!("../README.md")]
struct Readme;
