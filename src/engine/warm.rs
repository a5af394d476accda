//! Pages that are read before they are asked for. Where a request takes long those of one level of
//! the tree are asked for at the same time.

use super::core::Core;
use crate::error::Result;
use crate::ids::UserTag;
use crate::tree::{Edge, PageKind, Ref, Spot, edges};

/// Users whose paths are read together.
const TOGETHER: usize = 256;
/// Pages of the upper levels of the user tree, at most: each level whole, or not at all.
const UPPER: usize = 512;

/// Has the pages on the way to these users in memory, if a request takes long. Whether there are
/// such users it does not say, and what cannot be read whoever needs it finds out.
pub(super) fn paths(core: &Core, users: &[UserTag]) -> Result<()> {
    if !core.store().is_far() {
        return Ok(());
    }
    users.chunks(TOGETHER).try_for_each(|some| {
        core.look_at(|_, view| {
            for user in some {
                let _ = view.users().find(*user);
            }
            Ok(())
        })
    })
}

/// Has the upper levels of the user tree in memory, if a request takes long.
pub(super) fn upper(core: &Core) -> Result<()> {
    if !core.store().is_far() {
        return Ok(());
    }
    core.look_at(|_, view| {
        let (mut level, mut seen) = (vec![view.head.roots.users.duplicate()], 0);
        loop {
            seen += level.len();
            // All of a level that is not there, before any of the next one.
            let load = |at| view.pages.load(PageKind::Users, None, at);
            let pages: Vec<_> = level.iter().map(load).collect();
            let mut below: Vec<Ref> = Vec::new();
            for page in pages {
                let users = |edge| match edge {
                    Edge::Page { spot, at } if spot.kind == PageKind::Users => Some(at),
                    _ => None,
                };
                below.extend(edges(&Spot::ROOT, &page?)?.into_iter().filter_map(users));
            }
            if below.is_empty() || seen + below.len() > UPPER {
                return Ok(());
            }
            level = below;
        }
    })
}
