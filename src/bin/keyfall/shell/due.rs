//! What falls due in a store, and what was done about it, in words and as JSON.

use keyfall::engine::{Due, DueOutcome};
use serde_json::{Value, json};

use crate::shell::print::counted;

/// What is due next.
pub(crate) fn words(due: Due) -> &'static str {
    match due {
        Due::Planned => "a planned erase",
        Due::Limit => "a limit that passes",
        Due::Upload => "an unfinished upload that expires",
        Due::InboxKey => "an old inbox key is destroyed",
        Due::Pending => "what is pending becomes final",
        Due::Following => "work that an erase or a policy left",
        _ => "something of a user whose pages cannot be read",
    }
}

/// What was done, a clause each.
pub(crate) fn done_words(done: &DueOutcome) -> Vec<String> {
    let counts = [
        (done.planned, "planned erase", "done"),
        (done.expired, "record", "erased that passed a limit"),
        (done.derived, "derived record", "fell"),
        (done.refused, "planned erase", "refused, for what it names is held"),
        (done.failed, "planned erase", "failed, to be tried again in an hour"),
        (done.uploads, "unfinished upload", "erased that expired"),
        (done.inbox_keys, "old inbox key", "destroyed"),
        (
            done.damaged,
            "user",
            "passed over: their pages are damaged (restore the store from a copy), or a draft of a certificate could not be kept",
        ),
    ];
    let told = counts.iter().filter(|(n, ..)| *n > 0);
    let mut parts: Vec<String> =
        told.map(|(n, what, how)| format!("{} {how}", counted(*n, what))).collect();
    parts.extend(done.finalized.then(|| "what was pending is final".to_owned()));
    parts.extend(done.troubles.iter().map(ToString::to_string));
    parts
}

/// What was done, as JSON; `fill` types the commands that troubles name.
pub(crate) fn done_json(done: &DueOutcome, fill: &dyn Fn(&str) -> String) -> Value {
    let troubles = done.troubles.iter().map(|trouble| fill(&trouble.to_string()));
    let troubles: Vec<String> = troubles.collect();
    json!({
        "planned": done.planned, "expired": done.expired, "derived": done.derived,
        "refused": done.refused, "uploads": done.uploads, "inbox_keys": done.inbox_keys, "damaged": done.damaged,
        "finalized": done.finalized, "failed": done.failed, "troubles": troubles,
    })
}
