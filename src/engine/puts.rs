//! Puts: payloads stream into the store, then one commit makes them part of the tree. Batches that
//! wait at once share one.

use std::io::Read;

use super::change::{About, Commit};
use super::commit::{publish, ready};
use super::core::{Core, Staging, Writer};
use crate::catalogue::edit::Edit;
use crate::catalogue::put::insert_all;
use crate::crypto::chunked::Suite;
use crate::error::{Error, Result};
use crate::ids::RecordId;
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, RECORD_MAX_BYTES, TAG_BYTES};
use crate::observer::CommitKind;
use crate::record::{self, Entry};
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
    if batches.len() > 1 && records > TOGETHER_MAX {
        let (some, others) = batches.split_at(batches.len() / 2);
        let mut outcomes = put_together(core, writer, some);
        outcomes.extend(put_together(core, writer, others));
        return outcomes;
    }
    let built = ready(core, writer).and_then(|()| put_commit(core, batches));
    let (commit, ids) = match built {
        Ok(built) => built,
        Err(_) if batches.len() > 1 => {
            return batches
                .iter()
                .flat_map(|batch| put_together(core, writer, &[*batch]))
                .collect();
        }
        Err(e) => return vec![Err(e)],
    };
    match publish(core, writer, commit) {
        Ok(_) => ids.into_iter().map(Ok).collect(),
        Err(e) if batches.len() == 1 => vec![Err(e)],
        Err(e) => batches.iter().map(|_| Err(e.copy())).collect(),
    }
}

/// Seals a commit of batches, with the ids of the records of each.
fn put_commit(core: &Core, batches: &[&Staging]) -> Result<(Commit, Vec<Vec<RecordId>>)> {
    let state = core.state();
    let pages = core.pages();
    let mut edit = Edit::new(core.start(&state, &pages));
    let (mut all, mut users) = (Vec::with_capacity(batches.len()), 0);
    for batch in batches {
        let look_again = batch.erases.is_some_and(|erases| erases < state.erases);
        let inserted = insert_all(&mut edit, &batch.staged, look_again)?;
        all.push(inserted.ids);
        users += inserted.created;
    }
    let mut commit = Commit::from(edit.seal(core.next_head(&state))?);
    commit.change.head.users += users;
    commit.staged = batches.iter().flat_map(|batch| batch.stored.iter().copied()).collect();
    commit.about = about(batches);
    Ok((commit, all))
}

fn about(batches: &[&Staging]) -> About {
    let records = batches.iter().map(|batch| batch.staged.len()).sum();
    let staged = batches.iter().flat_map(|batch| &batch.staged);
    let bytes = staged.map(|staged| staged.entry.length).sum();
    About { records, bytes, ..About::of(CommitKind::Put, batches.len()) }
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

/// Takes a payload's segments in, after its beginning. Gives the only segment back where it is to
/// be held.
pub(super) fn stream(
    core: &Core,
    staging: &mut Staging,
    suite: &Suite,
    entry: &mut Entry,
    begun: Begun,
    payload: &mut impl Read,
) -> Result<Option<Vec<u8>>> {
    let segment_bytes = core.state().head.geometry.segment_bytes;
    let Begun { mut plain, filled } = begun;
    let (mut n, mut chunk, mut segment) = (filled, 0u64, 0u64);
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
            return Ok(Some(sealed));
        }
        if segment == 0 {
            entry.first = core.store().name(entry.first, Ahead::default(), sealed.len());
        }
        let name = entry.segment_name(segment);
        core.names.keep(std::iter::once(name));
        staging.stored.push(name);
        core.judged(core.store().put(&[(name, sealed)]))?;
        if last {
            return Ok(None);
        }
        segment += 1;
        n = if padding.is_none() { fill(payload, &mut plain)? } else { 0 };
    }
}
