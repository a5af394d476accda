//! Events of `tracing`.

use std::time::Duration;

use ::tracing::Level;

use super::{AwaitedBy, Event, Observer, kind_name};
use crate::error::ErrorKind;

/// Gives every [`Event`] on as an event of `tracing`, target `keyfall`, named `keyfall.commit`,
/// `keyfall.erase`, `keyfall.due` and so on, which is its message too. Fields are counts, kinds,
/// and durations in microseconds, which end in `_us`.
///
/// They are events and no spans, since they are told when the work is done. What an operator must
/// look at is an error, what is late or missing a warning; commits are told at the level of
/// debugging.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Tracing;

impl Tracing {
    /// An observer that speaks to the subscriber of the thread in which something happens.
    pub fn new() -> Self {
        Tracing
    }
}

impl Observer for Tracing {
    fn event(&self, event: &Event) {
        match event {
            Event::Commit { .. } | Event::CommitFailed { .. } | Event::Erase { .. } => asked(event),
            Event::Due { .. }
            | Event::Trouble { .. }
            | Event::KeeperFailed { .. }
            | Event::KeeperStopped { .. } => kept(event),
            Event::Discard { .. }
            | Event::Clean { .. }
            | Event::CleanerFailed { .. }
            | Event::CleanerStopped { .. } => space(event),
            _ => other(event),
        }
    }
}

macro_rules! tell {
    ($level:ident, $name:literal, $($fields:tt)*) => {
        ::tracing::event!(name: $name, target: "keyfall", Level::$level, { message = $name, $($fields)* })
    };
}

/// Tells of an [`Event::Due`]: a level is a part of its macro.
macro_rules! due {
    ($level:ident, $event:expr) => {
        if let Event::Due {
            late,
            overdue,
            planned,
            expired,
            derived,
            inbox_keys,
            finalized,
            refused,
            failed,
            damaged,
            waiting,
            error,
            took,
        } = *$event
        {
            tell!(
                $level,
                "keyfall.due",
                planned,
                expired,
                derived,
                inbox_keys,
                finalized,
                refused,
                failed,
                damaged,
                waiting,
                error = named(error),
                late_us = micros(late),
                overdue_us = micros(overdue),
                took_us = micros(took)
            );
        }
    };
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The name of an error that may not be there: such a field is left out.
fn named(error: Option<ErrorKind>) -> Option<&'static str> {
    error.map(kind_name)
}

/// What callers asked for.
fn asked(event: &Event) {
    match *event {
        Event::Commit { kind, head, requests, records, bytes, written, users, took, waited } => {
            tell!(
                DEBUG,
                "keyfall.commit",
                kind = kind.name(),
                epoch = head.epoch,
                commit = head.commit,
                requests,
                records,
                bytes,
                written,
                users,
                took_us = micros(took),
                waited_us = waited.map(micros)
            );
        }
        Event::CommitFailed { kind, error, perhaps, took } => tell!(
            ERROR,
            "keyfall.commit_failed",
            kind = kind.name(),
            error = kind_name(error),
            perhaps,
            took_us = micros(took)
        ),
        Event::Erase { scope, records, outcome, took, waited } => {
            let (scope, error) = (scope.name(), named(outcome.error()));
            let (took_us, waited_us, outcome) = (micros(took), micros(waited), outcome.name());
            match error {
                None => tell!(INFO, "keyfall.erase", scope, records, outcome, took_us, waited_us),
                Some(error) => {
                    tell!(WARN, "keyfall.erase", scope, outcome, error, took_us, waited_us);
                }
            }
        }
        _ => {}
    }
}

/// What the engine does by itself.
fn kept(event: &Event) {
    match *event {
        Event::Due { error, failed, damaged, waiting, .. }
            if error.is_some() || failed + damaged > 0 || waiting =>
        {
            due!(WARN, event);
        }
        Event::Due { .. } => due!(INFO, event),
        Event::Trouble { error, planned } => {
            tell!(WARN, "keyfall.trouble", error = kind_name(error), planned);
        }
        Event::KeeperFailed { error, again } => tell!(
            ERROR,
            "keyfall.keeper_failed",
            error = kind_name(error),
            again_us = micros(again)
        ),
        Event::KeeperStopped { panicked } => tell!(ERROR, "keyfall.keeper_stopped", panicked),
        _ => {}
    }
}

/// Space that is given back.
fn space(event: &Event) {
    match *event {
        Event::Discard { blobs, bytes_gone, bytes_left, copies_skipped, error, took } => tell!(
            INFO,
            "keyfall.discard",
            blobs,
            bytes_gone,
            bytes_left,
            copies_skipped,
            error = named(error),
            took_us = micros(took)
        ),
        Event::Clean { swept, blobs, freed, moved, stuck, error, took } => tell!(
            DEBUG,
            "keyfall.clean",
            swept,
            blobs,
            freed,
            moved,
            stuck,
            error = named(error),
            took_us = micros(took)
        ),
        Event::CleanerFailed { error, again } => tell!(
            WARN,
            "keyfall.cleaner_failed",
            error = kind_name(error),
            again_us = micros(again)
        ),
        Event::CleanerStopped { panicked } => tell!(WARN, "keyfall.cleaner_stopped", panicked),
        _ => {}
    }
}

/// Where the store, its copies, its cell, its readers and its clock are.
fn other(event: &Event) {
    match *event {
        Event::Opened { head, owner, users, copies, level } => tell!(
            INFO,
            "keyfall.opened",
            epoch = head.epoch,
            commit = head.commit,
            owner,
            users,
            copies,
            level = level.name()
        ),
        Event::Closed { head, error } => tell!(
            INFO,
            "keyfall.closed",
            epoch = head.epoch,
            commit = head.commit,
            error = named(error)
        ),
        Event::RootKeyRetired { epoch, after } => {
            tell!(DEBUG, "keyfall.root_key_retired", epoch, after_us = micros(after));
        }
        Event::RootKeyAwaited { epoch, by, since } => awaited(epoch, by, micros(since)),
        Event::CopyMissed { copy, error, erase } => {
            tell!(ERROR, "keyfall.copy_missed", copy, error = kind_name(error), erase);
        }
        Event::CopyInStep { copy } => tell!(INFO, "keyfall.copy_in_step", copy),
        Event::Poisoned { error } => tell!(ERROR, "keyfall.poisoned", error = kind_name(error)),
        Event::ReadersClosed { readers, why } => {
            tell!(INFO, "keyfall.readers_closed", readers, why = why.name());
        }
        Event::ClockDoubted { off, ahead } => {
            tell!(WARN, "keyfall.clock_doubted", off_us = micros(off), ahead);
        }
        Event::ClockBelieved {} => tell!(INFO, "keyfall.clock_believed",),
        Event::Lost { events } => tell!(WARN, "keyfall.lost", events),
        _ => {}
    }
}

fn awaited(epoch: u64, by: AwaitedBy, since_us: u64) {
    let (stated, needed) = match by {
        AwaitedBy::Keyholders { stated, needed } => (Some(stated), Some(needed)),
        AwaitedBy::Engine | AwaitedBy::Medium => (None, None),
    };
    let by = by.name();
    tell!(WARN, "keyfall.root_key_awaited", epoch, by, since_us, stated, needed);
}
