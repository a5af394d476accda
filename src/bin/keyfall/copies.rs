//! `keyfall copy`, backups and restores.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::engine::{Backup, CopyEntry, CopyMode, Restored, restore};
use keyfall::store::{HeadId, SledStore, Store};
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::args::{CopyCommand, store_and};
use crate::commands::{Done, one};
use crate::guarded;
use crate::output::{self, block, counted, line, progress, table, value};
use crate::remedy::fill;
use crate::stores::{
    self, Adopted, absolute, adopt, cell_of, copy_as_it_is, look, look_root, no_take_over, open, open_giving_up,
    take_away, to_build, warn_of_lacking,
};

/// Runs `copy add`, `sync`, `status` or `remove`.
pub(crate) fn run(command: CopyCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        CopyCommand::Add { places, behind } => {
            let (store, [place]) = store_and(places, ["PLACE"])?;
            apart(&store, cell, &place)?;
            let engine = open(&store, cell)?;
            let mode = if behind { CopyMode::Behind } else { CopyMode::InStep };
            let bar = progress("blobs copied", None);
            let entry = engine.copies().add(&text(&place)?, mode, &mut |n| bar.set_position(n))?;
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
            let synced = engine.copies().sync(None, &mut |n| bar.set_position(n))?;
            bar.finish_and_clear();
            if json {
                let all: Vec<_> = synced.iter().map(|(c, b)| backup_json(&c.place, *b)).collect();
                return value(&all.into());
            }
            for (entry, done) in synced {
                told("copy", &entry.place, done, false)?;
            }
            Ok(())
        }
        CopyCommand::Status { places } => {
            let copies = look(&one(places)?, cell)?.copies().status();
            if json {
                return value(&copies.iter().map(output::copy).collect::<Vec<_>>().into());
            }
            block(shown(&copies))
        }
        CopyCommand::Remove { places } => {
            let (store, [place]) = store_and(places, ["PLACE"])?;
            let place = text(&place)?;
            let engine = open_giving_up(&store, cell, &place)?;
            // Of one that is out of reach nobody can say.
            let owner = engine.read_only().is_none();
            let ahead = owner.then(|| engine.copies().ahead(&place).ok().flatten()).flatten();
            engine.copies().remove(&place)?;
            if let Some(ahead) = ahead {
                output::note(&format!(
                    "{place} holds {ahead}, and the store went on from less: what it lacks of that is lost, unless it is restored from there"
                ));
            }
            if json {
                value(&json!({"removed": place}))
            } else {
                line(format_args!("{place} is no copy any more; its bytes stay where they are"))
            }
        }
    }
}

/// Refuses a copy that lies inside the store or its cell, or around one of them: whatever takes the one takes the other. Nor does one lie
/// inside another store or cell.
pub(crate) fn apart(store: &Path, cell: Option<&Path>, place: &Path) -> Result<(), Error> {
    let cell = cell_of(store, cell)?;
    stores::apart(&[("the copy", place), ("the store", store)])?;
    stores::apart(&[("the copy", place), ("the cell", &cell)])?;
    guarded::check_place(place)
}

/// A copy's place as the store remembers it.
fn text(place: &Path) -> Result<String, Error> {
    let place = absolute(place)?;
    place.into_os_string().into_string().map_err(|_| Error::new(ErrorKind::Invalid, "a copy's place must be UTF-8"))
}

