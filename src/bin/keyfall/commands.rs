//! What each command does.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::Promise;
use keyfall::engine::{Audit, Discarded, Request};
use keyfall::quorum::Rule;
use keyfall::store::Store;
use keyfall::{
    Class, Engine, Erase, Error, ErrorKind, InteractionId, Put, Query, Reader, RecordId, Scope, Source, UserId, When,
};
use serde_json::json;

use crate::args::{Args, Command, store_and, store_and_some, store_from_env};
use crate::outfile::{OutFile, Replace};
use crate::output::{self, Failure, block, counted, line, progress, table, value};
use crate::remedy::fill;
use crate::stores::{Making, absolute, cell_of, copy_as_it_is, look, make, open, outside, warn_if_exposed};
use crate::{
    certificate, copies, due, erasing, grants, guarded, holds, import, inbox, keyholders, lineage, log, report, sealed,
};

pub(crate) use crate::outfile::write_whole;

pub(crate) type Done = Result<(), Failure>;

/// Runs one command.
pub(crate) fn run(args: Args) -> Done {
    let cell = args.cell.as_deref();
    let json = args.json;
    match args.command {
        Command::Init { places, accept_remnants, keyholder, threshold, liars, margin, log_origin } => {
            let spread = threshold.map(|threshold| (keyholder, Rule { threshold, liars, margin }));
            init(&one(places)?, cell, Making { accept_remnants, log_origin, spread }, json)
        }
        Command::Create { places, user } => create(&open(&one(places)?, cell)?, &user, json),
        Command::Import { places, actions, ids, skip_missing, strict } => {
            let (store, [dir]) = store_and(places, ["CORPUS"])?;
            let asked = import::Asked { ids, skip_missing, strict, json };
            import::run(&open(&store, cell)?, &dir, actions.as_deref(), asked)
        }
        Command::Put { places, user, class, interaction, media_type, purpose, from } => {
            let (store, [file]) = store_and(places, ["FILE"])?;
            let put = put_of(user, class, interaction, (media_type, purpose), from);
            put_file(&store, cell, put, &file, json)
        }
        Command::Get { places, principal, purpose, output, force } => {
            let (store, [id]) = store_and(places, ["ID"])?;
            let id: RecordId = id.to_string_lossy().parse()?;
            // The file first: what cannot be written should not stand in the user's report as opened.
            let output = output.filter(|place| place != Path::new("-"));
            let out = output
                .map(|place| out_file(&store, cell, &place, force).map(|out| (place, out.private())))
                .transpose()?;
            let reader = match (principal, purpose) {
                // Whoever opens it is written down.
                (Some(principal), Some(purpose)) => open(&store, cell)?.get_as(&id, &principal, &purpose)?,
                _ => look(&store, cell)?.get(&id)?,
            };
            get(reader, &id, out, json)
        }
        Command::Inbox { places, user } => inbox::key(&open(&one(places)?, cell)?, &user, json),
        Command::Seal { file, to, user, class, interaction, media_type, purpose, from, output, force } => {
            let put = put_of(user, class, interaction, (media_type, purpose), from);
            inbox::seal(&put, &file, &to, (&output, Replace::forced(force)), json)
        }
        Command::Accept { places } => {
            let (store, envelopes) = store_and_some(places, "ENVELOPE")?;
            inbox::accept(&open(&store, cell)?, &envelopes, json)
        }
        Command::Lineage { places } => {
            let (store, [id]) = store_and(places, ["ID"])?;
            lineage::show(&look(&store, cell)?, &id.to_string_lossy().parse()?, json)
        }
        Command::Detach { places, reason } => {
            let (store, [id]) = store_and(places, ["ID"])?;
            lineage::detach(&open(&store, cell)?, &id.to_string_lossy().parse()?, &reason, json)
        }
        Command::History { places, user } => lineage::history(&look(&one(places)?, cell)?, &user, json),
        Command::Report { places, user, html, output, force } => {
            let store = one(places)?;
            let output = output.filter(|place| place != Path::new("-"));
            let out = output
                .map(|place| out_file(&store, cell, &place, force).map(|out| (place, out.private())))
                .transpose()?;
            report::show(&look(&store, cell)?, &user, out, (html, json))
        }
        Command::Export { places, user, to, force } => {
            let (store, [dir]) = store_and(places, [if to.is_some() { "SEALED" } else { "DIR" }])?;
            outside(&store, cell, &dir)?;
            if to.is_none() {
                guarded::check_dir(&dir)?;
            }
            let engine = open(&store, cell)?;
            match to {
                Some(to) => report::export_sealed(&engine, &user, &to, (&dir, Replace::forced(force)), json),
                None => report::export(&engine, &user, &dir, json),
            }
        }
        Command::Key { file } => sealed::key(&file, json),
        Command::Ask { key, ticket, output, force, secret } => {
            sealed::ask(&key, &ticket, (&output, Replace::forced(force)), &secret, json)
        }
        Command::Unseal { sealed, dir, key } => sealed::unseal(&key, &sealed, &dir, json),
        Command::Grant(command) => grants::run(command, cell, json),
        Command::Training(command) => grants::training(command, cell, json),
        Command::List { places, user, class, interaction, after, before, newest, limit } => {
            let query = Query::default()
                .user(user)
                .class(class)
                .interaction(interaction)
                .from(after)
                .until(before)
                .newest_first(newest);
            list(&look(&one(places)?, cell)?, query, limit, json)
        }
        Command::Erase {
            places,
            user,
            class,
            interaction,
            after,
            before,
            record,
            keep,
            reason,
            delay,
            final_within,
            output,
            force,
            authority,
            ground,
            yes,
            dry_run,
        } => {
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
                _ => {
                    return Err(Error::new(ErrorKind::Invalid, "name what to erase: --user, or --record").into());
                }
            };
            let reason = reason.unwrap_or_default();
            let mut erase = keep.into_iter().fold(Erase::new(scope), |erase, class| erase.keep(class, &reason));
            if let Some(window) = final_within {
                erase = erase.final_within(window);
            }
            let store = one(places)?;
            if dry_run {
                return erasing::foresee(&look(&store, cell)?, &erase, json);
            }
            match delay {
                Some(delay) => due::plan(&open(&store, cell)?, erase, delay, (yes, json)),
                None => {
                    let output =
                        output.map(|place| erasing::Output { place, force, request: Request { authority, ground } });
                    erasing::run((&store, cell), erase, output, (yes, json))
                }
            }
        }
        Command::Certificate(command) => certificate::run(command, cell, json),
        Command::Keyholder(command) => keyholders::run(command, cell, json),
        Command::Log(command) => log::run(command, cell, json),
        Command::Tend { places, clock_is_right } => due::tend(&one(places)?, cell, (clock_is_right, json)),
        Command::Plan(command) => due::plans(command, cell, json),
        Command::Policy(command) => due::policies(command, cell, json),
        Command::Hold(command) => holds::run(command, cell, json),
        Command::Copy(command) => copies::run(command, cell, json),
        Command::Backup { places } => {
            let (store, [dest]) = store_and(places, ["DEST"])?;
            copies::apart(&store, cell, &dest)?;
            copies::backup(&look(&store, cell)?, &dest, json)
        }
        Command::Restore { into, adopt, copies } => copies::restore_store(&into, cell, (&copies, adopt), json),
        Command::Check { places } => copies::check(places, cell, json),
        Command::Audit { mut places } => {
            let store = if places.is_empty() { store_from_env()? } else { places.remove(0) };
            audit(&store, cell, &places, json)
        }
        Command::Discard { places, certificate } => discard(&one(places)?, cell, &certificate, json),
        Command::Status { places } => {
            let store = one(places)?;
            let engine = look(&store, cell)?;
            warn_if_exposed(&cell_of(&store, cell)?);
            status(&engine, json)
        }
        Command::Demo { keep } => crate::demo::run(keep.as_deref(), json),
        Command::Bench(args) => crate::bench::run(&args, json),
    }
}

