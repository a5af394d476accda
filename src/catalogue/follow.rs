//! Following: derived records, in any user's tree, that fell with what was erased. They cannot be
//! read from the moment their source is gone; here their entries are taken out of lists and counts,
//! at once where they are few, by later commits where they are many.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;

use super::edit::{Edit, Start};
use super::fell::{Fell, Follow, Links};
use super::record::erase_record;
use crate::codec::Part;
use crate::error::{Error, Result};
use crate::ids::{RecordId, UserTag};
use crate::tree::falling::{Fallen, Filed};
use crate::tree::keys::{LINK_BYTES, LinkKey, split_record_key, whose};
use crate::tree::lineage::{Lineage, Other, read};
use crate::tree::ordered::{Ordered, Range};

/// Links that one commit follows of those that were left.
const STEP: u64 = 4096;

/// What following links did.
#[derive(Default)]
pub(crate) struct Followed {
    /// Derived records that were taken out.
    pub(crate) derived: u64,
    /// Links that were followed.
    links: u64,
    /// Which of the links that the edit leaves lead to a user that was passed over.
    stuck: Vec<usize>,
}

/// A user into whose trees a link could not be followed. What the edit holds is of no use then.
pub(crate) struct Blocked {
    pub(crate) user: UserTag,
    pub(crate) error: Error,
}

fn blocked(user: UserTag) -> impl Fn(Error) -> Blocked {
    move |error| Blocked { user, error }
}

type Reached<T> = std::result::Result<T, Blocked>;

/// Links with their values, out of their tree.
type Rows = Vec<(LinkKey, Part)>;

/// Follows links, and the links of what falls with them, as far as `most` says; what is left joins
/// the change, and so do links to users that are passed over.
pub(crate) fn follow(edit: &mut Edit<'_>, links: Vec<Links>, most: Follow) -> Reached<Followed> {
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
        let own = blocked(owner);
        let rows = tree.drain(&mut edit.editor, Lineage::place(owner)).map_err(&own)?;
        let further = further_users(&rows, &users).map_err(&own)?;
        if users.len() + further.len() > users_most {
            let tree = refiled(edit, owner, rows).map_err(&own)?;
            edit.left.push(Links { owner, incarnation, tree, count });
            continue;
        }
        users.extend(further);
        links_left -= count;
        queue.extend(follow_rows(edit, owner, incarnation, rows, &mut followed)?);
    }
    Ok(followed)
}

/// Users that links lead to, beside those.
fn further_users(rows: &Rows, users: &BTreeSet<UserTag>) -> Result<BTreeSet<UserTag>> {
    let mut further = BTreeSet::new();
    for (key, value) in rows {
        if let Some(Other::Source(other) | Other::Derived(other)) = read(key, value)?
            && !users.contains(&other.user)
        {
            further.insert(other.user);
        }
    }
    Ok(further)
}

/// A tree of links of one user.
fn refiled(edit: &mut Edit<'_>, owner: UserTag, rows: Rows) -> Result<Ordered<LINK_BYTES>> {
    let mut tree = Ordered::default();
    for (key, value) in rows {
        tree.insert(&mut edit.editor, Lineage::place(owner), key, value)?;
    }
    Ok(tree)
}

/// Follows the links of one user; gives those of what fell with them.
fn follow_rows(
    edit: &mut Edit<'_>,
    owner: UserTag,
    incarnation: u16,
    rows: Rows,
    followed: &mut Followed,
) -> Reached<Vec<Links>> {
    let own = blocked(owner);
    let (mut over, mut further) = (Vec::new(), Vec::new());
    for (key, value) in rows {
        let Some(other) = read(&key, &value).map_err(&own)? else {
            continue;
        };
        let (Other::Source(to) | Other::Derived(to)) = other;
        if edit.passed_over.contains(&to.user) {
            over.push((key, value));
            continue;
        }
        followed.links += 1;
        let (class, record) = whose(&key);
        let (interaction, ordinal) = split_record_key(&record).map_err(&own)?;
        let id = RecordId { interaction, user: owner, incarnation, class, ordinal };
        if let Some(fell) = follow_one(edit, &id, other).map_err(blocked(to.user))? {
            followed.derived += fell.records.unwrap_or(0);
            further.extend(fell.links);
        }
    }
    if !over.is_empty() {
        let count = over.len() as u64;
        let tree = refiled(edit, owner, over).map_err(&own)?;
        followed.stuck.push(edit.left.len());
        edit.left.push(Links { owner, incarnation, tree, count });
    }
    Ok(further)
}

