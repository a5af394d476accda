//! What each command does.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::{FileCell, Promise, Retirement};
use keyfall::engine::{Audit, Backup, CopyMode, When, restore};
use keyfall::env::System;
use keyfall::store::{SledStore, Store};
use keyfall::{Class, Engine, Error, ErrorKind, Options, Put, Query, RecordId, Scope, UserId};
use serde_json::json;

use crate::args::{Args, Command, CopyCommand, store_and, store_from_env};
use crate::corpus;
use crate::output::{self, Failure, line, progress, table, value};

type Done = Result<(), Failure>;

/// A file in the store's directory that remembers where `init --cell` put the cell.
const CELL_PLACE: &str = "cell";
/// Rows of a corpus in one commit.
const ROWS: usize = 32;

/// Runs one command.
pub fn run(args: Args) -> Done {
    let cell = args.cell.as_deref();
    let json = args.json;
    match args.command {
        Command::Init { places, accept_remnants } => init(&one(places)?, cell, accept_remnants, json),
        Command::Create { places, user } => create(&open(&one(places)?, cell)?, &user, json),
        Command::Import { places, actions, ids, skip_missing } => {
            let (store, [dir]) = store_and(places)?;
            import(&store, cell, &dir, actions.as_deref(), (ids, skip_missing, json))
        }
        Command::Put { places, user, class, interaction, media_type, purpose } => {
            let (store, [file]) = store_and(places)?;
            let mut put = Put::new(user, class).media_type(media_type).purpose(purpose);
            if let Some(id) = interaction {
                put = put.interaction(id);
            }
            put_file(&store, cell, put, &file, json)
        }
        Command::Get { places, output } => {
            let (store, [id]) = store_and(places)?;
            let id: RecordId = id.to_string_lossy().parse()?;
            get(&open(&store, cell)?, &id, output.as_deref(), json)
        }
        Command::List { places, user, class, interaction, after, before, newest, limit } => {
            let query = Query { user, class, interaction, from: after, until: before, newest_first: newest, ..Query::default() };
            list(&open(&one(places)?, cell)?, query, limit, json)
        }
        Command::Erase { places, user, class, interaction, after, before, record, yes } => {
            let scope = match (user, record) {
                (Some(user), None) => {
                    let when = match (interaction, after, before) {
                        (Some(id), ..) => When::Interaction(id),
                        (None, None, None) => When::Ever,
                        (None, from, until) => When::Between { from, until },
                    };
                    Scope::User { user, class, when }
                }
                (None, Some(id)) => Scope::Record(id),
                _ => return Err(Error::new(ErrorKind::Invalid, "name what to erase: --user, or --record").into()),
            };
            erase(&open(&one(places)?, cell)?, scope, yes, json)
        }
        Command::Copy(command) => copy(command, cell, json),
        Command::Backup { places } => {
            let (store, [dest]) = store_and(places)?;
            let engine = open(&store, cell)?;
            let dest = SledStore::open_or_create(&dest)?;
            let bar = progress("blobs copied", None);
            let done = engine.backup(&dest, |n| bar.set_position(n))?;
            bar.finish_and_clear();
            told_backup("backup", &dest.place(), done, json)
        }
        Command::Restore { into, copies } => restore_store(&into, cell, &copies, json),
        Command::Audit { mut places } => {
            let store = if places.is_empty() { store_from_env()? } else { places.remove(0) };
            audit(&store, cell, &places, json)
        }
        Command::Discard { places } => discard(&open(&one(places)?, cell)?, json),
        Command::Status { places } => status(&open(&one(places)?, cell)?, json),
        Command::Demo { keep } => crate::demo::run(keep.as_deref(), json),
    }
}

fn one(places: Vec<PathBuf>) -> Result<PathBuf, Error> {
    store_and::<0>(places).map(|(store, [])| store)
}

/// `STORE.cell`, beside the store.
fn default_cell(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    while name.as_encoded_bytes().ends_with(b"/") {
        name = PathBuf::from(name).components().as_path().as_os_str().to_owned();
    }
    name.push(".cell");
    PathBuf::from(name)
}

