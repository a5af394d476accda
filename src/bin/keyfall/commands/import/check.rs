//! The first reading of a corpus: what may go in.

use std::collections::HashSet;

use keyfall::engine::warm_up;
use keyfall::env::{Env, System};
use keyfall::{Class, Engine, Error, ErrorKind, Policy, Query, UserId};

use crate::commands::import::corpus::{Corpus, Row, digest_of};
use crate::shell::print::progress;

/// Rows of a corpus in one commit.
pub(super) const ROWS: usize = 32;

/// What keeps a corpus from being imported, as it was asked for.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) skip_missing: bool,
    pub(super) strict: bool,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    GoesIn,
    /// Its clip does not exist.
    Missing,
    /// Its user was erased.
    Erased,
    /// A policy forbids keeping it.
    Policy,
}

/// Rows that are passed over for one reason, and the first of them.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) rows: u64,
    pub(super) first: Option<String>,
}

impl Passed {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.rows += 1;
        self.first.get_or_insert_with(what);
    }

    /// How many there are besides the first, for a message.
    fn more(&self) -> String {
        format!("(and {} more)", self.rows.saturating_sub(1))
    }
}

/// What the first reading found.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) rows: u64,
    pub(super) missing: Passed,
    pub(super) erased: Passed,
    pub(super) by_policy: Passed,
    /// Actions of rows that are passed over.
    pub(super) actions: u64,
    pub(super) unmatched: u64,
    /// One for each commit, in their order.
    pub(super) digests: Vec<u64>,
}

/// Reads everything, and refuses what must not go in.
pub(super) fn check(
    corpus: &Corpus,
    users: &mut Users<'_>,
    rules: Rules,
) -> Result<Checked, Error> {
    let bar = progress("rows checked", None);
    let mut checked = Checked::default();
    let mut rows = Vec::with_capacity(ROWS);
    let mut look = |rows: &mut Vec<Row>| {
        bar.inc(rows.len() as u64);
        checked.take(corpus, users, std::mem::take(rows))
    };
    corpus.rows::<Error>(&mut |row| {
        rows.push(row);
        if rows.len() == ROWS { look(&mut rows) } else { Ok(()) }
    })?;
    if !rows.is_empty() {
        look(&mut rows)?;
    }
    bar.finish_and_clear();
    checked.unmatched = corpus.unmatched();
    checked.obey(rules)?;
    Ok(checked)
}

/// What becomes of a row; an error if the row contradicts itself.
pub(super) fn fate(corpus: &Corpus, users: &mut Users<'_>, row: &Row) -> Result<Fate, Error> {
    let user = UserId::new(row.client.clone())
        .map_err(|e| e.context(format!("{}: client_id", row.place)))?;
    for action in &row.actions {
        if let Some(client) = action.client.as_ref().filter(|client| **client != row.client) {
            return Err(invalid(format!(
                "{} is marked for user {client:?}, but its clip {} is of user {:?} ({}); nothing \
                 was imported",
                corpus.place_of(action),
                row.name,
                row.client,
                row.place
            )));
        }
    }
    if row.there { users.fate(&user) } else { Ok(Fate::Missing) }
}

/// A number that stands for rows and what becomes of them.
pub(super) fn digest(rows: &[(Row, Fate)]) -> u64 {
    digest_of(rows.iter().map(|(row, fate)| (row.digest, *fate as u8)).collect::<Vec<_>>())
}

impl Checked {
    /// Looks at the rows of one commit.
    fn take(
        &mut self,
        corpus: &Corpus,
        users: &mut Users<'_>,
        rows: Vec<Row>,
    ) -> Result<(), Error> {
        users.read_ahead(&rows)?;
        let mut known = Vec::with_capacity(rows.len());
        for row in rows {
            let fate = fate(corpus, users, &row)?;
            self.note(&row, fate);
            known.push((row, fate));
        }
        self.digests.push(digest(&known));
        Ok(())
    }

