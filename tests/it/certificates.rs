//! Certificates: what a good one shows, and that no other is taken.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use keyfall::cell::{
    Awaited, Contents, Dealt, Durable, Finality, Level, MemoryCell, Promise, Quorum, Retirement, RootCell, RootId,
    Statement,
};
use keyfall::certificate::{
    Certificate, Draft, Facts, Grade, Leaf, Retired, SLOTS_MIN, Trust, key_commitment, same_history, slots,
};
use keyfall::crypto::Key;
use keyfall::engine::{Keeper, Request};
use keyfall::log::{Checkpoint, Hash, LogProof, Note, Signer, VerifierKey};
use keyfall::store::StoreId;
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::Seeded;
use keyfall::{Class, Engine, Erase, Error, ErrorKind, InteractionId, Options, Put, Result, Scope, Timestamp, When};

use crate::support::{SMALL, World, kind, user};

fn asked(scope: Scope) -> Erase {
    Erase::new(scope).certified(Request { authority: "ada herself".into(), ground: "GDPR, article 17".into() })
}

fn certified(engine: &Engine, erase: Erase) -> Certificate {
    engine.erase(erase).unwrap().certificate.expect("it was asked for").sign().unwrap()
}

fn trust(engine: &Engine) -> Trust {
    Trust::in_log(engine.log().key().unwrap())
}

fn world() -> World {
    let world = World::new(1, SMALL);
    for name in ["ada", "ben"] {
        world.put(name, Class::audio(), b"wake up");
        world.put(name, Class::audio(), b"what time is it");
        world.put(name, Class::action(), b"an alarm");
    }
    world
}

/// Whether these bytes are a certificate that holds.
fn holds(bytes: &[u8], trust: &Trust) -> bool {
    let text = std::str::from_utf8(bytes);
    text.is_ok_and(|text| text.parse::<Certificate>().is_ok_and(|c| c.verify(trust).is_ok()))
}

#[test]
fn a_certificate_says_what_fell_and_verifies_from_its_text_alone() {
    let world = world();
    let engine = world.engine();
    engine.get_as(&world.put("ada", Class::transcript(), b"it is late"), "analyst", "to count words").unwrap();
    let certificate = certified(engine, asked(Scope::user(user("ada"))));
    let key = engine.log().key().unwrap().to_string();
    let text = certificate.to_string();
    let again: Certificate = text.parse().unwrap();
    assert_eq!(again, certificate);
    let verified = again.verify(&Trust::in_log(key.parse().unwrap())).unwrap();
    // A memory cell, and an opening that was written down: both limit it, and are named.
    assert_eq!(verified.judged.grade, Grade::Limited);
    assert!(verified.judged.reasons.iter().any(|r| r.contains("opened 1 times")), "{:?}", verified.judged.reasons);
    let body = &certificate.facts.body;
    assert_eq!(body.user.as_deref(), Some("ada"));
    let counts: Vec<(&str, u64)> = body.records.as_ref().unwrap().iter().map(|(c, n)| (c.as_str(), *n)).collect();
    assert_eq!(counts, [("action", 1), ("audio", 2), ("transcript", 1)]);
    assert_eq!((body.authority.as_str(), body.ground.as_str()), ("ada herself", "GDPR, article 17"));
    for told in
        ["Grade: LIMITED", "User: \"ada\"", "2 audio", "Level L0", "GDPR, article 17", "What this does not show"]
    {
        assert!(text.contains(told), "{told} in\n{text}");
    }
}

/// The certificate that the second reader and the fuzzers know; `KEYFALL_BLESS=1` writes it.
#[test]
fn the_certificate_of_the_second_reader_is_the_one_that_is_made() {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/good");
    let world = world();
    let certificate = certified(world.engine(), asked(Scope::class(user("ada"), Class::audio())));
    let text = format!("{certificate}");
    if std::env::var_os("KEYFALL_BLESS").is_some() {
        std::fs::write(format!("{place}.erased"), &text).unwrap();
        std::fs::write(format!("{place}.key"), format!("{}\n", world.engine().log().key().unwrap())).unwrap();
    }
    assert_eq!(std::fs::read_to_string(format!("{place}.erased")).unwrap(), text);
}

