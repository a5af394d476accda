//! Certificates of what was due: planned erases and limits. Their drafts lie in STORE.certificates,
//! beside the store, from before the erase until `keyfall certificate collect` makes them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use keyfall::certificate::Draft;
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::shell::drafts::drafts_of;
use crate::shell::failure::Done;
use crate::shell::outfile::{Replace, private_dir, write_private};
use crate::shell::print::line;
use crate::shell::read::read_text;
use crate::shell::session::Session;

/// Makes the certificates of all drafts, into a directory; a draft goes once its certificate lies
/// there, or once it is known that its erase was not done.
pub(super) fn collect(session: &Session, engine: &Engine, store: &Path, dir: &Path) -> Done {
    let (mut made, mut void) = (Vec::new(), 0_u64);
    for file in drafts(&drafts_of(store))? {
        let named = |e: Error| e.context(file.display());
        let draft: Draft = read_text(&file)?.parse().map_err(named)?;
        match engine.certificates().get(&draft) {
            Ok(certificate) => {
                private_dir(dir)?;
                let name = file.file_stem().unwrap_or_default();
                let place = dir.join(name).with_extension("erased");
                // One that lies there is of the same draft: a run before this one was cut short.
                write_private(&place, Replace::Anything, |out| {
                    let written = out.write_all(certificate.to_string().as_bytes());
                    written.map_err(|e| Error::io(place.display(), e))
                })?;
                made.push((place.display().to_string(), certificate.erased()));
            }
            Err(e) if e.kind() == ErrorKind::Absent => void += 1,
            Err(e) => return Err(named(e).into()),
        }
        fs::remove_file(&file).map_err(|e| Error::io(file.display(), e))?;
    }
    if session.json {
        let made: Vec<_> = made.iter().map(|(place, _)| place).collect();
        return session.value(&json!({"certificates": made, "not_done": void}));
    }
    if made.is_empty() {
        return line("no planned erase was certified since the last time");
    }
    made.iter().try_for_each(|(place, erased)| line(format_args!("{place}: {erased}")))
}

/// The drafts that lie in a directory, in the order of their erases.
fn drafts(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |e| Error::io(dir.display(), e);
    let listed = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in listed {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "draft") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
