//! The sealer: every page of a change goes through it, and is named and sealed under a fresh key.

use std::collections::VecDeque;
use std::sync::Arc;

use super::defect::Defect;
use super::means::Means;
use crate::crypto::{self, Fresh, Key, PageContext, chunked, hedge};
use crate::error::Result;
use crate::ids::{BlobName, RealmId, UserTag};
use crate::limits::{SALT_BYTES, SEAL_OVERHEAD};
use crate::pages::Made;
use crate::secret::Secret;
use crate::store::{Ahead, Blob};
use crate::tree::{Page, PageKind, Ref, Sink};

/// Bytes of the pages of one commit that are kept for the cache, about. Those nearest to the root
/// come last.
const MADE_MAX_BYTES: usize = 8 << 20;
/// Of them, pages of one user.
const MADE_OWN_MAX: usize = 8;

/// A page with its name and its key that is not encrypted yet.
pub(crate) struct Unsealed {
    /// Its place among the blobs of the change.
    pub(crate) at: usize,
    key: Key,
    salt: [u8; SALT_BYTES],
    context: PageContext,
    plaintext: Page,
}

impl Unsealed {
    /// The page as it is stored.
    pub(crate) fn seal(&self) -> Vec<u8> {
        chunked::seal(&self.key, &self.salt, &self.context, &self.plaintext)
    }
}

/// Encrypts pages while the next ones are written.
pub(crate) trait Beside {
    /// Takes a page, in whose place there is an empty blob until it is encrypted.
    fn take(&self, page: Unsealed);
}

/// Seals pages and keeps the blobs for the commit, children before parents.
pub(crate) struct Sealer<'a> {
    means: Means<'a>,
    /// Encrypts them, where the writer does not.
    beside: Option<&'a dyn Beside>,
    realm: RealmId,
    /// The commit's, in their order: names can say where they will lie.
    pub(crate) blobs: Vec<Blob>,
    ahead: Ahead,
    /// The last of them, as they were before.
    pub(crate) made: VecDeque<Made>,
    /// How many bytes those have.
    made_bytes: usize,
    /// How many of the last are one user's.
    own: usize,
}

impl<'a> Sealer<'a> {
    /// Seals pages to come after these blobs of the same commit.
    pub(crate) fn new(means: Means<'a>, realm: RealmId, blobs: Vec<Blob>) -> Self {
        Sealer {
            means,
            beside: None,
            realm,
            ahead: Ahead::of(&blobs),
            blobs,
            made: VecDeque::new(),
            made_bytes: 0,
            own: 0,
        }
    }

    /// Has pages encrypted by another.
    pub(crate) fn with(self, beside: Option<&'a dyn Beside>) -> Self {
        Sealer { beside, ..self }
    }

    /// Takes a blob along that is sealed already, under a name that says what comes before it.
    pub(crate) fn carry(&mut self, drawn: BlobName, sealed: Vec<u8>) -> BlobName {
        let name = self.means.names.name(drawn, self.ahead, sealed.len());
        self.ahead = self.ahead.and(sealed.len());
        self.blobs.push((name, sealed));
        name
    }

    /// The key that was drawn for a page, unless a defect puts another in its place.
    fn key(&self, drawn: Key, owner: Option<UserTag>) -> Key {
        if let Some(owner) = owner.filter(|_| self.means.planted.is(Defect::KeepPageKey)) {
            return Key::copied_from(&hedge(&[b"kept", &owner.0]));
        }
        if self.means.planted.is(Defect::ReuseKey) {
            let first = self.blobs.first().map_or(&b""[..], |(_, bytes)| bytes);
            return Key::copied_from(&hedge(&[b"reused", &first[..first.len().min(24)]]));
        }
        drawn
    }

    /// Keeps a page for the cache: not too many, and few of one user.
    fn keep(&mut self, made: Made) {
        let owner = made.owner;
        let another = owner.is_none() || self.made.back().is_none_or(|last| last.owner != owner);
        self.own = if another { 0 } else { self.own + 1 };
        self.made_bytes += made.page.len();
        let gone = if self.own == MADE_OWN_MAX {
            self.own -= 1;
            self.made.remove(self.made.len() - MADE_OWN_MAX)
        } else if self.made_bytes > MADE_MAX_BYTES {
            self.made.pop_front()
        } else {
            None
        };
        self.made_bytes -= gone.map_or(0, |gone| gone.page.len());
        self.made.push_back(made);
    }
}

impl Sink for Sealer<'_> {
    fn seal(&mut self, kind: PageKind, owner: Option<UserTag>, plaintext: Secret) -> Result<Ref> {
        let fresh = Fresh::new(self.means.env, hedge(&[&plaintext]));
        let (name, drawn, salt) = fresh.object()?;
        let key = self.key(drawn, owner);
        let len = plaintext.len() + SEAL_OVERHEAD;
        let name = self.means.names.name(name, self.ahead, len);
        let context = crypto::page_context(self.realm, kind.byte(), name);
        let at = Ref::new(name, &key);
        // One copy for the cache and the cipher: what it was written in has room for the largest
        // page, and the next one is written in the same place.
        let page = Arc::new(Secret::copied_from(&plaintext));
        drop(plaintext);
        self.keep(Made { name, owner, page: Arc::clone(&page) });
        let page = Unsealed { at: self.blobs.len(), key, salt, context, plaintext: page };
        let sealed = match self.beside {
            Some(beside) => {
                beside.take(page);
                Vec::new()
            }
            None => page.seal(),
        };
        self.blobs.push((name, sealed));
        self.ahead = self.ahead.and(len);
        Ok(at)
    }
}