#[test]
fn an_erase_of_each_scope_is_certified_and_one_that_does_nothing_is_not() {
    let world = world();
    let engine = world.engine();
    let interaction = InteractionId::from_parts(Timestamp(1_700_000_000_000), [3; 10]);
    let id = engine.put(Put::new(user("ben"), Class::audio()).interaction(interaction), &b"x"[..]).unwrap();
    let until = Some(Timestamp(1_500_000_000_000));
    let ben = |class: Option<Class>, when| Scope::User { user: user("ben"), class, when };
    for (erase, scope) in [
        (asked(Scope::Record(id)), "record "),
        (
            asked(ben(None, When::Between { from: None, until })),
            "everything of interactions that began before 2017-07-14",
        ),
        (asked(ben(Some(Class::audio()), When::Ever)), "class audio"),
        (asked(ben(None, When::Ever)).keep(Class::action(), "the alarm goes on ringing"), "everything"),
        (asked(Scope::user(user("ada"))), "everything"),
    ] {
        let certificate = certified(engine, erase);
        let verified = certificate.verify(&trust(engine)).unwrap();
        assert!(certificate.facts.body.scope.starts_with(scope), "{}", certificate.facts.body.scope);
        assert_eq!(verified.checkpoint.size, certificate.proof.index + 1);
    }
    let again = engine.erase(asked(Scope::user(user("ada")))).unwrap();
    assert!(again.already && again.certificate.is_none());
    assert_eq!(kind(engine.erase_at(asked(Scope::user(user("ben"))), Timestamp(u64::MAX >> 20))), ErrorKind::Invalid);
}

#[test]
fn many_erases_of_one_commit_share_a_leaf_and_each_has_its_own_certificate() {
    let world = World::new(2, SMALL);
    let names: Vec<String> = (0..21).map(|n| format!("user {n}")).collect();
    for name in &names {
        world.put(name, Class::audio(), b"x");
    }
    let engine = world.engine();
    let erases: Vec<Erase> = names.iter().map(|name| asked(Scope::user(user(name)))).collect();
    let certificates: Vec<Certificate> =
        engine.erase_all(&erases).into_iter().map(|done| done.unwrap().certificate.unwrap().sign().unwrap()).collect();
    for (name, certificate) in names.iter().zip(&certificates) {
        certificate.verify(&trust(engine)).unwrap();
        assert_eq!(certificate.facts.body.user.as_deref(), Some(name.as_str()));
        // 21 erases among 32 slots: how many there were is not told.
        assert_eq!((certificate.facts.slot.of, certificate.proof.index), (32, 0));
    }
    assert_eq!(engine.log().key().unwrap(), trust(engine).log);
    let mut leaves = Vec::new();
    engine
        .log()
        .leaves(0, &mut |_, leaf| {
            leaves.push(leaf.to_vec());
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(leaves.len(), 1);
    let mut slots: Vec<u64> = certificates.iter().map(|c| c.facts.slot.index).collect();
    assert!(!slots.is_sorted(), "their order in the leaf is not that of the call");
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), 21);
}

#[test]
fn the_log_names_nobody_and_two_erases_of_one_user_do_not_look_alike() {
    let world = world();
    let engine = world.engine();
    certified(engine, asked(Scope::class(user("ada"), Class::audio())));
    certified(engine, asked(Scope::class(user("ada"), Class::action())));
    certified(engine, asked(Scope::user(user("ada"))));
    let mut leaves: Vec<Leaf> = Vec::new();
    engine
        .log()
        .leaves(0, &mut |_, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            for told in ["ada", "audio", "action", "GDPR", &engine.id().to_string()] {
                // As a word: three letters stand somewhere in random bytes.
                let named = text.split(|c: char| !c.is_alphanumeric()).any(|word| word == told);
                assert!(!named, "{told} in {text}");
            }
            leaves.push(text.parse()?);
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(leaves.len(), 3);
    assert!(leaves.iter().all(|leaf| leaf.time.ends_with(":00Z")), "time is told to the minute");
    for pair in leaves.windows(2) {
        assert_ne!(pair[0].erases, pair[1].erases);
        assert_eq!(pair[0].slots, pair[1].slots);
    }
}

/// Every leaf of a JSON value, changed.
fn changes(value: &serde_json::Value) -> Vec<serde_json::Value> {
    use serde_json::Value;
    match value {
        Value::Null => vec![Value::from("something"), Value::from(7)],
        Value::Bool(b) => vec![Value::from(!b)],
        Value::Number(n) => vec![Value::from(n.as_u64().unwrap() + 1)],
        Value::String(s) => {
            vec![Value::from(format!("{s}x")), Value::from(s.chars().rev().collect::<String>()), Value::Null]
        }
        Value::Array(items) => {
            let mut all: Vec<Value> = items
                .iter()
                .enumerate()
                .flat_map(|(i, item)| {
                    changes(item).into_iter().map(move |other| {
                        let mut items = items.clone();
                        items[i] = other;
                        Value::Array(items)
                    })
                })
                .collect();
            all.push(Value::Array(items.iter().skip(1).cloned().collect()));
            all
        }
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| {
                changes(field).into_iter().map(move |other| {
                    let mut fields = fields.clone();
                    fields[name] = other;
                    Value::Object(fields)
                })
            })
            .collect(),
    }
}

