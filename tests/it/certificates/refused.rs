//! Certificates that were changed, cut or proved by something else. SPEC §14.

use keyfall::certificate::{Certificate, Facts, Trust, key_commitment, same_history};
use keyfall::log::{Checkpoint, Hash, LogProof, Signer, VerifierKey};
use keyfall::{Class, ErrorKind, Scope};

use super::{asked, certified, holds, trust, world};
use crate::support::{error_kind, user};

/// Every leaf of a JSON value, changed.
fn changes(value: &serde_json::Value) -> Vec<serde_json::Value> {
    use serde_json::Value;
    match value {
        Value::Null => vec![Value::from("something"), Value::from(7)],
        Value::Bool(b) => vec![Value::from(!b)],
        Value::Number(n) => vec![Value::from(n.as_u64().unwrap() + 1)],
        Value::String(s) => {
            vec![
                Value::from(format!("{s}x")),
                Value::from(s.chars().rev().collect::<String>()),
                Value::Null,
            ]
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

/// A carriage return at the end of a line went in unnoticed: what reads lines may pass over one.
#[test]
fn white_space_anywhere_is_refused() {
    let good = include_bytes!("../../certificates/good.erased");
    let trust = Trust::in_log(include_str!("../../certificates/good.key").parse().unwrap());
    for space in *b"\r\n\t \x0b\x0c\0" {
        for at in 0..=good.len() {
            let mut bytes = good.to_vec();
            bytes.insert(at, space);
            assert!(!holds(&bytes, &trust), "{space:#x} at {at}");
        }
    }
}

/// `KEYFALL_MUTATIONS=1000000` for more; the fuzz target `certificate` looks for cleverer ones.
#[test]
fn random_changes_are_refused() {
    let rounds =
        std::env::var("KEYFALL_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000_u64);
    let good = include_bytes!("../../certificates/good.erased");
    let trust = Trust::in_log(include_str!("../../certificates/good.key").parse().unwrap());
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
        assert!(
            bytes == good || !holds(&bytes),
            "round {round}: {}",
            String::from_utf8_lossy(&bytes)
        );
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
    assert_eq!(
        error_kind(with(second.proof.clone())),
        ErrorKind::Corrupt,
        "the proof of another leaf"
    );
    assert_eq!(
        error_kind(with(engine.log().proof(1).unwrap())),
        ErrorKind::Corrupt,
        "of another leaf, in the newest log"
    );
    with(engine.log().proof(0).unwrap()).unwrap();
    let older = LogProof { checkpoint: before, ..first.proof.clone() };
    assert_eq!(error_kind(with(older)), ErrorKind::Corrupt, "a checkpoint older than the leaf");
    // A fork: the same log's name and key, another leaf in its place.
    let log = Signer::ed25519(trust_.log.name(), &[9; 32]).unwrap();
    let forked = Checkpoint {
        origin: trust_.log.name().into(),
        size: 1,
        root: Hash::leaf(b"another history"),
    };
    let fork = LogProof { index: 0, path: Vec::new(), checkpoint: forked.sign(&log).unwrap() };
    let mut in_fork = trust_.clone();
    in_fork.log = log.verifier();
    let forged = Certificate { proof: fork, ..first.clone() };
    assert_eq!(
        error_kind(forged.verify(&in_fork)),
        ErrorKind::Corrupt,
        "the leaf is not in the fork"
    );
    assert_eq!(error_kind(first.verify(&in_fork)), ErrorKind::Absent, "a wrong key");
    assert_eq!(error_kind(forged.verify(&trust_)), ErrorKind::Absent, "a fork by somebody else");

    // A client that kept a checkpoint detects the fork even if the log itself signed it.
    let kept = Checkpoint::verified(&engine.log().checkpoint().unwrap(), &trust_.log).unwrap();
    let checkpoint = second.verify(&trust_).unwrap().checkpoint;
    same_history(&checkpoint, &kept, None).unwrap();
    let other = Checkpoint { root: Hash::leaf(b"what others are shown"), ..kept.clone() };
    assert_eq!(error_kind(same_history(&checkpoint, &other, None)), ErrorKind::Corrupt);
    let smaller = first.verify(&trust_).unwrap().checkpoint;
    assert_eq!(
        error_kind(same_history(&smaller, &kept, None)),
        ErrorKind::Invalid,
        "it says that the log's files are needed"
    );
}

#[test]
fn showing_a_destroyed_key_convicts_the_certificate() {
    let mut world = world();
    let root = *world.cell.hoard().last().expect("the root key of the epoch").key.bytes();
    let certificate = certified(world.engine(), asked(Scope::user(user("ada"))));
    let found = certificate.facts.convicted_by(&root).expect("it is committed to");
    assert_eq!(found.what, "root key");
    assert_eq!(found.commitment, key_commitment(&root));
    assert!(certificate.facts.convicted_by(&[7; 32]).is_none());
    assert_eq!(
        certificate.facts.body.destroyed.len(),
        2,
        "the root key's and the key of the user's page"
    );
    world.reopen();
}

/// A line of four bytes was read over by one reader and refused by another; so were keys with a
/// byte-order mark before them, or with U+0085 after.
#[test]
fn a_line_has_a_signature_and_around_a_key_stands_nothing_that_is_not_seen() {
    let world = world();
    let engine = world.engine();
    let certificate = certified(engine, asked(Scope::user(user("ada"))));
    let key = engine.log().key().unwrap().to_string();
    let with = |line: &str| certificate.note.with_lines(line).is_ok();
    assert!(with("— a AAAAAAA=\n") && !with("— a AAAAAA==\n") && !with("— a AAAA\n"));
    assert!(!with("— a\u{85}b AAAAAAA=\n") && !with("— a\u{3000}b AAAAAAA=\n"));
    for around in [" ", "\t", "\r\n", "\u{c}"] {
        let read = format!("{around}{key}{around}").parse::<VerifierKey>();
        assert!(read.is_ok_and(|read| read.to_string() == key), "{around:?}");
    }
    for around in ["\u{feff}", "\u{85}", "\u{a0}", "\u{b}", "\u{200b}", "x"] {
        assert!(format!("{around}{key}").parse::<VerifierKey>().is_err(), "{around:?}");
        assert!(format!("{key}{around}").parse::<VerifierKey>().is_err(), "{around:?}");
    }
}

/// The reader was sent to look for another program.
#[test]
fn a_changed_method_is_no_unknown_method() {
    let world = world();
    let engine = world.engine();
    let certificate = certified(engine, asked(Scope::class(user("ada"), Class::audio())));
    let mut facts = certificate.facts.clone();
    facts.body.method.push('x');
    let e = facts.judge().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
    assert!(!e.to_string().contains("program"), "{e}");
}
