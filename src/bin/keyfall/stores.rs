//! How this program opens and makes stores: with the library's builder, and what it tells a person
//! of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::cell::RootCell;
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::opening::{Location, is_exposed, lies_inside};
pub(crate) use keyfall::opening::{
    absolute, apart, blobs_to_look, copy_as_it_is, default_cell, take_away, to_build,
};
use keyfall::quorum::net::open_cell;
use keyfall::quorum::{Member, Rule};
use keyfall::{Builder, Engine, Error, ErrorKind};

use crate::due::words;
use crate::remedy::{self, word};
use crate::{keyholders, output};

fn placed(store: &Path, named: Option<&Path>) -> Result<Location, Error> {
    remedy::about(store, named);
    Location::find(store, named)
}

/// The place of a store's cell; it does not lie inside the store, nor the store inside it.
pub(crate) fn cell_of(store: &Path, named: Option<&Path>) -> Result<PathBuf, Error> {
    placed(store, named).map(|found| found.cell().to_owned())
}

/// Refuses a file or a directory to be written inside a store or its cell.
pub(crate) fn outside(store: &Path, cell: Option<&Path>, place: &Path) -> Result<(), Error> {
    let cell = cell_of(store, cell)?;
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

/// Makes a restored store the owner of its cell. What is due is left for the next command.
pub(crate) fn adopt(store: &Path, cell: Option<&Path>) -> Result<(), Error> {
    take_over();
    open(store, cell).map(drop)
}

/// Opens a cell of whatever kind lies there, to look at: a process that has it open goes on
/// undisturbed.
pub(crate) fn look_root(place: &Path) -> Result<Arc<dyn RootCell>, Error> {
    keyfall::opening::look_root(place, &keyholders::env())
}

/// Whether `--take-over` was given: for every command alike, so it is told once.
static TAKE_OVER: AtomicBool = AtomicBool::new(false);

/// Has every store be opened to take it over.
pub(crate) fn take_over() {
    TAKE_OVER.store(true, Ordering::Relaxed);
}

/// Refuses `--take-over` where nothing is opened to write: a look must not end the store that
/// another place is.
pub(crate) fn no_take_over(instead: &str) -> Result<(), Error> {
    if !TAKE_OVER.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!("--take-over goes with a command that writes; {instead}"),
    ))
}

/// Says once what a store is known to lack.
pub(crate) fn warn_of_lacking(lacks: Option<String>) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Some(lacks) = lacks
        && !TOLD.swap(true, Ordering::Relaxed)
    {
        output::warn(&Error::new(ErrorKind::Refused, lacks));
    }
}

/// A store, and its cell where one was named. What is due is done when this program says so.
fn builder(store: &Path, cell: Option<&Path>) -> Builder {
    remedy::about(store, cell);
    let builder = Builder::at(store).keeper(Keeper::ByHand);
    match cell {
        Some(cell) => builder.cell_at(cell),
        None => builder,
    }
}

/// Opens a store for a command that only reads. What is due is told, and left to a command that
/// writes: a copy of a store, down to a snapshot of its disk, looks like the store itself, and what
/// is done in it would end the store.
pub(crate) fn look(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    remedy::about(store, cell);
    no_take_over(&format!(
        "leave it out to look, or take {} over with `keyfall tend STORE --take-over`",
        store.display()
    ))?;
    let engine = builder(store, cell).read_only().open()?;
    warn_of_lacking(engine.ownership().lacks());
    match engine.ownership().owes() {
        Ok(false) => {}
        Ok(true) => output::note(&format!(
            "something is due in {}; `keyfall tend STORE` does it, and so does any command that \
             writes",
            store.display()
        )),
        Err(e) => output::warn(&e.context("whether something is due cannot be found out")),
    }
    Ok(engine)
}

/// Opens a store with its cell. The store first: a store that is not there is the likelier slip.
pub(crate) fn open(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    Ok(tended(open_as_it_is(store, cell)?, store))
}

/// The same, also where the copy at `place` holds what the store lacks.
pub(crate) fn open_giving_up(
    store: &Path,
    cell: Option<&Path>,
    place: &str,
) -> Result<Engine, Error> {
    Ok(tended(opened(builder(store, cell).give_up(place), store, cell)?, store))
}

