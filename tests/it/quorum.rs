//! The cell that is spread over keyholders, against keyholders in this process: which owner may
//! destroy what, with how many, and what one liar can do. SPEC §15.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyfall::cell::{Durable, Owner, RootCell};
use keyfall::crypto::Key;
use keyfall::engine::{Keeper, OpenAs};
use keyfall::env::{SharedEnv, System};
use keyfall::promise::{Retirement, RootId, Statement};
use keyfall::quorum::{Held, Holder, Keyholder, QuorumCell, Share, Standing};
use keyfall::store::MemoryStore;
use keyfall::store::StoreId;
use keyfall::{Class, Engine, Error, ErrorKind, Options, Put, Result, Scope};

use crate::support::{SMALL_PAGES, error_kind, user};

const STORE: StoreId = StoreId([7; 16]);

/// A keyholder that can be away, lie, or belong to somebody else.
struct Gate {
    inner: Holder,
    away: AtomicBool,
    /// Gives out a share that is not the one it was dealt.
    lies: AtomicBool,
    /// Knows another engine as the owner.
    fenced: AtomicBool,
    owner: Mutex<Option<Owner>>,
    mark: AtomicU64,
    asked: Mutex<Vec<&'static str>>,
}

impl Gate {
    fn pass(&self, verb: &'static str) -> Result<()> {
        self.asked.lock().unwrap().push(verb);
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, format!("{} does not answer", self.place())));
        }
        if self.fenced.load(Ordering::SeqCst) && verb != "load" {
            return Err(Error::new(ErrorKind::Fenced, "another engine owns the store"));
        }
        Ok(())
    }

    fn note(&self, owner: &Owner, mark: u64) {
        *self.owner.lock().unwrap() = Some(*owner).filter(|owner| owner.claim > 0);
        self.mark.fetch_max(mark, Ordering::SeqCst);
    }

    fn is_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn epochs(&self) -> Vec<u64> {
        let shares = self.inner.load(STORE).unwrap().shares;
        shares.iter().map(|share| share.id.epoch).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Keyholder for Gate {
    fn place(&self) -> String {
        self.inner.place().rsplit('/').next().unwrap().to_owned()
    }
    fn key(&self) -> [u8; 32] {
        self.inner.key()
    }
    fn claim(&self, _: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.pass("claim")?;
        self.note(owner, mark);
        Ok(())
    }
    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> Result<()> {
        self.pass("deposit")?;
        self.note(owner, 0);
        self.inner.deposit(store, owner, share)
    }
    fn load(&self, store: StoreId) -> Result<Held> {
        self.pass("load")?;
        let mut held = self.inner.load(store)?;
        (held.owner, held.mark) = (*self.owner.lock().unwrap(), self.mark.load(Ordering::SeqCst));
        if self.lies.load(Ordering::SeqCst) {
            for share in &mut held.shares {
                let mut value = *share.value.bytes();
                value[0] ^= 1;
                share.value = Key::copied_from(&value);
            }
        }
        Ok(held)
    }
    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given: &[RootId],
        mark: u64,
    ) -> Result<Statement> {
        self.pass("retire")?;
        self.note(owner, mark);
        self.inner.retire(store, owner, keep, given, mark)
    }
}

struct Place {
    _dir: tempfile::TempDir,
    gates: Vec<Arc<Gate>>,
    rule: (u8, u8),
}

impl Place {
    fn new(n: usize, threshold: u8, liars: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gate = |n: usize| {
            let env: SharedEnv = Arc::new(System);
            let inner =
                keyfall::testing::holder(&dir.path().join(format!("kh{n}")), n as u8 + 1, &env);
            let no = || AtomicBool::new(false);
            let (away, lies, fenced) = (no(), no(), no());
            Arc::new(Gate {
                inner,
                away,
                lies,
                fenced,
                owner: Mutex::default(),
                mark: AtomicU64::new(0),
                asked: Mutex::default(),
            })
        };
        Place { gates: (0..n).map(gate).collect(), rule: (threshold, liars), _dir: dir }
    }

