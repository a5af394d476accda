//! The end of an edit: its pages are sealed under fresh keys, children before parents, up to the
//! roots in the head. What comes out is a change for the engine to publish.

use super::change::Change;
use super::edit::Edit;
use super::fell::Links;
use super::sealer::{Beside, Sealer};
use crate::error::Result;
use crate::tree::Ref;
use crate::tree::agenda::Agenda;
use crate::tree::falling::{Fallen, Falling, Filed};
use crate::tree::head::HeadPage;
use crate::tree::lineage::Lineage;
use crate::tree::policies::Policies;
use crate::tree::sets::Sets;
use crate::tree::users::seal_users;

/// Seals what was edited, below `head`.
pub(crate) fn seal(edit: Edit<'_>, head: HeadPage) -> Result<Change> {
    seal_with(edit, head, None)
}

/// Seals what was edited, below `head`; links left to be followed are filed under the number of
/// the commit. What `beside` takes is an empty blob in the change until it is encrypted.
pub(crate) fn seal_with<'a>(
    mut edit: Edit<'a>,
    mut head: HeadPage,
    beside: Option<&'a dyn Beside>,
) -> Result<Change> {
    let commit = edit.view.at.commit + 1;
    let mut sealer = Sealer::new(edit.means, head.realm, edit.payloads).with(beside);
    for (number, left) in (0..).zip(edit.left) {
        let Links { owner, incarnation, tree, .. } = left;
        if let Some(links) = tree.seal(Lineage::place(owner), head.geometry, &mut sealer)? {
            let fallen = Fallen { owner, incarnation, links };
            edit.falling.set(&mut edit.editor, Filed { commit, number }, &fallen)?;
        }
    }
    // The head's own pointers keep no page from being let go.
    let (roots, geometry) = (&mut head.roots, head.geometry);
    roots.falling = edit.falling.tree.seal(Falling::PLACE, geometry, &mut sealer)?.map(Ref::alone);
    roots.agenda = edit.agenda.tree.seal(Agenda::PLACE, geometry, &mut sealer)?.map(Ref::alone);
    roots.policies =
        edit.policies.tree.seal(Policies::place(None), geometry, &mut sealer)?.map(Ref::alone);
    roots.sets = edit.sets.tree.seal(Sets::PLACE, geometry, &mut sealer)?.map(Ref::alone);
    roots.users = seal_users(edit.users, geometry, &mut sealer)?.alone();
    let mut change = Change::of_head(head);
    change.erased = edit.fell.into_values().flatten().collect();
    change.cuts = edit.cuts;
    change.blobs = sealer.blobs;
    change.made = sealer.made;
    change.replaced = edit.editor.replaced;
    Ok(change)
}
