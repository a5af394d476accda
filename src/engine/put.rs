//! Putting a record: whether it may begin, and its place in the tree.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::batch::{Batch, Staged};
use super::edit::{Edit, user_of};
use super::{Engine, Inner, State};
use crate::crypto::{Fresh, class_tag, hedge};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, ClassTag, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::policy::Rules;
use crate::record::Put;
use crate::secret::WipeStack;
use crate::tree::fences::Fences;
use crate::tree::ordered::{Place, Range};
use crate::tree::user::{Unborn, UserPage, class_place, record_key, split_record_key};
use crate::tree::users::{Found, Slot, SlotState, UsersNode, find};
use crate::tree::{Editor, Link, Node, PageKind, Pages};

/// The error for a user, interaction or class that was erased.
fn erased(what: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::Erased, format!("{what} was erased; {remedy}"))
}

fn user_erased() -> Error {
    erased("this user", "nothing is kept for it until it is created anew, explicitly")
}

fn interaction_erased() -> Error {
    erased(
        "this interaction, or this class of it,",
        "it takes nothing more, not of a class that the erase kept either; put into a new interaction",
    )
}

/// Whether an interaction may be one of a life that was erased: that it began before this one was created is all that tells.
fn of_former_life(page: &UserPage, interaction: InteractionId) -> bool {
    page.incarnation > 1 && interaction.began() < page.created
}

fn former_life() -> Error {
    erased(
        "the life of this user in which the interaction began",
        "what arrives late is not kept; what is to be kept goes into a new interaction",
    )
}

impl Engine {
    /// Puts one record, durably, and returns its id.
    ///
    /// # Errors
    /// `Erased` where the user, the interaction or this class of it, or a record that it is derived from was erased, also
    /// while the payload streamed in; `Invalid`, `Limit`, `Refused` for a bad request; `Full`, `Io`; `Copy` where a copy in step did not take it.
    pub fn put(&self, put: Put, payload: impl Read) -> Result<RecordId> {
        let mut batch = self.batch();
        batch.add(put, payload)?;
        batch.commit()?.pop().ok_or_else(|| unreachable!("one record was added"))
    }

    /// Begins a batch.
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.inner))
    }

    /// Begins an interaction now; its id orders behind all that began before.
    ///
    /// # Errors
    /// `Io` where the system's generator fails.
    pub fn new_interaction(&self) -> Result<InteractionId> {
        self.inner.new_interaction(&self.inner.state())
    }

    /// Creates a user without records; a user that was erased is created anew. Does nothing for one that is there.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn create_user(&self, user: &UserId) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        let mut writer = inner.writer();
        inner.ready(&mut writer)?;
        let mut change = {
            let state = inner.state();
            let tag = inner.user_tag(&state, user);
            let pages = inner.pages();
            let mut edit = Edit::new(&state, &pages);
            let (editor, root) = edit.parts()?;
            match root.slot_mut(editor, tag)? {
                Some(Slot { state: SlotState::Live(_), .. }) => return Ok(()),
                Some(slot) if matches!(slot.state, SlotState::Unborn(_)) => inner.bear(editor, tag, slot, user)?,
                Some(slot) => {
                    slot.incarnation = slot.incarnation.checked_add(1).ok_or_else(|| {
                        Error::new(ErrorKind::Limit, "this user was created 65,535 times; choose another name")
                    })?;
                    let mut page = inner.new_user(user, slot.incarnation)?;
                    // What began when the life before ended, or sooner, is none of this one's; in doubt, as for any erase, from where the clock
                    // is believed to what it shows.
                    let began = inner.new_interaction(&state)?.began();
                    let sure = inner.reading(&state).sure().max(Timestamp(state.head.floor.0.saturating_add(1)));
                    page.created = began.min(sure);
                    let in_doubt = (page.created.0, began.0.saturating_sub(1));
                    page.fences.add_doubted(editor, tag, None, in_doubt, state.stored.id.epoch)?;
                    *slot = Slot::new(slot.incarnation, page);
                }
                None => {
                    let page = inner.new_user(user, 1)?;
                    root.insert(editor, tag, Slot::new(1, page))?;
                }
            }
            inner.change(&state, edit)?
        };
        change.head.users += 1;
        inner.publish(&mut writer, change).map(|_| ())
    }
}

impl Inner {
    pub(super) fn new_interaction(&self, state: &State) -> Result<InteractionId> {
        // After all that was erased, as far as ids are taken.
        let clock = self.reading(state);
        self.interaction_at(clock.now.max(Timestamp(state.head.floor.0.saturating_add(1)).min(clock.horizon())))
    }

