//! Where pages come from: one or more stores, and a cache with a byte limit.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use crate::crypto::{self, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, RealmId, UserTag};
use crate::stock::Stock;
use crate::store::Store;
use crate::tree::{Page, PageKind, Pages, Ref};

/// A store as the engine, its readers and its threads share it.
pub(crate) type SharedStore = Arc<dyn Store>;

/// A page that was just sealed.
pub(crate) struct Made {
    pub(crate) name: BlobName,
    pub(crate) owner: Option<UserTag>,
    pub(crate) page: Page,
}

#[derive(Clone)]
struct Cached {
    page: Page,
    owner: Option<UserTag>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<BlobName, Cached> for ByBytes {
    fn weight(&self, _: &BlobName, cached: &Cached) -> u64 {
        cached.page.len() as u64 + 256
    }
}

/// Which cached pages belong to which user, so that an erase finds them without looking at every
/// page.
#[derive(Clone, Default)]
struct Owners(Arc<Mutex<Lists>>);

/// Names of each user's cached pages, the oldest first.
type Lists = HashMap<UserTag, VecDeque<BlobName>>;

/// One user's part of the cache, at most: an erase returns when its user's pages are zeroized, and
/// 64 of them took a tenth of its time.
const OWNER_PART: usize = 1024;

impl Owners {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a page of a user's; takes the oldest out, which has to go, if there are more than
    /// `max`.
    fn add(&self, owner: UserTag, name: BlobName, max: usize) -> Option<BlobName> {
        let mut lists = self.lists();
        let names = lists.entry(owner).or_default();
        if !names.contains(&name) {
            names.push_back(name);
        }
        if names.len() > max { names.pop_front() } else { None }
    }

    fn remove(&self, owner: UserTag, name: &BlobName) {
        if let Entry::Occupied(mut names) = self.lists().entry(owner) {
            names.get_mut().retain(|other| other != name);
            if names.get().is_empty() {
                names.remove();
            }
        }
    }

    fn take(&self, owners: &[UserTag]) -> Vec<VecDeque<BlobName>> {
        let mut lists = self.lists();
        owners.iter().filter_map(|owner| lists.remove(owner)).collect()
    }
}

impl Lifecycle<BlobName, Cached> for Owners {
    type RequestState = ();

    fn on_evict(&self, _: &mut (), name: BlobName, cached: Cached) {
        if let Some(owner) = cached.owner {
            self.remove(owner, &name);
        }
    }
}

/// Opened pages, at most so many bytes of them; a page that leaves is zeroized.
pub(crate) struct PageCache {
    pages: Cache<BlobName, Cached, ByBytes, DefaultHashBuilder, Owners>,
    owners: Owners,
    /// Pages of one user, at most.
    owner_max: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What a page cache came to since its engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheUse {
    /// Pages that were in it when they were looked for.
    pub hits: u64,
    /// Pages that were not, and were read from a store and opened.
    pub misses: u64,
}

/// The part of the cache that is for pages which were read again.
const HOT: f64 = 0.8;

impl PageCache {
    pub(crate) fn new(bytes: u64) -> Self {
        let owners = Owners::default();
        let items = (bytes / 4096).max(16) as usize;
        // A page that a put makes is read by the user's next one: new pages need room, too.
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(bytes)
            .hot_allocation(HOT)
            .build()
            .unwrap_or_else(|_| unreachable!("both capacities are given"));
        let pages =
            Cache::with_options(options, ByBytes, DefaultHashBuilder::default(), owners.clone());
        let owner_max = (items / OWNER_PART).max(16);
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        PageCache { pages, owners, owner_max, hits, misses }
    }

    fn get(&self, name: &BlobName) -> Option<Page> {
        let found = self.pages.get(name);
        let counted = if found.is_some() { &self.hits } else { &self.misses };
        counted.fetch_add(1, Ordering::Relaxed);
        found.map(|cached| cached.page)
    }

    /// What it came to.
    pub(crate) fn used(&self) -> CacheUse {
        let read = |counted: &AtomicU64| counted.load(Ordering::Relaxed);
        CacheUse { hits: read(&self.hits), misses: read(&self.misses) }
    }

