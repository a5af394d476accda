//! Audit: the engine's own adversary. It takes every blob of the store and of the copies, and every
//! key that the cell leads to, and says what opens.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::catalogue::open_payload::Payload;
use crate::catalogue::resolve::Resolver;
use crate::catalogue::view::Users;
use crate::catalogue::walk::{Step, Walking, walk};
use crate::crypto::{self, Key, chunked};
use crate::engine::core::Core;
use crate::engine::medium::AskedMedium;
use crate::engine::own::check_not_ahead;
use crate::engine::progress::Progress;
use crate::engine::replica::{Attached, another_store};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, RecordId, StoreId, Timestamp};
use crate::pages::{PageSource, SharedStore};
use crate::promise::Finality;
use crate::record::Entry;
use crate::record::upload::is_of_upload;
use crate::secret::WipeStack;
use crate::store::{Cursor, Head, HeadId, Store};
use crate::tree::head::{HeadPage, Prefix, Roots};
use crate::tree::{Geometry, PageKind};

/// Strays that an audit names in one place.
const STRAYS_SHOWN: usize = 100;
/// Names asked of a store at once.
const NAMES_AT_ONCE: usize = 1024;

/// What an audit found in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaceAudit {
    /// Path or name of the place: the store, a copy or a backup.
    pub place: String,
    /// The head it holds.
    pub head: Option<HeadId>,
    /// Whether a key of the cell opens that head.
    pub head_opens: bool,
    /// Number of blobs that the place holds.
    pub blobs: u64,
    /// Blobs that open and belong to the live tree.
    pub live: u64,
    /// Pages that open and were replaced by a put of the running epoch, and parts of uploads that
    /// became records in it: what they lead to, or hold, is alive.
    pub superseded: u64,
    /// Blobs that do not open: what was erased, replaced or given up.
    pub shut: u64,
    /// Blobs that open and do not belong to the live tree. Anything but zero is a broken promise.
    pub stray: u64,
    /// Names of the strays, the first hundred.
    pub strays: Vec<BlobName>,
    /// Blobs that belong to the live tree and do not open: damage.
    pub damaged: u64,
    /// What else of the place is damaged, in words.
    pub other_damage: Vec<String>,
}

/// A copy of the store that could not be audited.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyAway {
    /// Path or URL of the copy.
    pub place: String,
    /// Why it could not be opened.
    pub why: String,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// Id of the state that was audited.
    pub head: Option<HeadId>,
    /// Root keys in the cell: one, unless an erase is not complete. The next epoch's is not counted
    /// if it is ready: it has sealed nothing.
    pub root_keys: u64,
    /// Until when erases are pending: superseded pages may lead to what they named.
    pub pending: Option<Timestamp>,
    /// How far the erases up to now are; while they are pending, somebody may hold a root key that
    /// leads to what they named.
    pub finality: Finality,
    /// Blobs of the live tree.
    pub live_blobs: u64,
    /// Findings for each place that was audited.
    pub places: Vec<PlaceAudit>,
    /// Copies of the store that were not audited.
    pub away: Vec<CopyAway>,
    /// What was acknowledged and is not in the store, in words
    /// ([`Ownership::lacks`](crate::engine::Ownership::lacks)).
    pub lacks: Option<String>,
}

impl Audit {
    /// Whether nothing opens that should not, nothing is damaged or missing from the store, it has
    /// every commit that its cell was told of, every erase is final, the cell holds one key, and
    /// every copy was audited.
    pub fn is_clean(&self) -> bool {
        self.is_sound() && self.finality.is_final() && self.away.is_empty()
    }

    /// The same of what was audited, whatever is pending and away.
    pub fn is_sound(&self) -> bool {
        let sound = |place: &PlaceAudit| {
            place.stray == 0 && place.damaged == 0 && place.other_damage.is_empty()
        };
        self.root_keys == 1 && self.lacks.is_none() && self.places.iter().all(sound)
    }
}

/// What is known of a name: how to open it, and whether the live tree reaches it.
struct Openable {
    opener: Opener,
    live: bool,
    epoch: u64,
    /// Whether the store lists a blob of this name, and whether another place does.
    held: bool,
    elsewhere: bool,
}

impl Openable {
    /// Before any place was listed.
    fn unseen(opener: Opener, live: bool, epoch: u64) -> Self {
        Openable { opener, live, epoch, held: false, elsewhere: false }
    }
}