    fn interaction_at(&self, began: Timestamp) -> Result<InteractionId> {
        let mut random = [0; 10];
        self.options.env.fill(&mut random)?;
        Ok(InteractionId::from_parts(began, random))
    }

    /// An interaction for a put that names none, where one that begins now is fenced: an erase's clock was ahead, and since then somebody
    /// said that the clock is right.
    fn behind_fences(
        &self,
        put: &Put,
        (fences, pages, user): (&Fences, &dyn Pages, UserTag),
        (class, now): (ClassTag, InteractionId),
    ) -> Result<InteractionId> {
        if put.interaction.is_some() {
            return Err(interaction_erased());
        }
        self.interaction_at(fences.free_from(pages, user, class, now.began())?)
    }

    fn new_user(&self, user: &UserId, incarnation: u16) -> Result<UserPage> {
        let env = &*self.options.env;
        let now = env.now();
        let fence_key = Fresh::new(env, hedge(&[user.as_str().as_bytes(), &now.0.to_be_bytes()])).key()?;
        Ok(UserPage::new(user.clone(), incarnation, now, fence_key))
    }

    /// Gives the page of a user to come, whose name nobody had.
    pub(super) fn new_unborn(&self, user: &UserId) -> Result<Unborn> {
        self.new_user(user, 1).map(Unborn::of)
    }

    /// Lets a user come to life of whose name parts were erased before; those fences stand.
    fn bear(&self, editor: &mut Editor<'_>, tag: UserTag, slot: &mut Slot, user: &UserId) -> Result<()> {
        if let SlotState::Unborn(mut link) = std::mem::replace(&mut slot.state, SlotState::Erased { epoch: 0 }) {
            link.load_mut(editor, PageKind::Unborn, Some(tag))?;
            let Link::Loaded(unborn) = link else { unreachable!("it was just loaded") };
            *slot = Slot::new(1, unborn.born(user.clone(), self.options.env.now()));
        }
        Ok(())
    }

    /// Whether a put may begin: the user's place, and which life of the user it is for.
    pub(super) fn admit(&self, put: &Put) -> Result<(UserTag, u16, InteractionId)> {
        let state = self.state();
        let tag = self.user_tag(&state, &put.user);
        let mut interaction = match put.interaction {
            Some(id) => id,
            None => self.new_interaction(&state)?,
        };
        let clock = self.reading(&state);
        if interaction.began() > clock.horizon() {
            return Err(Error::invalid(format!(
                "interaction {interaction} begins more than a day in the future; check the clock of the device that made it"
            )));
        }
        if interaction.began().looks_like_seconds() {
            return Err(Error::invalid(format!(
                "interaction {interaction} began at {}: seconds were taken for milliseconds; make its id from milliseconds",
                interaction.began()
            )));
        }
        let pages = self.pages();
        let incarnation = match find(&pages, &state.head.roots.users, state.head.geometry, tag)? {
            Found::Absent => 1,
            Found::Erased { .. } => return Err(user_erased()),
            Found::Unborn { page } => {
                let page = Unborn::decode(&pages.load(PageKind::Unborn, Some(tag), &page)?)?;
                let class = class_tag(&page.fence_key, put.class.as_str());
                if page.fences.refuse(&pages, tag, &page.fence_key, (class, interaction, None), clock.now)? {
                    interaction = self.behind_fences(put, (&page.fences, &pages, tag), (class, interaction))?;
                }
                1
            }
            Found::Live { incarnation, page, .. } => {
                let page = UserPage::decode(&pages.load(PageKind::User, Some(tag), &page)?)?;
                if of_former_life(&page, interaction) {
                    if put.interaction.is_some() {
                        return Err(former_life());
                    }
                    // The clock was set back since: an interaction that begins now is of this life all the same.
                    interaction = self.interaction_at(page.created)?;
                }
                let what = (page.class_tag(&put.class), interaction, None);
                if page.fences.refuse(&pages, tag, &page.fence_key, what, clock.now)? {
                    interaction = self.behind_fences(put, (&page.fences, &pages, tag), (what.0, interaction))?;
                }
                let rules = self.rules(&state, &pages, tag, &page)?;
                let until = rules.of(&put.class, &put.purpose).and_then(|p| p.until);
                if until.is_some_and(|until| until <= clock.due()) {
                    return Err(Error::new(
                        ErrorKind::Refused,
                        format!(
                            "by its policy nothing of class {} is kept any more; `Engine::policies` shows it, of all users or of one",
                            put.class
                        ),
                    ));
                }
                incarnation
            }
        };
        Ok((tag, incarnation, interaction))
    }
}

