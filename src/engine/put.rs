//! Putting records: payloads stream into the store first, then one commit makes them part of the tree.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::edit::{Edit, user_of};
use super::lineage::Resolver;
use super::{Engine, Inner, State, holds};
use crate::crypto::{self, Fresh, Key, chunked, hedge};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, Class, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::{CHUNK_BYTES, CHUNKS_PER_SEGMENT, CLOCK_SKEW, DEPTH_MAX, RECORD_MAX_BYTES, SOURCES_MAX};
use crate::policy::Rules;
use crate::record::{self, Entry, Put, Source};
use crate::sealed;
use crate::secret::{Secret, WipeStack};
use crate::tree::inbox::EnvelopeName;
use crate::tree::ordered::{Place, Range};
use crate::tree::user::{UserPage, class_place, record_key, split_record_key};
use crate::tree::users::{Found, Slot, SlotState, UsersNode, find};
use crate::tree::{Editor, Link, Node, PageKind, Pages};

const SEGMENT_PLAIN: usize = CHUNKS_PER_SEGMENT * CHUNK_BYTES;

struct Staged {
    user: UserId,
    tag: UserTag,
    incarnation: u16,
    class: Class,
    interaction: InteractionId,
    entry: Entry,
    sources: Vec<Source>,
    /// Its content root, for those of the batch that are derived from it.
    root: Key,
    /// The envelope that it came in.
    envelope: Option<EnvelopeName>,
}

/// Records that become durable together, or not at all. Dropped without [`Batch::commit`] it leaves nothing that can
/// be read.
pub struct Batch {
    inner: Arc<Inner>,
    staged: Vec<Staged>,
    /// The oldest epoch in which sources were looked at.
    epoch: u64,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} records)", self.staged.len())
    }
}

/// The error for a user, interaction or class that was erased.
fn erased(what: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::Erased, format!("{what} was erased; {remedy}"))
}

fn user_erased() -> Error {
    erased("this user", "nothing is kept for it until it is created anew, explicitly")
}

fn interaction_erased() -> Error {
    erased("this interaction, or this class of it,", "what arrives late is not kept; put into a new interaction")
}

/// Fills `buffer` as far as the reader goes.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    sealed::fill(reader, buffer).map_err(|e| sealed::reading("reading what is to be put", e))
}

impl Engine {
    /// Puts one record, durably, and returns its id.
    ///
    /// # Errors
    /// `Erased` where the user, the interaction or this class of it, or a record that it is derived from was erased, also
    /// while the payload streamed in; `Invalid`, `Refused` for a bad request; `Full`, `Io`; `Copy` where a copy in step did not take it.
    pub fn put(&self, put: Put, payload: impl Read) -> Result<RecordId> {
        let mut batch = self.batch();
        batch.add(put, payload)?;
        batch.commit()?.pop().ok_or_else(|| unreachable!("one record was added"))
    }