fn cell_of(store: &Path, named: Option<&Path>) -> PathBuf {
    if let Some(cell) = named {
        return cell.to_owned();
    }
    match std::fs::read_to_string(store.join(CELL_PLACE)) {
        Ok(place) => PathBuf::from(place.trim_end_matches('\n')),
        Err(_) => default_cell(store),
    }
}

/// Opens a store with its cell. The store first: a store that is not there is the likelier slip.
pub fn open(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    let blobs = SledStore::open(store)?;
    let cell = FileCell::open(&cell_of(store, cell), Arc::new(System))?;
    Engine::open(Arc::new(blobs), Arc::new(cell), Options::default())
}

/// Makes a store and a cell that does not lie inside it.
pub fn make(store: &Path, cell: Option<&Path>, accept_remnants: bool) -> Result<Engine, Error> {
    let place = cell.map_or_else(|| default_cell(store), Path::to_owned);
    let (inside, outer) = (absolute(&place)?, absolute(store)?);
    if inside.starts_with(&outer) {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("the cell {} would lie inside the store: who copies the store must not copy the root key", place.display()),
        ));
    }
    let blobs = SledStore::create(store)?;
    let made = FileCell::create(&place, accept_remnants, Arc::new(System));
    let root = match made {
        Ok(root) => root,
        Err(e) => {
            // Nothing was put yet: leave no half a store behind.
            drop(blobs);
            let _ = std::fs::remove_dir_all(store);
            return Err(e);
        }
    };
    if cell.is_some() {
        let text = format!("{}\n", inside.display());
        std::fs::write(store.join(CELL_PLACE), text).map_err(|e| Error::io(store.join(CELL_PLACE).display(), e))?;
    }
    Engine::init(Arc::new(blobs), Arc::new(root), Options::default())
}

/// An absolute path with its links followed as far as it exists.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let whole = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
    let mut there = whole.clone();
    let mut rest = PathBuf::new();
    loop {
        if let Ok(real) = there.canonicalize() {
            return Ok(real.join(rest));
        }
        match (there.file_name().map(ToOwned::to_owned), there.pop()) {
            (Some(name), true) => rest = Path::new(&name).join(rest),
            _ => return Ok(whole),
        }
    }
}

fn promise_json(promise: &Promise) -> serde_json::Value {
    json!({"kind": promise.kind, "place": promise.place, "statement": promise.statement, "remnants": promise.remnants})
}

fn init(store: &Path, cell: Option<&Path>, accept_remnants: bool, json: bool) -> Done {
    let engine = make(store, cell, accept_remnants)?;
    let promise = engine.promise();
    if json {
        return value(&json!({"store": store.display().to_string(), "id": engine.id().to_string(), "cell": promise_json(&promise)}));
    }
    line(format_args!("store {}", store.display()))?;
    line(format_args!("cell  {}", promise.place))?;
    line(format_args!("      {}", promise.statement))?;
    line("      Lose the cell and all data is lost. An old backup alone opens nothing: add a copy in step with `keyfall copy add`.")
}

fn create(engine: &Engine, user: &UserId, json: bool) -> Done {
    engine.create_user(user)?;
    if json { value(&json!({"user": user.as_str()})) } else { line(format_args!("created {user}")) }
}

fn put_file(store: &Path, cell: Option<&Path>, put: Put, file: &Path, json: bool) -> Done {
    let id = if file == Path::new("-") {
        open(store, cell)?.put(put, io::stdin().lock())?
    } else {
        // The file first: a slip in its name should not cost opening a store.
        let reader = File::open(file).map_err(|e| Error::io(file.display(), e))?;
        let meta = reader.metadata().map_err(|e| Error::io(file.display(), e))?;
        if meta.is_dir() {
            return Err(Error::new(ErrorKind::Invalid, format!("{} is a directory; name a file", file.display())).into());
        }
        let engine = open(store, cell)?;
        let bar = progress("bytes", Some(meta.len()));
        let id = engine.put(put, bar.wrap_read(reader))?;
        bar.finish_and_clear();
        id
    };
    if json { value(&json!({"id": id.to_string(), "interaction": id.interaction().to_string()})) } else { line(id) }
}

