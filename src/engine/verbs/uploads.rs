//! Uploads: a payload that comes in parts, over restarts, and becomes a record when it is whole.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::vec::IntoIter;

use super::erasing;
use super::records::open_in;
use crate::catalogue::moment::later;
use crate::catalogue::staged::Joins;
use crate::catalogue::to_come::fell_from;
use crate::catalogue::uploads::{Upload, expired, id_of, look_up, of_user, wrong_offset};
use crate::catalogue::view::View;
use crate::engine::batch::put_joining;
use crate::engine::core::Core;
use crate::engine::reader::Reader;
use crate::engine::readers::By;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, InteractionId, RecordId, Timestamp, UploadId, UserId};
use crate::limits::RECORD_MAX_BYTES;
use crate::record::upload::About;
use crate::record::{Put, PutMode, Source, check_label};
use crate::scope::Scope;
use crate::sealed;
use crate::secret::{Secret, WipeStack};
use crate::tree::labels::Label;

/// Bytes of a part, at most: so much of a long append is lost if the machine fails in it.
const PART_BYTES: u64 = 8 << 20;

/// How far an upload is, and what it is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadState {
    /// Id of the upload.
    pub id: UploadId,
    /// The user of the record to come.
    pub user: UserId,
    /// Its class.
    pub class: Class,
    /// The exchange that it is to belong to.
    pub interaction: InteractionId,
    /// Its media type.
    pub media_type: String,
    /// Why it is to be kept.
    pub purpose: String,
    /// Bytes that are there: where the next append goes.
    pub offset: u64,
    /// How many there are to be, if that was declared ([`Put::length`]).
    pub length: Option<u64>,
    /// The name that it is to have.
    pub name: Option<String>,
    /// What becomes of it if another record has that name then.
    pub mode: PutMode,
    /// What is to be said of it, by keys.
    pub meta: BTreeMap<String, String>,
    /// When it expires: it falls then with all that is there, unless it is finished before. A
    /// policy may have it fall sooner.
    pub expires: Timestamp,
}

/// Payloads that come in parts, over restarts of the program
/// ([`Engine::uploads`](crate::Engine::uploads)), each of which becomes a record when it is whole.
///
/// Until then it is no record, and no list of records has it; [`Uploads::list`] and the report do.
/// What is there of it falls with its user, with erases of its class and its interaction, with its
/// sources, and when it expires ([`Options::upload_lasts`](crate::Options)).
///
/// ```
/// # use std::sync::Arc;
/// # use keyfall::{Class, Engine, Options, Put, UserId};
/// # use keyfall::{cell::MemoryCell, store::MemoryStore};
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// # let engine = Engine::init(store, cell, Options::default())?;
/// let put = Put::new(UserId::new("ada")?, Class::audio()).media_type("audio/webm");
/// let upload = engine.uploads().begin(put)?;
/// let there = engine.uploads().append(&upload, 0, &b"the first second, "[..])?;
/// engine.uploads().append(&upload, there, &b"and the rest"[..])?;
/// let id = engine.uploads().finish(&upload)?;
/// assert_eq!(engine.info(&id)?.length, 30);
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Uploads<'e> {
    pub(super) inner: &'e Arc<Core>,
}

