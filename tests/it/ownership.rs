//! Ownership: only the owner of a store destroys keys, whatever else is open with the same root
//! cell. SPEC §6.8.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::cell::{Contents, Durable, Owner, RootCell, RootKey};
use keyfall::crypto::Key;
use keyfall::engine::{CopyMode, OpenAs, restore};
use keyfall::promise::{Awaited, Finality, Promise, Retirement, RootId};
use keyfall::store::StoreId;
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::HoardingCell;
use keyfall::{Class, Engine, Erase, Error, ErrorKind, Options, Put, Query, Result, Scope};

use crate::support::{SMALL_PAGES, World, error_kind, read_record, user};

/// A cell that does not get to destroy anything: the engine died before it asked.
struct Stuck {
    cell: Arc<HoardingCell>,
    stuck: AtomicBool,
}

impl RootCell for Stuck {
    fn describe(&self) -> Promise {
        self.cell.describe()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.cell.claim(store, owner, mark)
    }
    fn ready(&self, keep: &RootId, next: &RootId) -> Result<bool> {
        self.cell.ready(keep, next)
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.cell.deposit(store, id, key)
    }
    fn load(&self) -> Result<Contents> {
        self.cell.load()
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        if self.stuck.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, "the power went"));
        }
        self.cell.retire(keep, proof)
    }
    fn retire_for(
        &self,
        keep: &RootId,
        next: &RootKey,
        proof: Durable,
    ) -> Result<Option<Retirement>> {
        if self.stuck.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, "the power went"));
        }
        self.cell.retire_for(keep, next, proof)
    }
}

fn open(world: &World, store: Arc<dyn Store>, open_as: OpenAs) -> Result<Engine> {
    let cell: Arc<dyn RootCell> = world.cell.clone();
    Engine::open(store, cell, world.options.clone().open_as(open_as))
}

fn users(engine: &Engine) -> Vec<String> {
    let mut users: Vec<String> = engine
        .list(&Query::default())
        .unwrap()
        .records
        .iter()
        .map(|record| record.user.to_string())
        .collect();
    users.sort();
    users.dedup();
    users
}

/// A world with a record of each of two users, and a backup of it.
fn backed_up(seed: u64) -> (World, Arc<MemoryStore>) {
    let world = World::new(seed, SMALL_PAGES);
    world.put("ada", Class::audio(), b"ada's");
    world.put("bob", Class::audio(), b"bob's");
    let backup = Arc::new(MemoryStore::new());
    world.engine().backup(&*backup, &mut |_| {}).unwrap();
    (world, backup)
}

/// An erase was published, and the machine died before the old root key was destroyed. Then
/// somebody looked into a backup of the epoch before: its open destroyed the key of the published
/// epoch, and with it every acknowledged put since the backup.
#[test]
fn a_look_into_a_backup_leaves_a_newer_root_key_alone() {
    let (mut world, backup) = backed_up(1);
    let late = world.put("carl", Class::audio(), b"put after the backup");
    let stuck = Arc::new(Stuck { cell: world.cell.clone(), stuck: AtomicBool::new(false) });
    world.engine = None;
    let cell: Arc<dyn RootCell> = stuck.clone();
    let engine = Engine::open(world.store.clone(), cell, world.options.clone()).unwrap();
    stuck.stuck.store(true, Ordering::SeqCst);
    engine.erase(Scope::user(user("ada"))).unwrap_err();
    drop(engine);
    assert_eq!(world.cell.load().unwrap().keys.len(), 2, "published, not retired");

    for open_as in [OpenAs::Owner, OpenAs::ReadOnly] {
        let look = open(&world, backup.clone(), open_as).unwrap();
        assert_eq!(users(&look), ["ada", "bob"], "the root key of the backup is there still");
        assert!(look.read_only().is_some());
        assert_eq!(
            error_kind(look.run_due(&mut |_| {})),
            ErrorKind::Fenced,
            "what is due is not done, and that is said"
        );
        look.users(None, 10).unwrap();
        look.report(&user("ada")).unwrap();
        look.status().unwrap();
        look.audit(&[], &mut |_| {}).unwrap();
        assert_eq!(
            error_kind(look.put(Put::new(user("eve"), Class::audio()), &b"x"[..])),
            ErrorKind::Fenced
        );
        assert_eq!(error_kind(look.erase(Scope::user(user("bob")))), ErrorKind::Fenced);
        assert_eq!(error_kind(look.discard(&mut |_| {})), ErrorKind::Fenced);
    }
    assert_eq!(world.cell.load().unwrap().keys.len(), 2, "a look destroys nothing");
    world.reopen();
    assert_eq!(world.cell.load().unwrap().keys.len(), 1, "the owner finishes its erase");
    assert_eq!(read_record(world.engine(), &late).unwrap(), b"put after the backup");
    assert_eq!(
        error_kind(open(&world, backup, OpenAs::Owner)),
        ErrorKind::Mismatch,
        "the backup is of a destroyed epoch"
    );
}

