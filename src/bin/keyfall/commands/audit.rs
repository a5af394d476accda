//! `keyfall audit`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::engine::Audit;
use keyfall::store::Store;
use keyfall::{Engine, Error, ErrorKind};

use crate::args::AuditArgs;
use crate::shell::again::as_it_goes_on;
use crate::shell::failure::{Done, Failure};
use crate::shell::places::store_and_any;
use crate::shell::print::{block, line, progress};
use crate::shell::realms::all_shards;
use crate::shell::remedy::word;
use crate::shell::session::Session;
use crate::shell::stores::look;
use crate::shell::succeeded::{Job, record};
use crate::show::audit::{audit_json, audit_table};
use crate::show::cell::{awaited, undone};
use crate::show::time::time;
use keyfall::opening::absolute;
use keyfall::opening::copy_as_it_is;
use keyfall::realm::is_realm;
use serde_json::json;

/// Audits a store, its copies and further places.
pub(super) fn run(session: &Session, args: AuditArgs) -> Done {
    let (store, more) = store_and_any(args.places)?;
    let clean = match is_realm(&store) {
        true => realm(session, store, &more)?,
        false => {
            let audit = audited(session, &store, &more)?;
            if session.json {
                session.value(&audit_json(session, &audit))?;
            } else {
                tell(session, &audit)?;
            }
            let said = verdict(session, &audit)?;
            if !session.json {
                line(said)?;
            }
            audit.is_clean()
        }
    };
    if clean {
        record(Job::Audit, args.metrics.metrics_file.as_deref())?;
    }
    Ok(())
}

/// Audits each shard of a realm; what is wrong with one keeps none from its audit. Says of each
/// what was found, and at the end of the realm. Whether all are clean.
fn realm(session: &Session, store: PathBuf, more: &[PathBuf]) -> Result<bool, Failure> {
    if !more.is_empty() {
        let text = "a copy is that of one shard: audit this shard with it";
        return Err(Error::new(ErrorKind::Invalid, text).into());
    }
    let (mut failed, mut shown, mut clean) = (Vec::new(), Vec::new(), 0);
    let shards = all_shards(session, store.clone())?;
    let all = shards.len();
    for (shard, place) in shards {
        let name = place.display().to_string();
        let audit = audited(&shard, &place, &[]);
        let told = audit.as_ref().map(|audit| audit_json(&shard, audit)).ok();
        clean += usize::from(audit.as_ref().is_ok_and(Audit::is_clean));
        if let (Ok(audit), false) = (&audit, session.json) {
            tell(&shard, audit)?;
        }
        let said = match audit.and_then(|audit| verdict(&shard, &audit)) {
            Ok(said) => said,
            Err(e) => {
                let said = shard.fill(&e.to_string());
                failed.push((shard, place, e));
                said
            }
        };
        if !session.json {
            line(format_args!("{name}: {said}"))?;
        }
        shown.push(json!({"shard": name, "audit": told, "verdict": said}));
    }
    session.about(&store);
    let counted = format!("{clean} of {all} shards are clean");
    let said = match failed.len() {
        0 => counted,
        n => format!("{counted}, and {n} failed"),
    };
    if session.json {
        let (realm, clean) = (store.display().to_string(), clean == all);
        session.value(&json!({
            "realm": realm, "clean": clean, "verdict": said, "shards": shown,
        }))?;
    } else {
        line(format_args!("realm {}: {said}", store.display()))?;
    }
    // What was found weighs more than what could not be looked at.
    let worst = failed.iter().position(|(_, _, e)| e.kind() == ErrorKind::Corrupt).unwrap_or(0);
    if failed.is_empty() {
        return Ok(clean == all);
    }
    let (shard, place, e) = failed.swap_remove(worst);
    // What the text says to do is about that shard.
    shard.about(&place);
    Err(e.context(place.display()).into())
}

/// Audits a store, and once more if its writer on another machine put something meanwhile.
fn audited(session: &Session, store: &Path, more: &[PathBuf]) -> Result<Audit, Error> {
    as_it_goes_on(|| audited_once(session, store, more))
}

fn audited_once(session: &Session, store: &Path, more: &[PathBuf]) -> Result<Audit, Error> {
    let engine = look(session, store)?;
    let places = further(&engine, more)?;
    let bar = progress("blobs tried", None);
    let audit = engine.audit(&places, &mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    Ok(audit)
}

fn tell(session: &Session, audit: &Audit) -> Done {
    block(audit_table(audit))?;
    let mut strays = audit.places.iter().flat_map(|p| &p.strays);
    strays.try_for_each(|stray| line(format_args!("stray {stray}")))?;
    let mut damage =
        audit.places.iter().flat_map(|p| p.other_damage.iter().map(|what| (&p.place, what)));
    damage.try_for_each(|(place, what)| line(format_args!("damage {place}: {what}")))?;
    if let Some(lacks) = &audit.lacks {
        line(format_args!("LACKING: {}", session.fill(lacks)))?;
    }
    let mut away = audit.away.iter();
    away.try_for_each(|copy| line(format_args!("not audited {}: {}", copy.place, copy.why)))
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

/// Whether the audit is clean, or not yet, in words; anything else is an error.
fn verdict(session: &Session, audit: &Audit) -> Result<String, Error> {
    if audit.is_clean() {
        return Ok("clean: what opens is the live tree, and nothing else".to_owned());
    }
    if let ([copy, ..], true) = (&audit.away[..], audit.is_sound()) {
        let text = format!(
            "nothing ill was found in what was audited, and the copy {} was not: bring it back, or \
             give it up with `keyfall copy remove STORE {}`, and audit again",
            copy.place,
            word(Path::new(&copy.place))
        );
        return Err(Error::new(ErrorKind::Copy, text));
    }
    let whole = audit.places.iter().all(|p| p.damaged == 0 && p.other_damage.is_empty());
    if let (Some(lacks), true) = (&audit.lacks, whole) {
        return Err(Error::new(ErrorKind::Mismatch, lacks.as_str()));
    }
    if !audit.finality.is_final() && whole {
        let until = audit.pending.map(|until| format!(" until {}", time(until)));
        let until = until.unwrap_or_default();
        let awaited = awaited(session, &audit.finality).join("; ");
        // What was seen weighs more than what an engine that could not finish says of it.
        let is_seen = audit.root_keys > 1 || audit.places.iter().any(|place| place.stray > 0);
        let undone = match undone(&audit.finality, &until) {
            Some(undone) if !is_seen => undone,
            _ => format!("the destruction of older root keys is pending{until}"),
        };
        return Ok(format!("not clean yet: {undone}: {awaited}"));
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        "the audit found what should not be: blobs that open outside the live tree (stray), live \
         blobs that do not open (damaged), other damage (as live blobs that are missing), or more \
         than one root key in the cell",
    ))
}
