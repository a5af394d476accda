//! Certificates: what a good one shows, and that no other is taken.

use std::time::Duration;

use keyfall::certificate::{Certificate, Facts, Grade, Leaf, Retired, Trust, key_commitment, same_history};
use keyfall::engine::{Erase, Request, When};
use keyfall::log::{Checkpoint, Hash, LogProof, Note, Signer, VerifierKey};
use keyfall::{Class, Engine, ErrorKind, InteractionId, Put, Scope, Timestamp};

use crate::support::{SMALL, World, kind, user};

fn asked(scope: Scope) -> Erase {
    Erase::new(scope).certified(Request { authority: "ada herself".into(), ground: "GDPR, article 17".into() })
}

fn certified(engine: &Engine, erase: Erase) -> Certificate {
    engine.erase(erase).unwrap().certificate.expect("it was asked for").sign().unwrap()
}

fn trust(engine: &Engine) -> Trust {
    Trust::in_log(engine.log_key().unwrap())
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
    let key = engine.log_key().unwrap().to_string();
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
        std::fs::write(format!("{place}.key"), format!("{}\n", world.engine().log_key().unwrap())).unwrap();
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
    assert_eq!(engine.log_key().unwrap(), trust(engine).log);
    let mut leaves = Vec::new();
    engine
        .log_leaves(0, &mut |_, leaf| {
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
        .log_leaves(0, &mut |_, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            for told in ["ada", "audio", "action", "GDPR", &engine.id().to_string()] {
                assert!(!text.contains(told), "{told} in {text}");
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
    let before = engine.checkpoint().unwrap();
    let first = certified(engine, asked(Scope::class(user("ada"), Class::audio())));
    let second = certified(engine, asked(Scope::user(user("ben"))));
    let trust_ = trust(engine);
    for certificate in [&first, &second] {
        certificate.verify(&trust_).unwrap();
    }
    let with = |proof: LogProof| Certificate { proof, ..first.clone() }.verify(&trust_).map(|_| ());
    assert_eq!(kind(with(second.proof.clone())), ErrorKind::Corrupt, "the proof of another leaf");
    assert_eq!(kind(with(engine.log_proof(1).unwrap())), ErrorKind::Corrupt, "of another leaf, in the newest log");
    with(engine.log_proof(0).unwrap()).unwrap();
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
    let kept = Checkpoint::verified(&engine.checkpoint().unwrap(), &trust_.log).unwrap();
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
    let still = engine.upgrade(&pending, None).unwrap();
    assert_eq!(still.verify(&trust(engine)).unwrap().judged.grade, Grade::Pending);
    engine.erase(Scope::user(user("ben"))).unwrap();
    let done = engine.upgrade(&pending, None).unwrap();
    let text = done.to_string();
    let verified = text.parse::<Certificate>().unwrap().verify(&trust(engine)).unwrap();
    assert_eq!(verified.judged.grade, Grade::Limited, "{text}");
    assert_eq!(done.final_proof.as_ref().map(|p| p.index), Some(1));
    assert!(!verified.judged.reasons.iter().any(|reason| reason.contains("waits")), "{:?}", verified.judged.reasons);
    // What is final stays so.
    assert!(engine.upgrade(&done, None).unwrap().verify(&trust(engine)).is_ok());
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
    let upgraded = engine.upgrade(&certificate, Some(done)).unwrap();
    assert!(upgraded.facts.outcome.discarded);
    upgraded.verify(&trust(engine)).unwrap();
    // A discard that ran before says nothing of what fell later.
    let later = certified(engine, asked(Scope::user(user("ben"))));
    assert!(!engine.upgrade(&later, Some(done)).unwrap().facts.outcome.discarded);
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
    assert_eq!(kind(other.engine().upgrade(&certificate, None)), ErrorKind::Invalid);
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
