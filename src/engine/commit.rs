//! The one commit point. Every change of the tree, every erase and every recovery ends here.
//!
//! Order of an erase: deposit, publish, copies in step, read back, retire. A put is the middle of it alone.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::copies::{self, Attached};
use super::edit::Cuts;
use super::open::seal_head;
use super::pages::Made;
use super::read::Selector;
use super::{Inner, Options, State, Writer, locked};
use crate::cell::{Awaited, Durable, Retirement, RootKey};
use crate::crypto::{self, Fresh, chunked, hedge};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, RealmId, UserTag};
use crate::limits::SEAL_OVERHEAD;
use crate::sealed::outlet::settle;
use crate::secret::Secret;
use crate::store::{Ahead, Blob, Published, Store};
use crate::sync::atomic::Ordering;
use crate::tree::head::{CopyMode, HeadPage};
use crate::tree::{PageKind, Ref, Sink};

/// Pages of one commit that are kept for the cache, at most. Those nearest to the root come last.
const MADE_MAX: usize = 256;
/// Of them, pages of one user.
const MADE_OWN_MAX: usize = 8;

/// Seals pages and keeps the blobs for the commit, children before parents.
pub(super) struct Sealer<'a> {
    env: &'a dyn Env,
    realm: RealmId,
    store: &'a dyn Store,
    /// The commit's, in their order: names can say where they will lie.
    pub(super) blobs: Vec<Blob>,
    ahead: Ahead,
    /// The last of them, as they were before.
    pub(super) made: VecDeque<Made>,
    /// How many of the last are one user's.
    own: usize,
    #[cfg(feature = "testing")]
    defect: Option<super::Defect>,
}

impl<'a> Sealer<'a> {
    /// For blobs behind those of the commit that there are.
    pub(super) fn new(options: &'a Options, (realm, store): (RealmId, &'a dyn Store), blobs: Vec<Blob>) -> Self {
        Sealer {
            env: &*options.env,
            realm,
            store,
            ahead: Ahead::of(&blobs),
            blobs,
            made: VecDeque::new(),
            own: 0,
            #[cfg(feature = "testing")]
            defect: options.defect,
        }
    }

    #[cfg(feature = "testing")]
    fn broken_key(&self, owner: Option<UserTag>) -> Option<crypto::Key> {
        match (self.defect, owner) {
            (Some(super::Defect::KeepPageKey), Some(owner)) => {
                Some(crypto::Key::copied_from(&hedge(&[b"kept", &owner.0])))
            }
            (Some(super::Defect::ReuseKey), _) => {
                let first = self.blobs.first().map_or(&b""[..], |(_, bytes)| bytes);
                Some(crypto::Key::copied_from(&hedge(&[b"reused", &first[..first.len().min(24)]])))
            }
            _ => None,
        }
    }
}

impl Sink for Sealer<'_> {
    fn seal(&mut self, kind: PageKind, owner: Option<UserTag>, plaintext: Secret) -> Result<Ref> {
        let fresh = Fresh::new(self.env, hedge(&[&plaintext]));
        #[cfg_attr(not(feature = "testing"), expect(unused_mut, reason = "only a defect changes it"))]
        let (name, mut key, salt) = fresh.object()?;
        #[cfg(feature = "testing")]
        if let Some(broken) = self.broken_key(owner) {
            key = broken;
        }
        let len = plaintext.len() + SEAL_OVERHEAD;
        let name = self.store.name(name, self.ahead, len);
        let context = crypto::page_context(self.realm, kind.byte(), name);
        self.blobs.push((name, chunked::seal(&key, &salt, &context, &plaintext)));
        self.ahead = self.ahead.and(len);
        let another = owner.is_none() || self.made.back().is_none_or(|last| last.owner != owner);
        self.own = if another { 0 } else { self.own + 1 };
        if self.own == MADE_OWN_MAX {
            self.own -= 1;
            self.made.remove(self.made.len() - MADE_OWN_MAX);
        } else if self.made.len() == MADE_MAX {
            self.made.pop_front();
        }
        // A copy: what it was written in has room for the largest page.
        self.made.push_back(Made { name, owner, page: Secret::copied_from(&plaintext) });
        Ok(Ref::new(name, &key))
    }
}

