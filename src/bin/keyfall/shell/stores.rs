//! Opening a store with its cell, to look or to write, and doing first what is due.

use std::path::Path;
use std::time::Duration;

use keyfall::engine::{Due, Keeper, Status};
use keyfall::opening::is_exposed;
use keyfall::realm::{is_realm, of_lost_cell};
use keyfall::{Builder, Engine, Error, ErrorKind};

use crate::shell::drafts::{drafts_of, keep_draft};
use crate::shell::due;
use crate::shell::realms::lies_elsewhere;
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

/// A store, and its cell if one was named. What is due is done when this program says so.
pub(crate) fn builder(session: &Session, store: &Path) -> Builder {
    session.about(store);
    let builder = session.shard(store).unwrap_or_else(|| Builder::at(store));
    let builder = builder.keeper(Keeper::ByHand).wait_for_lock(session.patience);
    let drafts = drafts_of(store);
    let builder = builder.drafts(move |draft| keep_draft(&drafts, draft));
    let builder = session.cached(store, builder);
    match &session.cell {
        Some(cell) => builder.cell_at(cell),
        None => builder,
    }
}

/// Refuses a realm where one store is meant, and a shard that is named where it does not lie.
fn one_store(session: &Session, store: &Path) -> Result<(), Error> {
    if !is_realm(store) {
        return lies_elsewhere(session, store).map_or(Ok(()), Err);
    }
    let text = format!(
        "{} is a realm, and this command takes one of its shards; `keyfall realm find STORE --user U` \
         prints that of a user, `keyfall realm status STORE` all of them",
        store.display()
    );
    Err(Error::new(ErrorKind::Invalid, text))
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
    one_store(session, store)?;
    let engine = builder(session, store).read_only().open();
    let engine = engine.map_err(|e| of_named_cell(session, store, e))?;
    warn_of_lacking(session, engine.ownership().lacks());
    match engine.ownership().owes() {
        Ok(false) => {}
        Ok(true) => session.note(&format!(
            "something is due or pending in {}; `keyfall tend STORE` does what can be done, and \
             so does any command that writes",
            store.display()
        )),
        Err(e) => session.warn(&e.context("cannot tell whether something is due")),
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
    Ok(tended(session, opened(session, store, builder(session, store).give_up(place))?, store))
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
    match engine.run_due(&mut |_| {}) {
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
    match engine.ownership().owes() {
        Ok(false) => {}
        Ok(true) => {
            let Some(next) = engine.status().ok().and_then(|status| due_now(&status)) else {
                return;
            };
            session.note(&format!(
                "due in {}, and left undone by this command: {}; the next command that writes, \
                 or `keyfall tend STORE`, does all that is due: first hold, or cancel, what only \
                 the other place knew to be held or cancelled",
                store.display(),
                due::words(next)
            ));
        }
        Err(e) => session.warn(&e.context("cannot tell whether something is due")),
    }
}

/// What is due by now. That an older root key is still to be destroyed takes nothing from anybody.
fn due_now(status: &Status) -> Option<Due> {
    let is_now = status.next_due.is_some_and(|at| at <= status.clock_shows);
    status.next_due_is.filter(|due| is_now || matches!(due, Due::Pending | Due::Following))
}

/// Why what is due was not done.
pub(crate) fn doubted(engine: &Engine) -> Error {
    Error::new(
        ErrorKind::Refused,
        engine.clock().doubts().unwrap_or_else(|| "the clock was not believed; call again".into()),
    )
}

/// Opens a store with its cell, and leaves what is due alone.
pub(crate) fn open_as_it_is(session: &Session, store: &Path) -> Result<Engine, Error> {
    opened(session, store, builder(session, store))
}

/// The same, for a command that leaves signs of life as often as is said.
pub(crate) fn open_with_beats(
    session: &Session,
    store: &Path,
    beat: Option<Duration>,
) -> Result<Engine, Error> {
    let builder = builder(session, store);
    let builder = beat.map_or_else(|| builder.clone(), |every| builder.clone().beat(every));
    opened(session, store, builder)
}

fn opened(session: &Session, store: &Path, builder: Builder) -> Result<Engine, Error> {
    one_store(session, store)?;
    let engine = if session.take_over { builder.take_over() } else { builder }.open();
    let engine = engine.map_err(|e| of_named_cell(session, store, e))?;
    warn_if_exposed(session, &session.cell_of(store)?);
    warn_of_lacking(session, engine.ownership().lacks());
    if session.take_over {
        session.note(&format!(
            "{} owns its root cell now. Any other place of the store can only be read until it \
             takes over in turn, and not at all after the next erase, which destroys its key. \
             Stop any process that still has another place open: it would serve what is erased \
             here, and lose what is put there",
            store.display()
        ));
    }
    Ok(engine)
}

/// An error whose remedy is to name another cell says what named this one: it may be a variable
/// that was set long ago.
fn of_named_cell(session: &Session, store: &Path, e: Error) -> Error {
    // Of a shard the realm says where its cell is.
    if session.shard(store).is_some() {
        let cell = session.cell.as_ref().map(|cell| cell.to_string_lossy());
        return of_lost_cell(&store.to_string_lossy(), cell.as_deref(), e);
    }
    match &session.cell {
        Some(cell) if e.to_string().contains("`Builder::cell_at`") => {
            let text = format!("{e}; now `--cell` or KEYFALL_CELL names {}", cell.display());
            Error::new(e.kind(), text)
        }
        _ => e,
    }
}

/// Says once that others than its owner may read a cell's keys, or put others in their place.
pub(crate) fn warn_if_exposed(session: &Session, cell: &Path) {
    if is_exposed(cell) {
        let text = format!(
            "others than its owner can reach the keys in the cell {}; run `chmod -R go= {}`",
            cell.display(),
            word(cell)
        );
        session.warn_once(Warning::Exposed, &Error::new(ErrorKind::Refused, text));
    }
}
