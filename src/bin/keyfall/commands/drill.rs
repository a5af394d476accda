//! `keyfall drill`: a restore that is tried and thrown away.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyfall::engine::{Audit, Checked};
use keyfall::{Error, ErrorKind};
use serde_json::json;

use crate::args::{DrillArgs, RestoreArgs};
use crate::commands::restore::{self, Built};
use crate::shell::failure::Done;
use crate::shell::outfile::private_dir;
use crate::shell::print::{bytes, counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::look;
use crate::shell::succeeded::{Job, record};
use crate::show::copies::head_json;

/// What was found.
struct Found {
    built: Built,
    audit: Audit,
    restoring: Duration,
    opening: Duration,
}

/// Restores from copies into a directory of its own, opens everything, and removes it.
pub(super) fn run(session: &Session, args: &DrillArgs) -> Done {
    let scratch = Scratch::below(&args.scratch)?;
    let found = try_it(session, args, &scratch.0.join("store"))?;
    drop(scratch);
    tell(session, &found)?;
    let damaged = found.damaged();
    let stray: u64 = found.audit.places.iter().map(|place| place.stray).sum();
    if damaged > 0 {
        let text = format!(
            "{} of what a restore brings back cannot be opened; make another copy with `keyfall \
             backup`, and name it too",
            counted(damaged, "blob")
        );
        return Err(Error::new(ErrorKind::Corrupt, text).into());
    }
    if stray > 0 && found.audit.finality.is_final() {
        let text = format!("{} outside the live tree can be opened", counted(stray, "blob"));
        return Err(Error::new(ErrorKind::Corrupt, text).into());
    }
    Ok(record(Job::Drill, args.metrics.metrics_file.as_deref())?)
}

impl Found {
    /// What cannot be opened, or is not what was put.
    fn damaged(&self) -> u64 {
        let blobs: u64 = self.audit.places.iter().map(|place| place.damaged).sum();
        blobs.max(self.built.checked.as_ref().map_or(0, |checked| checked.lacking))
    }
}

fn try_it(session: &Session, args: &DrillArgs, into: &Path) -> Result<Found, Error> {
    let began = Instant::now();
    let (into, copies) = (into.to_owned(), args.copies.clone());
    let restore =
        RestoreArgs { into, adopt: false, unverified: false, single_machine: false, copies };
    let built = restore::without_owner(session, &restore)?;
    let restoring = began.elapsed();
    let began = Instant::now();
    let engine = look(session, &restore.into)?;
    let bar = progress("blobs opened", None);
    let audit = engine.audit(&[], &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    Ok(Found { built, audit, restoring, opening: began.elapsed() })
}

fn tell(session: &Session, found: &Found) -> Done {
    let Found { built: Built { restored, checked }, audit, restoring, opening } = found;
    let records = checked.as_ref().map_or(0, |checked: &Checked| checked.records);
    if session.json {
        return session.value(&json!({
            "from": restored.from, "head": head_json(restored.head), "blobs": restored.blobs,
            "bytes": restored.bytes, "live": audit.live_blobs, "records": records,
            "restore_seconds": restoring.as_secs_f64(), "open_seconds": opening.as_secs_f64(),
            "damaged": found.damaged(),
            "stray": audit.places.iter().map(|place| place.stray).sum::<u64>(),
        }));
    }
    let (blobs, length) = (counted(restored.blobs, "blob"), bytes(restored.bytes));
    line(format_args!("restored {} from {}: {blobs} ({length})", restored.head, restored.from))?;
    let live = counted(audit.live_blobs, "live blob");
    line(format_args!(
        "restored in {:.3} s, {} as they were put, by their digests; opened {live} in {:.3} s; what \
         was restored is removed again",
        restoring.as_secs_f64(),
        counted(records, "record"),
        opening.as_secs_f64()
    ))
}

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn below(dir: &Path) -> Result<Self, Error> {
        let scratch = dir.join(format!("keyfall-drill-{}", std::process::id()));
        if scratch.exists() {
            let text = format!("{} is there already; remove it first", scratch.display());
            return Err(Error::new(ErrorKind::Refused, text));
        }
        private_dir(&scratch)?;
        Ok(Scratch(scratch))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