#[test]
fn any_field_changed_is_refused() {
    let world = world();
    let engine = world.engine();
    let certificate = certified(engine, asked(Scope::class(user("ada"), Class::audio())));
    let trust = trust(engine);
    let facts = serde_json::to_value(&certificate.facts).unwrap();
    let text = certificate.to_string();
    let machine = serde_json::to_string_pretty(&certificate.facts).unwrap();
    assert!(text.contains(&machine));
    let (mut refused, mut parsed) = (0, 0);
    for other in changes(&facts).into_iter().filter(|other| *other != facts) {
        refused += 1;
        let Ok(other) = serde_json::from_value::<Facts>(other) else {
            continue;
        };
        parsed += 1;
        // With the words as they were; and with words that fit, by somebody else's hand.
        let forged = text.replace(&machine, &serde_json::to_string_pretty(&other).unwrap());
        assert!(forged.parse::<Certificate>().and_then(|c| c.verify(&trust)).is_err(), "{other:?}");
        let signer = Signer::ed25519(trust.log.name(), &[7; 32]).unwrap();
        if let Ok(forged) = Certificate::issue(other, &signer, certificate.proof.clone(), None) {
            assert!(forged.verify(&trust).is_err());
        }
    }
    assert!(refused > 60 && parsed > 40, "{refused} {parsed}");
}

#[test]
fn every_byte_changed_and_every_cut_is_refused() {
    let world = world();
    let engine = world.engine();
    let certificate = certified(engine, asked(Scope::user(user("ada"))));
    let trust = trust(engine);
    let text = certificate.to_string();
    let holds = |bytes: &[u8]| holds(bytes, &trust);
    assert!(holds(text.as_bytes()));
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        assert!(!holds(&bytes[..at]), "cut at {at}");
        bytes[at] ^= 1;
        assert!(!holds(&bytes), "byte {at}: {:?}", &text[..at].lines().last());
    }
}