fn tended(engine: Engine, store: &Path) -> Engine {
    if engine.read_only().is_some() {
        // What is due is the owner's to do; what was asked says so itself where it needs one.
        return engine;
    }
    if TAKE_OVER.load(Ordering::Relaxed) {
        // A hold, or a plan that was cancelled, may have been in the other place alone: there is
        // time to make it again.
        leave_due(&engine, store);
        return engine;
    }
    // What is due comes first, whatever was asked; where it fails, what was asked may still be
    // done.
    match engine.run_due(&mut |_| {}) {
        Ok(done) => {
            output::due(&done);
            if done.waiting {
                output::warn(&doubted(&engine));
            }
        }
        Err(e) => output::warn(&e.context("something is due and could not be done")),
    }
    engine
}

/// Says what is due in a store that was just taken over, and is not done yet.
fn leave_due(engine: &Engine, store: &Path) {
    match engine.ownership().owes() {
        Ok(false) => {}
        Ok(true) => {
            let next = engine.status().ok().and_then(|status| status.next_due_is);
            output::note(&format!(
                "due in {}, and left undone by this command: {}; the next command that writes, or \
                 `keyfall tend STORE`, does all that is due: first hold, or cancel, what only the \
                 other place knew to be held or cancelled",
                store.display(),
                next.map_or("something", words)
            ));
        }
        Err(e) => output::warn(&e.context("whether something is due cannot be found out")),
    }
}

/// Why what is due was not done.
pub(crate) fn doubted(engine: &Engine) -> Error {
    Error::new(
        ErrorKind::Refused,
        engine.clock().doubts().unwrap_or_else(|| "the clock was not believed; call again".into()),
    )
}

/// Opens a store and leaves alone what is due.
pub(crate) fn open_as_it_is(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    opened(builder(store, cell), store, cell)
}

fn opened(builder: Builder, store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    let takes = TAKE_OVER.load(Ordering::Relaxed);
    let engine = if takes { builder.take_over() } else { builder }.open()?;
    warn_if_exposed(&cell_of(store, cell)?);
    warn_of_lacking(engine.ownership().lacks());
    if takes {
        output::note(&format!(
            "{} owns its root cell now; any other place of it can only be looked at until it takes \
             over in turn, and not at all after the next erase, which destroys the key that opens \
             it",
            store.display()
        ));
    }
    Ok(engine)
}

/// Says so where others than its owner may read a cell's keys, or put others in their place. Once:
/// a command opens a cell more than once.
pub(crate) fn warn_if_exposed(cell: &Path) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if is_exposed(cell) && !TOLD.swap(true, Ordering::Relaxed) {
        output::warn(&Error::new(
            ErrorKind::Refused,
            format!(
                "others than its owner can reach the keys in the cell {}; run `chmod -R go= {}`",
                cell.display(),
                word(cell)
            ),
        ));
    }
}

/// How a store is made.
#[derive(Default)]
pub(crate) struct Making {
    pub(crate) accept_remnants: bool,
    pub(crate) log_origin: Option<String>,
    /// Keyholders, and how many of them there must be of what.
    pub(crate) spread: Option<(Vec<Member>, Rule)>,
}

/// Makes a store and a cell that does not lie inside it.
pub(crate) fn make(store: &Path, cell: Option<&Path>, making: Making) -> Result<Engine, Error> {
    let mut builder = builder(store, cell);
    if making.accept_remnants {
        builder = builder.accept_remnants();
    }
    if let Some(origin) = making.log_origin {
        builder = builder.log_origin(origin);
    }
    let spread = making.spread.is_some();
    if let Some((members, rule)) = making.spread {
        builder = builder.keyholders(members, rule);
    }
    let engine = builder.create()?;
    let place = cell_of(store, cell)?;
    if let Some(Ok(Some(quorum))) = spread.then(|| open_cell(&place, &keyholders::env())) {
        keyholders::warn_of_absent(&quorum);
    }
    Ok(engine)
}

/// Where a restored store's cell does not lie beside it, a file is to say where it is; it is
/// written when the store is there.
pub(crate) struct Adopted(Location);

impl Adopted {
    /// Finds out whether that can be written.
    pub(crate) fn check(into: &Path, cell: &Path) -> Result<Self, Error> {
        let at = Location::find(into, Some(cell))?;
        at.pointer().map(|_| Adopted(at))
    }

    /// Writes it. Which store it is, the cell says.
    pub(crate) fn write(&self, root: &dyn RootCell) -> Result<(), Error> {
        self.0.write_pointer(root.load()?.store, &System)
    }
}
