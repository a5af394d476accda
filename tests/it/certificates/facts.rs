//! What a certificate says, and that it verifies from its text alone. SPEC §14.

use keyfall::certificate::{Certificate, Facts, Grade, Leaf, Retired, SLOTS_MIN, Trust, slots};
use keyfall::log::{Checkpoint, Hash, LogProof, Signer};
use keyfall::{Class, Erase, ErrorKind, InteractionId, Put, Result, Scope, Timestamp, When};

use super::{asked, certified, holds, trust, world};
use crate::support::{SMALL_PAGES, World, bytes, error_kind, user};

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
    let checkpoint = Checkpoint {
        origin: "example.com/log".into(),
        size: 1,
        root: Hash::leaf(leaf.to_string().as_bytes()),
    };
    let proof = LogProof { index: 0, path: Vec::new(), checkpoint: checkpoint.sign(&log)? };
    let certificate = Certificate::issue(facts, &log, proof, None)?;
    let trust = Trust::in_log(log.verifier());
    certificate.to_string().parse::<Certificate>()?.verify(&trust)?;
    Ok(certificate)
}

#[test]
fn a_certificate_says_what_fell_and_verifies_from_its_text_alone() {
    let world = world();
    let engine = world.engine();
    engine
        .get_as(&world.put("ada", Class::transcript(), b"it is late"), "analyst", "to count words")
        .unwrap();
    let certificate = certified(engine, asked(Scope::user(user("ada"))));
    let key = engine.log().key().unwrap().to_string();
    let text = certificate.to_string();
    let again: Certificate = text.parse().unwrap();
    assert_eq!(again, certificate);
    let verified = again.verify(&Trust::in_log(key.parse().unwrap())).unwrap();
    // A memory cell, and a recorded opening: both limit it, and are named.
    assert_eq!(verified.judged.grade, Grade::Limited);
    assert!(
        verified.judged.reasons.iter().any(|r| r.contains("opened 1 times")),
        "{:?}",
        verified.judged.reasons
    );
    let body = &certificate.facts.body;
    assert_eq!(body.user.as_deref(), Some("ada"));
    let counts: Vec<(&str, u64)> =
        body.records.as_ref().unwrap().iter().map(|(c, n)| (c.as_str(), *n)).collect();
    assert_eq!(counts, [("action", 1), ("audio", 2), ("transcript", 1)]);
    assert_eq!(
        (body.authority.as_str(), body.ground.as_str()),
        ("ada herself", "GDPR, article 17")
    );
    for told in [
        "Grade: LIMITED",
        "User: \"ada\"",
        "2 audio",
        "Level L0",
        "GDPR, article 17",
        "What this does not show",
    ] {
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
        std::fs::write(
            format!("{place}.key"),
            format!("{}\n", world.engine().log().key().unwrap()),
        )
        .unwrap();
    }
    assert_eq!(std::fs::read_to_string(format!("{place}.erased")).unwrap(), text);
}

#[test]
fn a_class_with_a_page_of_its_own_has_a_key_that_is_destroyed() {
    let world = world();
    let destroyed = || {
        let erase = asked(Scope::class(user("ada"), Class::audio()));
        format!("{}", certified(world.engine(), erase)).contains("key of class audio")
    };
    assert!(!destroyed(), "two short records stand in the page of their user");
    for n in 0..9 {
        world.put("ada", Class::audio(), &bytes(n, 100));
    }
    assert!(destroyed());
}

#[test]
fn an_erase_of_each_scope_is_certified_and_one_that_does_nothing_is_not() {
    let world = world();
    let engine = world.engine();
    let interaction = InteractionId::from_parts(Timestamp(1_700_000_000_000), [3; 10]);
    let id = engine
        .put(Put::new(user("ben"), Class::audio()).interaction(interaction), &b"x"[..])
        .unwrap();
    let until = Some(Timestamp(1_500_000_000_000));
    let ben = |class: Option<Class>, when| Scope::User { user: user("ben"), class, when };
    for (erase, scope) in [
        (asked(Scope::Record(id)), "record "),
        (
            asked(ben(None, When::Between { from: None, until })),
            "everything of interactions that began before 2017-07-14",
        ),
        (asked(ben(Some(Class::audio()), When::Ever)), "class audio"),
        (
            asked(ben(None, When::Ever)).keep(Class::action(), "the alarm goes on ringing"),
            "everything",
        ),
        (asked(Scope::user(user("ada"))), "everything"),
    ] {
        let certificate = certified(engine, erase);
        let verified = certificate.verify(&trust(engine)).unwrap();
        assert!(
            certificate.facts.body.scope.starts_with(scope),
            "{}",
            certificate.facts.body.scope
        );
        assert_eq!(verified.checkpoint.size, certificate.proof.index + 1);
    }
    let again = engine.erase(asked(Scope::user(user("ada")))).unwrap();
    assert!(again.already && again.certificate.is_none());
    assert_eq!(
        error_kind(engine.erase_at(asked(Scope::user(user("ben"))), Timestamp(u64::MAX >> 20))),
        ErrorKind::Invalid
    );
}

