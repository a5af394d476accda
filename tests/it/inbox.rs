//! Sealed ingest: envelopes are accepted once, and copies of them die with the inbox key. SPEC
//! §6.6.

use std::time::Duration;

use keyfall::engine::{Due, Follow, Hold};
use keyfall::sealed::{InboxKey, seal};
use keyfall::{
    Class, Engine, ErrorKind, InteractionId, Policy, Put, Query, RecordId, Scope, Timestamp,
};

use crate::command_line::Cli;
use crate::support::{SMALL_PAGES, World, bytes, error_kind, read_record, user};

fn sealed(world: &World, put: Put, content: &[u8], to: &InboxKey) -> Vec<u8> {
    let mut envelope = Vec::new();
    assert_eq!(seal(&put, content, to, &*world.env, &mut envelope).unwrap(), content.len() as u64);
    envelope
}

fn audio(name: &str) -> Put {
    Put::new(user(name), Class::audio()).media_type("audio/wav").purpose("wake word")
}

fn accepted(engine: &Engine, envelope: &[u8]) -> RecordId {
    let done = engine.accept(envelope).unwrap();
    assert!(!done.again);
    done.id
}

#[test]
fn an_envelope_becomes_a_record_once() {
    let mut world = World::new(1, SMALL_PAGES);
    let source = world.put("ada", Class::audio(), b"wake me");
    for (n, len) in [0, 1, 16_000, 16_384, 40_000, 300_000].into_iter().enumerate() {
        let key: InboxKey =
            world.engine().inbox(&user("ada")).key().unwrap().to_string().parse().unwrap();
        let content = bytes(n as u64, len);
        let interaction =
            InteractionId::from_parts(Timestamp(1_767_225_600_000 + n as u64), [9; 10]);
        let put = audio("ada").interaction(interaction).created(Timestamp(77)).derived_from(source);
        let envelope = sealed(&world, put, &content, &key);
        let id = accepted(world.engine(), &envelope);
        assert!(read_record(world.engine(), &id).unwrap() == content);
        let info = world.engine().info(&id).unwrap();
        assert_eq!((info.created, info.interaction, info.sources), (Timestamp(77), interaction, 1));
        assert_eq!((&info.media_type[..], &info.purpose[..]), ("audio/wav", "wake word"));
        world.reopen();
        let again = world.engine().accept(&envelope[..]).unwrap();
        assert_eq!((again.id, again.again), (id, true));
        // Cut short, or changed anywhere: never a record, and the right one still comes in.
        let put = audio("ada").interaction(interaction);
        let whole = sealed(&world, put, &content, &key);
        let records = world.engine().list(&Default::default()).unwrap().records.len();
        for cut in [0, 5, 12, 60, 1000, 1170, 1220, whole.len() - 16, whole.len() - 1] {
            assert_eq!(
                error_kind(world.engine().accept(&whole[..cut.min(whole.len() - 1)])),
                ErrorKind::Corrupt,
                "{cut}"
            );
        }
        for at in [0, 9, 60, 700, 1175, 1230, whole.len() - 1] {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert_eq!(error_kind(world.engine().accept(&other[..])), ErrorKind::Corrupt, "{at}");
        }
        assert_eq!(
            error_kind(world.engine().accept(&[&whole[..], b"x"].concat()[..])),
            ErrorKind::Corrupt
        );
        assert_eq!(world.engine().list(&Default::default()).unwrap().records.len(), records);
        accepted(world.engine(), &whole);
    }
    assert_eq!(world.engine().report(&user("ada")).unwrap().accepted, 12);
}

