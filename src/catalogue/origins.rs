//! Origins: what a record that is to be put is derived from, looked up before its payload is
//! sealed.

use std::collections::HashSet;

use super::resolve::resolver;
use super::staged::Staged;
use super::view::View;
use crate::crypto::{self, Key};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{DEPTH_MAX, SOURCES_MAX};
use crate::record::Source;

/// What a record is derived from: their lineage secrets, and how deep what is derived from them
/// lies.
#[derive(Default)]
pub(crate) struct Origins {
    /// The sources, each listed once.
    pub(crate) sources: Vec<Source>,
    pub(crate) secrets: Vec<Key>,
    pub(crate) depth: u16,
}

/// What a record is derived from, each source once; `staged` are the records before it in its
/// batch.
///
/// # Errors
/// `Erased`, `Absent` for a source; `Invalid` for too many; `Limit` if it would lie too deep.
pub(crate) fn origins(
    view: &View<'_>,
    staged: &[Staged],
    mut sources: Vec<Source>,
) -> Result<Origins> {
    for source in &mut sources {
        if let Source::Added(n) = source
            && let Some(there) = staged.get(*n).and_then(|staged| staged.there)
        {
            *source = Source::Record(there);
        }
    }
    let mut seen = HashSet::new();
    sources.retain(|source| seen.insert(*source));
    if sources.len() > SOURCES_MAX {
        return Err(Error::invalid(format!(
            "a record is derived from at most {SOURCES_MAX} others"
        )));
    }
    let mut resolver = resolver(view);
    let (mut secrets, mut depth) = (Vec::with_capacity(sources.len()), 0);
    for source in &sources {
        let (root, above) = match source {
            Source::Record(id) => resolver.resolve(id)?,
            Source::Added(n) => match staged.get(*n) {
                Some(staged) => (&staged.root, staged.entry.depth),
                None => {
                    return Err(Error::invalid(format!("no record {n} was added to this batch")));
                }
            },
        };
        secrets.push(crypto::lineage_secret(root));
        depth = depth.max(above);
    }
    if depth >= DEPTH_MAX {
        return Err(Error::new(
            ErrorKind::Limit,
            format!(
                "records are derived from one another at most {DEPTH_MAX} times; detach one of them"
            ),
        ));
    }
    Ok(Origins { sources, secrets, depth: depth + 1 })
}
