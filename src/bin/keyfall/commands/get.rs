//! `keyfall get`.

use std::io::{self, Write};
use std::path::Path;

use keyfall::{Error, Reader, RecordId};
use serde_json::json;

use crate::args::GetArgs;
use crate::shell::failure::{Done, Failure};
use crate::shell::outfile::Replace;
use crate::shell::outside::out_file;
use crate::shell::print::{bytes, line};
use crate::shell::realms::shard_of;
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::shell::which::which;

/// Writes a record to standard output, or to a file.
pub(super) fn run(session: &Session, args: GetArgs) -> Done {
    let (store, wanted) = which(args.which)?;
    let (session, store) = &shard_of(session, store, wanted.whose())?;
    // The file first: if it cannot be written, the user's report should not say that it was opened.
    let place = args.output.filter(|place| place != Path::new("-"));
    let replace = Replace::forced(args.force);
    let out = place.as_ref().map(|place| out_file(session, store, place, replace)).transpose()?;
    let (id, mut reader) = match (args.principal, args.purpose) {
        // Opening under a name is recorded: it needs a store that can be written to.
        (Some(principal), Some(purpose)) => {
            let engine = open(session, store)?;
            let id = wanted.id(&engine)?;
            (id, engine.get_as(&id, &principal, &purpose)?)
        }
        _ => {
            let engine = look(session, store)?;
            let id = wanted.id(&engine)?;
            (id, engine.get(&id)?)
        }
    };
    let (Some(place), Some(file)) = (place, out) else { return to_stdout(&mut reader) };
    let mut file = file.private();
    let length = reader.write_to(&mut file).map_err(pipe_or)?;
    let silent = file.is_stdout();
    file.finish()?;
    if silent { Ok(()) } else { tell(session, &id, &place, length) }
}

fn to_stdout(reader: &mut Reader) -> Done {
    let mut out = io::stdout().lock();
    reader.write_to(&mut out).map_err(pipe_or)?;
    Ok(out.flush()?)
}

fn tell(session: &Session, id: &RecordId, place: &Path, length: u64) -> Done {
    let file = place.display();
    if session.json {
        let file = file.to_string();
        return session.value(&json!({"id": id.to_string(), "file": file, "length": length}));
    }
    line(format_args!("{} written to {file}", bytes(length)))
}

fn pipe_or(e: Error) -> Failure {
    let closed = std::error::Error::source(&e)
        .and_then(|s| s.downcast_ref::<io::Error>())
        .is_some_and(|s| s.kind() == io::ErrorKind::BrokenPipe);
    if closed { Failure::ClosedPipe } else { Failure::Error(e) }
}
