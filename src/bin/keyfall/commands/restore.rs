//! `keyfall restore`.

use std::path::Path;

use keyfall::engine::{Restored, restore};
use keyfall::{Error, ErrorKind};
use serde_json::json;

use crate::args::RestoreArgs;
use crate::shell::cells::{Adopted, look_root};
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::print::{bytes, counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::{adopt, no_take_over, warn_of_lacking};
use crate::show::copies::head_json;
use keyfall::opening::apart;
use keyfall::opening::{check_reach, copy_as_it_is, take_away, to_build};

/// Builds a store from copies and the cell.
pub(super) fn run(session: &Session, args: &RestoreArgs) -> Done {
    let Some(cell) = &session.cell else {
        let text = "name the cell with --cell: without it no copy opens";
        return Err(Error::new(ErrorKind::Invalid, text).into());
    };
    if !args.adopt {
        let instead = "to have the restored store take over, restore it with --adopt";
        no_take_over(session, instead)?;
    }
    check_places(args, cell)?;
    let done = build(session, args, cell)?;
    if args.adopt {
        let failed = "it is restored, and read-only still, for it could not be taken over";
        adopt(session, &args.into).map_err(|e| e.context(failed))?;
    }
    tell(session, args, &done)
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

/// Builds the store. Whatever it opens is closed at the end: it holds locks, and an owner reaches
/// for its copies.
fn build(session: &Session, args: &RestoreArgs, cell_place: &Path) -> Result<Restored, Error> {
    let into = &args.into;
    check_reach(into, cell_place.join("quorum.json").exists(), args.single_machine)?;
    let pointer = Adopted::check(into, cell_place)?;
    let cell = look_root(cell_place)?;
    let sources = args.copies.iter().map(|copy| copy_as_it_is(copy));
    let sources = sources.collect::<Result<Vec<_>, Error>>()?;
    let was_there = into.is_dir();
    let (target, made) = to_build(into)?;
    let bar = progress("blobs restored", None);
    let restored = restore(&*cell, &sources, &*target, &mut |n| bar.set_position(n));
    bar.finish_and_clear();
    let done = restored.inspect_err(|_| {
        // What an earlier try built stays for the next one. A new store without a head would only
        // be in its way.
        if made {
            take_away(into, was_there);
        }
    })?;
    warn_of_others(session, &done);
    warn_of_lacking(session, done.lacks.clone());
    if let Err(e) = pointer.write(&*cell) {
        let failed =
            "it is restored, but where its cell is could not be recorded; name it with --cell";
        session.warn(&e.context(failed));
    }
    Ok(done)
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

fn tell(session: &Session, args: &RestoreArgs, done: &Restored) -> Done {
    if session.json {
        let others = done.others.iter();
        let others =
            others.map(|other| json!({"place": other.place, "head": head_json(other.head)}));
        return session.value(&json!({
            "store": args.into.display().to_string(), "from": done.from, "blobs": done.blobs,
            "bytes": done.bytes, "head": head_json(done.head), "read_only": !args.adopt,
            "others": others.collect::<Vec<_>>(), "lacks": done.lacks,
        }));
    }
    let (blobs, length) = (counted(done.blobs, "blob"), bytes(done.bytes));
    line(format_args!("restored {} from {}: {blobs} ({length})", done.head, done.from))?;
    if args.adopt {
        return line(
            "It owns the root cell now. Every other copy of the store can only be read until \
             it takes over in turn, and not at all after the next erase.",
        );
    }
    line(session.fill(
        "It is read-only, and the store that it was copied from is untouched. To put it in that \
         one's place, give --take-over with the next command that writes, for one \
         `keyfall tend STORE --take-over`.",
    ))
}
