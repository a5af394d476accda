//! Places that are no directories: URLs.

#[cfg(feature = "sled")]
use std::path::PathBuf;
#[cfg(feature = "sled")]
use std::sync::Arc;

#[cfg(all(feature = "sled", feature = "objects"))]
use keyfall_objects::Objects;

#[cfg(feature = "sled")]
use super::Store;
#[cfg(all(feature = "sled", feature = "objects"))]
use super::objects::ObjectLog;
use crate::error::{Error, ErrorKind, Result};
#[cfg(all(feature = "sled", feature = "objects"))]
use crate::traces::Traces;

/// The schemes of places of objects.
const SCHEMES: [&str; 6] = ["s3", "gs", "az", "file", POSTGRES[0], POSTGRES[1]];
const POSTGRES: [&str; 2] = ["postgres", "postgresql"];

/// What is to be done with the log at a URL.
#[cfg(feature = "sled")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing is written.
    Look,
    /// Nothing is written, and what does not answer soon is away.
    Borrow,
    Open,
    /// As a copy: one that does not answer soon is away.
    OpenCopy,
    Create,
    OpenOrCreate,
}

/// A directory of this machine that keeps what is read of a log's objects, and how many bytes.
#[cfg(feature = "sled")]
#[cfg_attr(
    not(feature = "objects"),
    expect(dead_code, reason = "without the feature no store is at a URL")
)]
#[derive(Clone, Debug)]
pub(crate) struct CacheAt {
    pub(crate) dir: PathBuf,
    pub(crate) most: u64,
}

/// Whether a place is a URL, as `s3://bucket/prefix`, and no path. Whether a store can be there
/// [`check_url`] says: what looks like a URL must not become a directory on this machine.
pub(crate) fn is_url(place: &str) -> bool {
    if lacks_colon(place).is_some() {
        return true;
    }
    let Some((scheme, rest)) = place.split_once(':') else { return false };
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"+.-".contains(&b);
    let formed =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(letter);
    formed && (rest.starts_with('/') || SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(scheme)))
}

/// The scheme of what was meant as a URL, as `s3//bucket/prefix`.
fn lacks_colon(place: &str) -> Option<&str> {
    let (scheme, _) = place.split_once("//")?;
    SCHEMES.contains(&scheme).then_some(scheme)
}

fn is_postgres(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| POSTGRES.contains(&scheme))
}

/// Refuses a URL of an unknown kind, and one that has a password in it, by the widest reading,
/// before any message shows it.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check_url(place: &str) -> Result<()> {
    if let Some(scheme) = lacks_colon(place) {
        let text = format!(
            "what begins with `{scheme}//` lacks a colon: a store is at {scheme}://...; a directory \
             of that name is ./{scheme}/..."
        );
        return Err(Error::invalid(text));
    }
    let Some((scheme, after)) = place.split_once(':').filter(|_| is_url(place)) else {
        return Ok(());
    };
    if !after.starts_with("//") || !SCHEMES.contains(&scheme) {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "what begins with `{scheme}:` is no place of a store: that is a directory, \
                 s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, file:///DIRECTORY \
                 or postgres://USER@HOST/DATABASE, in lower case; a directory of that name is \
                 ./{scheme}:..."
            ),
        ));
    }
    let rest = &after[2..];
    let before = rest.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'));
    if is_postgres(place) && (before || rest.contains("password=")) {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a password in a URL is shown to everybody who sees the URL; name it in PGPASSWORD",
        ));
    }
    Ok(())
}

/// How often a reader on another machine asks, for what it knows is over soon; and how often a copy
/// is asked when it is opened, for a copy that is away is to be told of soon.
#[cfg(all(feature = "sled", feature = "objects"))]
const BRIEF: keyfall_objects::Patience = keyfall_objects::Patience {
    tries: 5,
    pause: std::time::Duration::from_millis(50),
    longest: std::time::Duration::from_millis(400),
    in_all: std::time::Duration::from_secs(5),
};

/// The store at a URL.
///
/// # Errors
/// As the functions of [`ObjectLog`](super::ObjectLog) of these names; `Refused` without the
/// feature `objects`.
#[cfg(all(feature = "sled", feature = "objects"))]
pub(crate) fn at_url(url: &str, how: How) -> Result<Arc<dyn Store>> {
    if how == How::OpenCopy && keyfall_objects::cloud::directory_of(url).is_none() {
        let at = url.to_owned();
        let log = super::soon::soon(url, BRIEF.in_all, move || log_at(&at, how))?;
        return Ok(Arc::new(log));
    }
    Ok(Arc::new(log_at(url, how)?))
}

