//! What becomes of a record that an erase is to leave: whether it falls all the same, and with
//! which of its sources.

use std::collections::{BTreeSet, HashMap};

use super::change::Cuts;
use super::edit::Edit;
use super::span::Span;
use super::view::Users;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserTag};

/// What one erase does to single records.
pub(super) trait Takes {
    /// Whether the erase takes this record by itself.
    fn takes(&self, id: &RecordId) -> bool;

    /// Whether the erase spans this record, and leaves it.
    fn keeps(&self, _: &RecordId) -> bool {
        false
    }

    /// Whether this record is cut from each of its sources that the erase takes.
    fn is_cut(&self, _: &RecordId) -> bool {
        false
    }
}

/// Which records fall with an erase, in the state before it and but for what the commit did before:
/// those that it takes, and those that depend on one of these.
pub(super) struct Fate<'a> {
    users: Users<'a>,
    erase: &'a dyn Takes,
    /// What other erases of the same commit took before.
    fell: &'a HashMap<UserTag, Vec<Span>>,
    /// From what they cut what they kept: that one does not fall with it any more.
    cuts: &'a Cuts,
    sources: HashMap<RecordId, Option<Vec<RecordId>>>,
    falls: HashMap<RecordId, bool>,
    lost: HashMap<RecordId, bool>,
}

impl<'a> Fate<'a> {
    pub(super) fn new(edit: &'a Edit<'_>, erase: &'a dyn Takes) -> Self {
        Fate {
            users: edit.view.users(),
            erase,
            fell: &edit.fell,
            cuts: &edit.cuts,
            sources: HashMap::new(),
            falls: HashMap::new(),
            lost: HashMap::new(),
        }
    }

    /// `None` for a record that is gone.
    fn sources(&mut self, id: &RecordId) -> Result<Option<&[RecordId]>> {
        if !self.sources.contains_key(id) {
            let gone =
                self.fell.get(&id.user).is_some_and(|all| all.iter().any(|fell| fell.takes(id)));
            let found = if gone { None } else { self.sources_left(id)? };
            self.sources.insert(*id, found);
        }
        Ok(self.sources.get(id).and_then(|sources| sources.as_deref()))
    }

    fn sources_left(&self, id: &RecordId) -> Result<Option<Vec<RecordId>>> {
        let (page, entry) = match self.users.look_up(id) {
            Ok(found) => found,
            Err(e) if matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent) => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut sources = match entry.sources {
            0 => Vec::new(),
            _ => page.lineage.sources(self.users.pages, id)?,
        };
        if let Some(cut) = self.cuts.get(id) {
            sources.retain(|source| !cut.contains(source));
        }
        Ok(Some(sources))
    }

    /// Whether a record falls with the erase, or fell before.
    pub(super) fn falls(&mut self, id: &RecordId) -> Result<bool> {
        let mut known = std::mem::take(&mut self.falls);
        let erase = self.erase;
        // What is cut from its sources does not fall with them.
        let stays_without =
            |at: &RecordId, source: &RecordId| erase.is_cut(at) && erase.takes(source);
        let decided = |at: &RecordId| erase.takes(at).then_some(true);
        let falls = self.any_above(id, &mut known, &decided, &stays_without);
        self.falls = known;
        falls
    }

    /// Whether a record fell before the erase, with something that it depends on.
    pub(super) fn fell_before(&mut self, id: &RecordId) -> Result<bool> {
        let mut known = std::mem::take(&mut self.lost);
        let lost = self.any_above(id, &mut known, &|_| None, &|_, _| false);
        self.lost = known;
        lost
    }

    /// The sources of a kept record that fall; `None` if it fell with one of them before.
    pub(super) fn falling_sources(&mut self, id: &RecordId) -> Result<Option<Vec<RecordId>>> {
        if self.fell_before(id)? {
            return Ok(None);
        }
        let mut falling = Vec::new();
        let mut known = std::mem::take(&mut self.falls);
        let erase = self.erase;
        let decided = |at: &RecordId| {
            let taken = erase.takes(at);
            (taken || erase.keeps(at)).then_some(taken)
        };
        for source in self.sources(id)?.unwrap_or_default().to_vec() {
            if self.any_above(&source, &mut known, &decided, &|_, _| false)? {
                falling.push(source);
            }
        }
        self.falls = known;
        Ok(Some(falling))
    }

    /// Whether it is so of a record or of any that it depends on: it is if `decided` says so,
    /// and of what is gone. `without` says which sources of a record do not count.
    fn any_above(
        &mut self,
        id: &RecordId,
        known: &mut HashMap<RecordId, bool>,
        decided: &dyn Fn(&RecordId) -> Option<bool>,
        without: &dyn Fn(&RecordId, &RecordId) -> bool,
    ) -> Result<bool> {
        let mut path = vec![*id];
        let mut looked: BTreeSet<RecordId> = BTreeSet::new();
        while let Some(&at) = path.last() {
            if known.contains_key(&at) {
                path.pop();
                continue;
            }
            let is = match decided(&at) {
                Some(is) => Some(is),
                None => match self.sources(&at)? {
                    None => Some(true),
                    Some(sources) => {
                        let count = || sources.iter().filter(|s| !without(&at, s));
                        let unknown: Vec<RecordId> =
                            count().filter(|s| !known.contains_key(s)).copied().collect();
                        if unknown.is_empty() || !looked.insert(at) {
                            Some(count().any(|s| known.get(s).copied().unwrap_or(false)))
                        } else {
                            path.extend(unknown);
                            None
                        }
                    }
                },
            };
            if let Some(is) = is {
                known.insert(at, is);
                path.pop();
            }
        }
        Ok(known.get(id).copied().unwrap_or(false))
    }
}

/// Why a record cannot be kept: what a look at another one says is not what becomes of the erase.
pub(super) fn cannot_stay(id: &RecordId, e: &Error) -> Error {
    let kind = match e.kind() {
        ErrorKind::Erased | ErrorKind::Absent => ErrorKind::Corrupt,
        kind => kind,
    };
    Error::new(
        kind,
        format!(
            "record {id} is to stay, and what it was derived from cannot be read, so nothing was erased; restore the store from a copy, or keep nothing: {e}"
        ),
    )
}
