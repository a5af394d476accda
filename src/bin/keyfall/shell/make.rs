//! Making a store with its cell.

use std::path::Path;
use std::time::Duration;

use keyfall::cell::RootCell;
use keyfall::quorum::net::open_cell;
use keyfall::quorum::{Member, QuorumCell, Rule, Standing};
use keyfall::{Engine, Error, ErrorKind};

use crate::args::SpreadArgs;
use crate::shell::cells::env;
use crate::shell::session::Session;
use crate::shell::stores::builder;

/// How a store is made.
#[derive(Default)]
pub(crate) struct Making {
    pub(crate) accept_remnants: bool,
    /// Whether only this machine ever opens the store.
    pub(crate) single_machine: bool,
    pub(crate) log_origin: Option<String>,
    /// For how long it lends its keys to readers on other machines.
    pub(crate) lend: Option<Duration>,
    /// The keyholders of the root key; none if the cell is a file.
    pub(crate) spread: Option<Spread>,
}

/// Keyholders, and how many of them it takes to open and to destroy the root key.
#[derive(Clone)]
pub(crate) struct Spread {
    pub(crate) members: Vec<Member>,
    pub(crate) rule: Rule,
}

impl Spread {
    /// What is said of keyholders; `None` if nothing is.
    pub(crate) fn said(args: SpreadArgs) -> Option<Self> {
        let SpreadArgs { keyholder: members, threshold, liars, margin } = args;
        threshold.map(|threshold| Spread { members, rule: Rule { threshold, liars, margin } })
    }

    /// How many keyholders may be lost with their shares before all data is.
    pub(crate) fn may_be_lost(&self) -> usize {
        self.members.len().saturating_sub(usize::from(self.rule.threshold))
    }

    /// Warns if no keyholder may be lost: for data, or for erases to be final.
    pub(crate) fn warn(&self, session: &Session) {
        let (n, Rule { threshold, liars, .. }) = (self.members.len(), self.rule);
        if self.may_be_lost() > 0 {
            if threshold == liars.saturating_add(1) {
                let text = format!(
                    "with --threshold {threshold} and --liars {liars} an erase is final only \
                     when all {n} keyholders have signed: while one is away it is pending, and if \
                     one is lost for good every later erase is; five with --threshold 3 are a \
                     good start"
                );
                session.warn(&Error::new(ErrorKind::Limit, text));
            }
            return;
        }
        let text = format!(
            "all {n} keyholders are needed (--threshold {n}): while one is away nothing can be \
             opened or erased, and if one is lost all data is; to be able to lose one, name more \
             keyholders than the threshold: five with --threshold 3 are a good start"
        );
        session.warn(&Error::new(ErrorKind::Limit, text));
    }
}

/// Makes a store and a cell that does not lie inside it.
pub(crate) fn make(session: &Session, store: &Path, making: Making) -> Result<Engine, Error> {
    let mut builder = builder(session, store);
    if making.accept_remnants {
        builder = builder.accept_remnants();
    }
    if making.single_machine {
        builder = builder.single_machine();
    }
    if let Some(origin) = making.log_origin {
        builder = builder.log_origin(origin);
    }
    if let Some(time) = making.lend {
        builder = builder.lend(time);
    }
    let spread = making.spread.clone();
    if let Some(Spread { members, rule }) = making.spread {
        builder = builder.keyholders(members, rule);
    }
    let engine = builder.create()?;
    let place = session.cell_of(store)?;
    if let Some(spread) = spread {
        spread.warn(session);
        if let Ok(Some(quorum)) = open_cell(&place, &env()) {
            warn_of_absent(session, &quorum);
        }
    }
    Ok(engine)
}

/// Says which keyholders of a new store hold no share: an init succeeds as soon as enough do.
pub(crate) fn warn_of_absent(session: &Session, quorum: &QuorumCell) {
    let contents = quorum.load().ok();
    let newest = contents.and_then(|contents| contents.keys.iter().map(|key| key.id).max());
    for alive in newest.map(|newest| quorum.standing(&newest)).unwrap_or_default() {
        if let Standing::Refuses(why) | Standing::Away(why) = alive.standing {
            let text = format!(
                "{why}; it has no share yet: `keyfall tend STORE` deals it one once it is there"
            );
            session.warn(&Error::new(ErrorKind::Io, text));
        }
    }
}