    /// As another process would open it.
    fn cell(&self, store: Option<StoreId>) -> QuorumCell {
        let members =
            self.gates.iter().map(|gate| Arc::clone(gate) as Arc<dyn Keyholder>).collect();
        QuorumCell::in_process(members, self.rule, store, Arc::new(System)).unwrap()
    }

    /// A cell that holds the key of epoch 1.
    fn made(&self) -> QuorumCell {
        let cell = self.cell(None);
        deposit(&cell, id(1, 1)).unwrap();
        assert!(retire(&cell, id(1, 1)).is_final());
        cell
    }

    fn epochs(&self) -> Vec<Vec<u64>> {
        self.gates.iter().map(|gate| gate.epochs()).collect()
    }

    fn away(&self, away: &[usize]) {
        self.gates.iter().enumerate().for_each(|(n, gate)| gate.is_away(away.contains(&n)));
    }
}

fn id(epoch: u64, attempt: u8) -> RootId {
    RootId { epoch, attempt: [attempt; 16] }
}

fn owner(claim: u64, token: u8) -> Owner {
    Owner { instance: [1; 16], claim, token: [token; 16] }
}

fn key(id: RootId) -> Key {
    Key::copied_from(&[id.attempt[0] * 16 + id.epoch as u8; 32])
}

fn deposit(cell: &QuorumCell, id: RootId) -> Result<()> {
    cell.deposit(STORE, &id, &key(id))
}

fn retire(cell: &QuorumCell, keep: RootId) -> Retirement {
    cell.retire(&keep, Durable::assumed_for_a_test()).unwrap()
}

fn stated(retired: &Retirement) -> (usize, usize) {
    let Retirement::Stated { statements, needed } = retired else { panic!("keyholders say it") };
    (statements.len(), *needed)
}

/// A backup was opened with the cell of the live store while an erase ran there: it took the new
/// root key, which it did not know, for one that was given up, and had every keyholder destroy it.
/// Store and backup were lost.
#[test]
fn a_root_key_that_was_only_seen_is_never_given_up() {
    let place = Place::new(3, 2, 0);
    let live = place.made();
    deposit(&live, id(2, 2)).unwrap();
    let look = place.cell(Some(STORE));
    assert_eq!(look.load().unwrap().keys.len(), 2);
    retire(&look, id(1, 1));
    assert_eq!(place.epochs(), vec![vec![1, 2]; 3], "the other engine's key is there");
    assert!(retire(&live, id(2, 2)).is_final());
    assert_eq!(place.epochs(), vec![vec![2]; 3]);
    // What an engine deposited itself, and failed with, it does give up.
    deposit(&live, id(3, 3)).unwrap();
    retire(&live, id(2, 2));
    assert_eq!(place.epochs(), vec![vec![2]; 3]);
}

/// A process that knows nothing of an earlier try deals the same key by another polynomial: those
/// that hold a share of the first said that they took one of the second.
#[test]
fn shares_of_two_polynomials_of_one_key_are_not_dealt() {
    let place = Place::new(5, 3, 1);
    place.away(&[3, 4]);
    let first = place.cell(None);
    assert_eq!(error_kind(deposit(&first, id(1, 1))), ErrorKind::Io);
    for away in [&[2][..], &[]] {
        place.away(away);
        let e = deposit(&place.cell(None), id(1, 1)).unwrap_err();
        assert!(e.to_string().contains("another share of the root key"), "{e}");
    }
    let keys = place.cell(Some(STORE)).load().unwrap().keys;
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [id(1, 1)]);
}