enum Opener {
    Page { key: Key, kind: PageKind },
    Segment { of: Arc<Payload>, number: u64, moves: bool },
}

impl Opener {
    fn opens(&self, source: &PageSource<'_>, name: BlobName, blob: &[u8]) -> bool {
        match self {
            Opener::Page { key, kind } => {
                chunked::open(key, &crypto::page_context(source.realm, kind.byte(), name), blob)
                    .is_ok()
            }
            Opener::Segment { of, number, .. } => {
                of.suite(source).and_then(|suite| of.open(&suite, *number, blob)).is_ok()
            }
        }
    }

    /// Whether what it leads to, or holds, may live on where it is taken out of the tree: a page,
    /// a part of an upload, or a segment of a record that lives and was written once more.
    fn is_replaced(&self) -> bool {
        matches!(self, Opener::Page { .. } | Opener::Segment { moves: true, .. })
    }
}

impl PlaceAudit {
    /// Counts one blob, by what is known of its name and whether that opens it.
    fn count(&mut self, name: BlobName, known: Option<(&Openable, bool)>, epoch: u64) {
        self.blobs += 1;
        match known.map(|(known, opens)| (opens, known.live, known)) {
            None | Some((false, false, _)) => self.shut += 1,
            Some((false, true, _)) => self.damaged += 1,
            Some((true, true, _)) => self.live += 1,
            Some((true, false, known)) if known.epoch == epoch && known.opener.is_replaced() => {
                self.superseded += 1;
            }
            Some((true, false, _)) => {
                self.stray += 1;
                self.strays.extend((self.strays.len() < STRAYS_SHOWN).then_some(name));
            }
        }
    }
}

/// Audits what is there now. An engine that only looks cannot have the writer of a store wait that
/// machines share: what it put meanwhile is not told as a stray.
pub(super) fn audit(
    inner: &Arc<Core>,
    more: &[SharedStore],
    progress: Progress<'_>,
) -> Result<Audit> {
    let seen = inner.state().stored.id;
    let audit = audit_of(inner, more, progress);
    if inner.looks_only().is_some() {
        // Its owner is kept from a copy in a directory as long as somebody looks at it.
        inner.writer_untold().copies.iter_mut().for_each(Attached::let_go);
    }
    let store = inner.store();
    let moves = inner.looks_only().is_some() && store.is_shared();
    if moves && store.head()?.is_some_and(|head| head.id != seen) {
        return Err(Error::new(
            ErrorKind::Changed,
            format!(
                "{} went on from {seen} while it was audited; audit it again, at a quiet time",
                store.place()
            ),
        ));
    }
    audit
}

fn audit_of(inner: &Arc<Core>, more: &[SharedStore], progress: Progress<'_>) -> Result<Audit> {
    let _wiped = WipeStack;
    // Puts and erases wait: the tree must not move under the comparison.
    let mut writer = inner.writer();
    inner.check_usable()?;
    let away = away(inner, &mut writer.copies);
    let contents = inner.cell.load()?;
    let ready = writer.next.as_ref().map(|next| next.id);
    let shared = inner.cell.describe().quorum.is_some();
    let (live_roots, live, geometry, (pending, finality)) = {
        let state = inner.state();
        let erases = (state.head.pending, inner.finality_of(&state));
        (state.head.roots.duplicate(), state.stored.clone(), state.head.geometry, erases)
    };
    let live_head = live.id;
    let mut places: Vec<SharedStore> = vec![inner.store().clone()];
    places.extend(writer.copies.iter().filter_map(|c| c.store.clone()));
    // What else was named may be a part of a copy.
    let registered = places.len();
    places.extend(more.iter().cloned());
    let _asked: Vec<_> = places.iter().map(|place| AskedMedium::new(&**place)).collect();
    let mut known: HashMap<BlobName, Openable> = HashMap::new();
    let source = PageSource::over(inner.realm, &places);
    let users = Users { pages: &source, root: &live_roots.users, geometry };
    let live_tree = Learned { geometry, epoch: live_head.epoch, others: None };
    learn(&source, &live_roots, &live_tree, &mut known)?;
    let mut audit = Audit {
        head: Some(live_head),
        // A shared cell keeps what a crashed attempt left until the next erase: it opens no head
        // that was ever published.
        root_keys: contents
            .keys
            .iter()
            .filter(|key| ready != Some(key.id) && !(shared && key.id.epoch > live_head.epoch))
            .count() as u64,
        pending,
        finality,
        live_blobs: known.len() as u64,
        places: Vec::new(),
        away,
        lacks: inner.lacks(),
    };
    let mut heads = Vec::new();
    for place in &places {
        let stored = own_head(place, inner.id)?;
        let head = stored.as_ref().map(|stored| stored.id);
        let mut found = PlaceAudit { place: place.place(), head, ..PlaceAudit::default() };
        for root in &contents.keys {
            if let Some(head) = stored.as_ref().and_then(|stored| opens(stored, &root.key)) {
                found.head_opens = true;
                // Whatever it reaches and the live tree does not, opens too.
                let tree = Learned::of(&head, root.id.epoch, &users);
                learn(&source, &head.roots, &tree, &mut known)?;
            }
        }
        audit.places.push(found);
        heads.push(stored);
    }
    audit.lacks = audit.lacks.or_else(|| ahead(&places[..registered], &heads, &live));
    try_blobs(&source, &places, &mut known, &mut audit, (live_head.epoch, progress))?;
    let copies = places.iter().zip(&mut audit.places).zip(heads).take(registered).skip(1);
    // Those that hold this very state.
    for ((copy, found), _) in copies.filter(|(_, head)| head.as_ref() == Some(&live)) {
        let missing = lost(&**copy, &known)?;
        if missing > 0 {
            found.other_damage.push(lost_by_copy(missing));
        }
    }
    Ok(audit)
}