    fn note(&mut self, row: &Row, fate: Fate) {
        let user = || format!("{}: user {:?}", row.place, row.client);
        match fate {
            Fate::GoesIn => {}
            Fate::Missing => self.missing.add(|| format!("{}: {}", row.place, row.path.display())),
            Fate::Erased => self.erased.add(user),
            Fate::Policy => self.by_policy.add(user),
        }
        self.actions += if fate == Fate::GoesIn { 0 } else { row.actions.len() as u64 };
        self.rows += 1;
    }

    /// Refuses what must not go in.
    fn obey(&self, rules: Rules) -> Result<(), Error> {
        if let Some(first) = self.missing.first.as_ref().filter(|_| !rules.skip_missing) {
            return Err(invalid(format!(
                "{first} does not exist {}; nothing was imported; --skip-missing passes over such \
                 rows",
                self.missing.more()
            )));
        }
        if !rules.strict {
            return Ok(());
        }
        let create = "`keyfall create STORE --user U` begins a new life of a user";
        refuse(&self.erased, ErrorKind::Erased, "was erased", create)?;
        let list = "`keyfall policy list STORE` shows it";
        refuse(&self.by_policy, ErrorKind::Refused, "may keep nothing by a policy", list)
    }
}

/// Refuses rows that the store would refuse.
fn refuse(passed: &Passed, kind: ErrorKind, what: &str, remedy: &str) -> Result<(), Error> {
    let Some(first) = &passed.first else { return Ok(()) };
    let text = format!(
        "{first} {what} {}; nothing was imported; {remedy}; without --strict such rows are passed \
         over",
        passed.more()
    );
    Err(Error::new(kind, text))
}

/// Whose records a store takes. Each user is looked up once.
pub(super) struct Users<'e> {
    engine: &'e Engine,
    store: Vec<Policy>,
    seen: HashSet<u64>,
    erased: HashSet<u64>,
    by_policy: HashSet<u64>,
}

impl<'e> Users<'e> {
    pub(super) fn new(engine: &'e Engine) -> Result<Self, Error> {
        let store = engine.policies(None).list()?;
        let (seen, erased, by_policy) = Default::default();
        Ok(Users { engine, store, seen, erased, by_policy })
    }

    /// Reads what leads to users who are looked up next, where a request takes long.
    fn read_ahead(&self, rows: &[Row]) -> Result<(), Error> {
        let new = rows.iter().filter(|row| !self.seen.contains(&digest_of(row.client.as_str())));
        let new: Vec<UserId> = new.filter_map(|row| UserId::new(row.client.clone()).ok()).collect();
        // Without users it would read what leads to all.
        if new.is_empty() { Ok(()) } else { warm_up(self.engine, &new) }
    }

    fn fate(&mut self, user: &UserId) -> Result<Fate, Error> {
        let hash = digest_of(user.as_str());
        if self.seen.insert(hash) {
            match self.engine.list(&Query::default().user(user.clone()).limit(1)) {
                Err(e) if e.kind() == ErrorKind::Erased => self.erased.extend([hash]),
                Err(e) if e.kind() == ErrorKind::Absent => self.look_at_policies(&[], hash),
                Err(e) => return Err(e),
                Ok(_) => self.look_at_policies(&self.engine.policies(Some(user)).list()?, hash),
            }
        }
        Ok(if self.erased.contains(&hash) {
            Fate::Erased
        } else if self.by_policy.contains(&hash) {
            Fate::Policy
        } else {
            Fate::GoesIn
        })
    }

    /// A row's recording and transcript are put without a purpose: the policies for it hold.
    fn look_at_policies(&mut self, own: &[Policy], hash: u64) {
        let now = System.now();
        let ended = |class: &Class| {
            let of_class = |all: &[Policy]| {
                all.iter().find(|p| p.class == *class && p.purpose.is_none()).cloned()
            };
            of_class(own)
                .or_else(|| of_class(&self.store))
                .and_then(|p| p.until)
                .is_some_and(|until| until <= now)
        };
        if [Class::audio(), Class::transcript(), Class::action()].iter().any(ended) {
            self.by_policy.insert(hash);
        }
    }
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::Invalid, text)
}
