//! `keyfall report` and `keyfall export`: what is kept about a user, for people, for programs, and to take away.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use keyfall::RecordInfo;
use keyfall::engine::{Access, Erased, Lineage, Plan, Report};
use keyfall::env::System;
use keyfall::sealed::{Guarded, Packing};
use keyfall::{Engine, Error, ErrorKind, Query, Reader, RecordId, UserId};
use maud::{DOCTYPE, Markup, html};
use serde_json::{Value, json};

use crate::commands::{Done, promise_json};
use crate::copies;
use crate::erasing::described;
use crate::grants::public_key;
use crate::outfile::{OutFile, Replace, private_dir, write_private, write_to};
use crate::output::{self, block, counted, line, progress, table, told, value};

/// A record, and where it comes from.
struct Row {
    info: RecordInfo,
    lineage: Lineage,
    opened: Vec<Access>,
}

fn rows(engine: &Engine, user: &UserId) -> Result<Vec<Row>, Error> {
    let mut query = Query { user: Some(user.clone()), ..Query::default() };
    let mut rows = Vec::new();
    loop {
        let page = engine.list(&query)?;
        for info in page.records {
            let (lineage, opened) = (engine.lineage(&info.id)?, engine.accesses(&info.id)?);
            rows.push(Row { info, lineage, opened });
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(rows),
        }
    }
}

fn erased(part: &Erased) -> (String, u64) {
    match part {
        Erased::Span { class, from, until, epoch } => {
            let class = match class {
                None => "everything".to_owned(),
                Some(Some(class)) => format!("class {class}"),
                Some(None) => "a class that holds nothing now".to_owned(),
            };
            (format!("{class} from {} to {}", output::time(*from), output::time(*until)), *epoch)
        }
        Erased::Single { number, epoch } => (format!("{number} single interactions or records"), *epoch),
        _ => (format!("{part:?}"), 0),
    }
}

