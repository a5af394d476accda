//! The files of a realm: a few lines of text that end with their own digest, written once.

use std::fs::File;
use std::io::{ErrorKind as Kind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::crypto::sha256;
use crate::dir::{open_to_read, sync_dir};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};

/// Longest file that is read.
const FILE_MAX: u64 = 4 << 20;
/// First word of the last line.
const DIGEST: &str = "sha256 ";
/// How the names of files begin that were not finished.
const PART: &str = ".keyfall-";

/// A file's lines, with the one before the digest as the last.
pub(super) fn sealed(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    let digest = data_encoding::HEXLOWER.encode(&sha256(text.as_bytes()));
    format!("{text}{DIGEST}{digest}\n")
}

/// Reads a file; `None` if there is none.
pub(super) fn read(file: &Path) -> Result<Option<String>> {
    let io = |e| Error::io(file.display(), e);
    let from = match open_to_read(file) {
        Ok(from) => from,
        Err(e) if matches!(e.kind(), Kind::NotFound | Kind::NotADirectory) => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let mut bytes = Vec::new();
    from.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    match String::from_utf8(bytes) {
        Ok(text) if text.len() as u64 <= FILE_MAX => Ok(Some(text)),
        _ => Err(Error::corrupt(format!("{} is no text of a realm{}", file.display(), remedy()))),
    }
}

/// The lines of a file after its first one, which is `title`, without the digest, which is right.
pub(super) fn lines<'t>(file: &Path, text: &'t str, title: &str) -> Result<Vec<&'t str>> {
    let bad = |what: &str| Error::corrupt(format!("{} {what}{}", file.display(), remedy()));
    let Some(body) = text.strip_prefix(title).and_then(|rest| rest.strip_prefix('\n')) else {
        return Err(bad(&format!("does not begin with `{title}`")));
    };
    let whole = body.rfind(DIGEST).map(|at| title.len() + 1 + at);
    let is_whole = whole.is_some_and(|at| {
        let digest = data_encoding::HEXLOWER.encode(&sha256(&text.as_bytes()[..at]));
        text[at..] == format!("{DIGEST}{digest}\n")
    });
    match whole {
        Some(at) if is_whole => Ok(text[title.len() + 1..at].lines().collect()),
        _ => Err(bad("is damaged: its digest is of another text")),
    }
}

/// What helps against a file that cannot be used.
pub(super) fn remedy() -> &'static str {
    "; put back a copy of it, or move it away and call `RealmBuilder::init` with the shards and the \
     options of the first time, which writes the same one; no shard is lost with it"
}

/// Writes a file, whole or not at all, and never over another one: the caller holds the lock of the
/// realm's directory.
pub(super) fn write_once(file: &Path, text: &str, env: &dyn Env) -> Result<()> {
    let io = |e| Error::io(file.display(), e);
    if file.symlink_metadata().is_ok() {
        return Err(Error::new(
            ErrorKind::Exists,
            format!("{} exists already, and is never written over", file.display()),
        ));
    }
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut drawn = [0; 8];
    env.fill(&mut drawn)?;
    let part = dir.join(format!("{PART}{:016x}.part", u64::from_be_bytes(drawn)));
    let written = write_part(&part, text).and_then(|()| std::fs::rename(&part, file));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&part);
        io(e)
    })?;
    sync_dir(dir)
}

fn write_part(part: &Path, text: &str) -> std::io::Result<()> {
    let mut out = File::options().write(true).create_new(true).mode(0o644).open(part)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()
}

/// Removes what a killed writer left half written.
pub(super) fn remove_parts(dir: &Path) -> Result<()> {
    let io = |e| Error::io(dir.display(), e);
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PART) && name.ends_with(".part") {
            std::fs::remove_file(entry.path()).map_err(io)?;
        }
    }
    Ok(())
}
