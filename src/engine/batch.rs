//! Batches: payloads stream into the store, then one commit makes them part of the tree. Batches that wait at once share one.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::sync::Arc;

use super::commit::Change;
use super::edit::{Edit, user_of};
use super::lineage::Resolver;
use super::pages::PageSource;
use super::part::is_there;
use super::read::record_erased;
use super::{Answer, Asked, Inner, State, Writer, holds};
use crate::crypto::{self, Fresh, Key, chunked, hedge};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, Class, InteractionId, RecordId, UserId, UserTag};
use crate::limits::{CHUNK_BYTES, DEPTH_MAX, HEADER_BYTES, RECORD_MAX_BYTES, SOURCES_MAX, TAG_BYTES};
use crate::record::{self, Entry, Put, Source};
use crate::sealed;
use crate::secret::{Secret, WipeStack};
use crate::store::Ahead;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::tree::Editor;
use crate::tree::inbox::EnvelopeName;
use crate::tree::users::UsersNode;

/// Most bytes of payloads that a batch keeps until it is committed.
const HELD_MAX: usize = 1 << 20;
/// Most records that batches of several callers put in one commit.
const TOGETHER_MAX: usize = 16_384;

pub(super) struct Staged {
    pub(super) user: UserId,
    pub(super) tag: UserTag,
    pub(super) incarnation: u16,
    pub(super) class: Class,
    pub(super) interaction: InteractionId,
    pub(super) entry: Entry,
    /// Its payload, where that goes into the store with the commit.
    held: Option<Vec<u8>>,
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
    /// Bytes of payloads that go into the store with the commit itself.
    held_bytes: usize,
    /// Names of those that are there.
    stored: Vec<BlobName>,
    /// The fewest erases behind which sources were looked at.
    erases: u64,
    published: AtomicBool,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} records)", self.staged.len())
    }
}

/// Fills `buffer` as far as the reader goes.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    sealed::fill(reader, buffer).map_err(|e| sealed::reading("reading what is to be put", e))
}