#[test]
fn a_claim_needs_most_keyholders_and_the_others_learn_it_with_the_next_request() {
    let place = Place::new(5, 2, 1);
    let cell = place.made();
    place.away(&[0, 1, 2]);
    assert_eq!(
        error_kind(cell.claim(STORE, &owner(1, 9), 40)),
        ErrorKind::Io,
        "two of five are not most, though they have the key"
    );
    place.away(&[0, 1]);
    cell.claim(STORE, &owner(1, 9), 41).unwrap();
    place.away(&[]);
    assert_eq!(*place.gates[0].owner.lock().unwrap(), None);
    deposit(&cell, id(2, 2)).unwrap();
    for gate in &place.gates {
        assert_eq!(*gate.owner.lock().unwrap(), Some(owner(1, 9)));
    }
    let contents = place.cell(Some(STORE)).load().unwrap();
    assert_eq!((contents.owner, contents.mark), (Some(owner(1, 9)), 41));
    // One that lies about the mark moves nothing.
    place.gates[0].mark.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(place.cell(Some(STORE)).load().unwrap().mark, 41);
}

#[test]
fn an_engine_that_another_took_the_store_from_steps_down() {
    let place = Place::new(5, 3, 1);
    let cell = place.made();
    cell.claim(STORE, &owner(1, 9), 1).unwrap();
    let fence = |n: usize| {
        place
            .gates
            .iter()
            .enumerate()
            .for_each(|(at, gate)| gate.fenced.store(at < n, Ordering::SeqCst))
    };
    // One may lie.
    fence(1);
    deposit(&cell, id(2, 2)).unwrap();
    assert!(retire(&cell, id(2, 2)).is_final());
    fence(2);
    assert_eq!(error_kind(deposit(&cell, id(3, 3))), ErrorKind::Fenced);
    assert_eq!(
        error_kind(cell.retire(&id(2, 2), Durable::assumed_for_a_test())),
        ErrorKind::Fenced
    );
    fence(3);
    assert_eq!(error_kind(cell.claim(STORE, &owner(2, 8), 1)), ErrorKind::Fenced);
    // A handle that claimed nothing destroys nothing where somebody did.
    fence(0);
    let another = place.cell(Some(STORE));
    assert_eq!(
        error_kind(another.retire(&id(2, 2), Durable::assumed_for_a_test())),
        ErrorKind::Fenced
    );
}

/// With exactly three of five there, an erase had those three destroy their shares of the old key:
/// one disk that broke then cost everything, though four keyholders were well and three are needed.
#[test]
fn nothing_is_destroyed_before_one_more_than_is_needed_holds_the_next_key() {
    let place = Place::new(5, 3, 1);
    let cell = place.made();
    place.away(&[3, 4]);
    // A head that was published under it would open with it alone.
    let e = deposit(&cell, id(2, 1)).unwrap_err();
    assert!(e.kind() == ErrorKind::Io && e.to_string().contains("nothing was changed"), "{e}");
    place.away(&[4]);
    deposit(&cell, id(2, 2)).unwrap();
    // Of the attempts, and not of something that they missed.
    let standing = |live: RootId| place.cell(Some(STORE)).standing(&live).remove(0).standing;
    assert_eq!((standing(id(1, 1)), standing(id(2, 2))), (Standing::Ahead, Standing::Behind));
    place.away(&[3, 4]);
    let retired = retire(&cell, id(2, 2));
    assert_eq!((stated(&retired), retired.is_final()), ((0, 4), false));
    assert_eq!(place.epochs()[..3], vec![vec![1, 2]; 3], "the old key is as safe as it was");
    let restarted = place.cell(Some(STORE));
    assert!(!retire(&restarted, id(2, 2)).is_final());
    assert_eq!(place.epochs()[0], vec![1, 2]);
    // The third breaks down, the others are back: the old key can be recovered.
    place.away(&[2]);
    let keys = place.cell(Some(STORE)).load().unwrap().keys;
    assert!(keys.iter().any(|key| key.id == id(1, 1)));
    // It is well again: with it the one that was away is dealt its share, and the erase becomes
    // final.
    place.away(&[]);
    let retired = retire(&restarted, id(2, 2));
    assert_eq!(stated(&retired), (5, 4));
    assert_eq!(place.epochs(), vec![vec![2]; 5]);
}

