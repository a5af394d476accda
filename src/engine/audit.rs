//! Audit: the engine's own adversary. It takes every blob of the store and of the copies, and every key that the
//! cell leads to, and says what opens.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::Engine;
#[cfg(feature = "testing")]
use super::lineage::ContentRoots;
use super::lineage::Resolver;
use super::pages::{PageSource, SharedStore};
#[cfg(feature = "testing")]
use super::walk::walk_at;
use super::walk::{Step, Walking, walk};
use crate::crypto::{self, Key, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::BlobName;
#[cfg(feature = "testing")]
use crate::ids::{RecordId, UserId, UserTag};
use crate::limits::{CHUNK_BYTES, HEADER_BYTES, TAG_BYTES};
use crate::record::{self, Entry};
use crate::secret::Secret;
use crate::store::Head;
use crate::tree::head::HeadPage;
#[cfg(feature = "testing")]
use crate::tree::inbox::Inbox;
#[cfg(feature = "testing")]
use crate::tree::ordered::Ordered;
use crate::tree::ordered::OrderedKey;
#[cfg(feature = "testing")]
use crate::tree::user::UserPage;
#[cfg(feature = "testing")]
use crate::tree::users::{Found, find};
use crate::tree::{ClassOf, Geometry, PageKind};
#[cfg(feature = "testing")]
use crate::tree::{Node, Pages, Spot};

/// What opens a record's payload.
pub(super) struct Payload {
    key: Key,
    context: Vec<u8>,
    first: BlobName,
    length: u64,
    geometry: Geometry,
}

impl Payload {
    /// `None` where the record fell with one that it was derived from; an adversary passes over what is damaged, too.
    pub(super) fn of(
        resolver: &mut Resolver<'_>,
        leave: &Walking<'_>,
        (of, key, entry): (&ClassOf, &OrderedKey, &Entry),
    ) -> Result<Option<Self>> {
        let id = of.record(key)?;
        let root = if entry.stands_alone() {
            entry.secret.duplicate()
        } else {
            match resolver.resolve(&id) {
                Ok((root, _)) => root.duplicate(),
                Err(e) if leave.is_lenient() || e.kind() == ErrorKind::Erased => match resolver.elsewhere(&id) {
                    Some((root, _)) => root,
                    None => return Ok(None),
                },
                Err(e) => return Err(e),
            }
        };
        Ok(Some(Payload {
            key: crypto::content_key(&root),
            context: record::payload_context(resolver.realm(), of.owner, of.incarnation, &of.class, id.interaction),
            first: entry.first,
            length: record::padded(entry.length),
            geometry: resolver.geometry(),
        }))
    }

    /// The payload's cipher: its header stands in the first segment, wherever that is.
    pub(super) fn suite(&self, source: &PageSource<'_>) -> Result<chunked::Suite> {
        source.fetch(&self.first, |blob| chunked::Suite::from_header(&self.key, &blob, &self.context))
    }

    /// Opens segment `number`, and returns its plaintext.
    pub(super) fn open(&self, suite: &chunked::Suite, number: u64, blob: &[u8]) -> Result<Secret> {
        let full = self.geometry.segment_bytes;
        let mut plain = Secret::with_capacity(full);
        let mut chunk = Secret::zeroed(CHUNK_BYTES);
        let start = number * self.geometry.segment_chunks() as u64;
        let sealed = if number == 0 { blob.get(HEADER_BYTES..).unwrap_or_default() } else { blob };
        if sealed.len() > self.geometry.segment_chunks() * (CHUNK_BYTES + TAG_BYTES) {
            return Err(Error::corrupt("a segment is longer than any of its store"));
        }
        for (i, piece) in sealed.chunks(CHUNK_BYTES + TAG_BYTES).enumerate() {
            let n = suite.open_chunk(start + i as u64, piece, &mut chunk)?;
            plain.extend_from_slice(&chunk[..n]);
        }
        let left = self.length - (start * CHUNK_BYTES as u64).min(self.length);
        if plain.len() as u64 == left.min(full as u64) {
            Ok(plain)
        } else {
            Err(Error::corrupt("a segment is shorter than its record's entry says"))
        }
    }
}

impl Engine {
    /// Every record that a set of stores gives away to somebody who holds `key`: the fix-point of an adversary, for
    /// one head. The content roots that it finds add up from head to head.
    ///
    /// # Errors
    /// `Corrupt` where the key does not open the head.
    #[cfg(feature = "testing")]
    pub(crate) fn records_reachable(
        places: &[SharedStore],
        head: &Head,
        key: &Key,
        known: &mut ContentRoots,
    ) -> Result<Vec<Exposed>> {
        let page = HeadPage::open(&head.bytes, key)?;
        let source = PageSource { realm: page.realm, stores: places, cache: None };
        expose(&source, &page, known)
    }

    /// Every private key of an inbox below a head.
    #[cfg(feature = "testing")]
    pub(crate) fn inbox_keys_reachable(places: &[SharedStore], head: &Head, key: &Key) -> Result<Vec<Key>> {
        let page = HeadPage::open(&head.bytes, key)?;
        let source = PageSource { realm: page.realm, stores: places, cache: None };
        let mut keys = Vec::new();
        walk(&Walking::lenient(), &source, &page.roots, &mut |step| {
            if let Step::Enter { kind: PageKind::Inbox, at } = step {
                let inbox = Inbox { tree: Ordered::stored(Some(at.duplicate())) };
                keys.extend(inbox.keys(&source, UserTag([0; 12])).unwrap_or_default().into_iter().map(|k| k.key));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(keys)
    }

    /// Notes which key opens which blob below a head, by the key's hash; passes over what is noted already.
    #[cfg(feature = "testing")]
    pub(crate) fn note_keys(
        places: &[SharedStore],
        head: &Head,
        key: &Key,
        noted: &mut HashMap<BlobName, [u8; 32]>,
    ) -> Result<()> {
        let page = HeadPage::open(&head.bytes, key)?;
        let source = PageSource { realm: page.realm, stores: places, cache: None };
        walk(&Walking::lenient(), &source, &page.roots, &mut |step| {
            match step {
                Step::Enter { at, .. } => {
                    if noted.insert(at.name, crypto::hedge(&[at.key().bytes()])).is_some() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Step::Record { entry, .. } => {
                    noted.insert(entry.first, crypto::hedge(&[entry.secret.bytes()]));
                }
                Step::Leave { .. } => {}
            }
            Ok(ControlFlow::Continue(()))
        })
        .map(|_| ())
    }
}

#[cfg(feature = "testing")]
impl Engine {
    pub(crate) fn payload_names(&self) -> Result<Vec<BlobName>> {
        let inner = &self.inner;
        let (roots, geometry) = {
            let state = inner.state();
            (state.head.roots.duplicate(), state.head.geometry)
        };
        let source = inner.uncached_pages();
        let mut names = Vec::new();
        walk(&Walking::unhindered(), &source, &roots, &mut |step| {
            if let Step::Record { entry, .. } = step {
                names.extend(entry.segment_names(geometry));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(names)
    }
}

#[cfg(feature = "testing")]
impl Engine {
    /// Everything secret about one user, or about one record of it, by name: what must not be in memory once it is erased.
    pub(crate) fn secrets(&self, user: &UserId, only: Option<&RecordId>) -> Result<Vec<(String, Secret)>> {
        let inner = &self.inner;
        let (root, tag, geometry, mut out) = {
            let state = inner.state();
            let tag = inner.user_tag(&state, user);
            let mut out = vec![("root page key".to_owned(), Secret::copied_from(state.head.roots.users.key().bytes()))];
            let current = state.stored.id.epoch;
            for key in inner.cell.load()?.keys.into_iter().filter(|key| key.id.epoch <= current) {
                out.push(("root key".to_owned(), Secret::copied_from(key.key.bytes())));
            }
            (state.head.roots.users.duplicate(), tag, state.head.geometry, out)
        };
        let source = inner.uncached_pages();
        let Found::Live { page, .. } = find(&source, &root, geometry, tag)? else {
            return Err(Error::invalid("this user does not live"));
        };
        let opened = UserPage::decode(&source.load(PageKind::User, Some(tag), &page)?)?;
        if only.is_none() {
            out.push(("fence key".to_owned(), Secret::copied_from(opened.fence_key.bytes())));
            out.push(("name".to_owned(), Secret::copied_from(user.as_str().as_bytes())));
        }
        let aes_key = |name: &BlobName, key: &Key, context: &[u8]| {
            let salt = source.fetch(name, |blob| Ok(blob.first_chunk().copied().unwrap_or([0; 24])))?;
            Ok::<_, Error>(Secret::copied_from(&chunked::expand(key, &salt, context)[..32]))
        };
        let spot = Spot { kind: PageKind::User, owner: Some(tag), class: None };
        let mut resolver = Resolver::new(inner.realm, &source, &root, geometry);
        let leave = Walking::unhindered();
        walk_at(&leave, &source, &spot, &page, &mut |step| {
            match step {
                Step::Enter { kind, at } => {
                    let context = crypto::page_context(inner.realm, kind.byte(), at.name);
                    let aes = aes_key(&at.name, &at.key(), &context)?;
                    if kind == PageKind::Inbox {
                        let inbox = Inbox { tree: Ordered::stored(Some(at.duplicate())) };
                        let keys = inbox.keys(&source, tag)?;
                        out.extend(keys.iter().map(|k| ("inbox key".to_owned(), Secret::copied_from(k.key.bytes()))));
                    }
                    if only.is_none() || matches!(kind, PageKind::User) {
                        out.push((format!("{kind:?} page key"), Secret::copied_from(at.key().bytes())));
                        out.push((format!("{kind:?} page AES key"), aes));
                    }
                }
                Step::Record { of, key, entry } => {
                    let id = of.record(key)?;
                    if only.is_some_and(|only| *only != id) {
                        return Ok(ControlFlow::Continue(()));
                    }
                    let Some(payload) = Payload::of(&mut resolver, &leave, (of, key, entry))? else {
                        return Ok(ControlFlow::Continue(()));
                    };
                    if let Ok((content_root, _)) = resolver.resolve(&id) {
                        let lineage = crypto::lineage_secret(content_root);
                        out.push(("content root".to_owned(), Secret::copied_from(content_root.bytes())));
                        out.push(("lineage secret".to_owned(), Secret::copied_from(lineage.bytes())));
                    }
                    let aes = aes_key(&payload.first, &payload.key, &payload.context)?;
                    out.push(("record secret".to_owned(), Secret::copied_from(entry.secret.bytes())));
                    out.push(("content key".to_owned(), Secret::copied_from(payload.key.bytes())));
                    out.push(("content AES key".to_owned(), aes));
                    out.push(("purpose".to_owned(), Secret::copied_from(entry.purpose.as_bytes())));
                }
                Step::Leave { .. } => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(out)
    }
}

/// A record that an adversary has opened.
#[cfg(feature = "testing")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Its id.
    pub id: RecordId,
    /// Whose it is.
    pub user: UserId,
    /// Its content; `None` where a segment is nowhere to be had.
    pub content: Option<Vec<u8>>,
}

/// Opens every record below a head that any of the stores still has.
#[cfg(feature = "testing")]
fn expose(source: &PageSource<'_>, head: &HeadPage, known: &mut ContentRoots) -> Result<Vec<Exposed>> {
    let mut exposed = Vec::new();
    let leave = Walking::lenient();
    let mut resolver =
        Resolver::new(source.realm, source, &head.roots.users, head.geometry).knowing(std::mem::take(known));
    walk(&leave, source, &head.roots, &mut |step| {
        if let Step::Record { of, key, entry } = step {
            let Some(payload) = Payload::of(&mut resolver, &leave, (of, key, entry))? else {
                return Ok(ControlFlow::Continue(()));
            };
            let content = payload.suite(source).and_then(|suite| {
                let mut whole = Vec::new();
                for number in 0..record::segments(entry.length, head.geometry) {
                    let name = entry.segment_name(number);
                    whole.extend_from_slice(&source.fetch(&name, |blob| payload.open(&suite, number, &blob))?);
                }
                whole.truncate(usize::try_from(entry.length).unwrap_or(usize::MAX));
                Ok(whole)
            });
            exposed.push(Exposed { id: of.record(key)?, user: of.user.clone(), content: content.ok() });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    *known = resolver.into_known();
    Ok(exposed)
}
