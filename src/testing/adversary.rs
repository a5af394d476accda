//! The adversary who holds every byte ever written: what a set of stores gives away to somebody
//! with a root key, and what an engine holds that must be gone once it is erased.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use crate::Engine;
use crate::catalogue::open_payload::Payload;
use crate::catalogue::resolve::{ContentRoots, Resolver};
use crate::catalogue::view::Users;
use crate::catalogue::walk::{Step, Walking, walk, walk_at};
use crate::crypto::{self, Key, chunked};
use crate::error::{Error, Result};
use crate::ids::{BlobName, RecordId, UserId, UserTag};
use crate::pages::{PageSource, SharedStore};
use crate::record::{Body, Entry};
use crate::secret::Secret;
use crate::store::Head;
use crate::tree::head::HeadPage;
use crate::tree::inbox::Inbox;
use crate::tree::keys::{KEY_MAX, KEY_MIN, split_record_key};
use crate::tree::labels::Label;
use crate::tree::ordered::{Ordered, OrderedKey};
use crate::tree::user::{ClassSlot, UserPage};
use crate::tree::users::{Found, find};
use crate::tree::{Geometry, Node, PageKind, Pages, Spot};

/// A record that an adversary has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Id of the record.
    pub id: RecordId,
    /// The user that the record belongs to.
    pub user: UserId,
    /// Its content; `None` if no place has one of its segments.
    pub content: Option<Vec<u8>>,
}