impl Uploads<'_> {
    /// Begins an upload of the record that is to be put.
    ///
    /// # Errors
    /// As [`Engine::put`](crate::Engine::put).
    pub fn begin(&self, put: Put) -> Result<UploadId> {
        begin(self.inner, put)
    }

    /// Appends to an upload, and returns how many bytes it has then. They are durable when this
    /// returns, and after every 8 MiB of a long append. Where the reader fails in the middle, what
    /// it gave before is kept, and [`Uploads::state`] says how much that is.
    ///
    /// # Errors
    /// `Invalid` if the upload does not end at `offset`: the error's source is a
    /// [`WrongOffset`](crate::engine::WrongOffset), which says where it ends; `Invalid` also for
    /// more than was declared ([`Put::length`]); `Erased` if it was erased, aborted or expired;
    /// `Absent` if it was finished, or never was here; `Limit` beyond 65,535 parts; `Io` if the
    /// reader fails; as [`Engine::put`](crate::Engine::put).
    pub fn append(&self, upload: &UploadId, offset: u64, bytes: impl Read) -> Result<u64> {
        append(self.inner, upload, offset, bytes)
    }

    /// Appends all that a reader gives, or nothing: where it fails nothing of it is kept, and
    /// nothing is durable before this returns. For bytes that are checked when the last of them has
    /// come. It takes no more memory than [`Uploads::append`].
    ///
    /// # Errors
    /// As [`Uploads::append`].
    pub fn append_whole(&self, upload: &UploadId, offset: u64, bytes: impl Read) -> Result<u64> {
        append_whole(self.inner, upload, offset, bytes)
    }

    /// Makes a record of an upload, and returns its id: in one commit, so that after a crash there
    /// is the upload or the record. The parts are read and put once more, as one payload: that
    /// takes as long as a put of it, and twice its space until space is given back.
    ///
    /// Its name is taken now, as the mode of its put says ([`PutMode`]). Where a put of the same
    /// would change nothing, the id is that of the record that is there already, and the upload
    /// ends.
    ///
    /// # Errors
    /// `Invalid` if it has fewer bytes than were declared; `Exists`, `Changed`, `Held` or `Refused`
    /// as a put with a name fails: the upload is there still; as [`Uploads::append`].
    pub fn finish(&self, upload: &UploadId) -> Result<RecordId> {
        finish(self.inner, upload)
    }

    /// Gives an upload up: what is there of it is erased, and this costs an erase.
    ///
    /// # Errors
    /// `Held` if a hold covers what it was to become; as [`Uploads::append`] and
    /// [`Engine::erase`](crate::Engine::erase).
    pub fn abort(&self, upload: &UploadId) -> Result<()> {
        abort(self.inner, upload)
    }

    /// How far an upload is.
    ///
    /// # Errors
    /// `Erased`, `Absent` as [`Uploads::append`]; `Corrupt`, `Io`.
    pub fn state(&self, upload: &UploadId) -> Result<UploadState> {
        let _wiped = WipeStack;
        open(self.inner, upload).map(|open| state_of(*upload, open))
    }

    /// Of an upload that was finished, or never was here: whether what it became may have fallen.
    /// A record of its class and its interaction fell; which, nobody can say any more.
    ///
    /// # Errors
    /// `Absent` for a user who never was here; `Corrupt`, `Io`.
    pub fn may_have_fallen(&self, upload: &UploadId) -> Result<bool> {
        let UploadId { interaction, user, incarnation, class, .. } = *upload;
        let first = RecordId { interaction, user, incarnation, class, ordinal: 0 };
        self.inner.look(|view| fell_from(view, &first))
    }

    /// The unfinished uploads of a user.
    ///
    /// # Errors
    /// `Erased` or `Absent` for a user who was erased or never was here; `Corrupt`, `Io`.
    pub fn list(&self, user: &UserId) -> Result<Vec<UploadState>> {
        let _wiped = WipeStack;
        self.inner.check_readable()?;
        let listed = self.inner.look_at(|_, view| Listed::of(self.inner, view, user))?;
        listed.states()
    }
}

fn begin(inner: &Arc<Core>, put: Put) -> Result<UploadId> {
    let _wiped = WipeStack;
    if put.length.is_some_and(|length| length > RECORD_MAX_BYTES) {
        return Err(Error::invalid(format!("a record has at most {RECORD_MAX_BYTES} bytes")));
    }
    check_label(&put, inner.state().head.geometry)?;
    let created = put.created.unwrap_or_else(|| inner.options.env.now());
    let about = About { created, length: put.length, label: put.label, mode: put.mode };
    // The entry's time is that of its end.
    let now = inner.reading(&inner.state()).due();
    let header = Put {
        created: Some(later(now, inner.options.upload_lasts)),
        length: None,
        label: Label::default(),
        mode: PutMode::Replace,
        ..put
    };
    let record = put_joining(inner, header, Joins::Upload, &about.encode()[..])?;
    inner.look(|view| id_of(view, &record))
}