/// A change, ready to be published.
pub(super) struct Change {
    pub(super) head: HeadPage,
    pub(super) blobs: Vec<Blob>,
    /// New pages for the cache: the next change begins with them.
    pub(super) made: VecDeque<Made>,
    /// Payload segments put before, which this change makes live.
    pub(super) staged: Vec<BlobName>,
    /// Pages that the change replaces.
    pub(super) replaced: Vec<BlobName>,
    /// The next epoch's root key, when something is erased.
    pub(super) root: Option<RootKey>,
    /// What is erased: its readers are closed and its pages leave the cache.
    pub(super) erased: Vec<Selector>,
    /// What is detached, and from what: its readers stay open when that is erased.
    pub(super) cuts: Cuts,
    /// A copy that the head lists for the first time, open.
    pub(super) attached: Option<Attached>,
}

impl Change {
    pub(super) fn of_head(head: HeadPage) -> Self {
        Change {
            head,
            blobs: Vec::new(),
            made: VecDeque::new(),
            staged: Vec::new(),
            replaced: Vec::new(),
            root: None,
            erased: Vec::new(),
            cuts: Cuts::new(),
            attached: None,
        }
    }
}

impl Inner {
    /// Before any change: usable, and every earlier one complete.
    pub(super) fn ready(&self, writer: &mut Writer) -> Result<()> {
        self.check_owner()?;
        self.check_usable()?;
        if writer.settled { Ok(()) } else { self.settle(writer).map(|_| ()) }
    }

    /// The same before an erase: what a copy in step lacks may take the room that it keeps for erases.
    pub(super) fn ready_to_erase(&self, writer: &mut Writer) -> Result<()> {
        self.check_owner()?;
        self.check_usable()?;
        if writer.settled {
            if writer.next.is_some() {
                self.cell.prepare();
            }
            return Ok(());
        }
        for copy in writer.copies.iter_mut().filter(|c| c.entry.mode == CopyMode::InStep) {
            // One that is out of reach is told when it is brought in step.
            if let Ok(store) = copy.reach(&self.options) {
                store.for_an_erase(true);
            }
        }
        let settled = self.settle(writer);
        writer.copies.iter().filter_map(|c| c.store.as_ref()).for_each(|store| store.for_an_erase(false));
        settled.map(|_| ())
    }

    /// Brings every copy in step to the head, and retires every root key but the current one. Idempotent: recovery is
    /// this, and an erase ends with it.
    ///
    /// # Errors
    /// `Fenced` for an engine that only looks.
    pub(super) fn settle(&self, writer: &mut Writer) -> Result<Retirement> {
        self.check_owner()?;
        writer.settled = false;
        for copy in writer.copies.iter_mut().filter(|c| c.entry.mode == CopyMode::InStep) {
            let store = copy.reach(&self.options)?;
            if let Err(e) = self.catch_up_in_step(&*store) {
                copy.let_go();
                return Err(copies::out_of_step(&copy.entry.place, &e));
            }
        }
        self.verify(writer)?;
        self.finish(writer, None)
    }

    /// Asks the cell anew, where it could not say yet that the old root key is gone.
    pub(super) fn chase(&self) -> Result<()> {
        let again = match &*locked(&self.awaiting) {
            // What the engine could not finish is finished before the next change.
            None | Some(Awaited::Engine(_)) => false,
            Some(Awaited::Medium(until)) => *until <= self.reading(&self.state()).latest(),
            Some(_) => true,
        };
        if again {
            let mut writer = self.writer();
            self.check_usable()?;
            self.settle(&mut writer)?;
        }
        Ok(())
    }

    /// Whether nothing is.
    #[cfg(feature = "testing")]
    pub(super) fn is_final(&self) -> bool {
        locked(&self.awaiting).is_none()
    }

    /// Takes down that an erase is published, or may be, and that its old root key is not known to be destroyed.
    pub(super) fn note_unfinished(&self, why: &str) {
        let mut awaiting = locked(&self.awaiting);
        if awaiting.is_none() {
            *awaiting = Some(Awaited::Engine(why.to_owned()));
        }
    }

