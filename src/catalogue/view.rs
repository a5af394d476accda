//! One state of the tree, as a rule reads it.

use std::cmp::Ordering;

use crate::crypto;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, RecordId, StoreId, UserHandle, UserId, UserTag};
use crate::policy::{Policy, Rules};
use crate::record::Entry;
use crate::store::HeadId;
use crate::tree::agenda::Agenda;
use crate::tree::fences::Target;
use crate::tree::head::HeadPage;
use crate::tree::keys::record_key;
use crate::tree::ordered::Ordered;
use crate::tree::policies::Policies;
use crate::tree::sets::Sets;
use crate::tree::user::{UserPage, class_place};
use crate::tree::users::{Found, Visitor, find, visit};
use crate::tree::{Geometry, Node, PageKind, Pages, Ref};

/// One state of a store: its head, and where the pages below it come from.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) store: StoreId,
    pub(crate) head: &'a HeadPage,
    /// The number of the head.
    pub(crate) at: HeadId,
    pub(crate) pages: &'a dyn Pages,
}

impl<'a> View<'a> {
    /// The tree of its users.
    pub(crate) fn users(&self) -> Users<'a> {
        Users { pages: self.pages, root: &self.head.roots.users, geometry: self.head.geometry }
    }

    pub(crate) fn tag(&self, user: &UserId) -> UserTag {
        match self.is_shard() {
            true => crypto::placed_tag(&self.head.index_key, user),
            false => crypto::user_tag(&self.head.index_key, user.as_str()),
        }
    }

    /// Whether the store is one of several, which have its users among them.
    pub(crate) fn is_shard(&self) -> bool {
        self.head.realm != RealmId::from(self.store)
    }

    /// The page of a user that lives.
    ///
    /// # Errors
    /// `Erased` or `Absent` for one that was erased or never was here; `Corrupt`, `Io`.
    pub(crate) fn user(&self, user: &UserId) -> Result<(UserTag, UserPage)> {
        let tag = self.tag(user);
        match self.users().find(tag)? {
            Found::Live { page, .. } => Ok((tag, self.users().page(tag, &page)?)),
            Found::Erased { epoch, .. } => Err(Error::new(
                ErrorKind::Erased,
                format!("this user was erased, in epoch {epoch}"),
            )),
            Found::Absent | Found::Unborn { .. } => Err(no_such_user()),
        }
    }

    /// The page of a user in the life that a handle names.
    ///
    /// # Errors
    /// As [`View::user`]; `Erased` for a life before the present one.
    pub(crate) fn life(&self, handle: &UserHandle) -> Result<UserPage> {
        let erased = || Error::new(ErrorKind::Erased, "the user of this handle was erased");
        match self.users().find(handle.user)? {
            Found::Live { incarnation, page } => match handle.incarnation.cmp(&incarnation) {
                Ordering::Less => Err(erased()),
                Ordering::Equal => self.users().page(handle.user, &page),
                Ordering::Greater => Err(no_such_user()),
            },
            Found::Erased { incarnation, .. } if handle.incarnation <= incarnation => Err(erased()),
            Found::Erased { .. } | Found::Absent | Found::Unborn { .. } => Err(no_such_user()),
        }
    }

    /// Whether derived records that cannot be read any more are still in lists.
    pub(crate) fn is_falling(&self) -> bool {
        self.head.roots.falling.is_some()
    }

    /// Policies of the whole store; those of single users are in the users' trees.
    pub(crate) fn policies(&self) -> Result<Vec<Policy>> {
        match &self.head.roots.policies {
            Some(_) => policies_of(self.head).all(self.pages, None),
            None => Ok(Vec::new()),
        }
    }

    /// The policies that hold for a user.
    pub(crate) fn rules(&self, user: UserTag, page: &UserPage) -> Result<Rules> {
        Ok(Rules { own: page.policies.all(self.pages, Some(user))?, store: self.policies()? })
    }
}

