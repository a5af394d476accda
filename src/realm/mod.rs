//! Several stores that have the users of one realm among them: each is an engine with a cell of its
//! own, and none waits for another.
//!
//! ```no_run
//! # #[cfg(feature = "sled")] {
//! use keyfall::realm::{Realm, RealmBuilder};
//! use keyfall::{Class, Put, Scope, UserId};
//!
//! RealmBuilder::at("assistant.realm").shards(8).init()?.close()?;
//! let realm = Realm::open("assistant.realm")?;
//! let (ada, ben) = (UserId::in_group("home-1", "ada")?, UserId::new("ben")?);
//! let id = realm.put(Put::new(ada.clone(), Class::audio()), &b"RIFF...."[..])?;
//! realm.get(&id)?;
//! let erased = realm.erase_all(&[Scope::user(ada), Scope::user(ben)]);
//! erased.done()?; // an error, if one shard did not erase
//! # }
//! # Ok::<(), keyfall::Error>(())
//! ```
//!
//! A user's tag is made with an index key that all shards share. Its first 12 bits are the user's
//! slot, and a map says which shard has the slot: SPEC.md 9.10. A record's id has the tag in it, so
//! that it is found without its user's name. Invariants. The directory of a realm holds no secret:
//! realm id, places, ids of stores, slots. What is in it is written once and never changed. A user
//! whose home is another shard never comes to life in a store, whoever opened it.

mod builder;
mod erased;
mod files;
mod init;
mod map;
mod places;
mod router;
mod shards;
mod status;

pub use builder::RealmBuilder;
pub use erased::{ErasedThere, RealmErased};
pub use map::is_realm;
pub use places::{OpenShard, ShardAt};
pub use router::Realm;
pub use shards::of_lost_cell;
pub use status::{RealmStatus, ShardStatus};
