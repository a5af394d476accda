//! The first stage of a put: its payload goes into the store, sealed, before anything points to it.
//! Two segments are in memory at most. Nothing is in the tree yet: the record gets its place there
//! with the commit (`puts`), and until then its segments are kept from a discard (`in_flight`).

use std::io::Read;

use super::asked::Staging;
use super::core::Core;
use super::declared::Declared;
use crate::catalogue::admit::{Admitted, admit};
use crate::catalogue::defect::Defect;
use crate::catalogue::name::{is_named_alike, standing_already};
use crate::catalogue::origins::{Origins, origins};
use crate::catalogue::shard::check_source;
use crate::catalogue::staged::{Joins, Staged};
use crate::crypto::chunked::Suite;
use crate::crypto::{self, Fresh, Hashing, Key, hedge};
use crate::error::{Error, Result};
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, RECORD_MAX_BYTES, SALT_BYTES, TAG_BYTES};
use crate::record::layout::{padded, payload_context, segment_name};
use crate::record::{Body, Entry, Put, Source, check_label, check_media_type, check_purpose};
use crate::sealed;
use crate::secret::{Secret, WipeStack};
use crate::store::Ahead;

/// Most bytes of payloads that a batch keeps until it is committed.
const WAITING_MAX: usize = 1 << 20;

/// Streams a record's payload into the store, and adds the record to a batch. Of a payload that
/// fails nothing is kept.
pub(super) fn stage(
    core: &Core,
    staging: &mut Staging,
    put: Put,
    joins: Joins,
    payload: impl Read,
) -> Result<()> {
    core.check_owner()?;
    core.check_usable()?;
    staging.life.get_or_insert(core.life());
    core.check_life(staging)?;
    check_media_type(&put.media_type)?;
    check_purpose(&put.purpose)?;
    check_label(&put, core.state().head.geometry)?;
    let mut payload = Declared::new(payload, put.length)?;
    let to = admitted(core, &put)?;
    let env = &*core.options.env;
    let lag = Entry::lag(to.interaction, put.created.unwrap_or_else(|| env.now()));
    let class = joins.class(put.class);
    let context = payload_context(core.realm, to.user, to.incarnation, &class, to.interaction);
    let segment_bytes = core.state().head.geometry.segment_bytes;
    let begun = begin(&mut payload, segment_bytes)?;
    // After the first bytes: a caller may take its time with them, and an erase reaches no
    // lineage secret here.
    let Origins { sources, secrets, depth } = match put.sources.is_empty() {
        true => Origins::default(),
        false => origins_of(core, staging, put.sources)?,
    };
    let now = env.now().0.to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![&context, &begun.plain[..begun.filled], &now];
    parts.extend(secrets.iter().map(|s| &s.bytes()[..]));
    let (first, secret, salt) = Fresh::new(env, hedge(&parts)).object()?;
    let root = crypto::content_root(&secret, secrets);
    let mut entry = Entry {
        secret,
        body: Body::Segments(first),
        detached: false,
        sources: sources.len() as u16,
        depth,
        length: 0,
        lag,
        media_type: put.media_type,
        purpose: put.purpose.into(),
        named: put.label.name().is_some(),
        described: put.label.has_meta(),
        digest: None,
    };
    let sealing = Sealing { root: &root, salt, context };
    let streamed = take_in(core, staging, &sealing, &mut entry, begun, &mut payload)?;
    entry.set_digest(&noted(core, &streamed), &root);
    let staged = Staged {
        user: put.user,
        class,
        to,
        entry,
        joins,
        waiting: streamed.waiting,
        sources,
        root,
        envelope: None,
        label: put.label,
        mode: put.mode,
        digest: streamed.digest,
        there: None,
    };
    add(core, staging, staged)
}

/// The digest that a record is put with.
fn noted(core: &Core, streamed: &Streamed) -> [u8; 32] {
    match core.planted(Defect::WrongDigest) {
        true => crypto::sha256(&streamed.digest),
        false => streamed.digest,
    }
}

/// Adds a record to a batch, unless its name is that of another one in it.
fn add(core: &Core, staging: &mut Staging, mut staged: Staged) -> Result<()> {
    if let Some(name) = staged.label.name() {
        if is_named_alike(&staging.staged, staged.to.user, name) {
            return Err(Error::invalid(
                "two records of one batch have one name; put them one after the other",
            ));
        }
        staged.there = core
            .look_at(|_, view| standing_already(view, &staged))?
            .filter(|_| !core.planted(Defect::PutTwice));
    }
    staging.staged.push(staged);
    Ok(())
}

/// Whether a put may begin, and where it goes.
fn admitted(core: &Core, put: &Put) -> Result<Admitted> {
    core.look_at(|state, view| admit(view, &*core.options.env, core.reading(state), put))
}

