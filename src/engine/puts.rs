//! Puts: payloads stream into the store, then one commit makes them part of the tree. Batches that
//! wait at once share one.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;

use super::change::Commit;
use super::commit::{publish, ready};
use super::core::{Core, Staging, State, Writer};
use super::epoch::next_epoch;
use crate::catalogue::edit::{Edit, Start};
use crate::catalogue::follow::{Blocked, follow};
use crate::catalogue::name::{note_held, share_a_name};
use crate::catalogue::put::insert_all;
use crate::catalogue::staged::Inserted;
use crate::crypto::chunked::Suite;
use crate::crypto::{self, Hashing};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, RecordId, UserTag};
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, RECORD_MAX_BYTES, TAG_BYTES};
use crate::record::{self, Body, Entry};
use crate::sealed;
use crate::secret::Secret;
use crate::store::Ahead;

/// Most bytes of payloads that a batch keeps until it is committed.
const HELD_MAX: usize = 1 << 20;
/// Most records that batches of several callers put in one commit.
const TOGETHER_MAX: usize = 16_384;

/// Commits batches together; where one of them cannot be, each alone. Of one that fails nothing is
/// kept.
pub(super) fn put_all(
    core: &Core,
    writer: &mut Writer,
    batches: &[&Staging],
) -> Vec<Result<Vec<RecordId>>> {
    let outcomes = put_together(core, writer, batches);
    for (batch, outcome) in batches.iter().zip(&outcomes) {
        if outcome.is_err() {
            core.names.release(batch.stored.iter().copied(), false);
        }
    }
    outcomes
}

fn put_together(
    core: &Core,
    writer: &mut Writer,
    batches: &[&Staging],
) -> Vec<Result<Vec<RecordId>>> {
    if batches.is_empty() {
        return Vec::new();
    }
    let records: usize = batches.iter().map(|batch| batch.staged.len()).sum();
    if batches.len() > 1 && share_a_name(batches.iter().map(|batch| &batch.staged[..])) {
        return one_by_one(core, writer, batches);
    }
    if batches.len() > 1 && records > TOGETHER_MAX {
        let (some, others) = batches.split_at(batches.len() / 2);
        let mut outcomes = put_together(core, writer, some);
        outcomes.extend(put_together(core, writer, others));
        return outcomes;
    }
    let built = ready(core, writer).and_then(|()| put_commit(core, writer, batches));
    let Built { commit, ids, unused } = match built {
        Ok(built) => built,
        Err(_) if batches.len() > 1 => return one_by_one(core, writer, batches),
        Err(e) => {
            let written = match e.kind() {
                ErrorKind::Held => write_refusal(core, writer, batches),
                _ => Ok(()),
            };
            return vec![written.and(Err(e))];
        }
    };
    let published = match commit {
        Some(commit) => publish(core, writer, commit).map(drop),
        None => Ok(()),
    };
    match published {
        Ok(()) => {
            core.names.release(unused.into_iter(), false);
            ids.into_iter().map(Ok).collect()
        }
        Err(e) if batches.len() == 1 => vec![Err(e)],
        Err(e) => batches.iter().map(|_| Err(e.copy())).collect(),
    }
}

fn one_by_one(
    core: &Core,
    writer: &mut Writer,
    batches: &[&Staging],
) -> Vec<Result<Vec<RecordId>>> {
    batches.iter().flat_map(|batch| put_together(core, writer, &[*batch])).collect()
}

/// A commit of batches.
struct Built {
    /// `None` where everything stands there already.
    commit: Option<Commit>,
    /// Of the records of each batch.
    ids: Vec<Vec<RecordId>>,
    /// Segments in the store of what stood there already.
    unused: HashSet<BlobName>,
}

/// Batches in the tree, not sealed yet.
struct Joined<'a> {
    edit: Edit<'a>,
    /// What became of each batch.
    all: Vec<Inserted>,
}

/// Seals a commit of batches. Where a name was taken from another record, that one is erased with
/// it, and an epoch begins.
fn put_commit(core: &Core, writer: &Writer, batches: &[&Staging]) -> Result<Built> {
    let state = core.state();
    let pages = core.pages();
    let Joined { edit, all } = join(core.start(&state, &pages), &state, batches)?;
    let mut unused = HashSet::new();
    for (batch, inserted) in batches.iter().zip(&all) {
        let same = inserted.same.iter().map(|n| &batch.staged[*n].entry);
        unused.extend(same.flat_map(|entry| entry.segment_names(state.head.geometry)));
    }
    let is_new = batches.iter().zip(&all).any(|(b, i)| i.same.len() < b.staged.len());
    let (users, replaced) =
        all.iter().fold((0, 0), |(users, n), i| (users + i.created, n + i.replaced));
    let ids = all.into_iter().map(|inserted| inserted.ids).collect();
    if !is_new {
        return Ok(Built { commit: None, ids, unused });
    }
    let clock = edit.moment.clock;
    let mut commit = Commit::from(edit.seal(core.next_head(&state))?);
    commit.change.head.users += users;
    let stored = batches.iter().flat_map(|batch| batch.stored.iter().copied());
    commit.staged = stored.filter(|name| !unused.contains(name)).collect();
    if replaced > 0 {
        let head = &mut commit.change.head;
        head.floor = head.floor.max(clock.sure());
        next_epoch(core, &state, writer, &mut commit)?;
    }
    Ok(Built { commit: Some(commit), ids, unused })
}

