//! Putting: whether a record may come in, and its place in the tree.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use super::change::Means;
use super::defect::Defect;
use super::edit::Edit;
use super::hold;
use super::inbox::note_accepted;
use super::moment::Reading;
use super::record::is_there;
use super::resolve::resolver;
use super::view::{View, record_erased};
use crate::crypto::{self, Fresh, Key, class_tag, hedge};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, Class, ClassTag, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::{DEPTH_MAX, SOURCES_MAX};
use crate::policy::Rules;
use crate::record::{Entry, Put, Source};
use crate::tree::fences::Fences;
use crate::tree::head::HeadPage;
use crate::tree::inbox::EnvelopeName;
use crate::tree::ordered::{Ordered, Place, Range};
use crate::tree::user::{Unborn, UserPage, class_place, record_key, split_record_key};
use crate::tree::users::{Found, Slot, SlotState};
use crate::tree::{Editor, Node, PageKind, Pages};

/// A record that is on its way into the tree.
pub(crate) struct Staged {
    pub(crate) user: UserId,
    pub(crate) class: Class,
    /// Where it may come in.
    pub(crate) to: Admitted,
    pub(crate) entry: Entry,
    /// Its payload, where that goes into the store with the commit.
    pub(crate) held: Option<Vec<u8>>,
    pub(crate) sources: Vec<Source>,
    /// Its content root, for those of the batch that are derived from it.
    pub(crate) root: Key,
    /// The envelope that it came in.
    pub(crate) envelope: Option<EnvelopeName>,
}

/// Where a put may go: the user's place, which life of the user it is for, and the interaction.
#[derive(Clone, Copy)]
pub(crate) struct Admitted {
    pub(crate) user: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) interaction: InteractionId,
}

/// Records that became part of the tree.
pub(crate) struct Inserted {
    pub(crate) ids: Vec<RecordId>,
    /// Users that came to life with them.
    pub(crate) created: u64,
}

/// What a record is derived from: their lineage secrets, and how deep what is derived from them lies.
#[derive(Default)]
pub(crate) struct Origins {
    /// Each once.
    pub(crate) sources: Vec<Source>,
    pub(crate) secrets: Vec<Key>,
    pub(crate) depth: u16,
}

/// Whether a put may begin.
///
/// # Errors
/// `Erased` where the user, the interaction or this class of it was erased; `Invalid` for an
/// interaction from the future; `Refused` where a policy says that nothing of the class is kept.
pub(crate) fn admit(view: &View<'_>, env: &dyn Env, clock: Reading, put: &Put) -> Result<Admitted> {
    let tag = view.tag(&put.user);
    let interaction = match put.interaction {
        Some(id) => id,
        None => new_interaction(env, view.head, clock)?,
    };
    if interaction.began() > clock.horizon() {
        return Err(Error::invalid(format!(
            "interaction {interaction} begins more than a day in the future; check the clock of the device that made it"
        )));
    }
    let admission = Admission { view, env, clock, put, tag };
    match view.users().find(tag)? {
        Found::Absent => Ok(Admitted { user: tag, incarnation: 1, interaction }),
        Found::Erased { .. } => Err(user_erased()),
        Found::Unborn { page } => {
            let page = Unborn::decode(&view.pages.load(PageKind::Unborn, Some(tag), &page)?)?;
            let class = class_tag(&page.fence_key, put.class.as_str());
            let interaction =
                admission.unfenced(&page.fences, &page.fence_key, class, interaction)?;
            Ok(Admitted { user: tag, incarnation: 1, interaction })
        }
        Found::Live { incarnation, page, .. } => {
            let page = view.users().page(tag, &page)?;
            let interaction = admission.of_live(&page, interaction)?;
            Ok(Admitted { user: tag, incarnation, interaction })
        }
    }
}

/// A put that asks to come in.
struct Admission<'a> {
    view: &'a View<'a>,
    env: &'a dyn Env,
    clock: Reading,
    put: &'a Put,
    tag: UserTag,
}