    fn insert(&self, name: BlobName, cached: Cached) {
        let owner = cached.owner;
        self.pages.insert(name, cached);
        // After the page itself: where two readers load it at once, the first one's is evicted,
        // and its name with it.
        if let Some(owner) = owner {
            // The name goes first: a reader that loads that page meanwhile notes it again.
            if let Some(oldest) = self.owners.add(owner, name, self.owner_max) {
                self.pages.remove(&oldest);
            }
            if !self.pages.contains_key(&name) {
                self.owners.remove(owner, &name);
            }
        }
    }

    /// Takes new pages in.
    pub(crate) fn add(&self, made: impl IntoIterator<Item = Made>) {
        for Made { name, owner, page } in made {
            self.insert(name, Cached { page, owner });
        }
    }

    fn remove(&self, name: &BlobName) {
        if let Some((_, Cached { owner: Some(owner), .. })) = self.pages.remove(name) {
            self.owners.remove(owner, name);
        }
    }

    /// Bytes held, with what each page costs beside its own.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.weight()
    }

    /// Lets go of every page.
    pub(crate) fn clear(&self) {
        self.pages.clear();
        self.owners.lists().clear();
    }

    /// Lets go of replaced pages, and of every page of these users.
    pub(crate) fn forget(&self, replaced: &[BlobName], owners: &[UserTag]) {
        for name in replaced {
            self.remove(name);
        }
        for name in self.owners.take(owners).into_iter().flatten() {
            self.pages.remove(&name);
        }
    }
}

/// Blobs that are asked for at once, at most, where it is said what comes next.
const AHEAD: usize = 32;
/// Blobs that one round of a look-up asks for, about.
const ROUND: usize = 4096;
/// Bytes that a walk keeps of what it fetched so, about.
const AHEAD_BYTES: usize = 4 << 20;

/// Pages as they are stored, fetched for one look-up while it held no lock. What is not in it is
/// noted, and the look-up begins again once that was fetched.
#[derive(Default)]
pub(crate) struct Hand {
    fetched: RefCell<HashMap<BlobName, Result<Option<Vec<u8>>>>>,
    wanted: RefCell<BTreeSet<BlobName>>,
    /// What comes next, as far as it was said.
    next: RefCell<Vec<BlobName>>,
    /// How often what comes next was fetched: each time twice as much, for most look-ups end soon.
    rounds: Cell<u32>,
    /// What did not open, and whether it was read past what is kept of it elsewhere.
    shut: RefCell<BTreeMap<BlobName, bool>>,
}

impl Hand {
    /// Looks into a store. Where machines share it, `read` gets a hand, and is called once more
    /// whenever pages had to be fetched: what it gave before counts for nothing then.
    pub(crate) fn look<T>(
        store: &SharedStore,
        read: impl Fn(Option<&Hand>) -> Result<T>,
    ) -> Result<T> {
        let hand = Hand::default();
        loop {
            let looked = read(store.is_shared().then_some(&hand));
            if !hand.fetch(&**store) {
                return looked;
            }
        }
    }

    /// Fetches the pages that the look-up came to and that were not there, and some that it will
    /// come to; says whether there were any.
    fn fetch(&self, store: &dyn Store) -> bool {
        let again = self.fetch_again(store);
        let wanted: Vec<BlobName> = self.wanted.take().into_iter().collect();
        if wanted.is_empty() {
            return again;
        }
        let fetched = store.get_many(&wanted);
        self.fetched.borrow_mut().extend(wanted.into_iter().zip(fetched));
        true
    }

    /// Fetches what did not open once more, from the store itself; says whether it gave anything.
    fn fetch_again(&self, store: &dyn Store) -> bool {
        let mut gave = false;
        for (name, asked) in &mut *self.shut.borrow_mut() {
            if !std::mem::replace(asked, true)
                && let Ok(Some(page)) = store.get_again(name)
            {
                self.fetched.borrow_mut().insert(*name, Ok(Some(page)));
                gave = true;
            }
        }
        gave
    }

