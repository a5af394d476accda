//! Certificates under the log: witnesses, cosignatures, keys of other implementations. SPEC §13,
//! §14.

use keyfall::certificate::{Certificate, Trust};
use keyfall::log::{Note, Signer, VerifierKey};
use keyfall::{ErrorKind, Scope, Timestamp};

use super::{asked, certified, trust, world};
use crate::support::{SMALL_PAGES, World, error_kind, user};

#[test]
fn cosignatures_can_be_demanded() {
    let world = world();
    let engine = world.engine();
    let mut certificate = certified(engine, asked(Scope::user(user("ada"))));
    let witnesses: Vec<Signer> = (0..3)
        .map(|n| Signer::witness(&format!("witness.example/{n}"), &[n; 32]).unwrap())
        .collect();
    let mut trust = trust(engine);
    trust.witnesses = witnesses.iter().map(Signer::verifier).collect();
    trust.quorum = 2;
    assert_eq!(error_kind(certificate.verify(&trust)), ErrorKind::Refused);
    witnesses[0].sign(&mut certificate.proof.checkpoint, Timestamp(1_800_000_000_000));
    assert_eq!(error_kind(certificate.verify(&trust)), ErrorKind::Refused);
    witnesses[2].sign(&mut certificate.proof.checkpoint, Timestamp(1_800_000_001_000));
    let cosigned = certificate.verify(&trust).unwrap().cosigned;
    assert_eq!(
        cosigned.iter().map(|one| one.at.0).collect::<Vec<_>>(),
        [1_800_000_000_000, 1_800_000_001_000]
    );
    // A cosignature that does not hold is no missing one, also where enough others are there.
    trust.quorum = 1;
    let text = certificate.to_string();
    let at = text.rfind("— witness.example/2 ").unwrap() + 40;
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    let changed: Certificate = String::from_utf8(bytes).unwrap().parse().unwrap();
    assert_eq!(error_kind(changed.verify(&trust)), ErrorKind::Corrupt);
}

#[test]
fn a_store_that_lost_the_leaf_cannot_upgrade() {
    let (world, other) = (world(), World::new(3, SMALL_PAGES));
    let certificate = certified(world.engine(), asked(Scope::user(user("ada"))));
    assert_eq!(
        error_kind(other.engine().certificates().upgrade(&certificate, None)),
        ErrorKind::Invalid
    );
    let mut facts = certificate.facts.clone();
    facts.body.store = other.engine().id().to_string();
    assert!(facts.judge().is_err(), "the store is bound too");
}

#[test]
fn keys_and_notes_are_those_of_other_implementations() {
    // C2SP signed-note's own example.
    let key: VerifierKey =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let note: Note = text.parse().unwrap();
    key.verify(&note).unwrap();
    assert_eq!(note.to_string(), text);
    let changed: Note = text.replace("cryptography", "Cryptography").parse().unwrap();
    assert_eq!(error_kind(key.verify(&changed)), ErrorKind::Corrupt);
    for bad in [
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "a b+00000000+AA==",
        "",
        "x+y+z",
    ] {
        assert_eq!(error_kind(bad.parse::<VerifierKey>()), ErrorKind::Invalid, "{bad}");
    }
}

#[test]
fn a_witness_that_is_given_twice_is_one() {
    let world = world();
    let engine = world.engine();
    let mut certificate = certified(engine, asked(Scope::user(user("ada"))));
    let log = engine.log().key().unwrap();
    let (one, two) = (
        Signer::witness("witness.example/1", &[1; 32]).unwrap(),
        Signer::witness("w2", &[2; 32]).unwrap(),
    );
    let renamed = Signer::witness("another.name", &[1; 32]).unwrap();
    for witness in [&one, &renamed] {
        witness.sign(&mut certificate.proof.checkpoint, Timestamp(1_800_000_000_000));
    }
    let twice = [one.verifier(), one.verifier(), renamed.verifier()];
    let lenient = Trust { log: log.clone(), witnesses: twice.to_vec(), quorum: 2 };
    assert_eq!(error_kind(certificate.verify(&lenient)), ErrorKind::Refused);
    let trust = Trust::with_witnesses(log.clone(), &twice, None).unwrap();
    assert_eq!(trust.quorum, 1);
    assert_eq!(certificate.verify(&trust).unwrap().cosigned.len(), 1);
    assert_eq!(error_kind(Trust::with_witnesses(log.clone(), &twice, Some(2))), ErrorKind::Invalid);
    let both = Trust::with_witnesses(log.clone(), &[one.verifier(), two.verifier()], None).unwrap();
    assert_eq!(error_kind(certificate.verify(&both)), ErrorKind::Refused);
    // The log's own signature is no witness's.
    assert_eq!(
        error_kind(Trust::with_witnesses(log.clone(), std::slice::from_ref(&log), None)),
        ErrorKind::Invalid
    );
    let own = Trust { log: log.clone(), witnesses: vec![log], quorum: 1 };
    assert_eq!(error_kind(certificate.verify(&own)), ErrorKind::Refused);
}
