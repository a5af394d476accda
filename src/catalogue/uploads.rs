//! Unfinished uploads: where their parts go, how far they are, when they end. Erases take them with
//! the class, the interaction and the sources of what they are to become (`part`, `record`).

use std::ops::ControlFlow;

use super::admit::user_erased;
use super::edit::Edit;
use super::resolve::resolver;
use super::view::View;
use crate::crypto;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UploadId, UserId, UserTag};
use crate::policy::Rules;
use crate::record::Entry;
use crate::record::upload::{NUMBERS, ordinal, split, whole};
use crate::tree::Pages;
use crate::tree::fences::Target;
use crate::tree::keys::{KEY_MAX, KEY_MIN, record_key, split_record_key};
use crate::tree::lineage::Lineage;
use crate::tree::ordered::Range;
use crate::tree::user::{ClassSlot, UserPage, class_place};

/// An unfinished upload, as the tree has it.
pub(crate) struct Upload {
    /// Its own record.
    pub(crate) record: RecordId,
    pub(crate) user: UserId,
    /// What it is to become.
    pub(crate) class: Class,
    /// Its entry: media type and purpose are those of the record to come.
    pub(crate) entry: Entry,
    /// Bytes that it has.
    pub(crate) offset: u64,
    /// Its last part.
    pub(crate) last: u16,
    /// When it expires, unless a policy has it fall before.
    pub(crate) expires: Timestamp,
}

impl Upload {
    /// Its parts, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = RecordId> + use<> {
        let record = self.record;
        (1..=self.last).map(move |n| RecordId { ordinal: record.ordinal | u32::from(n), ..record })
    }
}

/// An append that does not go on where the upload ends: the source of the error that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongOffset {
    /// Where the next append goes: the bytes that the upload has.
    pub offset: u64,
}

impl std::fmt::Display for WrongOffset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the upload has {} bytes", self.offset)
    }
}

impl std::error::Error for WrongOffset {}

/// The error for an append that does not go on where the upload ends.
pub(crate) fn wrong_offset(offset: u64) -> Error {
    let there = WrongOffset { offset };
    Error::invalid(format!("{there}; append what comes after these, at offset {offset}"))
        .with_source(there)
}

/// The error for an upload that expired.
pub(crate) fn expired() -> Error {
    Error::new(ErrorKind::Erased, "this upload has expired; begin another")
}

/// An upload that is not finished.
///
/// # Errors
/// `Erased` if it was erased, aborted or expired, or if what it is derived from was erased;
/// `Absent` if it was finished, or was never here; `Corrupt`, `Io`.
pub(crate) fn look_up(view: &View<'_>, upload: &UploadId) -> Result<Upload> {
    let page = view.users().page_of(&probe(upload)).map_err(|e| match e.kind() {
        ErrorKind::Erased => erased(),
        ErrorKind::Absent => absent(),
        _ => e,
    })?;
    let found = find(view.pages, &page, upload)?;
    if found.entry.sources > 0 {
        resolver(view).resolve(&found.record)?;
    }
    Ok(found)
}

/// The id of an upload, by its record.
pub(crate) fn id_of(view: &View<'_>, record: &RecordId) -> Result<UploadId> {
    let (page, entry) = view.users().look_up(record)?;
    let slot = page.class(record.class).ok_or_else(absent)?;
    Ok(named(&page, slot, record, &entry))
}

/// Every unfinished upload of a user, with its id. Those that fell with a source, and are still to
/// be followed, are left out.
pub(crate) fn of_user(
    view: &View<'_>,
    user: UserTag,
    page: &UserPage,
) -> Result<Vec<(UploadId, Upload)>> {
    let mut ids = Vec::new();
    for slot in page.classes.iter().filter(|slot| slot.class.is_of_uploads()) {
        each(view.pages, user, page, slot, &mut |record, entry| {
            ids.push(named(page, slot, record, entry));
            Ok(())
        })?;
    }
    let mut uploads = Vec::with_capacity(ids.len());
    for id in ids {
        match look_up(view, &id) {
            Ok(found) => uploads.push((id, found)),
            Err(e) if e.kind() == ErrorKind::Erased => {}
            Err(e) => return Err(e),
        }
    }
    Ok(uploads)
}

