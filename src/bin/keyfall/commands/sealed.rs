//! `keyfall key`, `ask` and `unseal`: what people and programs outside do, without a store.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyfall::crypto::Key;
use keyfall::env::System;
use keyfall::sealed::{Identity, Item, Ticket, Unpack, unpack};
use keyfall::{Error, ErrorKind};
use serde_json::json;
use zeroize::Zeroizing;

use crate::commands::Done;
use crate::guarded;
use crate::outfile::{OutFile, Replace, private_dir};
use crate::output::{Failure, counted, line, value};
use crate::report::extension;
use crate::small::read_limited;

const SECRET: &str = "keyfall-once-1:";

/// Writes a file that only its owner reads, and that was not there.
fn write_secret(place: &Path, text: &str) -> Result<(), Error> {
    guarded::check_file(place, place)?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(place);
    let written = file.and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()));
    written.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::new(
            ErrorKind::Exists,
            format!(
                "{} is there already, and a secret is never replaced; name another file, or move it away",
                place.display()
            ),
        ),
        _ => Error::io(place.display(), e),
    })
}

fn read_secret(place: &Path) -> Result<Zeroizing<String>, Error> {
    let bytes = Zeroizing::new(read_limited(place)?);
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// Makes a key pair.
pub(crate) fn key(file: &Path, json: bool) -> Done {
    let identity = Identity::new(&System)?;
    let mut public = file.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let text = identity.public()?.to_string();
    let mut out = OutFile::create(&public, Replace::Ordinary)?;
    writeln!(out, "{text}").map_err(|e| Error::io(public.display(), e))?;
    write_secret(file, &identity.private())?;
    out.finish()?;
    let (private, public) = (file.display().to_string(), public.display().to_string());
    if json {
        return value(&json!({"private": private, "public": public}));
    }
    line(format_args!("{private}: keep it secret"))?;
    line(format_args!("{public}: give it away"))
}

/// Makes a request, and the secret that opens its answer.
pub(crate) fn ask(key: &Path, ticket: &Ticket, (output, replace): (&Path, Replace), secret: &Path, json: bool) -> Done {
    let (request, fresh) = Identity::from_private(&read_secret(key)?)?.ask(ticket, &System)?;
    let text =
        Zeroizing::new(format!("{SECRET}{}", &*Zeroizing::new(data_encoding::BASE64URL_NOPAD.encode(fresh.bytes()))));
    let mut out = OutFile::create(output, replace)?;
    let silent = out.is_stdout();
    write_secret(secret, &text)?;
    let written = out.write_all(&request).map_err(|e| Error::io(output.display(), e)).and_then(|()| out.finish());
    written.inspect_err(|_| {
        // A secret without its request opens nothing, and would be in the way of the next try.
        let _ = std::fs::remove_file(secret);
    })?;
    if silent {
        return Ok(());
    }
    let (request, secret) = (output.display().to_string(), secret.display().to_string());
    if json {
        return value(&json!({"request": request, "secret": secret}));
    }
    line(format_args!("{request}: send this to the owner of the store; {secret}: keep this, which opens the answer"))
}

/// Writes what is opened into a directory.
struct Into<'d> {
    dir: &'d Path,
    records: u64,
    fell: u64,
    made: Vec<PathBuf>,
}

impl Into<'_> {
    fn place(&self, item: &Item) -> Result<PathBuf, Error> {
        let name = match item {
            Item::Record { id, media_type, .. } => format!("records/{id}.{}", extension(media_type)),
            Item::File(name) => name.clone(),
            _ => {
                return Err(Error::new(
                    ErrorKind::Refused,
                    "this parcel holds what this program does not know; use a newer one",
                ));
            }
        };
        // A name comes from whoever sealed it: it must not lead out of the directory.
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', '\0']);
        let ok = name.strip_prefix("records/").map_or_else(|| plain(&name), plain);
        if ok {
            Ok(self.dir.join(name))
        } else {
            Err(Error::new(ErrorKind::Corrupt, format!("a bad file name in the parcel: {name:?}")))
        }
    }
}

impl Unpack for Into<'_> {
    fn begin(&mut self, item: &Item) -> Result<Box<dyn Write + '_>, Error> {
        let place = self.place(item)?;
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&place);
        let file = file.map_err(|e| Error::io(place.display(), e))?;
        self.made.push(place);
        Ok(Box::new(file))
    }

    fn end(&mut self, item: &Item, fell: bool) -> Result<(), Error> {
        if fell {
            self.fell += 1;
            let place = self.place(item)?;
            self.made.retain(|made| *made != place);
            return std::fs::remove_file(&place).map_err(|e| Error::io(place.display(), e));
        }
        self.records += u64::from(matches!(item, Item::Record { .. }));
        Ok(())
    }
}

/// Opens a parcel into an empty directory; a secret that was made for one request goes.
pub(crate) fn unseal(key: &Path, sealed: &Path, dir: &Path, json: bool) -> Done {
    let text = read_secret(key)?;
    let once = text.strip_prefix(SECRET);
    let secret = match once {
        Some(text) => {
            let bytes = Zeroizing::new(data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default());
            match bytes.first_chunk::<32>() {
                Some(bytes) => Key::copied_from(bytes),
                None => return Err(Error::new(ErrorKind::Invalid, "this secret is not whole").into()),
            }
        }
        None => Key::copied_from(Identity::from_private(&text)?.opening().bytes()),
    };
    let parcel = File::open(sealed).map_err(|e| Error::io(sealed.display(), e))?;
    let io = |e: io::Error| Error::io(dir.display(), e);
    guarded::check_dir(dir)?;
    private_dir(dir)?;
    if let Some(Ok(entry)) = std::fs::read_dir(dir).map_err(io)?.next() {
        let text = format!(
            "{} is not empty: {} is there, maybe from an unseal that was cut short; name an empty directory",
            dir.display(),
            entry.path().display()
        );
        return Err(Error::new(ErrorKind::Exists, text).into());
    }
    private_dir(&dir.join("records"))?;
    let mut into = Into { dir, records: 0, fell: 0, made: Vec::new() };
    let unpacked = unpack(&secret, io::BufReader::new(parcel), &mut into).and_then(|()| {
        // The secret goes, and with it the only way to have this once more: it must be on the disk before.
        let dirs = [dir.join("records"), dir.to_owned()];
        let sync = |place: &PathBuf| File::open(place).and_then(|file| file.sync_all());
        into.made.iter().chain(&dirs).try_for_each(|place| sync(place).map_err(|e| Error::io(place.display(), e)))
    });
    if let Err(e) = unpacked {
        // What was cut short is not taken for the whole.
        into.made.iter().for_each(|file| drop(std::fs::remove_file(file)));
        let _ = std::fs::remove_dir(dir.join("records"));
        return Err(e.into());
    }
    let kept = if once.is_some() { std::fs::remove_file(key).err() } else { None };
    if json {
        value(&json!({"records": into.records, "fell": into.fell, "directory": dir.display().to_string()}))?;
    } else {
        line(format_args!("{} in {}", counted(into.records, "record"), dir.display()))?;
    }
    match kept {
        Some(e) => Err(Failure::Late(Error::io(format!("opened; remove the secret {} yourself", key.display()), e))),
        None => Ok(()),
    }
}