pub(crate) fn one(places: Vec<PathBuf>) -> Result<PathBuf, Error> {
    store_and(places, []).map(|(store, [])| store)
}

pub(crate) fn promise_json(promise: &Promise) -> serde_json::Value {
    json!({"kind": promise.kind, "place": promise.place, "level": promise.level.name(), "statement": promise.statement, "remnants": promise.remnants})
}

fn init(store: &Path, cell: Option<&Path>, making: Making, json: bool) -> Done {
    let engine = make(store, cell, making)?;
    let promise = engine.promise();
    if json {
        return value(
            &json!({"store": store.display().to_string(), "id": engine.id().to_string(), "cell": promise_json(&promise)}),
        );
    }
    line(format_args!("store {}", store.display()))?;
    line(format_args!("cell  {}", promise.place))?;
    line(format_args!("      {promise}"))?;
    line(fill(
        "      Lose the cell and all data is lost; copy it, and what is erased later can be brought back from a backup. A backup from before the last erase restores nothing by itself: add a copy in step with `keyfall copy add STORE PLACE`.",
    ))
}

fn create(engine: &Engine, user: &UserId, json: bool) -> Done {
    let there = erasing::lives(engine, user);
    engine.create_user(user)?;
    if json {
        return value(&json!({"user": user.as_str(), "created": !there}));
    }
    line(if there { format!("{user} is there already; nothing was changed") } else { format!("created {user}") })
}