/// When an upload ends by itself: when it expires, or when what it is to become would fall.
pub(crate) fn ends(
    rules: &Rules,
    class: &Class,
    interaction: InteractionId,
    entry: &Entry,
) -> Timestamp {
    let policy = rules.of(class, &entry.purpose);
    let limit = policy.and_then(|policy| policy.expiry(interaction.began()));
    limit.into_iter().fold(entry.created(interaction), Timestamp::min)
}

/// When the first of a user's uploads ends by itself, and which have by now.
pub(crate) fn over(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    rules: &Rules,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Vec<RecordId>)> {
    let (mut next, mut over) = (None, Vec::new());
    for slot in &page.classes {
        let Some(class) = slot.class.to_become() else { continue };
        each(pages, user, page, slot, &mut |record, entry| {
            let ends = ends(rules, &class, record.interaction, entry);
            next = next.into_iter().chain([ends]).min();
            over.extend((ends <= now).then_some(*record));
            Ok(())
        })?;
    }
    Ok((next, over))
}

/// The ordinal for an upload that begins: of no other that is there, and of none that was erased.
pub(crate) fn begin(
    env: &dyn Env,
    pages: &dyn Pages,
    page: &UserPage,
    slot: ClassTag,
    target: Target,
    user: UserTag,
) -> Result<u32> {
    for _ in 0..TRIES {
        let mut random = [0; 2];
        env.fill(&mut random)?;
        let ordinal = ordinal(u16::from_be_bytes(random));
        let fence = Target { ordinal: Some(ordinal), ..target };
        let key = record_key(target.interaction, ordinal);
        let there = match page.class(slot) {
            Some(slot) => slot.tree.get(pages, class_place(user), &key)?.is_some(),
            None => false,
        };
        if !there && !page.fences.cover(pages, user, &page.fence_key, fence)? {
            return Ok(ordinal);
        }
    }
    let text = "this interaction has too many unfinished uploads; finish or abort some";
    Err(Error::new(ErrorKind::Limit, text))
}

/// The ordinal for the next part of an upload, if that begins at `at`.
///
/// # Errors
/// `Invalid` where the upload does not end there; as [`look_up`].
pub(crate) fn next_part(
    pages: &dyn Pages,
    page: &UserPage,
    upload: &UploadId,
    at: u64,
) -> Result<u32> {
    let found = find(pages, page, upload)?;
    if found.offset != at {
        return Err(wrong_offset(found.offset));
    }
    let next = found.last.checked_add(1).ok_or_else(|| {
        let text = "this upload has 65,535 parts; begin another, and append more at a time";
        Error::new(ErrorKind::Limit, text)
    })?;
    Ok(found.record.ordinal | u32::from(next))
}

/// Takes an upload of `length` bytes out of the tree, since its record is there now. Nothing of it
/// is erased: its bytes live on in the record.
pub(crate) fn end(edit: &mut Edit<'_>, upload: &UploadId, length: u64) -> Result<()> {
    let (pages, user) = (edit.pages(), upload.user);
    let Some((editor, page)) = edit.page_for(&probe(upload))? else {
        return Err(user_erased());
    };
    let found = find(pages, page, upload)?;
    if found.offset != length {
        return Err(wrong_offset(found.offset));
    }
    let record = found.record;
    let sources = page.lineage.sources(pages, &record)?;
    let (low, high) = keys(&record);
    if let Some(slot) = page.classes.iter_mut().find(|slot| slot.tag == record.class) {
        slot.records -= slot.tree.remove_range(editor, class_place(user), &low, &high)?;
    }
    page.classes.retain(|slot| slot.tree.root.is_some());
    let (mut links, _) = page.lineage.take(editor, user, record.class, &low, &high)?;
    links.drain(editor, Lineage::place(user))?;
    for source in sources {
        if let Some((editor, page)) = edit.page_for(&source)? {
            page.lineage.cut_derived(editor, &source, &record)?;
        }
    }
    Ok(())
}