#[test]
fn copies_of_envelopes_die_with_every_erase_that_touches_the_user() {
    let world = World::new(2, SMALL_PAGES);
    let engine = world.engine();
    engine.create_user(&user("ada")).unwrap();
    engine.create_user(&user("ben")).unwrap();
    let of_ben = engine.inbox(&user("ben")).key().unwrap();
    let kept = sealed(&world, audio("ben"), b"ben's", &of_ben);
    let scopes: [&dyn Fn(RecordId) -> Scope; 4] = [
        &|id| Scope::Record(id),
        &|id| Scope::interaction(user("ada"), id.interaction()),
        &|_| Scope::class(user("ada"), Class::audio()),
        &|_| Scope::user(user("ada")),
    ];
    let mut queue = vec![kept.clone()];
    for scope in scopes {
        let key = engine.inbox(&user("ada")).key().unwrap();
        assert_eq!(
            engine.inbox(&user("ada")).key().unwrap(),
            key,
            "it stays while nothing happens"
        );
        let (taken, waiting) =
            (sealed(&world, audio("ada"), b"a", &key), sealed(&world, audio("ada"), b"b", &key));
        let id = accepted(engine, &taken);
        queue.extend([taken.clone(), waiting.clone()]);
        let open = world.tape.opened(&world.cell.hoard(), &queue);
        assert!(
            open.iter().all(|open| *open),
            "with every root key ever, the adversary opens them all"
        );
        engine.erase(scope(id)).unwrap();
        // The queue keeps its copies; with the cell as it is now, only Ben's opens.
        let live = keyfall::cell::RootCell::load(&*world.cell).unwrap().keys;
        let open = world.tape.opened(&live, &queue);
        assert_eq!(open.iter().filter(|open| **open).count(), 1);
        assert!(open[0]);
        for envelope in [taken, waiting] {
            let e = engine.accept(&envelope[..]).unwrap_err();
            let gone = engine.report(&user("ada")).is_err();
            assert_eq!(e.kind(), if gone { ErrorKind::Erased } else { ErrorKind::Refused }, "{e}");
            assert!(gone || e.to_string().contains("`Inbox::key`"), "it says what to do: {e}");
        }
        if let Ok(new) = engine.inbox(&user("ada")).key() {
            assert_ne!(new, key);
        }
    }
    assert_eq!(error_kind(engine.inbox(&user("ada")).key()), ErrorKind::Erased);
    assert_eq!(read_record(engine, &accepted(engine, &kept)).unwrap(), b"ben's");
    // A user of the same name, created again, is another one.
    engine.create_user(&user("ada")).unwrap();
    assert_eq!(error_kind(engine.accept(&queue[1][..])), ErrorKind::Erased);
}

/// A record of ada's, the envelope of what ben derived from it, and the record that it became.
fn derived(world: &World) -> (RecordId, Vec<u8>, RecordId) {
    let engine = world.engine();
    let source = world.put("ada", Class::audio(), b"wake me");
    engine.create_user(&user("ben")).unwrap();
    let key = engine.inbox(&user("ben")).key().unwrap();
    let put = Put::new(user("ben"), Class::transcript()).derived_from(source);
    let envelope = sealed(world, put, b"wake me", &key);
    let id = accepted(engine, &envelope);
    (source, envelope, id)
}

#[test]
fn a_derived_record_that_falls_takes_its_own_users_inbox_with_it() {
    let world = World::new(3, SMALL_PAGES);
    let engine = world.engine();
    let (source, envelope, id) = derived(&world);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
    let live = keyfall::cell::RootCell::load(&*world.cell).unwrap().keys;
    assert_eq!(world.tape.opened(&live, std::slice::from_ref(&envelope)), [false]);
    assert_eq!(error_kind(engine.accept(&envelope[..])), ErrorKind::Refused);
    let late = Put::new(user("ben"), Class::transcript()).derived_from(source);
    let late = sealed(&world, late, b"late", &engine.inbox(&user("ben")).key().unwrap());
    assert_eq!(error_kind(engine.accept(&late[..])), ErrorKind::Erased);
}

/// The links of an erase were to be followed later; until then a second copy of the envelope was
/// told that it is in.
#[test]
fn a_second_copy_of_an_envelope_whose_record_fell_is_refused_as_erased() {
    let mut world = World::new(5, SMALL_PAGES);
    world.options.follow = Follow { links: 0, users: 0 };
    world.reopen();
    let engine = world.engine();
    let (_, envelope, id) = derived(&world);
    assert!(engine.accept(&envelope[..]).unwrap().again);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
    assert_eq!(error_kind(engine.accept(&envelope[..])), ErrorKind::Erased);
}

