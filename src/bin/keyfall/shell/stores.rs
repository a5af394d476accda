//! Opening a store with its cell, to look or to write, and doing first what is due.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use keyfall::engine::{Keeper, OpenAs};
use keyfall::store::{SledStore, Store};
use keyfall::{Engine, Error, ErrorKind, Options};

use crate::shell::blobs::{blobs_to_look, by_length};
use crate::shell::cells::{CellPlace, default_cell, look_root, open_root};
use crate::shell::due;
use crate::shell::held::{check_whole, without_store};
use crate::shell::remedy::word;
use crate::shell::session::{Session, Warning};

/// Makes a restored store the owner of its cell. What is due is left for the next command.
pub(crate) fn adopt(session: &Session, store: &Path) -> Result<(), Error> {
    open(&session.taking_over(), store).map(drop)
}

/// Refuses `--take-over` for a command that only looks: a look must not end the store at another
/// place.
pub(crate) fn no_take_over(session: &Session, instead: &str) -> Result<(), Error> {
    if !session.take_over {
        return Ok(());
    }
    let text = format!("--take-over goes with a command that writes; {instead}");
    Err(Error::new(ErrorKind::Invalid, text))
}

/// Says once what a store is known to lack.
pub(crate) fn warn_of_lacking(session: &Session, lacks: Option<String>) {
    if let Some(lacks) = lacks {
        session.warn_once(Warning::Lacking, &Error::new(ErrorKind::Refused, lacks));
    }
}

fn look_as_it_is(session: &Session, store: &Path) -> Result<Engine, Error> {
    let found = session.cell_place(store)?;
    let blobs = blobs_to_look(store).map_err(|e| without_store(e, store, &found.place))?;
    check_whole(&blobs, store, &found.place)?;
    let root = look_root(&found.place)?;
    let look = |place: &str, _: bool| -> Result<Arc<dyn Store>, Error> {
        Ok(Arc::new(by_length(Path::new(place))?))
    };
    let options = Options {
        keeper: Keeper::ByHand,
        open_as: OpenAs::ReadOnly,
        open_copy: Arc::new(look),
        ..Options::default()
    };
    let engine = Engine::open(Arc::new(blobs), root, options)?;
    bound_to(&engine, &found, store)?;
    warn_of_lacking(session, engine.lacks());
    Ok(engine)
}

/// Opens a store for a command that only reads. What is due is told, and left to a command that
/// writes: a copy of a store, down to a snapshot of its disk, looks like the store itself, and
/// doing what is due there would end the store.
pub(crate) fn look(session: &Session, store: &Path) -> Result<Engine, Error> {
    session.about(store);
    let instead = format!(
        "leave it out to look, or take {} over with `keyfall tend STORE --take-over`",
        store.display()
    );
    no_take_over(session, &instead)?;
    let engine = look_as_it_is(session, store)?;
    match engine.owes() {
        Ok(false) => {}
        Ok(true) => session.note(&format!(
            "something is due in {}; `keyfall tend STORE` does it, and so does any command that \
             writes",
            store.display()
        )),
        Err(e) => session.warn(&e.context("whether something is due cannot be found out")),
    }
    Ok(engine)
}

/// Opens a store with its cell, and does what is due. The store is opened first: a store that is
/// not there is the likelier slip.
pub(crate) fn open(session: &Session, store: &Path) -> Result<Engine, Error> {
    Ok(tended(session, open_as_it_is(session, store)?, store))
}

/// Opens a store with its cell, even if the copy at `place` holds what the store lacks.
pub(crate) fn open_giving_up(
    session: &Session,
    store: &Path,
    place: &str,
) -> Result<Engine, Error> {
    Ok(tended(session, opened(session, store, vec![place.to_owned()])?, store))
}

fn tended(session: &Session, engine: Engine, store: &Path) -> Engine {
    if engine.read_only().is_some() {
        // What is due is the owner's to do. A command that needs the owner says so itself.
        return engine;
    }
    if session.take_over {
        // A hold, or the cancelling of a plan, may be in the other place alone: leave time to
        // repeat it.
        leave_due(session, &engine, store);
        return engine;
    }
    // What is due comes first, whatever was asked for. If it fails, the command may still succeed.
    match engine.tend(&mut |_| {}) {
        Ok(done) => {
            session.tended(&done);
            if done.waiting {
                session.warn(&doubted(&engine));
            }
        }
        Err(e) => session.warn(&e.context("something is due and could not be done")),
    }
    engine
}