/// The first and the last key of an upload, by its record or one of its parts.
pub(crate) fn keys(record: &RecordId) -> ([u8; 20], [u8; 20]) {
    let (first, last) = whole(record.ordinal);
    (record_key(record.interaction, first), record_key(record.interaction, last))
}

/// Numbers that are tried for a new upload.
const TRIES: usize = 64;

/// The record of an upload as fences name it.
fn probe(upload: &UploadId) -> RecordId {
    let UploadId { interaction, user, incarnation, class, number, .. } = *upload;
    RecordId { interaction, user, incarnation, class, ordinal: ordinal(number) }
}

/// The id of an upload whose record was found.
fn named(page: &UserPage, slot: &ClassSlot, record: &RecordId, entry: &Entry) -> UploadId {
    let RecordId { interaction, user, incarnation, ordinal, .. } = *record;
    let token = crypto::upload_token(&entry.secret);
    let (class, number) = (page.fenced_as(slot), split(ordinal).0);
    UploadId { interaction, user, incarnation, class, number, token }
}

/// An upload in a user's page.
fn find(pages: &dyn Pages, page: &UserPage, upload: &UploadId) -> Result<Upload> {
    let fenced = probe(upload);
    let (user, key) = (upload.user, record_key(fenced.interaction, fenced.ordinal));
    for slot in &page.classes {
        let Some(class) = slot.class.to_become() else { continue };
        if page.class_tag(&class) != upload.class {
            continue;
        }
        let Some(value) = slot.tree.get(pages, class_place(user), &key)? else { continue };
        let entry = Entry::decode(&value)?;
        if crypto::upload_token(&entry.secret) != upload.token {
            continue;
        }
        let record = RecordId { class: slot.tag, ..fenced };
        let (last, offset) = tail(pages, slot, &record)?;
        let expires = entry.created(record.interaction);
        let user = page.user.clone();
        return Ok(Upload { record, user, class, entry, offset, last, expires });
    }
    let target = Target::record(&fenced);
    let is_fenced = page.fences.cover(pages, user, &page.fence_key, target)?;
    Err(if is_fenced { erased() } else { absent() })
}

/// The last part of an upload, and the bytes that it has with that.
fn tail(pages: &dyn Pages, slot: &ClassSlot, record: &RecordId) -> Result<(u16, u64)> {
    let (low, high) = keys(record);
    let last = Range { low: &low, high: &high, descending: true };
    let mut tail = (0, 0);
    slot.tree.scan(pages, class_place(record.user), last, &mut |key, value| {
        let part = split(split_record_key(key)?.1).1;
        if part > 0 {
            let entry = Entry::decode(value)?;
            tail = (part, (entry.lag as u64).saturating_add(entry.length));
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(tail)
}

/// Shows the record of each upload of a class, not those of parts.
fn each(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    slot: &ClassSlot,
    see: &mut dyn FnMut(&RecordId, &Entry) -> Result<()>,
) -> Result<()> {
    let mut low = KEY_MIN;
    loop {
        let (rest, mut found) = (Range { low: &low, high: &KEY_MAX, descending: false }, None);
        slot.tree.scan(pages, class_place(user), rest, &mut |key, value| {
            found = Some((split_record_key(key)?, Entry::decode(value)?));
            Ok(ControlFlow::Break(()))
        })?;
        let Some(((interaction, ordinal), entry)) = found else { return Ok(()) };
        let (number, part) = split(ordinal);
        if part > 0 || number >= NUMBERS {
            return Err(Error::corrupt(
                "a part stands where an upload should; restore the store from a copy",
            ));
        }
        let (incarnation, class) = (page.incarnation, slot.tag);
        see(&RecordId { interaction, user, incarnation, class, ordinal }, &entry)?;
        low = record_key(interaction, whole(ordinal).1.saturating_add(1));
    }
}

fn absent() -> Error {
    let text = "no such upload in this store: it was finished, or never begun; `Engine::uploads` \
                shows what there is";
    Error::new(ErrorKind::Absent, text)
}

fn erased() -> Error {
    let text = "this upload was erased, aborted, or has expired; begin another";
    Error::new(ErrorKind::Erased, text)
}