/// An engine that only looked went on with a root key that the owner had destroyed meanwhile.
#[test]
fn a_look_ends_when_its_root_key_is_destroyed() {
    let (world, backup) = backed_up(3);
    let look = open(&world, backup, OpenAs::ReadOnly).unwrap();
    let found = look.list(&Query::default()).unwrap();
    let mut reader = look.get(&found.records[0].id).unwrap();
    let kept = Options::new().keeper(keyfall::engine::Keeper::Thread).open_as(OpenAs::ReadOnly);
    let idle = Engine::open(world.store.clone(), world.cell.clone(), kept).unwrap();
    idle.list(&Query::default()).unwrap();
    assert!(look.cached_bytes() > 0 && idle.cached_bytes() > 0);
    world.engine().erase(Scope::user(user("ada"))).unwrap();
    // Asking costs a round trip: it is done once a second.
    world.env.advance(1000);
    let e = reader.read_some(&mut [0; 16]).unwrap_err();
    assert!(e.kind() == ErrorKind::Mismatch && e.to_string().contains("is destroyed"), "{e}");
    for outcome in [
        look.list(&Query::default()).map(drop),
        look.users(None, 1).map(drop),
        look.status().map(drop),
    ] {
        assert_eq!(error_kind(outcome), ErrorKind::Mismatch);
    }
    assert_eq!(look.cached_bytes(), 0, "every page is gone from memory");
    // One that nobody asks anything asks by itself.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while idle.cached_bytes() > 0 {
        assert!(std::time::Instant::now() < deadline, "it keeps what it read");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An engine that only looked asked the cell to destroy the old root key, when it was asked for a
/// certificate.
#[test]
fn a_look_issues_no_certificate_and_destroys_nothing_for_one() {
    let (mut world, _) = backed_up(7);
    let stuck = Arc::new(Stuck { cell: world.cell.clone(), stuck: AtomicBool::new(false) });
    world.engine = None;
    let cell: Arc<dyn RootCell> = stuck.clone();
    let engine = Engine::open(world.store.clone(), cell, world.options.clone()).unwrap();
    let draft = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&draft);
    let erase = Erase::new(Scope::user(user("ada"))).certified("", "").drafted(move |draft| {
        *keep.lock().unwrap() = Some(draft.clone());
        Ok(())
    });
    let certificate = engine.erase(erase).unwrap().certificate.unwrap().sign().unwrap();
    let draft = draft.lock().unwrap().clone().unwrap();
    stuck.stuck.store(true, Ordering::SeqCst);
    engine.erase(Scope::user(user("bob"))).unwrap_err();
    drop(engine);
    let keys = world.cell.load().unwrap().keys.len();
    assert!(keys > 1, "published, not retired");

    let look = open(&world, world.store.clone(), OpenAs::ReadOnly).unwrap();
    assert_eq!(error_kind(look.certificates().upgrade(&certificate, None)), ErrorKind::Fenced);
    assert_eq!(error_kind(look.certificates().get(&draft)), ErrorKind::Fenced);
    assert_eq!(error_kind(look.log().checkpoint()), ErrorKind::Fenced);
    assert!(look.log().key().is_ok());
    assert_eq!(world.cell.load().unwrap().keys.len(), keys, "a look destroys nothing");
    drop(look);
    world.reopen();
    assert_eq!(world.cell.load().unwrap().keys.len(), 1);
    assert!(world.engine().certificates().upgrade(&certificate, None).is_ok());
    assert!(world.engine().certificates().get(&draft).is_ok());
}