#[test]
fn inbox_keys_are_replaced_on_a_schedule() {
    let world = World::new(4, SMALL_PAGES);
    let engine = world.engine();
    engine.create_user(&user("ada")).unwrap();
    let day = 24 * 3600 * 1000;
    let first = engine.inbox(&user("ada")).key().unwrap();
    let (one, two) =
        (sealed(&world, audio("ada"), b"1", &first), sealed(&world, audio("ada"), b"2", &first));
    world.env.advance(8 * day);
    let second = engine.inbox(&user("ada")).key().unwrap();
    assert_ne!(second, first);
    accepted(engine, &one);
    let epoch = engine.head().epoch;
    world.env.advance(7 * day);
    assert_eq!(engine.run_due(&mut |_| {}).unwrap().inbox_keys, 1);
    assert_eq!(engine.head().epoch, epoch + 1, "its root key went with it");
    assert_eq!(error_kind(engine.accept(&two[..])), ErrorKind::Refused);
    let live = keyfall::cell::RootCell::load(&*world.cell).unwrap().keys;
    assert_eq!(world.tape.opened(&live, &[one.clone(), two]), [false, false]);
    // Accepted long ago is forgotten with the key: the envelope opens nothing now.
    assert_eq!(error_kind(engine.accept(&one[..])), ErrorKind::Refused);
    accepted(engine, &sealed(&world, audio("ada"), b"3", &second));
    world.env.advance(8 * day);
    assert_eq!(engine.run_due(&mut |_| {}).unwrap().inbox_keys, 1);
    assert_eq!(engine.status().unwrap().next_due, None);
}

#[test]
fn an_envelope_for_another_store_or_user_is_refused() {
    let (world, other) = (World::new(5, SMALL_PAGES), World::new(6, SMALL_PAGES));
    for world in [&world, &other] {
        world.engine().create_user(&user("ada")).unwrap();
        world.engine().create_user(&user("ben")).unwrap();
    }
    let key = world.engine().inbox(&user("ada")).key().unwrap();
    let envelope = sealed(&world, audio("ada"), b"x", &key);
    assert_eq!(error_kind(other.engine().accept(&envelope[..])), ErrorKind::Refused);
    let wrong = sealed(&world, audio("ben"), b"x", &key);
    assert_eq!(error_kind(world.engine().accept(&wrong[..])), ErrorKind::Refused);
    assert_eq!(error_kind("keyfall-inbox-1:AAAA".parse::<InboxKey>()), ErrorKind::Invalid);
    assert_eq!(error_kind("keyfall-inbox".parse::<InboxKey>()), ErrorKind::Invalid);
    let many = (0..257)
        .fold(audio("ada"), |put, _| put.derived_from(world.put("ada", Class::action(), b"y")));
    assert_eq!(
        error_kind(seal(&many, &b""[..], &key, &*world.env, &mut Vec::new())),
        ErrorKind::Invalid
    );
    // A hold keeps what is held, and not the inbox: an erase beside it replaces the key.
    world
        .engine()
        .holds(&user("ada"))
        .add(Hold::new("a court asks", "Amtsgericht").class(Class::audio()))
        .unwrap();
    world.engine().erase(Scope::class(user("ada"), Class::action())).unwrap();
    assert_eq!(error_kind(world.engine().accept(&envelope[..])), ErrorKind::Refused);
}

#[test]
fn accepting_one_envelope_twice_at_once_makes_one_record() {
    let world = World::new(7, SMALL_PAGES);
    world.engine().create_user(&user("ada")).unwrap();
    let key = world.engine().inbox(&user("ada")).key().unwrap();
    for round in 0..20 {
        let envelope = sealed(&world, audio("ada"), &bytes(round, 50_000), &key);
        let done: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| world.engine().accept(&envelope[..]).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(done.iter().filter(|done| !done.again).count(), 1);
        assert!(done.iter().all(|other| other.id == done[0].id));
    }
    assert_eq!(world.engine().list(&Default::default()).unwrap().records.len(), 20);
}

#[test]
fn sealed_on_the_command_line() {
    let cli = Cli::new();
    cli.ok(&["create", "store", "--user", "ada"]);
    std::fs::write(cli.path("ada.inbox"), cli.ok(&["inbox", "store", "--user", "ada"])).unwrap();
    std::fs::write(cli.path("wake.wav"), bytes(1, 100_000)).unwrap();
    let seal = [
        "seal",
        "--to",
        "ada.inbox",
        "--user",
        "ada",
        "--class",
        "audio",
        "wake.wav",
        "-o",
        "one.sealed",
    ];
    cli.ok(&seal);
    let id = cli.ok(&["accept", "store", "one.sealed"]);
    assert_eq!(cli.ok(&["accept", "store", "one.sealed"]), id);
    cli.ok(&["get", "store", &id, "-o", "back.wav"]);
    assert!(std::fs::read(cli.path("back.wav")).unwrap() == bytes(1, 100_000));
    assert!(cli.ok(&["report", "store", "--user", "ada"]).contains("1 were accepted"));
    cli.ok(&["erase", "store", "--record", &id, "--yes"]);
    let told = cli.fails(6, &["accept", "store", "one.sealed"]);
    assert!(told.contains("keyfall inbox"), "{told}");
    cli.fails(5, &["accept", "store", "wake.wav"]);
    cli.fails(1, &["accept", "store", "nowhere"]);
    cli.fails(
        2,
        &["seal", "--to", "wake.wav", "--user", "ada", "--class", "audio", "wake.wav", "-o", "x"],
    );
    assert!(!cli.path("x").exists());
}

