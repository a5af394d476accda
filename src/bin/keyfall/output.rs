//! What is printed, for people and as JSON.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use keyfall::RecordInfo;
use keyfall::cell::Finality;
use keyfall::engine::{CopyMode, CopyStatus, Fact, Grant, Hold, Plan, Tended};
use keyfall::{Error, ErrorKind, Policy, Timestamp};
use serde_json::{Value, json};

use crate::remedy::fill;

/// Why a command ended early.
pub(crate) enum Failure {
    /// With an error to show.
    Error(Error),
    /// Nobody reads our output any more.
    ClosedPipe,
    /// An answer could not be written to standard output: what it was, and whether nobody reads it any more.
    Untold { error: Error, lost: String, closed: bool },
    /// What was asked is done; what comes after it failed.
    Late(Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Error(e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::BrokenPipe {
            Failure::ClosedPipe
        } else {
            Failure::Error(Error::io("writing the output", e))
        }
    }
}

static JSON: AtomicBool = AtomicBool::new(false);
/// What a command erased since it was due.
static DUE: Mutex<Option<Value>> = Mutex::new(None);

/// Says once whether errors and notes are JSON.
pub(crate) fn set_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// A line on standard error.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

fn tell_json(value: &Value) {
    let _ = writeln!(io::stderr(), "{value}");
}

/// Shows an error in one line.
pub(crate) fn error(json: bool, e: &Error) {
    let text = fill(&e.to_string());
    if json {
        let mut told = json!({"error": {"kind": kind(e.kind()), "message": text.replace('\n', " ")}});
        if e.may_have_happened() {
            told["error"]["may_have_happened"] = json!(true);
        }
        tell_json(&told);
    } else {
        tell(&format!("keyfall: {text}"));
    }
}

/// Says on standard error what was done beside what was asked.
pub(crate) fn note(text: &str) {
    let text = fill(text);
    if JSON.load(Ordering::Relaxed) {
        tell_json(&json!({"note": text}));
    } else {
        tell(&format!("keyfall: {text}"));
    }
}

/// Says on standard error what went wrong beside what was asked.
pub(crate) fn warn(e: &Error) {
    let text = fill(&e.to_string());
    if JSON.load(Ordering::Relaxed) {
        tell_json(&json!({"warning": {"kind": kind(e.kind()), "message": text}}));
    } else {
        tell(&format!("keyfall: {text}"));
    }
}

/// Says that what was asked is done, though its answer could not be written, and the answer.
pub(crate) fn untold(e: &Error, answer: &str) {
    let text = format!("done, and must not be repeated; only its answer could not be written ({e})");
    if JSON.load(Ordering::Relaxed) {
        let answer: Value = serde_json::from_str(answer).unwrap_or_else(|_| answer.into());
        tell_json(&json!({"error": {"kind": "untold", "message": text, "done": true, "answer": answer}}));
    } else {
        tell(&format!("keyfall: {text}: {answer}"));
    }
}

/// Says what was erased since it was due, on standard error and in the answer; the command was about something else.
pub(crate) fn due(done: &Tended) {
    if *done == Tended::default() {
        return;
    }
    if JSON.load(Ordering::Relaxed) {
        let told = tended(done);
        tell_json(&json!({"tended": told}));
        *DUE.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        return;
    }
    let counts = [
        (done.planned, "planned erase", "done"),
        (done.expired, "record", "erased that passed a limit"),
        (done.derived, "derived record", "fell"),
        (done.refused, "planned erase", "refused, for what it names is held"),
        (done.failed, "planned erase", "failed, to be tried again in an hour"),
        (done.inbox_keys, "old inbox key", "destroyed"),
        (done.damaged, "user", "passed over, since the pages are damaged: restore the store from a copy"),
    ];
    let told = counts.iter().filter(|(n, ..)| *n > 0);
    let mut parts: Vec<String> = told.map(|(n, what, how)| format!("{} {how}", counted(*n, what))).collect();
    parts.extend(done.finalized.then(|| "what was pending is final".to_owned()));
    parts.extend(done.troubles.iter().map(ToString::to_string));
    if !parts.is_empty() {
        tell(&format!("keyfall: what was due came first: {}", fill(&parts.join("; "))));
    }
}

/// What was done since it was due.
pub(crate) fn tended(done: &Tended) -> Value {
    json!({
        "planned": done.planned, "expired": done.expired, "derived": done.derived, "refused": done.refused,
        "inbox_keys": done.inbox_keys, "damaged": done.damaged, "finalized": done.finalized,
        "failed": done.failed, "troubles": done.troubles.iter().map(|trouble| fill(&trouble.to_string())).collect::<Vec<_>>(),
    })
}

fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::Erased => "erased",
        ErrorKind::Absent => "absent",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Mismatch => "mismatch",
        ErrorKind::Limit => "limit",
        ErrorKind::Medium => "medium",
        ErrorKind::Refused => "refused",
        ErrorKind::Held => "held",
        ErrorKind::Locked => "locked",
        ErrorKind::Exists => "exists",
        ErrorKind::Copy => "copy",
        ErrorKind::Poisoned => "poisoned",
        ErrorKind::Full => "full",
        ErrorKind::Fenced => "fenced",
        _ => "io",
    }
}

