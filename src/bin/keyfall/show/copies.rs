//! Copies of a store, and the states that they hold.

use keyfall::engine::{Backup, Checked, CopyMode, CopyStatus};
use keyfall::store::HeadId;
use serde_json::{Value, json};

use crate::shell::print::table;
use crate::shell::session::Session;

/// A state of a store as JSON.
pub(crate) fn head_json(head: HeadId) -> Value {
    json!({"epoch": head.epoch, "commit": head.commit})
}

/// What opening everything found, as JSON.
pub(crate) fn checked_json(checked: &Checked) -> Value {
    let missing: Vec<String> = checked.missing.iter().map(ToString::to_string).collect();
    json!({
        "whole": checked.is_whole(), "blobs": checked.blobs, "records": checked.records,
        "lacking": checked.lacking, "missing": missing,
    })
}

/// How a copy is kept.
pub(crate) fn mode(mode: CopyMode) -> &'static str {
    match mode {
        CopyMode::InStep => "in step",
        CopyMode::Behind => "behind",
    }
}

/// How a copy stands, as JSON.
pub(crate) fn copy_json(session: &Session, status: &CopyStatus) -> Value {
    json!({
        "place": status.entry.place,
        "mode": mode(status.entry.mode),
        "head": status.head.map(head_json),
        "restores": status.restores.map(head_json),
        "lacks_pages": status.lacks_pages,
        "error": status.error.as_deref().map(|e| session.fill(e)),
    })
}

/// Whether a copy could not be looked at.
pub(crate) fn is_unseen(status: &CopyStatus) -> bool {
    status.head.is_none() && status.error.is_some()
}

/// How copies stand, as a table.
pub(crate) fn copies_table(session: &Session, copies: &[CopyStatus]) -> String {
    let head = |h: Option<HeadId>| h.map_or("nothing".to_owned(), |h| h.to_string());
    let rows = copies.iter().map(|c| {
        let lacks = match (&c.error, c.lacks_pages) {
            (Some(e), _) => session.fill(e),
            (None, Some(n)) => format!("{n} pages"),
            (None, None) => "unknown".into(),
        };
        let mode = mode(c.entry.mode).to_owned();
        let seen = |at: Option<HeadId>| match (is_unseen(c), at) {
            (true, None) => "unknown".to_owned(),
            (_, at) => head(at),
        };
        vec![c.entry.place.clone(), mode, seen(c.head), seen(c.restores), lacks]
    });
    table(&["COPY", "MODE", "HOLDS", "RESTORES", "LACKS"], rows)
}

/// What a backup or a sync copied, as JSON.
pub(crate) fn backup_json(place: &str, done: Backup) -> Value {
    json!({
        "place": place, "blobs": done.blobs, "bytes": done.bytes,
        "head": done.head.map(head_json),
    })
}