/// What the first of these places lacks, as the head of another one says.
fn ahead(places: &[SharedStore], heads: &[Option<Head>], live: &Head) -> Option<String> {
    let copies = places.iter().zip(heads).skip(1);
    let check = |copy: &SharedStore, head: &Head| check_not_ahead(&copy.place(), head, live).err();
    let mut found = copies.filter_map(|(copy, head)| check(copy, head.as_ref()?));
    found.next().map(|e| e.to_string())
}

/// Opens the copies that are not open, and says which cannot be.
fn away(inner: &Core, copies: &mut [Attached]) -> Vec<CopyAway> {
    let opened = |copy: &mut Attached| {
        let why = copy.open(&inner.options).err()?.to_string();
        Some(CopyAway { place: copy.entry.place.clone(), why })
    };
    copies.iter_mut().filter_map(opened).collect()
}

/// Tries what is known on every blob of the places, the first of which is the store, and finds what
/// the store lacks.
fn try_blobs(
    source: &PageSource<'_>,
    places: &[SharedStore],
    known: &mut HashMap<BlobName, Openable>,
    audit: &mut Audit,
    running: (u64, Progress<'_>),
) -> Result<()> {
    let (epoch, progress) = running;
    let mut looked = 0;
    for (n, (place, found)) in places.iter().zip(&mut audit.places).enumerate() {
        each_blob(place, &mut |name, blob| {
            let known = known.get_mut(&name).map(|k| {
                *(if n == 0 { &mut k.held } else { &mut k.elsewhere }) = true;
                (&*k, k.opener.opens(source, name, blob))
            });
            found.count(name, known, epoch);
            looked += 1;
            if looked % NAMES_AT_ONCE as u64 == 0 {
                progress(looked);
            }
        })?;
        found.other_damage = place.damage()?;
        progress(looked);
    }
    let [store, ..] = places else { return Ok(()) };
    let (mut missing, mut elsewhere) = (0, 0);
    for (name, known) in known.iter().filter(|(_, k)| k.live && !k.held) {
        // A list may be older than what a discard of its writer moved meanwhile.
        if store.get(name)?.is_none() {
            missing += 1;
            elsewhere += u64::from(known.elsewhere);
        }
    }
    if let (Some(found), true) = (audit.places.first_mut(), missing > 0) {
        found.other_damage.push(missing_from_store(missing, elsewhere));
    }
    Ok(())
}

/// How many blobs of the live tree a copy of that state does not give.
fn lost(copy: &dyn Store, known: &HashMap<BlobName, Openable>) -> Result<u64> {
    let mut missing = 0;
    for (name, _) in known.iter().filter(|(_, k)| k.live) {
        missing += u64::from(!copy.contains(name)?);
    }
    Ok(missing)
}

/// Tells of live blobs that a copy lacks. A sync does not give it these: what has a page there is
/// taken to have all below it.
fn lost_by_copy(n: u64) -> String {
    let blobs = if n == 1 { "blob" } else { "blobs" };
    format!(
        "{n} live {blobs} missing: it does not restore everything; repair it with \
         `Copies::repair`"
    )
}

/// Tells of live blobs that the store lacks. Of pages some other place has each: without one the
/// tree cannot be walked, and the audit fails.
fn missing_from_store(n: u64, elsewhere: u64) -> String {
    let blobs = if n == 1 { "blob" } else { "blobs" };
    let held = match elsewhere {
        0 => "no other place that was audited has any of them".to_owned(),
        _ => format!("{elsewhere} of them in another place that was audited"),
    };
    format!("{n} live {blobs} missing, {held}; restore the store from a copy")
}

/// The head of a place, which holds no other store.
fn own_head(place: &SharedStore, store: StoreId) -> Result<Option<Head>> {
    let stored = place.head()?;
    let foreign =
        |stored: &Head| Prefix::decode(&stored.bytes).is_ok_and(|prefix| prefix.store != store);
    // No key of this store opens anything there, and that would be called clean.
    if stored.as_ref().is_some_and(foreign) {
        return Err(another_store(&place.place(), "name copies of this one alone"));
    }
    Ok(stored)
}

/// Reads every blob of a place.
fn each_blob(place: &SharedStore, see: &mut dyn FnMut(BlobName, &[u8])) -> Result<()> {
    let mut from = Some(Cursor::default());
    while let Some(at) = from {
        let (names, next) = place.names(at, NAMES_AT_ONCE)?;
        from = next;
        for name in names {
            see(name, &place.get(&name)?.unwrap_or_default());
        }
    }
    Ok(())
}

fn opens(stored: &Head, key: &Key) -> Option<HeadPage> {
    HeadPage::open(&stored.bytes, key).ok()
}

/// A tree that is learned.
struct Learned<'t> {
    geometry: Geometry,
    epoch: u64,
    /// The users of the live tree, if this is another one.
    others: Option<&'t Users<'t>>,
}

