//! When a job last succeeded, for those that watch it.

use std::io::Write;
use std::path::Path;

use keyfall::Error;
use keyfall::env::{Env, System};

use crate::shell::outfile::{Replace, write_to};

/// A job whose success is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    Backup,
    Audit,
    Drill,
}

impl Job {
    fn metric(self) -> &'static str {
        match self {
            Job::Backup => "keyfall_last_backup_timestamp_seconds",
            Job::Audit => "keyfall_last_audit_timestamp_seconds",
            Job::Drill => "keyfall_last_restore_drill_timestamp_seconds",
        }
    }
}

/// A number that a job found: the metric, what it says, and its value.
pub(crate) type Found = (&'static str, &'static str, f64);

/// Writes that a job succeeded now, if there is a file for it.
pub(crate) fn record(job: Job, file: Option<&Path>) -> Result<(), Error> {
    record_with(job, file, &[])
}

/// The same, with what it found.
pub(crate) fn record_with(job: Job, file: Option<&Path>, more: &[Found]) -> Result<(), Error> {
    let Some(file) = file else { return Ok(()) };
    let at = System.now().as_millis() as f64 / 1000.0;
    let first = (job.metric(), "When the job last succeeded.", at);
    let gauge = |(metric, help, value): &Found| {
        format!("# HELP {metric} {help}\n# TYPE {metric} gauge\n{metric} {value:.3}\n")
    };
    let text: String = std::iter::once(&first).chain(more).map(gauge).collect();
    write_to(file, Replace::Ordinary, |out| {
        out.write_all(text.as_bytes()).map_err(|e| Error::io(file.display(), e))
    })
}
