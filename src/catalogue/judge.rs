//! The erases of one commit, each judged alone: one that cannot be done does not stop the others.

use std::collections::{BTreeMap, BTreeSet};

use super::edit::{Edit, Start};
use super::erase::apply;
use super::fell::Fell;
use super::follow::{Blocked, follow};
use crate::error::{Error, ErrorKind, Result};
use crate::scope::Erase;
use crate::tree::history::About;

/// What the erases of a commit come to.
pub(crate) struct Judged<'a> {
    pub(crate) edit: Edit<'a>,
    /// Of each erase, in their order.
    pub(crate) fell: Vec<Result<Fell>>,
    /// Users that are gone.
    pub(crate) gone: u64,
    /// Derived records that were taken out.
    pub(crate) derived: u64,
    /// Whether a refusal was written down.
    pub(crate) refused: bool,
}

/// Why an edit is begun again.
enum Restart {
    /// One of its erases cannot be done.
    Erase(usize, Error),
    /// Links cannot be followed into a user's trees.
    Follow(Blocked),
}

/// Whether an erase was refused before its first change.
pub(crate) fn is_refusal(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Held | ErrorKind::Absent | ErrorKind::Invalid)
}

/// Judges each erase of a commit alone. One that fails in the middle leaves nothing: the edit is
/// begun again without it. `coming` is told which erase is next.
pub(crate) fn judge<'a>(
    start: Start<'a>,
    erases: &[&Erase],
    coming: &dyn Fn(usize),
) -> Result<Judged<'a>> {
    let mut failed = BTreeMap::new();
    let (mut passed_over, mut tried) = (BTreeSet::new(), false);
    loop {
        let mut edit = Edit::new(start);
        edit.passed_over.clone_from(&passed_over);
        match apply_all(edit, erases, &failed, coming) {
            Ok(judged) => return Ok(judged),
            Err(Restart::Erase(n, e)) => {
                failed.insert(n, e);
                // Once each of those after it is tried alone: however many fail, all are looked at
                // three times.
                for (n, erase) in erases.iter().enumerate().skip(n + 1).filter(|_| !tried) {
                    if let Err(e) = apply(&mut Edit::new(start), erase)
                        && !is_refusal(&e)
                    {
                        failed.insert(n, e);
                    }
                }
                tried = true;
            }
            Err(Restart::Follow(Blocked { user, error })) => {
                if !passed_over.insert(user) {
                    return Err(error);
                }
            }
        }
    }
}

/// Applies erases, but for those that are known to fail.
fn apply_all<'a>(
    mut edit: Edit<'a>,
    erases: &[&Erase],
    failed: &BTreeMap<usize, Error>,
    coming: &dyn Fn(usize),
) -> std::result::Result<Judged<'a>, Restart> {
    let mut all = Vec::with_capacity(erases.len());
    let (mut gone, mut derived, mut refused) = (0, 0, false);
    for (n, erase) in erases.iter().enumerate() {
        coming(n);
        if let Some(e) = failed.get(&n) {
            all.push(Err(e.copy()));
            continue;
        }
        match apply(&mut edit, erase) {
            Ok(mut fell) => {
                gone += u64::from(fell.user_gone);
                edit.note_fallen(&mut fell.spans);
                let (links, most) = (std::mem::take(&mut fell.links), edit.means.follow);
                derived += follow(&mut edit, links, most).map_err(Restart::Follow)?.derived;
                all.push(Ok(fell));
            }
            Err(e) if is_refusal(&e) => {
                if e.kind() == ErrorKind::Held {
                    match note_refusal(&mut edit, erase) {
                        Ok(noted) => refused |= noted,
                        // It is refused all the same.
                        Err(_) => return Err(Restart::Erase(n, e)),
                    }
                }
                all.push(Err(e));
            }
            Err(e) => return Err(Restart::Erase(n, e)),
        }
    }
    Ok(Judged { edit, fell: all, gone, derived, refused })
}

/// Writes into the user's history that an erase was refused, once for each scope.
pub(crate) fn note_refusal(edit: &mut Edit<'_>, erase: &Erase) -> Result<bool> {
    let user = erase.user(|user| edit.view.tag(user));
    let now = edit.moment.clock.now;
    match edit.page(user)? {
        Some((editor, page)) => {
            let about = About::of(&page.fence_key, erase);
            page.history.refuse(editor, user, now, &[about], true)?;
            Ok(true)
        }
        None => Ok(false),
    }
}
