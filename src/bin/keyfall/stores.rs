//! Where a store and its cell are, and how they are made and opened.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::{FileCell, RootCell};
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::quorum::Member;
use keyfall::quorum::net::{make_cell, open_cell};
use keyfall::store::SledStore;
use keyfall::{Engine, Error, ErrorKind, Options};

use crate::{keyholders, output};

/// A file in the store's directory that remembers where `init --cell` put the cell.
pub(crate) const CELL_PLACE: &str = "cell";

/// `STORE.cell`, beside the store.
pub(crate) fn default_cell(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    while name.as_encoded_bytes().ends_with(b"/") {
        name = PathBuf::from(name).components().as_path().as_os_str().to_owned();
    }
    name.push(".cell");
    PathBuf::from(name)
}

pub(crate) fn cell_of(store: &Path, named: Option<&Path>) -> PathBuf {
    if let Some(cell) = named {
        return cell.to_owned();
    }
    match std::fs::read_to_string(store.join(CELL_PLACE)) {
        Ok(place) => PathBuf::from(place.trim_end_matches('\n')),
        Err(_) => default_cell(store),
    }
}

/// Opens a cell of whatever kind lies there.
pub(crate) fn open_root(place: &Path) -> Result<Arc<dyn RootCell>, Error> {
    Ok(match open_cell(place, &keyholders::env())? {
        Some(cell) => Arc::new(cell),
        None => Arc::new(FileCell::open(place, Arc::new(System))?),
    })
}

/// Opens a store with its cell. The store first: a store that is not there is the likelier slip.
pub(crate) fn open(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    let engine = open_as_it_is(store, cell)?;
    // What is due comes first, whatever was asked; where it fails, what was asked may still be done.
    match engine.tend(&mut |_| {}) {
        Ok(done) if done.waiting => output::warn(&doubted(&engine)),
        Ok(_) => {}
        Err(e) => output::warn(&e.context("something is due and could not be done")),
    }
    Ok(engine)
}

/// Why what is due was not done.
pub(crate) fn doubted(engine: &Engine) -> Error {
    Error::new(
        ErrorKind::Refused,
        engine.clock_doubts().unwrap_or_else(|| "the clock was not believed; call again".into()),
    )
}

/// Opens a store and leaves alone what is due.
pub(crate) fn open_as_it_is(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    let blobs = SledStore::open(store)?;
    let cell = open_root(&cell_of(store, cell))?;
    Engine::open(Arc::new(blobs), cell, Options { keeper: Keeper::ByHand, ..Options::default() })
}

/// How a store is made.
#[derive(Default)]
pub(crate) struct Making {
    pub(crate) accept_remnants: bool,
    pub(crate) log_origin: Option<String>,
    /// Keyholders, with threshold and liars.
    pub(crate) spread: Option<(Vec<Member>, (u8, u8))>,
}

/// Makes a store and a cell that does not lie inside it.
pub(crate) fn make(store: &Path, cell: Option<&Path>, making: Making) -> Result<Engine, Error> {
    let place = cell.map_or_else(|| default_cell(store), Path::to_owned);
    let (inside, outer) = (absolute(&place)?, absolute(store)?);
    if inside.starts_with(&outer) {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "the cell {} would lie inside the store: who copies the store must not copy the root key",
                place.display()
            ),
        ));
    }
    let blobs = SledStore::create(store)?;
    let spread = making.spread.is_some();
    let made = match making.spread {
        Some((members, rule)) => {
            make_cell(&place, members, rule, &keyholders::env()).map(|c| Arc::new(c) as Arc<dyn RootCell>)
        }
        None => {
            FileCell::create(&place, making.accept_remnants, Arc::new(System)).map(|c| Arc::new(c) as Arc<dyn RootCell>)
        }
    };
    let root = match made {
        Ok(root) => root,
        Err(e) => {
            // Nothing was put yet: leave no half a store behind.
            drop(blobs);
            let _ = std::fs::remove_dir_all(store);
            return Err(e);
        }
    };
    if cell.is_some() {
        let text = format!("{}\n", inside.display());
        std::fs::write(store.join(CELL_PLACE), text).map_err(|e| Error::io(store.join(CELL_PLACE).display(), e))?;
    }
    let options = Options { keeper: Keeper::ByHand, log_origin: making.log_origin, ..Options::default() };
    Engine::init(Arc::new(blobs), root, options).inspect_err(|_| {
        if spread {
            // Nothing was put yet. The engine's key stays: keyholders know it.
            let _ = std::fs::remove_dir_all(store);
            let _ = std::fs::remove_file(place.join("quorum.json"));
        }
    })
}

/// An absolute path with its links followed as far as it exists, and the rest taken by the letter.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let whole = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
    let mut real = PathBuf::new();
    for part in whole.components() {
        if part == Component::ParentDir {
            real.pop();
            continue;
        }
        real.push(part);
        if let Ok(followed) = real.canonicalize() {
            real = followed;
        }
    }
    Ok(real)
}
