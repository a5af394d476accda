//! `keyfall check`: a drill for a restore.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::engine::Checked;
use keyfall::store::Store;
use keyfall::{Engine, Error, ErrorKind};
use serde_json::Value;

use crate::args::CheckArgs;
use crate::commands::backup::registered;
use crate::shell::again::as_it_goes_on;
use crate::shell::failure::Done;
use crate::shell::print::{counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::look;
use crate::show::copies::{checked_json, head_json};
use keyfall::opening::copy_as_it_is;

/// Finds out what a restore from copies would bring back.
pub(super) fn run(session: &Session, args: CheckArgs) -> Done {
    let mut places = args.places;
    if places.len() < 2 {
        let text = "name the store and a copy of it, or several: `keyfall check STORE COPY`";
        return Err(Error::new(ErrorKind::Invalid, text).into());
    }
    let store = places.remove(0);
    let checked = as_it_goes_on(|| check(session, &store, &places))?;
    tell(session, &checked)?;
    if checked.is_whole() {
        return if session.json { Ok(()) } else { line("a restore from here would be complete") };
    }
    let text = format!(
        "{} lacking: in no copy, or not to be opened; bring copies that are behind up to date \
         (`keyfall backup STORE COPY`, `keyfall copy sync STORE`), and repair one that lost \
         something (`keyfall copy repair STORE COPY`)",
        counted(checked.lacking, "blob")
    );
    Err(Error::new(ErrorKind::Corrupt, text).into())
}

fn check(session: &Session, store: &Path, copies: &[PathBuf]) -> Result<Checked, Error> {
    let engine = look(session, store).map_err(|e| match e.kind() {
        ErrorKind::Locked => Error::new(
            ErrorKind::Locked,
            format!(
                "{e}; while it is in use, have `keyfall restore` build a second store, from a \
                 backup or from what `cp -a` made of a copy"
            ),
        ),
        _ => e,
    })?;
    let copies = copies.iter().map(|place| to_drill(&engine, place));
    let copies = copies.collect::<Result<Vec<_>, Error>>()?;
    let bar = progress("blobs opened", None);
    let checked = engine.copies().check_restore(&copies, &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    Ok(checked)
}

/// A copy for a drill. The engine may have a copy in step open already: nobody else can open that.
fn to_drill(engine: &Engine, place: &Path) -> Result<Arc<dyn Store>, Error> {
    match registered(engine, place)?.and_then(|copy| engine.copies().attached(&copy.place)) {
        Some(store) => Ok(store),
        None => copy_as_it_is(place),
    }
}

fn tell(session: &Session, checked: &Checked) -> Done {
    if session.json {
        let mut value = checked_json(checked);
        value["from"] = Value::from(checked.from.as_str());
        value["head"] = head_json(checked.head);
        value["current"] = head_json(checked.current);
        return session.value(&value);
    }
    let (blobs, records) = (counted(checked.blobs, "blob"), counted(checked.records, "record"));
    let found = format!("{blobs} read and opened, {records}, each as it was put, by its digest");
    line(format_args!("{} of {}: {found}", checked.head, checked.from))?;
    let (head, current) = (checked.head, checked.current);
    if head < current {
        line(format_args!("the store is at {current}: what was put since would be lost"))?;
    } else if head != current {
        line(format_args!("the store was at {current} when this began, and went on meanwhile"))?;
    }
    checked.missing.iter().try_for_each(|name| line(format_args!("lacking {name}")))
}