    fn give<T>(&self, name: &BlobName, accept: impl FnOnce(Vec<u8>) -> Result<T>) -> Result<T> {
        match self.fetched.borrow().get(name) {
            Some(Ok(Some(page))) => accept(page.clone()).inspect_err(|_| {
                self.shut.borrow_mut().entry(*name).or_default();
            }),
            Some(Ok(None)) => Err(missing(*name, "the store")),
            Some(Err(e)) => Err(e.copy()),
            None => {
                let mut wanted = self.wanted.borrow_mut();
                wanted.insert(*name);
                let next = self.next.take();
                if next.first() == Some(name) {
                    wanted.extend(next);
                    self.rounds.set(self.rounds.get() + 1);
                }
                Err(Error::new(ErrorKind::Io, "this page is fetched first"))
            }
        }
    }

    /// Whether a page is wanted that was not fetched yet, and not too many are.
    fn may_want_more(&self) -> bool {
        (1..ROUND).contains(&self.wanted.borrow().len())
    }

    /// Notes what comes next.
    fn soon(&self, names: &mut dyn Iterator<Item = BlobName>) {
        let most = AHEAD.min(1 << self.rounds.get().min(16));
        *self.next.borrow_mut() = names.take(most).collect();
    }
}

/// What a walk fetched before it came to it.
#[derive(Default)]
struct Ahead {
    kept: HashMap<BlobName, Vec<u8>>,
    order: VecDeque<BlobName>,
    bytes: usize,
}

impl Ahead {
    /// Keeps a blob, in the place of those that were kept first.
    fn keep(&mut self, name: BlobName, blob: Vec<u8>) {
        self.bytes += blob.len();
        self.order.push_back(name);
        self.kept.insert(name, blob);
        while self.bytes > AHEAD_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.kept.remove(&oldest).map_or(0, |blob| blob.len());
        }
    }
}

/// A stock that a source gives from first.
#[derive(Clone, Copy)]
struct Stocked<'a> {
    stock: &'a Stock,
    /// Whether it takes what is read.
    fills: bool,
}

/// Pages of one store, or of several where each is asked in turn.
pub(crate) struct PageSource<'a> {
    pub(crate) realm: RealmId,
    pub(crate) stores: &'a [SharedStore],
    pub(crate) cache: Option<&'a PageCache>,
    /// What is opened of pages that the cache lacks, and nothing else; `None`: of the stores.
    pub(crate) hand: Option<&'a Hand>,
    stock: Option<Stocked<'a>>,
    ahead: RefCell<Ahead>,
}

impl<'a> PageSource<'a> {
    /// Pages of these stores, past any cache.
    pub(crate) fn over(realm: RealmId, stores: &'a [SharedStore]) -> Self {
        let (cache, hand, stock) = (None, None, None);
        PageSource { realm, stores, cache, hand, stock, ahead: RefCell::default() }
    }

    /// What a stock has is not asked for.
    pub(crate) fn out_of(self, stock: Option<&'a Stock>) -> Self {
        PageSource { stock: stock.map(|stock| Stocked { stock, fills: false }), ..self }
    }

    /// The same; what is asked for is read along the way of a walk, and kept there.
    pub(crate) fn into_stock(self, stock: &'a Stock) -> Self {
        PageSource { stock: Some(Stocked { stock, fills: true }), ..self }
    }

    /// Through a cache, and of pages that it lacks what is in hand alone, if there is a hand.
    pub(crate) fn through(self, cache: &'a PageCache, hand: Option<&'a Hand>) -> Self {
        PageSource { cache: Some(cache), hand, ..self }
    }
}

/// The error for a blob that a live pointer names and no store has.
pub(crate) fn missing(name: BlobName, place: &str) -> Error {
    Error::corrupt(format!(
        "the blob {name} is missing from {place}; restore the store from its copies with `restore`"
    ))
}