/// A line on standard output, and nothing in it that makes it more than one.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    block(printable(&text.to_string()))
}

/// Lines on standard output as they are: what programs read, and tables.
pub(crate) fn block(text: impl std::fmt::Display) -> Result<(), Failure> {
    let text = text.to_string();
    writeln!(io::stdout(), "{text}").map_err(|e| Failure::Untold {
        closed: e.kind() == io::ErrorKind::BrokenPipe,
        error: Error::new(ErrorKind::Io, format!("standard output: {e}")).with_source(e),
        lost: text,
    })
}

/// An answer on standard error, where standard output belongs to what was asked for.
pub(crate) fn aside(text: &str) {
    if JSON.load(Ordering::Relaxed) {
        let _ = writeln!(io::stderr(), "{text}");
    } else {
        tell(text);
    }
}

/// JSON on standard output; what was erased since it was due stands in it.
pub(crate) fn value(value: &Value) -> Result<(), Failure> {
    block(format_args!("{:#}", with_due(value.clone())))
}

/// Adds what was erased since it was due, where something was.
pub(crate) fn with_due(mut value: Value) -> Value {
    let due = DUE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let (Some(due), Some(object)) = (due, value.as_object_mut()) {
        object.entry("tended").or_insert(due);
    }
    value
}

/// A time as RFC 3339 shows it.
pub(crate) fn time(at: Timestamp) -> String {
    at.to_string()
}

/// That older root keys may be there still, where they may: of erases, or of an epoch that began without one.
pub(crate) fn pending(finality: &Finality) -> Option<String> {
    (!finality.is_final()).then(|| format!("the destruction of older root keys is {finality}"))
}

/// What keeps erases from being final, in words; nothing where they are.
pub(crate) fn awaited(finality: &Finality) -> Vec<String> {
    finality.awaited().iter().map(|awaited| fill(&awaited.to_string())).collect()
}

/// A hold's number as it is typed.
pub(crate) fn hold_id(id: u64) -> String {
    format!("{id:016x}")
}

/// What a hold covers, in words.
pub(crate) fn covered(hold: &Hold) -> String {
    let class = hold.class.as_ref().map_or("everything".to_owned(), |class| format!("class {class}"));
    class + &hold.interaction.map_or(String::new(), |id| format!(" of interaction {id}"))
}

pub(crate) fn hold(id: u64, hold: &Hold) -> Value {
    json!({
        "id": hold_id(id), "class": hold.class.as_ref().map(ToString::to_string),
        "interaction": hold.interaction.map(|i| i.to_string()), "reason": hold.reason, "authority": hold.authority,
        "since": time(hold.since),
    })
}

