//! Metrics of the facade `metrics`.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use ::metrics::{gauge, histogram};

use super::{Event, Observer, Outcome, kind_name};
use crate::error::ErrorKind;

/// What seals: the same bytes by either.
const AEAD: &str = if cfg!(feature = "aws-lc") { "aws-lc" } else { "aes-gcm" };

/// Gives every [`Event`] on as metrics of the facade `metrics`, to the recorder that the
/// application installed. Labels are kinds and the numbers of copies. The engines of one process
/// share one set.
///
/// | metric | | labels |
/// |---|---|---|
/// | `keyfall_build_info` | gauge, 1 | `version`, `cell_level`, `aead` |
/// | `keyfall_open` | gauge: engines that are open | |
/// | `keyfall_commits_total`, `keyfall_commit_failures_total` | counters | `kind`; `error` too |
/// | `keyfall_commit_duration_seconds` | histogram | `kind` |
/// | `keyfall_commit_wait_seconds` | histogram | `kind` |
/// | `keyfall_commit_batch_size` | histogram: requests that shared a commit | `kind` |
/// | `keyfall_commit_written_bytes_total` | counter | `kind` |
/// | `keyfall_puts_total`, `keyfall_put_bytes_total` | counters: records, bytes | |
/// | `keyfall_users` | gauge | |
/// | `keyfall_erases_total` | counter | `scope`, `outcome` |
/// | `keyfall_erased_records_total` | counter: of erases that callers asked for | `scope` |
/// | `keyfall_erase_duration_seconds` | histogram | `scope`, `outcome`, `stage` |
/// | `keyfall_retirements_total` | counter: root keys known to be destroyed | |
/// | `keyfall_retirement_unconfirmed_seconds` | gauge: 0 where none is awaited | |
/// | `keyfall_due_total` | counter | `what` |
/// | `keyfall_due_late_seconds` | histogram | |
/// | `keyfall_due_overdue_seconds` | gauge | |
/// | `keyfall_tend_failures_total` | counter | `kind` |
/// | `keyfall_troubles_total` | counter | `kind` |
/// | `keyfall_keeper_failures_total` | counter | `kind` |
/// | `keyfall_keeper_stopped` | gauge: 1 where an open engine does nothing by itself | |
/// | `keyfall_copy_up` | gauge: 0 once a copy in step missed a commit, 1 again later | `copy` |
/// | `keyfall_poisoned`, `keyfall_clock_doubted` | gauges: 0 or 1 | |
/// | `keyfall_reads_cut_total` | counter: readers closed | `why` |
/// | `keyfall_discards_total` | counter | `outcome` |
/// | `keyfall_discarded_bytes_total` | counter | `left`: `true` for what may still be there |
/// | `keyfall_cleaned_bytes_total` | counter: bytes that the cleaner gave back | |
/// | `keyfall_clean_moved_bytes_total` | counter: live bytes that it wrote once more | |
/// | `keyfall_cleaner_failures_total` | counter | `kind` |
/// | `keyfall_cleaner_stopped`, `keyfall_cleaner_stuck` | gauges: 0 or 1 | |
/// | `keyfall_events_lost_total` | counter | |
///
/// `stage` is `whole`, from the call of an erase to its return; `wait`, of that until the writer
/// began with it; `work`, the rest.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Metrics;

impl Metrics {
    /// Describes the metrics to the recorder, which is to be installed before.
    pub fn new() -> Self {
        describe();
        Metrics
    }
}

