//! Output files of a command that works on a store: they lie neither in the store nor in its cell.

use std::path::Path;

use keyfall::{Error, ErrorKind};

use crate::shell::outfile::{OutFile, Replace};
use crate::shell::session::Session;
use keyfall::opening::lies_inside;

/// Opens an output file that lies neither in the store nor in its cell.
pub(crate) fn out_file(
    session: &Session,
    store: &Path,
    place: &Path,
    replace: Replace,
) -> Result<OutFile, Error> {
    check_outside(session, store, place)?;
    OutFile::create(place, replace)
}

/// Refuses a file or a directory that would be written inside the store or its cell.
pub(crate) fn check_outside(session: &Session, store: &Path, place: &Path) -> Result<(), Error> {
    let cell = session.cell_of(store)?;
    for (other, there) in [("the store", store), ("the cell", &cell)] {
        if place != Path::new("-") && lies_inside(place, there)? {
            let text = format!(
                "{} lies inside {other} {}; name another place",
                place.display(),
                there.display()
            );
            return Err(Error::new(ErrorKind::Refused, text));
        }
    }
    Ok(())
}
