//! `keyfall keyholder replace`.

use std::path::{Path, PathBuf};

use keyfall::promise::RootId;
use keyfall::quorum::net::{Replaced, leaving, put_back, replace_member};
use keyfall::quorum::{Alive, Left, Member, QuorumCell, Standing};
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::commands::keyholder::epoch::{Epoch, begin, live, quorum_of, tell_epoch};
use crate::shell::cells::env;
use crate::shell::failure::Done;
use crate::shell::print::line;
use crate::shell::session::Session;
use crate::shell::stores::{open, open_as_it_is};

/// A keyholder that replaces another.
pub(super) struct Replacement<'s> {
    session: &'s Session,
    store: PathBuf,
    /// Directory of the store's cell.
    cell: PathBuf,
    number: usize,
    with: Member,
}

impl<'s> Replacement<'s> {
    pub(super) fn new(
        session: &'s Session,
        store: PathBuf,
        number: usize,
        with: Member,
    ) -> Result<Self, Error> {
        let cell = session.cell_of(&store)?;
        Ok(Replacement { session, store, cell, number, with })
    }

    /// Replaces the keyholder and begins an epoch; if that fails, the old keyholder is put back.
    pub(super) fn run(self) -> Done {
        let (session, number) = (self.session, self.number);
        let quorum = quorum_of(&self.cell)?;
        // The current list must take a claim first, or an engine that reaches too few of it could
        // build a list of its own.
        match open(session, &self.store) {
            Ok(engine) => check_owner(&engine)?,
            // The keyholder being replaced may be the reason why it cannot.
            Err(e) if e.kind() == ErrorKind::Io && self.comes_back() => {}
            Err(e) => return Err(e.into()),
        }
        let root = live(session, &self.store, &quorum)?;
        let replaced = replace_member(&self.cell, number, self.with.clone(), &env())?;
        // The list as it was may be the one that another machine has begun an epoch by.
        let engine = match open_as_owner(session, &self.store) {
            Ok(engine) => engine,
            Err(e) => return Err(self.undone(replaced, &root, e, false).into()),
        };
        match self.renewed(engine, &replaced, &root) {
            Ok(Some(epoch)) => tell_epoch(session, &epoch),
            Ok(None) if session.json => {
                session.value(&json!({"epoch": root.epoch, "number": number, "renewed": false}))
            }
            Ok(None) => line(format_args!(
                "keyholder {number} is {} now; {} holds no share of the root key, so no new epoch is needed",
                replaced.new.address, replaced.old.address
            )),
            Err(e) => Err(self.undone(replaced, &root, e, true).into()),
        }
    }

    /// Whether the keyholder goes back to the place that it left, and no epoch has begun since: the
    /// list without it was never more than a plan.
    fn comes_back(&self) -> bool {
        let look = || -> Result<bool, Error> {
            let root = live(self.session, &self.store, &quorum_of(&self.cell)?)?;
            let none_since = |left: &Left| left.until.is_none_or(|until| root.epoch < until);
            let is_it = |left: &Left| {
                usize::from(left.x) == self.number && left.member.key == self.with.key
            };
            Ok(leaving(&self.cell)?.iter().any(|left| is_it(left) && none_since(left)))
        };
        look().unwrap_or(false)
    }

    /// Begins an epoch, with which the new keyholder is dealt its share, if it has none or the old
    /// one may hold one.
    fn renewed(
        &self,
        engine: Engine,
        replaced: &Replaced,
        root: &RootId,
    ) -> Result<Option<Epoch>, Error> {
        let new = |quorum: &QuorumCell, root: &RootId| {
            let n = replaced.number.checked_sub(1)?;
            quorum.standing(root).into_iter().nth(n)
        };
        if !replaced.may_hold && new(&quorum_of(&self.cell)?, root).is_some_and(|new| new.holds) {
            return Ok(None);
        }
        let mut epoch = begin(&engine)?;
        // The one that left counts for the first epoch after it as well.
        if replaced.may_hold {
            epoch = begin(&engine)?;
        }
        drop(engine);
        let quorum = quorum_of(&self.cell)?;
        let root = live(self.session, &self.store, &quorum)?;
        if let Some(Alive { standing, .. }) = new(&quorum, &root).filter(|new| !new.holds) {
            let why = match standing {
                Standing::Refuses(why) | Standing::Away(why) => why,
                Standing::Lies => "its share is wrong".to_owned(),
                _ => "it answered but did not accept it".to_owned(),
            };
            let address = &replaced.new.address;
            let text = format!("could not give {address} its share: {why}");
            return Err(Error::new(ErrorKind::Io, text));
        }
        Ok(Some(epoch))
    }

    /// Whether the list is better left as it is, though the replacement failed: an epoch has begun
    /// with it, or the new keyholder is there and the old one is not.
    fn is_better(&self, replaced: &Replaced, root: &RootId) -> Result<bool, Error> {
        let quorum = quorum_of(&self.cell)?;
        if live(self.session, &self.store, &quorum)? != *root {
            return Ok(true);
        }
        let (all, left) = (quorum.standing_of_all(root), leaving(&self.cell)?);
        let (all, gone) = all.split_at(all.len().saturating_sub(left.len()));
        let new = replaced.number.checked_sub(1).and_then(|n| all.get(n));
        let old =
            left.iter().zip(gone).any(|(left, alive)| left.member == replaced.old && alive.holds);
        let is_there = |alive: &Alive| {
            alive.holds || matches!(alive.standing, Standing::Whole | Standing::Lacks)
        };
        Ok(new.is_some_and(is_there) && !old)
    }

    /// Puts the old keyholder back, unless the list is better left as it is; the error says which.
    /// `begun`: somebody may have been dealt something by it.
    fn undone(&self, replaced: Replaced, root: &RootId, e: Error, begun: bool) -> Error {
        let number = replaced.number;
        let (new, old) = (replaced.new.address.clone(), replaced.old.clone());
        let is_anothers = matches!(e.kind(), ErrorKind::Fenced | ErrorKind::Mismatch);
        if is_anothers && begun {
            return e.context(format!(
                "keyholder {number} is {new} on this machine alone, for another one has the store: \
                 copy its quorum.json here, and replace once more"
            ));
        }
        if !is_anothers && self.is_better(&replaced, root).unwrap_or(false) {
            return e.context(format!(
                "keyholder {number} is {new} now; `keyfall tend STORE` gives it a share, and \
                 invalidates the one of {}, once enough keyholders are reachable",
                old.address
            ));
        }
        match put_back(&self.cell, replaced) {
            Ok(()) => e.context(format!("keyholder {number} is {} as before", old.address)),
            Err(other) => e.context(format!(
                "keyholder {number} is {new} now, and the other could not be put back ({other}); \
                 `keyfall keyholder replace STORE --number {number} --with {}@{}` does it",
                old.key, old.address
            )),
        }
    }
}

fn open_as_owner(session: &Session, store: &Path) -> Result<Engine, Error> {
    let engine = open_as_it_is(session, store)?;
    check_owner(&engine)?;
    Ok(engine)
}

fn check_owner(engine: &Engine) -> Result<(), Error> {
    engine.read_only().map_or(Ok(()), |why| Err(Error::new(ErrorKind::Fenced, why)))
}
