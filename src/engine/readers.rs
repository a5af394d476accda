//! The part of open readers that an erase reaches.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use super::anchor::Floor;
use super::keys::Keys;
use super::term::Term;
use crate::catalogue::change::Cuts;
use crate::catalogue::grant::revoked;
use crate::catalogue::resolve::Needs;
use crate::catalogue::span::Span;
use crate::catalogue::view::record_erased;
use crate::env::{Env, SharedEnv};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserTag};
use crate::process::Process;
use crate::sealed::Live;
use crate::sealed::outlet::{Falls, Outlet, wait_for_writes};
use crate::sync::{Mutex, locked};
use crate::tree::keys::SetTag;

/// Every reader that is open.
#[derive(Default)]
pub(super) struct Readers {
    open: Mutex<Vec<Weak<Open>>>,
}

/// What a reader reads: it closes when that is erased.
pub(super) struct Of {
    /// The record that is read; `None` if it is not a single one.
    pub(super) id: Option<RecordId>,
    /// What that depends on.
    pub(super) needs: Needs,
    /// A user whom all of it is about.
    pub(super) about: Option<UserTag>,
}

impl Readers {
    /// Closes the readers of what is erased; a read in progress ends first.
    pub(super) fn close(&self, erased: &[Span]) -> ClosedReaders {
        self.close_where(|open| {
            open.falls(erased).then(|| locked(&open.inside).close(Closed::Erased))
        })
    }

    /// Closes every reader.
    pub(super) fn close_all(&self, why: Closed) -> ClosedReaders {
        self.close_where(|open| Some(locked(&open.inside).close(why)))
    }

    /// Keeps readers open when sources are erased from which their records were cut.
    pub(super) fn keep_open(&self, cuts: &Cuts) {
        if !cuts.is_empty() {
            locked(&self.open)
                .iter()
                .filter_map(Weak::upgrade)
                .for_each(|open| open.drop_needs(cuts));
        }
    }

    /// Closes the readers that were opened by nothing but what `hit` takes from them; says how
    /// many.
    pub(super) fn close_granted(&self, hit: impl Fn(&mut Via)) -> u64 {
        let closed = self.close_where(|open| {
            let mut inside = locked(&open.inside);
            let By::Grants(via) = &mut inside.by else { return None };
            hit(via);
            via.grants.is_empty().then(|| inside.close(Closed::Revoked))
        });
        wait_for_writes(&closed.outlets);
        closed.readers
    }

    /// Closes the readers of an opening that is over; says how many.
    pub(super) fn close_opening(&self, term: &Arc<Term>) -> u64 {
        let closed = self.close_where(|open| {
            let mut inside = locked(&open.inside);
            let is_it = matches!(&inside.by, By::Opening(there) if Arc::ptr_eq(there, term));
            is_it.then(|| inside.close(Closed::Over))
        });
        wait_for_writes(&closed.outlets);
        closed.readers
    }

    /// Notes a reader, so that an erase finds it.
    pub(super) fn register(&self, of: Of, env: SharedEnv, keys: Option<Keys>, by: By) -> Arc<Open> {
        let Of { id, needs, about } = of;
        let inside = Inside { closed: None, keys, by, outlets: Vec::new() };
        let (needs, inside) = (Mutex::new(needs), Mutex::new(inside));
        let open = Arc::new(Open { id, needs, about, env, inside });
        let mut readers = locked(&self.open);
        readers.retain(|r| r.strong_count() > 0);
        readers.push(Arc::downgrade(&open));
        open
    }

    /// Until when what is told of a user may go out: until something of theirs is erased. To be
    /// asked for in the state that it is told from.
    pub(super) fn live(&self, user: UserTag, env: SharedEnv) -> Live {
        let of = Of { id: None, needs: Needs::new(), about: Some(user) };
        Live::new(self.register(of, env, None, By::Owner))
    }