fn put_of(
    user: UserId,
    class: Class,
    interaction: Option<InteractionId>,
    (media_type, purpose): (String, String),
    from: Vec<RecordId>,
) -> Put {
    let mut put = Put::new(user, class).media_type(media_type).purpose(purpose);
    if let Some(id) = interaction {
        put = put.interaction(id);
    }
    from.into_iter().fold(put, |put, id| put.derived_from(Source::Record(id)))
}

fn put_file(store: &Path, cell: Option<&Path>, put: Put, file: &Path, json: bool) -> Done {
    let id = if file == Path::new("-") {
        open(store, cell)?.put(put, io::stdin().lock())?
    } else {
        // The file first: a slip in its name should not cost opening a store.
        let reader = File::open(file).map_err(|e| Error::io(file.display(), e))?;
        let meta = reader.metadata().map_err(|e| Error::io(file.display(), e))?;
        if meta.is_dir() {
            return Err(
                Error::new(ErrorKind::Invalid, format!("{} is a directory; name a file", file.display())).into()
            );
        }
        let engine = open(store, cell)?;
        let bar = progress("bytes", Some(meta.len()));
        let id = engine.put(put, bar.wrap_read(reader))?;
        bar.finish_and_clear();
        id
    };
    if json { value(&json!({"id": id.to_string(), "interaction": id.interaction().to_string()})) } else { line(id) }
}

/// Opens an output file that lies neither in the store nor in its cell.
pub(crate) fn out_file(store: &Path, cell: Option<&Path>, place: &Path, force: bool) -> Result<OutFile, Error> {
    outside(store, cell, place)?;
    OutFile::create(place, Replace::forced(force))
}

fn get(mut reader: Reader, id: &RecordId, output: Option<(PathBuf, OutFile)>, json: bool) -> Done {
    let Some((place, mut file)) = output else {
        let mut out = io::stdout().lock();
        return match reader.write_to(&mut out) {
            Ok(_) => Ok(out.flush()?),
            Err(e) => Err(pipe_or(e)),
        };
    };
    let (silent, length) = (file.is_stdout(), reader.write_to(&mut file).map_err(pipe_or)?);
    file.finish()?;
    if silent {
        return Ok(());
    }
    if json {
        return value(&json!({"id": id.to_string(), "file": place.display().to_string(), "length": length}));
    }
    line(format_args!("{} written to {}", output::bytes(length), place.display()))
}

fn pipe_or(e: Error) -> Failure {
    let closed = std::error::Error::source(&e)
        .and_then(|s| s.downcast_ref::<io::Error>())
        .is_some_and(|s| s.kind() == io::ErrorKind::BrokenPipe);
    if closed { Failure::ClosedPipe } else { Failure::Error(e) }
}