#[test]
fn what_is_no_envelope_is_refused_as_such() {
    let cli = Cli::new();
    for garbage in [&b"no envelope"[..], &[7; 4000]] {
        std::fs::write(cli.path("garbage"), garbage).unwrap();
        let e = cli.fails(5, &["accept", "store", "garbage"]);
        assert!(
            !e.contains("a something") && !e.contains("from a copy"),
            "a store's copies have no envelopes: {e}"
        );
    }
}

#[test]
fn the_next_due_act_is_named_by_its_kind() {
    let world = World::new(21, SMALL_PAGES);
    let engine = world.engine();
    world.put("ada", Class::audio(), b"x");
    let due = || engine.status().unwrap().next_due_is;
    assert_eq!(due(), None);
    engine.inbox(&user("ada")).key().unwrap();
    assert_eq!(due(), Some(Due::InboxKey));
    let now = engine.info(&engine.list(&Query::default()).unwrap().records[0].id).unwrap().created;
    let plan = engine.erase_at(Scope::user(user("ada")), Timestamp(now.0 + 3_600_000)).unwrap();
    assert_eq!(due(), Some(Due::Planned));
    engine.plans(&user("ada")).cancel(plan.id).unwrap();
    assert_eq!(due(), Some(Due::InboxKey));
    engine
        .policies(Some(&user("ada")))
        .set(&Policy::new(Class::audio()).max_age(Duration::from_secs(86_400)))
        .unwrap();
    assert_eq!(due(), Some(Due::Limit));
    let cli = Cli::new();
    cli.ok(&["create", "store", "--user", "ada"]);
    cli.ok(&["inbox", "store", "--user", "ada"]);
    let told = cli.ok(&["status", "store"]);
    assert!(
        told.contains("an old inbox key is destroyed") && !told.contains("a planned erase"),
        "{told}"
    );
}

#[test]
fn an_envelope_is_put_only_if_its_user_and_its_sources_may_be_concerned() {
    let world = World::new(1, SMALL_PAGES);
    let bens = world.put("ben", Class::audio(), b"of ben");
    world.put("ada", Class::audio(), b"of ada");
    let engine = world.engine();
    let (ada, ben) = (engine.handle(&user("ada")).unwrap(), engine.handle(&user("ben")).unwrap());
    let key = engine.inbox(&user("ada")).key().unwrap();
    let envelope = sealed(&world, audio("ada").derived_from(bens), b"x", &key);
    let records =
        |name: &str| engine.list(&Query::default().user(user(name))).unwrap().records.len();
    let by = |allowed: &[keyfall::UserHandle]| {
        let (mut asked, mut classes) = (Vec::new(), Vec::new());
        let done = engine.accept_by(&envelope[..], &mut |of, class| {
            if let Some(class) = class {
                classes.push(class.to_string());
                return Ok(());
            }
            asked.push(*of);
            match allowed.contains(of) {
                true => Ok(()),
                false => Err(keyfall::Error::new(ErrorKind::Held, "not this one")),
            }
        });
        assert!(classes.iter().all(|class| class == "audio"), "{classes:?}");
        (done.map_err(|e| e.kind()).map(|done| done.again), asked)
    };
    assert_eq!(by(&[ben]), (Err(ErrorKind::Held), vec![ada]), "nothing was looked up");
    assert_eq!(by(&[ada]), (Err(ErrorKind::Held), vec![ada, ben]));
    assert_eq!((records("ada"), engine.lineage(&bens).unwrap().derived.len()), (1, 0));
    assert_eq!(by(&[ada, ben]), (Ok(false), vec![ada, ben]));
    assert_eq!((records("ada"), engine.lineage(&bens).unwrap().derived.len()), (2, 1));
    // Also where it was accepted before, and where the user was erased: what is told is the refusal.
    assert_eq!(by(&[ben]).0, Err(ErrorKind::Held));
    assert_eq!(by(&[ada, ben]), (Ok(true), vec![ada]));
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(by(&[ben]).0, Err(ErrorKind::Held));
}