    fn close_where(&self, close: impl Fn(&Open) -> Option<Vec<Arc<Outlet>>>) -> ClosedReaders {
        let mut all = ClosedReaders::default();
        locked(&self.open).retain(|reader| {
            let Some(open) = reader.upgrade() else { return false };
            let closed = close(&open);
            let stays = closed.is_none();
            all.readers += u64::from(!stays);
            all.outlets.extend(closed.into_iter().flatten());
            stays
        });
        all
    }
}

/// The error of an engine whose store another one owns.
pub(super) fn replaced() -> Error {
    let text = "another engine has claimed this store since, and owns it; open the store again to \
                write, or ask that engine";
    Error::new(ErrorKind::Fenced, text)
}

/// The error of what a reader on another machine had open when something was erased.
pub(super) fn moved() -> Error {
    let text =
        "something was erased in this store meanwhile; open the record again, if it is there";
    Error::new(ErrorKind::Changed, text)
}

/// The error of what a reader on another machine had open when it could not borrow any longer.
pub(super) fn lapsed() -> Error {
    let text = "this store, or its cell, could not be asked for so long that what was erased might \
                have been read; open the record again";
    Error::new(ErrorKind::Io, text)
}

/// Readers that were closed.
#[derive(Default)]
pub(super) struct ClosedReaders {
    pub(super) readers: u64,
    /// Where what they had read is held, for [`wait_for_writes`].
    pub(super) outlets: Vec<Arc<Outlet>>,
}

/// The part of a reader that an erase reaches: its keys, the one opened chunk, and what was read
/// and is on its way out.
pub(super) struct Open {
    /// The record: it closes when that is erased.
    id: Option<RecordId>,
    /// Or one that it depends on.
    needs: Mutex<Needs>,
    /// A user whom all of it is about: it closes when anything of theirs is erased.
    about: Option<UserTag>,
    env: SharedEnv,
    pub(super) inside: Mutex<Inside>,
}

/// Why a reader was closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Erased,
    Revoked,
    /// The opening that it belongs to expired, or was closed.
    Over,
    /// The root key under which a store is read is gone.
    LookOver,
    /// Another engine owns the store.
    Replaced,
    /// The engine was opened again.
    Reopened,
    /// Something was erased, by the engine that lends the key to this one.
    Moved,
    /// The key was lent, and is not lent any more.
    Lapsed,
}

/// What of a reader one lock guards.
pub(super) struct Inside {
    closed: Option<Closed>,
    /// Gone once it is closed.
    keys: Option<Keys>,
    by: By,
    /// Where what was read is held, and under which number.
    pub(super) outlets: Vec<(Arc<Outlet>, u64)>,
}

/// What a reader was opened by.
pub(super) enum By {
    /// The owner of the store: it goes on until the record falls.
    Owner,
    /// A third party.
    Grants(Via),
    /// One of the readers of an opening.
    Opening(Arc<Term>),
}

impl By {
    /// Why a reader is over by this alone, if it is.
    fn over(&self, env: &dyn Env) -> Option<Closed> {
        match self {
            By::Owner => None,
            By::Grants(via) => {
                let now = via.floor.now(env);
                let holds = via.grants.iter().any(|(_, until)| until.is_none_or(|at| now < at));
                (!holds).then_some(Closed::Revoked)
            }
            By::Opening(term) => term.left(env).is_err().then_some(Closed::Over),
        }
    }

    /// The error of a reader that is over.
    fn ended(&self, env: &dyn Env) -> Error {
        match self {
            By::Opening(term) => term.left(env).err().unwrap_or_else(revoked),
            By::Owner | By::Grants(_) => revoked(),
        }
    }
}

/// What lets a third party's reader go on: as long as one of these grants holds.
pub(super) struct Via {
    pub(super) user: UserTag,
    /// Numbers of the grants, and their ends.
    pub(super) grants: Vec<(u64, Option<Timestamp>)>,
    /// No clock that is set back opens one again that ended.
    pub(super) floor: Floor,
    /// And this training set is there.
    pub(super) set: Option<SetTag>,
}

