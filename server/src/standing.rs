//! How the service stands: gauges that are read when somebody asks for the metrics, or each minute.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyfall::engine::{CopyMode, Status};
use keyfall::promise::RootId;
use keyfall::quorum::{QuorumCell, Standing};
use metrics::{counter, gauge};

use crate::logging;
use crate::private;
use crate::watch::Reach;
use crate::words::now;

/// Jobs that leave the time of their last success, as `keyfall JOB --metrics-file` writes it.
#[derive(Clone, Copy)]
pub(crate) enum Job {
    Backup,
    Audit,
    Drill,
}

impl Job {
    const ALL: [Job; 3] = [Job::Backup, Job::Audit, Job::Drill];

    /// The job's file, without its ending, and its metric.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Job::Backup => ("backup", "keyfall_last_backup_timestamp_seconds"),
            Job::Audit => ("audit", "keyfall_last_audit_timestamp_seconds"),
            Job::Drill => ("drill", "keyfall_last_restore_drill_timestamp_seconds"),
        }
    }

    fn file(self, state: &Path) -> PathBuf {
        state.join("metrics").join(format!("{}.prom", self.names().0))
    }
}

/// What a drill found, beside when it was.
const DRILL_FOUND: &[&str] =
    &["keyfall_restore_drill_rto_seconds", "keyfall_restore_drill_rpo_seconds"];

/// A file of a job has a few numbers in it; more than this is no such file.
const LONGEST: u64 = 64 << 10;

/// Pairs of writes of which the floor is the median.
const WRITES: usize = 9;

/// Since when erases have been pending, as this process saw it.
static PENDING: Mutex<Option<Instant>> = Mutex::new(None);

/// Since when there has been something to do at once, as this process saw it.
static AT_ONCE: Mutex<Option<Instant>> = Mutex::new(None);

/// Sets what the engine knows.
pub(crate) fn of_engine(status: &Status) {
    // What is to be done at once has no time of its own.
    let at_once = status.next_due.is_some_and(|at| at.as_millis() <= 1);
    let late = since_first_seen(&AT_ONCE, at_once).max(status.overdue.as_secs_f64());
    let window = status.pending.map_or(0, |at| at.as_millis().saturating_sub(now().as_millis()));
    gauge!("keyfall_users").set(status.users as f64);
    gauge!("keyfall_store_bytes").set(status.usage.bytes as f64);
    gauge!("keyfall_due_overdue_seconds").set(late);
    let pending = since_first_seen(&PENDING, !status.finality.is_final());
    gauge!("keyfall_erase_pending_age_seconds").set(pending);
    gauge!("keyfall_erase_window_seconds").set(window as f64 / 1000.0);
    gauge!("keyfall_clock_off_seconds").set(clock_off(status));
    gauge!("keyfall_clock_doubted").set(f64::from(u8::from(status.clock.is_some())));
    for (number, copy) in status.copies.iter().enumerate() {
        let number = number.to_string();
        let up = if copy.error.is_none() { 1.0 } else { 0.0 };
        let in_step = f64::from(u8::from(copy.entry.mode == CopyMode::InStep));
        gauge!("keyfall_copy_in_step", "copy" => number.clone()).set(in_step);
        gauge!("keyfall_copy_up", "copy" => number.clone()).set(up);
        if let Some(head) = copy.head {
            let lag = status.head.commit.saturating_sub(head.commit);
            gauge!("keyfall_copy_lag_commits", "copy" => number).set(lag as f64);
        }
    }
    counter!("keyfall_log_lines_lost_total").absolute(logging::lost());
    counter!("keyfall_page_cache_hits_total").absolute(status.cache.hits);
    counter!("keyfall_page_cache_misses_total").absolute(status.cache.misses);
    let memory = &status.memory;
    let locked = memory.mapped.saturating_sub(memory.unlocked);
    gauge!("keyfall_secret_memory_bytes", "state" => "locked").set(locked as f64);
    gauge!("keyfall_secret_memory_bytes", "state" => "unlocked").set(memory.unlocked as f64);
}

/// Sets how many leaves the public log has that no checkpoint of this service covered.
pub(crate) fn of_log(leaves: u64, published: u64) {
    gauge!("keyfall_log_unpublished_leaves").set(leaves.saturating_sub(published) as f64);
}