impl Inner {
    pub(super) fn insert(
        &self,
        editor: &mut Editor<'_>,
        root: &mut UsersNode,
        (staged, first, now): (&Staged, BlobName, Timestamp),
        created: &mut u64,
    ) -> Result<RecordId> {
        let tag = staged.tag;
        match root.slot_mut(editor, tag)? {
            None => {
                let page = self.new_user(&staged.user, 1)?;
                root.insert(editor, tag, Slot::new(1, page))?;
                *created += 1;
            }
            Some(slot) if matches!(slot.state, SlotState::Unborn(_)) => {
                self.bear(editor, tag, slot, &staged.user)?;
                *created += 1;
            }
            Some(_) => {}
        }
        let page = match root.slot_mut(editor, tag)? {
            Some(Slot { incarnation, state: SlotState::Live(page), .. }) if *incarnation == staged.incarnation => page,
            _ => return Err(user_erased()),
        };
        let page = page.load_mut(editor, PageKind::User, Some(tag))?;
        let class_tag = page.class_tag(&staged.class);
        let what = (class_tag, staged.interaction, None);
        if page.fences.refuse(editor.pages, tag, &page.fence_key, what, now)? {
            return Err(interaction_erased());
        }
        if of_former_life(page, staged.interaction) {
            return Err(former_life());
        }
        if page.fences.tree.root.is_some() {
            page.fences.clear_doubt(editor, tag, (class_tag, staged.interaction), now)?;
        }
        let place = class_place(tag);
        let mut ordinal = match page.class(class_tag) {
            Some(slot) => next_ordinal(editor.pages, place, &slot.tree, staged.interaction)?,
            None => 0,
        };
        // An erased record's ordinal is never given again: its id must go on to say erased.
        let of = |ordinal| (class_tag, staged.interaction, Some(ordinal));
        while page.fences.refuse(editor.pages, tag, &page.fence_key, of(ordinal), now)? {
            ordinal = ordinal.checked_add(1).ok_or_else(full)?;
        }
        let slot = page.class_mut(&staged.class)?;
        slot.tree.insert(editor, place, record_key(staged.interaction, ordinal), staged.entry.encode_with(first))?;
        slot.records += 1;
        Ok(RecordId {
            interaction: staged.interaction,
            user: tag,
            incarnation: staged.incarnation,
            class: class_tag,
            ordinal,
        })
    }
}

impl Inner {
    /// Puts down when a record that was just put passes a limit.
    pub(super) fn note_limits(&self, edit: &mut Edit<'_>, staged: &Staged, id: &RecordId) -> Result<()> {
        let pages = edit.editor.pages;
        let store = if edit.policies.tree.root.is_some() { edit.policies.all(pages, None)? } else { Vec::new() };
        let (editor, root) = edit.parts()?;
        let Some(page) = user_of(editor, root, id)? else {
            return Ok(());
        };
        let rules = Rules { own: page.policies.all(pages, Some(id.user))?, store };
        let policy = rules.of(&staged.class, &staged.entry.purpose);
        // Where others of the class have another policy a look may come in vain.
        let most = policy.and_then(|p| p.max_records);
        let over = most.is_some_and(|most| page.class(id.class).is_some_and(|slot| slot.records > most));
        let expiry = policy.and_then(|p| p.expiry(staged.interaction.began()));
        match over.then_some(Timestamp(1)).or(expiry) {
            Some(due) => edit.due_by(id.user, due.max(Timestamp(1))),
            None => Ok(()),
        }
    }
}

fn full() -> Error {
    Error::new(ErrorKind::Limit, "this interaction is full; begin another")
}

fn next_ordinal(
    pages: &dyn Pages,
    place: Place,
    tree: &crate::tree::ordered::Ordered,
    interaction: InteractionId,
) -> Result<u32> {
    let mut next = Ok(0);
    let (low, high) = (record_key(interaction, 0), record_key(interaction, u32::MAX));
    tree.scan(pages, place, Range { low: &low, high: &high, descending: true }, &mut |key, _| {
        next = split_record_key(key)?.1.checked_add(1).ok_or_else(full);
        Ok(ControlFlow::Break(()))
    })?;
    next
}