    /// The last step: from here on the old root key is gone. `next` takes its place, where the cell has it so.
    fn finish(&self, writer: &mut Writer, next: Option<RootKey>) -> Result<Retirement> {
        writer.next = None;
        // It was read back.
        writer.unread = Vec::new();
        #[cfg(feature = "testing")]
        if self.defect(super::Defect::SkipRetire) {
            writer.settled = true;
            *locked(&self.awaiting) = None;
            return Ok(Retirement::Destroyed);
        }
        let keep = &writer.root.id;
        let for_next =
            |next: &RootKey| self.cell.retire_for(keep, next, Durable::verified(self.state().stored.id.commit));
        let retired = match next.as_ref().map(for_next).transpose()?.flatten() {
            Some(retired) => {
                writer.next = next;
                retired
            }
            None => self.cell.retire(keep, Durable::verified(self.state().stored.id.commit))?,
        };
        writer.settled = true;
        *locked(&self.awaiting) = retired.awaited();
        Ok(retired)
    }

    /// Reads the head, the root page and what this process wrote for an erase back from the store and from every copy in step, and opens or
    /// compares it. What a process before it wrote nobody can name.
    fn verify(&self, writer: &Writer) -> Result<()> {
        let state = self.state();
        let in_step =
            writer.copies.iter().filter(|c| c.entry.mode == CopyMode::InStep).filter_map(|c| c.store.as_ref());
        for store in std::iter::once(self.store()).chain(in_step) {
            let odd = || {
                Error::corrupt(format!(
                    "{} does not give back what was just written; its disk is failing",
                    store.place()
                ))
            };
            let stored = store.head()?.ok_or_else(odd)?;
            if stored.id > state.stored.id {
                return Err(Error::new(
                    ErrorKind::Fenced,
                    format!("another engine published {} of {} meanwhile; open it again", stored.id, store.place()),
                ));
            }
            if stored != state.stored {
                return Err(odd());
            }
            let head = HeadPage::open(&stored.bytes, &writer.root.key)?;
            let root = store.get(&head.roots.users.name)?.ok_or_else(odd)?;
            let context = crypto::page_context(self.realm, PageKind::Users.byte(), head.roots.users.name);
            chunked::open(&head.roots.users.key(), &context, &root)?;
            for (name, bytes) in &writer.unread {
                if store.get(name)?.as_ref() != Some(bytes) {
                    return Err(odd());
                }
            }
        }
        Ok(())
    }

    /// Publishes a change. With a root key in it this is an erase, and it returns when the old root key is retired.
    pub(super) fn publish(&self, writer: &mut Writer, change: Change) -> Result<Option<Retirement>> {
        self.check_owner()?;
        let env = &*self.options.env;
        let before = self.state().stored.id;
        // What an earlier commit left open stays open until it is settled.
        let was_settled = writer.settled;
        let root = change.root.as_ref().unwrap_or(&writer.root);
        let stored = seal_head(env, self.id, before.commit + 1, &change.head, root)?;
        if let Some(root) = &change.root {
            // From here on the cell holds two keys, until `finish`.
            writer.settled = false;
            // The one that stood ready is used once, whatever becomes of it. To deposit it again is no write.
            writer.next = None;
            self.cell.deposit(self.id, &root.id, &root.key)?;
            #[cfg(feature = "testing")]
            if self.defect(super::Defect::RetireBeforePublish) {
                self.cell.retire(&root.id, Durable::verified(self.state().stored.id.commit))?;
            }
        }
        self.use_names(change.blobs.iter().map(|(name, _)| *name));
        match self.judged(self.store().commit(&change.blobs, Some(before), &stored)) {
            Ok(Published::Done) => {}
            Ok(Published::Conflict(there)) => {
                self.poisoned.store(true, Ordering::Release);
                return Err(Error::new(
                    ErrorKind::Fenced,
                    format!(
                        "another writer published {} first; open the store anew, nothing of this change was kept",
                        copies::shown(there)
                    ),
                ));
            }
            Err(e) => {
                self.release_names(change.blobs.iter().map(|(name, _)| *name), false);
                return Err(if e.kind() == ErrorKind::Full { e } else { e.perhaps() });
            }
        }
        let names: Vec<BlobName> = change.blobs.iter().map(|(name, _)| *name).collect();
        let agenda = |head: &HeadPage| (head.roots.agenda.as_ref().map(|at| at.name), head.pending);
        let rings = change.head.roots.falling.is_some() || agenda(&change.head) != agenda(&self.state().head);
        let erases = self.state().erases + u64::from(!change.erased.is_empty());
        self.install(
            State { head: change.head, stored, erases },
            change.made,
            (&change.replaced, &change.erased, &change.cuts),
        );
        self.release_names(names.into_iter().chain(change.staged.iter().copied()), true);
        if rings {
            self.bell.ring();
        }
        let erase = change.root.is_some();
        if let Some(root) = change.root {
            writer.root = root;
            self.note_unfinished(
                "the new epoch is published, and the old root key is not destroyed yet; `Engine::tend` tries again",
            );
        }
        writer.settled = false;
        self.attach(writer, change.attached);
        let handed = writer.copies.iter_mut().filter(|c| c.entry.mode == CopyMode::InStep).try_for_each(|copy| {
            let opened = copy.open(&self.options);
            let taken = opened.and_then(|store| self.forward(&*store, before, &change.staged, &change.blobs));
            taken.map_err(|e| {
                copy.let_go();
                copies::not_taken(&copy.entry.place, &e, erase).perhaps()
            })
        });
        if erase {
            // Also where a copy failed: whatever completes this erase reads them back first.
            writer.unread.extend(change.blobs);
        }
        handed?;
        if !erase {
            if !was_settled {
                return self.settle(writer).map(|_| None).map_err(Error::perhaps);
            }
            writer.settled = true;
            return Ok(None);
        }
        self.verify(writer).map_err(Error::perhaps)?;
        // Who erases once and goes leaves no key behind that nobody needs.
        let next = if writer.erases { Some(self.next_root(writer, &self.state().head)?) } else { None };
        writer.erases = true;
        self.finish(writer, next).map(Some).map_err(Error::perhaps)
    }

