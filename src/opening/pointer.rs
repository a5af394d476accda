//! The file beside a store that names the place of its cell, and the store that the cell is bound
//! to.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::paths::absolute;
use crate::dir::sync_dir;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;

/// First word of the line that binds a cell's place to a store.
const BOUND: &str = "store ";
/// Longest file that names a cell's place.
const POINTER_MAX: u64 = 16 << 10;

/// What such a file says.
pub(super) struct Pointer {
    /// Where the cell is.
    pub(super) place: PathBuf,
    /// The store that it belongs to, if the file says so.
    pub(super) bound: Option<String>,
}

/// Reads the file; `None` if there is none, or the cell itself.
pub(super) fn read(file: &Path) -> Result<Option<Pointer>> {
    let io = |e| Error::io(file.display(), e);
    match file.metadata() {
        Ok(meta) if meta.is_file() && meta.len() <= POINTER_MAX => {}
        Ok(meta) if meta.is_dir() => return Ok(None),
        Ok(_) => {
            return Err(Error::invalid(format!(
                "{} is neither a cell nor a file that names one; name the cell with \
                 `Builder::cell_at`",
                file.display()
            )));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    }
    let mut bytes = Vec::new();
    File::open(file).and_then(|from| from.take(POINTER_MAX).read_to_end(&mut bytes)).map_err(io)?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let place = PathBuf::from(OsStr::from_bytes(lines.next().unwrap_or_default()));
    if !place.is_absolute() {
        return Err(Error::invalid(format!(
            "{} is not a cell, and its first line is not an absolute path to one; correct it, or name the \
             cell with `Builder::cell_at`",
            file.display()
        )));
    }
    let bound = lines.find_map(|line| line.strip_prefix(BOUND.as_bytes()));
    let bound = bound.map(|id| String::from_utf8_lossy(id).trim().to_owned());
    Ok(Some(Pointer { place, bound }))
}

/// Writes it, whole or not at all: the place, and which store the cell is bound to once that is
/// known.
pub(super) fn write(
    file: &Path,
    place: &Path,
    store: Option<StoreId>,
    env: &dyn Env,
) -> Result<()> {
    let mut text = absolute(place)?.into_os_string().into_vec();
    if text.contains(&b'\n') {
        return Err(Error::invalid("a cell's place has no line break in it; name another"));
    }
    text.push(b'\n');
    text.extend(store.map_or(String::new(), |id| format!("{BOUND}{id}\n")).into_bytes());
    let io = |e| Error::io(file.display(), e);
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut drawn = [0; 8];
    env.fill(&mut drawn)?;
    let part = dir.join(format!(".keyfall-{:016x}.part", u64::from_be_bytes(drawn)));
    let written = write_part(&part, &text).and_then(|()| std::fs::rename(&part, file));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&part);
        io(e)
    })?;
    sync_dir(dir)
}

/// Other users may read the file but never write to it: a writer would choose the key.
fn write_part(part: &Path, text: &[u8]) -> io::Result<()> {
    let mut out = File::options().write(true).create_new(true).mode(0o644).open(part)?;
    out.write_all(text)?;
    let mode = out.metadata()?.permissions().mode();
    out.set_permissions(Permissions::from_mode(mode & 0o644))?;
    out.sync_all()
}

/// The file that is to name a cell which does not lie beside its store; `None` if it does lie
/// there. `file` is where the cell would be by default.
pub(super) fn to_write(file: PathBuf, place: &Path) -> Result<Option<PathBuf>> {
    let place = absolute(place)?;
    if absolute(&file)? == place {
        return Ok(None);
    }
    let free = match read(&file)? {
        // What it leads to may be another store's.
        _ if file.is_symlink() => false,
        Some(there) => absolute(&there.place)? == place,
        None => file.symlink_metadata().is_err(),
    };
    if free {
        return Ok(Some(file));
    }
    Err(Error::new(
        ErrorKind::Exists,
        format!(
            "{} already exists, and is not the cell {}; move it away, or name another place for \
             the store",
            file.display(),
            place.display()
        ),
    ))
}