fn append(inner: &Arc<Core>, upload: &UploadId, offset: u64, mut bytes: impl Read) -> Result<u64> {
    let _wiped = WipeStack;
    let Open { mut found, about } = open(inner, upload)?;
    if found.offset != offset {
        return Err(wrong_offset(found.offset));
    }
    loop {
        let left = about.length.map_or(PART_BYTES, |length| length.saturating_sub(found.offset));
        // One byte first: what is empty is no part.
        let mut first = Secret::zeroed(1);
        if sealed::fill(&mut bytes, &mut first).map_err(unread)? == 0 {
            return Ok(found.offset);
        }
        if left == 0 {
            return Err(has_them(found.offset));
        }
        let piece = (&first[..]).chain(&mut bytes).take(left.min(PART_BYTES));
        let mut piece = Piece { from: piece, read: 0, failed: None };
        put_joining(inner, part(&found), joins(upload, &found), &mut piece)?;
        if let Some(e) = piece.failed {
            return Err(unread(e));
        }
        let after = found.offset + piece.read;
        found = open(inner, upload)?.found;
        if found.offset != after {
            return Err(wrong_offset(found.offset));
        }
    }
}

fn has_them(length: u64) -> Error {
    Error::invalid(format!(
        "this upload was declared to have {length} bytes, and has them; finish it"
    ))
}

fn has_more() -> Error {
    let text = "these are more bytes than the upload was declared to have; nothing of them was \
                stored";
    Error::invalid(text)
}

fn append_whole(
    inner: &Arc<Core>,
    upload: &UploadId,
    offset: u64,
    mut bytes: impl Read,
) -> Result<u64> {
    let _wiped = WipeStack;
    let Open { found, about } = open(inner, upload)?;
    if found.offset != offset {
        return Err(wrong_offset(found.offset));
    }
    // What is empty is no part.
    let mut first = Secret::zeroed(1);
    if sealed::fill(&mut bytes, &mut first).map_err(unread)? == 0 {
        return Ok(offset);
    }
    let left = about.length.map_or(RECORD_MAX_BYTES, |length| length.saturating_sub(offset));
    let mut piece = Whole { from: (&first[..]).chain(bytes), read: 0, left };
    put_joining(inner, part(&found), joins(upload, &found), &mut piece)?;
    Ok(offset + piece.read)
}

fn finish(inner: &Arc<Core>, upload: &UploadId) -> Result<RecordId> {
    let _wiped = WipeStack;
    let Open { found, about } = open(inner, upload)?;
    if let Some(length) = about.length.filter(|length| *length != found.offset) {
        return Err(Error::invalid(format!(
            "this upload has {} of {length} bytes; append the rest, then finish it",
            found.offset
        )));
    }
    let sources = inner.look(|view| {
        let page = view.users().page_of(&found.record)?;
        page.lineage.sources(view.pages, &found.record)
    })?;
    let put = Put {
        sources: sources.into_iter().map(Source::Record).collect(),
        created: Some(about.created),
        length: Some(found.offset),
        label: about.label,
        mode: about.mode,
        ..like(&found)
    };
    let ids = found.parts().collect::<Vec<_>>().into_iter();
    let parts = Parts { inner: Arc::clone(inner), ids, open: None };
    let joins = Joins::Finished { upload: *upload, length: found.offset };
    let id = put_joining(inner, put, joins, parts)?;
    // Nothing was erased; the parts' bytes are of no more use.
    inner.store().suspect(found.offset);
    inner.cleaners.heard(found.offset);
    Ok(id)
}

fn abort(inner: &Arc<Core>, upload: &UploadId) -> Result<()> {
    let found = inner.look(|view| look_up(view, upload))?;
    erasing::erase(inner, Scope::Record(found.record).into()).map(|_| ())
}

/// Uploads of one state, with what their entries have no place for still to be read: not while the
/// state is held.
pub(super) struct Listed(Vec<(UploadId, Upload, Reader)>);

impl Listed {
    pub(super) fn of(inner: &Arc<Core>, view: &View<'_>, user: &UserId) -> Result<Self> {
        let (tag, page) = view.user(user)?;
        let mut all = Vec::new();
        for (id, found) in of_user(view, tag, &page)? {
            let reader = open_in(inner, view, &found.record, true, By::Owner)?;
            all.push((id, found, reader));
        }
        Ok(Listed(all))
    }