/// The same, with a cache of its objects on this machine.
///
/// # Errors
/// As [`at_url`]; `Refused` for a directory in which something else lies.
#[cfg(all(feature = "sled", feature = "objects"))]
pub(crate) fn at_url_cached(
    url: &str,
    how: How,
    cache: Option<&CacheAt>,
) -> Result<Arc<dyn Store>> {
    let Some(CacheAt { dir, most }) = cache else { return at_url(url, how) };
    Ok(Arc::new(log_at(url, how)?.cache(dir, *most)?))
}

#[cfg(all(feature = "sled", feature = "objects"))]
fn log_at(url: &str, how: How) -> Result<ObjectLog> {
    check_url(url)?;
    if how == How::Create || how == How::OpenOrCreate && !is_at(url)? {
        check_outside(url)?;
    }
    let dir = keyfall_objects::cloud::directory_of(url);
    if matches!(how, How::Look | How::Borrow | How::Open | How::OpenCopy)
        && dir.as_ref().is_some_and(|dir| !dir.exists())
    {
        // An adapter makes the directory that it is given.
        let text = format!("no store at {url}; name another place");
        return Err(Error::new(ErrorKind::Absent, text));
    }
    let traces = dir.as_deref().map(Traces::before);
    let log = objects_at(url).and_then(|objects| match how {
        How::Look => ObjectLog::look(objects),
        How::Borrow => ObjectLog::look_with(objects, Arc::new(crate::env::System), BRIEF),
        How::Open => ObjectLog::open(objects),
        How::OpenCopy => ObjectLog::open_with(objects, Arc::new(crate::env::System), BRIEF)
            .map(|log| log.patience(keyfall_objects::Patience::default())),
        How::Create => ObjectLog::create(objects),
        How::OpenOrCreate => ObjectLog::open_or_create(objects),
    });
    log.inspect_err(|_| traces.iter().for_each(Traces::undo_empty))
}

/// Refuses a place inside a store above it, however far: whoever deletes that one, or all of its
/// objects, would take it along.
#[cfg(all(feature = "sled", feature = "objects"))]
fn check_outside(url: &str) -> Result<()> {
    if keyfall_objects::cloud::directory_of(url).is_none() {
        // What the environment lacks is told of the place that was named.
        objects_at(url)?;
    }
    let mut place = url.trim_end_matches('/');
    while let Some((above, _)) = place.rsplit_once('/') {
        place = above;
        if is_postgres(url) || above.ends_with('/') {
            return Ok(());
        }
        if is_at(above)? {
            let text = format!(
                "{url} lies inside the store {above}: whoever removes that one would remove both; \
                 name another place"
            );
            return Err(Error::new(ErrorKind::Refused, text));
        }
    }
    Ok(())
}

/// Whether a store is seen at a URL. An adapter makes the directory that it is given.
#[cfg(all(feature = "sled", feature = "objects"))]
fn is_at(url: &str) -> Result<bool> {
    let is_gone = keyfall_objects::cloud::directory_of(url).is_some_and(|dir| !dir.exists());
    if is_gone { Ok(false) } else { ObjectLog::is_at(objects_at(url)?) }
}

#[cfg(all(feature = "sled", feature = "objects"))]
fn objects_at(url: &str) -> Result<Arc<dyn Objects>> {
    let invalid = |e: keyfall_objects::Failure| match e.kind {
        // The place may be right: the environment lacks something.
        keyfall_objects::FailureKind::Unknown => Error::new(ErrorKind::Io, e.message),
        _ => Error::new(ErrorKind::Invalid, e.message),
    };
    if is_postgres(url) {
        #[cfg(feature = "postgres")]
        {
            let objects = keyfall_objects::postgres::PostgresObjects::at(url).map_err(invalid)?;
            return Ok(Arc::new(objects));
        }
        #[cfg(not(feature = "postgres"))]
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{url}: this program keeps no stores in PostgreSQL; build it with the feature \
                 `postgres`"
            ),
        ));
    }
    Ok(Arc::new(keyfall_objects::cloud::CloudObjects::at(url).map_err(invalid)?))
}

#[cfg(all(feature = "sled", not(feature = "objects")))]
pub(crate) fn at_url_cached(
    url: &str,
    how: How,
    _cache: Option<&CacheAt>,
) -> Result<Arc<dyn Store>> {
    at_url(url, how)
}

#[cfg(all(feature = "sled", not(feature = "objects")))]
pub(crate) fn at_url(url: &str, _how: How) -> Result<Arc<dyn Store>> {
    check_url(url)?;
    Err(Error::new(
        ErrorKind::Refused,
        format!(
            "{url}: this program keeps no stores on objects; build it with the feature \
             `objects`, or `postgres`"
        ),
    ))
}