/// Follows one link of a record that fell; gives what fell with it.
fn follow_one(edit: &mut Edit<'_>, id: &RecordId, other: Other) -> Result<Option<Fell>> {
    let epoch = edit.moment.epoch;
    match other {
        Other::Source(source) => {
            if let Some((editor, page)) = edit.page_for(&source)? {
                page.lineage.cut_derived(editor, &source, id)?;
            }
            Ok(None)
        }
        Other::Derived(derived) => {
            let Some((editor, page)) = edit.page_for(&derived)? else {
                return Ok(None);
            };
            let mut fell = erase_record(editor, page, &derived, epoch)?;
            if let Some(fell) = &mut fell {
                edit.note_fallen(&mut fell.spans);
            }
            Ok(fell)
        }
    }
}

/// What cannot be followed, until a damaged page is restored: passed over, so that nothing after it
/// waits.
#[derive(Default)]
pub(crate) struct Stuck {
    users: BTreeSet<UserTag>,
    /// Where such links are filed.
    links: BTreeSet<Filed>,
}

impl Stuck {
    /// How many users are passed over.
    pub(crate) fn users(&self) -> u64 {
        self.users.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.links.is_empty()
    }
}

/// Some links that earlier commits left, taken up again.
struct Taken {
    links: Vec<Links>,
    /// Where they were filed.
    filed: Vec<Filed>,
    /// Whether nothing of what was filed there is left.
    whole: bool,
}

/// An edit that followed links which earlier commits left.
pub(crate) struct Resumed<'a> {
    pub(crate) edit: Edit<'a>,
    /// Derived records that it takes out.
    pub(crate) derived: u64,
}

/// Follows some of the links that earlier commits left; `None` if no link is left that can be
/// followed.
pub(crate) fn follow_left<'a>(start: Start<'a>, stuck: &mut Stuck) -> Result<Option<Resumed<'a>>> {
    loop {
        let mut edit = Edit::new(start);
        edit.passed_over.clone_from(&stuck.users);
        let taken = take_up(&mut edit, stuck)?;
        if taken.links.is_empty() {
            return Ok(None);
        }
        // Each derived record has links of its own, one back to its source at least.
        let most = Follow { links: 8 * STEP, users: usize::MAX };
        let followed = match follow(&mut edit, taken.links, most) {
            Ok(followed) => followed,
            Err(Blocked { user, .. }) if stuck.users.insert(user) => continue,
            Err(Blocked { error, .. }) => return Err(error),
        };
        if followed.links == 0 && taken.whole && !followed.stuck.is_empty() {
            // Nothing would change: they stay where they are.
            stuck.links.extend(taken.filed);
            continue;
        }
        let commit = start.view.at.commit + 1;
        stuck.links.extend(followed.stuck.iter().map(|n| Filed { commit, number: *n as u32 }));
        return Ok(Some(Resumed { edit, derived: followed.derived }));
    }
}

/// Takes up the first links that are filed, but for those that are known to be stuck.
fn take_up(edit: &mut Edit<'_>, stuck: &mut Stuck) -> Result<Taken> {
    let pages = edit.pages();
    let mut taken = Taken { links: Vec::new(), filed: Vec::new(), whole: true };
    let mut sum = 0;
    while sum < STEP
        && let Some((at, fallen)) = edit.falling.first_but(pages, &stuck.links)?
    {
        let (owner, incarnation) = (fallen.owner, fallen.incarnation);
        let Ok((links, rest)) = some_of(edit, fallen, STEP - sum) else {
            stuck.users.insert(owner);
            stuck.links.insert(at);
            continue;
        };
        sum += links.count;
        taken.whole &= rest.root.is_none();
        taken.filed.push(at);
        taken.links.push(links);
        edit.falling.remove(&mut edit.editor, at)?;
        // What is left of it is counted when its turn comes.
        edit.left.push(Links { owner, incarnation, tree: rest, count: 0 });
    }
    Ok(taken)
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