impl Batch {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Batch {
            inner,
            staged: Vec::new(),
            held_bytes: 0,
            stored: Vec::new(),
            erases: u64::MAX,
            published: AtomicBool::new(false),
        }
    }

    /// Streams a record's payload into the store, and returns its number in the batch, from 0. Memory: two segments,
    /// 256 KiB each by default, whatever the length.
    ///
    /// # Errors
    /// As [`crate::Engine::put`]; the batch can go on without this record.
    pub fn add(&mut self, put: Put, mut payload: impl Read) -> Result<usize> {
        let _wiped = WipeStack;
        let inner = Arc::clone(&self.inner);
        inner.check_owner()?;
        inner.check_usable()?;
        record::check_media_type(&put.media_type)?;
        record::check_purpose(&put.purpose)?;
        let (tag, incarnation, interaction) = inner.admit(&put)?;
        let env = &*inner.options.env;
        let created = put.created.unwrap_or_else(|| env.now());
        let context = record::payload_context(inner.realm, tag, incarnation, &put.class, interaction);

        let segment_bytes = inner.state().head.geometry.segment_bytes;
        // Most records are short: a buffer costs its wiping.
        let mut plain = Secret::zeroed(CHUNK_BYTES);
        let mut n = fill(&mut payload, &mut plain)?;
        if n == CHUNK_BYTES {
            let mut whole = Secret::zeroed(segment_bytes);
            whole[..n].copy_from_slice(&plain);
            n += fill(&mut payload, &mut whole[n..])?;
            plain = whole;
        }
        // Behind the first bytes: a caller may take its time with them, and an erase reaches no lineage secret here.
        let (sources, secrets, depth) = self.sources(put.sources)?;
        let now = env.now().0.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![&context, &plain[..n], &now];
        parts.extend(secrets.iter().map(|s| &s.bytes()[..]));
        let fresh = Fresh::new(env, hedge(&parts));
        let (first, secret, salt) = fresh.object()?;
        let root = crypto::content_root(&secret, secrets);
        let suite = chunked::Suite::derive(&crypto::content_key(&root), &salt, &context);
        let mut entry = Entry {
            secret,
            first,
            detached: false,
            sources: sources.len() as u16,
            depth,
            length: 0,
            created,
            media_type: put.media_type,
            purpose: put.purpose.into(),
        };
        let stored = self.stored.len();
        let held = inner
            .stream(&suite, &mut entry, (&mut plain, n, segment_bytes), (&mut payload, self))
            .inspect_err(|_| inner.release_names(self.stored.drain(stored..), false))?;
        self.staged.push(Staged {
            user: put.user,
            tag,
            incarnation,
            class: put.class,
            interaction,
            entry,
            held,
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
        self.erases = self.erases.min(state.erases);
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
                ErrorKind::Limit,
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

    /// Makes all records durable at once and returns their ids in the order in which they were added. Batches that wait at once share
    /// one commit.
    ///
    /// # Errors
    /// As [`crate::Engine::put`]; none of the records is there then.
    pub fn commit(self) -> Result<Vec<RecordId>> {
        let _wiped = WipeStack;
        if self.staged.is_empty() {
            return Ok(Vec::new());
        }
        let inner = Arc::clone(&self.inner);
        inner.process.check()?;
        match inner.submit(Asked::Put(self)) {
            Answer::Put(put) => put,
            Answer::Erased(_) => unreachable!("a put was asked for"),
        }
    }

    /// Makes its records part of the tree; gives their ids, and how many users were created. Payloads were sealed once; each try
    /// to commit them takes them along, under a name of its own.
    fn insert(&self, state: &State, pages: &PageSource<'_>, edit: &mut Edit<'_>) -> Result<(Vec<RecordId>, u64)> {
        let inner = &self.inner;
        // A source falls only with an erase, and one that may wait begins no epoch.
        #[cfg(feature = "testing")]
        let by_epoch = inner.defect(super::Defect::EpochForErase) && state.head.pending.is_some();
        #[cfg(not(feature = "testing"))]
        let by_epoch = false;
        if self.erases < state.erases && !by_epoch {
            let mut resolver = inner.resolver(pages, state);
            for source in self.staged.iter().flat_map(|s| &s.sources) {
                if let Source::Record(id) = source {
                    resolver.resolve(id)?;
                }
            }
        }
        let mut firsts = Vec::with_capacity(self.staged.len());
        for Staged { entry, held, .. } in &self.staged {
            firsts.push(match held {
                None => entry.first,
                Some(sealed) => {
                    let name = inner.store().name(entry.first, edit.ahead(), sealed.len());
                    edit.take(name, sealed.clone());
                    name
                }
            });
        }
        let (editor, root) = edit.parts()?;
        let (mut ids, mut created) = (Vec::with_capacity(self.staged.len()), 0);
        let now = inner.reading(state).now;
        for (staged, first) in self.staged.iter().zip(firsts) {
            let id = inner.insert(editor, root, (staged, first, now), &mut created)?;
            for source in &staged.sources {
                let source = match source {
                    Source::Record(id) => *id,
                    Source::Added(n) => ids[*n],
                };
                link(editor, root, &id, &source, by_epoch)?;
            }
            ids.push(id);
            if !staged.sources.is_empty() {
                self.mark_if_held(editor, root, &inner.resolver(pages, state), &ids)?;
            }
        }
        for (staged, id) in self.staged.iter().zip(&ids) {
            inner.note_limits(edit, staged, id)?;
            if let Some(envelope) = staged.envelope {
                super::inbox::note_accepted(edit, envelope, id)?;
            }
        }
        Ok((ids, created))
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
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.inner.process.is_this() {
            return;
        }
        if !self.published.load(Ordering::Acquire) {
            self.inner.release_names(self.stored.iter().copied(), false);
        }
    }
}

impl Inner {
    /// Commits batches together; where one of them cannot be, each alone.
    pub(super) fn put_all(&self, writer: &mut Writer, batches: &[&Batch]) -> Vec<Result<Vec<RecordId>>> {
        if batches.is_empty() {
            return Vec::new();
        }
        if batches.len() > 1 && batches.iter().map(|batch| batch.len()).sum::<usize>() > TOGETHER_MAX {
            let (some, others) = batches.split_at(batches.len() / 2);
            let mut outcomes = self.put_all(writer, some);
            outcomes.extend(self.put_all(writer, others));
            return outcomes;
        }
        let built = self.ready(writer).and_then(|()| self.put_change(batches));
        let (change, ids) = match built {
            Ok(built) => built,
            Err(_) if batches.len() > 1 => return batches.iter().flat_map(|b| self.put_all(writer, &[*b])).collect(),
            Err(e) => return vec![Err(e)],
        };
        match self.publish(writer, change) {
            Ok(_) => {
                batches.iter().for_each(|batch| batch.published.store(true, Ordering::Release));
                ids.into_iter().map(Ok).collect()
            }
            Err(e) if batches.len() == 1 => vec![Err(e)],
            Err(e) => batches.iter().map(|_| Err(e.copy())).collect(),
        }
    }

    fn put_change(&self, batches: &[&Batch]) -> Result<(Change, Vec<Vec<RecordId>>)> {
        let state = self.state();
        let pages = self.pages();
        let mut edit = Edit::new(&state, &pages);
        let (mut all, mut users) = (Vec::with_capacity(batches.len()), 0);
        for batch in batches {
            let (ids, created) = batch.insert(&state, &pages, &mut edit)?;
            all.push(ids);
            users += created;
        }
        let mut change = self.change(&state, edit)?;
        change.head.users += users;
        change.staged = batches.iter().flat_map(|batch| batch.stored.iter().copied()).collect();
        Ok((change, all))
    }

    /// Takes a payload's segments in; the beginning is in `plain` already. Gives the only segment back where it is to be held.
    fn stream(
        &self,
        suite: &chunked::Suite,
        entry: &mut Entry,
        (plain, first, segment_bytes): (&mut [u8], usize, usize),
        (payload, batch): (&mut impl Read, &mut Batch),
    ) -> Result<Option<Vec<u8>>> {
        let (mut n, mut chunk, mut segment) = (first, 0u64, 0u64);
        // Zeros that are still to come, once the payload has ended.
        let mut padding = None;
        loop {
            if padding.is_none() {
                entry.length += n as u64;
                if entry.length > RECORD_MAX_BYTES {
                    return Err(Error::invalid(format!(
                        "a record has at most {RECORD_MAX_BYTES} bytes; cut it into several"
                    )));
                }
                if n < segment_bytes {
                    padding = Some(record::padded(entry.length) - entry.length);
                }
            }
            if let Some(left) = &mut padding {
                let zeros = (segment_bytes - n).min(usize::try_from(*left).unwrap_or(usize::MAX));
                plain[n..n + zeros].fill(0);
                n += zeros;
                *left -= zeros as u64;
            }
            let mut sealed = Vec::with_capacity(HEADER_BYTES + n + (n / CHUNK_BYTES + 1) * TAG_BYTES);
            if segment == 0 {
                sealed.extend_from_slice(suite.header());
            }
            // A full segment has only full chunks; the last chunk of all is shorter, and ends the last segment.
            let last = padding == Some(0) && n < segment_bytes;
            let full = n / CHUNK_BYTES * CHUNK_BYTES;
            for piece in plain[..full].chunks(CHUNK_BYTES).chain(last.then(|| &plain[full..n])) {
                suite.seal_chunk(chunk, piece, &mut sealed);
                chunk += 1;
            }
            if last && segment == 0 && batch.held_bytes + sealed.len() <= HELD_MAX {
                batch.held_bytes += sealed.len();
                return Ok(Some(sealed));
            }
            if segment == 0 {
                entry.first = self.store().name(entry.first, Ahead::default(), sealed.len());
            }
            let name = entry.segment_name(segment);
            self.use_names(std::iter::once(name));
            batch.stored.push(name);
            self.judged(self.store().put(&[(name, sealed)]))?;
            if last {
                return Ok(None);
            }
            segment += 1;
            n = if padding.is_none() { fill(payload, plain)? } else { 0 };
        }
    }
}

/// Links a record to one that it was derived from, on both sides.
fn link(editor: &mut Editor<'_>, root: &mut UsersNode, id: &RecordId, source: &RecordId, unseen: bool) -> Result<()> {
    // The source's entry as well as its user: a link on what is gone is never followed.
    let Some(page) = user_of(editor, root, source)? else {
        return Err(record_erased(source));
    };
    if !unseen && !is_there(editor, page, source)? {
        return Err(record_erased(source));
    }
    page.lineage.add_derived(editor, source, id)?;
    match user_of(editor, root, id)? {
        Some(page) => page.lineage.add_source(editor, id, source),
        None => unreachable!("it was just put"),
    }
}