    pub(super) fn states(self) -> Result<Vec<UploadState>> {
        let mut states = Vec::with_capacity(self.0.len());
        for (id, found, reader) in self.0 {
            match about(reader) {
                Ok(about) => states.push(state_of(id, Open { found, about })),
                // It fell since.
                Err(e) if e.kind() == ErrorKind::Erased => {}
                Err(e) => return Err(e),
            }
        }
        Ok(states)
    }
}

/// An upload, looked up whole.
struct Open {
    found: Upload,
    about: About,
}

/// Looks an upload up, which has not expired.
fn open(inner: &Arc<Core>, upload: &UploadId) -> Result<Open> {
    inner.check_readable()?;
    let (found, reader) = inner.look_at(|state, view| {
        let found = look_up(view, upload)?;
        if found.expires <= inner.reading(state).due() {
            return Err(expired());
        }
        let reader = open_in(inner, view, &found.record, true, By::Owner)?;
        Ok((found, reader))
    })?;
    Ok(Open { about: about(reader)?, found })
}

fn about(mut reader: Reader) -> Result<About> {
    let mut bytes = Secret::zeroed(About::MAX);
    let read = sealed::fill(&mut reader, &mut bytes)?;
    About::decode(&bytes[..read])
}

fn state_of(id: UploadId, open: Open) -> UploadState {
    let Open { found, about } = open;
    UploadState {
        id,
        user: found.user,
        class: found.class,
        interaction: found.record.interaction,
        media_type: found.entry.media_type.clone(),
        purpose: (*found.entry.purpose).clone(),
        offset: found.offset,
        length: about.length,
        name: about.label.name().map(str::to_owned),
        mode: about.mode,
        meta: about.label.meta(),
        expires: found.expires,
    }
}

/// A put into the class and interaction of the record to come.
fn like(found: &Upload) -> Put {
    Put::new(found.user.clone(), found.class.clone())
        .interaction(found.record.interaction)
        .media_type(found.entry.media_type.clone())
        .purpose((*found.entry.purpose).clone())
}

/// A put of the next part. It falls with the sources of the upload, if that has any: through it.
fn part(found: &Upload) -> Put {
    let put = like(found).created(later_by(found.record.interaction, found.offset));
    if found.entry.sources > 0 { put.derived_from(found.record) } else { put }
}

fn joins(upload: &UploadId, found: &Upload) -> Joins {
    Joins::Part { of: *upload, at: found.offset }
}

/// The time by which a part says where it begins.
fn later_by(interaction: InteractionId, offset: u64) -> Timestamp {
    Timestamp(interaction.began().0.wrapping_add(offset))
}

fn unread(e: io::Error) -> Error {
    sealed::reading("reading what is to be appended", e)
}

/// A part on its way: where its reader fails it ends, and what came before is kept.
struct Piece<R> {
    from: R,
    read: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Piece<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Ok(0);
        }
        match self.from.read(out) {
            Ok(n) => {
                self.read += n as u64;
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                self.failed = Some(e);
                Ok(0)
            }
        }
    }
}

/// A part that comes whole: more than may come is an error.
struct Whole<R> {
    from: R,
    read: u64,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(out)?;
        let Some(left) = self.left.checked_sub(n as u64) else {
            return Err(has_more().into());
        };
        self.left = left;
        self.read += n as u64;
        Ok(n)
    }
}

/// The parts of an upload, one after another. Each is opened when it is reached, so that an erase
/// finds it; what fell meanwhile fails.
struct Parts {
    inner: Arc<Core>,
    ids: IntoIter<RecordId>,
    open: Option<Reader>,
}

impl Read for Parts {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(reader) = &mut self.open {
                let n = reader.read(out)?;
                if n > 0 || out.is_empty() {
                    return Ok(n);
                }
            }
            let Some(id) = self.ids.next() else { return Ok(0) };
            let inner = &self.inner;
            let opened = inner.look_at(|_, view| open_in(inner, view, &id, true, By::Owner));
            self.open = Some(opened?);
        }
    }
}
