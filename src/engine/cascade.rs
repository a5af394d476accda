//! What falls with what was erased: derived records, in any user's tree. They cannot be read from the moment their source is
//! gone; here their entries are taken out of lists and counts, at once where they are few, by [`super::Engine::tend`] where they are
//! many.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;

use super::edit::{Edit, user_of};
use super::part::erase_record;
use super::read::Selector;
use super::{Inner, Writer};
use crate::error::Result;
use crate::ids::{RecordId, UserTag};
use crate::limits::{LINKS_FOLLOWED, USERS_FOLLOWED};
use crate::tree::lineage::{LINK_BYTES, Lineage, Other, read, whose};
use crate::tree::ordered::{Ordered, Range};
use crate::tree::user::split_record_key;

/// Links that one commit of [`super::Engine::tend`] follows.
const STEP: u64 = 4096;

/// The links of records that fell.
pub(super) struct Links {
    pub(super) owner: UserTag,
    pub(super) incarnation: u16,
    pub(super) tree: Ordered<LINK_BYTES>,
    pub(super) count: u64,
}

/// Derived records that were taken out.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) derived: u64,
    pub(super) selectors: Vec<Selector>,
}

/// How far an erase follows links before it returns: each further user costs it a path of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Most links.
    pub links: u64,
    /// Most users beside those that it names.
    pub users: usize,
}

impl Default for Follow {
    fn default() -> Self {
        Follow { links: LINKS_FOLLOWED, users: USERS_FOLLOWED }
    }
}

/// Follows links, and the links of what falls with them, as far as `most` says; what is left joins the change.
pub(super) fn follow(edit: &mut Edit<'_>, links: Vec<Links>, epoch: u64, most: Follow) -> Result<Followed> {
    let mut users: BTreeSet<UserTag> = links.iter().map(|l| l.owner).collect();
    let (mut links_left, users_most) = (most.links, users.len().saturating_add(most.users));
    let mut queue = VecDeque::from(links);
    let mut followed = Followed::default();
    while let Some(links) = queue.pop_front() {
        if links.count > links_left {
            edit.left.push(links);
            continue;
        }
        let Links { owner, incarnation, mut tree, count } = links;
        let place = Lineage::place(owner);
        let rows = tree.drain(&mut edit.editor, place)?;
        let mut further = BTreeSet::new();
        for (key, value) in &rows {
            if let Some(Other::Source(other) | Other::Derived(other)) = read(key, value)?
                && !users.contains(&other.user)
            {
                further.insert(other.user);
            }
        }
        if users.len() + further.len() > users_most {
            let mut tree = Ordered::default();
            for (key, value) in rows {
                tree.insert(&mut edit.editor, place, key, value)?;
            }
            edit.left.push(Links { owner, incarnation, tree, count });
            continue;
        }
        users.extend(further);
        links_left -= count;
        for (key, value) in rows {
            let Some(other) = read(&key, &value)? else {
                continue;
            };
            let (class, record) = whose(&key);
            let (interaction, ordinal) = split_record_key(&record)?;
            let id = RecordId { interaction, user: owner, incarnation, class, ordinal };
            let (editor, root) = edit.parts()?;
            match other {
                Other::Source(source) => {
                    if let Some(page) = user_of(editor, root, &source)? {
                        page.lineage.cut_derived(editor, &source, &id)?;
                    }
                }
                Other::Derived(derived) => {
                    let Some(page) = user_of(editor, root, &derived)? else {
                        continue;
                    };
                    let Some(mut fell) = erase_record(editor, page, &derived, epoch)? else {
                        continue;
                    };
                    followed.derived += fell.records.unwrap_or(0);
                    followed.selectors.append(&mut fell.selectors);
                    queue.extend(fell.links);
                }
            }
        }
    }
    Ok(followed)
}

impl Inner {
    /// Whether derived records that cannot be read any more still stand in lists.
    pub(super) fn is_falling(&self) -> bool {
        self.state().head.roots.falling.is_some()
    }

    /// Follows some of the links that an erase left; says how many derived records were taken out, or `None` at the end.
    pub(super) fn follow_some(&self, writer: &mut Writer) -> Result<Option<u64>> {
        self.ready(writer)?;
        let epoch = writer.root.id.epoch + 1;
        let (followed, change) = {
            let state = self.state();
            let pages = self.pages();
            let mut edit = Edit::new(&state, &pages);
            let (mut taken, mut sum) = (Vec::new(), 0);
            while sum < STEP
                && let Some((at, fallen)) = edit.falling.first(&pages)?
            {
                let place = Lineage::place(fallen.owner);
                let (owner, incarnation) = (fallen.owner, fallen.incarnation);
                let mut tree = Ordered::stored(Some(fallen.links));
                let (mut n, mut last) = (0, [0xFF; LINK_BYTES]);
                let all = Range { low: &[0; LINK_BYTES], high: &[0xFF; LINK_BYTES], descending: false };
                tree.scan(&pages, place, all, &mut |key, _| {
                    n += 1;
                    last = *key;
                    Ok(if sum + n < STEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
                })?;
                let (part, count) = tree.take_range(&mut edit.editor, place, &[0; LINK_BYTES], &last)?;
                sum += count;
                taken.push(Links { owner, incarnation, tree: part, count });
                edit.falling.remove(&mut edit.editor, at)?;
                // What is left of it is counted when its turn comes.
                edit.left.push(Links { owner, incarnation, tree, count: 0 });
            }
            if taken.is_empty() {
                return Ok(None);
            }
            // Each derived record has links of its own, one back to its source at least.
            let followed = follow(&mut edit, taken, epoch, Follow { links: 8 * STEP, users: usize::MAX })?;
            let mut change = self.change(&state, edit)?;
            self.next_epoch(&state, writer, &mut change)?;
            change.erased.clone_from(&followed.selectors);
            (followed, change)
        };
        self.publish(writer, change)?;
        Ok(Some(followed.derived))
    }
}
