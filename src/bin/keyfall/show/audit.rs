//! What an audit found.

use keyfall::engine::Audit;
use serde_json::{Value, json};

use crate::shell::print::table;
use crate::shell::session::Session;
use crate::show::cell::awaited;
use crate::show::copies::head_json;
use crate::show::time::time;

/// An audit as a table, a place each.
pub(crate) fn audit_table(audit: &Audit) -> String {
    let headings =
        ["PLACE", "HEAD", "HEAD IS", "BLOBS", "LIVE", "SUPERSEDED", "SHUT", "STRAY", "DAMAGED"];
    let rows = audit.places.iter().map(|p| {
        let head = p.head.map_or("none".to_owned(), |h| h.to_string());
        let opens = if p.head_opens { "opens" } else { "shut" };
        let counts = [p.blobs, p.live, p.superseded, p.shut, p.stray, p.damaged];
        let counts = counts.map(|n| n.to_string());
        [vec![p.place.clone(), head, opens.into()], counts.to_vec()].concat()
    });
    table(&headings, rows)
}

/// An audit as JSON.
pub(crate) fn audit_json(session: &Session, audit: &Audit) -> Value {
    let places = audit.places.iter().map(|p| {
        json!({
            "place": p.place, "head": p.head.map(head_json),
            "head_opens": p.head_opens, "blobs": p.blobs, "live": p.live,
            "superseded": p.superseded, "shut": p.shut, "stray": p.stray, "damaged": p.damaged,
            "other_damage": p.other_damage,
            "strays": p.strays.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let away = audit.away.iter().map(|copy| json!({"place": copy.place, "why": copy.why}));
    json!({
        "clean": audit.is_clean(), "root_keys": audit.root_keys,
        "final": audit.finality.is_final(), "awaited": awaited(session, &audit.finality),
        "pending_until": audit.pending.map(time), "live_blobs": audit.live_blobs,
        "places": places.collect::<Vec<_>>(), "away": away.collect::<Vec<_>>(),
        "lacks": audit.lacks.as_deref().map(|lacks| session.fill(lacks)),
    })
}