impl PageSource<'_> {
    /// The first of the stores' blobs under this name that `accept` takes.
    pub(crate) fn fetch<T>(
        &self,
        name: &BlobName,
        mut accept: impl FnMut(Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        let stocked = self.stock.and_then(|Stocked { stock, .. }| stock.get(name));
        if let Some(Ok(taken)) = stocked.map(&mut accept) {
            return Ok(taken);
        }
        if let Some(hand) = self.hand {
            return hand.give(name, accept);
        }
        // What it does not take is asked for once more.
        let kept = self.ahead.borrow().kept.get(name).cloned();
        if let Some(Ok(taken)) = kept.map(&mut accept) {
            return Ok(taken);
        }
        let mut failed = None;
        let mut take = |blob: Vec<u8>| match self.stock {
            Some(Stocked { stock, fills: true }) => {
                let taken = accept(blob.clone())?;
                stock.keep(*name, blob);
                Ok(taken)
            }
            _ => accept(blob),
        };
        for store in self.stores {
            let blob = match self.stock {
                Some(Stocked { fills: true, .. }) => store.get_along(name),
                _ => store.get(name),
            };
            match blob.and_then(|blob| blob.map(&mut take).transpose()) {
                Ok(Some(taken)) => return Ok(taken),
                Ok(None) => {}
                Err(e) => {
                    let again = store.get_again(name).ok().flatten().map(&mut take);
                    if let Some(Ok(taken)) = again {
                        return Ok(taken);
                    }
                    failed = Some(e);
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            let places: Vec<String> = self.stores.iter().map(|s| s.place()).collect();
            missing(*name, &places.join(", "))
        }))
    }
}

impl PageSource<'_> {
    /// A page as it is stored, from the first of the stores that gives it whole.
    pub(crate) fn sealed(&self, kind: PageKind, at: &Ref) -> Result<Vec<u8>> {
        let context = crypto::page_context(self.realm, kind.byte(), at.name);
        self.fetch(&at.name, |blob| chunked::open(&at.key(), &context, &blob).map(|_| blob))
    }
}

impl PageSource<'_> {
    /// Whether a page is there without a request.
    fn is_here(&self, name: &BlobName) -> bool {
        self.cache.is_some_and(|cache| cache.pages.contains_key(name))
            || self.hand.is_some_and(|hand| hand.fetched.borrow().contains_key(name))
            || self.ahead.borrow().kept.contains_key(name)
    }
}

impl Pages for PageSource<'_> {
    fn reads_ahead(&self) -> bool {
        let is_far = || self.stores.first().is_some_and(|store| store.is_far());
        self.hand.is_some() || self.cache.is_none() && is_far()
    }

    fn may_go_on(&self) -> bool {
        self.hand.is_some_and(Hand::may_want_more)
    }

    fn soon(&self, names: &mut dyn Iterator<Item = BlobName>) {
        if !self.reads_ahead() {
            return;
        }
        let Some(first) = names.next().filter(|name| !self.is_here(name)) else { return };
        let mut lacking = std::iter::once(first).chain(names.filter(|name| !self.is_here(name)));
        if let Some(hand) = self.hand {
            hand.soon(&mut lacking);
        } else {
            let wanted: Vec<BlobName> = lacking.take(AHEAD).collect();
            let blobs = self.stores[0].get_many(&wanted);
            let mut ahead = self.ahead.borrow_mut();
            for (name, blob) in wanted.into_iter().zip(blobs) {
                // What fails is asked for once more when the walk comes to it.
                if let Ok(Some(blob)) = blob {
                    ahead.keep(name, blob);
                }
            }
        }
    }

    fn load(&self, kind: PageKind, owner: Option<UserTag>, at: &Ref) -> Result<Page> {
        if let Some(page) = self.cache.and_then(|cache| cache.get(&at.name)) {
            return Ok(page);
        }
        let context = crypto::page_context(self.realm, kind.byte(), at.name);
        let plaintext = self.fetch(&at.name, |blob| chunked::open(&at.key(), &context, &blob))?;
        let page = Arc::new(plaintext);
        if let Some(cache) = self.cache {
            cache.insert(at.name, Cached { page: Arc::clone(&page), owner });
        }
        Ok(page)
    }
}