/// A restore drill opened what it had restored, with the real cell; a policy was due; production
/// was dead.
#[test]
fn what_a_restore_builds_is_read_only_until_it_is_taken_over() {
    let (mut world, backup) = backed_up(2);
    let policy = keyfall::Policy::new(Class::audio()).max_age(Duration::from_secs(7200));
    world.engine().policies(None).set(&policy).unwrap();
    world.engine().backup(&*backup, &mut |_| {}).unwrap();
    let drill = Arc::new(MemoryStore::new());
    restore(&*world.cell, &[backup as Arc<dyn Store>], &*drill, &mut |_| {}).unwrap();
    world.env.advance(3 * 3_600_000);
    let before = world.cell.load().unwrap().epoch;
    let look = open(&world, drill.clone(), OpenAs::Owner).unwrap();
    assert_eq!(users(&look), ["ada", "bob"]);
    assert_eq!(error_kind(look.erase(Scope::user(user("bob")))), ErrorKind::Fenced);
    drop(look);
    assert_eq!(world.cell.load().unwrap().epoch, before);
    world.reopen();
    assert!(world.engine().read_only().is_none(), "production stays the owner");

    world.engine = None;
    let adopted = open(&world, drill.clone(), OpenAs::TakeOver).unwrap();
    adopted.erase(Scope::user(user("ada"))).unwrap();
    drop(adopted);
    let again = open(&world, drill, OpenAs::Owner).unwrap();
    assert!(again.read_only().is_none(), "it is the owner from now on");
    assert_eq!(users(&again), ["bob"]);
    assert_eq!(error_kind(open(&world, world.store.clone(), OpenAs::Owner)), ErrorKind::Mismatch);
}

/// A cell that another engine claims right after it was read.
struct Raced {
    cell: Arc<HoardingCell>,
    rival: keyfall::cell::MemoryCell,
    armed: AtomicBool,
}

impl RootCell for Raced {
    fn describe(&self) -> Promise {
        self.cell.describe()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.cell.claim(store, owner, mark)
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        self.cell.deposit(store, id, key)
    }
    fn load(&self) -> Result<Contents> {
        let contents = self.cell.load()?;
        if self.armed.swap(false, Ordering::SeqCst) {
            let claim = contents.owner.map_or(0, |owner| owner.claim) + 1;
            let rival = Owner { instance: [3; 16], claim, token: [4; 16] };
            self.rival.claim(contents.store.unwrap(), &rival, contents.mark)?;
        }
        Ok(contents)
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.cell.retire(keep, proof)
    }
}

#[test]
fn a_claim_that_came_in_between_ends_an_opening_and_no_take_over() {
    let world = World::new(31, SMALL_PAGES);
    let memory = keyfall::cell::MemoryCell::new();
    let rival = memory.handle();
    let cell = Arc::new(Raced {
        cell: Arc::new(HoardingCell::new(Arc::new(memory))),
        rival,
        armed: AtomicBool::new(false),
    });
    let store = Arc::new(MemoryStore::new());
    let as_cell = || Arc::clone(&cell) as Arc<dyn RootCell>;
    drop(Engine::init(store.clone(), as_cell(), world.options.clone()).unwrap());
    let open =
        |open_as| Engine::open(store.clone(), as_cell(), world.options.clone().open_as(open_as));
    cell.armed.store(true, Ordering::SeqCst);
    assert_eq!(error_kind(open(OpenAs::Owner)), ErrorKind::Fenced);
    assert!(open(OpenAs::Owner).unwrap().read_only().is_some());
    cell.armed.store(true, Ordering::SeqCst);
    let engine = open(OpenAs::TakeOver).unwrap();
    engine.put(Put::new(user("ada"), Class::audio()), &b"hers"[..]).unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    drop(engine);
    assert!(open(OpenAs::Owner).unwrap().read_only().is_none());
}