fn as_json(report: &Report, rows: &[Row]) -> Value {
    let records: Vec<Value> = rows
        .iter()
        .map(|row| {
            let ids = |ids: &[keyfall::RecordId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
            let mut record = output::record(&row.info);
            record["derived_from"] = json!(ids(&row.lineage.sources));
            record["source_of"] = json!(ids(&row.lineage.derived));
            let opened =
                row.opened.iter().map(|a| json!({"by": a.principal, "purpose": a.purpose, "at": output::time(a.at)}));
            record["until"] = json!(report.until(&row.info).map(output::time));
            record["opened"] = json!(opened.collect::<Vec<_>>());
            record
        })
        .collect();
    let history = report.history.iter().map(|(at, fact)| {
        let mut told = output::fact(fact);
        told["at"] = json!(output::time(*at));
        told
    });
    let classes = report.classes.iter().map(|(class, n)| (class.to_string(), json!(n)));
    let gone = report.erased.iter().map(erased).map(|(what, epoch)| json!({"what": what, "epoch": epoch}));
    json!({
        "user": report.user.as_str(), "created": output::time(report.created), "life": report.life,
        "classes": classes.collect::<serde_json::Map<_, _>>(), "records": records,
        "history": history.collect::<Vec<_>>(),
        "holds": report.holds.iter().map(|(id, hold)| output::hold(*id, hold)).collect::<Vec<_>>(),
        "needed_by_held_records": report.needed,
        "plans": report.plans.iter().map(output::plan).collect::<Vec<_>>(),
        "policies": report.policies.iter().map(output::policy).collect::<Vec<_>>(),
        "store_policies": report.store_policies.iter().map(output::policy).collect::<Vec<_>>(),
        "next_due": report.next_due.map(output::time), "pending_until": report.pending.map(output::time), "awaited": output::awaited(&report.finality),
        "grants": report.grants.iter().map(|(id, grant)| output::grant(*id, grant)).collect::<Vec<_>>(),
        "training_sets": report.sets.iter().map(|(name, n)| json!({"name": name, "records": n})).collect::<Vec<_>>(),
        "inbox_keys_made": report.inbox_keys.iter().map(|at| output::time(*at)).collect::<Vec<_>>(),
        "envelopes_accepted": report.accepted, "erased": gone.collect::<Vec<_>>(),
        "head": {"epoch": report.head.epoch, "commit": report.head.commit},
        "copies": report.copies.iter().map(output::copy).collect::<Vec<_>>(), "cell": promise_json(&report.cell),
    })
}

fn opened(access: &Access) -> String {
    format!("{}, by {}, for {}", output::time(access.at), access.principal, access.purpose)
}

fn needed(records: u64) -> String {
    format!("{} cannot be erased: records derived from them are held", counted(records, "record"))
}

/// Who may open records, and in which sets they are.
fn shared(report: &Report) -> Vec<String> {
    let grants = report.grants.iter().map(|(id, grant)| output::granted(*id, grant));
    grants
        .chain(report.sets.iter().map(|(name, n)| format!("{} in training set {name}", counted(*n, "record"))))
        .collect()
}

/// What falls by itself, and when.
fn until(report: &Report) -> Vec<String> {
    let planned = |plan: &Plan| {
        let held = if plan.held { ", held now" } else { "" };
        format!("erase of {} planned for {}{held}", described(&plan.erase), output::time(plan.due))
    };
    let mut all: Vec<String> = report.plans.iter().map(planned).collect();
    all.extend(report.policies.iter().map(output::limits));
    all.extend(report.store_policies.iter().map(|policy| format!("for everybody: {}", output::limits(policy))));
    all.extend(report.next_due.map(|due| format!("next due {}", output::time(due))));
    all.extend(output::pending(&report.finality));
    all
}

/// Whether records may lie elsewhere, sealed to an inbox key that lives.
fn inbox(report: &Report) -> Option<String> {
    let made = report.inbox_keys.first()?;
    Some(format!(
        "envelopes sealed since {} can be opened; {} were accepted, and copies of them may lie where they came from",
        output::time(*made),
        report.accepted
    ))
}

fn origin(row: &Row) -> String {
    let from = match row.lineage.sources.len() {
        0 if row.lineage.detached => "detached".to_owned(),
        0 => String::new(),
        n => format!("derived from {n}"),
    };
    let to = row.lineage.derived.len();
    if to == 0 { from } else { format!("{from}{}source of {to}", if from.is_empty() { "" } else { ", " }) }
}

fn page(report: &Report, rows: &[Row]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "What is kept about " (report.user) }
                style {
                    "body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
                    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3em .8em .3em 0;"
                    "border-bottom:1px solid #ccc;vertical-align:top}td{overflow-wrap:anywhere}code{font-size:.8em}"
                }
            }
            body {
                h1 { "What is kept about " (report.user) }
                p { "Since " (output::time(report.created)) ". State: " (report.head) "." }
                h2 { "Records" }
                @if rows.is_empty() { p { "None." } } @else {
                    table {
                        tr { th { "Class" } th { "Kind" } th { "Bytes" } th { "Made" } th { "Until" } th { "Why" } th { "Origin" } th { "Id" } }
                        @for row in rows {
                            tr {
                                td { (row.info.class) } td { (row.info.media_type) } td { (row.info.length) }
                                td { (output::time(row.info.created)) }
                                td { (report.until(&row.info).map(output::time).unwrap_or_default()) }
                                td { (row.info.purpose) } td { (origin(row)) }
                                td { code { (row.info.id) } }
                            }
                        }
                    }
                }
                h2 { "Who opened what" }
                p { "As far as the application said who opened it." }
                ul { @for row in rows { @for access in &row.opened {
                    li { (opened(access)) " (" (row.info.class) " " code { (row.info.id) } ")" }
                } } }
                h2 { "Holds" }
                @if report.holds.is_empty() { p { "None." } } @else {
                    ul { @for (id, hold) in &report.holds {
                        li { (output::covered(hold)) ": " (hold.reason) ", by " (hold.authority) ", since "
                             (output::time(hold.since)) " (" (output::hold_id(*id)) ")" }
                    } }
                }
                @if report.needed > 0 { p { (needed(report.needed)) } }
                h2 { "Who may open what" }
                @if shared(report).is_empty() { p { "No third party." } } @else {
                    ul { @for grant in shared(report) { li { (grant) } } }
                }
                h2 { "Until when" }
                @if until(report).is_empty() { p { "No limit is set." } } @else {
                    ul { @for limit in until(report) { li { (limit) } } }
                }
                h2 { "What was done" }
                @if report.history.is_empty() { p { "Nothing beyond putting and erasing." } } @else {
                    ul { @for (at, fact) in &report.history {
                        @let (what, reason) = told(fact);
                        li { (output::time(*at)) ": " (what) @if !reason.is_empty() { ". Reason: " (reason) } }
                    } }
                }
                h2 { "What was erased" }
                @if report.erased.is_empty() { p { "Nothing that is still known of." } } @else {
                    ul { @for part in &report.erased { li { (erased(part).0) " (epoch " (erased(part).1) ")" } } }
                }
                h2 { "Where the copies are" }
                @if report.copies.is_empty() { p { "There is no copy that the store knows of." } } @else {
                    ul { @for copy in &report.copies {
                        li { (copy.entry.place) ", " (output::mode(copy.entry.mode)) }
                    } }
                }
                @if let Some(inbox) = inbox(report) { p { (inbox) } }
                p { "Keys: " (report.cell) "." }
            }
        }
    }
}