fn list(engine: &Engine, mut query: Query, limit: Option<u64>, json: bool) -> Done {
    let mut left = limit.unwrap_or(u64::MAX);
    let page_of = |left: u64, query: &mut Query| {
        query.limit = usize::try_from(left).unwrap_or(usize::MAX).min(1000);
        if left == 0 { Ok(keyfall::engine::Listing::default()) } else { engine.list(query) }
    };
    // The first page first: of a user that is not here nothing is begun.
    let mut page = page_of(left, &mut query)?;
    let mut out = io::stdout().lock();
    let mut first = true;
    if json {
        write!(out, "[")?;
    }
    loop {
        left -= page.records.len() as u64;
        if json {
            for info in &page.records {
                write!(out, "{}\n  {}", if first { "" } else { "," }, output::record(info))?;
                first = false;
            }
        } else if !page.records.is_empty() {
            let headings =
                if std::mem::take(&mut first) { ["ID", "USER", "CLASS", "TYPE", "LENGTH", "CREATED"] } else { [""; 6] };
            let rows = page.records.iter().map(|r| {
                let length = r.length.to_string();
                vec![
                    r.id.to_string(),
                    r.user.to_string(),
                    r.class.to_string(),
                    r.media_type.clone(),
                    length,
                    output::time(r.created),
                ]
            });
            writeln!(out, "{}", table(&headings, rows))?;
        }
        match page.next {
            Some(next) if left > 0 => {
                query.after = Some(next);
                page = page_of(left, &mut query)?;
            }
            _ => break,
        }
    }
    if json {
        writeln!(out, "{}]", if first { "" } else { "\n" })?;
    }
    out.flush()?;
    Ok(())
}

fn audit(store: &Path, cell: Option<&Path>, more: &[PathBuf], json: bool) -> Done {
    let engine = look(store, cell)?;
    let attached: Vec<PathBuf> = engine
        .copies()
        .status()
        .iter()
        .filter(|c| c.error.is_none() || c.head.is_some())
        .map(|c| PathBuf::from(&c.entry.place))
        .collect();
    let mut places: Vec<Arc<dyn Store>> = Vec::new();
    for place in more {
        if !attached.contains(&absolute(place)?) {
            places.push(Arc::new(copy_as_it_is(place)?));
        }
    }
    let bar = progress("blobs tried", None);
    let audit = engine.audit(&places, &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    if json {
        value(&audit_json(&audit))?;
    } else {
        block(audit_table(&audit))?;
    }
    if !json {
        for stray in audit.places.iter().flat_map(|p| &p.strays) {
            line(format_args!("stray {stray}"))?;
        }
    }
    if audit.is_clean() {
        return if json { Ok(()) } else { line("clean: what opens is the live tree, and nothing else") };
    }
    if !audit.finality.is_final() && audit.places.iter().all(|p| p.damaged == 0) {
        let until = audit.pending.map(|until| format!(" until {}", output::time(until))).unwrap_or_default();
        let awaited = output::awaited(&audit.finality).join("; ");
        let text = format!("not clean yet: the destruction of older root keys is pending{until}: {awaited}");
        return if json { Ok(()) } else { line(text) };
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        "the audit found what should not be: blobs that open outside the live tree (stray), live blobs that do not open (damaged), or more than one root key in the cell",
    )
    .into())
}

pub(crate) fn audit_table(audit: &Audit) -> String {
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
                "strays": p.strays.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"clean": audit.is_clean(), "root_keys": audit.root_keys,
        "final": audit.finality.is_final(), "awaited": output::awaited(&audit.finality),
        "pending_until": audit.pending.map(output::time), "live_blobs": audit.live_blobs, "places": places})
}