impl Admission<'_> {
    /// The interaction for a put of a live user.
    fn of_live(&self, page: &UserPage, mut interaction: InteractionId) -> Result<InteractionId> {
        let put = self.put;
        if of_former_life(page, interaction) {
            if put.interaction.is_some() {
                return Err(former_life());
            }
            // The clock was set back since: an interaction that begins now is of this life all the same.
            interaction = interaction_at(self.env, page.created)?;
        }
        let class = page.class_tag(&put.class);
        interaction = self.unfenced(&page.fences, &page.fence_key, class, interaction)?;
        let rules = self.view.rules(self.tag, page)?;
        let until = rules.of(&put.class, &put.purpose).and_then(|policy| policy.until);
        if until.is_some_and(|until| until <= self.clock.due()) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "by its policy nothing of class {} is kept any more; `keyfall policy list STORE` shows it (with --user, one of this user alone)",
                    put.class
                ),
            ));
        }
        Ok(interaction)
    }

    /// The interaction, where it is not fenced. For a put that names none, where one that begins now
    /// is: another one. An erase's clock was ahead then, and since then somebody said that the clock
    /// is right.
    fn unfenced(
        &self,
        fences: &Fences,
        key: &Key,
        class: ClassTag,
        interaction: InteractionId,
    ) -> Result<InteractionId> {
        let pages = self.view.pages;
        if !fences.refuse(pages, self.tag, key, (class, interaction, None), self.clock.now)? {
            return Ok(interaction);
        }
        if self.put.interaction.is_some() {
            return Err(interaction_erased());
        }
        interaction_at(self.env, fences.free_from(pages, self.tag, class, interaction.began())?)
    }
}

/// What a record is derived from, each source once; `staged` are the records before it in its batch.
///
/// # Errors
/// `Erased`, `Absent` for a source; `Invalid` for too many; `Refused` where it would lie too deep.
pub(crate) fn origins(
    view: &View<'_>,
    staged: &[Staged],
    mut sources: Vec<Source>,
) -> Result<Origins> {
    let mut seen = HashSet::new();
    sources.retain(|source| seen.insert(*source));
    if sources.len() > SOURCES_MAX {
        return Err(Error::invalid(format!(
            "a record is derived from at most {SOURCES_MAX} others"
        )));
    }
    let mut resolver = resolver(view);
    let (mut secrets, mut depth) = (Vec::with_capacity(sources.len()), 0);
    for source in &sources {
        let (root, above) = match source {
            Source::Record(id) => resolver.resolve(id)?,
            Source::Added(n) => match staged.get(*n) {
                Some(staged) => (&staged.root, staged.entry.depth),
                None => {
                    return Err(Error::invalid(format!("no record {n} was added to this batch")));
                }
            },
        };
        secrets.push(crypto::lineage_secret(root));
        depth = depth.max(above);
    }
    if depth >= DEPTH_MAX {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "records are derived from one another at most {DEPTH_MAX} times; detach one of them"
            ),
        ));
    }
    Ok(Origins { sources, secrets, depth: depth + 1 })
}

/// Makes staged records part of the tree. Payloads were sealed once; each try to commit them takes
/// them along, under a name of its own. `look_again`: something was erased since their sources were
/// looked at.
pub(crate) fn insert_all(
    edit: &mut Edit<'_>,
    staged: &[Staged],
    look_again: bool,
) -> Result<Inserted> {
    // A source falls only with an erase, and one that may wait begins no epoch.
    let unseen = edit.means.planted.is(Defect::EpochForErase) && edit.view.head.pending.is_some();
    if look_again && !unseen {
        let mut resolver = resolver(&edit.view);
        for source in staged.iter().flat_map(|staged| &staged.sources) {
            if let Source::Record(id) = source {
                resolver.resolve(id)?;
            }
        }
    }
    let mut firsts = Vec::with_capacity(staged.len());
    for Staged { entry, held, .. } in staged {
        firsts.push(match held {
            None => entry.first,
            Some(sealed) => edit.take(entry.first, sealed.clone()),
        });
    }
    let mut inserted = Inserted { ids: Vec::with_capacity(staged.len()), created: 0 };
    for (record, first) in staged.iter().zip(firsts) {
        inserted.created += u64::from(come_to_life(edit, record)?);
        let id = insert(edit, record, first)?;
        for source in &record.sources {
            let source = match source {
                Source::Record(id) => *id,
                Source::Added(n) => inserted.ids[*n],
            };
            link(edit, &id, &source, unseen)?;
        }
        inserted.ids.push(id);
        if !record.sources.is_empty() {
            mark_if_held(edit, staged, &inserted.ids)?;
        }
    }
    for (staged, id) in staged.iter().zip(&inserted.ids) {
        note_limits(edit, staged, id)?;
        if let Some(envelope) = staged.envelope {
            note_accepted(edit, envelope, id)?;
        }
    }
    Ok(inserted)
}

/// Has the user of a record come to life, where nobody has the name; says whether that was so.
fn come_to_life(edit: &mut Edit<'_>, staged: &Staged) -> Result<bool> {
    let (tag, env) = (staged.to.user, edit.means.env);
    let (editor, root) = edit.parts()?;
    match root.slot_mut(editor, tag)? {
        None => {
            let page = new_user(env, &staged.user, 1)?;
            root.insert(editor, tag, Slot::new(1, page))?;
            Ok(true)
        }
        Some(slot) if matches!(slot.state, SlotState::Unborn(_)) => {
            bear(env, editor, tag, slot, &staged.user)?;
            Ok(true)
        }
        Some(_) => Ok(false),
    }
}

