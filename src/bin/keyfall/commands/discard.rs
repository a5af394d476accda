//! `keyfall discard`.

use std::io::Write;
use std::path::{Path, PathBuf};

use keyfall::certificate::Certificate;
use keyfall::engine::Discarded;
use keyfall::{Engine, Error};
use serde_json::json;

use crate::args::DiscardArgs;
use crate::commands::certificate;
use crate::shell::failure::{Done, Failure};
use crate::shell::outfile::{OutFile, Replace};
use crate::shell::outside::out_file;
use crate::shell::places::one;
use crate::shell::print::{bytes, counted, line, progress};
use crate::shell::session::Session;
use crate::shell::stores::open;

/// Room for what an upgrade adds to a certificate.
const GROWTH_BYTES: u64 = 64 << 10;

/// A certificate that is to say what was discarded, and the room for it.
struct Prepared {
    place: PathBuf,
    certificate: Certificate,
    out: OutFile,
}

impl Prepared {
    fn new(session: &Session, store: &Path, place: PathBuf) -> Result<Self, Error> {
        let certificate = certificate::read(&place)?;
        let mut out = out_file(session, store, &place, Replace::Anything)?;
        out.reserve(2 * certificate.to_string().len() as u64 + GROWTH_BYTES)?;
        Ok(Prepared { place, certificate, out })
    }

    fn upgrade(mut self, engine: &Engine, done: Discarded) -> Result<(), Error> {
        let certificate = engine.certificates().upgrade(&self.certificate, Some(done))?;
        let written = self.out.write_all(certificate.to_string().as_bytes());
        written.map_err(|e| Error::io(self.place.display(), e))?;
        self.out.finish()
    }
}

/// Gives space back, and has certificates say so.
pub(super) fn run(session: &Session, args: DiscardArgs) -> Done {
    let store = one(args.places)?;
    // Whatever can fail comes first: discarding once more would not certify what is gone by then.
    let prepare = |place| Prepared::new(session, &store, place);
    let prepared: Vec<_> = args.certificate.into_iter().map(prepare).collect::<Result<_, _>>()?;
    let engine = open(session, &store)?;
    for Prepared { place, certificate, .. } in &prepared {
        engine.certificates().upgrade(certificate, None).map_err(|e| e.context(place.display()))?;
    }
    let bar = progress("blobs read", None);
    let done = engine.discard(&mut |n| bar.set_position(n))?;
    bar.finish_and_clear();
    let mut failed = None;
    for certificate in prepared {
        let place = certificate.place.clone();
        if let Err(e) = certificate.upgrade(&engine, done) {
            let text = format!("discarded; only {} does not say so", place.display());
            failed = Some(e.context(text));
        }
    }
    let told = tell(session, &done);
    failed.map_or(told, |e| Err(Failure::Late(e)))
}

fn tell(session: &Session, done: &Discarded) -> Done {
    if session.json {
        return session.value(&json!({
            "blobs": done.blobs, "bytes_before": done.bytes_before, "bytes_after": done.bytes_after,
            "copies_skipped": done.copies_skipped, "bytes_left": done.bytes_left,
            "bytes_refused": done.bytes_refused, "keeps_versions": done.keeps_versions,
        }));
    }
    let (before, after) = (bytes(done.bytes_before), bytes(done.bytes_after));
    line(format_args!(
        "discarded {}: {before} before, {after} after",
        counted(done.blobs, "blob")
    ))?;
    if done.keeps_versions {
        line(session.fill(
            "a place may keep what is deleted (versions of objects, rows before a vacuum): how much \
             of what was removed is still there is not known; have it let go of that",
        ))?;
    }
    if done.bytes_refused > 0 {
        line(format_args!(
            "a place refuses to delete {} of what is dead: it is locked, or its rights forbid it; \
             discard again once it may be deleted",
            bytes(done.bytes_refused)
        ))?;
    }
    if done.copies_skipped > 0 {
        line(session.fill(&format!(
            "{} passed over: out of reach, or behind; run `keyfall copy sync STORE` first",
            counted(done.copies_skipped, "copy")
        )))?;
    }
    Ok(())
}
