//! `keyfall drill`: a restore that is tried and thrown away. Nothing is claimed, written or
//! destroyed but in its own directory; no copy is opened that was not named, for whoever has a copy
//! open keeps the living store from it.

mod erased;
mod scratch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::engine::{Audit, Checked};
use keyfall::env::{Env, System};
use keyfall::store::Store;
use keyfall::{Engine, Error, ErrorKind, Timestamp};
use serde_json::json;

use self::erased::Claimed;
use self::scratch::Scratch;
use crate::args::{DrillArgs, RestoreArgs};
use crate::commands::restore::{self, Built, ReadBack};
use crate::shell::again::{as_it_goes_on, overtaken};
use crate::shell::failure::Done;
use crate::shell::print::{bytes, counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::builder;
use crate::shell::succeeded::{Job, record_with};
use crate::show::copies::head_json;
use crate::show::time::time;

/// What was found.
struct Found {
    built: Built,
    /// Every key tried on every blob; not of a drill that opens some records.
    audit: Option<Audit>,
    restoring: Duration,
    opening: Duration,
    /// From the start until the restored store was open.
    rto: Duration,
    /// When the newest commit was made that is restored, and when the drill began.
    up_to: Timestamp,
    began: Timestamp,
    /// Certificates that hold for what was restored.
    certificates: u64,
    /// Why others do not.
    false_ones: Vec<String>,
}

/// Restores from copies into a directory of its own, opens what lives there, and removes it.
pub(super) fn run(session: &Session, args: &DrillArgs) -> Done {
    // A file that is no certificate is told before the long part.
    let claimed = args.certificate.iter().map(|file| Claimed::read(file));
    let claimed = claimed.collect::<Result<Vec<_>, Error>>()?;
    let found = as_it_goes_on(|| {
        let scratch = Scratch::below(&args.scratch)?;
        try_it(session, args, &claimed, &scratch.dir.join("store"))
    })?;
    tell(session, &found)?;
    found.verdict()?;
    let numbers = [
        ("keyfall_restore_drill_rto_seconds", "How long the restore took.", found.rto()),
        ("keyfall_restore_drill_rpo_seconds", "How old what it restored was.", found.rpo()),
    ];
    Ok(record_with(Job::Drill, args.metrics.metrics_file.as_deref(), &numbers)?)
}

impl Found {
    fn rto(&self) -> f64 {
        self.rto.as_secs_f64()
    }

    fn rpo(&self) -> f64 {
        self.began.as_millis().saturating_sub(self.up_to.as_millis()) as f64 / 1000.0
    }

    fn of_places(&self, count: impl Fn(&keyfall::engine::PlaceAudit) -> u64) -> u64 {
        self.audit.iter().flat_map(|audit| &audit.places).map(count).sum()
    }

    /// What cannot be opened, or is not what was put.
    fn damaged(&self) -> u64 {
        let lacking = self.built.checked.as_ref().map_or(0, |checked| checked.lacking);
        self.of_places(|place| place.damaged).max(lacking)
    }

    /// Blobs that open, and that nothing alive leads to.
    fn stray(&self) -> u64 {
        self.of_places(|place| place.stray)
    }

    /// Fails unless everything was restored, and nothing else.
    fn verdict(&self) -> Result<(), Error> {
        let corrupt = |text: String| Err(Error::new(ErrorKind::Corrupt, text));
        if self.damaged() > 0 {
            return corrupt(format!(
                "{} of what a restore brings back cannot be opened; make another copy with \
                 `keyfall backup`, and name it too",
                counted(self.damaged(), "blob")
            ));
        }
        if self.stray() > 0 && self.audit.as_ref().is_some_and(|audit| audit.finality.is_final()) {
            return corrupt(format!(
                "{} outside the live tree can be opened",
                counted(self.stray(), "blob")
            ));
        }
        match self.false_ones.first() {
            None => Ok(()),
            Some(first) => corrupt(first.clone()),
        }
    }
}

fn try_it(
    session: &Session,
    args: &DrillArgs,
    claimed: &[Claimed],
    into: &Path,
) -> Result<Found, Error> {
    let (started, began) = (Instant::now(), System.now());
    let copies: Vec<PathBuf> =
        args.from.iter().chain(&args.copy).chain(&args.copies).cloned().collect();
    let (into, adopt, unverified) = (into.to_owned(), false, false);
    let restore = RestoreArgs { into, adopt, unverified, single_machine: false, copies };
    let read_back = args.records.map_or(ReadBack::All, ReadBack::Some);
    let built = restore::without_owner(session, &restore, read_back)?;
    let restoring = started.elapsed();
    let opening = Instant::now();
    let engine = alone(session, &restore.into)?;
    let up_to = engine.status()?.last_commit;
    let rto = started.elapsed();
    let denied = claimed.iter().map(|claimed| claimed.denied_by(&engine));
    let denied = denied.collect::<Result<Vec<_>, Error>>()?;
    let false_ones: Vec<String> = denied.into_iter().flatten().collect();
    let audit = match args.records {
        Some(_) => None,
        None => audit(session, &engine)?,
    };
    let certificates = (claimed.len() - false_ones.len()) as u64;
    let opening = opening.elapsed();
    Ok(Found { built, audit, restoring, opening, rto, up_to, began, certificates, false_ones })
}

/// Tries every key on every blob of what was restored; `None` where an erase in the store ended
/// that state meanwhile.
fn audit(session: &Session, engine: &Engine) -> Result<Option<Audit>, Error> {
    let bar = progress("blobs opened", None);
    let audit = engine.audit(&[], &mut |n| bar.set_position(n));
    bar.finish_and_clear();
    match audit.map_err(overtaken) {
        Err(e) if e.kind() == ErrorKind::Changed => {
            let text = "something was erased while this looked for blobs that nothing alive leads \
                        to, so that is not known; all that lives was read back before";
            session.warn(&Error::new(ErrorKind::Changed, text));
            Ok(None)
        }
        audit => audit.map(Some),
    }
}

/// Opens what was restored, and none of the copies that its head lists: they are those of the
/// living store.
fn alone(session: &Session, store: &Path) -> Result<Engine, Error> {
    let none = |place: &str, _: bool| -> Result<Arc<dyn Store>, Error> {
        let text = format!("{place} is a copy of the living store; a drill leaves it alone");
        Err(Error::new(ErrorKind::Refused, text))
    };
    builder(session, store).read_only().open_copy(Arc::new(none)).open().map_err(overtaken)
}

fn tell(session: &Session, found: &Found) -> Done {
    let Found { built: Built { restored, checked }, audit, restoring, opening, .. } = found;
    let records = checked.as_ref().map_or(0, |checked: &Checked| checked.records);
    let live = audit.as_ref().map(|audit| audit.live_blobs);
    let drilled = found.certificates + found.false_ones.len() as u64;
    if session.json {
        return session.value(&json!({
            "from": restored.from, "head": head_json(restored.head), "blobs": restored.blobs,
            "bytes": restored.bytes, "live": live, "records": records,
            "restore_seconds": restoring.as_secs_f64(), "open_seconds": opening.as_secs_f64(),
            "rto_seconds": found.rto(), "rpo_seconds": found.rpo(),
            "restores_up_to": found.up_to.to_string(),
            "damaged": found.damaged(), "stray": audit.as_ref().map(|_| found.stray()),
            "certificates": drilled, "certificates_denied": found.false_ones,
        }));
    }
    let (blobs, length) = (counted(restored.blobs, "blob"), bytes(restored.bytes));
    line(format_args!("restored {} from {}: {blobs} ({length})", restored.head, restored.from))?;
    let opened = match live {
        Some(live) => {
            let live = counted(live, "live blob");
            format!("; opened {live} in {:.3} s", opening.as_secs_f64())
        }
        None => String::new(),
    };
    line(format_args!(
        "restored in {:.3} s, {} as they were put, by their digests{opened}; what was restored is \
         removed again",
        restoring.as_secs_f64(),
        counted(records, "record"),
    ))?;
    if drilled > 0 {
        let tried = counted(drilled, "certificate");
        line(format_args!("{tried} tried: what {} of them name is erased", found.certificates))?;
        found.false_ones.iter().try_for_each(|why| line(format_args!("DENIED {why}")))?;
    }
    line(format_args!("RTO {:.3} s: read back and open", found.rto()))?;
    line(format_args!(
        "RPO {:.3} s: what was put after {} is not in it",
        found.rpo(),
        time(found.up_to)
    ))
}