/// A byte-for-byte copy of a directory has the same marker. The claim that both sides counted tells
/// which one is current.
#[test]
fn of_two_identical_directories_the_one_opened_last_as_owner_counts() {
    for original_first in [true, false] {
        let (mut world, _) = backed_up(3);
        world.engine = None;
        let store = Arc::new(MemoryStore::new());
        let cell: Arc<dyn RootCell> = Arc::new(keyfall::cell::MemoryCell::new());
        let engine = Engine::init(store.clone(), cell.clone(), world.options.clone()).unwrap();
        engine.put(Put::new(user("ada"), Class::audio()), &b"hers"[..]).unwrap();
        drop(engine);
        let copy = Arc::new(store.snapshot());
        let (first, second) = if original_first { (store, copy) } else { (copy, store) };
        let open = |store: &Arc<MemoryStore>, open_as| {
            Engine::open(store.clone(), cell.clone(), world.options.clone().open_as(open_as))
                .unwrap()
        };
        assert!(open(&second, OpenAs::ReadOnly).read_only().is_some());
        let owner = open(&first, OpenAs::Owner);
        assert!(owner.read_only().is_none());
        owner.put(Put::new(user("bob"), Class::audio()), &b"his"[..]).unwrap();
        drop(owner);
        let other = open(&second, OpenAs::Owner);
        assert!(other.read_only().is_some());
        assert_eq!(
            error_kind(other.put(Put::new(user("bob"), Class::audio()), &b"his"[..])),
            ErrorKind::Fenced
        );
        assert_eq!(users(&other), ["ada"]);
        drop(other);
        let owner = open(&first, OpenAs::Owner);
        assert!(owner.read_only().is_none(), "a look by the other one changes nothing");
        assert_eq!(users(&owner), ["ada", "bob"]);
    }
}

/// A medium that went back within an epoch lost acknowledged puts without a word.
#[test]
fn a_store_that_went_back_is_read_only_until_it_is_taken_over() {
    let world = World::new(4, SMALL_PAGES);
    let store = Arc::new(MemoryStore::new());
    let cell: Arc<dyn RootCell> = Arc::new(keyfall::cell::MemoryCell::new());
    let engine = Engine::init(store.clone(), cell.clone(), world.options.clone()).unwrap();
    let before = Arc::new(store.snapshot());
    engine.put(Put::new(user("ada"), Class::audio()), &b"hers"[..]).unwrap();
    drop(engine);
    // A claim tells the cell how far the store was.
    drop(Engine::open(store.clone(), cell.clone(), world.options.clone()).unwrap());
    let open_as = |store: &Arc<MemoryStore>, open_as| {
        Engine::open(store.clone(), cell.clone(), world.options.clone().open_as(open_as))
    };
    let engine = open_as(&before, OpenAs::Owner).unwrap();
    assert!(engine.read_only().is_some());
    assert_eq!(
        error_kind(engine.put(Put::new(user("bob"), Class::audio()), &b"his"[..])),
        ErrorKind::Fenced
    );
    drop(engine);
    let engine = open_as(&before, OpenAs::TakeOver).unwrap();
    assert!(users(&engine).is_empty());
}