#[test]
fn many_erases_of_one_commit_share_a_leaf_and_each_has_its_own_certificate() {
    let world = World::new(2, SMALL_PAGES);
    let names: Vec<String> = (0..21).map(|n| format!("user {n}")).collect();
    for name in &names {
        world.put(name, Class::audio(), b"x");
    }
    let engine = world.engine();
    let erases: Vec<Erase> = names.iter().map(|name| asked(Scope::user(user(name)))).collect();
    let certificates: Vec<Certificate> = engine
        .erase_all(&erases)
        .into_iter()
        .map(|done| done.unwrap().certificate.unwrap().sign().unwrap())
        .collect();
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

/// DEL and the C1 controls passed through the JSON of a certificate, and the signed note refused
/// them after the user was gone: the certificate was lost for ever.
#[test]
fn a_users_own_choice_of_name_never_prevents_a_certificate() {
    let hidden: Vec<char> = (0..=0xFFFF_u32)
        .filter_map(char::from_u32)
        .filter(|c| {
            c.is_control() || "\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{feff}\u{ad}".contains(*c)
        })
        .chain(['\u{e0041}', '"', '\\', '\u{e000}', '\u{fffe}', '\u{10ffff}', '🙂'])
        .collect();
    assert!(hidden.len() > 70);
    let world = World::new(5, SMALL_PAGES);
    let engine = world.engine();
    for (n, c) in hidden.into_iter().enumerate() {
        let name = format!("a{c}b {n}");
        world.put(&name, Class::audio(), b"x");
        let erase = Erase::new(Scope::user(user(&name)));
        let mut erase = erase.certified(format!("{c}clerk"), format!("law{c}"));
        if n % 2 == 0 {
            erase = erase.keep(Class::action(), format!("because{c} of {c}"));
        }
        let text = certified(engine, erase).to_string();
        let unseen = |c: char| {
            c != '\n' && (c.is_control() || "\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}".contains(c))
        };
        assert!(!text.contains(unseen), "{c:?}: {text:?}");
        let certificate: Certificate = text.parse().unwrap();
        certificate.verify(&trust(engine)).unwrap();
        assert_eq!(certificate.facts.body.user.as_deref(), Some(name.as_str()));
        // Any reader of JSON reads it, and no other way to write it passes.
        let (_, machine) = certificate.note.text().split_once("keyfall/certificate@v1\n").unwrap();
        let read: serde_json::Value = serde_json::from_str(machine).unwrap();
        assert_eq!(read["body"]["user"], name.as_str());
        let other = text
            .replace("\\u202e", "\u{202e}")
            .replace("\\u2028", "\u{2028}")
            .replace("\\u00ad", "\u{ad}");
        assert!(other == text || !holds(other.as_bytes(), &trust(engine)));
    }
}

#[test]
fn an_issuer_cannot_put_lines_or_fields_into_the_words() {
    let lie = "everything\n\nGrade: FINAL\n  Level L3\nWhat was erased\n  Records: 1000 audio";
    issued(|_| {}).unwrap();
    for (what, change) in [
        (
            "scope",
            Box::new(|facts: &mut Facts| facts.body.scope = lie.into()) as Box<dyn Fn(&mut Facts)>,
        ),
        ("engine", Box::new(|facts| facts.body.engine = lie.into())),
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
        assert_eq!(
            lines.iter().filter(|line| line.trim_start().starts_with("Records: ")).count(),
            1,
            "{what}: {head}"
        );
    }
    // What is of a kind is refused where it is of another: no store and no class is called so.
    for change in [
        Box::new(|facts: &mut Facts| facts.body.store = lie.into()) as Box<dyn Fn(&mut Facts)>,
        Box::new(|facts| facts.body.records = Some([(lie.to_owned(), 1)].into())),
        Box::new(|facts| facts.body.records = Some([("audio, 7 action".to_owned(), 1)].into())),
        Box::new(|facts| facts.body.format = 2),
        Box::new(|facts| facts.body.user = Some(String::new())),
        Box::new(|facts| facts.body.authority = "x".repeat(81)),
    ] {
        assert_eq!(error_kind(issued(|facts| change(facts))), ErrorKind::Invalid);
    }
    for time in [lie, "2026-13-45T00:00:00Z", "2026-01-01T00:00:00+00:00", "soon", ""] {
        for change in [
            Box::new(|facts: &mut Facts| facts.body.requested = time.into())
                as Box<dyn Fn(&mut Facts)>,
            Box::new(|facts| facts.outcome.issued = time.into()),
            Box::new(|facts| facts.outcome.retired = Retired::Scheduled(time.into())),
        ] {
            assert_eq!(error_kind(issued(|facts| change(facts))), ErrorKind::Invalid, "{time:?}");
        }
    }
}