fn insert(edit: &mut Edit<'_>, staged: &Staged, first: BlobName) -> Result<RecordId> {
    let Admitted { user, incarnation, interaction } = staged.to;
    let now = edit.moment.clock.now;
    let page = edit.page(user)?.filter(|(_, page)| page.incarnation == incarnation);
    let Some((editor, page)) = page else {
        return Err(user_erased());
    };
    let class = page.class_tag(&staged.class);
    if page.fences.refuse(editor.pages, user, &page.fence_key, (class, interaction, None), now)? {
        return Err(interaction_erased());
    }
    if of_former_life(page, interaction) {
        return Err(former_life());
    }
    if page.fences.tree.root.is_some() {
        page.fences.clear_doubt(editor, user, (class, interaction), now)?;
    }
    let place = class_place(user);
    let mut ordinal = match page.class(class) {
        Some(slot) => next_ordinal(editor.pages, place, &slot.tree, interaction)?,
        None => 0,
    };
    // An erased record's ordinal is never given again: its id must go on to say erased.
    let of = |ordinal| (class, interaction, Some(ordinal));
    while page.fences.refuse(editor.pages, user, &page.fence_key, of(ordinal), now)? {
        ordinal = ordinal.checked_add(1).ok_or_else(full)?;
    }
    let slot = page.class_mut(&staged.class)?;
    slot.tree.insert(
        editor,
        place,
        record_key(interaction, ordinal),
        staged.entry.encode_with(first),
    )?;
    slot.records += 1;
    Ok(RecordId { interaction, user, incarnation, class, ordinal })
}

/// Links a record to one that it was derived from, on both sides.
fn link(edit: &mut Edit<'_>, id: &RecordId, source: &RecordId, unseen: bool) -> Result<()> {
    // The source's entry as well as its user: a link on what is gone is never followed.
    let Some((editor, page)) = edit.page_for(source)? else {
        return Err(record_erased(source));
    };
    if !unseen && !is_there(editor.pages, page, source)? {
        return Err(record_erased(source));
    }
    page.lineage.add_derived(editor, source, id)?;
    match edit.page_for(id)? {
        Some((editor, page)) => page.lineage.add_source(editor, id, source),
        None => Err(user_erased()),
    }
}

/// Marks what the record put last depends on, where it is held.
fn mark_if_held(edit: &mut Edit<'_>, staged: &[Staged], ids: &[RecordId]) -> Result<()> {
    let Some((id, before)) = ids.split_last() else {
        return Ok(());
    };
    let pages = edit.pages();
    let is_held = match edit.page_for(id)? {
        Some((_, page)) => hold::covered(pages, page, id)?,
        None => false,
    };
    if !is_held {
        return Ok(());
    }
    let resolver = resolver(&edit.view);
    let (mut all, mut next) = (BTreeSet::new(), vec![before.len()]);
    while let Some(n) = next.pop() {
        for source in &staged[n].sources {
            match source {
                Source::Record(id) => {
                    all.append(&mut resolver.ancestors(id)?);
                    all.insert(*id);
                }
                Source::Added(n) => {
                    if all.insert(ids[*n]) {
                        next.push(*n);
                    }
                }
            }
        }
    }
    hold::mark(edit, id, &all)
}

/// Records when a record that was just put passes a limit.
fn note_limits(edit: &mut Edit<'_>, staged: &Staged, id: &RecordId) -> Result<()> {
    let pages = edit.pages();
    let store = if edit.policies.tree.root.is_some() {
        edit.policies.all(pages, None)?
    } else {
        Vec::new()
    };
    let Some((_, page)) = edit.page_for(id)? else {
        return Ok(());
    };
    let rules = Rules { own: page.policies.all(pages, Some(id.user))?, store };
    let policy = rules.of(&staged.class, &staged.entry.purpose);
    // Where others of the class have another policy a look may come in vain.
    let most = policy.and_then(|policy| policy.max_records);
    let over =
        most.is_some_and(|most| page.class(id.class).is_some_and(|slot| slot.records > most));
    let expiry = policy.and_then(|policy| policy.expiry(id.interaction.began()));
    match over.then_some(Timestamp(1)).or(expiry) {
        Some(due) => edit.due_by(id.user, due.max(Timestamp(1))),
        None => Ok(()),
    }
}

