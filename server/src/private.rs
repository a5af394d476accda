//! Files that only this service reads, and randomness.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rand::TryRng;
use rand::rngs::SysRng;
use rustix::fs::{Access, access};
use rustix::io::Errno;

/// Random bytes of the system.
///
/// # Errors
/// If its generator fails.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Makes a directory that only this user enters, if there is none.
///
/// # Errors
/// As the system says, with the place.
pub(crate) fn directory(place: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(place).map_err(|e| at(place, &e))
}

/// Refuses a place where no directory can be made, if there is none, before anything is made.
///
/// # Errors
/// As the system says, with the place.
pub(crate) fn makeable(place: &Path) -> io::Result<()> {
    let whole = std::path::absolute(place)?;
    let there = whole.ancestors().find(|dir| dir.symlink_metadata().is_ok());
    let Some(there) = there else { return Ok(()) };
    let within = match there.is_dir() {
        true => access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from),
        false => Err(Errno::NOTDIR.into()),
    };
    within.map_err(|e| {
        let why = at(there, &e);
        io::Error::new(e.kind(), format!("{} cannot be made: {why}", place.display()))
    })
}

/// Reads a file, if there is one.
///
/// # Errors
/// As the system says, with the place.
pub(crate) fn read(place: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(place) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(at(place, &e)),
    }
}

/// Makes a file that only this user reads; there must be none.
///
/// # Errors
/// As the system says, with the place.
pub(crate) fn create(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(place);
    write(open, bytes).map_err(|e| at(place, &e))
}

/// Puts a file in the place of another, whole or not at all.
///
/// # Errors
/// As the system says, with the place.
pub(crate) fn replace(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = place.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let open =
        || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside);
    write(open, bytes)
        .and_then(|()| fs::rename(beside, place))
        .and_then(|()| place.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all()))
        .map_err(|e| at(place, &e))
}

fn write(open: impl Fn() -> io::Result<File>, bytes: &[u8]) -> io::Result<()> {
    let mut file = open()?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The error with the place, and with what to do about it.
fn at(place: &Path, error: &io::Error) -> io::Error {
    let again = match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    };
    io::Error::new(error.kind(), keyfall::Error::io(place.display(), again).to_string())
}