/// Prints the report, or writes it to a file: text, JSON or a page.
pub(crate) fn show(
    engine: &Engine,
    user: &UserId,
    out: Option<(PathBuf, OutFile)>,
    (as_page, json): (bool, bool),
) -> Done {
    let report = engine.report(user)?;
    let rows = rows(engine, user)?;
    let Some((place, mut out)) = out else {
        return write(&report, &rows, (as_page, json), &mut |text| block(text));
    };
    write(&report, &rows, (as_page, json), &mut |text| Ok(writeln!(out, "{text}")?))?;
    let silent = out.is_stdout();
    out.finish()?;
    if silent {
        return Ok(());
    }
    if json {
        return value(&json!({"user": user.as_str(), "file": place.display().to_string(), "records": rows.len()}));
    }
    line(format_args!("report of {user} in {}: {}", place.display(), counted(rows.len() as u64, "record")))
}

/// Writes a line that may hold what others wrote.
fn say(out: &mut dyn FnMut(String) -> Done, text: String) -> Done {
    out(output::printable(&text))
}

fn write(report: &Report, rows: &[Row], (as_page, json): (bool, bool), out: &mut dyn FnMut(String) -> Done) -> Done {
    if as_page {
        return out(page(report, rows).into_string());
    }
    if json {
        return out(format!("{:#}", output::with_due(as_json(report, rows))));
    }
    let records: u64 = report.classes.iter().map(|(_, n)| n).sum();
    let records = counted(records, "record");
    say(out, format!("{}, since {}: {records}", report.user, output::time(report.created)))?;
    if !rows.is_empty() {
        let cells = rows.iter().map(|row| {
            let info = &row.info;
            let made = output::time(info.created);
            let until = report.until(info).map(output::time).unwrap_or_default();
            let (class, kind) = (info.class.to_string(), info.media_type.clone());
            vec![
                info.id.to_string(),
                class,
                kind,
                info.length.to_string(),
                made,
                until,
                info.purpose.clone(),
                origin(row),
            ]
        });
        out(table(&["ID", "CLASS", "TYPE", "LENGTH", "CREATED", "UNTIL", "WHY", "ORIGIN"], cells))?;
    }
    for row in rows {
        for access in &row.opened {
            say(out, format!("opened: {} ({})", opened(access), row.info.id))?;
        }
    }
    for (id, hold) in &report.holds {
        let (on, id) = (output::covered(hold), output::hold_id(*id));
        say(
            out,
            format!("held: {on}, {}, by {}, since {} ({id})", hold.reason, hold.authority, output::time(hold.since)),
        )?;
    }
    if report.needed > 0 {
        say(out, needed(report.needed))?;
    }
    for grant in shared(report) {
        say(out, format!("granted: {grant}"))?;
    }
    for limit in until(report) {
        say(out, limit)?;
    }
    for (at, fact) in &report.history {
        let (what, reason) = told(fact);
        say(out, format!("{}: {what}{}{reason}", output::time(*at), if reason.is_empty() { "" } else { ": " }))?;
    }
    for part in &report.erased {
        let (what, epoch) = erased(part);
        say(out, format!("erased: {what} (epoch {epoch})"))?;
    }
    if let Some(inbox) = inbox(report) {
        say(out, inbox)?;
    }
    if report.copies.is_empty() {
        return say(out, "no copies".to_owned());
    }
    out(copies::shown(&report.copies))
}

pub(crate) fn extension(media_type: &str) -> &'static str {
    match media_type.split(';').next().unwrap_or_default().trim() {
        "audio/wav" | "audio/x-wav" | "audio/vnd.wave" => "wav",
        "audio/mpeg" => "mp3",
        "audio/flac" => "flac",
        "audio/ogg" => "ogg",
        "text/plain" => "txt",
        "application/json" => "json",
        _ => "bin",
    }
}

