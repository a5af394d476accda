//! Keyfall as an [`object_store::ObjectStore`]: what speaks object_store (DataFusion, Lance, Delta,
//! SlateDB and more) keeps its files where an erase reaches them.
//!
//! ```
//! # use std::sync::Arc;
//! # use keyfall::{AsyncEngine, Engine, Options, Scope, UserId, cell::MemoryCell, store::MemoryStore};
//! use keyfall_object_store::KeyfallStore;
//! use object_store::{ObjectStore, ObjectStoreExt, path::Path};
//!
//! # tokio::runtime::Builder::new_multi_thread().build()?.block_on(async {
//! # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
//! # let engine = AsyncEngine::new(Engine::init(store, cell, Options::default())?);
//! let ada = UserId::new("ada")?;
//! let files = KeyfallStore::for_user(engine.clone(), ada.clone());
//! files.put(&Path::from("calls/2026.wav"), "RIFF....".into()).await?;
//!
//! engine.erase(Scope::user(ada)).await?; // all files of hers, in one commit
//! let gone = files.get(&Path::from("calls/2026.wav")).await.unwrap_err();
//! assert!(matches!(gone, object_store::Error::NotFound { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a path, an attribute, an entity tag and a copy are here stands in `docs/paths.md`.

mod error;
mod listing;
mod payload;
mod place;
mod said;
mod store;
mod upload;
mod uploads;

pub use store::KeyfallStore;
