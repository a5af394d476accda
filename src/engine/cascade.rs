//! What falls with what was erased: derived records, in any user's tree. They cannot be read from the moment their source is
//! gone; here their entries are taken out of lists and counts, at once where they are few, by [`Engine::run_due`](crate::Engine::run_due) where they are
//! many.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;

use super::edit::{Edit, user_of};
use super::erase::Applied;
use super::part::erase_record;
use super::{Inner, Writer};
use crate::error::{Error, Result};
use crate::ids::{RecordId, UserTag};
use crate::limits::{LINKS_FOLLOWED, USERS_FOLLOWED};
use crate::tree::falling::Fallen;
use crate::tree::lineage::{LINK_BYTES, Lineage, Other, read, whose};
use crate::tree::ordered::{Ordered, Range};
use crate::tree::user::split_record_key;

/// Links that one commit of [`Engine::run_due`](crate::Engine::run_due) follows.
const STEP: u64 = 4096;

/// The links of records that fell.
pub(super) struct Links {
    pub(super) owner: UserTag,
    pub(super) incarnation: u16,
    pub(super) tree: Ordered<LINK_BYTES>,
    pub(super) count: u64,
}

/// What following links did.
#[derive(Default)]
pub(super) struct Followed {
    /// Derived records that were taken out.
    pub(super) derived: u64,
    /// Links that were followed.
    links: u64,
    /// Which of the links that the edit leaves lead to who was passed over.
    stuck: Vec<usize>,
}

/// A user into whose trees a link could not be followed. What the edit holds is of no use then.
pub(super) struct Blocked {
    pub(super) user: UserTag,
    pub(super) error: Error,
}