impl Observer for Metrics {
    fn event(&self, event: &Event) {
        match event {
            Event::Commit { .. } | Event::CommitFailed { .. } => committed(event),
            Event::Erase { .. }
            | Event::RootKeyRetired { .. }
            | Event::RootKeyAwaited { .. }
            | Event::ReadersClosed { .. } => erased(event),
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

fn committed(event: &Event) {
    match *event {
        Event::Commit { kind, requests, records, bytes, written, users, took, waited, .. } => {
            let kind = kind.name();
            counter!("keyfall_commits_total", "kind" => kind).increment(1);
            counter!("keyfall_commit_written_bytes_total", "kind" => kind).increment(written);
            counter!("keyfall_puts_total").increment(records);
            counter!("keyfall_put_bytes_total").increment(bytes);
            histogram!("keyfall_commit_duration_seconds", "kind" => kind).record(took);
            histogram!("keyfall_commit_batch_size", "kind" => kind).record(requests as f64);
            gauge!("keyfall_users").set(users as f64);
            if let Some(waited) = waited {
                histogram!("keyfall_commit_wait_seconds", "kind" => kind).record(waited);
            }
        }
        Event::CommitFailed { kind, error, .. } => {
            let (kind, error) = (kind.name(), kind_name(error));
            counter!("keyfall_commit_failures_total", "kind" => kind, "error" => error)
                .increment(1);
        }
        _ => {}
    }
}

fn erased(event: &Event) {
    match *event {
        Event::Erase { scope, records, outcome, took, waited } => {
            let (scope, ended) = (scope.name(), outcome.name());
            counter!("keyfall_erases_total", "scope" => scope, "outcome" => ended).increment(1);
            let stages = [("whole", took), ("wait", waited), ("work", took.saturating_sub(waited))];
            for (stage, took) in stages {
                histogram!(
                    "keyfall_erase_duration_seconds",
                    "scope" => scope, "outcome" => ended, "stage" => stage
                )
                .record(took);
            }
            if let (Some(records), Outcome::Final | Outcome::Pending) = (records, outcome) {
                counter!("keyfall_erased_records_total", "scope" => scope).increment(records);
            }
        }
        Event::RootKeyRetired { .. } => {
            counter!("keyfall_retirements_total").increment(1);
            gauge!("keyfall_retirement_unconfirmed_seconds").set(0.0);
        }
        Event::RootKeyAwaited { since, .. } => {
            // Never 0, which says that nothing is awaited.
            let since = since.max(Duration::from_millis(1));
            gauge!("keyfall_retirement_unconfirmed_seconds").set(since.as_secs_f64());
        }
        Event::ReadersClosed { readers, why } => {
            counter!("keyfall_reads_cut_total", "why" => why.name()).increment(readers);
        }
        _ => {}
    }
}

fn kept(event: &Event) {
    match *event {
        Event::Due { planned, expired, derived, inbox_keys, refused, failed, damaged, .. } => {
            let done = [
                ("planned", planned),
                ("expired", expired),
                ("derived", derived),
                ("inbox_keys", inbox_keys),
                ("refused", refused),
                ("failed", failed),
                ("damaged", damaged),
            ];
            for (what, n) in done {
                counter!("keyfall_due_total", "what" => what).increment(n);
            }
            kept_late(event);
        }
        Event::Trouble { error, .. } => failed_as("keyfall_troubles_total", error),
        Event::KeeperFailed { error, .. } => failed_as("keyfall_keeper_failures_total", error),
        Event::KeeperStopped { .. } => gauge!("keyfall_keeper_stopped").set(1.0),
        _ => {}
    }
}

/// How late what was due was done.
fn kept_late(event: &Event) {
    if let Event::Due { late, overdue, error, .. } = *event {
        histogram!("keyfall_due_late_seconds").record(late);
        gauge!("keyfall_due_overdue_seconds").set(overdue.as_secs_f64());
        if let Some(error) = error {
            failed_as("keyfall_tend_failures_total", error);
        }
    }
}

fn failed_as(name: &'static str, error: ErrorKind) {
    counter!(name, "kind" => kind_name(error)).increment(1);
}

fn other(event: &Event) {
    match *event {
        Event::Opened { users, level, .. } => {
            let (version, aead) = (env!("CARGO_PKG_VERSION"), AEAD);
            gauge!("keyfall_build_info", "version" => version, "cell_level" => level.name(), "aead" => aead)
                .set(1.0);
            gauge!("keyfall_open").increment(1.0);
            gauge!("keyfall_users").set(users as f64);
            for zero in [
                "keyfall_poisoned",
                "keyfall_clock_doubted",
                "keyfall_keeper_stopped",
                "keyfall_cleaner_stopped",
                "keyfall_cleaner_stuck",
                "keyfall_due_overdue_seconds",
                "keyfall_retirement_unconfirmed_seconds",
            ] {
                gauge!(zero).set(0.0);
            }
        }
        Event::Closed { .. } => gauge!("keyfall_open").decrement(1.0),
        Event::CopyMissed { copy, .. } => copy_up(copy, 0.0),
        Event::CopyInStep { copy } => copy_up(copy, 1.0),
        Event::Poisoned { .. } => gauge!("keyfall_poisoned").set(1.0),
        Event::ClockDoubted { .. } => gauge!("keyfall_clock_doubted").set(1.0),
        Event::ClockBelieved {} => gauge!("keyfall_clock_doubted").set(0.0),
        Event::Lost { events } => counter!("keyfall_events_lost_total").increment(events),
        _ => {}
    }
}

/// Space that was given back.
fn space(event: &Event) {
    match *event {
        Event::Discard { bytes_gone, bytes_left, error, .. } => {
            let outcome = if error.is_none() { "done" } else { "failed" };
            counter!("keyfall_discards_total", "outcome" => outcome).increment(1);
            counter!("keyfall_discarded_bytes_total", "left" => "false").increment(bytes_gone);
            counter!("keyfall_discarded_bytes_total", "left" => "true").increment(bytes_left);
        }
        Event::Clean { freed, moved, stuck, .. } => {
            counter!("keyfall_cleaned_bytes_total").increment(freed);
            counter!("keyfall_clean_moved_bytes_total").increment(moved);
            gauge!("keyfall_cleaner_stuck").set(f64::from(u8::from(stuck)));
        }
        Event::CleanerFailed { error, .. } => failed_as("keyfall_cleaner_failures_total", error),
        Event::CleanerStopped { .. } => gauge!("keyfall_cleaner_stopped").set(1.0),
        _ => {}
    }
}

fn copy_up(copy: u64, up: f64) {
    gauge!("keyfall_copy_up", "copy" => copy.to_string()).set(up);
}

/// Units and help of those that do not explain themselves.
fn describe() {
    let seconds = [
        ("keyfall_commit_duration_seconds", "from the sealed change to its being complete"),
        ("keyfall_commit_wait_seconds", "longest wait for the writer of those served together"),
        ("keyfall_erase_duration_seconds", "whole from an erase's call to its return, and parts"),
        ("keyfall_due_late_seconds", "how long the oldest of what was done had been due"),
    ];
    for (name, help) in seconds {
        describe_histogram!(name, Unit::Seconds, help);
    }
    describe_histogram!("keyfall_commit_batch_size", Unit::Count, "requests that shared a commit");
    let gauges = [
        ("keyfall_due_overdue_seconds", "how long the oldest of what is left has been due"),
        (
            "keyfall_retirement_unconfirmed_seconds",
            "since when a root key's destruction is awaited",
        ),
    ];
    for (name, help) in gauges {
        describe_gauge!(name, Unit::Seconds, help);
    }
    let counters = [
        ("keyfall_tend_failures_total", "calls that did not do all that was due"),
        ("keyfall_troubles_total", "what was due for a user and could not be done"),
        ("keyfall_keeper_failures_total", "failures of the keeper's thread"),
        ("keyfall_cleaner_failures_total", "failures of the cleaner's thread"),
        ("keyfall_reads_cut_total", "readers closed"),
    ];
    for (name, help) in counters {
        describe_counter!(name, Unit::Count, help);
    }
}