/// `KEYFALL_MUTATIONS=1000000` for more; the fuzz target `certificate` looks for cleverer ones.
#[test]
fn random_changes_are_refused() {
    let rounds = std::env::var("KEYFALL_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000_u64);
    let good = include_bytes!("../certificates/good.erased");
    let trust = Trust::in_log(include_str!("../certificates/good.key").parse().unwrap());
    let holds = |bytes: &[u8]| holds(bytes, &trust);
    assert!(holds(good));
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    for round in 0..rounds {
        let mut bytes = good.to_vec();
        for _ in 0..=next(3) {
            let (at, other) = (next(bytes.len()), next(bytes.len()));
            match next(5) {
                0 => bytes[at] = bytes[at].wrapping_add(1 + next(255) as u8),
                1 => bytes[at] ^= 1 << next(8),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, b' ' + next(95) as u8),
                // Digits and letters for others of their kind: what parses best.
                _ => bytes[at] = good[other % good.len()],
            }
        }
        assert!(bytes == good || !holds(&bytes), "round {round}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn another_leafs_proof_an_older_or_forked_checkpoint_and_a_wrong_key_are_refused() {
    let world = world();
    let engine = world.engine();
    let before = engine.log().checkpoint().unwrap();
    let first = certified(engine, asked(Scope::class(user("ada"), Class::audio())));
    let second = certified(engine, asked(Scope::user(user("ben"))));
    let trust_ = trust(engine);
    for certificate in [&first, &second] {
        certificate.verify(&trust_).unwrap();
    }
    let with = |proof: LogProof| Certificate { proof, ..first.clone() }.verify(&trust_).map(|_| ());
    assert_eq!(kind(with(second.proof.clone())), ErrorKind::Corrupt, "the proof of another leaf");
    assert_eq!(kind(with(engine.log().proof(1).unwrap())), ErrorKind::Corrupt, "of another leaf, in the newest log");
    with(engine.log().proof(0).unwrap()).unwrap();
    let older = LogProof { checkpoint: before, ..first.proof.clone() };
    assert_eq!(kind(with(older)), ErrorKind::Corrupt, "a checkpoint older than the leaf");
    // A fork: the same log's name and key, another leaf in its place.
    let log = Signer::ed25519(trust_.log.name(), &[9; 32]).unwrap();
    let forked = Checkpoint { origin: trust_.log.name().into(), size: 1, root: Hash::leaf(b"another history") };
    let fork = LogProof { index: 0, path: Vec::new(), checkpoint: forked.sign(&log).unwrap() };
    let mut in_fork = trust_.clone();
    in_fork.log = log.verifier();
    let forged = Certificate { proof: fork, ..first.clone() };
    assert_eq!(kind(forged.verify(&in_fork)), ErrorKind::Corrupt, "the leaf is not in the fork");
    assert_eq!(kind(first.verify(&in_fork)), ErrorKind::Absent, "a wrong key");
    assert_eq!(kind(forged.verify(&trust_)), ErrorKind::Absent, "a fork by somebody else");

    // Who kept a checkpoint finds the fork out even if the log itself signed it.
    let kept = Checkpoint::verified(&engine.log().checkpoint().unwrap(), &trust_.log).unwrap();
    let checkpoint = second.verify(&trust_).unwrap().checkpoint;
    same_history(&checkpoint, &kept, None).unwrap();
    let other = Checkpoint { root: Hash::leaf(b"what others are shown"), ..kept.clone() };
    assert_eq!(kind(same_history(&checkpoint, &other, None)), ErrorKind::Corrupt);
    let smaller = first.verify(&trust_).unwrap().checkpoint;
    assert_eq!(
        kind(same_history(&smaller, &kept, None)),
        ErrorKind::Invalid,
        "it says that the log's files are needed"
    );
}

#[test]
fn cosignatures_can_be_demanded() {
    let world = world();
    let engine = world.engine();
    let mut certificate = certified(engine, asked(Scope::user(user("ada"))));
    let witnesses: Vec<Signer> =
        (0..3).map(|n| Signer::witness(&format!("witness.example/{n}"), &[n; 32]).unwrap()).collect();
    let mut trust = trust(engine);
    trust.witnesses = witnesses.iter().map(Signer::verifier).collect();
    trust.quorum = 2;
    assert_eq!(kind(certificate.verify(&trust)), ErrorKind::Refused);
    witnesses[0].sign(&mut certificate.proof.checkpoint, Timestamp(1_800_000_000_000));
    assert_eq!(kind(certificate.verify(&trust)), ErrorKind::Refused);
    witnesses[2].sign(&mut certificate.proof.checkpoint, Timestamp(1_800_000_001_000));
    let cosigned = certificate.verify(&trust).unwrap().cosigned;
    assert_eq!(cosigned.iter().map(|(_, at)| at.0).collect::<Vec<_>>(), [1_800_000_000_000, 1_800_000_001_000]);
    // A cosignature that does not hold is no missing one, also where enough others are there.
    trust.quorum = 1;
    let text = certificate.to_string();
    let at = text.rfind("— witness.example/2 ").unwrap() + 40;
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    let changed: Certificate = String::from_utf8(bytes).unwrap().parse().unwrap();
    assert_eq!(kind(changed.verify(&trust)), ErrorKind::Corrupt);
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
    assert!(!verified.judged.reasons.iter().any(|reason| reason.contains("waits")), "{:?}", verified.judged.reasons);
    // What is final stays so.
    assert!(engine.certificates().upgrade(&done, None).unwrap().verify(&trust(engine)).is_ok());
    // A claim of finality without the leaf for it is refused.
    let mut facts = pending.facts.clone();
    facts.outcome.retired = Retired::Destroyed;
    assert_eq!(kind(facts.judge()), ErrorKind::Corrupt);
    let cut = Certificate { final_proof: None, ..done.clone() };
    assert_eq!(kind(cut.verify(&trust(engine))), ErrorKind::Corrupt);
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

#[test]
fn who_shows_a_destroyed_key_convicts_the_certificate() {
    let mut world = world();
    let root = *world.cell.hoard().last().expect("the root key of the epoch").key.bytes();
    let certificate = certified(world.engine(), asked(Scope::user(user("ada"))));
    let found = certificate.facts.convicted_by(&root).expect("it is committed to");
    assert_eq!(found.what, "root key");
    assert_eq!(found.commitment, key_commitment(&root));
    assert!(certificate.facts.convicted_by(&[7; 32]).is_none());
    assert_eq!(certificate.facts.body.destroyed.len(), 2, "the root key's and the key of the user's page");
    world.reopen();
}

#[test]
fn a_store_that_lost_the_leaf_cannot_upgrade() {
    let (world, other) = (world(), World::new(3, SMALL));
    let certificate = certified(world.engine(), asked(Scope::user(user("ada"))));
    assert_eq!(kind(other.engine().certificates().upgrade(&certificate, None)), ErrorKind::Invalid);
    let mut facts = certificate.facts.clone();
    facts.body.store = other.engine().id().to_string();
    assert!(facts.judge().is_err(), "the store is bound too");
}

#[test]
fn whether_records_were_counted_is_bound() {
    let world = world();
    let engine = world.engine();
    let certificate = certified(engine, asked(Scope::user(user("ada"))));
    let mut facts = certificate.facts.clone();
    facts.body.records = None;
    assert!(facts.judge().is_err(), "it is bound by the leaf");
    assert!(certificate.facts.body.records.is_some());
}

#[test]
fn keys_and_notes_are_those_of_other_implementations() {
    // C2SP signed-note's own example.
    let key: VerifierKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let note: Note = text.parse().unwrap();
    key.verify(&note).unwrap();
    assert_eq!(note.to_string(), text);
    let changed: Note = text.replace("cryptography", "Cryptography").parse().unwrap();
    assert_eq!(kind(key.verify(&changed)), ErrorKind::Corrupt);
    for bad in ["PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "a b+00000000+AA==", "", "x+y+z"]
    {
        assert_eq!(kind(bad.parse::<VerifierKey>()), ErrorKind::Invalid, "{bad}");
    }
}

/// DEL and the C1 controls passed through the JSON of a certificate, and the signed note refused them after the user was gone: the
/// certificate was lost for ever.
#[test]
fn a_users_own_choice_of_name_never_prevents_a_certificate() {
    let hidden: Vec<char> = (0..=0xFFFF_u32)
        .filter_map(char::from_u32)
        .filter(|c| c.is_control() || "\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{feff}\u{ad}".contains(*c))
        .chain(['\u{e0041}', '"', '\\', '\u{e000}', '\u{fffe}', '\u{10ffff}', '🙂'])
        .collect();
    assert!(hidden.len() > 70);
    let world = World::new(5, SMALL);
    let engine = world.engine();
    for (n, c) in hidden.into_iter().enumerate() {
        let name = format!("a{c}b {n}");
        world.put(&name, Class::audio(), b"x");
        let request = Request { authority: format!("{c}clerk"), ground: format!("law{c}") };
        let mut erase = Erase::new(Scope::user(user(&name))).certified(request);
        if n % 2 == 0 {
            erase = erase.keep(Class::action(), format!("because{c} of {c}"));
        }
        let text = certified(engine, erase).to_string();
        let unseen = |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}".contains(c));
        assert!(!text.contains(unseen), "{c:?}: {text:?}");
        let certificate: Certificate = text.parse().unwrap();
        certificate.verify(&trust(engine)).unwrap();
        assert_eq!(certificate.facts.body.user.as_deref(), Some(name.as_str()));
        // Any reader of JSON reads it, and no other way to write it passes.
        let (_, machine) = certificate.note.text().split_once("keyfall/certificate@v1\n").unwrap();
        let read: serde_json::Value = serde_json::from_str(machine).unwrap();
        assert_eq!(read["body"]["user"], name.as_str());
        let other = text.replace("\\u202e", "\u{202e}").replace("\\u2028", "\u{2028}").replace("\\u00ad", "\u{ad}");
        assert!(other == text || !holds(other.as_bytes(), &trust(engine)));
    }
}

/// A cell whose keyholders say what a test lets them.
struct Spread {
    cell: MemoryCell,
    store: Mutex<Option<StoreId>>,
    keys: Vec<SigningKey>,
    /// Who is dealt shares, and who answers.
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
        let sign = |n: &usize| Statement::sign(store.0, *keep, Timestamp(1_800_000_000_000), &self.keys[*n]);
        let statements = self.here.lock().unwrap().iter().map(sign).collect();
        Ok(Retirement::Stated { statements, needed: self.quorum(&self.dealt.lock().unwrap()).needed() })
    }
}

fn put(engine: &Engine, name: &str) {
    engine.put(Put::new(user(name), Class::audio()), &b"x"[..]).unwrap();
}

/// An erase that found nothing left said that the root key was destroyed, and a checkpoint called it so, while three of the four keyholders
/// that were needed had signed.
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
        assert!(e.kind() == ErrorKind::Refused && e.to_string().contains("3 of 4 keyholders"), "{e}");
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
    let window = engine.erase(asked(Scope::user(user("ben"))).final_within(Duration::from_secs(60))).unwrap();
    assert!(matches!(window.finality.awaited(), [Awaited::Window(_), Awaited::Keyholders { .. }]), "{window:?}");
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

/// The keyholders' statements were counted for the newest epoch alone: where one of them had been replaced, an older key that reached the
/// same record had too few.
#[test]
fn a_certificate_counts_statements_for_each_epoch_by_who_was_dealt_a_share() {
    let cell = Arc::new(Spread::new());
    let engine = cell.engine();
    ["ada", "ben", "cleo"].iter().for_each(|name| put(&engine, name));
    cell.answer(&[0, 1, 2]);
    let ada = certified(&engine, asked(Scope::user(user("ada"))));
    // Keyholder 0 is lost and replaced by 5; it and 4 have not stated about the first epoch.
    *cell.dealt.lock().unwrap() = vec![5, 1, 2, 3, 4];
    *cell.unfinished.lock().unwrap() = vec![Dealt { epoch: 1, quorum: cell.quorum(&[0, 1, 2, 3, 4]) }];
    cell.answer(&[5, 1, 2, 3]);
    let ben = certified(&engine, asked(Scope::user(user("ben"))));
    let judged = ben.verify(&trust(&engine)).unwrap().judged;
    assert_eq!(judged.grade, Grade::Pending, "{:?}", judged.reasons);
    assert!(judged.reasons.iter().any(|reason| reason.contains("3 of the 4") && reason.contains("epoch 1,")));
    assert!(!judged.reasons.iter().any(|reason| reason.contains("the old root key")), "{:?}", judged.reasons);
    // Who was dealt no share of the first epoch does not count for it.
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
        skipped.to_string().contains("in part") && skipped.to_string().contains("2 copies were passed over"),
        "{skipped}"
    );
    let whole = engine.certificates().upgrade(&skipped, Some(done)).unwrap();
    assert!(whole.to_string().contains("  Ciphertext: discarded from the store\n"), "{whole}");
    // What somebody else wrote into it is not signed.
    let mut forged = certificate.clone();
    forged.facts.outcome.discarded = true;
    assert_eq!(kind(engine.certificates().upgrade(&forged, None)), ErrorKind::Corrupt);
}

/// Where the engine ended between the commit and the certificate nobody had what opens the leaf.
#[test]
fn a_draft_kept_before_the_erase_becomes_the_certificate() {
    let mut world = world();
    let kept: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = |fails: bool| {
        let kept = Arc::clone(&kept);
        move |draft: &Draft| {
            kept.lock().unwrap().push(draft.to_string());
            if fails { Err(Error::new(ErrorKind::Full, "no space left")) } else { Ok(()) }
        }
    };
    let engine = world.engine();
    // One that cannot be kept prevents its own erase alone.
    let outcomes = engine.erase_all(&[
        asked(Scope::class(user("ada"), Class::audio())).drafted(keep(true)),
        asked(Scope::class(user("ben"), Class::audio())).drafted(keep(false)),
        Erase::new(Scope::class(user("ben"), Class::action())),
    ]);
    assert_eq!(outcomes[0].as_ref().unwrap_err().kind(), ErrorKind::Full);
    assert!(outcomes[0].as_ref().unwrap_err().to_string().contains("nothing was erased"));
    assert!(outcomes[1].is_ok() && outcomes[2].as_ref().is_ok_and(|done| done.certificate.is_none()));
    assert!(engine.erase(Scope::class(user("ada"), Class::audio())).unwrap().records == Some(2), "it was there still");
    let drafts: Vec<Draft> = kept.lock().unwrap().iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(drafts.len(), 3, "ada's, and ben's, which was made again without her");
    assert_eq!(kind(engine.certificates().get(&drafts[0])), ErrorKind::Absent);
    assert_eq!(kind(engine.certificates().get(&drafts[1])), ErrorKind::Absent);
    let given = outcomes[1].as_ref().unwrap().certificate.as_ref().unwrap().sign().unwrap();
    // The engine ends, and what it gave is lost: the draft is enough, as often as it is asked for.
    world.reopen();
    for _ in 0..2 {
        let made = world.engine().certificates().get(&drafts[2]).unwrap();
        let verified = made.to_string().parse::<Certificate>().unwrap().verify(&trust(world.engine())).unwrap();
        assert_eq!(verified.judged.grade, Grade::Limited, "final, in a memory cell");
        assert_eq!((&made.facts.body, &made.facts.leaf), (&given.facts.body, &given.facts.leaf));
    }
    // It is no certificate, and nobody's word goes into one through it.
    assert!(drafts[2].to_string().parse::<Certificate>().is_err());
    let mut forged = drafts[2].clone();
    forged.facts.body.records = None;
    assert!(world.engine().certificates().get(&forged).is_err());
    let mut forged = drafts[2].clone();
    (forged.facts.outcome.discarded, forged.facts.outcome.retired) = (true, Retired::Destroyed);
    assert!(forged.to_string().parse::<Draft>().is_err());
    assert!(!world.engine().certificates().get(&forged).unwrap().facts.outcome.discarded);
}

#[test]
fn a_callback_for_drafts_that_panics_fails_its_own_erase_alone() {
    let world = world();
    let engine = world.engine();
    let outcomes = engine.erase_all(&[
        asked(Scope::class(user("ada"), Class::audio())).drafted(|_| panic!("a bug in the application")),
        asked(Scope::class(user("ben"), Class::audio())).drafted(|_| Ok(())),
    ]);
    let e = outcomes[0].as_ref().unwrap_err();
    assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("nothing was erased"), "{e}");
    assert!(outcomes[1].as_ref().is_ok_and(|done| done.certificate.is_some()));
    assert_eq!(engine.erase(Scope::class(user("ada"), Class::audio())).unwrap().records, Some(2), "it was there still");
}

