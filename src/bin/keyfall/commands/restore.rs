//! `keyfall restore`.

use std::path::Path;
use std::sync::Arc;

use keyfall::cell::RootCell;
use keyfall::engine::{Checked, Restored, check_restored, check_some_restored, restore};
use keyfall::store::Store;
use keyfall::{Error, ErrorKind};
use serde_json::json;

use crate::args::RestoreArgs;
use crate::shell::again::as_it_goes_on;
use crate::shell::cells::{Adopted, look_root};
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::print::{bytes, counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::{adopt, no_take_over, warn_of_lacking};
use crate::show::copies::{checked_json, head_json};
use keyfall::opening::apart;
use keyfall::opening::{check_reach, copy_as_it_is, is_built, take_away, to_build};

/// Builds a store from copies and the cell.
pub(super) fn run(session: &Session, args: &RestoreArgs) -> Done {
    let read_back = if args.unverified { ReadBack::None } else { ReadBack::All };
    let done = without_owner(session, args, read_back)?;
    // What is to be done next is about what was built.
    session.about(&args.into);
    if let Some(checked) = done.checked.as_ref().filter(|checked| !checked.is_whole()) {
        tell(session, args, &done)?;
        return Err(damaged(args, checked).into());
    }
    if args.adopt {
        let failed = "it is restored, and read-only still, for it could not be taken over; once \
                      nothing stands against it `keyfall tend STORE --take-over` does that";
        adopt(session, &args.into).map_err(|e| e.context(failed))?;
    }
    tell(session, args, &done)
}

/// What of a built store is read back.
#[derive(Clone, Copy)]
pub(super) enum ReadBack {
    None,
    /// All pages, and so many records at random.
    Some(u64),
    All,
}

impl ReadBack {
    fn run(
        self,
        cell: &dyn RootCell,
        built: &Arc<dyn Store>,
        blobs: u64,
    ) -> Result<Option<Checked>, Error> {
        let bar = progress("blobs read back", Some(blobs));
        let read = &mut |n| bar.set_position(n);
        let checked = match self {
            ReadBack::None => None,
            ReadBack::Some(records) => Some(check_some_restored(cell, built, records, read)?),
            ReadBack::All => Some(check_restored(cell, built, read)?),
        };
        bar.finish_and_clear();
        Ok(checked)
    }
}

/// Builds the store, which does not own the cell yet.
pub(super) fn without_owner(
    session: &Session,
    args: &RestoreArgs,
    read_back: ReadBack,
) -> Result<Built, Error> {
    let Some(cell) = &session.cell else {
        let text = "name the cell with --cell: without it no copy opens";
        return Err(Error::new(ErrorKind::Invalid, text));
    };
    if !args.adopt {
        let instead = "to have the restored store take over, restore it with --adopt";
        no_take_over(session, instead)?;
    }
    check_places(args, cell)?;
    build(session, args, cell, read_back)
}

/// Copies may lie beside one another in any way; the new store and the cell lie apart from all.
fn check_places(args: &RestoreArgs, cell: &Path) -> Result<(), Error> {
    let store = ("the store to build", args.into.as_path());
    let cell = ("the cell", cell);
    apart(&[store, cell])?;
    for copy in &args.copies {
        let copy = ("the copy", copy.as_path());
        apart(&[store, copy])?;
        apart(&[cell, copy])?;
    }
    guarded::check_place(&args.into)
}

/// What was built, and what reading it back found.
pub(super) struct Built {
    pub(super) restored: Restored,
    pub(super) checked: Option<Checked>,
}

/// Builds the store, and reads it back. Whatever it opens is closed at the end: it holds locks, and
/// an owner reaches for its copies.
fn build(
    session: &Session,
    args: &RestoreArgs,
    cell_place: &Path,
    read_back: ReadBack,
) -> Result<Built, Error> {
    let into = &args.into;
    let cell = look_root(cell_place)?;
    check_reach(into, cell_place.join("quorum.json").exists(), args.single_machine)
        .map_err(|e| within_reach(into, e))?;
    let pointer = Adopted::check(into, cell_place)?;
    let sources = args.copies.iter().map(|copy| copy_as_it_is(copy));
    let sources = sources.collect::<Result<Vec<_>, Error>>()?;
    let was_there = into.is_dir();
    let (target, made) = to_build(into)?;
    let built = as_it_goes_on(|| {
        let bar = progress("blobs restored", None);
        let restored = restore(&*cell, &sources, &*target, &mut |n| bar.set_position(n))?;
        bar.finish_and_clear();
        if let Err(e) = pointer.write(&*cell) {
            let failed = "it is restored, but where its cell is could not be recorded; name it \
                          with --cell";
            session.warn(&e.context(failed));
        }
        let checked = read_back.run(&*cell, &target, restored.blobs)?;
        Ok(Built { restored, checked })
    });
    let built = built.inspect_err(|_| {
        // What an earlier try built stays for the next one. A new store without a head would only
        // be in its way.
        if made && target.head().is_ok_and(|head| head.is_none()) {
            take_away(into, was_there);
        }
    })?;
    warn_of_others(session, &built.restored);
    warn_of_lacking(session, built.restored.lacks.clone());
    drop(target);
    is_built(into)?;
    Ok(built)
}

/// A restore makes no keyholders, and none are named here.
fn within_reach(into: &Path, e: Error) -> Error {
    if e.kind() != ErrorKind::Refused {
        return e;
    }
    let text = format!(
        "{} can be reached from other machines, and a cell in a file from this one alone: say with \
         --single-machine that only this machine opens the store",
        into.display()
    );
    Error::new(ErrorKind::Refused, text)
}

/// What reading back found that is not as it was put.
fn damaged(args: &RestoreArgs, checked: &Checked) -> Error {
    let not_adopted = if args.adopt { ", and has not taken over" } else { "" };
    let into = args.into.display();
    let text = format!(
        "{} of what was restored cannot be opened, or is not what was put; {into} is \
         built{not_adopted}, and the rest of it can be read: restore into another place with a \
         further copy, or have this one, as STORE, take over as it is: `keyfall tend STORE \
         --take-over`",
        checked.lacking
    );
    Error::new(ErrorKind::Corrupt, text)
}

/// Says which copies hold what the restored state does not continue from.
fn warn_of_others(session: &Session, done: &Restored) {
    if done.others.is_empty() {
        return;
    }
    let others = done.others.iter().map(|other| format!("{} holds {}", other.place, other.head));
    let text = format!(
        "{} of {} was restored, and nothing shows that it goes on from all the others: {}; what \
         only those hold is not in it; if one of them is the right one, restore from that one \
         alone",
        done.head,
        done.from,
        others.collect::<Vec<_>>().join(", ")
    );
    session.warn(&Error::new(ErrorKind::Refused, text));
}

fn tell(session: &Session, args: &RestoreArgs, built: &Built) -> Done {
    let (done, checked) = (&built.restored, &built.checked);
    let is_whole = checked.as_ref().is_none_or(Checked::is_whole);
    let adopted = args.adopt && is_whole;
    if session.json {
        let others = done.others.iter();
        let others =
            others.map(|other| json!({"place": other.place, "head": head_json(other.head)}));
        return session.value(&json!({
            "store": args.into.display().to_string(), "from": done.from, "blobs": done.blobs,
            "bytes": done.bytes, "head": head_json(done.head), "read_only": !adopted,
            "others": others.collect::<Vec<_>>(), "lacks": done.lacks,
            "read_back": checked.as_ref().map(checked_json),
        }));
    }
    let (blobs, length) = (counted(done.blobs, "blob"), bytes(done.bytes));
    line(format_args!("restored {} from {}: {blobs} ({length})", done.head, done.from))?;
    if let Some(checked) = checked {
        let records = counted(checked.records, "record");
        line(format_args!("read back: {records}, each as it was put, by its digest"))?;
        checked.missing.iter().try_for_each(|name| line(format_args!("damaged {name}")))?;
    }
    if !is_whole {
        return Ok(());
    }
    if adopted {
        return line(
            "It is whole, and puts and erases go there from now on. End what has the other place \
             still open: with keyholders it delivers for up to a minute what is erased here.",
        );
    }
    line(session.fill(
        "It is read-only, and the store that it was copied from is untouched. To put it in that \
         one's place, give --take-over with the next command that writes, for one \
         `keyfall tend STORE --take-over`.",
    ))
}