    /// Begins a batch.
    pub fn batch(&self) -> Batch {
        Batch { inner: Arc::clone(&self.inner), staged: Vec::new(), epoch: u64::MAX }
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
                Some(slot) => {
                    slot.incarnation = slot.incarnation.checked_add(1).ok_or_else(|| {
                        Error::new(ErrorKind::Refused, "this user was created 65,535 times; choose another name")
                    })?;
                    slot.state = SlotState::Live(Link::Loaded(Box::new(inner.new_user(user, slot.incarnation)?)));
                }
                None => {
                    let page = inner.new_user(user, 1)?;
                    let slot = Slot { incarnation: 1, state: SlotState::Live(Link::Loaded(Box::new(page))) };
                    root.insert(editor, tag, slot)?;
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
        let mut random = [0; 10];
        self.options.env.fill(&mut random)?;
        let began = self.options.env.now().max(Timestamp(state.head.floor.0 + 1));
        Ok(InteractionId::from_parts(began, random))
    }

    fn new_user(&self, user: &UserId, incarnation: u16) -> Result<UserPage> {
        let env = &*self.options.env;
        let now = env.now();
        let fence_key = Fresh::new(env, hedge(&[user.as_str().as_bytes(), &now.0.to_be_bytes()])).key()?;
        Ok(UserPage::new(user.clone(), incarnation, now, fence_key))
    }

    /// Whether a put may begin: the user's place, and which life of the user it is for.
    fn admit(&self, put: &Put) -> Result<(UserTag, u16, InteractionId)> {
        let state = self.state();
        let tag = self.user_tag(&state, &put.user);
        let interaction = match put.interaction {
            Some(id) => id,
            None => self.new_interaction(&state)?,
        };
        let ahead = self.options.env.now().0.saturating_add(CLOCK_SKEW.as_millis() as u64);
        if interaction.began().0 > ahead {
            return Err(Error::invalid(format!(
                "interaction {interaction} begins more than a day in the future; check the clock of the device that made it"
            )));
        }
        let pages = self.pages();
        let incarnation = match find(&pages, &state.head.roots.users, state.head.geometry, tag)? {
            Found::Absent => 1,
            Found::Erased { .. } => return Err(user_erased()),
            Found::Live { incarnation, page } => {
                let page = UserPage::decode(&pages.load(PageKind::User, Some(tag), &page)?)?;
                let what = (page.class_tag(&put.class), interaction, None);
                if page.fences.cover(&pages, tag, &page.fence_key, what)? {
                    return Err(interaction_erased());
                }
                let rules = self.rules(&state, &pages, tag, &page)?;
                let now = self.options.env.now();
                if rules.of(&put.class, &put.purpose).and_then(|p| p.until).is_some_and(|until| until <= now) {
                    return Err(Error::new(
                        ErrorKind::Refused,
                        format!(
                            "by its policy nothing of class {} is kept any more; `keyfall policy list` shows it",
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

impl Batch {
    /// Streams a record's payload into the store, and returns its number in the batch, from 0. Memory: two segments of 256
    /// KiB, whatever the length.
    ///
    /// # Errors
    /// As [`Engine::put`]; the batch can go on without this record.
    pub fn add(&mut self, put: Put, mut payload: impl Read) -> Result<usize> {
        let _wiped = WipeStack;
        let inner = Arc::clone(&self.inner);
        inner.check_usable()?;
        record::check_media_type(&put.media_type)?;
        record::check_purpose(&put.purpose)?;
        let (tag, incarnation, interaction) = inner.admit(&put)?;
        let env = &*inner.options.env;
        let created = put.created.unwrap_or_else(|| env.now());
        let context = record::payload_context(inner.id, tag, incarnation, &put.class, interaction);
        let (sources, secrets, depth) = self.sources(put.sources)?;

        // Most records are short: a buffer costs its wiping.
        let mut plain = Secret::zeroed(CHUNK_BYTES);
        let mut n = fill(&mut payload, &mut plain)?;
        if n == CHUNK_BYTES {
            let mut whole = Secret::zeroed(SEGMENT_PLAIN);
            whole[..n].copy_from_slice(&plain);
            n += fill(&mut payload, &mut whole[n..])?;
            plain = whole;
        }
        let now = env.now().0.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![&context, &plain[..n], &now];
        parts.extend(secrets.iter().map(|s| &s.bytes()[..]));
        let fresh = Fresh::new(env, hedge(&parts));
        let secret: Key = fresh.key()?;
        let root = crypto::content_root(&secret, secrets);
        let suite = chunked::Suite::derive(&crypto::content_key(&root), &fresh.salt()?, &context);
        let mut segment = 0;
        let length = inner.stream(&suite, &secret, &mut segment, (&mut plain, n), &mut payload).inspect_err(|_| {
            inner.release_names((0..segment).map(|n| crypto::segment_name(&secret, n)), false);
        })?;
        let entry = Entry {
            secret,
            detached: false,
            sources: sources.len() as u16,
            depth,
            length,
            created,
            media_type: put.media_type,
            purpose: put.purpose.into(),
        };
        self.staged.push(Staged {
            user: put.user,
            tag,
            incarnation,
            class: put.class,
            interaction,
            entry,
            sources,
            root,
            envelope: None,
        });
        Ok(self.staged.len() - 1)
    }

    /// Says that the record added last came in an envelope.
    pub(super) fn came_in(&mut self, envelope: EnvelopeName) {
        if let Some(last) = self.staged.last_mut() {
            last.envelope = Some(envelope);
        }
    }

    /// The lineage secrets of what a record is derived from, each source once, and the depth of the record.
    fn sources(&mut self, mut sources: Vec<Source>) -> Result<(Vec<Source>, Vec<Key>, u16)> {
        if sources.is_empty() {
            return Ok((sources, Vec::new(), 0));
        }
        let mut seen = HashSet::new();
        sources.retain(|source| seen.insert(*source));
        if sources.len() > SOURCES_MAX {
            return Err(Error::invalid(format!("a record is derived from at most {SOURCES_MAX} others")));
        }
        let inner = Arc::clone(&self.inner);
        let state = inner.state();
        self.epoch = self.epoch.min(state.stored.id.epoch);
        let pages = inner.pages();
        let mut resolver = inner.resolver(&pages, &state);
        let (mut secrets, mut depth) = (Vec::with_capacity(sources.len()), 0);
        for source in &sources {
            let (root, above) = match source {
                Source::Record(id) => resolver.resolve(id)?,
                Source::Added(n) => match self.staged.get(*n) {
                    Some(staged) => (&staged.root, staged.entry.depth),
                    None => return Err(Error::invalid(format!("no record {n} was added to this batch"))),
                },
            };
            secrets.push(crypto::lineage_secret(root));
            depth = depth.max(above);
        }
        if depth >= DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("records are derived from one another at most {DEPTH_MAX} times; detach one of them"),
            ));
        }
        Ok((sources, secrets, depth + 1))
    }

    /// Number of records added.
    pub fn len(&self) -> usize {
        self.staged.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Makes all records durable at once and returns their ids in the order in which they were added.
    ///
    /// # Errors
    /// As [`Engine::put`]; none of the records is there then.
    pub fn commit(mut self) -> Result<Vec<RecordId>> {
        let _wiped = WipeStack;
        if self.staged.is_empty() {
            return Ok(Vec::new());
        }
        let inner = Arc::clone(&self.inner);
        let mut writer = inner.writer();
        inner.ready(&mut writer)?;
        let names = self.names();
        let (mut change, ids) = {
            let state = inner.state();
            let pages = inner.pages();
            // A source falls only with an erase, and every erase begins an epoch.
            if self.epoch < state.stored.id.epoch {
                let mut resolver = inner.resolver(&pages, &state);
                for source in self.staged.iter().flat_map(|s| &s.sources) {
                    if let Source::Record(id) = source {
                        resolver.resolve(id)?;
                    }
                }
            }
            let mut edit = Edit::new(&state, &pages);
            let (editor, root) = edit.parts()?;
            let (mut ids, mut created) = (Vec::with_capacity(self.staged.len()), 0);
            for staged in &self.staged {
                let id = inner.insert(editor, root, staged, &mut created)?;
                for source in &staged.sources {
                    let source = match source {
                        Source::Record(id) => *id,
                        Source::Added(n) => ids[*n],
                    };
                    link(editor, root, &id, &source)?;
                }
                ids.push(id);
                if !staged.sources.is_empty() {
                    self.mark_if_held(editor, root, &inner.resolver(&pages, &state), &ids)?;
                }
            }
            for (staged, id) in self.staged.iter().zip(&ids) {
                inner.note_limits(&mut edit, staged, id)?;
                if let Some(envelope) = staged.envelope {
                    super::inbox::note_accepted(&mut edit, envelope, id)?;
                }
            }
            let mut change = inner.change(&state, edit)?;
            change.head.users += created;
            (change, ids)
        };
        change.staged.clone_from(&names);
        inner.publish(&mut writer, change)?;
        self.staged.clear();
        Ok(ids)
    }

    /// Marks what the record put last depends on, where it is held.
    fn mark_if_held(
        &self,
        editor: &mut Editor<'_>,
        root: &mut UsersNode,
        resolver: &Resolver<'_>,
        ids: &[RecordId],
    ) -> Result<()> {
        let Some((id, before)) = ids.split_last() else {
            return Ok(());
        };
        let pages = editor.pages;
        let is_held = match user_of(editor, root, id)? {
            Some(page) => holds::covered(pages, page, id)?,
            None => false,
        };
        if !is_held {
            return Ok(());
        }
        let (mut all, mut next) = (BTreeSet::new(), vec![before.len()]);
        while let Some(n) = next.pop() {
            for source in &self.staged[n].sources {
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
        holds::mark(editor, root, id, (&all, true))
    }

    fn names(&self) -> Vec<BlobName> {
        self.staged.iter().flat_map(|s| s.entry.segment_names()).collect()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.staged.is_empty() {
            self.inner.release_names(self.names().into_iter(), false);
        }
    }
}

impl Inner {
    /// Puts a payload's segments into the store, counting them in `segment`; the first is in `plain` already.
    fn stream(
        &self,
        suite: &chunked::Suite,
        secret: &Key,
        segment: &mut u64,
        (plain, first): (&mut [u8], usize),
        payload: &mut impl Read,
    ) -> Result<u64> {
        let mut sealed = suite.header().to_vec();
        let (mut n, mut length, mut chunk) = (first, 0u64, 0u64);
        loop {
            // A full segment has only full chunks; the last chunk of all is shorter, and ends the last segment.
            let last = n < SEGMENT_PLAIN;
            let full = n / CHUNK_BYTES * CHUNK_BYTES;
            for piece in plain[..full].chunks(CHUNK_BYTES).chain(last.then(|| &plain[full..n])) {
                suite.seal_chunk(chunk, piece, &mut sealed);
                chunk += 1;
            }
            length += n as u64;
            if length > RECORD_MAX_BYTES {
                return Err(Error::invalid(format!(
                    "a record has at most {RECORD_MAX_BYTES} bytes; cut it into several"
                )));
            }
            let name = crypto::segment_name(secret, *segment);
            self.use_names(std::iter::once(name));
            *segment += 1;
            self.judged(self.store().put(&[(name, std::mem::take(&mut sealed))]))?;
            if last {
                return Ok(length);
            }
            n = fill(payload, plain)?;
        }
    }

    fn insert(
        &self,
        editor: &mut Editor<'_>,
        root: &mut UsersNode,
        staged: &Staged,
        created: &mut u64,
    ) -> Result<RecordId> {
        let tag = staged.tag;
        if root.slot_mut(editor, tag)?.is_none() {
            let page = self.new_user(&staged.user, 1)?;
            let slot = Slot { incarnation: 1, state: SlotState::Live(Link::Loaded(Box::new(page))) };
            root.insert(editor, tag, slot)?;
            *created += 1;
        }
        let page = match root.slot_mut(editor, tag)? {
            Some(Slot { incarnation, state: SlotState::Live(page) }) if *incarnation == staged.incarnation => page,
            _ => return Err(user_erased()),
        };
        let page = page.load_mut(editor, PageKind::User, Some(tag))?;
        let class_tag = page.class_tag(&staged.class);
        let what = (class_tag, staged.interaction, None);
        if page.fences.cover(editor.pages, tag, &page.fence_key, what)? {
            return Err(interaction_erased());
        }
        let place = class_place(tag);
        let mut ordinal = match page.class(class_tag) {
            Some(slot) => next_ordinal(editor.pages, place, &slot.tree, staged.interaction)?,
            None => 0,
        };
        // An erased record's ordinal is never given again: its id must go on to say erased.
        while page.fences.cover(editor.pages, tag, &page.fence_key, (class_tag, staged.interaction, Some(ordinal)))? {
            ordinal = ordinal.checked_add(1).ok_or_else(full)?;
        }
        let slot = page.class_mut(&staged.class)?;
        slot.tree.insert(editor, place, record_key(staged.interaction, ordinal), staged.entry.encode())?;
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
    fn note_limits(&self, edit: &mut Edit<'_>, staged: &Staged, id: &RecordId) -> Result<()> {
        let pages = edit.editor.pages;
        let store = if edit.policies.tree.root.is_some() { edit.policies.all(pages, None)? } else { Vec::new() };
        let (editor, root) = edit.parts()?;
        let Some(page) = user_of(editor, root, id)? else {
            return Ok(());
        };
        let rules = Rules { own: page.policies.all(pages, Some(id.user))?, store };
        let most = rules.of_class(&staged.class).and_then(|p| p.max_records);
        let over = most.is_some_and(|most| page.class(id.class).is_some_and(|slot| slot.records > most));
        let expiry = rules.of(&staged.class, &staged.entry.purpose).and_then(|p| p.expiry(staged.interaction.began()));
        match over.then_some(Timestamp(1)).or(expiry) {
            Some(due) => edit.due_by(id.user, due.max(Timestamp(1))),
            None => Ok(()),
        }
    }
}

/// Links a record to one that it was derived from, on both sides.
fn link(editor: &mut Editor<'_>, root: &mut UsersNode, id: &RecordId, source: &RecordId) -> Result<()> {
    let Some(page) = user_of(editor, root, source)? else {
        return Err(super::lineage::fell(id));
    };
    page.lineage.add_derived(editor, source, id)?;
    match user_of(editor, root, id)? {
        Some(page) => page.lineage.add_source(editor, id, source),
        None => unreachable!("it was just put"),
    }
}

fn full() -> Error {
    Error::new(ErrorKind::Refused, "this interaction is full; begin another")
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
