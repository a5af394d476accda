//! `keyfall copy`.

use std::path::Path;
use std::sync::Arc;

use keyfall::engine::{CopyMode, CopyStatus};
use keyfall::store::Store;
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::args::CopyCommand;
use crate::commands::backup::{check_apart, registered, tell};
use crate::shell::failure::Done;
use crate::shell::places::{one, store_and};
use crate::shell::print::{block, counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::{look, open, open_giving_up};
use crate::show::copies::{backup_json, copies_table, copy_json, mode};
use keyfall::opening::{absolute, copy_as_it_is, copy_to_write};

/// Runs one of the commands.
pub(super) fn run(session: &Session, command: CopyCommand) -> Done {
    match command {
        CopyCommand::Add { places, behind } => {
            let (store, [place]) = store_and(places, ["PLACE"])?;
            check_apart(session, &store, &place)?;
            let engine = open(session, &store)?;
            if let Some(there) = registered(&engine, &place)? {
                let text = format!("{} is a copy of this store already", there.place);
                return Err(Error::new(ErrorKind::Exists, text).into());
            }
            let how = if behind { CopyMode::Behind } else { CopyMode::InStep };
            let bar = progress("blobs copied", None);
            let entry = engine.copies().add(&text(&place)?, how, &mut |n| bar.set_position(n))?;
            bar.finish_and_clear();
            if session.json {
                session.value(&json!({"place": entry.place, "mode": mode(how)}))
            } else {
                line(format_args!("copy {} is {}", entry.place, mode(how)))
            }
        }
        CopyCommand::Sync { places } => {
            let engine = open(session, &one(places)?)?;
            let bar = progress("blobs copied", None);
            let synced = engine.copies().sync(None, &mut |n| bar.set_position(n))?;
            bar.finish_and_clear();
            if session.json {
                let all: Vec<_> = synced.iter().map(|(c, b)| backup_json(&c.place, *b)).collect();
                return session.value(&all.into());
            }
            synced.into_iter().try_for_each(|(entry, done)| tell("copy", &entry.place, done))
        }
        CopyCommand::Repair { places } => {
            let (store, [place]) = store_and(places, ["PLACE"])?;
            repair(session, &open(session, &store)?, &store, &place)
        }
        CopyCommand::Status { places } => {
            let engine = look(session, &one(places)?)?;
            status(session, &engine.copies().status())
        }
        CopyCommand::Remove { places } => {
            let (store, [place]) = store_and(places, ["PLACE"])?;
            let place = text(&place)?;
            let engine = open_giving_up(session, &store, &place)?;
            remove(session, &engine, &place)
        }
    }
}

fn status(session: &Session, copies: &[CopyStatus]) -> Done {
    if session.json {
        let copies = copies.iter().map(|copy| copy_json(session, copy));
        return session.value(&copies.collect::<Vec<_>>().into());
    }
    block(copies_table(session, copies))
}

/// Fills up a copy that the store knows of, or a backup.
fn repair(session: &Session, engine: &Engine, store: &Path, place: &Path) -> Done {
    let bar = progress("blobs compared", None);
    let mut tick = |n| bar.set_position(n);
    let (what, there, done) = match registered(engine, place)? {
        Some(copy) => {
            let done = engine.copies().repair(&copy.place, &mut tick)?;
            ("copy", copy.place, done)
        }
        None => {
            check_apart(session, store, place)?;
            let backup = backup_at(place)?;
            ("backup", backup.place(), engine.copies().repair_backup(&*backup, &mut tick)?)
        }
    };
    bar.finish_and_clear();
    if session.json {
        session.value(&backup_json(&there, done))?;
    } else {
        tell(what, &there, done)?;
    }
    if done.shut > 0 {
        let text = format!(
            "{} of the store itself cannot be opened; what {there} has of that was left as it is: \
             if `keyfall check STORE COPY` finds it whole, restore the store from it, with \
             `keyfall restore --cell CELL --into NEW --adopt COPY...`",
            counted(done.shut, "blob")
        );
        return Err(Error::new(ErrorKind::Corrupt, text).into());
    }
    if done.damaged == 0 {
        return Ok(());
    }
    let text = format!(
        "{} of {there} still cannot be read as they are in the store; make it once more, in an \
         empty place",
        counted(done.damaged, "blob")
    );
    Err(Error::new(ErrorKind::Corrupt, text).into())
}

/// Opens a backup that exists: a mistyped name must not create a new one.
fn backup_at(place: &Path) -> Result<Arc<dyn Store>, Error> {
    if copy_as_it_is(place)?.head()?.is_none() {
        let text = "no copy or backup is there; `keyfall copy status STORE` lists the copies";
        return Err(Error::new(ErrorKind::Absent, format!("{}: {text}", place.display())));
    }
    copy_to_write(place)
}

fn remove(session: &Session, engine: &Engine, place: &str) -> Done {
    // Of a copy that is out of reach nobody can say what it holds.
    let owner = engine.read_only().is_none();
    let ahead = owner.then(|| engine.copies().ahead(place).ok().flatten()).flatten();
    engine.copies().remove(place)?;
    if let Some(ahead) = ahead {
        session.note(&format!(
            "{place} holds {ahead}, and the store went on from less: what it lacks of that is \
             lost, unless it is restored from there"
        ));
    }
    if session.json {
        session.value(&json!({"removed": place}))
    } else {
        line(format_args!("{place} is not a copy any more; its bytes stay where they are"))
    }
}

/// A copy's place as the store remembers it.
fn text(place: &Path) -> Result<String, Error> {
    let place = absolute(place)?.into_os_string().into_string();
    place.map_err(|_| Error::new(ErrorKind::Invalid, "a copy's place must be UTF-8"))
}