impl<'t> Learned<'t> {
    fn of(head: &HeadPage, epoch: u64, others: &'t Users<'t>) -> Self {
        Learned { geometry: head.geometry, epoch, others: Some(others) }
    }

    /// Whether a record of it is in the live tree too, perhaps with another first segment.
    fn lives_on(&self, id: &RecordId, entry: &Entry) -> bool {
        let users = self.others.map(|users| users.look_up(id));
        users.is_some_and(|there| there.is_ok_and(|(_, there)| there.is(entry)))
    }
}

fn learn(
    source: &PageSource<'_>,
    roots: &Roots,
    tree: &Learned<'_>,
    known: &mut HashMap<BlobName, Openable>,
) -> Result<()> {
    let (live, epoch) = (tree.others.is_none(), tree.epoch);
    // An adversary takes what it can get; the live tree must be whole.
    let pass = if live { Walking::unhindered() } else { Walking::lenient() };
    let users = Users { pages: source, root: &roots.users, geometry: tree.geometry };
    let mut resolver = Resolver::new(source.realm, users);
    walk(&pass, source, roots, &mut |step| {
        match step {
            Step::Enter { kind, at } => {
                if known.contains_key(&at.name) {
                    return Ok(ControlFlow::Break(()));
                }
                known.insert(
                    at.name,
                    Openable::unseen(Opener::Page { key: at.key(), kind }, live, epoch),
                );
            }
            // What is stored in an entry is opened with its page.
            Step::Record { entry, .. } if entry.body.first().is_none() => {}
            Step::Record { of, key, entry } => {
                let Some(payload) =
                    Payload::of(&mut resolver, &pass, of, key, entry)?.map(Arc::new)
                else {
                    return Ok(ControlFlow::Continue(()));
                };
                let id = of.record(key)?;
                let moves = is_of_upload(id.ordinal) || tree.lives_on(&id, entry);
                for (number, name) in (0..).zip(entry.segment_names(tree.geometry)) {
                    let opener = Opener::Segment { of: Arc::clone(&payload), number, moves };
                    known.entry(name).or_insert(Openable::unseen(opener, live, epoch));
                }
            }
            Step::Leave { .. } => {}
        }
        Ok(ControlFlow::Continue(()))
    })
    .map(|_| ())
}
