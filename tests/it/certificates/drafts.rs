//! Drafts that are kept before an erase. SPEC §14.

use std::sync::{Arc, Mutex};

use keyfall::certificate::{Certificate, Draft, Grade, Retired};
use keyfall::{Class, Erase, Error, ErrorKind, Scope};

use super::{asked, trust, world};
use crate::support::{error_kind, user};

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
    assert!(
        outcomes[1].is_ok() && outcomes[2].as_ref().is_ok_and(|done| done.certificate.is_none())
    );
    assert!(
        engine.erase(Scope::class(user("ada"), Class::audio())).unwrap().records == Some(2),
        "it was there still"
    );
    let drafts: Vec<Draft> =
        kept.lock().unwrap().iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(drafts.len(), 3, "ada's, and ben's, which was made again without her");
    assert_eq!(error_kind(engine.certificates().get(&drafts[0])), ErrorKind::Absent);
    assert_eq!(error_kind(engine.certificates().get(&drafts[1])), ErrorKind::Absent);
    let given = outcomes[1].as_ref().unwrap().certificate.as_ref().unwrap().sign().unwrap();
    // The engine ends, and what it gave is lost: the draft is enough, as often as it is asked for.
    world.reopen();
    for _ in 0..2 {
        let made = world.engine().certificates().get(&drafts[2]).unwrap();
        let verified = made
            .to_string()
            .parse::<Certificate>()
            .unwrap()
            .verify(&trust(world.engine()))
            .unwrap();
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
        asked(Scope::class(user("ada"), Class::audio()))
            .drafted(|_| panic!("a bug in the application")),
        asked(Scope::class(user("ben"), Class::audio())).drafted(|_| Ok(())),
    ]);
    let e = outcomes[0].as_ref().unwrap_err();
    assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("nothing was erased"), "{e}");
    assert!(outcomes[1].as_ref().is_ok_and(|done| done.certificate.is_some()));
    assert_eq!(
        engine.erase(Scope::class(user("ada"), Class::audio())).unwrap().records,
        Some(2),
        "it was there still"
    );
}