fn no_such_user() -> Error {
    Error::new(
        ErrorKind::Absent,
        "no such user in this store; check the name, or make one with `create_user`",
    )
}

/// The store's policies, below a head.
pub(crate) fn policies_of(head: &HeadPage) -> Policies {
    Policies { tree: Ordered::stored(head.roots.policies.as_ref().map(Ref::duplicate)) }
}

/// What is due, below a head.
pub(crate) fn agenda_of(head: &HeadPage) -> Agenda {
    Agenda { tree: Ordered::stored(head.roots.agenda.as_ref().map(Ref::duplicate)) }
}

/// The training sets, below a head.
pub(crate) fn sets_of(head: &HeadPage) -> Sets {
    Sets { tree: Ordered::stored(head.roots.sets.as_ref().map(Ref::duplicate)) }
}

/// The tree of users in one state: all that a comparison of several places' states needs.
#[derive(Clone, Copy)]
pub(crate) struct Users<'a> {
    pub(crate) pages: &'a dyn Pages,
    pub(crate) root: &'a Ref,
    pub(crate) geometry: Geometry,
}

impl Users<'_> {
    /// What is in the slot of a user.
    pub(crate) fn find(&self, user: UserTag) -> Result<Found> {
        find(self.pages, self.root, self.geometry, user)
    }

    /// Shows every slot after `after`, in the order of tags.
    pub(crate) fn visit(&self, after: Option<UserTag>, on_slot: &mut Visitor<'_>) -> Result<()> {
        visit(self.pages, self.root, self.geometry, after, on_slot)
    }

    /// The page of a user, where its slot points to.
    pub(crate) fn page(&self, user: UserTag, at: &Ref) -> Result<UserPage> {
        UserPage::decode(&self.pages.load(PageKind::User, Some(user), at)?)
    }

    /// The page of a user, if it lives.
    pub(crate) fn live(&self, user: UserTag) -> Result<Option<UserPage>> {
        match self.find(user)? {
            Found::Live { page, .. } => self.page(user, &page).map(Some),
            _ => Ok(None),
        }
    }

    /// The page of a record's user, in the life that the record is of.
    ///
    /// # Errors
    /// `Erased`, `Absent`, `Corrupt`.
    pub(crate) fn page_of(&self, id: &RecordId) -> Result<UserPage> {
        let (incarnation, at) = match self.find(id.user)? {
            Found::Live { incarnation, page, .. } => (incarnation, page),
            Found::Erased { incarnation, .. } if id.incarnation <= incarnation => {
                return Err(record_erased(id));
            }
            _ => return Err(absent(id)),
        };
        match id.incarnation.cmp(&incarnation) {
            Ordering::Less => Err(record_erased(id)),
            Ordering::Greater => Err(absent(id)),
            Ordering::Equal => self.page(id.user, &at),
        }
    }

    /// A record's entry, and the page of its user.
    ///
    /// # Errors
    /// `Erased`, `Absent`, `Corrupt`.
    pub(crate) fn look_up(&self, id: &RecordId) -> Result<(UserPage, Entry)> {
        let page = self.page_of(id)?;
        let key = record_key(id.interaction, id.ordinal);
        let value = match page.class(id.class) {
            Some(slot) => slot.tree.get(self.pages, class_place(id.user), &key)?,
            None => None,
        };
        match value {
            Some(value) => Ok((page, Entry::decode(&value)?)),
            None => {
                let what = Target::record(id);
                let fenced = page.fences.cover(self.pages, id.user, &page.fence_key, what)?;
                Err(if fenced { record_erased(id) } else { absent(id) })
            }
        }
    }
}

/// The error for a record that was erased.
pub(crate) fn record_erased(id: &RecordId) -> Error {
    Error::new(ErrorKind::Erased, format!("record {id} was erased; it does not come back"))
}

/// The error for a record that was never here.
pub(crate) fn absent(id: &RecordId) -> Error {
    Error::new(
        ErrorKind::Absent,
        format!("no record {id} in this store; `Engine::list` shows what there is"),
    )
}
