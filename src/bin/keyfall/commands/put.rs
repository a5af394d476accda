//! `keyfall put`.

use std::fs::File;
use std::io;
use std::path::Path;

use keyfall::{Error, ErrorKind, Put, RecordId};
use serde_json::json;

use crate::args::PutArgs;
use crate::shell::failure::Done;
use crate::shell::places::store_and;
use crate::shell::print::{line, progress};
use crate::shell::realms::{Whose, shard_of};
use crate::shell::session::Session;
use crate::shell::stores::open;

/// Puts a file, or standard input.
pub(super) fn run(session: &Session, args: PutArgs) -> Done {
    let (store, [file]) = store_and(args.places.clone(), ["FILE"])?;
    let put = args.into_put();
    let (session, store) = &shard_of(session, store, Whose::Put(&put))?;
    let id = if file == Path::new("-") {
        open(session, store)?.put(put, io::stdin().lock())?
    } else {
        put_file(session, store, put, &file)?
    };
    if session.json {
        let interaction = id.interaction().to_string();
        session.value(&json!({"id": id.to_string(), "interaction": interaction}))
    } else {
        line(id)
    }
}

fn put_file(session: &Session, store: &Path, put: Put, file: &Path) -> Result<RecordId, Error> {
    // The file first: a slip in its name should not cost opening a store.
    let reader = File::open(file).map_err(|e| Error::io(file.display(), e))?;
    let meta = reader.metadata().map_err(|e| Error::io(file.display(), e))?;
    if meta.is_dir() {
        let text = format!("{} is a directory; name a file", file.display());
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    // A file that is cut short while it is read is not stored as whole. What a pipe gives nobody
    // knows before, and files of /proc say 0.
    let put = if meta.is_file() && meta.len() > 0 { put.length(meta.len()) } else { put };
    let engine = open(session, store)?;
    let bar = progress("bytes", Some(meta.len()));
    let id = engine.put(put, bar.wrap_read(reader))?;
    bar.finish_and_clear();
    Ok(id)
}
