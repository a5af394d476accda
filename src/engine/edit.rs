//! A change of the tree in the making: every verb that writes opens one, edits, and has it sealed.

use std::collections::{BTreeSet, HashMap};

use super::cascade::Links;
use super::commit::{Change, Sealer};
use super::pages::PageSource;
use super::read::Selector;
use super::{Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, RecordId, Timestamp, UserTag};
use crate::store::{Ahead, Blob};
use crate::tree::agenda::Agenda;
use crate::tree::falling::{Fallen, Falling};
use crate::tree::lineage::Lineage;
use crate::tree::ordered::Ordered;
use crate::tree::policies::Policies;
use crate::tree::sets::Sets;
use crate::tree::user::UserPage;
use crate::tree::users::{Slot, SlotState, UsersNode, seal_users};
use crate::tree::{Editor, Link, PageKind, Ref};

/// Records, and the sources that each was cut from.
pub(super) type Cuts = HashMap<RecordId, Vec<RecordId>>;

/// The tree, to be changed.
pub(super) struct Edit<'a> {
    pub(super) editor: Editor<'a>,
    users: Link<UsersNode>,
    pub(super) falling: Falling,
    pub(super) agenda: Agenda,
    /// The store's.
    pub(super) policies: Policies,
    pub(super) sets: Sets,
    /// Links that this change leaves to be followed, which join `falling`.
    pub(super) left: Vec<Links>,
    /// Users into whose trees no link is followed now: a page of theirs cannot be read.
    pub(super) passed_over: BTreeSet<UserTag>,
    /// What this change took so far.
    pub(super) fell: HashMap<UserTag, Vec<Selector>>,
    /// Links that this change cut so far.
    pub(super) cuts: Cuts,
    /// Payloads that go into the store with it.
    payloads: Vec<Blob>,
    ahead: Ahead,
}

impl<'a> Edit<'a> {
    pub(super) fn new(state: &State, pages: &'a PageSource<'_>) -> Self {
        let roots = state.head.roots.duplicate();
        Edit {
            editor: Editor { pages, geometry: state.head.geometry, replaced: Vec::new() },
            users: Link::Stored(roots.users),
            falling: Falling { tree: Ordered::stored(roots.falling) },
            agenda: Agenda { tree: Ordered::stored(roots.agenda) },
            policies: Policies { tree: Ordered::stored(roots.policies) },
            sets: Sets { tree: Ordered::stored(roots.sets) },
            left: Vec::new(),
            passed_over: BTreeSet::new(),
            fell: HashMap::new(),
            cuts: Cuts::new(),
            payloads: Vec::new(),
            ahead: Ahead::default(),
        }
    }

    /// The store's policies.
    pub(super) fn policies_of(state: &State) -> Policies {
        Policies { tree: Ordered::stored(state.head.roots.policies.as_ref().map(Ref::duplicate)) }
    }

    /// What is due.
    pub(super) fn agenda_of(state: &State) -> Agenda {
        Agenda { tree: Ordered::stored(state.head.roots.agenda.as_ref().map(Ref::duplicate)) }
    }

    /// The training sets.
    pub(super) fn sets_of(state: &State) -> Sets {
        Sets { tree: Ordered::stored(state.head.roots.sets.as_ref().map(Ref::duplicate)) }
    }

    /// The editor and the root page of the user tree.
    pub(super) fn parts(&mut self) -> Result<(&mut Editor<'a>, &mut UsersNode)> {
        let root = self.users.load_mut(&mut self.editor, PageKind::Users, None)?;
        Ok((&mut self.editor, root))
    }

    /// What comes before the next payload.
    pub(super) fn ahead(&self) -> Ahead {
        self.ahead
    }

    /// Takes a payload along.
    pub(super) fn take(&mut self, name: BlobName, sealed: Vec<u8>) {
        self.ahead = self.ahead.and(sealed.len());
        self.payloads.push((name, sealed));
    }

    /// Puts down what an erase took.
    pub(super) fn note_fallen(&mut self, selectors: &mut Vec<Selector>) {
        for selector in selectors.drain(..) {
            self.fell.entry(selector.user).or_default().push(selector);
        }
    }

    /// Puts down when there is something to do for a live user next.
    pub(super) fn set_due(&mut self, tag: UserTag, due: Option<Timestamp>) -> Result<()> {
        let root = self.users.load_mut(&mut self.editor, PageKind::Users, None)?;
        let Some(page) = page_of(&mut self.editor, root, tag)?.filter(|page| page.due != due) else {
            return Ok(());
        };
        if let Some(before) = page.due {
            self.agenda.remove(&mut self.editor, before, tag)?;
        }
        if let Some(due) = due {
            self.agenda.add(&mut self.editor, due, tag)?;
        }
        page.due = due;
        Ok(())
    }