fn get(engine: &Engine, id: &RecordId, output: Option<&Path>, json: bool) -> Done {
    let Some(place) = output else {
        let mut out = io::stdout().lock();
        return match engine.get_to(id, &mut out) {
            Ok(_) => Ok(out.flush()?),
            Err(e) => Err(pipe_or(e)),
        };
    };
    // Beside its place, then renamed: an error leaves no half a recording under the name asked for.
    let mut part = place.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = (|| {
        let mut file = File::create(&part).map_err(|e| Error::io(part.display(), e))?;
        let n = engine.get_to(id, &mut file)?;
        std::fs::rename(&part, place).map_err(|e| Error::io(place.display(), e))?;
        Ok::<u64, Error>(n)
    })();
    match written {
        Ok(n) if json => value(&json!({"id": id.to_string(), "file": place.display().to_string(), "length": n})),
        Ok(_) => Ok(()),
        Err(e) => {
            let _ = std::fs::remove_file(&part);
            Err(e.into())
        }
    }
}

fn pipe_or(e: Error) -> Failure {
    let closed = std::error::Error::source(&e)
        .and_then(|s| s.downcast_ref::<io::Error>())
        .is_some_and(|s| s.kind() == io::ErrorKind::BrokenPipe);
    if closed { Failure::ClosedPipe } else { Failure::Error(e) }
}

fn list(engine: &Engine, mut query: Query, limit: Option<u64>, json: bool) -> Done {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut out = io::stdout().lock();
    let mut first = true;
    if json {
        write!(out, "[")?;
    }
    loop {
        query.limit = usize::try_from(left).unwrap_or(usize::MAX).min(1000);
        let page = if left == 0 { keyfall::engine::Listing::default() } else { engine.list(&query)? };
        left -= page.records.len() as u64;
        if json {
            for info in &page.records {
                write!(out, "{}\n  {}", if first { "" } else { "," }, output::record(info))?;
                first = false;
            }
        } else if !page.records.is_empty() {
            let headings = if std::mem::take(&mut first) {
                ["ID", "USER", "CLASS", "TYPE", "LENGTH", "CREATED"]
            } else {
                [""; 6]
            };
            let rows = page.records.iter().map(|r| {
                let length = r.length.to_string();
                vec![r.id.to_string(), r.user.to_string(), r.class.to_string(), r.media_type.clone(), length, output::time(r.created)]
            });
            writeln!(out, "{}", table(&headings, rows))?;
        }
        match page.next {
            Some(next) if left > 0 => query.after = Some(next),
            _ => break,
        }
    }
    if json {
        writeln!(out, "{}]", if first { "" } else { "\n" })?;
    }
    out.flush()?;
    Ok(())
}

fn described(scope: &Scope) -> String {
    match scope {
        Scope::Record(id) => format!("record {id}"),
        Scope::User { user, class, when } => {
            let class = class.as_ref().map_or("everything".to_owned(), |c| format!("class {c}"));
            let when = match when {
                When::Ever => String::new(),
                When::Interaction(id) => format!(", interaction {id}"),
                When::Between { from, until } => format!(
                    "{}{}",
                    from.map_or(String::new(), |t| format!(", from {}", output::time(t))),
                    until.map_or(String::new(), |t| format!(", before {}", output::time(t)))
                ),
            };
            format!("{class} of user {user}{when}")
        }
    }
}

fn erase(engine: &Engine, scope: Scope, yes: bool, json: bool) -> Done {
    let what = described(&scope);
    if !yes {
        if !io::stdin().is_terminal() {
            return Err(Error::new(ErrorKind::Invalid, format!("to erase {what} without being asked, add --yes")).into());
        }
        write!(io::stderr(), "Erase {what}, in every copy, for ever? [y/N] ")?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Error::new(ErrorKind::Invalid, "nothing was erased").into());
        }
    }
    let done = engine.erase(scope)?;
    let promise = engine.promise();
    let until = match done.retirement {
        Retirement::Destroyed => None,
        Retirement::Scheduled(until) => Some(output::time(until)),
    };
    if json {
        return value(&json!({
            "erased": what, "records": done.records, "already": done.already, "epoch": done.epoch,
            "completed": output::time(done.completed), "root_key": until.as_ref().map_or("destroyed", |_| "scheduled"),
            "scheduled_until": until, "cell": promise_json(&promise),
        }));
    }
    if done.already {
        return line(format_args!("{what} had been erased already; the store is at epoch {}", done.epoch));
    }
    let records = done.records.map_or("an unknown number of records (damaged pages)".to_owned(), |n| format!("{n} records"));
    line(format_args!("erased {what}: {records}; epoch {}", done.epoch))?;
    match until {
        None => line(format_args!("root key of epoch {} destroyed: {}", done.epoch - 1, promise.statement)),
        Some(until) => line(format_args!("root key of epoch {} pending until {until}: {}", done.epoch - 1, promise.statement)),
    }
}