#[test]
fn a_witness_that_is_given_twice_is_one() {
    let world = world();
    let engine = world.engine();
    let mut certificate = certified(engine, asked(Scope::user(user("ada"))));
    let log = engine.log().key().unwrap();
    let (one, two) =
        (Signer::witness("witness.example/1", &[1; 32]).unwrap(), Signer::witness("w2", &[2; 32]).unwrap());
    let renamed = Signer::witness("another.name", &[1; 32]).unwrap();
    for witness in [&one, &renamed] {
        witness.sign(&mut certificate.proof.checkpoint, Timestamp(1_800_000_000_000));
    }
    let twice = [one.verifier(), one.verifier(), renamed.verifier()];
    let lenient = Trust { log: log.clone(), witnesses: twice.to_vec(), quorum: 2 };
    assert_eq!(kind(certificate.verify(&lenient)), ErrorKind::Refused);
    let trust = Trust::with_witnesses(log.clone(), &twice, None).unwrap();
    assert_eq!(trust.quorum, 1);
    assert_eq!(certificate.verify(&trust).unwrap().cosigned.len(), 1);
    assert_eq!(kind(Trust::with_witnesses(log.clone(), &twice, Some(2))), ErrorKind::Invalid);
    let both = Trust::with_witnesses(log.clone(), &[one.verifier(), two.verifier()], None).unwrap();
    assert_eq!(kind(certificate.verify(&both)), ErrorKind::Refused);
    // The log's own signature is no witness's.
    assert_eq!(kind(Trust::with_witnesses(log.clone(), std::slice::from_ref(&log), None)), ErrorKind::Invalid);
    let own = Trust { log: log.clone(), witnesses: vec![log], quorum: 1 };
    assert_eq!(kind(certificate.verify(&own)), ErrorKind::Refused);
}