    /// Puts down that there is something to do for a live user at `due`, if nothing is before.
    pub(super) fn due_by(&mut self, tag: UserTag, due: Timestamp) -> Result<()> {
        let (editor, root) = self.parts()?;
        match page_of(editor, root, tag)? {
            Some(page) if page.due.is_none_or(|there| due < there) => self.set_due(tag, Some(due)),
            _ => Ok(()),
        }
    }
}

/// The page of a live user, to be changed.
pub(super) fn page_of<'n>(
    editor: &mut Editor<'_>,
    root: &'n mut UsersNode,
    tag: UserTag,
) -> Result<Option<&'n mut UserPage>> {
    match root.slot_mut(editor, tag)? {
        Some(Slot { state: SlotState::Live(page), .. }) => page.load_mut(editor, PageKind::User, Some(tag)).map(Some),
        _ => Ok(None),
    }
}

/// The page of a record's user; `None` where the user does not live, or lives another life.
pub(super) fn user_of<'n>(
    editor: &mut Editor<'_>,
    root: &'n mut UsersNode,
    id: &RecordId,
) -> Result<Option<&'n mut UserPage>> {
    Ok(page_of(editor, root, id.user)?.filter(|page| page.incarnation == id.incarnation))
}

/// Changes the page of a user that lives.
pub(super) fn change_page<T>(
    edit: &mut Edit<'_>,
    user: UserTag,
    act: impl FnOnce(&mut Editor<'_>, &mut UserPage) -> Result<T>,
) -> Result<T> {
    let (editor, root) = edit.parts()?;
    match page_of(editor, root, user)? {
        Some(page) => act(editor, page),
        None => Err(Error::new(ErrorKind::Erased, "this user was erased")),
    }
}

impl Inner {
    /// A number that nobody had, for a hold, a plan, a grant, an inbox key.
    pub(super) fn new_number(&self) -> Result<u64> {
        let mut number = [0; 8];
        self.options.env.fill(&mut number)?;
        Ok(u64::from_be_bytes(number))
    }

    /// One commit within the epoch: `act` edits, or fails and leaves everything as it is.
    pub(super) fn commit_edit<T>(
        &self,
        act: impl FnOnce(&State, &PageSource<'_>, &mut Edit<'_>) -> Result<T>,
    ) -> Result<T> {
        self.process.check()?;
        let mut writer = self.writer();
        self.ready(&mut writer)?;
        let (done, change) = {
            let state = self.state();
            let pages = self.pages();
            let mut edit = Edit::new(&state, &pages);
            let done = act(&state, &pages, &mut edit)?;
            (done, self.change(&state, edit)?)
        };
        self.publish(&mut writer, change)?;
        Ok(done)
    }

    /// Seals what was edited into a change; links left to be followed are filed under the number of its commit.
    pub(super) fn change(&self, state: &State, mut edit: Edit<'_>) -> Result<Change> {
        let commit = state.stored.id.commit + 1;
        let mut head = self.next_head(state);
        let mut sealer = Sealer::new(&self.options, (self.realm, &**self.store()), edit.payloads);
        for (number, left) in (0..).zip(edit.left) {
            let Links { owner, incarnation, tree, .. } = left;
            if let Some(links) = tree.seal(Lineage::place(owner), head.geometry, &mut sealer)? {
                edit.falling.set(&mut edit.editor, (commit, number), &Fallen { owner, incarnation, links })?;
            }
        }
        // The head's own pointers keep no page from being let go.
        head.roots.falling = edit.falling.tree.seal(Falling::PLACE, head.geometry, &mut sealer)?.map(Ref::alone);
        head.roots.agenda = edit.agenda.tree.seal(Agenda::PLACE, head.geometry, &mut sealer)?.map(Ref::alone);
        head.roots.policies =
            edit.policies.tree.seal(Policies::place(None), head.geometry, &mut sealer)?.map(Ref::alone);
        head.roots.sets = edit.sets.tree.seal(Sets::PLACE, head.geometry, &mut sealer)?.map(Ref::alone);
        head.roots.users = seal_users(edit.users, head.geometry, &mut sealer)?.alone();
        let mut change = Change::of_head(head);
        change.erased = edit.fell.into_values().flatten().collect();
        change.cuts = edit.cuts;
        change.blobs = sealer.blobs;
        change.made = sealer.made;
        change.replaced = edit.editor.replaced;
        Ok(change)
    }
}