/// A store whose claims survived and whose log went back: the commit that the cell remembers tells.
#[test]
fn a_store_below_the_commit_that_its_cell_remembers_is_refused() {
    struct Back(Arc<MemoryStore>, Arc<MemoryStore>);
    impl Store for Back {
        fn place(&self) -> String {
            "back".into()
        }
        fn claimed(&self) -> Result<Option<keyfall::store::Claimed>> {
            self.0.claimed()
        }
        fn claim(&self, claimed: &keyfall::store::Claimed) -> Result<Option<keyfall::store::Head>> {
            self.0.claim(claimed)?;
            self.1.head()
        }
        fn get(&self, name: &keyfall::store::BlobName) -> Result<Option<Vec<u8>>> {
            self.1.get(name)
        }
        fn contains(&self, name: &keyfall::store::BlobName) -> Result<bool> {
            self.1.contains(name)
        }
        fn put(&self, blobs: &[keyfall::store::Blob]) -> Result<()> {
            self.1.put(blobs)
        }
        fn head(&self) -> Result<Option<keyfall::store::Head>> {
            self.1.head()
        }
        fn commit(
            &self,
            blobs: &[keyfall::store::Blob],
            over: Option<keyfall::store::HeadId>,
            head: &keyfall::store::Head,
        ) -> Result<keyfall::store::Published> {
            self.1.commit(blobs, over, head)
        }
        fn names(
            &self,
            from: keyfall::store::Cursor,
            limit: usize,
        ) -> Result<(Vec<keyfall::store::BlobName>, Option<keyfall::store::Cursor>)> {
            self.1.names(from, limit)
        }
        fn remove(&self, names: &[keyfall::store::BlobName]) -> Result<keyfall::store::Removed> {
            self.1.remove(names)
        }
        fn usage(&self) -> Result<keyfall::store::Usage> {
            self.1.usage()
        }
    }
    let world = World::new(7, SMALL_PAGES);
    let store = Arc::new(MemoryStore::new());
    let cell: Arc<dyn RootCell> = Arc::new(keyfall::cell::MemoryCell::new());
    let engine = Engine::init(store.clone(), cell.clone(), world.options.clone()).unwrap();
    let before = Arc::new(store.snapshot());
    engine.put(Put::new(user("ada"), Class::audio()), &b"hers"[..]).unwrap();
    drop(engine);
    drop(Engine::open(store.clone(), cell.clone(), world.options.clone()).unwrap());
    let back = Arc::new(Back(store, before));
    let e = Engine::open(back.clone(), cell.clone(), world.options.clone()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch);
    assert!(e.to_string().contains("was rolled back"), "{e}");
    let look = world.options.clone().open_as(OpenAs::ReadOnly);
    assert!(users(&Engine::open(back.clone(), cell.clone(), look).unwrap()).is_empty());
    let over = world.options.clone().open_as(OpenAs::TakeOver);
    assert!(Engine::open(back, cell, over).unwrap().read_only().is_none());
}

/// One list of copies: what a failed `copy_remove` left made an erase final while a listed copy
/// could not restore the living.
#[test]
fn a_copy_leaves_the_list_and_the_duty_together() {
    let world = World::new(5, SMALL_PAGES);
    let kept = world.put("bob", Class::audio(), b"bob's");
    world.put("ada", Class::audio(), b"ada's");
    let engine = world.engine();
    let gone = Arc::new(AtomicBool::new(false));
    let (open_copy, out) = (world.options.open_copy.clone(), gone.clone());
    let options = world.options.clone().open_copy(Arc::new(move |place: &str, create: bool| {
        if place == "c2" && out.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, "c2 is out of reach"));
        }
        open_copy(place, create)
    }));
    for place in ["c1", "c2"] {
        engine.copies().add(place, CopyMode::InStep, &mut |_| {}).unwrap();
    }
    let mut world = world;
    world.engine = None;
    world.options = options;
    gone.store(true, Ordering::SeqCst);
    world.reopen();
    let engine = world.engine();
    engine.put(Put::new(user("carl"), Class::audio()), &b"x"[..]).unwrap_err();
    let removed = engine.copies().remove("c1");
    gone.store(false, Ordering::SeqCst);
    let listed = |engine: &Engine| -> Vec<String> {
        engine
            .copies()
            .status()
            .iter()
            .filter(|c| c.entry.mode == CopyMode::InStep)
            .map(|c| c.entry.place.clone())
            .collect()
    };
    drop(removed);
    engine.erase(Scope::user(user("ada"))).unwrap();
    let places = listed(engine);
    assert!(places.contains(&"c2".to_owned()), "{places:?}");
    for status in engine.copies().status() {
        assert_eq!(
            status.restores,
            Some(engine.head()),
            "{} is listed in step, and is",
            status.entry.place
        );
    }
    assert_eq!(read_record(engine, &kept).unwrap(), b"bob's");
}

