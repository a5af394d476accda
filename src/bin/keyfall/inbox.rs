//! `keyfall inbox`, `seal` and `accept`: records that arrive sealed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use keyfall::env::System;
use keyfall::sealed::{self, InboxKey};
use keyfall::{Engine, Error, Put, UserId};
use serde_json::json;

use crate::commands::Done;
use crate::outfile::{OutFile, Replace};
use crate::output::{bytes, line, progress, value};
use crate::small::read_text;

/// Prints the public key of an inbox.
pub(crate) fn key(engine: &Engine, user: &UserId, json: bool) -> Done {
    let key = engine.inbox(user).key()?;
    if json { value(&json!({"user": user.as_str(), "key": key.to_string()})) } else { line(key) }
}

fn reader(file: &Path) -> Result<Box<dyn Read>, Error> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(file).map_err(|e| Error::io(file.display(), e))?))
}

/// Seals a file to an inbox.
pub(crate) fn seal(put: &Put, file: &Path, to: &Path, (output, replace): (&Path, Replace), json: bool) -> Done {
    let to: InboxKey = read_text(to)?.parse()?;
    let payload = reader(file)?;
    let mut out = OutFile::create(output, replace)?;
    let silent = out.is_stdout();
    let length = sealed::seal(put, payload, &to, &System, &mut out)?;
    out.finish()?;
    if silent {
        return Ok(());
    }
    let envelope = output.display();
    if json {
        return value(&json!({"envelope": envelope.to_string(), "length": length}));
    }
    line(format_args!("sealed {} into {envelope}", bytes(length)))
}

/// Takes envelopes in; the first that fails ends it, and those before are in, and told.
pub(crate) fn accept(engine: &Engine, envelopes: &[std::path::PathBuf], json: bool) -> Done {
    let bar = progress("envelopes", Some(envelopes.len() as u64));
    let (mut all, mut untold, mut failed) = (Vec::new(), None, None);
    for place in envelopes {
        let accepted = reader(place).and_then(|envelope| engine.accept(envelope));
        let done = match accepted {
            Ok(done) => done,
            Err(e) => {
                failed = Some(e.context(place.display()));
                break;
            }
        };
        bar.inc(1);
        if json {
            all.push(json!({"envelope": place.display().to_string(), "id": done.id.to_string(), "again": done.again}));
        } else if let Err(e) = line(done.id) {
            // The others are to come in all the same.
            untold = untold.or(Some(e));
        }
    }
    bar.finish_and_clear();
    if json && (failed.is_none() || !all.is_empty()) {
        untold = value(&json!(all)).err();
    }
    match (failed, untold) {
        (Some(e), _) => Err(e.into()),
        (None, Some(untold)) => Err(untold),
        (None, None) => Ok(()),
    }
}
