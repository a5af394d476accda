//! Checks an erasure certificate as an auditor does: with its text and the log's public key alone.
//!
//! The first half issues one, so that there is something to check. The second half uses
//! `keyfall::certificate` and `keyfall::log` only, which need no engine:
//! `keyfall = { version = "0.1", default-features = false }`.
//!
//! `cargo run --example verify_certificate`

use std::error::Error;
use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::certificate::{Certificate, Grade, Trust};
use keyfall::log::VerifierKey;
use keyfall::store::MemoryStore;
use keyfall::{Class, Engine, Erase, Options, Put, Scope, UserId};

/// The operator's part: an erase with a certificate. Gives its text, and the public key of the log.
fn issue() -> Result<(String, String), Box<dyn Error>> {
    let (store, cell) = (MemoryStore::new(), MemoryCell::new());
    let engine = Engine::init(Arc::new(store), Arc::new(cell), Options::default())?;
    let ada = UserId::new("ada")?;
    engine.put(Put::new(ada.clone(), Class::audio()), &b"wake me at six"[..])?;
    let erase = Erase::new(Scope::user(ada)).certified("ada herself", "GDPR, article 17");
    let erasure = engine.erase(erase)?;
    let unsigned = erasure.certificate.ok_or("a certificate was asked for")?;
    Ok((unsigned.sign()?.to_string(), engine.log().key()?.to_string()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (text, key) = issue()?;

    // The auditor's part.
    let trust = Trust::in_log(key.parse::<VerifierKey>()?);
    let certificate: Certificate = text.parse()?;
    let verified = certificate.verify(&trust)?;
    for line in verified.words() {
        println!("{line}");
    }
    // A key that was in a process's memory only: the grade says so.
    assert_eq!(verified.judged.grade, Grade::Limited);
    assert_eq!(certificate.facts.body.user.as_deref(), Some("ada"));

    // A better grade above the same facts is a forgery.
    let forged = text.replace("Grade: LIMITED", "Grade: FINAL");
    assert_ne!(forged, text);
    let refused = forged.parse::<Certificate>().and_then(|forged| forged.verify(&trust));
    println!("The forged one: {}", refused.err().ok_or("a forged certificate passed")?);

    // So is one of another log.
    let (_, other_key) = issue()?;
    let other = Trust::in_log(other_key.parse::<VerifierKey>()?);
    assert!(certificate.verify(&other).is_err());

    // To convict a false certificate takes one key that it calls destroyed. A guess is none.
    assert!(certificate.facts.convicted_by(&[0; 32]).is_none());
    Ok(())
}
