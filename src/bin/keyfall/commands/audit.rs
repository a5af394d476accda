//! `keyfall audit`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::engine::Audit;
use keyfall::store::Store;
use keyfall::{Engine, Error, ErrorKind};

use crate::args::AuditArgs;
use crate::shell::failure::Done;
use crate::shell::places::store_and_any;
use crate::shell::print::{block, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::look;
use crate::shell::succeeded::{Job, record};
use crate::show::audit::{audit_json, audit_table};
use crate::show::cell::awaited;
use crate::show::time::time;
use keyfall::opening::absolute;
use keyfall::opening::copy_as_it_is;

/// Audits a store, its copies and further places.
pub(super) fn run(session: &Session, args: AuditArgs) -> Done {
    let (store, more) = store_and_any(args.places)?;
    let engine = look(session, &store)?;
    let places = further(&engine, &more)?;
    let bar = progress("blobs tried", None);
    let audit = engine.audit(&places, &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    if session.json {
        session.value(&audit_json(session, &audit))?;
    } else {
        block(audit_table(&audit))?;
        let mut strays = audit.places.iter().flat_map(|p| &p.strays);
        strays.try_for_each(|stray| line(format_args!("stray {stray}")))?;
    }
    verdict(session, &audit)?;
    if audit.is_clean() {
        record(Job::Audit, args.metrics.metrics_file.as_deref())?;
    }
    Ok(())
}

/// The places that were named, without the copies that the engine has open.
fn further(engine: &Engine, more: &[PathBuf]) -> Result<Vec<Arc<dyn Store>>, Error> {
    let copies = engine.copies().status();
    let attached = copies.iter().filter(|c| c.error.is_none() || c.head.is_some());
    let attached: Vec<&Path> = attached.map(|c| Path::new(&c.entry.place)).collect();
    let mut places: Vec<Arc<dyn Store>> = Vec::new();
    for place in more {
        if !attached.contains(&absolute(place)?.as_path()) {
            places.push(copy_as_it_is(place)?);
        }
    }
    Ok(places)
}

/// Says whether the audit is clean, or not yet; anything else is an error.
fn verdict(session: &Session, audit: &Audit) -> Done {
    let tell = |text: &str| if session.json { Ok(()) } else { line(text) };
    if audit.is_clean() {
        return tell("clean: what opens is the live tree, and nothing else");
    }
    if !audit.finality.is_final() && audit.places.iter().all(|p| p.damaged == 0) {
        let until = audit.pending.map(|until| format!(" until {}", time(until)));
        let until = until.unwrap_or_default();
        let awaited = awaited(session, &audit.finality).join("; ");
        return tell(&format!(
            "not clean yet: the destruction of older root keys is pending{until}: {awaited}"
        ));
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        "the audit found what should not be: blobs that open outside the live tree (stray), live \
         blobs that do not open (damaged), or more than one root key in the cell",
    )
    .into())
}
