//! `keyfall tend`.

use keyfall::engine::DueOutcome;
use serde_json::json;

use crate::args::TendArgs;
use crate::commands::keyholder::status::Awaiting;
use crate::shell::due;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::{counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::{doubted, open_as_it_is};
use crate::show::cell::{awaited, pending};
use crate::show::time::time;

/// Does what is due.
pub(super) fn run(session: &Session, args: TendArgs) -> Done {
    let store = one(args.places)?;
    let awaiting = Awaiting::of(session, &store);
    let engine = open_as_it_is(session, &store)?;
    if args.clock_is_right {
        engine.clock().trust()?;
    }
    let bar = progress("records taken out", None);
    let done = engine.run_due(&mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    if done.waiting {
        return Err(doubted(&engine).into());
    }
    let status = engine.status()?;
    let next = status.next_due.map(time);
    let came = awaiting.map(|awaiting| awaiting.came(&status.finality)).unwrap_or_default();
    if session.json {
        let mut told = due::done_json(&done, &|text| session.fill(text));
        told["next_due"] = json!(next);
        told["awaited"] = json!(awaited(session, &status.finality));
        told["keyholders"] = json!(came);
        return session.value(&told);
    }
    tell(session, &done)?;
    let pending = pending(&status.finality).filter(|_| !done.finalized);
    if done.finalized {
        line("what was pending is final")?;
    } else if let Some(pending) = &pending {
        line(session.fill(pending))?;
    }
    came.iter().try_for_each(line)?;
    let none = if pending.is_some() { "nothing else is due later" } else { "nothing is due later" };
    line(next.map_or(none.to_owned(), |at| format!("next due {at}")))
}

fn tell(session: &Session, done: &DueOutcome) -> Done {
    line(format_args!(
        "{} done; {} passed a limit; {} fell; {} refused, since they are held",
        counted(done.planned, "planned erase"),
        counted(done.expired, "record"),
        counted(done.derived, "derived record"),
        done.refused
    ))?;
    if done.damaged > 0 {
        line(format_args!(
            "{} passed over: their pages are damaged (restore the store from a copy), or a draft of a certificate could not be kept",
            counted(done.damaged, "user")
        ))?;
    }
    for trouble in &done.troubles {
        line(session.fill(&trouble.to_string()))?;
    }
    if done.uploads > 0 {
        line(format_args!("{} erased that expired", counted(done.uploads, "unfinished upload")))?;
    }
    if done.inbox_keys > 0 {
        line(format_args!("{} destroyed", counted(done.inbox_keys, "old inbox key")))?;
    }
    Ok(())
}