fn copy(command: CopyCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        CopyCommand::Add { places, behind } => {
            let (store, [place]) = store_and(places)?;
            let engine = open(&store, cell)?;
            let mode = if behind { CopyMode::Behind } else { CopyMode::InStep };
            let bar = progress("blobs copied", None);
            let entry = engine.copy_add(&text(&place)?, mode, |n| bar.set_position(n))?;
            bar.finish_and_clear();
            if json {
                value(&json!({"place": entry.place, "mode": output::mode(mode)}))
            } else {
                line(format_args!("copy {} is {}", entry.place, output::mode(mode)))
            }
        }
        CopyCommand::Sync { places } => {
            let engine = open(&one(places)?, cell)?;
            let bar = progress("blobs copied", None);
            let synced = engine.copy_sync(None, |n| bar.set_position(n))?;
            bar.finish_and_clear();
            if json {
                let all: Vec<_> = synced.iter().map(|(c, b)| backup_json(&c.place, *b)).collect();
                return value(&all.into());
            }
            for (entry, done) in synced {
                told_backup("copy", &entry.place, done, false)?;
            }
            Ok(())
        }
        CopyCommand::Status { places } => {
            let copies = open(&one(places)?, cell)?.copy_status();
            if json {
                return value(&copies.iter().map(output::copy).collect::<Vec<_>>().into());
            }
            line(copies_table(&copies))
        }
        CopyCommand::Remove { places } => {
            let (store, [place]) = store_and(places)?;
            let place = text(&place)?;
            open(&store, cell)?.copy_remove(&place)?;
            if json { value(&json!({"removed": place})) } else { line(format_args!("{place} is no copy any more; its bytes stay where they are")) }
        }
    }
}

/// A copy's place as the store remembers it.
fn text(place: &Path) -> Result<String, Error> {
    let place = absolute(place)?;
    place.into_os_string().into_string().map_err(|_| Error::new(ErrorKind::Invalid, "a copy's place must be UTF-8"))
}

fn copies_table(copies: &[keyfall::engine::CopyStatus]) -> String {
    let head = |h: Option<keyfall::store::HeadId>| h.map_or("nothing".to_owned(), |h| h.to_string());
    let rows = copies.iter().map(|c| {
        let lacks = match (&c.error, c.lacks_pages) {
            (Some(e), _) => e.clone(),
            (None, Some(n)) => format!("{n} pages"),
            (None, None) => "unknown".into(),
        };
        vec![c.entry.place.clone(), output::mode(c.entry.mode).into(), head(c.head), head(c.restores), lacks]
    });
    table(&["COPY", "MODE", "HOLDS", "RESTORES", "LACKS"], rows)
}

fn backup_json(place: &str, done: Backup) -> serde_json::Value {
    json!({
        "place": place, "blobs": done.blobs, "bytes": done.bytes,
        "head": done.head.map(|h| json!({"epoch": h.epoch, "commit": h.commit})),
    })
}

fn told_backup(what: &str, place: &str, done: Backup, json: bool) -> Done {
    if json {
        return value(&backup_json(place, done));
    }
    let head = done.head.map_or("nothing".to_owned(), |h| h.to_string());
    line(format_args!("{what} {place}: {head}, {} blobs copied ({})", done.blobs, output::bytes(done.bytes)))
}