/// How copies stand, as a table.
pub(crate) fn shown(copies: &[keyfall::engine::CopyStatus]) -> String {
    let head = |h: Option<keyfall::store::HeadId>| h.map_or("nothing".to_owned(), |h| h.to_string());
    let rows = copies.iter().map(|c| {
        let lacks = match (&c.error, c.lacks_pages) {
            (Some(e), _) => fill(e),
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

/// What a backup or a sync did.
pub(crate) fn told(what: &str, place: &str, done: Backup, json: bool) -> Done {
    if json {
        return value(&backup_json(place, done));
    }
    let head = done.head.map_or("nothing".to_owned(), |h| h.to_string());
    let blobs = counted(done.blobs, "blob");
    line(format_args!("{what} {place}: {head}, {blobs} copied ({})", output::bytes(done.bytes)))
}

/// The copy that the store knows of at a place.
fn registered(engine: &Engine, place: &Path) -> Result<Option<CopyEntry>, Error> {
    let place = absolute(place)?;
    let is_there = |copy: &CopyEntry| absolute(Path::new(&copy.place)).is_ok_and(|there| there == place);
    Ok(engine.copies().list().into_iter().find(is_there))
}

/// Makes a backup, or brings it up to date, and says what it is good for.
pub(crate) fn backup(engine: &Engine, dest: &Path, json: bool) -> Done {
    if let Some(copy) = registered(engine, dest)? {
        let how = match copy.mode {
            CopyMode::InStep => "each commit is there too",
            CopyMode::Behind => "`keyfall copy sync STORE` brings it up to date",
        };
        let text = format!(
            "{} is a registered copy of this store, {}: {how}; name another place for a backup, or make it none with `keyfall copy remove STORE PLACE` first",
            copy.place,
            output::mode(copy.mode)
        );
        return Err(Error::new(ErrorKind::Refused, text).into());
    }
    let dest = SledStore::open_or_create(dest)?;
    let bar = progress("blobs copied", None);
    let done = engine.backup(&dest, &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    told("backup", &dest.place(), done, json)?;
    if json {
        return Ok(());
    }
    line(fill(
        "It restores everything as it is now. After the next erase, one by a limit of age included, it restores nothing by itself: back up again then, or keep a copy in step (`keyfall copy add STORE PLACE`).",
    ))
}

/// A copy for a drill: where the engine did what was due it has those in step open, and nobody else can open them.
fn to_drill(engine: &Engine, place: &Path) -> Result<Arc<dyn Store>, Error> {
    match registered(engine, place)?.and_then(|copy| engine.copies().attached(&copy.place)) {
        Some(store) => Ok(store),
        None => Ok(Arc::new(copy_as_it_is(place)?)),
    }
}

/// Says which copies hold what the restored state does not go on from.
pub(crate) fn parted(done: &Restored) {
    if done.others.is_empty() {
        return;
    }
    let others: Vec<String> = done.others.iter().map(|(place, head)| format!("{place} holds {head}")).collect();
    let text = format!(
        "{} of {} was restored, and nothing shows that it goes on from all the others: {}; what only those hold is not in it; where one of them is the right one, restore from that one alone",
        done.head,
        done.from,
        others.join(", ")
    );
    output::warn(&Error::new(ErrorKind::Refused, text));
}

/// The same, as JSON.
pub(crate) fn others_json(done: &Restored) -> serde_json::Value {
    let other = |(place, head): &(String, HeadId)| json!({"place": place, "head": {"epoch": head.epoch, "commit": head.commit}});
    done.others.iter().map(other).collect::<Vec<_>>().into()
}

/// Finds out what a restore from copies would bring back.
pub(crate) fn check(mut places: Vec<PathBuf>, cell: Option<&Path>, json: bool) -> Done {
    let store = places.remove(0);
    let engine = look(&store, cell).map_err(|e| match e.kind() {
        ErrorKind::Locked => Error::new(
            ErrorKind::Locked,
            format!("{e}; while it is in use, have `keyfall restore` build a second store, from a backup or from what `cp -a` made of a copy"),
        ),
        _ => e,
    })?;
    let copies = places.iter().map(|place| to_drill(&engine, place)).collect::<Result<Vec<_>, Error>>()?;
    let bar = progress("blobs opened", None);
    let checked = engine.copies().check_restore(&copies, &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    if json {
        let head = |head: HeadId| json!({"epoch": head.epoch, "commit": head.commit});
        value(&json!({
            "whole": checked.is_whole(), "from": checked.from, "head": head(checked.head), "current": head(checked.current),
            "blobs": checked.blobs, "lacking": checked.lacking,
            "missing": checked.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
    } else {
        let blobs = counted(checked.blobs, "blob");
        line(format_args!("{} of {}: {blobs} read and opened", checked.head, checked.from))?;
        if checked.head != checked.current {
            line(format_args!("the store is at {}: what was put since would be lost", checked.current))?;
        }
        checked.missing.iter().try_for_each(|name| line(format_args!("lacking {name}")))?;
    }
    if checked.is_whole() {
        return if json { Ok(()) } else { line("a restore from here would be whole") };
    }
    let text = format!(
        "{} lacking: in no copy, or not to be opened; bring the copies up to date, backups with `keyfall backup STORE COPY` and others with `keyfall copy sync STORE`",
        counted(checked.lacking, "blob")
    );
    Err(Error::new(ErrorKind::Corrupt, text).into())
}

/// Copies may lie beside one another in any way; the new store and the cell lie apart from all.
fn restorable(places: &[(&str, &Path)]) -> Result<(), Error> {
    let (fixed, copies) = places.split_at(2);
    stores::apart(fixed)?;
    copies.iter().try_for_each(|copy| fixed.iter().try_for_each(|place| stores::apart(&[*place, *copy])))
}

pub(crate) fn restore_store(
    into: &Path,
    cell: Option<&Path>,
    (copies, adopted): (&[PathBuf], bool),
    json: bool,
) -> Done {
    let Some(cell_place) = cell else {
        return Err(Error::new(ErrorKind::Invalid, "name the cell with --cell: without it no copy opens").into());
    };
    if !adopted {
        no_take_over("to have the restored store take over, restore it with --adopt")?;
    }
    let mut places = vec![("the store to build", into), ("the cell", cell_place)];
    places.extend(copies.iter().map(|copy| ("the copy", &**copy)));
    restorable(&places)?;
    guarded::check_place(into)?;
    let pointer = Adopted::check(into, cell_place)?;
    let cell = look_root(cell_place)?;
    let sources = copies.iter().map(|c| Ok(Arc::new(copy_as_it_is(c)?) as Arc<dyn Store>));
    let sources = sources.collect::<Result<Vec<_>, Error>>()?;
    let was_there = into.is_dir();
    let (target, made) = to_build(into)?;
    let bar = progress("blobs restored", None);
    let restored = restore(&*cell, &sources, &target, &mut |n| bar.set_position(n));
    bar.finish_and_clear();
    let done = restored.inspect_err(|_| {
        // What an earlier try put there stays for the next one; else a store without a head would only be in its way.
        if made {
            take_away(into, was_there);
        }
    })?;
    parted(&done);
    warn_of_lacking(done.lacks.clone());
    if let Err(e) = pointer.write(&*cell) {
        output::warn(&e.context("it is restored, but where its cell is could not be put down; name it with --cell"));
    }
    // What is open here holds locks, and an owner reaches for its copies.
    drop((target, cell, sources));
    if adopted {
        adopt(into, Some(cell_place))
            .map_err(|e| e.context("it is restored, and read-only still, for it could not be taken over"))?;
    }
    if json {
        return value(&json!({
            "store": into.display().to_string(), "from": done.from, "blobs": done.blobs, "bytes": done.bytes,
            "head": {"epoch": done.head.epoch, "commit": done.head.commit}, "read_only": !adopted,
            "others": others_json(&done), "lacks": done.lacks,
        }));
    }
    line(format_args!(
        "restored {} from {}: {} ({})",
        done.head,
        done.from,
        counted(done.blobs, "blob"),
        output::bytes(done.bytes)
    ))?;
    if adopted {
        return line(
            "It owns the root cell now. Every other copy of the store can only be looked at until it takes over in turn, and not at all after the next erase.",
        );
    }
    line(fill(
        "It is read-only, and the store that it was copied from is untouched. To put it in that one's place, give --take-over with the next command that writes, for one `keyfall tend STORE --take-over`.",
    ))
}