#[test]
fn a_keyholder_that_comes_back_is_dealt_its_share_of_the_running_key() {
    let place = Place::new(5, 3, 1);
    let cell = place.made();
    place.away(&[1]);
    deposit(&cell, id(2, 2)).unwrap();
    assert!(retire(&cell, id(2, 2)).is_final());
    place.away(&[]);
    // A look leaves it as it is.
    let look = place.cell(Some(STORE));
    place.gates.iter().for_each(|gate| gate.asked.lock().unwrap().clear());
    look.load().unwrap();
    assert_eq!(look.standing(&id(2, 2))[1].standing, Standing::Behind);
    assert!(
        place.gates.iter().all(|gate| gate
            .asked
            .lock()
            .unwrap()
            .iter()
            .all(|verb| *verb == "load"))
    );
    // A process that knows nothing of how the key was dealt has it all the same, from the shares of
    // three.
    let owner = place.cell(Some(STORE));
    assert!(retire(&owner, id(2, 2)).is_final());
    assert_eq!(place.epochs(), vec![vec![2]; 5]);
    assert!(look.standing(&id(2, 2)).iter().all(|alive| alive.standing == Standing::Whole));
    let shares: Vec<Share> = [0, 1, 4]
        .iter()
        .flat_map(|n: &usize| place.gates[*n].inner.load(STORE).unwrap().shares)
        .collect();
    let found = keyfall::testing::key_of(&shares.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(found.bytes(), key(id(2, 2)).bytes());
    // While the engine runs, what is due has it dealt too, and no epoch begins for that.
    place.away(&[4]);
    deposit(&owner, id(3, 3)).unwrap();
    retire(&owner, id(3, 3));
    place.away(&[]);
    assert!(!owner.wants_epoch());
    assert_eq!(place.gates[4].epochs(), vec![2, 3]);
}

#[test]
fn a_keyholder_that_ended_an_epoch_still_takes_its_share_of_the_key_that_was_kept() {
    let place = Place::new(3, 2, 0);
    place.made();
    let (gate, nobody) = (&place.gates[2], Owner { instance: [0; 16], claim: 0, token: [0; 16] });
    let mut share = gate.inner.load(STORE).unwrap().shares.remove(0);
    let dir = tempfile::tempdir().unwrap();
    let env: SharedEnv = Arc::new(System);
    let fresh = keyfall::testing::holder(&dir.path().join("fresh"), 9, &env);
    fresh.retire(STORE, &nobody, &id(1, 1), &[], 0).unwrap();
    fresh.deposit(STORE, &nobody, &share).unwrap();
    assert_eq!(fresh.load(STORE).unwrap().shares.len(), 1);
    share.id = id(1, 2);
    assert_eq!(error_kind(fresh.deposit(STORE, &nobody, &share)), ErrorKind::Refused);
}

#[test]
fn of_any_number_that_lie_each_is_named_and_none_does_harm() {
    for (n, threshold, liars) in [(20, 10, 1), (32, 16, 15), (32, 24, 8), (5, 3, 2)] {
        let place = Place::new(n, threshold, liars);
        let cell = place.made();
        // The first: where sets are tried in order, it is in most of those that come first.
        for gate in &place.gates[..usize::from(liars)] {
            gate.lies.store(true, Ordering::SeqCst);
        }
        let began = Instant::now();
        let keys = place.cell(Some(STORE)).load().unwrap().keys;
        assert_eq!(keys.len(), 1, "{threshold} of {n}");
        assert_eq!(keys[0].key.bytes(), key(id(1, 1)).bytes());
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{threshold} of {n}: {:?}",
            began.elapsed()
        );
        let standing: Vec<Standing> =
            cell.standing(&id(1, 1)).into_iter().map(|alive| alive.standing).collect();
        let named = |n: usize| standing[n] == Standing::Lies;
        assert!(
            (0..n).all(|n| named(n) == (n < usize::from(liars))),
            "{threshold} of {n}: {standing:?}"
        );
        // Where too few are left the message names the liar.
        let left = n - usize::from(threshold) + 1;
        for gate in &place.gates[..left] {
            gate.lies.store(true, Ordering::SeqCst);
        }
        let e = place.cell(Some(STORE)).load().unwrap_err().to_string();
        assert!((0..left).all(|n| e.contains(&format!("kh{n} has a wrong share"))), "{e}");
    }
}