fn restore_store(into: &Path, cell: Option<&Path>, copies: &[PathBuf], json: bool) -> Done {
    let Some(cell_place) = cell else {
        return Err(Error::new(ErrorKind::Invalid, "name the cell with --cell: without it no copy opens").into());
    };
    let cell = FileCell::open(cell_place, Arc::new(System))?;
    let sources = copies.iter().map(|c| Ok(Arc::new(SledStore::open(c)?) as Arc<dyn Store>));
    let sources = sources.collect::<Result<Vec<_>, Error>>()?;
    let target = SledStore::create(into)?;
    let bar = progress("blobs restored", None);
    let restored = restore(&cell, &sources, &target, |n| bar.set_position(n));
    bar.finish_and_clear();
    let done = restored.inspect_err(|_| {
        // A store without a head would only be in the way of the next try.
        let _ = std::fs::remove_dir_all(into);
    })?;
    if *cell_place != default_cell(into) {
        let text = format!("{}\n", absolute(cell_place)?.display());
        std::fs::write(into.join(CELL_PLACE), text).map_err(|e| Error::io(into.display(), e))?;
    }
    if json {
        return value(&json!({
            "store": into.display().to_string(), "from": done.from, "blobs": done.blobs, "bytes": done.bytes,
            "head": {"epoch": done.head.epoch, "commit": done.head.commit},
        }));
    }
    line(format_args!("restored {} from {}: {} blobs ({})", done.head, done.from, done.blobs, output::bytes(done.bytes)))
}

fn audit(store: &Path, cell: Option<&Path>, more: &[PathBuf], json: bool) -> Done {
    let engine = open(store, cell)?;
    let attached: Vec<PathBuf> = engine.copy_status().iter().filter(|c| c.error.is_none()).map(|c| PathBuf::from(&c.entry.place)).collect();
    let mut places: Vec<Arc<dyn Store>> = Vec::new();
    for place in more {
        if !attached.contains(&absolute(place)?) {
            places.push(Arc::new(SledStore::open(place)?));
        }
    }
    let bar = progress("blobs tried", None);
    let audit = engine.audit(&places, &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    if json {
        value(&audit_json(&audit))?;
    } else {
        line(audit_table(&audit))?;
    }
    if audit.is_clean() {
        return if json { Ok(()) } else { line("clean: what opens is the live tree, and nothing else") };
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        "the audit found what should not be: blobs that open outside the live tree (stray), live blobs that do not open (damaged), or more than one root key in the cell",
    )
    .into())
}

pub fn audit_table(audit: &Audit) -> String {
    let rows = audit.places.iter().map(|p| {
        let head = p.head.map_or("none".to_owned(), |h| h.to_string());
        let opens = if p.head_opens { "opens" } else { "shut" };
        let n = [p.blobs, p.live, p.superseded, p.shut, p.stray, p.damaged].map(|n| n.to_string());
        [vec![p.place.clone(), head, opens.into()], n.to_vec()].concat()
    });
    table(&["PLACE", "HEAD", "HEAD IS", "BLOBS", "LIVE", "SUPERSEDED", "SHUT", "STRAY", "DAMAGED"], rows)
}

fn audit_json(audit: &Audit) -> serde_json::Value {
    let places: Vec<_> = audit
        .places
        .iter()
        .map(|p| {
            json!({
                "place": p.place, "head": p.head.map(|h| json!({"epoch": h.epoch, "commit": h.commit})),
                "head_opens": p.head_opens, "blobs": p.blobs, "live": p.live, "superseded": p.superseded,
                "shut": p.shut, "stray": p.stray, "damaged": p.damaged,
            })
        })
        .collect();
    json!({"clean": audit.is_clean(), "root_keys": audit.root_keys, "live_blobs": audit.live_blobs, "places": places})
}