/// A fact in words, and the reason for it.
pub(crate) fn told(fact: &Fact) -> (String, String) {
    match fact {
        Fact::Detached { record, sources, reason } => {
            (format!("record {record} detached from {}", counted((*sources).into(), "source")), reason.clone())
        }
        Fact::Kept { class, records, reason } => {
            let class = class.as_ref().map_or("a class that holds nothing now".to_owned(), |c| format!("class {c}"));
            (format!("{} of {class} kept", counted(*records, "record")), reason.clone())
        }
        Fact::Held { id, scope, reason, authority } => {
            (format!("hold {} on {scope}, by {authority}", hold_id(*id)), reason.clone())
        }
        Fact::Lifted { id, reason, authority } => {
            (format!("hold {} lifted, by {authority}", hold_id(*id)), reason.clone())
        }
        Fact::Refused { scope, times } => {
            let times = if *times > 1 { format!(", {times} times") } else { String::new() };
            (format!("the erase of {scope} refused{times}"), "it was held".to_owned())
        }
        Fact::Planned { id, due, scope } => {
            let of = scope.as_ref().map_or(String::new(), |scope| format!(" of {scope}"));
            (format!("erase {}{of} planned for {}", hold_id(*id), time(*due)), String::new())
        }
        Fact::Failed { id, why } => (format!("planned erase {} failed; it is tried again", hold_id(*id)), fill(why)),
        Fact::Granted { id, name, scope, until, purpose } => {
            let until = until.map_or(String::new(), |until| format!(", until {}", time(until)));
            (format!("grant {} on {scope} to {name}{until}", hold_id(*id)), purpose.clone())
        }
        Fact::Revoked { id } => (format!("grant {} revoked", hold_id(*id)), String::new()),
        Fact::Cancelled { id } => (format!("planned erase {} cancelled", hold_id(*id)), String::new()),
        _ => (format!("{fact:?}"), String::new()),
    }
}

pub(crate) fn fact(fact: &Fact) -> Value {
    match fact {
        Fact::Detached { record, sources, reason } => {
            json!({"what": "detached", "id": record.to_string(), "sources": sources, "reason": reason})
        }
        Fact::Kept { class, records, reason } => {
            json!({"what": "kept", "class": class.as_ref().map(ToString::to_string), "records": records, "reason": reason})
        }
        Fact::Held { id, scope, reason, authority } => {
            json!({"what": "held", "id": hold_id(*id), "scope": scope, "reason": reason, "authority": authority})
        }
        Fact::Lifted { id, reason, authority } => {
            json!({"what": "lifted", "id": hold_id(*id), "reason": reason, "authority": authority})
        }
        Fact::Refused { scope, times } => json!({"what": "refused", "scope": scope, "times": times}),
        Fact::Planned { id, due, scope } => {
            json!({"what": "planned", "id": hold_id(*id), "due": time(*due), "scope": scope})
        }
        Fact::Failed { id, why } => json!({"what": "failed", "id": hold_id(*id), "why": fill(why)}),
        Fact::Granted { id, name, scope, until, purpose } => json!({
            "what": "granted", "id": hold_id(*id), "name": name, "scope": scope,
            "until": until.map(time), "purpose": purpose,
        }),
        Fact::Revoked { id } => json!({"what": "revoked", "id": hold_id(*id)}),
        Fact::Cancelled { id } => json!({"what": "cancelled", "id": hold_id(*id)}),
        _ => json!({"what": format!("{fact:?}")}),
    }
}

pub(crate) fn plan(plan: &Plan) -> Value {
    json!({
        "id": hold_id(plan.id), "due": time(plan.due), "planned": time(plan.planned),
        "what": crate::erasing::described(&plan.erase), "held": plan.held,
    })
}

pub(crate) fn grant(id: u64, grant: &Grant) -> Value {
    json!({
        "id": hold_id(id), "name": grant.name, "class": grant.class.as_ref().map(ToString::to_string),
        "purpose": grant.purpose, "since": time(grant.since), "until": grant.until.map(time), "opened": grant.opened,
    })
}