#[test]
fn keyholders_are_told_the_commit_that_is_durable() {
    let place = Place::new(3, 2, 0);
    let cell = place.made();
    assert_eq!(place.cell(Some(STORE)).load().unwrap().mark, 0);
    cell.claim(STORE, &owner(1, 1), 77).unwrap();
    assert_eq!(place.cell(Some(STORE)).load().unwrap().mark, 77);
}

/// A keyholder that is away, takes no new claim, or tells of an owner that it made up.
struct Teller {
    inner: Holder,
    away: AtomicBool,
    deaf: AtomicBool,
    tells: Mutex<Option<Owner>>,
}

impl Teller {
    fn there(&self) -> Result<&Holder> {
        if self.away.load(Ordering::SeqCst) {
            Err(Error::new(ErrorKind::Io, "it is away"))
        } else {
            Ok(&self.inner)
        }
    }
}

impl Keyholder for Teller {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn key(&self) -> [u8; 32] {
        self.inner.key()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        let known = self.inner.load(store)?.owner.map(|owner| owner.token);
        if self.deaf.load(Ordering::SeqCst) && known != Some(owner.token) {
            return Err(Error::new(ErrorKind::Io, "the power failed before"));
        }
        self.there()?.claim(store, owner, mark)
    }
    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> Result<()> {
        self.there()?.deposit(store, owner, share)
    }
    fn load(&self, store: StoreId) -> Result<Held> {
        let mut held = self.there()?.load(store)?;
        held.owner = self.tells.lock().unwrap().or(held.owner);
        Ok(held)
    }
    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given: &[RootId],
        mark: u64,
    ) -> Result<Statement> {
        self.there()?.retire(store, owner, keep, given, mark)
    }
}

/// A store whose root key is spread over such.
struct Spread {
    _dir: tempfile::TempDir,
    tellers: Vec<Arc<Teller>>,
    rule: (u8, u8),
    store: Arc<MemoryStore>,
    id: Option<StoreId>,
}

impl Spread {
    fn new(n: usize, threshold: u8, liars: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let teller = |n: usize| {
            let env: SharedEnv = Arc::new(System);
            let inner =
                keyfall::testing::holder(&dir.path().join(format!("kh{n}")), n as u8 + 1, &env);
            let (away, deaf) = (AtomicBool::new(false), AtomicBool::new(false));
            Arc::new(Teller { inner, away, deaf, tells: Mutex::default() })
        };
        let tellers = (0..n).map(teller).collect();
        let store = Arc::new(MemoryStore::new());
        let mut spread = Spread { _dir: dir, tellers, rule: (threshold, liars), store, id: None };
        let engine =
            Engine::init(spread.store.clone(), spread.cell(), options(OpenAs::Owner)).unwrap();
        spread.id = Some(engine.id());
        spread
    }

    fn cell(&self) -> Arc<dyn RootCell> {
        let members =
            self.tellers.iter().map(|teller| Arc::clone(teller) as Arc<dyn Keyholder>).collect();
        Arc::new(QuorumCell::in_process(members, self.rule, self.id, Arc::new(System)).unwrap())
    }

    fn open(&self, open_as: OpenAs) -> Result<Engine> {
        Engine::open(self.store.clone(), self.cell(), options(open_as))
    }

    /// Opens it, and puts and erases as its owner.
    fn works(&self, open_as: OpenAs) {
        let engine = self.open(open_as).unwrap();
        assert_eq!(engine.read_only(), None);
        engine.put(Put::new(user("ada"), Class::audio()), &b"hers"[..]).unwrap();
        assert!(
            engine.erase(Scope::class(user("ada"), Class::audio())).unwrap().finality.is_final()
        );
    }

