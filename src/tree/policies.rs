//! Retention policies: the store's under the head, a user's own under its page.
//!
//! ```text
//! key   = SHA-256(class name, purpose), the first 20 bytes
//! value = policy (policy.rs)
//! ```

use super::keys::OrderedKey;
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place};
use super::page::PageKind;
use crate::crypto::hedge;
use crate::error::Result;
use crate::ids::{Class, UserTag};
use crate::policy::Policy;

/// Policies of the store, or of one user.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) tree: Ordered,
}

fn key(class: &Class, purpose: Option<&str>) -> OrderedKey {
    let hash = hedge(&[class.as_str().as_bytes(), purpose.unwrap_or_default().as_bytes()]);
    let mut key = [0; 20];
    key.copy_from_slice(&hash[..20]);
    key
}

impl Policies {
    /// The store's have no owner.
    pub(crate) fn place(owner: Option<UserTag>) -> Place {
        Place { kind: PageKind::Policies, owner }
    }

    pub(crate) fn set(
        &mut self,
        editor: &mut Editor<'_>,
        owner: Option<UserTag>,
        policy: &Policy,
    ) -> Result<()> {
        let key = key(&policy.class, policy.purpose.as_deref());
        self.tree.insert(editor, Self::place(owner), key, policy.encode())
    }

    /// Removes a policy, and says whether it was there.
    pub(crate) fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        owner: Option<UserTag>,
        class: &Class,
        purpose: Option<&str>,
    ) -> Result<bool> {
        let key = key(class, purpose);
        self.tree.remove(editor, Self::place(owner), &key)
    }

    /// Every policy, by class and purpose.
    pub(crate) fn all(&self, pages: &dyn Pages, owner: Option<UserTag>) -> Result<Vec<Policy>> {
        let mut all = Vec::new();
        self.tree.all(pages, Self::place(owner), &mut |_, value| {
            all.push(Policy::decode(value)?);
            Ok(())
        })?;
        all.sort_by(|a, b| (a.class.as_str(), &a.purpose).cmp(&(b.class.as_str(), &b.purpose)));
        Ok(all)
    }
}
