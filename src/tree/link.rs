//! A tree that is being changed: pages come in, changed ones go out under new names and keys.

use super::geometry::Geometry;
use super::page::{Page, PageKind, Ref};
use crate::error::Result;
use crate::ids::{BlobName, UserTag};
use crate::secret::Secret;

/// Where pages come from.
pub(crate) trait Pages {
    /// Fetches and opens a page. `owner` is the user whose page it is, if it is one user's.
    fn load(&self, kind: PageKind, owner: Option<UserTag>, at: &Ref) -> Result<Page>;

    /// Whether what will be asked for next is fetched together, if that is said.
    fn reads_ahead(&self) -> bool {
        false
    }

    /// Whether a look-up that came to a page which is not there yet may go on without it, to find
    /// out what else it lacks. What it gives counts for nothing then: it begins again.
    fn may_go_on(&self) -> bool {
        false
    }

    /// Is told which blobs will be asked for next, in this order, as far as that is known.
    fn soon(&self, names: &mut dyn Iterator<Item = BlobName>) {
        let _ = names;
    }
}

/// What was looked at; nothing, if it lacks a page and the look-up goes on without it.
pub(crate) fn or_go_on<T>(pages: &dyn Pages, looked: Result<T>) -> Result<Option<T>> {
    match looked {
        Err(_) if pages.may_go_on() => Ok(None),
        looked => looked.map(Some),
    }
}

/// Where new pages go: draws name and key, seals, keeps the blob for the commit.
pub(crate) trait Sink {
    fn seal(&mut self, kind: PageKind, owner: Option<UserTag>, plaintext: Secret) -> Result<Ref>;
}

/// Reads pages for a change and remembers which ones it replaces.
pub(crate) struct Editor<'a> {
    pub(crate) pages: &'a dyn Pages,
    pub(crate) geometry: Geometry,
    pub(crate) replaced: Vec<BlobName>,
}

/// A pointer in a tree that is being changed: to a page as stored, or to one that will be written
/// again.
#[derive(Debug)]
pub(crate) enum Link<N> {
    Stored(Ref),
    Loaded(Box<N>),
}

/// A page of a tree in decoded form.
pub(crate) trait Node: Sized {
    fn decode(page: &Page) -> Result<Self>;
}

impl<N: Node> Link<N> {
    /// The page, to be changed: it will be written again under a fresh key.
    pub(crate) fn load_mut(
        &mut self,
        editor: &mut Editor<'_>,
        kind: PageKind,
        owner: Option<UserTag>,
    ) -> Result<&mut N> {
        match self {
            Link::Loaded(node) => Ok(node),
            Link::Stored(at) => {
                let page = editor.pages.load(kind, owner, at)?;
                let node = N::decode(&page)?;
                editor.replaced.push(at.name);
                *self = Link::Loaded(Box::new(node));
                self.load_mut(editor, kind, owner)
            }
        }
    }
}
