//! A change of the tree in the making: every rule that writes edits one, and `seal_pages` ends it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::change::Cuts;
use super::fell::Links;
use super::means::Means;
use super::moment::Moment;
use super::span::Span;
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, RecordId, Timestamp, UserTag};
use crate::store::{Ahead, Blob};
use crate::tree::agenda::Agenda;
use crate::tree::falling::Falling;
use crate::tree::ordered::Ordered;
use crate::tree::policies::Policies;
use crate::tree::sets::Sets;
use crate::tree::user::UserPage;
use crate::tree::users::{Slot, SlotState, UsersNode};
use crate::tree::{Editor, Link, PageKind, Pages};

/// What an edit begins with; of one commit several may be tried.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) view: View<'a>,
    pub(crate) means: Means<'a>,
    pub(crate) moment: Moment,
}

/// The tree, to be changed.
pub(crate) struct Edit<'a> {
    /// The state that it begins with.
    pub(crate) view: View<'a>,
    pub(crate) means: Means<'a>,
    pub(crate) moment: Moment,
    pub(crate) editor: Editor<'a>,
    pub(super) users: Link<UsersNode>,
    pub(crate) falling: Falling,
    pub(crate) agenda: Agenda,
    /// Policies of the whole store, not those of single users.
    pub(crate) policies: Policies,
    pub(crate) sets: Sets,
    /// Links that this change leaves to be followed, which join `falling`.
    pub(crate) left: Vec<Links>,
    /// Users into whose trees no link is followed now: a page of theirs cannot be read.
    pub(crate) passed_over: BTreeSet<UserTag>,
    /// What this change took so far.
    pub(crate) fell: HashMap<UserTag, Vec<Span>>,
    /// Links that this change cut so far.
    pub(crate) cuts: Cuts,
    /// Payloads that go into the store with it.
    pub(super) payloads: Vec<Blob>,
    ahead: Ahead,
}

impl<'a> Edit<'a> {
    pub(crate) fn new(start: Start<'a>) -> Self {
        let Start { view, means, moment } = start;
        let roots = view.head.roots.duplicate();
        Edit {
            view,
            means,
            moment,
            editor: Editor {
                pages: view.pages,
                geometry: view.head.geometry,
                replaced: Vec::new(),
            },
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

    /// The pages of the state that it begins with.
    pub(crate) fn pages(&self) -> &'a dyn Pages {
        self.view.pages
    }

    /// The editor and the root page of the user tree.
    pub(crate) fn parts(&mut self) -> Result<(&mut Editor<'a>, &mut UsersNode)> {
        let root = self.users.load_mut(&mut self.editor, PageKind::Users, None)?;
        Ok((&mut self.editor, root))
    }

    /// The page of a live user, to be changed, and the editor to do it with.
    pub(crate) fn page(
        &mut self,
        user: UserTag,
    ) -> Result<Option<(&mut Editor<'a>, &mut UserPage)>> {
        let (editor, root) = self.parts()?;
        match root.slot_mut(editor, user)? {
            Some(Slot { state: SlotState::Live(page), .. }) => {
                let page = page.load_mut(editor, PageKind::User, Some(user))?;
                Ok(Some((editor, page)))
            }
            _ => Ok(None),
        }
    }

    /// The same for the user of a record; `None` also if that lives another life now.
    pub(crate) fn page_for(
        &mut self,
        id: &RecordId,
    ) -> Result<Option<(&mut Editor<'a>, &mut UserPage)>> {
        Ok(self.page(id.user)?.filter(|(_, page)| page.incarnation == id.incarnation))
    }

    /// Changes the page of a user.
    ///
    /// # Errors
    /// `Erased` if it does not live; what `act` fails with.
    pub(crate) fn user<T>(
        &mut self,
        user: UserTag,
        act: impl FnOnce(&mut Editor<'a>, &mut UserPage) -> Result<T>,
    ) -> Result<T> {
        match self.page(user)? {
            Some((editor, page)) => act(editor, page),
            None => Err(Error::new(ErrorKind::Erased, "this user was erased")),
        }
    }

    /// Takes a payload along under a name that says what comes before it.
    pub(crate) fn take(&mut self, drawn: BlobName, sealed: Vec<u8>) -> BlobName {
        let name = self.means.names.name(drawn, self.ahead, sealed.len());
        self.ahead = self.ahead.and(sealed.len());
        self.payloads.push((name, sealed));
        name
    }

    /// Records what an erase took.
    pub(crate) fn note_fallen(&mut self, spans: &mut Vec<Span>) {
        if let [one] = spans[..]
            && let Entry::Vacant(first) = self.fell.entry(one.user)
        {
            first.insert(std::mem::take(spans));
            return;
        }
        for span in spans.drain(..) {
            self.fell.entry(span.user).or_default().push(span);
        }
    }

    /// Sets when there is something to do for a live user next.
    pub(crate) fn set_due(&mut self, user: UserTag, due: Option<Timestamp>) -> Result<()> {
        let Some((_, page)) = self.page(user)?.filter(|(_, page)| page.due != due) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut page.due, due);
        if let Some(before) = before {
            self.agenda.remove(&mut self.editor, before, user)?;
        }
        if let Some(due) = due {
            self.agenda.add(&mut self.editor, due, user)?;
        }
        Ok(())
    }

    /// Moves the agenda entry of a live user forward to `due`, unless an earlier one exists.
    pub(crate) fn due_by(&mut self, user: UserTag, due: Timestamp) -> Result<()> {
        match self.page(user)? {
            Some((_, page)) if page.due.is_none_or(|there| due < there) => {
                self.set_due(user, Some(due))
            }
            _ => Ok(()),
        }
    }
}