fn blocked(user: UserTag) -> impl Fn(Error) -> Blocked {
    move |error| Blocked { user, error }
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

/// Follows links, and the links of what falls with them, as far as `most` says; what is left joins the change, and so do links to users
/// who are passed over.
pub(super) fn follow(
    edit: &mut Edit<'_>,
    links: Vec<Links>,
    epoch: u64,
    most: Follow,
) -> std::result::Result<Followed, Blocked> {
    let mut users: BTreeSet<UserTag> = links.iter().map(|l| l.owner).collect();
    let (mut links_left, users_most) = (most.links, users.len().saturating_add(most.users));
    let mut queue = VecDeque::from(links);
    let mut followed = Followed::default();
    while let Some(links) = queue.pop_front() {
        if links.count > links_left {
            edit.left.push(links);
            continue;
        }
        if links.count > 0 && edit.passed_over.contains(&links.owner) {
            followed.stuck.push(edit.left.len());
            edit.left.push(links);
            continue;
        }
        let Links { owner, incarnation, mut tree, count } = links;
        let (place, own) = (Lineage::place(owner), blocked(owner));
        let rows = tree.drain(&mut edit.editor, place).map_err(&own)?;
        let mut further = BTreeSet::new();
        for (key, value) in &rows {
            if let Some(Other::Source(other) | Other::Derived(other)) = read(key, value).map_err(&own)?
                && !users.contains(&other.user)
            {
                further.insert(other.user);
            }
        }
        if users.len() + further.len() > users_most {
            let mut tree = Ordered::default();
            for (key, value) in rows {
                tree.insert(&mut edit.editor, place, key, value).map_err(&own)?;
            }
            edit.left.push(Links { owner, incarnation, tree, count });
            continue;
        }
        users.extend(further);
        links_left -= count;
        let (mut over, mut over_count) = (Ordered::default(), 0);
        for (key, value) in rows {
            let Some(other) = read(&key, &value).map_err(&own)? else {
                continue;
            };
            let (Other::Source(to) | Other::Derived(to)) = other;
            if edit.passed_over.contains(&to.user) {
                over.insert(&mut edit.editor, place, key, value).map_err(&own)?;
                over_count += 1;
                continue;
            }
            followed.links += 1;
            let (class, record) = whose(&key);
            let (interaction, ordinal) = split_record_key(&record).map_err(&own)?;
            let id = RecordId { interaction, user: owner, incarnation, class, ordinal };
            if let Some(fell) = follow_one(edit, &id, other, epoch).map_err(blocked(to.user))? {
                followed.derived += fell.records.unwrap_or(0);
                queue.extend(fell.links);
            }
        }
        if over_count > 0 {
            followed.stuck.push(edit.left.len());
            edit.left.push(Links { owner, incarnation, tree: over, count: over_count });
        }
    }
    Ok(followed)
}

/// Follows one link of a record that fell; gives what fell with it.
fn follow_one(edit: &mut Edit<'_>, id: &RecordId, other: Other, epoch: u64) -> Result<Option<Applied>> {
    let (editor, root) = edit.parts()?;
    match other {
        Other::Source(source) => {
            if let Some(page) = user_of(editor, root, &source)? {
                page.lineage.cut_derived(editor, &source, id)?;
            }
            Ok(None)
        }
        Other::Derived(derived) => {
            let Some(page) = user_of(editor, root, &derived)? else {
                return Ok(None);
            };
            let mut fell = erase_record(editor, page, &derived, epoch)?;
            if let Some(fell) = &mut fell {
                edit.note_fallen(&mut fell.selectors);
            }
            Ok(fell)
        }
    }
}

/// What cannot be followed, until a damaged page is restored: passed over, so that nothing behind it waits.
#[derive(Default)]
pub(super) struct Stuck {
    users: BTreeSet<UserTag>,
    /// Where such links are filed.
    links: BTreeSet<(u64, u32)>,
}

impl Stuck {
    /// How many users are passed over.
    pub(super) fn users(&self) -> u64 {
        self.users.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.links.is_empty()
    }
}

impl Inner {
    /// Whether derived records that cannot be read any more still stand in lists.
    pub(super) fn is_falling(&self) -> bool {
        self.state().head.roots.falling.is_some()
    }

    /// Follows some of the links that an erase left; says how many derived records were taken out, or `None` at the end.
    pub(super) fn follow_some(&self, writer: &mut Writer, stuck: &mut Stuck) -> Result<Option<u64>> {
        self.ready_to_erase(writer)?;
        let epoch = writer.root.id.epoch + 1;
        loop {
            let (derived, change) = {
                let state = self.state();
                let pages = self.pages();
                let mut edit = Edit::new(&state, &pages);
                edit.passed_over.clone_from(&stuck.users);
                let (mut taken, mut sum) = (Vec::new(), 0);
                let (mut places, mut whole) = (Vec::new(), true);
                while sum < STEP
                    && let Some((at, fallen)) = edit.falling.first_but(&pages, &stuck.links)?
                {
                    let (owner, incarnation) = (fallen.owner, fallen.incarnation);
                    let Ok((links, rest)) = some_of(&mut edit, fallen, STEP - sum) else {
                        stuck.users.insert(owner);
                        stuck.links.insert(at);
                        continue;
                    };
                    sum += links.count;
                    whole &= rest.root.is_none();
                    places.push(at);
                    taken.push(links);
                    edit.falling.remove(&mut edit.editor, at)?;
                    // What is left of it is counted when its turn comes.
                    edit.left.push(Links { owner, incarnation, tree: rest, count: 0 });
                }
                if taken.is_empty() {
                    return Ok(None);
                }
                // Each derived record has links of its own, one back to its source at least.
                let followed = match follow(&mut edit, taken, epoch, Follow { links: 8 * STEP, users: usize::MAX }) {
                    Ok(followed) => followed,
                    Err(Blocked { user, .. }) if stuck.users.insert(user) => continue,
                    Err(Blocked { error, .. }) => return Err(error),
                };
                if followed.links == 0 && whole && !followed.stuck.is_empty() {
                    // Nothing would change: they stay where they are.
                    stuck.links.extend(places);
                    continue;
                }
                let commit = state.stored.id.commit + 1;
                let mut change = self.change(&state, edit)?;
                self.next_epoch(&state, writer, &mut change)?;
                stuck.links.extend(followed.stuck.iter().map(|n| (commit, *n as u32)));
                (followed.derived, change)
            };
            self.publish(writer, change)?;
            return Ok(Some(derived));
        }
    }
}

/// The first links of what fell, at most so many, and the rest.
fn some_of(edit: &mut Edit<'_>, fallen: Fallen, most: u64) -> Result<(Links, Ordered<LINK_BYTES>)> {
    let Fallen { owner, incarnation, links } = fallen;
    let place = Lineage::place(owner);
    let mut tree = Ordered::stored(Some(links));
    let (mut n, mut last) = (0, [0xFF; LINK_BYTES]);
    let all = Range { low: &[0; LINK_BYTES], high: &[0xFF; LINK_BYTES], descending: false };
    tree.scan(edit.editor.pages, place, all, &mut |key, _| {
        n += 1;
        last = *key;
        Ok(if n < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    let (part, count) = tree.take_range(&mut edit.editor, place, &[0; LINK_BYTES], &last)?;
    Ok((Links { owner, incarnation, tree: part, count }, tree))
}