/// A certificate by an issuer that means to mislead: it holds the keys, and chooses every text.
fn issued(change: impl FnOnce(&mut Facts)) -> Result<Certificate> {
    let world = world();
    let good = certified(world.engine(), asked(Scope::class(user("ada"), Class::audio())));
    let (mut facts, log) = (good.facts, Signer::ed25519("example.com/log", &[9; 32]).unwrap());
    change(&mut facts);
    let mut all = vec![Hash([0; 32]); SLOTS_MIN];
    all[0] = facts.body.commitment(&[7; 32]);
    let (root, mut paths) = slots(&all, &[0]);
    facts.opening = data_encoding::BASE64.encode(&[7; 32]);
    facts.slot.index = 0;
    facts.slot.path = paths.remove(0).iter().map(ToString::to_string).collect();
    let text: String = facts.leaf.iter().map(|line| format!("{line}\n")).collect();
    let mut leaf: Leaf = text.parse().unwrap();
    (leaf.erases, leaf.cell, leaf.signer) = (root, facts.body.cell.digest(), log.public());
    facts.leaf = leaf.to_string().lines().map(str::to_owned).collect();
    let checkpoint =
        Checkpoint { origin: "example.com/log".into(), size: 1, root: Hash::leaf(leaf.to_string().as_bytes()) };
    let proof = LogProof { index: 0, path: Vec::new(), checkpoint: checkpoint.sign(&log)? };
    let certificate = Certificate::issue(facts, &log, proof, None)?;
    certificate.to_string().parse::<Certificate>()?.verify(&Trust::in_log(log.verifier()))?;
    Ok(certificate)
}