/// What a record is derived from, looked up now.
fn origins_of(core: &Core, staging: &mut Staging, sources: Vec<Source>) -> Result<Origins> {
    for source in &sources {
        if let Source::Record(id) = source {
            check_source(core.options.shard.as_deref(), id)?;
        }
    }
    let (found, erases) = core.look_at(|state, view| {
        Ok((origins(view, &staging.staged, sources.clone())?, state.erases))
    })?;
    staging.erases = Some(staging.erases.unwrap_or(erases).min(erases));
    Ok(found)
}

/// The beginning of a payload, as it was read.
struct Begun {
    /// Room for one segment, if the payload does not end in it.
    plain: Secret,
    /// Bytes of it that were read.
    filled: usize,
}

/// Bytes of a buffer that a payload is read into, at first: most records are short, and a buffer
/// costs its wiping.
const FIRST: usize = CHUNK_BYTES / GROWTH;
/// By how much a buffer grows that a payload fills.
const GROWTH: usize = 16;

/// Reads the beginning of a payload: one segment, or all if it is shorter.
fn begin(payload: &mut impl Read, segment_bytes: usize) -> Result<Begun> {
    let mut plain = Secret::zeroed(FIRST);
    let mut filled = fill(payload, &mut plain)?;
    while filled == plain.len() && filled < segment_bytes {
        let mut longer = Secret::zeroed((filled * GROWTH).min(segment_bytes));
        longer[..filled].copy_from_slice(&plain);
        filled += fill(payload, &mut longer[filled..])?;
        plain = longer;
    }
    Ok(Begun { plain, filled })
}

/// Fills `buffer` as far as the reader goes.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    sealed::fill(reader, buffer).map_err(|e| sealed::reading("reading what is to be put", e))
}

/// A payload that was taken in.
struct Streamed {
    /// Its only segment, if that waits for the commit.
    waiting: Option<Vec<u8>>,
    /// SHA-256 of it.
    digest: [u8; 32],
}

/// What the cipher of a payload is derived from. A short payload that stands alone needs none.
struct Sealing<'a> {
    root: &'a Key,
    salt: [u8; SALT_BYTES],
    context: Vec<u8>,
}

impl Sealing<'_> {
    fn suite(&self) -> Suite {
        Suite::derive(&crypto::content_key(self.root), &self.salt, &self.context)
    }
}

/// Takes a payload in, after its beginning. Of one that fails nothing is kept.
fn take_in(
    core: &Core,
    staging: &mut Staging,
    sealing: &Sealing<'_>,
    entry: &mut Entry,
    begun: Begun,
    payload: &mut impl Read,
) -> Result<Streamed> {
    let stored = staging.stored.len();
    let streamed = stream(core, staging, sealing, entry, begun, payload);
    if !matches!(entry.body, Body::Plain(_)) {
        // A cipher was derived. What is moved from here on takes along what lies on the stack
        // between its fields.
        drop(WipeStack);
    }
    streamed.inspect_err(|_| core.in_flight.release(staging.stored.drain(stored..), false))
}

/// Takes a payload's segments in; a short one into the entry.
#[inline(never)]
fn stream(
    core: &Core,
    staging: &mut Staging,
    sealing: &Sealing<'_>,
    entry: &mut Entry,
    begun: Begun,
    payload: &mut impl Read,
) -> Result<Streamed> {
    let geometry = core.state().head.geometry;
    let (Begun { mut plain, filled }, mut digest) = (begun, Hashing::default());
    let Some(mut first) = entry.body.first().filter(|_| filled > geometry.inline_max()) else {
        entry.length = filled as u64;
        let suite = (!entry.stands_alone()).then(|| sealing.suite());
        entry.body = Body::short(&plain[..filled], suite.as_ref());
        return Ok(Streamed { waiting: None, digest: crypto::sha256(&plain[..filled]) });
    };
    let (suite, segment_bytes) = (sealing.suite(), geometry.segment_bytes);
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
                padding = Some(padded(entry.length) - entry.length);
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
        if last && segment == 0 && staging.waiting_bytes + sealed.len() <= WAITING_MAX {
            staging.waiting_bytes += sealed.len();
            return Ok(Streamed { waiting: Some(sealed), digest: digest.finish() });
        }
        if segment == 0 {
            first = core.store().name(first, Ahead::default(), sealed.len());
            entry.body = Body::Segments(first);
        }
        let name = segment_name(&entry.secret, first, segment);
        core.in_flight.keep(std::iter::once(name));
        staging.stored.push(name);
        core.judged(core.store().put(&[(name, sealed)]))?;
        if last {
            return Ok(Streamed { waiting: None, digest: digest.finish() });
        }
        segment += 1;
        n = if padding.is_none() { fill(payload, &mut plain)? } else { 0 };
    }
}