fn discard(engine: &Engine, json: bool) -> Done {
    let bar = progress("blobs looked at", None);
    let done = engine.discard(&mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    if json {
        return value(&json!({
            "blobs": done.blobs, "bytes_before": done.bytes_before, "bytes_after": done.bytes_after,
            "copies_skipped": done.copies_skipped,
        }));
    }
    let (before, after) = (output::bytes(done.bytes_before), output::bytes(done.bytes_after));
    line(format_args!("discarded {} blobs: {before} before, {after} after", done.blobs))?;
    if done.copies_skipped > 0 {
        line(format_args!("{} copies passed over: out of reach, or behind; run `keyfall copy sync` first", done.copies_skipped))?;
    }
    Ok(())
}

fn status(engine: &Engine, json: bool) -> Done {
    let s = engine.status()?;
    if json {
        return value(&json!({
            "store": s.store.to_string(), "place": s.place, "epoch": s.head.epoch, "commit": s.head.commit,
            "users": s.users, "blobs": s.usage.blobs, "bytes": s.usage.bytes,
            "page_bytes": s.geometry.page_bytes, "fan_out": 1u32 << s.geometry.fan_bits,
            "cell": promise_json(&s.cell), "settled": s.unsettled.is_none(), "unsettled": s.unsettled,
            "copies": s.copies.iter().map(output::copy).collect::<Vec<_>>(),
        }));
    }
    line(format_args!("store {} ({})", s.place, s.store))?;
    line(format_args!("      {}; {} users; {} blobs, {} on disk", s.head, s.users, s.usage.blobs, output::bytes(s.usage.bytes)))?;
    line(format_args!("cell  {}", s.cell.place))?;
    line(format_args!("      {}", s.cell.statement))?;
    if let Some(why) = s.unsettled {
        line(format_args!("NOT SETTLED: {why}"))?;
    }
    if s.copies.is_empty() {
        return line("no copies: losing the store loses all data");
    }
    line(copies_table(&s.copies))
}

/// What is counted while importing.
#[derive(Default)]
struct Imported {
    users: std::collections::HashSet<String>,
    recordings: u64,
    transcripts: u64,
    actions: u64,
    bytes: u64,
}

fn import(store: &Path, cell: Option<&Path>, dir: &Path, actions: Option<&Path>, (ids, skip, json): (bool, bool, bool)) -> Done {
    let corpus = corpus::read(dir, actions)?;
    if let Some(first) = corpus.missing.first().filter(|_| !skip) {
        let rest = corpus.missing.len() - 1;
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("{first} is not there (and {rest} more); nothing was imported; --skip-missing passes over such rows"),
        )
        .into());
    }
    let engine = open(store, cell)?;
    let bar = progress("recordings", Some(corpus.clips.len() as u64));
    let mut done = Imported::default();
    for rows in corpus.clips.chunks(ROWS) {
        let mut batch = engine.batch();
        let mut names = Vec::new();
        for clip in rows {
            let user = UserId::new(clip.client.clone())?;
            let interaction = engine.new_interaction()?;
            let put = |class: Class| Put::new(user.clone(), class).interaction(interaction);
            let file = File::open(&clip.path).map_err(|e| Error::io(clip.path.display(), e))?;
            done.bytes += file.metadata().map_err(|e| Error::io(clip.path.display(), e))?.len();
            batch.add(put(Class::audio()).media_type(corpus::media_type(&clip.path)), BufReader::new(file))?;
            batch.add(put(Class::transcript()).media_type("text/plain; charset=utf-8"), clip.sentence.as_bytes())?;
            names.extend([(clip, "audio"), (clip, "transcript")]);
            for action in &clip.actions {
                batch.add(put(Class::action()).media_type("application/json"), action.as_bytes())?;
                names.push((clip, "action"));
            }
            done.recordings += 1;
            done.transcripts += 1;
            done.actions += clip.actions.len() as u64;
            done.users.insert(clip.client.clone());
        }
        let put = batch.commit()?;
        if ids {
            let mut out = io::stdout().lock();
            for (id, (clip, class)) in put.iter().zip(names) {
                if json {
                    writeln!(out, "{}", json!({"id": id.to_string(), "user": clip.client, "class": class, "clip": clip.name}))?;
                } else {
                    writeln!(out, "{id}\t{}\t{class}\t{}", clip.client, clip.name)?;
                }
            }
            out.flush()?;
        }
        bar.inc(rows.len() as u64);
    }
    bar.finish_and_clear();
    if corpus.unmatched > 0 {
        writeln!(io::stderr(), "keyfall: {} actions name a clip that no row has; they were passed over", corpus.unmatched)?;
    }
    if json {
        return value(&json!({
            "users": done.users.len(), "recordings": done.recordings, "transcripts": done.transcripts,
            "actions": done.actions, "bytes": done.bytes, "skipped": corpus.missing.len(), "unmatched_actions": corpus.unmatched,
        }));
    }
    line(format_args!(
        "imported {} recordings ({}), {} transcripts and {} actions of {} users",
        done.recordings,
        output::bytes(done.bytes),
        done.transcripts,
        done.actions,
        done.users.len()
    ))
}
