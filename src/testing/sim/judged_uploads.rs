//! What the judges check of uploads: those that the engine lists, and what the adversary opens.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use std::collections::BTreeMap;

use super::model::stand_in;
use super::names::user_id;
use super::run::Run;
use crate::error::ErrorKind;
use crate::ids::{ClassTag, RecordId, UploadId};
use crate::record::upload::{is_of_upload, split, whole};
use crate::testing::adversary::Exposed;

/// The uploads of a user, and how far they are, as the engine says.
pub(super) fn listed(run: &Run, user: u8) -> Vec<(UploadId, u64)> {
    match run.engine().uploads().list(&user_id(user)) {
        Ok(all) => all.into_iter().map(|state| (state.id, state.offset)).collect(),
        Err(e) if matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent) => Vec::new(),
        Err(e) => panic!("LOST: no upload can be listed: {e}"),
    }
}

/// The first judge, of uploads.
pub(super) fn check_uploads(run: &Run) {
    for (n, user) in &run.model.users {
        let mut there = listed(run, *n);
        let known = user.uploads.iter().map(|it| (it.id, it.record.content.len() as u64));
        let mut known: Vec<_> = known.collect();
        known.sort_unstable();
        there.sort_unstable();
        assert_eq!(there, known, "LOST or FOUND: the uploads of user {n}");
    }
    for id in &run.model.fallen {
        let e = run.engine().uploads().state(id).err().map(|e| e.kind());
        assert_eq!(e, Some(ErrorKind::Erased), "FOUND: an upload that fell");
    }
}

/// The second judge, of uploads: what the adversary opens is of those that live, whole, or of those
/// that became records in this epoch.
pub(super) fn check_exposed(run: &Run, exposed: &BTreeMap<RecordId, Exposed>) {
    let epoch = run.engine().head().epoch;
    let fell = |upload: &RecordId| run.model.fallen.iter().any(|id| stand_in(id) == *upload);
    // What was undone, or abandoned, is on the tape, and opens until the epoch ends.
    let loose = run.undone_epoch == epoch || run.abandoned_epoch == epoch;
    let mut found: BTreeMap<RecordId, Vec<u8>> = BTreeMap::new();
    for (id, part) in exposed.iter().filter(|(id, _)| is_of_upload(id.ordinal)) {
        let upload = RecordId { class: ClassTag([0; 6]), ordinal: whole(id.ordinal).0, ..*id };
        let there = found.entry(upload).or_default();
        if split(id.ordinal).1 > 0 {
            there.extend(part.content.iter().flatten());
        }
    }
    for (_, upload) in run.model.uploads() {
        let content = found.remove(&upload.record.id);
        let whole = content.as_ref() == Some(&upload.record.content);
        assert!(whole || loose && content.is_some(), "the adversary opens other parts");
    }
    for upload in found.keys() {
        let may = run.finished.contains(&(*upload, epoch))
            || run.abandoned_epoch == epoch && run.abandoned.contains(upload)
            || run.undone_epoch == epoch && !fell(upload);
        assert!(may, "FOUND: the adversary opens an upload that does not live");
    }
}