/// Says what is due, and not done yet, in a store that was just taken over.
fn leave_due(session: &Session, engine: &Engine, store: &Path) {
    match engine.owes() {
        Ok(false) => {}
        Ok(true) => {
            let next = engine.status().ok().and_then(|status| status.next_due_is);
            session.note(&format!(
                "due in {}, and left undone by this command: {}; the next command that writes, \
                 or `keyfall tend STORE`, does all that is due: first hold, or cancel, what only \
                 the other place knew to be held or cancelled",
                store.display(),
                next.map_or("something", due::words)
            ));
        }
        Err(e) => session.warn(&e.context("whether something is due cannot be found out")),
    }
}

/// Why what is due was not done.
pub(crate) fn doubted(engine: &Engine) -> Error {
    Error::new(
        ErrorKind::Refused,
        engine.clock_doubts().unwrap_or_else(|| "the clock was not believed; call again".into()),
    )
}

/// Opens a store with its cell, and leaves what is due alone.
pub(crate) fn open_as_it_is(session: &Session, store: &Path) -> Result<Engine, Error> {
    opened(session, store, Vec::new())
}

fn opened(session: &Session, store: &Path, give_up: Vec<String>) -> Result<Engine, Error> {
    let found = session.cell_place(store)?;
    // A backup that nobody takes over stays as it is.
    let writes = session.take_over || SledStore::was_claimed(store)?;
    let blobs = if writes { SledStore::open(store) } else { SledStore::look(store) };
    let blobs = blobs.map_err(|e| without_store(e, store, &found.place))?;
    check_whole(&blobs, store, &found.place)?;
    let root = open_root(&found.place)?;
    warn_if_exposed(session, &found.place);
    let open_as = if session.take_over { OpenAs::TakeOver } else { OpenAs::Owner };
    let options = Options { keeper: Keeper::ByHand, open_as, give_up, ..Options::default() };
    let engine = Engine::open(Arc::new(blobs), root, options)?;
    bound_to(&engine, &found, store)?;
    warn_of_lacking(session, engine.lacks());
    if session.take_over {
        session.note(&format!(
            "{} owns its root cell now; any other place of it can only be looked at until it \
             takes over in turn, and not at all after the next erase, which destroys the key that \
             opens it",
            store.display()
        ));
    }
    Ok(engine)
}

/// Refuses a store that the file beside it does not name: it may have been put in the place of
/// another.
fn bound_to(engine: &Engine, found: &CellPlace, store: &Path) -> Result<(), Error> {
    let id = engine.id().to_string();
    match &found.bound {
        Some(bound) if *bound != id => Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} is store {id}, and {} is bound to store {bound}: another store was put in its \
                 place; if that was you, name the cell with --cell",
                store.display(),
                default_cell(store).display()
            ),
        )),
        _ => Ok(()),
    }
}

/// Says once that others than its owner may read a cell's keys, or put others in their place.
pub(crate) fn warn_if_exposed(session: &Session, cell: &Path) {
    let mode = |path: &Path| path.metadata().map_or(0, |meta| meta.mode());
    let dir = mode(cell);
    let keys = ["slot-a", "slot-b", "engine.key"];
    let keys = keys.iter().fold(0, |all, name| all | mode(&cell.join(name)));
    // The group's bits, and everybody's.
    let exposed = [3, 0]
        .iter()
        .any(|who| (dir >> who) & 1 != 0 && ((keys >> who) & 6 != 0 || (dir >> who) & 2 != 0));
    if exposed {
        let text = format!(
            "others than its owner can reach the keys in the cell {}; run `chmod -R go= {}`",
            cell.display(),
            word(cell)
        );
        session.warn_once(Warning::Exposed, &Error::new(ErrorKind::Refused, text));
    }
}
