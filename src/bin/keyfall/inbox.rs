//! `keyfall inbox`, `seal` and `accept`: records that arrive sealed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use keyfall::env::System;
use keyfall::sealed::{self, InboxKey};
use keyfall::{Engine, Error, Put, UserId};
use serde_json::json;

use crate::commands::{Done, write_whole};
use crate::output::{line, progress, value};

/// Prints the public key of an inbox.
pub(crate) fn key(engine: &Engine, user: &UserId, json: bool) -> Done {
    let key = engine.inbox(user)?;
    if json { value(&json!({"user": user.as_str(), "key": key.to_string()})) } else { line(key) }
}

fn reader(file: &Path) -> Result<Box<dyn Read>, Error> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(file).map_err(|e| Error::io(file.display(), e))?))
}

/// Seals a file to an inbox.
pub(crate) fn seal(put: &Put, file: &Path, to: &Path, output: &Path, json: bool) -> Done {
    let to = std::fs::read(to).map_err(|e| Error::io(to.display(), e))?;
    let to: InboxKey = String::from_utf8_lossy(&to).parse()?;
    let payload = reader(file)?;
    let length = write_whole(output, |out| sealed::seal(put, payload, &to, &System, out))?;
    if json { value(&json!({"envelope": output.display().to_string(), "length": length})) } else { Ok(()) }
}

/// Takes envelopes in; the first that fails ends it, and those before are in.
pub(crate) fn accept(engine: &Engine, envelopes: &[std::path::PathBuf], json: bool) -> Done {
    let bar = progress("envelopes", Some(envelopes.len() as u64));
    let mut all = Vec::new();
    for place in envelopes {
        let done = engine.accept(reader(place)?).map_err(|e| e.context(place.display()))?;
        bar.inc(1);
        if json {
            all.push(json!({"envelope": place.display().to_string(), "id": done.id.to_string(), "again": done.again}));
        } else {
            line(done.id)?;
        }
    }
    bar.finish_and_clear();
    if json { value(&json!(all)) } else { Ok(()) }
}
