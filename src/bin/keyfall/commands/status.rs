//! `keyfall status`.

use keyfall::Engine;
use keyfall::engine::Status;
use serde_json::{Value, json};

use crate::args::StatusArgs;
use crate::shell::due;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::{block, bytes, counted, line};
use crate::shell::session::Session;
use crate::shell::stores::{look, warn_if_exposed};
use crate::show::cell::{awaited, memory, promise_json};
use crate::show::copies::{copies_table, copy_json, is_unseen};
use crate::show::time::time;

/// Shows the state of a store.
pub(super) fn run(session: &Session, args: StatusArgs) -> Done {
    let store = one(args.places)?;
    let engine = look(session, &store)?;
    warn_if_exposed(session, &session.cell_of(&store)?);
    let status = engine.status()?;
    let read_only = read_only(&engine, &status);
    if session.json {
        return session.value(&as_json(session, &status, read_only.as_deref()));
    }
    tell_store(session, &status)?;
    if let Some(why) = read_only {
        line(format_args!("READ-ONLY: {}", session.fill(&why)))?;
    }
    if let Some(lacks) = &status.lacks {
        line(format_args!("LACKING: {lacks}"))?;
    }
    if status.copies.is_empty() {
        return line("no copies: losing the store loses all data");
    }
    block(copies_table(session, &status.copies))?;
    if status.copies.iter().any(|copy| copy.restores.is_some()) {
        return Ok(());
    }
    if status.copies.iter().any(is_unseen) {
        return line(
            "IT IS NOT KNOWN WHETHER ANYTHING CAN BE RESTORED NOW: a copy could not be read",
        );
    }
    line(session.fill(
        "NOTHING CAN BE RESTORED NOW: no copy is of the current epoch; run \
         `keyfall copy sync STORE`, or add a copy in step",
    ))
}

/// Why the store is read-only; nothing if this look is all that keeps it from being
/// owned.
fn read_only(engine: &Engine, status: &Status) -> Option<String> {
    status.read_only.clone().filter(|_| !engine.ownership().may_own())
}

fn as_json(session: &Session, s: &Status, read_only: Option<&str>) -> Value {
    let copies = s.copies.iter().map(|copy| copy_json(session, copy));
    let fill = |text: &str| session.fill(text);
    json!({
        "store": s.store.to_string(), "place": s.place, "epoch": s.head.epoch,
        "commit": s.head.commit,
        "users": s.users, "blobs": s.usage.blobs, "bytes": s.usage.bytes,
        "page_bytes": s.geometry.page_bytes, "fan_out": 1u32 << s.geometry.fan_bits,
        "lends_for_ms": s.lending.map(|time| time.as_millis() as u64),
        "cell": promise_json(&s.cell), "settled": s.unsettled.is_none(),
        "unsettled": s.unsettled.as_deref().map(fill),
        "final": s.finality.is_final(), "awaited": awaited(session, &s.finality),
        "pending_until": s.pending.map(time), "next_due": s.next_due.map(time),
        "next_due_is": s.next_due_is.map(due::words),
        "clock_doubts": s.clock.as_deref().map(fill),
        "copies": copies.collect::<Vec<_>>(),
        "read_only": read_only.map(fill), "lacks": s.lacks,
        "keeps_versions": s.keeps_versions,
        "secret_memory": {
            "mapped": s.memory.mapped, "unlocked": s.memory.unlocked, "dumped": s.memory.dumped,
        },
    })
}

/// Says what lies in the store, what its cell promises, and what is pending or due.
fn tell_store(session: &Session, s: &Status) -> Done {
    line(format_args!("store {} ({})", s.place, s.store))?;
    line(format_args!(
        "      {}; {}; {}, {} on disk",
        s.head,
        counted(s.users, "user"),
        counted(s.usage.blobs, "blob"),
        bytes(s.usage.bytes)
    ))?;
    match s.keeps_versions {
        Some(true) => line(format_args!(
            "      may keep what is deleted (versions of objects, rows before a vacuum); how much is \
             not known"
        ))?,
        Some(false) => {}
        None => line(session.fill(
            "      whether this place keeps what is deleted was not asked; `keyfall discard STORE` asks it",
        ))?,
    }
    if let Some(time) = s.lending {
        line(format_args!(
            "      lends its keys to readers for {time:?}: each erase returns that much later"
        ))?;
    }
    line(format_args!("cell  {}", s.cell.place))?;
    line(format_args!("      {}", s.cell))?;
    line(format_args!("keys  {}", memory(&s.memory)))?;
    if let Some(why) = &s.unsettled {
        line(format_args!("NOT SETTLED: {}", session.fill(why)))?;
    }
    if let Some(doubts) = &s.clock {
        line(format_args!("CLOCK: {}", session.fill(doubts)))?;
    }
    if let Some(until) = s.pending {
        line(format_args!(
            "pending until {}: what was erased since the last epoch began",
            time(until)
        ))?;
    }
    if let Some(due) = s.next_due {
        let what = s.next_due_is.map_or("something", due::words);
        line(format_args!("due   {}: {what}", time(due)))?;
    }
    Ok(())
}
