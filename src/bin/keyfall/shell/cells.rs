//! Where the root cell of a store is, and opening it.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::{FileCell, RootCell};
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::net::open_cell;
use keyfall::{Error, ErrorKind};

use crate::shell::outfile::{Replace, write_to};
use crate::shell::paths::{Named, absolute, apart};
use crate::shell::read::read_limited;

/// First word of the line that binds a cell's place to a store.
const BOUND: &str = "store ";
/// Most bytes of a file that names a cell's place.
const POINTER_MAX: u64 = 16 << 10;

/// `STORE.cell`, beside the store: the cell itself, or a file that names its place. Nothing in the
/// store says where the cell is: whoever writes there would choose the key.
pub(crate) fn default_cell(store: &Path) -> PathBuf {
    let by_letters = store.components().as_path();
    let mut name = match by_letters.file_name() {
        Some(_) => by_letters.as_os_str().to_owned(),
        // `.` and `..` have a name only where they lead.
        None => absolute(store).unwrap_or_else(|_| by_letters.to_owned()).into_os_string(),
    };
    name.push(".cell");
    PathBuf::from(name)
}

/// Where a cell is.
pub(crate) struct CellPlace {
    pub(crate) place: PathBuf,
    /// The store that it belongs to, where a file beside the store says so.
    pub(crate) bound: Option<String>,
}

/// Reads the file beside a store that names its cell's place; `None` if the cell itself is there,
/// or nothing.
fn pointer(file: &Path) -> Result<Option<CellPlace>, Error> {
    let io = |e| Error::io(file.display(), e);
    match file.metadata() {
        Ok(meta) if meta.is_file() && meta.len() <= POINTER_MAX => {}
        Ok(meta) if meta.is_dir() => return Ok(None),
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "{} is neither a cell nor a file that names one; name the cell with --cell",
                    file.display()
                ),
            ));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    }
    let bytes = read_limited(file)?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let place = PathBuf::from(OsStr::from_bytes(lines.next().unwrap_or_default()));
    if !place.is_absolute() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "{} is no cell, and its first line is no absolute path to one; correct it, or \
                 name the cell with --cell",
                file.display()
            ),
        ));
    }
    let bound = lines.find_map(|line| line.strip_prefix(BOUND.as_bytes()));
    let bound = bound.map(|id| String::from_utf8_lossy(id).trim().to_owned());
    Ok(Some(CellPlace { place, bound }))
}

/// Writes the file that names a cell's place, and the store that the cell is bound to, once known.
pub(crate) fn write_pointer(file: &Path, place: &Path, store: Option<&str>) -> Result<(), Error> {
    let place = absolute(place)?.into_os_string().into_vec();
    if place.contains(&b'\n') {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a cell's place has no line break in it; name another",
        ));
    }
    let bound = store.map_or(String::new(), |id| format!("{BOUND}{id}\n"));
    write_to(file, Replace::Pointer, |out| {
        let written = out.write_all(&[&place[..], b"\n", bound.as_bytes()].concat());
        written.map_err(|e| Error::io(file.display(), e))
    })
}

/// The file that is to name a cell which lies elsewhere; `None` where the cell lies beside its
/// store.
pub(crate) fn pointer_to_write(store: &Path, place: &Path) -> Result<Option<PathBuf>, Error> {
    let file = default_cell(store);
    let place = absolute(place)?;
    if absolute(&file)? == place {
        return Ok(None);
    }
    let free = match pointer(&file)? {
        // The file that a link leads to may be another store's.
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
            "{} is there already, and is not the cell {}; move it away, or name another place for \
             the store",
            file.display(),
            place.display()
        ),
    ))
}

/// Where a store's cell is: the named one, or the one that lies or is named beside the store.
/// Neither lies inside the other.
pub(crate) fn place_of(store: &Path, named: Option<&Path>) -> Result<CellPlace, Error> {
    let found = match named {
        Some(cell) => CellPlace { place: cell.to_owned(), bound: None },
        None => {
            let default = default_cell(store);
            pointer(&default)?.unwrap_or(CellPlace { place: default, bound: None })
        }
    };
    let store = Named { what: "the store", place: store };
    apart(&[Named { what: "the cell", place: &found.place }, store])?;
    Ok(found)
}

/// What the system gives a cell: its clock and its randomness.
pub(crate) fn env() -> SharedEnv {
    Arc::new(System)
}

/// Opens a cell of any kind to look at it, without disturbing a process that has it open.
pub(crate) fn look_root(place: &Path) -> Result<Arc<dyn RootCell>, Error> {
    Ok(match open_cell(place, &env())? {
        Some(cell) => Arc::new(cell),
        None => Arc::new(FileCell::look(place, Arc::new(System))?),
    })
}

/// Opens a cell of any kind.
pub(crate) fn open_root(place: &Path) -> Result<Arc<dyn RootCell>, Error> {
    Ok(match open_cell(place, &env())? {
        Some(cell) => Arc::new(cell),
        None => Arc::new(FileCell::open(place, Arc::new(System))?),
    })
}

/// The file that says where the cell of a restored store is, if the cell does not lie beside it. It
/// is written when the store is there.
pub(crate) struct Adopted {
    pointer: Option<PathBuf>,
    place: PathBuf,
}

impl Adopted {
    /// Finds out whether such a file is needed, and whether it can be written.
    pub(crate) fn check(into: &Path, cell: &Path) -> Result<Self, Error> {
        Ok(Adopted { pointer: pointer_to_write(into, cell)?, place: cell.to_owned() })
    }

    /// Writes the file, with the store that the cell says it belongs to.
    pub(crate) fn write(&self, root: &dyn RootCell) -> Result<(), Error> {
        let Some(file) = &self.pointer else { return Ok(()) };
        let bound = root.load()?.store.map(|id| id.to_string());
        write_pointer(file, &self.place, bound.as_deref())
    }
}