/// Names of every payload segment below the head of an engine.
///
/// # Errors
/// `Corrupt`, `Io`.
pub fn payload_names(engine: &Engine) -> Result<Vec<BlobName>> {
    let (head, source) = (engine.opened_head().0, engine.past_the_cache());
    let mut names = Vec::new();
    walk(&Walking::unhindered(), &source, &head.roots, &mut |step| {
        if let Step::Record { entry, .. } = step {
            names.extend(entry.segment_names(head.geometry));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(names)
}

/// Everything secret about a user, or about one record of it: keys, derived keys, texts, by name.
/// For a scan of memory: none of it must be there once it is erased.
///
/// # Errors
/// `Invalid` if the user does not live; `Corrupt`, `Io`.
pub fn secrets(
    engine: &Engine,
    user: &UserId,
    only: Option<&RecordId>,
) -> Result<Vec<(String, Secret)>> {
    let source = engine.past_the_cache();
    let (head, at) = engine.opened_head();
    let (root, geometry) = (&head.roots.users, head.geometry);
    let tag = crypto::user_tag(&head.index_key, user.as_str());
    let mut out = Named(Vec::new());
    out.add("root page key", root.key().bytes());
    for key in engine.root_keys()?.into_iter().filter(|key| key.id.epoch <= at.epoch) {
        out.add("root key", key.key.bytes());
    }
    let Found::Live { page, .. } = find(&source, root, geometry, tag)? else {
        return Err(Error::invalid("this user does not live"));
    };
    let opened = UserPage::decode(&source.load(PageKind::User, Some(tag), &page)?)?;
    if only.is_none() {
        out.add("fence key", opened.fence_key.bytes());
        out.add("name", user.as_str().as_bytes());
    }
    let spot = Spot { kind: PageKind::User, owner: Some(tag), class: None };
    let mut resolver = Resolver::new(source.realm, Users { pages: &source, root, geometry });
    let pass = Walking::unhindered();
    walk_at(&pass, &source, &spot, &page, &mut |step| {
        match step {
            Step::Enter { kind, at } => {
                let context = crypto::page_context(source.realm, kind.byte(), at.name);
                let aes = source.fetch(&at.name, |blob| Ok(aes_key(&blob, &at.key(), &context)))?;
                if kind == PageKind::Inbox {
                    let inbox = Inbox { tree: Ordered::stored(Some(at.duplicate())) };
                    for key in inbox.keys(&source, tag)? {
                        out.add("inbox key", key.key.bytes());
                    }
                }
                if only.is_none() || matches!(kind, PageKind::User) {
                    out.add(&format!("{kind:?} page key"), at.key().bytes());
                    out.add(&format!("{kind:?} page AES key"), &aes);
                }
            }
            Step::Record { of, key, entry } => {
                let id = of.record(key)?;
                if only.is_some_and(|only| *only != id) {
                    return Ok(ControlFlow::Continue(()));
                }
                let Some(payload) = Payload::of(&mut resolver, &pass, of, key, entry)? else {
                    return Ok(ControlFlow::Continue(()));
                };
                if let Ok((content_root, _)) = resolver.resolve(&id) {
                    let lineage = crypto::lineage_secret(content_root);
                    out.add("content root", content_root.bytes());
                    out.add("lineage secret", lineage.bytes());
                }
                out.add_record(&source, &payload, entry)?;
                let slot = opened.class(of.tag).filter(|_| entry.is_labelled());
                if let Some(label) = slot.map(|slot| slot.labels.get(&source, tag, key)) {
                    out.add_label(label?.as_ref());
                }
            }
            Step::Leave { .. } => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(out.0)
}

/// The key under which the chunks of a sealed object stand.
fn aes_key(object: &[u8], key: &Key, context: &[u8]) -> Secret {
    let salt = object.first_chunk().copied().unwrap_or([0; 24]);
    Secret::copied_from(&chunked::expand(key, &salt, context)[..32])
}

/// Collected secrets, each with a name for messages.
struct Named(Vec<(String, Secret)>);

impl Named {
    fn add(&mut self, name: &str, secret: &[u8]) {
        self.0.push((name.to_owned(), Secret::copied_from(secret)));
    }

    fn add_label(&mut self, label: Option<&Label>) {
        let Some(label) = label else { return };
        if let Some(name) = label.name() {
            self.add("name of a record", name.as_bytes());
        }
        for value in label.meta().into_values() {
            self.add("metadata", value.as_bytes());
        }
    }

    fn add_record(
        &mut self,
        source: &PageSource<'_>,
        payload: &Payload,
        entry: &Entry,
    ) -> Result<()> {
        let aes = |object: &[u8]| aes_key(object, &payload.key, &payload.context);
        match &entry.body {
            Body::Segments(first) => {
                self.add("content AES key", &source.fetch(first, |blob| Ok(aes(&blob)))?)
            }
            Body::Sealed(object) => self.add("content AES key", &aes(object)),
            // The page's key seals it.
            Body::Plain(_) => {}
        }
        self.add("record secret", entry.secret.bytes());
        self.add("content key", payload.key.bytes());
        self.add("purpose", entry.purpose.as_bytes());
        Ok(())
    }
}

/// Every record that a set of stores gives away to somebody who holds `key`: the fix-point of an
/// adversary, for one head. The content roots that it finds add up from head to head.
///
/// # Errors
/// `Corrupt` if the key does not open the head.
pub(super) fn records_reachable(
    places: &[SharedStore],
    head: &Head,
    key: &Key,
    known: &mut ContentRoots,
) -> Result<Vec<Exposed>> {
    let page = HeadPage::open(&head.bytes, key)?;
    let source = PageSource::over(page.realm, places);
    expose(&source, &page, known)
}

/// What an adversary reads of the labels of records: the name that one has, or what was said of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labelled {
    /// Id of the record.
    pub(super) id: RecordId,
    /// Its name, in the tree of names or in that of labels.
    pub(super) name: Option<String>,
    /// What was said of it: nothing in the tree of names.
    pub(super) meta: BTreeMap<String, String>,
}

/// Every label that somebody who holds `key` reads below a head, and every name in the trees of
/// names, whether or not its record is there still.
pub(super) fn labels_reachable(
    places: &[SharedStore],
    head: &Head,
    key: &Key,
) -> Result<Vec<Labelled>> {
    let page = HeadPage::open(&head.bytes, key)?;
    let source = PageSource::over(page.realm, places);
    let mut found = Vec::new();
    walk(&Walking::lenient(), &source, &page.roots, &mut |step| {
        if let Step::Enter { kind: PageKind::User, at } = step
            && let Ok(bytes) = source.load(PageKind::User, None, at)
        {
            let user = UserPage::decode(&bytes)?;
            let tag = crypto::user_tag(&page.index_key, user.user.as_str());
            for slot in &user.classes {
                // What a tape does not have, or a key does not open, ends a tree.
                let _ = labels_of_class(&source, tag, &user, slot, &mut found);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

fn labels_of_class(
    source: &PageSource<'_>,
    user: UserTag,
    page: &UserPage,
    slot: &ClassSlot,
    found: &mut Vec<Labelled>,
) -> Result<()> {
    let id = |key: &OrderedKey| {
        let (incarnation, class) = (page.incarnation, slot.tag);
        split_record_key(key).map(|(interaction, ordinal)| RecordId {
            interaction,
            user,
            incarnation,
            class,
            ordinal,
        })
    };
    slot.labels.names(source, user, "", &mut |name, key| {
        let (id, name, meta) = (id(key)?, Some(name.to_owned()), BTreeMap::new());
        found.push(Labelled { id, name, meta });
        Ok(ControlFlow::Continue(()))
    })?;
    slot.labels.scan(source, user, &KEY_MIN, &KEY_MAX, &mut |key, label| {
        let (id, name, meta) = (id(key)?, label.name().map(str::to_owned), label.meta());
        found.push(Labelled { id, name, meta });
        Ok(())
    })
}

/// Whether some page below a head has these bytes in it, once it is opened.
pub(super) fn is_in_a_page(
    places: &[SharedStore],
    head: &Head,
    key: &Key,
    needle: &[u8],
) -> Result<bool> {
    let page = HeadPage::open(&head.bytes, key)?;
    let source = PageSource::over(page.realm, places);
    let mut found = false;
    walk(&Walking::lenient(), &source, &page.roots, &mut |step| {
        if let Step::Enter { kind, at } = step
            && let Ok(page) = source.load(kind, None, at)
        {
            found |= page.windows(needle.len()).any(|bytes| bytes == needle);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Every private key of an inbox below a head.
pub(super) fn inbox_keys_reachable(
    places: &[SharedStore],
    head: &Head,
    key: &Key,
) -> Result<Vec<Key>> {
    let page = HeadPage::open(&head.bytes, key)?;
    let source = PageSource::over(page.realm, places);
    let mut keys = Vec::new();
    walk(&Walking::lenient(), &source, &page.roots, &mut |step| {
        if let Step::Enter { kind: PageKind::Inbox, at } = step {
            let inbox = Inbox { tree: Ordered::stored(Some(at.duplicate())) };
            keys.extend(
                inbox
                    .keys(&source, UserTag([0; 12]))
                    .unwrap_or_default()
                    .into_iter()
                    .map(|k| k.key),
            );
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(keys)
}

/// Notes which key opens which blob below a head, by the key's hash; passes over what is noted
/// already.
pub(super) fn note_keys(
    places: &[SharedStore],
    head: &Head,
    key: &Key,
    noted: &mut HashMap<BlobName, [u8; 32]>,
) -> Result<()> {
    let page = HeadPage::open(&head.bytes, key)?;
    let source = PageSource::over(page.realm, places);
    walk(&Walking::lenient(), &source, &page.roots, &mut |step| {
        match step {
            Step::Enter { at, .. } => {
                if noted.insert(at.name, crypto::hedge(&[at.key().bytes()])).is_some() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Step::Record { entry, .. } => {
                if let Some(first) = entry.body.first() {
                    noted.insert(first, crypto::hedge(&[entry.secret.bytes()]));
                }
            }
            Step::Leave { .. } => {}
        }
        Ok(ControlFlow::Continue(()))
    })
    .map(|_| ())
}

/// Opens every record below a head that any of the stores still has.
fn expose(
    source: &PageSource<'_>,
    head: &HeadPage,
    known: &mut ContentRoots,
) -> Result<Vec<Exposed>> {
    let mut exposed = Vec::new();
    let pass = Walking::lenient();
    let users = Users { pages: source, root: &head.roots.users, geometry: head.geometry };
    let mut resolver = Resolver::new(source.realm, users).knowing(std::mem::take(known));
    walk(&pass, source, &head.roots, &mut |step| {
        if let Step::Record { of, key, entry } = step {
            let Some(payload) = Payload::of(&mut resolver, &pass, of, key, entry)? else {
                return Ok(ControlFlow::Continue(()));
            };
            exposed.push(Exposed {
                id: of.record(key)?,
                user: of.user.clone(),
                content: content(source, head.geometry, &payload, entry).ok(),
            });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    *known = resolver.into_known();
    Ok(exposed)
}

fn content(
    source: &PageSource<'_>,
    geometry: Geometry,
    payload: &Payload,
    entry: &Entry,
) -> Result<Vec<u8>> {
    if let Some(content) = payload.within(entry)? {
        return Ok(content.to_vec());
    }
    let (suite, mut whole) = (payload.suite(source)?, Vec::new());
    for (number, name) in (0..).zip(entry.segment_names(geometry)) {
        whole.extend_from_slice(&source.fetch(&name, |blob| payload.open(&suite, number, &blob))?);
    }
    whole.truncate(usize::try_from(entry.length).unwrap_or(usize::MAX));
    Ok(whole)
}
