//! Places that are no directories: URLs.

#[cfg(feature = "sled")]
use std::sync::Arc;

#[cfg(feature = "sled")]
use super::Store;
#[cfg(all(feature = "sled", feature = "objects"))]
use super::objects::ObjectLog;
#[cfg(feature = "sled")]
use crate::error::{Error, ErrorKind, Result};

/// The schemes of places of objects.
const SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// What is to be done with the log at a URL.
#[cfg(feature = "sled")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing is written.
    Look,
    Open,
    Create,
    OpenOrCreate,
}

/// Whether a place is a URL of objects: `s3://bucket/prefix`, `gs://`, `az://` or `file:///`.
pub(crate) fn is_url(place: &str) -> bool {
    place.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// The store at a URL.
///
/// # Errors
/// As the functions of [`ObjectLog`](super::ObjectLog) of these names; `Refused` without the
/// feature `objects`.
#[cfg(all(feature = "sled", feature = "objects"))]
pub(crate) fn at_url(url: &str, how: How) -> Result<Arc<dyn Store>> {
    let objects = keyfall_objects::cloud::CloudObjects::at(url)
        .map_err(|e| Error::new(ErrorKind::Invalid, e.message))?;
    let objects = Arc::new(objects);
    let log = match how {
        How::Look => ObjectLog::look(objects),
        How::Open => ObjectLog::open(objects),
        How::Create => ObjectLog::create(objects),
        How::OpenOrCreate => ObjectLog::open_or_create(objects),
    };
    Ok(Arc::new(log?))
}

#[cfg(all(feature = "sled", not(feature = "objects")))]
pub(crate) fn at_url(url: &str, _how: How) -> Result<Arc<dyn Store>> {
    Err(Error::new(
        ErrorKind::Refused,
        format!(
            "{url}: this program keeps no stores on objects; build it with the feature `objects`"
        ),
    ))
}