    fn away(&self, away: &[usize]) {
        self.tellers
            .iter()
            .enumerate()
            .for_each(|(n, one)| one.away.store(away.contains(&n), Ordering::SeqCst));
    }

    /// An opening whose claim dies when the store has it, and of the keyholders only these.
    fn dies_claiming(&self, open_as: OpenAs, took: &[usize]) {
        let deaf = |deaf: bool| {
            let others = self.tellers.iter().enumerate().filter(|(n, _)| !took.contains(n));
            others.for_each(|(_, one)| one.deaf.store(deaf, Ordering::SeqCst));
        };
        deaf(true);
        assert!(self.open(open_as).is_err());
        deaf(false);
    }

    /// Whom a keyholder knows as the owner, whatever it tells.
    fn owner(&self, n: usize) -> Owner {
        self.tellers[n].inner.load(self.id.unwrap()).unwrap().owner.unwrap()
    }

    /// A claim that died when this one alone had taken it.
    fn orphan(&self, n: usize, claim: u64) {
        let orphan = Owner { instance: [8; 16], claim, token: [8; 16] };
        self.tellers[n].inner.claim(self.id.unwrap(), &orphan, 0).unwrap();
    }
}

fn options(open_as: OpenAs) -> Options {
    Options::new().keeper(Keeper::ByHand).geometry(SMALL_PAGES).open_as(open_as)
}

/// One keyholder of five that told of a claim with the highest number had every other one taught
/// that claim, and ended the store for good.
#[test]
fn one_that_lies_about_the_owner_moves_nothing_and_is_believed_by_nobody() {
    let spread = Spread::new(5, 3, 1);
    for claim in [u64::MAX, u64::MAX - 1, 1 << 33, 1 << 20, 3] {
        *spread.tellers[2].tells.lock().unwrap() =
            Some(Owner { instance: [9; 16], claim, token: [9; 16] });
        spread.works(OpenAs::Owner);
        spread.works(OpenAs::TakeOver);
        // While another is away nobody can tell whether it lies: it is safe to wait, and possible
        // to go on.
        spread.away(&[4]);
        let engine = spread.open(OpenAs::Owner).unwrap();
        if let Some(why) = engine.read_only() {
            assert!(why.contains("start the others first"), "{why}");
        }
        drop(engine);
        spread.works(OpenAs::TakeOver);
        spread.away(&[]);
        spread.works(OpenAs::Owner);
        for n in 0..5 {
            let owner = spread.owner(n);
            assert!(owner.instance != [9; 16] && owner.claim < 1 << 40, "{claim}: {owner:?}");
        }
    }
}

/// A claim that died after one of three keyholders had taken it left a store that nobody could own
/// any more.
#[test]
fn a_claim_that_died_in_the_middle_locks_nobody_out() {
    for (n, threshold, liars) in [(3, 2, 0), (5, 3, 1)] {
        for ahead in [1, 7] {
            for open_as in [OpenAs::Owner, OpenAs::TakeOver] {
                let spread = Spread::new(n, threshold, liars);
                spread.orphan(0, spread.owner(0).claim + ahead);
                // The next claim does not hear of it, and comes to the same number or a lower one.
                spread.away(&[0]);
                drop(spread.open(OpenAs::Owner).unwrap());
                spread.away(&[]);
                spread.works(open_as);
                spread.works(OpenAs::Owner);
                assert_ne!(spread.owner(0).instance, [8; 16], "it knows the owner by now");
            }
        }
    }
}