/// A grant in words.
pub(crate) fn granted(id: u64, grant: &Grant) -> String {
    let what = grant.class.as_ref().map_or("everything".to_owned(), |class| format!("class {class}"));
    let until = grant.until.map_or(String::new(), |until| format!(" until {}", time(until)));
    let (name, purpose, since) = (&grant.name, &grant.purpose, time(grant.since));
    let opened = counted(grant.opened, "record");
    format!("{what} to {name} for {purpose}, since {since}{until}, {opened} opened ({})", hold_id(id))
}

pub(crate) fn policy(policy: &Policy) -> Value {
    json!({
        "class": policy.class.as_str(), "purpose": policy.purpose, "max_age_seconds": policy.max_age.map(|age| age.as_secs()),
        "max_records": policy.max_records, "until": policy.until.map(time), "readers_named": policy.readers_named,
    })
}

/// A policy in words.
pub(crate) fn limits(policy: &Policy) -> String {
    let whom = policy.purpose.as_ref().map_or(String::new(), |p| format!(" put for {p}"));
    let limits: Vec<String> = [
        policy.max_age.map(|age| format!("at most {}", span(age))),
        policy.max_records.map(|n| format!("at most {}", counted(n, "record"))),
        policy.until.map(|at| format!("until {}", time(at))),
        policy.readers_named.then(|| "opened only by who is named".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let limits = if limits.is_empty() { "without a limit".to_owned() } else { limits.join(", ") };
    format!("class {}{whom}: {limits}", policy.class)
}

/// A length of time as it is typed.
pub(crate) fn span(span: std::time::Duration) -> String {
    let s = span.as_secs();
    let parts = [(s / 86_400, "d"), (s / 3600 % 24, "h"), (s / 60 % 60, "min"), (s % 60, "s")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

pub(crate) fn record(info: &RecordInfo) -> Value {
    json!({
        "id": info.id.to_string(),
        "user": info.user.as_str(),
        "interaction": info.interaction.to_string(),
        "class": info.class.as_str(),
        "media_type": info.media_type,
        "purpose": info.purpose,
        "length": info.length,
        "created": time(info.created),
        "sources": info.sources,
        "detached": info.detached,
    })
}

pub(crate) fn mode(mode: CopyMode) -> &'static str {
    match mode {
        CopyMode::InStep => "in step",
        CopyMode::Behind => "behind",
    }
}

pub(crate) fn copy(status: &CopyStatus) -> Value {
    let head = |h: keyfall::store::HeadId| json!({"epoch": h.epoch, "commit": h.commit});
    json!({
        "place": status.entry.place,
        "mode": mode(status.entry.mode),
        "head": status.head.map(head),
        "restores": status.restores.map(head),
        "lacks_pages": status.lacks_pages,
        "error": status.error.as_deref().map(fill),
    })
}

/// A table in the terminal's width; without headings, the rows alone.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if headings.iter().any(|h| !h.is_empty()) {
        table.set_header(headings.iter().copied());
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    table.trim_fmt()
}

/// Names and reasons may hold anything: none of it breaks a line, drives a terminal, or turns the order of what is read.
pub(crate) fn printable(text: &str) -> String {
    let acts = |c: char| {
        let turns =
            matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        turns || c.is_control()
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// A progress bar on standard error, where that is a terminal.
pub(crate) fn progress(what: &'static str, total: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    let style = if total.is_some() { "{msg} [{bar:30}] {pos}/{len} {eta}" } else { "{spinner} {msg} {pos}" };
    bar.with_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}

/// So many of something.
pub(crate) fn counted(n: u64, what: &str) -> String {
    match what {
        _ if n == 1 => format!("1 {what}"),
        "copy" => format!("{n} copies"),
        "leaf" => format!("{n} leaves"),
        _ => format!("{n} {what}s"),
    }
}

/// Bytes for a person.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// What protects keys in memory, and what does not.
pub(crate) fn memory(m: &keyfall::secret::Usage) -> String {
    let swap = match m.unlocked {
        0 => "locked in memory".to_owned(),
        n => format!("{} of {} may be swapped out: raise the limit with `ulimit -l`", bytes(n), bytes(m.mapped)),
    };
    let dumps = if m.dumped == 0 { "left out of core dumps" } else { "NOT left out of core dumps" };
    format!("{swap}; {dumps}")
}