/// Creates a user without records; says whether there was none. A user that was erased is created
/// again: with a life of its own, into which nothing of the one before comes.
pub(crate) fn create(edit: &mut Edit<'_>, user: &UserId) -> Result<bool> {
    let (view, means, clock) = (edit.view, edit.means, edit.moment.clock);
    let tag = view.tag(user);
    let (editor, root) = edit.parts()?;
    match root.slot_mut(editor, tag)? {
        Some(Slot { state: SlotState::Live(_), .. }) => return Ok(false),
        Some(slot) if matches!(slot.state, SlotState::Unborn(_)) => {
            bear(means.env, editor, tag, slot, user)?;
        }
        Some(slot) => {
            let incarnation = slot.incarnation.checked_add(1).ok_or_else(|| {
                Error::new(
                    ErrorKind::Refused,
                    "this user was created 65,535 times; choose another name",
                )
            })?;
            let page = born_again(&view, &means, clock, editor, user, incarnation)?;
            *slot = Slot::new(incarnation, page);
        }
        None => {
            let page = new_user(means.env, user, 1)?;
            root.insert(editor, tag, Slot::new(1, page))?;
        }
    }
    Ok(true)
}

/// The page of another life. What began when the life before ended, or sooner, is none of this one's;
/// in doubt, as for any erase, from where the clock is believed to what it shows.
fn born_again(
    view: &View<'_>,
    means: &Means<'_>,
    clock: Reading,
    editor: &mut Editor<'_>,
    user: &UserId,
    incarnation: u16,
) -> Result<UserPage> {
    let mut page = new_user(means.env, user, incarnation)?;
    let began = new_interaction(means.env, view.head, clock)?.began();
    let sure = clock.sure().max(Timestamp(view.head.floor.0.saturating_add(1)));
    page.created = began.min(sure);
    let in_doubt = (page.created.0, began.0.saturating_sub(1));
    page.fences.add_doubted(editor, view.tag(user), None, in_doubt, view.at.epoch)?;
    Ok(page)
}

/// An interaction that begins now: after all that was erased, as far as ids are taken.
pub(crate) fn new_interaction(
    env: &dyn Env,
    head: &HeadPage,
    clock: Reading,
) -> Result<InteractionId> {
    let after_erased = Timestamp(head.floor.0.saturating_add(1)).min(clock.horizon());
    interaction_at(env, clock.now.max(after_erased))
}

fn interaction_at(env: &dyn Env, began: Timestamp) -> Result<InteractionId> {
    let mut random = [0; 10];
    env.fill(&mut random)?;
    Ok(InteractionId::from_parts(began, random))
}

fn new_user(env: &dyn Env, user: &UserId, incarnation: u16) -> Result<UserPage> {
    let now = env.now();
    let fence_key =
        Fresh::new(env, hedge(&[user.as_str().as_bytes(), &now.0.to_be_bytes()])).key()?;
    Ok(UserPage::new(user.clone(), incarnation, now, fence_key))
}

/// The page of a user to come, whose name nobody had.
pub(crate) fn new_unborn(env: &dyn Env, user: &UserId) -> Result<Unborn> {
    new_user(env, user, 1).map(Unborn::of)
}

/// Lets a user come to life of whose name parts were erased before; those fences stand.
fn bear(
    env: &dyn Env,
    editor: &mut Editor<'_>,
    tag: UserTag,
    slot: &mut Slot,
    user: &UserId,
) -> Result<()> {
    if let SlotState::Unborn(link) = &mut slot.state {
        let unborn = link.load_mut(editor, PageKind::Unborn, Some(tag))?.take();
        *slot = Slot::new(1, unborn.born(user.clone(), env.now()));
    }
    Ok(())
}

fn next_ordinal(
    pages: &dyn Pages,
    place: Place,
    tree: &Ordered,
    interaction: InteractionId,
) -> Result<u32> {
    let mut next = Ok(0);
    let (low, high) = (record_key(interaction, 0), record_key(interaction, u32::MAX));
    let newest_first = Range { low: &low, high: &high, descending: true };
    tree.scan(pages, place, newest_first, &mut |key, _| {
        next = split_record_key(key)?.1.checked_add(1).ok_or_else(full);
        Ok(ControlFlow::Break(()))
    })?;
    next
}

/// Whether an interaction may be one of a life that was erased: that it began before this one was created is all that tells.
fn of_former_life(page: &UserPage, interaction: InteractionId) -> bool {
    page.incarnation > 1 && interaction.began() < page.created
}

/// The error for a user, interaction or class that was erased.
fn erased(what: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::Erased, format!("{what} was erased; {remedy}"))
}

fn user_erased() -> Error {
    erased("this user", "puts are refused until the user is created again with `create_user`")
}

fn interaction_erased() -> Error {
    erased(
        "this interaction, or this class of it,",
        "it takes nothing more, not of a class that the erase kept either; put into a new interaction",
    )
}

fn former_life() -> Error {
    erased(
        "the life of this user in which the interaction began",
        "late arrivals are refused; what is to be kept goes into a new interaction",
    )
}

fn full() -> Error {
    Error::new(ErrorKind::Refused, "this interaction is full; begin another")
}
