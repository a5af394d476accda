//! Reading: look-ups and listings.

use std::io::Write;
use std::ops::ControlFlow;

use super::core::State;
use super::keys::Opened;
use super::readers::Via;
use super::tend::tend_first;
use super::{Engine, Listing, Query, Reader};
use crate::catalogue::list::{info, list};
use crate::catalogue::resolve::Needs;
use crate::catalogue::view::absent;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserId};
use crate::record::{self, RecordInfo};
use crate::secret::WipeStack;
use crate::tree::user::UserPage;
use crate::tree::users::{Found, visit};
use crate::tree::{Node, PageKind, Pages};

impl Engine {
    /// Opens a record.
    ///
    /// # Errors
    /// `Erased`, `Absent` and `Corrupt` are three different answers; `Refused` where a policy wants readers named
    /// ([`Engine::get_as`]); `Poisoned`, `Io`.
    pub fn get(&self, id: &RecordId) -> Result<Reader> {
        self.open_record(id, false)
    }

    /// Opens a record for who is written down, or for nobody.
    pub(super) fn open_record(&self, id: &RecordId, named: bool) -> Result<Reader> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        self.open_in(&self.inner.state(), id, named, None)
    }

    /// Opens a record as it stands in one state; `via` says by which grants.
    pub(super) fn open_in(&self, state: &State, id: &RecordId, named: bool, via: Option<Via>) -> Result<Reader> {
        let inner = &self.inner;
        let pages = inner.pages();
        let (page, entry) = inner.view(state, &pages).users().look_up(id)?;
        let class = page.class(id.class).map(|c| c.class.clone()).ok_or_else(|| absent(id))?;
        let rules = inner.rules(state, &pages, id.user, &page)?;
        if !named && rules.of(&class, &entry.purpose).is_some_and(|p| p.readers_named) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "by its policy who reads class {class} is written down; say who, and what for (--as, --purpose)"
                ),
            ));
        }
        let context = record::payload_context(inner.realm, id.user, id.incarnation, &class, id.interaction);
        let info = info(id, &page.user, &class, &entry);
        let (secret, first) = (entry.secret.duplicate(), entry.first);
        let (root, needs) = if entry.stands_alone() {
            (entry.secret, Needs::new())
        } else {
            let mut resolver = inner.resolver(&pages, state);
            let root = resolver.resolve_read(id, &page, entry)?.duplicate();
            (root, resolver.seen())
        };
        let opened = Opened { secret, first, root, context };
        Ok(Reader::new(inner, info, state.head.geometry, opened, needs, via))
    }

    /// Writes a record to `out` and returns its length.
    ///
    /// # Errors
    /// As [`Engine::get`]. Where it fails in the middle, `out` holds a part of the record.
    pub fn get_to(&self, id: &RecordId, out: &mut impl Write) -> Result<u64> {
        self.get(id)?.write_to(out)
    }

    /// A record's metadata.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn info(&self, id: &RecordId) -> Result<RecordInfo> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let (page, entry) = self.inner.look_up_whole(&state, id)?;
        let class = page.class(id.class).ok_or_else(|| absent(id))?;
        Ok(info(id, &page.user, &class.class, &entry))
    }

    /// Lists records, a page at a time.
    ///
    /// # Errors
    /// `Erased` or `Absent` for a user that was erased or never was here; `Corrupt`, `Io`.
    pub fn list(&self, query: &Query) -> Result<Listing> {
        self.inner.look(|view| list(view, query))
    }

    /// Users that are not erased, with the number of their records: at most `limit`, behind the user `after`. Where an erase
    /// is still being followed, this finishes it first ([`Engine::tend`]).
    ///
    /// # Errors
    /// `Corrupt`, `Io`; as [`Engine::tend`].
    pub fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<(UserId, u64)>> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        tend_first(inner)?;
        let state = inner.state();
        let behind = after.map(|user| inner.user_tag(&state, user));
        let pages = inner.pages();
        let mut users = Vec::new();
        visit(&pages, &state.head.roots.users, state.head.geometry, behind, &mut |tag, found| {
            if users.len() == limit {
                return Ok(ControlFlow::Break(()));
            }
            if let Found::Live { page, .. } = found {
                let page = UserPage::decode(&pages.load(PageKind::User, Some(tag), &page)?)?;
                let records = page.records();
                users.push((page.user, records));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(users)
    }
}