    /// Has the writer know the copies that the published head lists, and no other: there is one list of them.
    fn attach(&self, writer: &mut Writer, new: Option<Attached>) {
        let listed = self.state().head.copies.clone();
        writer.copies.extend(new);
        #[cfg(feature = "testing")]
        if self.defect(super::Defect::TwoLists) {
            return;
        }
        writer.copies.retain(|copy| listed.iter().any(|entry| entry.id == copy.entry.id));
    }

    /// Hands one commit on to a copy that holds the one before; any other copy catches up.
    fn forward(
        &self,
        copy: &dyn Store,
        before: crate::store::HeadId,
        staged: &[BlobName],
        blobs: &[Blob],
    ) -> Result<()> {
        if copy.head()?.map(|h| h.id) != Some(before) {
            return self.catch_up_in_step(copy);
        }
        for name in staged {
            let blob = self.store().get(name)?.ok_or_else(|| super::pages::missing(*name, &self.store().place()))?;
            copy.put(&[(*name, blob)])?;
        }
        let stored = self.state().stored.clone();
        match copy.commit(blobs, Some(before), &stored)? {
            Published::Done => Ok(()),
            Published::Conflict(there) => Err(copies::foreign(&copy.place(), there)),
        }
    }

    /// Swaps what readers see. Look-ups that began before have ended; open readers of the erased are closed; walks over
    /// the whole tree have let go of their pages.
    fn install(&self, next: State, made: VecDeque<Made>, (replaced, erased, cuts): (&[BlobName], &[Selector], &Cuts)) {
        if !erased.is_empty() {
            self.erasing.fetch_add(1, Ordering::AcqRel);
        }
        let mut outlets = Vec::new();
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            *state = next;
            self.cut_readers(cuts);
            #[cfg(feature = "testing")]
            let purge = !self.defect(super::Defect::ForgetCache);
            #[cfg(not(feature = "testing"))]
            let purge = true;
            if purge {
                let owners: Vec<UserTag> = erased.iter().map(|s| s.user).collect();
                self.cache.forget(replaced, &owners);
                outlets = self.close_readers(erased);
            }
            self.cache.add(made);
        }
        settle(&outlets);
        if !erased.is_empty() {
            drop(self.walks.write());
            self.erasing.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Keeps names from `discard` until a head reaches them.
    pub(super) fn use_names(&self, names: impl Iterator<Item = BlobName>) {
        locked(&self.names).in_flight.extend(names.map(|n| (n, ())));
    }

    /// Ends that: `published` names stay out of a discard that looked before.
    pub(super) fn release_names(&self, names: impl Iterator<Item = BlobName>, published: bool) {
        let mut used = locked(&self.names);
        for name in names {
            used.in_flight.remove(&name);
            if published && let Some(since) = &mut used.since {
                since.insert(name, ());
            }
        }
    }
}