/// Writes everything kept about a user as files: the records as they were put, the report for programs and for people.
pub(crate) fn export(engine: &Engine, user: &UserId, dir: &Path, json: bool) -> Done {
    let io = |e: io::Error| Error::io(dir.display(), e);
    let report = engine.report(user)?;
    private_dir(&dir.join("records"))?;
    let mut there = std::fs::read_dir(dir).map_err(io)?.chain(std::fs::read_dir(dir.join("records")).map_err(io)?);
    if let Some(entry) = there.find_map(|entry| entry.ok().filter(|e| e.file_name() != "records")) {
        let text = format!(
            "{} is not empty: {} is there, maybe from an export that was cut short; name an empty directory",
            dir.display(),
            entry.path().display()
        );
        return Err(Error::new(ErrorKind::Exists, text).into());
    }
    let rows = rows(engine, user)?;
    let mut made = Vec::new();
    let written = export_files(engine, (&report, &rows), dir, &mut made);
    let bytes = written.inspect_err(|_| {
        // The next try wants it empty; what else lies there meanwhile is somebody's own.
        made.iter().for_each(|file| drop(std::fs::remove_file(file)));
        let _ = std::fs::remove_dir(dir.join("records"));
    })?;
    if json {
        return value(
            &json!({"user": user.as_str(), "records": rows.len(), "bytes": bytes, "directory": dir.display().to_string()}),
        );
    }
    let records = counted(rows.len() as u64, "record");
    line(format_args!("{records} ({}) and a report in {}", output::bytes(bytes), dir.display()))
}

fn export_files(
    engine: &Engine,
    (report, rows): (&Report, &[Row]),
    dir: &Path,
    made: &mut Vec<PathBuf>,
) -> Result<u64, Error> {
    let bar = progress("records", Some(rows.len() as u64));
    let mut bytes = 0;
    for row in rows {
        let place = dir.join("records").join(format!("{}.{}", row.info.id, extension(&row.info.media_type)));
        bytes +=
            write_private(&place, Replace::Ordinary, |file| opened_for_export(engine, &row.info.id)?.write_to(file))?;
        made.push(place);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let pages =
        [("report.json", format!("{:#}\n", as_json(report, rows))), ("report.html", page(report, rows).into_string())];
    for (name, text) in pages {
        let place = dir.join(name);
        write_private(&place, Replace::Ordinary, |file| {
            file.write_all(text.as_bytes()).map_err(|e| Error::io(place.display(), e))
        })?;
        made.push(place);
    }
    Ok(bytes)
}

/// A policy may want to know who reads: the user does.
fn opened_for_export(engine: &Engine, id: &RecordId) -> Result<Reader, Error> {
    match engine.get(id) {
        Err(e) if e.kind() == ErrorKind::Refused => engine.get_as(id, "export", "the right to data portability"),
        reader => reader,
    }
}

/// The same as one file, sealed to a public key of the user's.
pub(crate) fn export_sealed(
    engine: &Engine,
    user: &UserId,
    to: &Path,
    (place, replace): (&Path, Replace),
    json: bool,
) -> Done {
    let to = public_key(to)?;
    let report = engine.report(user)?;
    let rows = rows(engine, user)?;
    let bar = progress("records", Some(rows.len() as u64));
    let bytes = write_to(place, replace, |out| {
        let mut parcel = Packing::new(&System, &to, io::BufWriter::new(out))?;
        let mut bytes = 0;
        for row in &rows {
            bytes += parcel.record(&row.info, opened_for_export(engine, &row.info.id)?)?.unwrap_or(0);
            bar.inc(1);
        }
        let (json, html) = (format!("{:#}\n", as_json(&report, &rows)), page(&report, &rows).into_string());
        parcel.file("report.json", Guarded::new(json.as_bytes(), report.live()))?;
        parcel.file("report.html", Guarded::new(html.as_bytes(), report.live()))?;
        parcel.finish().map(|_| bytes)
    })?;
    bar.finish_and_clear();
    let place = place.display();
    if json {
        return value(
            &json!({"user": user.as_str(), "records": rows.len(), "bytes": bytes, "sealed": place.to_string()}),
        );
    }
    let records = counted(rows.len() as u64, "record");
    line(format_args!("{records} ({}) and a report, sealed, in {place}", output::bytes(bytes)))
}