/// Makes batches part of the tree, and follows the links of what they replace. A user whose pages
/// cannot be read is passed over, as by an erase.
fn join<'a>(start: Start<'a>, state: &State, batches: &[&Staging]) -> Result<Joined<'a>> {
    let mut passed_over: BTreeSet<UserTag> = BTreeSet::new();
    loop {
        let mut edit = Edit::new(start);
        edit.passed_over.clone_from(&passed_over);
        let (mut all, mut links) = (Vec::with_capacity(batches.len()), Vec::new());
        for batch in batches {
            let look_again = batch.erases.is_some_and(|erases| erases < state.erases);
            let mut inserted = insert_all(&mut edit, &batch.staged, look_again)?;
            links.append(&mut inserted.links);
            all.push(inserted);
        }
        let most = edit.means.follow;
        match follow(&mut edit, links, most) {
            Ok(_) => return Ok(Joined { edit, all }),
            Err(Blocked { user, .. }) if passed_over.insert(user) => {}
            Err(Blocked { error, .. }) => return Err(error),
        }
    }
}

/// Writes into the history of a user that a hold refused to have a record replaced.
fn write_refusal(core: &Core, writer: &mut Writer, batches: &[&Staging]) -> Result<()> {
    let change = {
        let state = core.state();
        let pages = core.pages();
        let mut edit = Edit::new(core.start(&state, &pages));
        let mut noted = false;
        for batch in batches {
            noted |= note_held(&mut edit, &batch.staged)?;
        }
        if !noted {
            return Ok(());
        }
        edit.seal(core.next_head(&state))?
    };
    publish(core, writer, change).map(drop)
}

/// The beginning of a payload, as it was read.
pub(super) struct Begun {
    /// Room for one segment, where the payload does not end in it.
    pub(super) plain: Secret,
    /// Bytes of it that were read.
    pub(super) filled: usize,
}

/// Reads the beginning of a payload: one segment, or all where it is shorter.
pub(super) fn begin(payload: &mut impl Read, segment_bytes: usize) -> Result<Begun> {
    // Most records are short: a buffer costs its wiping.
    let mut plain = Secret::zeroed(CHUNK_BYTES);
    let mut filled = fill(payload, &mut plain)?;
    if filled == CHUNK_BYTES {
        let mut whole = Secret::zeroed(segment_bytes);
        whole[..filled].copy_from_slice(&plain);
        filled += fill(payload, &mut whole[filled..])?;
        plain = whole;
    }
    Ok(Begun { plain, filled })
}

/// Fills `buffer` as far as the reader goes.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    sealed::fill(reader, buffer).map_err(|e| sealed::reading("reading what is to be put", e))
}

/// A payload that was taken in.
pub(super) struct Streamed {
    /// Its only segment, where that is to be held.
    pub(super) held: Option<Vec<u8>>,
    /// SHA-256 of it.
    pub(super) digest: [u8; 32],
}

/// Takes a payload's segments in, after its beginning; a short one into the entry.
pub(super) fn stream(
    core: &Core,
    staging: &mut Staging,
    suite: &Suite,
    entry: &mut Entry,
    begun: Begun,
    payload: &mut impl Read,
) -> Result<Streamed> {
    let geometry = core.state().head.geometry;
    let (Begun { mut plain, filled }, mut digest) = (begun, Hashing::default());
    let is_short = filled <= geometry.inline_max();
    let Some(mut first) = entry.body.first().filter(|_| !is_short) else {
        entry.length = filled as u64;
        entry.body = Body::short(&plain[..filled], (!entry.stands_alone()).then_some(suite));
        return Ok(Streamed { held: None, digest: crypto::sha256(&plain[..filled]) });
    };
    let segment_bytes = geometry.segment_bytes;
    let (mut n, mut chunk, mut segment) = (filled, 0u64, 0u64);
    // Zeros that are still to come, once the payload has ended.
    let mut padding = None;
    loop {
        if padding.is_none() {
            entry.length += n as u64;
            digest.update(&plain[..n]);
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
        // A full segment has only full chunks; the last chunk of all is shorter, and ends the last
        // segment.
        let last = padding == Some(0) && n < segment_bytes;
        let full = n / CHUNK_BYTES * CHUNK_BYTES;
        for piece in plain[..full].chunks(CHUNK_BYTES).chain(last.then(|| &plain[full..n])) {
            suite.seal_chunk(chunk, piece, &mut sealed);
            chunk += 1;
        }
        if last && segment == 0 && staging.held_bytes + sealed.len() <= HELD_MAX {
            staging.held_bytes += sealed.len();
            return Ok(Streamed { held: Some(sealed), digest: digest.finish() });
        }
        if segment == 0 {
            first = core.store().name(first, Ahead::default(), sealed.len());
            entry.body = Body::Segments(first);
        }
        let name = record::segment_name(&entry.secret, first, segment);
        core.names.keep(std::iter::once(name));
        staging.stored.push(name);
        core.judged(core.store().put(&[(name, sealed)]))?;
        if last {
            return Ok(Streamed { held: None, digest: digest.finish() });
        }
        segment += 1;
        n = if padding.is_none() { fill(payload, &mut plain)? } else { 0 };
    }
}
