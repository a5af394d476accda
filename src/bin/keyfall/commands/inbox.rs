//! `keyfall inbox`, `seal` and `accept`: records that arrive sealed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use keyfall::Error;
use keyfall::env::System;
use keyfall::sealed::{self, InboxKey};
use serde_json::json;

use crate::args::{AcceptArgs, SealArgs, UserArgs};
use crate::shell::failure::Done;
use crate::shell::outfile::{OutFile, Replace};
use crate::shell::places::{one, store_and_some};
use crate::shell::print::{bytes, line, progress};
use crate::shell::read::read_text;
use crate::shell::session::Session;
use crate::shell::stores::open;

/// Prints the public key of an inbox.
pub(super) fn key(session: &Session, args: UserArgs) -> Done {
    let engine = open(session, &one(args.places)?)?;
    let user = args.user;
    let key = engine.inbox(&user).key()?;
    if session.json {
        session.value(&json!({"user": user.as_str(), "key": key.to_string()}))
    } else {
        line(key)
    }
}

/// Seals a file to an inbox.
pub(super) fn seal(session: &Session, args: SealArgs) -> Done {
    let put = args.record.into_put();
    let to: InboxKey = read_text(&args.to)?.parse()?;
    let payload = reader(&args.file)?;
    let mut out = OutFile::create(&args.output, Replace::forced(args.force))?;
    let silent = out.is_stdout();
    let length = sealed::seal(&put, payload, &to, &System, &mut out)?;
    out.finish()?;
    if silent {
        return Ok(());
    }
    let envelope = args.output.display();
    if session.json {
        return session.value(&json!({"envelope": envelope.to_string(), "length": length}));
    }
    line(format_args!("sealed {} into {envelope}", bytes(length)))
}

/// Accepts envelopes. The first that fails ends the command; those before it have been accepted and
/// reported.
pub(super) fn accept(session: &Session, args: AcceptArgs) -> Done {
    let (store, envelopes) = store_and_some(args.places, "ENVELOPE")?;
    let engine = open(session, &store)?;
    let bar = progress("envelopes", Some(envelopes.len() as u64));
    let (mut all, mut untold, mut failed) = (Vec::new(), None, None);
    for place in &envelopes {
        let accepted = reader(place).and_then(|envelope| engine.accept(envelope));
        let done = match accepted {
            Ok(done) => done,
            Err(e) => {
                failed = Some(e.context(place.display()));
                break;
            }
        };
        bar.inc(1);
        if session.json {
            let (envelope, id) = (place.display().to_string(), done.id.to_string());
            all.push(json!({"envelope": envelope, "id": id, "again": done.again}));
        } else if let Err(e) = line(done.id) {
            // Accept the rest regardless.
            untold = untold.or(Some(e));
        }
    }
    bar.finish_and_clear();
    if session.json && (failed.is_none() || !all.is_empty()) {
        untold = session.value(&json!(all)).err();
    }
    match (failed, untold) {
        (Some(e), _) => Err(e.into()),
        (None, Some(untold)) => Err(untold),
        (None, None) => Ok(()),
    }
}

fn reader(file: &Path) -> Result<Box<dyn Read>, Error> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(file).map_err(|e| Error::io(file.display(), e))?))
}
