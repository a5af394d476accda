//! What is pending, destroyed or discarded, and by whose word. SPEC §14, §15.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use keyfall::cell::{Contents, Durable, MemoryCell, RootCell};
use keyfall::certificate::{Certificate, Grade, Retired};
use keyfall::crypto::Key;
use keyfall::engine::Keeper;
use keyfall::log::Checkpoint;
use keyfall::promise::{
    Awaited, Dealt, Finality, Level, Promise, Quorum, Retirement, RootId, Statement,
};
use keyfall::store::StoreId;
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::Seeded;
use keyfall::{Engine, ErrorKind, Options, Result, Scope, Timestamp};

use super::{asked, certified, put, trust, world};
use crate::support::{error_kind, user};

/// A cell whose keyholders say what a test lets them.
struct Spread {
    cell: MemoryCell,
    store: Mutex<Option<StoreId>>,
    keys: Vec<SigningKey>,
    /// Which keyholders are dealt shares, and which answer.
    dealt: Mutex<Vec<usize>>,
    here: Mutex<Vec<usize>>,
    unfinished: Mutex<Vec<Dealt>>,
}

impl Spread {
    /// Keyholders 0 to 4 of six have shares, three of which give the key; one may lie.
    fn new() -> Self {
        Spread {
            cell: MemoryCell::new(),
            store: Mutex::default(),
            keys: (0..6).map(|n| SigningKey::from_bytes(&[n + 1; 32])).collect(),
            dealt: Mutex::new((0..5).collect()),
            here: Mutex::new((0..5).collect()),
            unfinished: Mutex::default(),
        }
    }

    fn quorum(&self, of: &[usize]) -> Quorum {
        let keyholders = of.iter().map(|n| self.keys[*n].verifying_key().to_bytes()).collect();
        Quorum { threshold: 3, liars: 1, keyholders }
    }

    fn answer(&self, here: &[usize]) {
        *self.here.lock().unwrap() = here.to_vec();
    }

    fn engine(self: &Arc<Self>) -> Engine {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let options = Options::new().env(Arc::new(Seeded::new(3))).keeper(Keeper::ByHand);
        Engine::init(store, Arc::clone(self) as Arc<dyn RootCell>, options).unwrap()
    }
}

impl RootCell for Spread {
    fn describe(&self) -> Promise {
        let quorum = Some(self.quorum(&self.dealt.lock().unwrap()));
        Promise { kind: "quorum", level: Level::L3, quorum, ..self.cell.describe() }
    }
    fn unfinished(&self) -> Vec<Dealt> {
        self.unfinished.lock().unwrap().clone()
    }
    fn deposit(&self, store: StoreId, id: &RootId, key: &Key) -> Result<()> {
        *self.store.lock().unwrap() = Some(store);
        self.cell.deposit(store, id, key)
    }
    fn load(&self) -> Result<Contents> {
        self.cell.load()
    }
    fn retire(&self, keep: &RootId, proof: Durable) -> Result<Retirement> {
        self.cell.retire(keep, proof)?;
        let store = self.store.lock().unwrap().unwrap();
        let sign = |n: &usize| {
            Statement::sign(store.0, *keep, Timestamp(1_800_000_000_000), &self.keys[*n])
        };
        let statements = self.here.lock().unwrap().iter().map(sign).collect();
        Ok(Retirement::Stated {
            statements,
            needed: self.quorum(&self.dealt.lock().unwrap()).needed(),
        })
    }
}

#[test]
fn a_pending_certificate_says_so_and_can_be_upgraded_when_it_is_final() {
    let world = world();
    let engine = world.engine();
    let waits = asked(Scope::user(user("ada"))).final_within(Duration::from_secs(3600));
    let pending = certified(engine, waits);
    let verified = pending.verify(&trust(engine)).unwrap();
    assert_eq!(verified.judged.grade, Grade::Pending);
    assert!(pending.to_string().contains("Grade: PENDING"), "{pending}");
    assert_eq!(pending.facts.outcome.retired, Retired::Waiting);
    let still = engine.certificates().upgrade(&pending, None).unwrap();
    assert_eq!(still.verify(&trust(engine)).unwrap().judged.grade, Grade::Pending);
    engine.erase(Scope::user(user("ben"))).unwrap();
    let done = engine.certificates().upgrade(&pending, None).unwrap();
    let text = done.to_string();
    let verified = text.parse::<Certificate>().unwrap().verify(&trust(engine)).unwrap();
    assert_eq!(verified.judged.grade, Grade::Limited, "{text}");
    assert_eq!(done.final_proof.as_ref().map(|p| p.index), Some(1));
    assert!(
        !verified.judged.reasons.iter().any(|reason| reason.contains("waits")),
        "{:?}",
        verified.judged.reasons
    );
    // What is final stays so.
    assert!(engine.certificates().upgrade(&done, None).unwrap().verify(&trust(engine)).is_ok());
    // A claim of finality without the leaf for it is refused.
    let mut facts = pending.facts.clone();
    facts.outcome.retired = Retired::Destroyed;
    assert_eq!(error_kind(facts.judge()), ErrorKind::Corrupt);
    let cut = Certificate { final_proof: None, ..done.clone() };
    assert_eq!(error_kind(cut.verify(&trust(engine))), ErrorKind::Corrupt);
}