/// For how long something has been so, in seconds, as this process saw it: 0 where it is not.
fn since_first_seen(since: &Mutex<Option<Instant>>, is_so: bool) -> f64 {
    let mut since = since.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_so {
        *since = None;
        return 0.0;
    }
    let age = since.get_or_insert_with(Instant::now).elapsed();
    // Never 0, which says that it is not so.
    age.max(Duration::from_millis(1)).as_secs_f64()
}

/// How far the clock is from the time that is known, in seconds; negative where it is behind.
fn clock_off(status: &Status) -> f64 {
    let (shows, known) = (status.clock_shows.as_millis(), status.time_known.as_millis());
    let off = shows.abs_diff(known) as f64 / 1000.0;
    if shows < known { -off } else { off }
}

/// Sets how much room there is on the disks, and how much there must be.
pub(crate) fn of_disks(disks: &[(&'static str, u64)], least: u64) {
    for (place, free) in disks {
        gauge!("keyfall_disk_free_bytes", "place" => *place).set(*free as f64);
    }
    gauge!("keyfall_disk_least_bytes").set(least as f64);
}

/// Sets when jobs last succeeded, from `JOB.prom` in `metrics/` below the state directory: 0 where
/// nothing says so.
pub(crate) fn of_jobs(state: &Path) {
    for job in Job::ALL {
        let (name, file) = (job.names().1, job.file(state));
        let small = file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= LONGEST);
        let text = if small { std::fs::read_to_string(file).ok() } else { None };
        let at = text.as_ref().and_then(|text| value_of(text, name)).unwrap_or(0.0);
        gauge!(name).set(at);
        let found = if matches!(job, Job::Drill) { DRILL_FOUND } else { &[] };
        for name in found {
            if let Some(value) = text.as_ref().and_then(|text| value_of(text, name)) {
                gauge!(*name).set(value);
            }
        }
    }
}

/// Notes that a job succeeded now, as `keyfall JOB --metrics-file` does.
///
/// # Errors
/// What the system says, with the place.
pub(crate) fn succeeded(job: Job, state: &Path) -> std::io::Result<()> {
    let (file, name) = (job.file(state), job.names().1);
    if let Some(dir) = file.parent() {
        private::directory(dir)?;
    }
    let at = now().as_millis() as f64 / 1000.0;
    let text = format!(
        "# HELP {name} When the job last succeeded.\n# TYPE {name} gauge\n{name} {at:.3}\n"
    );
    private::replace(&file, text.as_bytes())
}

/// The value of a metric in Prometheus' text format, which has no labels.
fn value_of(text: &str, name: &str) -> Option<f64> {
    let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(of_line)
}

/// Asks the keyholders which of them are there, and sets it.
pub(crate) fn of_keyholders(quorum: &QuorumCell) -> Reach {
    // Whether one answers does not depend on which root key is in use.
    let any = RootId { epoch: 0, attempt: [0; 16] };
    let standing = quorum.standing(&any);
    let (all, mut there) = (standing.len(), 0);
    for (number, member) in standing.iter().enumerate() {
        let down =
            matches!(member.standing, Standing::Away(_) | Standing::Refuses(_) | Standing::Lies);
        there += usize::from(!down);
        let number = (number + 1).to_string();
        gauge!("keyfall_keyholder_up", "number" => number).set(if down { 0.0 } else { 1.0 });
    }
    let rule = quorum.rule();
    gauge!("keyfall_keyholders_needed").set(f64::from(rule.threshold));
    let needed = usize::from(rule.threshold) + usize::from(rule.margin);
    Reach { there, all, needed: needed.min(all) }
}

/// Sets for how long a root key's destruction has been awaited: the engine tells it when it asks,
/// and it goes on meanwhile.
pub(crate) fn of_retirement(awaited: Option<Duration>) {
    if let Some(awaited) = awaited {
        gauge!("keyfall_retirement_unconfirmed_seconds").set(awaited.as_secs_f64());
    }
}

/// Measures what no erase can do without: 4 KiB appended and `fdatasync`, then 512 bytes in place
/// and `fdatasync`.
pub(crate) fn measure_floor(state: &Path) -> std::io::Result<()> {
    let place = state.join("floor");
    let file = File::create(&place)?;
    let mut took = Vec::with_capacity(WRITES);
    for at in 1..=WRITES as u64 {
        let began = Instant::now();
        file.write_all_at(&[9; 4096], at * 4096)?;
        file.sync_data()?;
        file.write_all_at(&[9; 512], 0)?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    gauge!("keyfall_erase_floor_seconds").set(took[WRITES / 2].as_secs_f64());
    std::fs::remove_file(place)
}