impl Inside {
    /// Lets go of keys and of what was read; gives where that is held.
    fn close(&mut self, why: Closed) -> Vec<Arc<Outlet>> {
        self.closed.get_or_insert(why);
        self.keys = None;
        let told = std::mem::take(&mut self.outlets);
        told.iter().for_each(|(outlet, number)| outlet.fell(*number));
        told.into_iter().map(|(outlet, _)| outlet).collect()
    }

    /// Whether it may be read now.
    fn check(&mut self, open: &Open) -> Result<()> {
        if let Some(why) = self.by.over(&*open.env) {
            self.close(why);
        }
        match self.closed {
            None => Ok(()),
            Some(Closed::Revoked | Closed::Over) => Err(self.by.ended(&*open.env)),
            Some(Closed::Erased) => Err(open.erased()),
            Some(Closed::LookOver) => Err(look_over("this store")),
            Some(Closed::Replaced) => Err(replaced()),
            Some(Closed::Moved) => Err(moved()),
            Some(Closed::Lapsed) => Err(lapsed()),
            Some(Closed::Reopened) => Err(Error::new(
                ErrorKind::Poisoned,
                "this was opened before the engine was reopened; open it again",
            )),
        }
    }

    /// The keys, if it may be read now.
    pub(super) fn keys(&mut self, open: &Open) -> Result<&mut Keys> {
        self.check(open)?;
        self.keys.as_mut().ok_or_else(|| open.erased())
    }
}

impl Open {
    pub(super) fn erased(&self) -> Error {
        match &self.id {
            Some(id) => record_erased(id),
            None => Error::new(
                ErrorKind::Erased,
                "something of this user was erased meanwhile; ask for the report again",
            ),
        }
    }

    /// Whether all that it reads from is gone with what is erased.
    fn falls(&self, erased: &[Span]) -> bool {
        let taken = |id: &RecordId| erased.iter().any(|s| s.takes(id));
        erased.iter().any(|s| self.about == Some(s.user))
            || self.id.as_ref().is_some_and(taken)
            || locked(&self.needs).keys().any(taken)
    }

    /// Records were cut from sources: what it depended on through these alone it needs no more.
    fn drop_needs(&self, cuts: &Cuts) {
        let (Some(id), mut needs) = (self.id, locked(&self.needs)) else { return };
        let mut is_cut = false;
        for (record, from) in cuts {
            if let Some(sources) = needs.get_mut(record) {
                sources.retain(|source| !from.contains(source));
                is_cut = true;
            }
        }
        if !is_cut {
            return;
        }
        let (mut reached, mut next) = (BTreeSet::new(), vec![id]);
        while let Some(at) = next.pop() {
            if reached.insert(at) {
                next.extend(needs.get(&at).into_iter().flatten().copied());
            }
        }
        needs.retain(|id, _| reached.contains(id));
    }
}

impl Falls for Open {
    fn watch(&self, outlet: &Arc<Outlet>, number: u64) -> Result<()> {
        let mut inside = locked(&self.inside);
        inside.check(self)?;
        inside.outlets.push((Arc::clone(outlet), number));
        Ok(())
    }

    fn check(&self) -> Result<()> {
        locked(&self.inside).check(self)
    }
}

impl Drop for Open {
    /// A fork has none of its parent's secrets: it notes that it is one before they are let go.
    fn drop(&mut self) {
        let _ = Process::this();
    }
}

/// The error for a store whose root key is gone while it is read.
pub(super) fn look_over(place: &str) -> Error {
    Error::new(
        ErrorKind::Mismatch,
        format!(
            "the root key under which {place} was opened read-only is destroyed: something was erased since; open a copy that holds the current state"
        ),
    )
}