#[test]
fn discarded_ciphertext_is_certified_when_it_is() {
    let world = world();
    let engine = world.engine();
    let certificate = certified(engine, asked(Scope::user(user("ada"))));
    assert!(certificate.to_string().contains("not discarded from the store yet"));
    let done = engine.discard(&mut |_| {}).unwrap();
    let upgraded = engine.certificates().upgrade(&certificate, Some(done)).unwrap();
    assert!(upgraded.facts.outcome.discarded);
    upgraded.verify(&trust(engine)).unwrap();
    // A discard that ran before says nothing of what fell later.
    let later = certified(engine, asked(Scope::user(user("ben"))));
    assert!(!engine.certificates().upgrade(&later, Some(done)).unwrap().facts.outcome.discarded);
}

/// An erase that found nothing left said that the root key was destroyed, and a checkpoint called
/// it so, while three of the four keyholders that were needed had signed.
#[test]
fn nothing_is_called_destroyed_before_enough_keyholders_have_signed() {
    let cell = Arc::new(Spread::new());
    let engine = cell.engine();
    ["ada", "ben"].iter().for_each(|name| put(&engine, name));
    let before = engine.log().checkpoint().unwrap();
    assert!(!Checkpoint::is_pending(&before));
    cell.answer(&[0, 1, 2]);
    let awaited = Finality::Pending { awaited: vec![Awaited::Keyholders { stated: 3, needed: 4 }] };
    let done = engine.erase(asked(Scope::user(user("ada")))).unwrap();
    assert_eq!(done.finality, awaited);
    assert_eq!(done.finality.until(), None);
    let again = engine.erase(asked(Scope::user(user("ada")))).unwrap();
    assert_eq!((again.already, &again.finality, again.retirement), (true, &awaited, None));
    let status = engine.status().unwrap();
    assert_eq!((&status.finality, status.pending), (&awaited, None));
    assert!(status.unsettled.unwrap().contains("3 of 4 keyholders"));
    assert_eq!(engine.report(&user("ben")).unwrap().finality, awaited);
    // No checkpoint is signed but the one that says so, below the certificate that says so.
    for refused in [engine.log().checkpoint().map(drop), engine.log().proof(0).map(drop)] {
        let e = refused.unwrap_err();
        assert!(
            e.kind() == ErrorKind::Refused && e.to_string().contains("3 of 4 keyholders"),
            "{e}"
        );
    }
    let pending = done.certificate.unwrap().sign().unwrap();
    let still = engine.certificates().upgrade(&pending, None).unwrap();
    for certificate in [&pending, &still] {
        let verified = certificate.verify(&trust(&engine)).unwrap();
        assert_eq!((verified.judged.grade, verified.log_pending), (Grade::Pending, true));
        assert!(verified.words().iter().any(|word| word.contains("at least one was pending")));
        assert!(Checkpoint::is_pending(&certificate.proof.checkpoint));
    }
    // A window and missing keyholders are awaited at once.
    let window = engine
        .erase(asked(Scope::user(user("ben"))).final_within(Duration::from_secs(60)))
        .unwrap();
    assert!(
        matches!(window.finality.awaited(), [Awaited::Window(_), Awaited::Keyholders { .. }]),
        "{window:?}"
    );
    assert_eq!((window.finality.until(), window.retirement), (None, None));
    cell.answer(&[0, 1, 2, 4]);
    engine.rekey().unwrap();
    assert_eq!(engine.status().unwrap().finality, Finality::Final);
    assert_eq!(engine.erase(Scope::user(user("ada"))).unwrap().finality, Finality::Final);
    assert!(!Checkpoint::is_pending(&engine.log().checkpoint().unwrap()));
    for certificate in [pending, window.certificate.unwrap().sign().unwrap()] {
        let upgraded = engine.certificates().upgrade(&certificate, None).unwrap();
        let verified = upgraded.verify(&trust(&engine)).unwrap();
        assert_eq!((verified.judged.grade, verified.log_pending), (Grade::Final, false));
    }
}

