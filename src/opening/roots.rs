//! Root cells in directories, of whatever kind lies there.

use std::path::Path;
use std::sync::Arc;

use crate::cell::{FileCell, RootCell};
use crate::env::SharedEnv;
use crate::error::Result;
#[cfg(not(feature = "keyholders"))]
use crate::error::{Error, ErrorKind};

/// Opens the cell in a directory to look at it: a process that has it open goes on undisturbed.
///
/// # Errors
/// `Absent` where there is none; `Corrupt`, `Io`.
pub fn look_root(dir: &Path, env: &SharedEnv) -> Result<Arc<dyn RootCell>> {
    Ok(match shared_root(dir, env)? {
        Some(cell) => cell,
        None => Arc::new(FileCell::look(dir, Arc::clone(env))?),
    })
}

/// Opens the cell in a directory.
pub(super) fn open_root(dir: &Path, env: &SharedEnv) -> Result<Arc<dyn RootCell>> {
    Ok(match shared_root(dir, env)? {
        Some(cell) => cell,
        None => Arc::new(FileCell::open(dir, Arc::clone(env))?),
    })
}

/// The cell in a directory that is spread over keyholders; `None` of one of another kind, and where there is none.
#[cfg(feature = "keyholders")]
fn shared_root(dir: &Path, env: &SharedEnv) -> Result<Option<Arc<dyn RootCell>>> {
    Ok(crate::quorum::net::open_cell(dir, env)?.map(|cell| Arc::new(cell) as Arc<dyn RootCell>))
}

#[cfg(not(feature = "keyholders"))]
fn shared_root(dir: &Path, _env: &SharedEnv) -> Result<Option<Arc<dyn RootCell>>> {
    if !dir.join("quorum.json").exists() {
        return Ok(None);
    }
    Err(Error::new(
        ErrorKind::Refused,
        format!("the root cell {} is spread over keyholders; build with the feature `keyholders`", dir.display()),
    ))
}
