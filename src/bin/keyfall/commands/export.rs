//! `keyfall export`: everything kept about a user, to take away.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use keyfall::env::System;
use keyfall::sealed::{Guarded, Packing};
use keyfall::{Engine, Error, ErrorKind, Reader, RecordId, RecordInfo, UserId};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::args::ExportArgs;
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::media::extension;
use crate::shell::outfile::{Replace, private_dir, write_private, write_to};
use crate::shell::outside::check_outside;
use crate::shell::places::store_and;
use crate::shell::print::{bytes, line, progress};
use crate::shell::read::read_public_key;
use crate::shell::session::Session;
use crate::shell::stores::open;
use crate::show::report::About;

/// Writes everything kept about a user: as files, or as one sealed file.
pub(super) fn run(session: &Session, args: ExportArgs) -> Done {
    let name = if args.to.is_some() { "SEALED" } else { "DIR" };
    let (store, [place]) = store_and(args.places, [name])?;
    check_outside(session, &store, &place)?;
    if args.to.is_none() {
        guarded::check_dir(&place)?;
    }
    let engine = open(session, &store)?;
    match args.to {
        Some(to) => {
            let out = Sealed { to: &to, place: &place, replace: Replace::forced(args.force) };
            out.export(session, &engine, &args.user)
        }
        None => export(session, &engine, &args.user, &place),
    }
}

/// Writes the records as they were put, and the report for programs and for people.
fn export(session: &Session, engine: &Engine, user: &UserId, dir: &Path) -> Done {
    let report = engine.report(user)?;
    private_dir(&dir.join("records"))?;
    check_empty(dir)?;
    let about = About::of(engine, report)?;
    let mut made = Vec::new();
    let written = write_files(session, engine, &about, dir, &mut made);
    let length = written.inspect_err(|_| {
        // The next try needs it empty. Whatever else lies there by now is somebody else's.
        made.iter().for_each(|file| drop(std::fs::remove_file(file)));
        let _ = std::fs::remove_dir(dir.join("records"));
    })?;
    if session.json {
        return session.value(&json!({
            "user": user.as_str(), "records": about.rows.len(), "bytes": length,
            "directory": dir.display().to_string(),
        }));
    }
    let (records, length) = (about.counted(), bytes(length));
    line(format_args!("{records} ({length}) and a report in {}", dir.display()))
}

fn check_empty(dir: &Path) -> Result<(), Error> {
    let entries = |dir: &Path| std::fs::read_dir(dir).map_err(|e| Error::io(dir.display(), e));
    let mut there = entries(dir)?.chain(entries(&dir.join("records"))?);
    let found = there.find_map(|entry| entry.ok().filter(|e| e.file_name() != "records"));
    found.map_or(Ok(()), |entry| {
        let text = format!(
            "{} is not empty: {} is there, maybe from an export that was cut short; name an empty \
             directory",
            dir.display(),
            entry.path().display()
        );
        Err(Error::new(ErrorKind::Exists, text))
    })
}

/// Writes the files, and adds each to `made`; returns the bytes of the records.
fn write_files(
    session: &Session,
    engine: &Engine,
    about: &About,
    dir: &Path,
    made: &mut Vec<PathBuf>,
) -> Result<u64, Error> {
    let bar = progress("records", Some(about.rows.len() as u64));
    let mut bytes = 0;
    for row in &about.rows {
        let name = format!("{}.{}", row.info.id, extension(&row.info.media_type));
        let place = dir.join("records").join(name);
        bytes += write_private(&place, Replace::Ordinary, |file| {
            let mut reader = reader(engine, &row.info.id)?;
            let mut out = Hashed { to: file, digest: Sha256::new() };
            let length = reader.write_to(&mut out)?;
            check_digest(reader.info(), &out.digest.finalize())?;
            Ok(length)
        })?;
        made.push(place);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let pages = [("report.json", json_file(session, about)), ("report.html", about.page(session))];
    for (name, text) in pages {
        let place = dir.join(name);
        write_private(&place, Replace::Ordinary, |file| {
            file.write_all(text.as_bytes()).map_err(|e| Error::io(place.display(), e))
        })?;
        made.push(place);
    }
    Ok(bytes)
}

/// A writer that hashes what goes through it.
struct Hashed<W> {
    to: W,
    digest: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.digest.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Whether what was read of a record is what was put.
fn check_digest(info: &RecordInfo, found: &[u8]) -> Result<(), Error> {
    if info.digest.is_none_or(|digest| digest[..] == *found) {
        return Ok(());
    }
    let text = format!(
        "record {} is read with another digest than it was put with; restore the store with \
         `keyfall restore --cell CELL --into NEW COPY...`",
        info.id
    );
    Err(Error::new(ErrorKind::Corrupt, text))
}

fn json_file(session: &Session, about: &About) -> String {
    format!("{:#}\n", about.json(session))
}

/// Opens a record for its user, under a name if a policy asks for one.
fn reader(engine: &Engine, id: &RecordId) -> Result<Reader, Error> {
    match engine.get(id) {
        Err(e) if e.kind() == ErrorKind::Refused => {
            engine.get_as(id, "export", "the right to data portability")
        }
        reader => reader,
    }
}

/// One file that is sealed to a public key of the user's.
struct Sealed<'a> {
    /// The file that holds the public key.
    to: &'a Path,
    place: &'a Path,
    replace: Replace,
}

impl Sealed<'_> {
    fn export(&self, session: &Session, engine: &Engine, user: &UserId) -> Done {
        let to = read_public_key(self.to)?;
        let about = About::read(engine, user)?;
        let bar = progress("records", Some(about.rows.len() as u64));
        let length = write_to(self.place, self.replace, |out| {
            let mut parcel = Packing::new(&System, &to, BufWriter::new(out))?;
            let mut bytes = 0;
            for row in &about.rows {
                bytes += parcel.record(&row.info, reader(engine, &row.info.id)?)?.unwrap_or(0);
                bar.inc(1);
            }
            let (json, html) = (json_file(session, &about), about.page(session));
            let live = || about.report.live();
            parcel.file("report.json", Guarded::new(json.as_bytes(), live()))?;
            parcel.file("report.html", Guarded::new(html.as_bytes(), live()))?;
            parcel.finish().map(|_| bytes)
        })?;
        bar.finish_and_clear();
        let place = self.place.display();
        if session.json {
            return session.value(&json!({
                "user": user.as_str(), "records": about.rows.len(), "bytes": length,
                "sealed": place.to_string(),
            }));
        }
        let (records, length) = (about.counted(), bytes(length));
        line(format_args!("{records} ({length}) and a report, sealed, in {place}"))
    }
}