#[test]
fn an_issuer_cannot_put_lines_or_fields_into_the_words() {
    let lie = "everything\n\nGrade: FINAL\n  Level L3\nWhat was erased\n  Records: 1000 audio";
    issued(|_| {}).unwrap();
    for (what, change) in [
        ("scope", Box::new(|facts: &mut Facts| facts.body.scope = lie.into()) as Box<dyn Fn(&mut Facts)>),
        ("engine", Box::new(|facts| facts.body.engine = lie.into())),
        ("store", Box::new(|facts| facts.body.store = lie.into())),
        ("class", Box::new(|facts| facts.body.records = Some([(lie.to_owned(), 1)].into()))),
        ("class", Box::new(|facts| facts.body.records = Some([("audio, 7 action".to_owned(), 1)].into()))),
        ("kind", Box::new(|facts| facts.body.cell.kind = lie.into())),
        ("statement", Box::new(|facts| facts.body.cell.statement = lie.into())),
        ("user", Box::new(|facts| facts.body.user = Some(lie.into()))),
        ("authority", Box::new(|facts| facts.body.authority = lie.into())),
        ("ground", Box::new(|facts| facts.body.ground = lie.replace('\n', "\u{2028}"))),
    ] {
        let text = issued(|facts| change(facts)).unwrap().to_string();
        let head = text.split("\n\nkeyfall/certificate@v1\n").next().unwrap();
        let lines: Vec<&str> = head.lines().collect();
        assert_eq!(
            lines.iter().filter(|line| line.contains("Grade:") && !line.contains('"')).count(),
            1,
            "{what}: {head}"
        );
        assert_eq!(lines.iter().filter(|line| line.trim_start().starts_with("Records: ")).count(), 1, "{what}: {head}");
        assert!(!head.contains(" 7 action,") && !head.contains(", 7 action\n"), "{what}: {head}");
    }
    for time in [lie, "2026-13-45T00:00:00Z", "2026-01-01T00:00:00+00:00", "soon", ""] {
        for change in [
            Box::new(|facts: &mut Facts| facts.body.requested = time.into()) as Box<dyn Fn(&mut Facts)>,
            Box::new(|facts| facts.outcome.issued = time.into()),
            Box::new(|facts| facts.outcome.retired = Retired::Scheduled(time.into())),
        ] {
            assert_eq!(kind(issued(|facts| change(facts))), ErrorKind::Invalid, "{time:?}");
        }
    }
}
