//! `keyfall key`, `ask` and `unseal`: what people and programs outside do, without a store.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyfall::crypto::Key;
use keyfall::env::System;
use keyfall::sealed::{Identity, Item, Unpack, unpack};
use keyfall::{Error, ErrorKind};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::{AskArgs, KeyArgs, UnsealArgs};
use crate::shell::failure::{Done, Failure};
use crate::shell::guarded;
use crate::shell::media::extension;
use crate::shell::outfile::{OutFile, Replace, private_dir};
use crate::shell::print::{counted, line};
use crate::shell::read::read_limited;
use crate::shell::session::Session;

/// How the secret of one request begins.
const SECRET: &str = "keyfall-once-1:";

/// Makes a key pair.
pub(super) fn key(session: &Session, args: &KeyArgs) -> Done {
    let identity = Identity::new(&System)?;
    let mut public = args.file.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let text = identity.public()?.to_string();
    let mut out = OutFile::create(&public, Replace::Ordinary)?;
    writeln!(out, "{text}").map_err(|e| Error::io(public.display(), e))?;
    write_secret(&args.file, &identity.private())?;
    out.finish()?;
    let (private, public) = (args.file.display().to_string(), public.display().to_string());
    if session.json {
        return session.value(&json!({"private": private, "public": public}));
    }
    line(format_args!("{private}: keep it secret"))?;
    line(format_args!("{public}: give it away"))
}

/// Makes a request, and the secret that opens its answer.
pub(super) fn ask(session: &Session, args: &AskArgs) -> Done {
    let (output, secret) = (&args.output, &args.secret);
    let identity = Identity::from_private(&read_secret(&args.key)?)?;
    let (request, fresh) = identity.ask(&args.ticket, &System)?;
    let encoded = Zeroizing::new(data_encoding::BASE64URL_NOPAD.encode(fresh.bytes()));
    let text = Zeroizing::new(format!("{SECRET}{}", &*encoded));
    let mut out = OutFile::create(output, Replace::forced(args.force))?;
    let silent = out.is_stdout();
    write_secret(secret, &text)?;
    let written = out.write_all(&request).map_err(|e| Error::io(output.display(), e));
    written.and_then(|()| out.finish()).inspect_err(|_| {
        // A secret without its request opens nothing, and would be in the way of the next try.
        let _ = std::fs::remove_file(secret);
    })?;
    if silent {
        return Ok(());
    }
    let (request, secret) = (output.display().to_string(), secret.display().to_string());
    if session.json {
        return session.value(&json!({"request": request, "secret": secret}));
    }
    line(format_args!(
        "{request}: send this to the owner of the store; {secret}: keep this, which opens the \
         answer"
    ))
}

/// Opens a parcel into an empty directory, and removes a secret that was made for one request.
pub(super) fn unseal(session: &Session, args: &UnsealArgs) -> Done {
    let (dir, key) = (args.dir.as_path(), args.key.as_path());
    let text = read_secret(key)?;
    let once = text.strip_prefix(SECRET);
    let secret = match once {
        Some(text) => once_key(text)?,
        None => Key::copied_from(Identity::from_private(&text)?.opening().bytes()),
    };
    let parcel = File::open(&args.sealed).map_err(|e| Error::io(args.sealed.display(), e))?;
    guarded::check_dir(dir)?;
    private_dir(dir)?;
    check_empty(dir)?;
    private_dir(&dir.join("records"))?;
    let mut into = Into { dir, records: 0, fell: 0, made: Vec::new() };
    let unpacked = unpack(&secret, BufReader::new(parcel), &mut into);
    // With the secret goes the only way to open this once more: it must be on the disk before.
    if let Err(e) = unpacked.and_then(|()| into.sync()) {
        into.remove();
        return Err(e.into());
    }
    let kept = if once.is_some() { std::fs::remove_file(key).err() } else { None };
    if session.json {
        session.value(&json!({
            "records": into.records, "fell": into.fell, "directory": dir.display().to_string(),
        }))?;
    } else {
        line(format_args!("{} in {}", counted(into.records, "record"), dir.display()))?;
    }
    match kept {
        Some(e) => {
            let text = format!("opened; remove the secret {} yourself", key.display());
            Err(Failure::Late(Error::io(text, e)))
        }
        None => Ok(()),
    }
}

/// The key in the secret of one request.
fn once_key(text: &str) -> Result<Key, Error> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes());
    let bytes = Zeroizing::new(bytes.unwrap_or_default());
    let whole = bytes.first_chunk::<32>().map(Key::copied_from);
    whole.ok_or_else(|| Error::new(ErrorKind::Invalid, "this secret is not whole"))
}

fn check_empty(dir: &Path) -> Result<(), Error> {
    let mut entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir.display(), e))?;
    let Some(Ok(entry)) = entries.next() else { return Ok(()) };
    let text = format!(
        "{} is not empty: {} is there, maybe from an unseal that was cut short; name an empty \
         directory",
        dir.display(),
        entry.path().display()
    );
    Err(Error::new(ErrorKind::Exists, text))
}

/// Writes a new file that only its owner can read.
fn write_secret(place: &Path, text: &str) -> Result<(), Error> {
    guarded::check_file(place, place)?;
    let file = File::options().write(true).create_new(true).mode(0o600).open(place);
    let written = file.and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()));
    written.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            let text = format!(
                "{} already exists, and a secret is never replaced; name another file, or move \
                 it away",
                place.display()
            );
            Error::new(ErrorKind::Exists, text)
        }
        _ => Error::io(place.display(), e),
    })
}

fn read_secret(place: &Path) -> Result<Zeroizing<String>, Error> {
    let bytes = Zeroizing::new(read_limited(place)?);
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned()))
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
            Item::Record { id, media_type, .. } => {
                format!("records/{id}.{}", extension(media_type))
            }
            Item::File(name) => name.clone(),
            _ => {
                let text = "this parcel holds what this program does not know; use a newer one";
                return Err(Error::new(ErrorKind::Refused, text));
            }
        };
        // The sender of the parcel chose the name: it must not lead out of the directory.
        let plain = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', '\0'])
        };
        if name.strip_prefix("records/").map_or_else(|| plain(&name), plain) {
            Ok(self.dir.join(name))
        } else {
            Err(Error::new(ErrorKind::Corrupt, format!("a bad file name in the parcel: {name:?}")))
        }
    }

    /// Makes everything that was written durable.
    fn sync(&self) -> Result<(), Error> {
        let dirs = [self.dir.join("records"), self.dir.to_owned()];
        let sync = |place: &PathBuf| File::open(place).and_then(|file| file.sync_all());
        let mut places = self.made.iter().chain(&dirs);
        places.try_for_each(|place| sync(place).map_err(|e| Error::io(place.display(), e)))
    }

    /// Removes what was written, so that a part is not taken for the whole.
    fn remove(&self) {
        self.made.iter().for_each(|file| drop(std::fs::remove_file(file)));
        let _ = std::fs::remove_dir(self.dir.join("records"));
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