#[test]
fn a_drill_on_the_running_engine_says_what_a_restore_would_bring_back() {
    let (world, backup) = backed_up(6);
    let engine = world.engine();
    let copies = [backup.clone() as Arc<dyn Store>];
    let checked = engine.copies().check_restore(&copies, &mut |_| {}).unwrap();
    assert!(checked.is_whole());
    assert_eq!((checked.head, checked.current), (engine.head(), engine.head()));
    assert!(checked.blobs > 2);
    let names = backup.names(keyfall::store::Cursor::default(), 100).unwrap().0;
    for name in names {
        let worse = Arc::new(backup.snapshot());
        worse.remove(&[name]).unwrap();
        let checked =
            engine.copies().check_restore(&[worse as Arc<dyn Store>], &mut |_| {}).unwrap();
        assert!(!checked.is_whole(), "{name} is lacking, and nobody said so");
        assert!(checked.missing.contains(&name));
    }
    engine.erase(Scope::user(user("ada"))).unwrap();
    let e = engine.copies().check_restore(&copies, &mut |_| {}).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
    engine.backup(&*backup, &mut |_| {}).unwrap();
    assert!(engine.copies().check_restore(&copies, &mut |_| {}).unwrap().is_whole());
}

/// A look took no word of the cell for its word that old root keys are gone.
#[test]
fn a_look_over_a_cell_that_cannot_say_calls_nothing_final() {
    let world = World::new(12, SMALL_PAGES);
    let id = world.put("ada", Class::audio(), b"x");
    world.put("bob", Class::audio(), b"y");
    world.engine().erase(Scope::Record(id)).unwrap();
    let look = open(&world, Arc::clone(&world.store), OpenAs::ReadOnly).unwrap();
    assert_eq!(
        look.status().unwrap().finality,
        Finality::Final,
        "this cell destroys a key when it is told to"
    );
    assert!(look.audit(&[], &mut |_| {}).unwrap().is_clean());
    let mute: Arc<dyn RootCell> =
        Arc::new(Stuck { cell: Arc::clone(&world.cell), stuck: AtomicBool::new(false) });
    let options = world.options.clone().open_as(OpenAs::ReadOnly);
    let look = Engine::open(Arc::clone(&world.store), mute, options).unwrap();
    let status = look.status().unwrap();
    assert_eq!(status.finality.awaited(), [Awaited::Unasked]);
    assert!(status.unsettled.unwrap().contains("not asked"));
    assert_eq!(look.report(&user("bob")).unwrap().finality, status.finality);
    assert!(!look.audit(&[], &mut |_| {}).unwrap().is_clean());
    assert!(!look.ownership().owes().unwrap(), "to open it would tell no more");
}

/// A writer that commits all the time made its copy in step look ahead of the store, which had been
/// read before: nobody could take the store over, and was told to give the copy up.
#[test]
fn a_store_is_taken_over_from_a_writer_that_goes_on_meanwhile() {
    let mut world = World::new(90, SMALL_PAGES);
    world.put("ada", Class::audio(), b"x");
    world.engine().copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    let writer = world.engine.take().unwrap();
    let (puts, near) = (Arc::new(Mutex::new(Vec::new())), world.place("near"));
    let acknowledged = Arc::clone(&puts);
    let mut options = world.options.clone().open_as(OpenAs::TakeOver);
    // Whoever looks at the copy first finds that it went on. A store in memory has one handle, and
    // fences nobody: later the writer is gone.
    options.open_copy = Arc::new(move |_, _| {
        let mut acknowledged = acknowledged.lock().unwrap();
        if acknowledged.is_empty() {
            let put = Put::new(user("ada"), Class::audio());
            acknowledged.push(writer.put(put, &b"later"[..]).unwrap());
        }
        Ok(Arc::clone(&near) as Arc<dyn Store>)
    });
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let engine = Engine::open(Arc::clone(&world.store), cell, options).unwrap();
    assert_eq!(engine.read_only(), None);
    let puts = puts.lock().unwrap();
    assert!(!puts.is_empty());
    puts.iter().for_each(|id| assert_eq!(read_record(&engine, id).unwrap(), b"later"));
    engine.put(Put::new(user("ada"), Class::audio()), &b"mine"[..]).unwrap();
}
