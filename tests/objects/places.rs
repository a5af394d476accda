//! Places to test over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keyfall_objects::cloud::CloudObjects;
use keyfall_objects::{MemoryObjects, Objects};

/// A place without objects, by a name for messages; a directory is removed in the end.
pub(crate) struct Fresh {
    pub(crate) name: String,
    pub(crate) objects: Arc<dyn Objects>,
    _dir: Option<tempfile::TempDir>,
}

/// The variable that names a database.
#[cfg(feature = "postgres")]
const DATABASE: &str = "KEYFALL_POSTGRES";
/// The variables that name places of servers: a bucket and a prefix each.
const SERVERS: [&str; 2] = ["KEYFALL_S3", "KEYFALL_AZURE"];

/// Memory, a directory, and each server that the environment names.
pub(crate) fn fresh() -> Vec<Fresh> {
    let memory =
        Fresh { name: "memory".into(), objects: Arc::new(MemoryObjects::new()), _dir: None };
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/log", dir.path().display());
    let mut all = vec![memory, Fresh { objects: at(&url), name: url, _dir: Some(dir) }];
    #[cfg(feature = "postgres")]
    if let Ok(place) = std::env::var(DATABASE) {
        all.push(rows(&place));
    }
    all.extend(servers().into_iter().map(|url| Fresh { objects: at(&url), name: url, _dir: None }));
    all
}

/// A new prefix on each server that the environment names.
pub(crate) fn servers() -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let places = SERVERS.iter().filter_map(|name| std::env::var(name).ok());
    let prefix = |place: String| {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{place}/it-{}-{n}", std::process::id())
    };
    places.map(prefix).collect()
}

/// A new store in a database.
#[cfg(feature = "postgres")]
pub(crate) fn rows(place: &str) -> Fresh {
    let name = row(place);
    let objects = at(&name);
    Fresh { name, objects, _dir: None }
}

/// The URL of a new store in a database.
#[cfg(feature = "postgres")]
fn row(place: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let and = if place.contains('?') { '&' } else { '?' };
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{place}{and}store=it-{}-{n}", std::process::id())
}

/// The objects at a URL.
pub(crate) fn at(url: &str) -> Arc<dyn Objects> {
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres://") {
        return Arc::new(keyfall_objects::postgres::PostgresObjects::at(url).unwrap());
    }
    Arc::new(CloudObjects::at(url).unwrap())
}

/// What URLs of stores beside each other begin with.
pub(crate) struct Base {
    base: String,
    /// What stands between it and a name.
    joint: &'static str,
    _dir: Option<tempfile::TempDir>,
}

impl Base {
    /// The URL of a store.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{}{name}", self.base, self.joint)
    }
}

/// A directory, and a new place on each server that the environment names.
pub(crate) fn bases() -> Vec<Base> {
    let dir = tempfile::tempdir().unwrap();
    let base = format!("file://{}", dir.path().display());
    let mut all = vec![Base { base, joint: "/", _dir: Some(dir) }];
    #[cfg(feature = "postgres")]
    if let Ok(place) = std::env::var(DATABASE) {
        all.push(Base { base: row(&place), joint: "-", _dir: None });
    }
    all.extend(servers().into_iter().map(|base| Base { base, joint: "/", _dir: None }));
    all
}