/// The keyholders' statements were counted for the newest epoch alone: where one of them had been
/// replaced, an older key that reached the same record had too few.
#[test]
fn a_certificate_counts_statements_for_each_epoch_among_those_dealt_a_share() {
    let cell = Arc::new(Spread::new());
    let engine = cell.engine();
    ["ada", "ben", "cleo"].iter().for_each(|name| put(&engine, name));
    cell.answer(&[0, 1, 2]);
    let ada = certified(&engine, asked(Scope::user(user("ada"))));
    // Keyholder 0 is lost and replaced by 5; it and 4 have not stated about the first epoch.
    *cell.dealt.lock().unwrap() = vec![5, 1, 2, 3, 4];
    *cell.unfinished.lock().unwrap() =
        vec![Dealt { epoch: 1, quorum: cell.quorum(&[0, 1, 2, 3, 4]) }];
    cell.answer(&[5, 1, 2, 3]);
    let ben = certified(&engine, asked(Scope::user(user("ben"))));
    let judged = ben.verify(&trust(&engine)).unwrap().judged;
    assert_eq!(judged.grade, Grade::Pending, "{:?}", judged.reasons);
    assert!(
        judged
            .reasons
            .iter()
            .any(|reason| reason.contains("3 of the 4") && reason.contains("epoch 1,"))
    );
    assert!(
        !judged.reasons.iter().any(|reason| reason.contains("the old root key")),
        "{:?}",
        judged.reasons
    );
    // A keyholder that was dealt no share of the first epoch does not count for it.
    let ada = engine.certificates().upgrade(&ada, None).unwrap();
    assert_eq!(ada.facts.judge().unwrap().grade, Grade::Final, "0 had stated before it was lost");
    // The one that was away comes back, and is asked.
    cell.answer(&[5, 1, 2, 3, 4]);
    let done = engine.certificates().upgrade(&ben, None).unwrap();
    assert_eq!(done.verify(&trust(&engine)).unwrap().judged.grade, Grade::Final);
    // A statement that was quoted stays, also where its keyholder is asked no more.
    cell.answer(&[5, 1]);
    let later = engine.certificates().upgrade(&done, None).unwrap();
    assert_eq!(later.facts.judge().unwrap().grade, Grade::Final);
    // Nothing is awaited of older epochs: nothing is said of them.
    cell.unfinished.lock().unwrap().clear();
    cell.answer(&[5, 1, 2, 3]);
    let cleo = certified(&engine, asked(Scope::user(user("cleo"))));
    assert_eq!(cleo.facts.judge().unwrap().grade, Grade::Final);
    assert!(cleo.facts.body.cell.earlier.is_empty());
    // What the cell cannot be quoted with is no reason to lose a certificate.
    let mut facts = cleo.facts.clone();
    facts.outcome.retired = Retired::Waiting;
    assert_eq!(facts.judge().unwrap().grade, Grade::Pending);
}

#[test]
fn a_copy_that_a_discard_passed_over_is_named() {
    let world = world();
    let engine = world.engine();
    let certificate = certified(engine, asked(Scope::user(user("ada"))));
    let done = engine.discard(&mut |_| {}).unwrap();
    let mut partly = done;
    partly.copies_skipped = 2;
    let skipped = engine.certificates().upgrade(&certificate, Some(partly)).unwrap();
    skipped.verify(&trust(engine)).unwrap();
    assert!(!skipped.facts.outcome.discarded);
    assert!(
        skipped.to_string().contains("in part")
            && skipped.to_string().contains("2 copies were passed over"),
        "{skipped}"
    );
    let whole = engine.certificates().upgrade(&skipped, Some(done)).unwrap();
    assert!(whole.to_string().contains("  Ciphertext: discarded from the store\n"), "{whole}");
    // What somebody else wrote into it is not signed.
    let mut forged = certificate.clone();
    forged.facts.outcome.discarded = true;
    assert_eq!(error_kind(engine.certificates().upgrade(&forged, None)), ErrorKind::Corrupt);
}
