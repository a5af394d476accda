//! What an erase took, as its certificate needs it.

use std::collections::BTreeMap;

use crate::certificate::Destroyed;
use crate::crypto::Key;
use crate::error::Result;
use crate::ids::{Class, UserId, UserTag};
use crate::scope::{Erase, Scope};
use crate::tree::Editor;
use crate::tree::grants::Grants;
use crate::tree::user::UserPage;

/// What an erase took, for its certificate.
#[derive(Debug, Default)]
pub(crate) struct Docket {
    pub(crate) user: Option<String>,
    pub(crate) records: Option<BTreeMap<String, u64>>,
    pub(crate) holds: u64,
    pub(crate) openings: Option<u64>,
    pub(crate) grants: Option<u64>,
    pub(crate) destroyed: Vec<Destroyed>,
    /// Classes of which records were kept that had been derived from what fell.
    pub(crate) derived_kept: Vec<Class>,
}

impl Docket {
    /// The docket of an erase whose user has no page known to be readable.
    pub(crate) fn unread(erase: &Erase) -> Self {
        let user = match erase.scope() {
            Scope::User { user, .. } => Some(user.as_str().to_owned()),
            Scope::Record(_) => None,
        };
        Docket { user, ..Docket::default() }
    }

    /// Of a name that nobody has.
    pub(crate) fn nothing(user: &UserId) -> Self {
        Docket {
            user: Some(user.as_str().to_owned()),
            records: Some(BTreeMap::new()),
            openings: Some(0),
            grants: Some(0),
            ..Docket::default()
        }
    }

    /// Of a user's page as it was before.
    pub(crate) fn of(editor: &mut Editor<'_>, tag: UserTag, page: &mut UserPage) -> Result<Self> {
        Ok(Docket {
            user: Some(page.user.as_str().to_owned()),
            records: Some(BTreeMap::new()),
            holds: page.holds.all(editor.pages, tag)?.len() as u64,
            openings: Some(page.openings),
            grants: Some(page.grants.tree.count(editor, Grants::place(tag))?),
            destroyed: Vec::new(),
            derived_kept: Vec::new(),
        })
    }

    pub(crate) fn add_key(&mut self, what: &str, key: &Key) {
        self.destroyed.push(Destroyed::of(what, key.bytes()));
    }

    /// Adds counts of records, if its pages could be read.
    pub(crate) fn add_records(&mut self, counts: &[(Class, u64)]) {
        let Some(records) = &mut self.records else { return };
        for (class, n) in counts.iter().filter(|(_, n)| *n > 0) {
            *records.entry(class.as_str().to_owned()).or_default() += n;
        }
    }
}
