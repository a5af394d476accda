//! What keyholders told, as the contents of a cell.

use super::Held;
use super::sorted::Sorted;
use super::told::Told;
use crate::cell::{Contents, RootKey, Unheard};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;

/// The contents of a cell, of which `needed` shares give a key. `is_kept`: a root key of it was
/// kept from this machine, and so its store was whole once.
///
/// # Errors
/// `Io` if too few shares fit together.
pub(super) fn contents(
    store: StoreId,
    held: &[Result<Held>],
    told: Told,
    sorted: Sorted<'_>,
    needed: usize,
    is_kept: bool,
    place: &dyn Fn(usize) -> String,
) -> Result<Contents> {
    let answered = || held.iter().flatten();
    let Told { owner, doubted, claims, mark, ended, may_hide, has_commit } = told;
    let was_whole = is_kept || has_commit;
    let epochs = answered()
        .flat_map(|held| held.shares.iter().map(|share| share.id.epoch).chain([held.committed]));
    let epoch = epochs.max().unwrap_or_default();
    let keys: Vec<RootKey> = sorted.keys.into_iter().map(|(key, _)| key).collect();
    // No keyholder has anything, and all of them say so, or so many that one of them had been told
    // of a commit: a store that is not made yet.
    if epoch == 0 && !is_kept && (answered().count() == held.len() || !may_hide && !has_commit) {
        return Ok(Contents {
            keys,
            epoch,
            owner,
            doubted,
            claims,
            mark,
            // An init that no keyholder took a share of is repeated as the store it began.
            ..Contents { store: Some(store), ..Contents::default() }
        });
    }
    let silent: Vec<String> =
        held.iter().filter_map(|held| held.as_ref().err().map(ToString::to_string)).collect();
    if keys.is_empty() {
        let lies = |n: &usize| format!("the keyholder {} has a wrong share", place(*n));
        let why: Vec<String> = sorted.liars.iter().map(lies).chain(silent).collect();
        return Err(not_recovered(held, needed, &why));
    }
    let unheard =
        (!silent.is_empty()).then(|| Unheard { silent: silent.join("; "), ended, may_hide });
    Ok(Contents {
        store: Some(store),
        keys,
        epoch,
        unheard,
        owner,
        doubted,
        claims,
        mark,
        was_whole,
    })
}

/// The error if too few shares fit together, and `why`.
fn not_recovered(held: &[Result<Held>], needed: usize, why: &[String]) -> Error {
    let refuses =
        |held: &Result<Held>| held.as_ref().is_err_and(|e| e.kind() == ErrorKind::Refused);
    let remedy = if held.iter().all(refuses) {
        "none of them gives this engine a share: do as they say".to_owned()
    } else {
        format!(
            "too few of their shares fit together: {needed} are needed; start the others, or \
             replace what is lost with `keyfall keyholder replace STORE --number N --with \
             KEY@HOST:PORT` while enough are there; if keyholders were replaced from another \
             machine, copy the newest quorum.json here"
        )
    };
    let text = format!(
        "the root key cannot be recovered: {} of {} keyholders gave what they hold, and {remedy} \
         ({})",
        held.iter().flatten().count(),
        held.len(),
        why.join("; ")
    );
    Error::new(ErrorKind::Io, text).for_keyholders()
}