fn discard(store: &Path, cell: Option<&Path>, certificates: &[PathBuf], json: bool) -> Done {
    // All that can fail, before: what was discarded cannot be certified as well by discarding once more.
    let prepare = |file: &PathBuf| {
        let certificate = certificate::read(file)?;
        let mut out = out_file(store, cell, file, true)?;
        out.reserve(2 * certificate.to_string().len() as u64 + (64 << 10))?;
        Ok((certificate, out))
    };
    let prepared = certificates.iter().map(prepare).collect::<Result<Vec<_>, Error>>()?;
    let engine = open(store, cell)?;
    for (file, (certificate, _)) in certificates.iter().zip(&prepared) {
        engine.certificates().upgrade(certificate, None).map_err(|e| e.context(file.display()))?;
    }
    let bar = progress("blobs looked at", None);
    let done = engine.discard(&mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    let mut failed = None;
    for (file, (certificate, mut out)) in certificates.iter().zip(prepared) {
        let upgraded = engine.certificates().upgrade(&certificate, Some(done)).and_then(|certificate| {
            let written = out.write_all(certificate.to_string().as_bytes());
            written.map_err(|e| Error::io(file.display(), e))?;
            out.finish()
        });
        if let Err(e) = upgraded {
            failed = Some(e.context(format!("discarded; only {} does not say so", file.display())));
        }
    }
    let told = discarded(&done, json);
    failed.map_or(told, |e| Err(Failure::Late(e)))
}

fn discarded(done: &Discarded, json: bool) -> Done {
    if json {
        return value(&json!({
            "blobs": done.blobs, "bytes_before": done.bytes_before, "bytes_after": done.bytes_after,
            "copies_skipped": done.copies_skipped,
        }));
    }
    let (before, after) = (output::bytes(done.bytes_before), output::bytes(done.bytes_after));
    line(format_args!("discarded {}: {before} before, {after} after", counted(done.blobs, "blob")))?;
    if done.copies_skipped > 0 {
        line(fill(&format!(
            "{} passed over: out of reach, or behind; run `keyfall copy sync STORE` first",
            counted(done.copies_skipped, "copy")
        )))?;
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
            "cell": promise_json(&s.cell), "settled": s.unsettled.is_none(), "unsettled": s.unsettled.as_deref().map(fill),
            "final": s.finality.is_final(), "awaited": output::awaited(&s.finality),
            "pending_until": s.pending.map(output::time), "next_due": s.next_due.map(output::time),
            "next_due_is": s.next_due_is.map(due::words),
            "clock_doubts": s.clock.as_deref().map(fill),
            "copies": s.copies.iter().map(output::copy).collect::<Vec<_>>(),
            "read_only": s.read_only.filter(|_| !engine.ownership().may_own()).map(|why| fill(&why)), "lacks": s.lacks,
            "secret_memory": { "mapped": s.memory.mapped, "unlocked": s.memory.unlocked, "dumped": s.memory.dumped },
        }));
    }
    line(format_args!("store {} ({})", s.place, s.store))?;
    line(format_args!(
        "      {}; {}; {}, {} on disk",
        s.head,
        counted(s.users, "user"),
        counted(s.usage.blobs, "blob"),
        output::bytes(s.usage.bytes)
    ))?;
    line(format_args!("cell  {}", s.cell.place))?;
    line(format_args!("      {}", s.cell))?;
    line(format_args!("keys  {}", output::memory(&s.memory)))?;
    if let Some(why) = s.unsettled {
        line(format_args!("NOT SETTLED: {}", fill(&why)))?;
    }
    if let Some(doubts) = s.clock {
        line(format_args!("CLOCK: {}", fill(&doubts)))?;
    }
    if let Some(until) = s.pending {
        line(format_args!("pending until {}: what was erased since the last epoch began", output::time(until)))?;
    }
    if let Some(due) = s.next_due {
        let what = s.next_due_is.map_or("something", due::words);
        line(format_args!("due   {}: {what}", output::time(due)))?;
    }
    if let Some(why) = s.read_only.filter(|_| !engine.ownership().may_own()) {
        line(format_args!("READ-ONLY: {}", fill(&why)))?;
    }
    if let Some(lacks) = s.lacks {
        line(format_args!("LACKING: {lacks}"))?;
    }
    if s.copies.is_empty() {
        return line("no copies: losing the store loses all data");
    }
    block(copies::shown(&s.copies))?;
    if s.copies.iter().all(|copy| copy.restores.is_none()) {
        return line(fill(
            "NOTHING CAN BE RESTORED NOW: no copy is of the current epoch; run `keyfall copy sync STORE`, or add a copy in step",
        ));
    }
    Ok(())
}
