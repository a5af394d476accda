//! `keyfall backup`.

use std::path::Path;

use keyfall::engine::{Backup, CopyEntry, CopyMode};
use keyfall::{Engine, Error, ErrorKind};

use crate::args::BackupArgs;
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::places::store_and;
use crate::shell::print::{bytes, counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::look;
use crate::shell::succeeded::{Job, record};
use crate::show::copies::{backup_json, mode};
use keyfall::opening::{apart, copy_to_write, lies_inside};

/// Makes a backup, or brings it up to date, and says what it is good for.
pub(super) fn run(session: &Session, args: BackupArgs) -> Done {
    let (store, [dest]) = store_and(args.places, ["DEST"])?;
    check_apart(session, &store, &dest)?;
    let engine = look(session, &store).map_err(in_use)?;
    if let Some(copy) = registered(&engine, &dest)? {
        return Err(is_copy(&copy).into());
    }
    let dest = copy_to_write(&dest)?;
    let bar = progress("blobs copied", None);
    let done = engine.backup(&*dest, &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    record(Job::Backup, args.metrics.metrics_file.as_deref())?;
    if session.json {
        return session.value(&backup_json(&dest.place(), done));
    }
    tell("backup", &dest.place(), done)?;
    line(session.fill(
        "It restores everything as it is now, if what it had before is whole there (`keyfall check \
         STORE COPY` reads all of it). After the next erase, including one by an age \
         limit, it restores nothing on its own: back up again then, or keep a copy in step \
         (`keyfall copy add STORE PLACE`).",
    ))
}

/// Says what a backup or a sync did.
pub(super) fn tell(what: &str, place: &str, done: Backup) -> Done {
    let head = done.head.map_or("nothing".to_owned(), |h| h.to_string());
    let (blobs, length) = (counted(done.blobs, "blob"), bytes(done.bytes));
    line(format_args!("{what} {place}: {head}, {blobs} copied ({length})"))
}

/// Refuses a copy that lies inside the store or its cell, or around one of them: whatever takes the
/// one takes both. Nor does a copy lie inside another store or cell.
pub(super) fn check_apart(session: &Session, store: &Path, place: &Path) -> Result<(), Error> {
    let cell = session.cell_of(store)?;
    let copy = ("the copy", place);
    apart(&[copy, ("the store", store)])?;
    apart(&[copy, ("the cell", cell.as_path())])?;
    guarded::check_place(place)
}

/// The copy that the store knows of at a place.
pub(super) fn registered(engine: &Engine, place: &Path) -> Result<Option<CopyEntry>, Error> {
    // However the two are spelled.
    let is_there = |copy: &CopyEntry| {
        let there = Path::new(&copy.place);
        lies_inside(place, there).is_ok_and(|is| is) && lies_inside(there, place).is_ok_and(|is| is)
    };
    Ok(engine.copies().list().into_iter().find(is_there))
}

/// Says how the process that has the store open makes the backup.
fn in_use(e: Error) -> Error {
    if e.kind() != ErrorKind::Locked {
        return e;
    }
    let instead = "have that process make the backup, as `keyfalld` does at POST /v1/backups";
    Error::new(ErrorKind::Locked, format!("{e}; {instead}"))
}

fn is_copy(copy: &CopyEntry) -> Error {
    let how = match copy.mode {
        CopyMode::InStep => "each commit is there too",
        CopyMode::Behind => "`keyfall copy sync STORE` brings it up to date",
    };
    let text = format!(
        "{} is a registered copy of this store, {}: {how}; name another place for a backup, or \
         make it none with `keyfall copy remove STORE PLACE` first",
        copy.place,
        mode(copy.mode)
    );
    Error::new(ErrorKind::Refused, text)
}