/// The same where the claim was the place's own: those that had taken it were silent when it was
/// opened again, and the next claim got the same number.
#[test]
fn a_place_is_not_locked_out_by_its_own_claim_that_died_in_the_middle() {
    for (n, threshold, liars, took) in [(3, 2, 0, &[0][..]), (5, 3, 1, &[0, 1]), (5, 3, 1, &[2])] {
        for open_as in [OpenAs::Owner, OpenAs::TakeOver] {
            let spread = Spread::new(n, threshold, liars);
            spread.dies_claiming(open_as, took);
            let tokens: Vec<_> = (0..n).map(|n| spread.owner(n).token).collect();
            assert!((0..n).all(|n| (tokens[n] == tokens[took[0]]) == took.contains(&n)), "it died");
            spread.away(took);
            drop(spread.open(open_as).unwrap());
            spread.away(&[]);
            spread.works(OpenAs::Owner);
            // Also where it dies again, and others are silent.
            spread.dies_claiming(open_as, took);
            spread.dies_claiming(open_as, &[n - 1]);
            spread.away(&[n - 1]);
            drop(spread.open(open_as).unwrap());
            spread.away(took);
            drop(spread.open(OpenAs::Owner).unwrap());
            spread.away(&[]);
            spread.works(OpenAs::Owner);
        }
    }
}

/// Of two claims with one number one may be the one that counts: while that cannot be told it is no
/// place's.
#[test]
fn where_two_claims_have_one_number_nobody_owns_the_store_until_all_answer() {
    let spread = Spread::new(3, 2, 0);
    spread.away(&[0]);
    drop(spread.open(OpenAs::Owner).unwrap());
    let number = spread.owner(1).claim;
    spread.orphan(0, number);
    spread.away(&[2]);
    assert!(spread.open(OpenAs::Owner).unwrap().read_only().is_some());
    spread.away(&[]);
    spread.works(OpenAs::Owner);
}

#[test]
fn where_no_thread_can_be_started_the_program_says_so_at_once() {
    let root = std::fs::metadata("/root/.").is_ok_and(|_| std::fs::File::open("/root/.").is_ok());
    let setpriv = std::process::Command::new("setpriv")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success());
    if !root || !setpriv {
        println!("skipped: it takes root, and setpriv");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    // Another user must get at the program and at the store.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = dir.path().join("keyfall");
    std::fs::copy(Path::new(env!("CARGO_BIN_EXE_keyfall")), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = |limit: &str| {
        let script = format!("cd {} && {limit} exec ./keyfall $0 \"$@\"", dir.path().display());
        move |args: &[&str]| {
            let mut command = std::process::Command::new("setpriv");
            command.args([
                "--reuid",
                "54321",
                "--regid",
                "54321",
                "--clear-groups",
                "timeout",
                "20",
                "bash",
                "-c",
                &script,
            ]);
            command.args(args).output().unwrap()
        }
    };
    let made = run("")(&["init", "s", "--accept-remnants"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let began = Instant::now();
    // The limit is of the user: this process is its second.
    let out = run("ulimit -u 1;")(&["create", "s", "--user", "ada"]);
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("no thread can be started"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // Nothing is left locked.
    assert!(run("")(&["list", "s"]).status.success());
}

/// Who is told of a root key, and then claims the cell, need not ask again who holds it. One that
/// takes the store over must: the place that it ends may have had the key destroyed in between.
#[test]
fn who_holds_the_key_is_asked_once_where_nobody_else_could_destroy_it() {
    let place = Place::new(3, 2, 0);
    place.made();
    let loads = |prepare: &dyn Fn(&QuorumCell)| {
        let cell = place.cell(Some(STORE));
        prepare(&cell);
        place.gates.iter().for_each(|gate| gate.asked.lock().unwrap().clear());
        assert!(retire(&cell, id(1, 1)).is_final());
        place.gates.iter().any(|gate| gate.asked.lock().unwrap().contains(&"load"))
    };
    let key = id(1, 1);
    let told = |cell: &QuorumCell| assert_eq!(cell.load_for(&key).unwrap().keys.len(), 1);
    let claims = |cell: &QuorumCell, n: u8| cell.claim(STORE, &owner(n.into(), n), 0).unwrap();
    assert!(!loads(&|cell| {
        told(cell);
        claims(cell, 2);
    }));
    assert!(loads(&|cell| claims(cell, 3)), "nobody was asked before");
    assert!(loads(&|cell| {
        claims(cell, 4);
        told(cell);
    }));
    assert!(loads(&|cell| {
        cell.take_over();
        told(cell);
        claims(cell, 5);
    }));
}
