//! The marker of a store in a directory: its format, and the naming key of its journal in hex.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::dir::open_to_read;
use crate::error::{Error, ErrorKind, Result};
use crate::store::journal::NAMING_KEY_BYTES;

/// File name of the marker, which says that a directory is a store.
pub(super) const MARKER: &str = "keyfall";
/// File name of the marker while it is being written.
pub(super) const UNFINISHED: &str = "keyfall.new";
/// Most bytes of a marker that are read.
const MARKER_MAX: u64 = 4096;
/// How the marker of any format begins.
const FORMATS: &str = "keyfall store, format ";
/// How that of a store on objects begins.
const OF_OBJECTS: &str = "keyfall object log, format ";
const FORMAT: &str = "keyfall store, format 1\n";
const NAMING: &str = "naming key ";

/// Reads the naming key of the store in a directory. `is_unused` says whether its journal never
/// held anything.
pub(super) fn read(dir: &Path, is_unused: impl FnOnce() -> bool) -> Result<[u8; NAMING_KEY_BYTES]> {
    let mut text = Vec::new();
    let read = open_to_read(&dir.join(MARKER))
        .and_then(|file| file.take(MARKER_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => match String::from_utf8(text) {
            Ok(text) => naming_key(dir, &text),
            Err(_) => Err(bad_marker(dir, "is damaged")),
        },
        // What an interrupted `create` leaves has none, and nothing in its journal.
        Err(e) if e.kind() == io::ErrorKind::NotFound && !is_unused() => {
            Err(bad_marker(dir, "is missing"))
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(Error::new(
                ErrorKind::Absent,
                format!("no store at {}; name another place", dir.display()),
            ))
        }
        Err(e) => Err(Error::io(dir.join(MARKER).display(), e)),
    }
}

/// Writes the marker, at once: only a whole store has one. The caller syncs the directory.
pub(super) fn write(dir: &Path, naming_key: &[u8; NAMING_KEY_BYTES]) -> io::Result<()> {
    let _ = std::fs::remove_file(dir.join(UNFINISHED));
    let mut file = File::create_new(dir.join(UNFINISHED))?;
    file.write_all(text_of(naming_key).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(dir.join(UNFINISHED), dir.join(MARKER))
}

/// The text of a marker.
fn text_of(naming_key: &[u8; NAMING_KEY_BYTES]) -> String {
    let sum = crc32fast::hash(naming_key).to_be_bytes();
    format!(
        "{FORMAT}{NAMING}{}\n",
        data_encoding::HEXLOWER.encode(&[&naming_key[..], &sum].concat())
    )
}

/// The naming key in the text of a marker.
fn naming_key(dir: &Path, text: &str) -> Result<[u8; NAMING_KEY_BYTES]> {
    let Some(rest) = text.strip_prefix(FORMAT) else {
        if text.starts_with(OF_OBJECTS) {
            let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
            return Err(Error::invalid(format!(
                "{} is a store on objects: name it as file://{}",
                dir.display(),
                whole.display()
            )));
        }
        if !text.starts_with(FORMATS) {
            return Err(bad_marker(dir, "is damaged"));
        }
        let first = text.lines().next().unwrap_or_default();
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} has another format ({first:?}); use the program that wrote it",
                dir.display()
            ),
        ));
    };
    let bytes = rest
        .strip_prefix(NAMING)
        .and_then(|hex| data_encoding::HEXLOWER.decode(hex.trim_end().as_bytes()).ok());
    let key = bytes.as_deref().and_then(|bytes| bytes.first_chunk().copied());
    key.filter(|key| text_of(key) == text).ok_or_else(|| bad_marker(dir, "is damaged"))
}

fn bad_marker(dir: &Path, what: &str) -> Error {
    let place = dir.join(MARKER);
    Error::corrupt(format!(
        "the marker {} {what}; restore the store from a copy with `restore`",
        place.display()
    ))
}
