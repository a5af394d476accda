//! Names that the application gives its records, what it says of them, and their digests. SPEC
//! §5.2, §5.3, §6.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Fact, Geometry, Hold};
use keyfall::store::MemoryStore;
use keyfall::{
    Batch, Class, Engine, Erase, ErrorKind, InteractionId, Options, Policy, Put, PutMode, Query,
    RecordId, Scope, Source, Timestamp,
};

use crate::cleaning::Counted;
use crate::support::{DAY, SMALL_PAGES, World, bytes, error_kind, facts, read_record, user};

const NAME: &str = "2026/11/26/wécker 🎤.wav";

fn named(name: &str) -> Put {
    Put::new(user("ada"), Class::audio()).name(name)
}

fn put(engine: &Engine, name: &str, content: &[u8]) -> RecordId {
    engine.put(named(name), content).unwrap()
}

fn found(engine: &Engine, name: &str) -> Option<RecordId> {
    match engine.find(&user("ada"), name) {
        Ok(info) => {
            assert_eq!(info.name.as_deref(), Some(name));
            Some(info.id)
        }
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased), "{e}");
            None
        }
    }
}

/// All names that begin so, page by page.
fn list(engine: &Engine, prefix: &str, limit: usize) -> Vec<String> {
    let mut query = Query::default().user(user("ada")).name_prefix(prefix).limit(limit);
    let mut names = Vec::new();
    loop {
        let page = engine.list(&query).unwrap();
        assert!(page.records.len() <= limit && page.next.is_none());
        names.extend(page.records.into_iter().map(|record| record.name.unwrap()));
        match page.next_name {
            Some(name) => query = query.after_name(name),
            None => return names,
        }
    }
}

/// Whether somebody with all that was ever written and the keys of now reads the name.
fn is_readable(world: &World, name: &str) -> bool {
    world.tape.is_readable(&world.cell.load().unwrap().keys, name.as_bytes())
}

fn was_readable(world: &World, name: &str) -> bool {
    world.tape.is_readable(&world.cell.hoard(), name.as_bytes())
}

fn commit(world: &World) -> u64 {
    world.engine().status().unwrap().head.commit
}

#[test]
fn the_same_put_gives_one_record() {
    for geometry in [Geometry::default(), SMALL_PAGES] {
        for len in [0, 40, 700, 300_000] {
            let mut world = World::new(1, geometry);
            let content = bytes(3, len);
            let wake = || named(NAME).media_type("audio/wav").purpose("history").meta("room", "1");
            let id = world.engine().put(wake(), &content[..]).unwrap();
            let before = commit(&world);
            for mode in [PutMode::Replace, PutMode::IfAbsent, PutMode::IfIs(id)] {
                assert_eq!(world.engine().put(wake().mode(mode), &content[..]).unwrap(), id);
            }
            assert_eq!(commit(&world), before, "nothing was written");
            world.reopen();
            assert_eq!(world.engine().put(wake(), &content[..]).unwrap(), id);
            assert_eq!(world.engine().list(&Query::default()).unwrap().records.len(), 1);
            assert_eq!(read_record(world.engine(), &id).unwrap(), content);
            // Whatever differs makes it another one.
            let others = [
                wake().purpose("training"),
                wake().media_type("audio/ogg"),
                wake().meta("room", "2"),
                wake().meta("device", "1"),
                Put::new(user("ada"), Class::transcript())
                    .name(NAME)
                    .media_type("audio/wav")
                    .purpose("history")
                    .meta("room", "1"),
            ];
            let mut last = id;
            for other in others {
                let next = world.engine().put(other.clone(), &content[..]).unwrap();
                assert_ne!(next, last);
                assert_eq!(error_kind(world.engine().get(&last)), ErrorKind::Erased);
                assert_eq!(world.engine().put(other, &content[..]).unwrap(), next);
                last = next;
            }
            assert_eq!(world.engine().list(&Query::default()).unwrap().records.len(), 1);
        }
    }
}

#[test]
fn a_replaced_record_is_erased_for_good_when_the_put_returns() {
    for len in [40, 5_000] {
        let world = World::new(2, SMALL_PAGES);
        let engine = world.engine();
        let first = put(engine, NAME, &bytes(1, len));
        let text = Put::new(user("ben"), Class::transcript());
        let text = engine.put(text.derived_from(first), &b"wake me"[..]).unwrap();
        let epoch = engine.status().unwrap().head.epoch;
        let second = put(engine, NAME, &bytes(2, len));
        let status = engine.status().unwrap();
        assert_eq!(status.head.epoch, epoch + 1, "it was an erase");
        assert!(status.finality.is_final(), "{:?}", status.finality);
        assert_eq!(found(engine, NAME), Some(second));
        assert_eq!(read_record(engine, &second).unwrap(), bytes(2, len));
        for id in [first, text] {
            assert_eq!(error_kind(engine.get(&id)), ErrorKind::Erased);
        }
        let now = world.cell.load().unwrap().keys;
        let exposed = world.tape.exposed_to(&now).unwrap();
        assert!(exposed.contains_key(&second) && exposed.len() == 1, "{exposed:?}");
        let before = world.tape.exposed_to(&world.cell.hoard()).unwrap();
        assert!(before.contains_key(&first) && before.contains_key(&text));
    }
}

#[test]
fn a_put_asks_what_has_its_name() {
    let world = World::new(3, SMALL_PAGES);
    let engine = world.engine();
    let put = |put: Put, content: &[u8]| engine.put(put, content);
    let first = put(named("a").if_absent(), b"1").unwrap();
    assert_eq!(error_kind(put(named("a").if_absent(), b"2")), ErrorKind::Exists);
    assert_eq!(error_kind(put(named("b").if_is(first), b"2")), ErrorKind::Changed);
    let second = put(named("a").if_is(first), b"2").unwrap();
    assert_eq!(error_kind(put(named("a").if_is(first), b"3")), ErrorKind::Changed);
    // Tried again after it was done, it is done.
    assert_eq!(put(named("a").if_is(first), b"2").unwrap(), second);
    assert_eq!(found(engine, "a"), Some(second));
    assert_eq!(
        error_kind(put(Put::new(user("ada"), Class::audio()).if_absent(), b"")),
        ErrorKind::Invalid
    );
    // Of another user it is another name.
    engine.put(Put::new(user("ben"), Class::audio()).name("a").if_absent(), &b"x"[..]).unwrap();
    assert_eq!(found(engine, "a"), Some(second));
}

#[test]
fn a_hold_keeps_a_record_from_being_replaced() {
    let world = World::new(4, SMALL_PAGES);
    let engine = world.engine();
    let first = put(engine, NAME, b"1");
    let held = engine.holds(&user("ada")).add(Hold::new("case 7", "court")).unwrap();
    for _ in 0..2 {
        assert_eq!(error_kind(engine.put(named(NAME), &b"2"[..])), ErrorKind::Held);
    }
    assert_eq!(put(engine, NAME, b"1"), first, "the same put takes nothing");
    assert_eq!(found(engine, NAME), Some(first));
    let refused = facts(engine, "ada").into_iter().find_map(|fact| match fact {
        Fact::Refused { times, .. } => Some(times),
        _ => None,
    });
    assert_eq!(refused, Some(2));
    engine.holds(&user("ada")).lift(held, "over", "court").unwrap();
    let second = put(engine, NAME, b"2");
    assert_eq!(found(engine, NAME), Some(second));
}

#[test]
fn what_is_derived_from_a_record_does_not_take_its_name() {
    let world = World::new(5, SMALL_PAGES);
    let engine = world.engine();
    let first = put(engine, NAME, b"1");
    let near = named(NAME).derived_from(first);
    assert_eq!(error_kind(engine.put(near, &b"2"[..])), ErrorKind::Refused);
    let text = Put::new(user("ben"), Class::transcript()).derived_from(first);
    let text = engine.put(text, &b"text"[..]).unwrap();
    let far = named(NAME).derived_from(text);
    assert_eq!(error_kind(engine.put(far, &b"2"[..])), ErrorKind::Refused);
    assert_eq!(found(engine, NAME), Some(first));
    // Under another name it comes in, and falls with its source.
    let other = named("other").derived_from(text);
    let other = engine.put(other, &b"2"[..]).unwrap();
    let again = named("other").derived_from(text);
    assert_eq!(engine.put(again, &b"2"[..]).unwrap(), other);
    put(engine, NAME, b"3");
    assert_eq!(found(engine, "other"), None);
    assert!(list(engine, "", 10) == [NAME]);
}

fn transcribed(batch: &mut Batch, audio: &[u8], text: &[u8]) {
    let audio = batch.add(named("a.wav"), audio).unwrap();
    let put = Put::new(user("ada"), Class::transcript()).name("a.txt");
    batch.add(put.derived_from(Source::Added(audio)), text).unwrap();
}

#[test]
fn a_batch_that_is_tried_again_gives_the_same_records() {
    for len in [40, 5_000] {
        let world = World::new(6, SMALL_PAGES);
        let engine = world.engine();
        let (audio, text) = (bytes(1, len), bytes(2, len));
        let once = |audio: &[u8], text: &[u8]| {
            let mut batch = engine.batch();
            transcribed(&mut batch, audio, text);
            batch.commit().unwrap()
        };
        let ids = once(&audio, &text);
        let before = commit(&world);
        assert_eq!(once(&audio, &text), ids);
        assert_eq!(commit(&world), before);
        // A new text of the recording that is there.
        let better = once(&audio, &bytes(3, len));
        assert_eq!(better[0], ids[0]);
        assert_ne!(better[1], ids[1]);
        assert_eq!(read_record(engine, &better[1]).unwrap(), bytes(3, len));
        assert_eq!(error_kind(engine.get(&ids[1])), ErrorKind::Erased);
        // Another recording takes the old text with it.
        let other = once(&bytes(4, len), &bytes(3, len));
        assert_eq!(error_kind(engine.get(&better[1])), ErrorKind::Erased);
        assert_eq!(read_record(engine, &other[1]).unwrap(), bytes(3, len));
        assert_eq!(list(engine, "", 10), ["a.txt", "a.wav"]);
        // The recording is put while another caller's batch is on its way.
        let mut late = engine.batch();
        transcribed(&mut late, &bytes(5, len), &bytes(6, len));
        let now = once(&bytes(5, len), &bytes(6, len));
        let late = late.commit().unwrap();
        assert_ne!(late[0], now[0], "the text depends on its own recording");
        assert_eq!(read_record(engine, &late[1]).unwrap(), bytes(6, len));
        assert_eq!(list(engine, "", 10), ["a.txt", "a.wav"]);
        // Twice in one batch a name is not put.
        let mut batch = engine.batch();
        batch.add(named("x"), &b"1"[..]).unwrap();
        assert_eq!(error_kind(batch.add(named("x"), &b"2"[..])), ErrorKind::Invalid);
    }
}

/// Erases `id`, whose name is `NAME`, in one of several ways.
fn erase_in_some_way(world: &World, id: RecordId, source: RecordId, way: usize) {
    let engine = world.engine();
    let began = id.interaction().began();
    let (ada, audio) = (user("ada"), Class::audio());
    let scope = match way {
        0 => Scope::record(id),
        1 => Scope::class(ada, audio),
        2 => Scope::interaction(ada, id.interaction()),
        3 => Scope::between(ada, Some(began), Some(Timestamp(began.0 + 1))),
        4 => Scope::user(ada),
        5 => Scope::record(source),
        6 => {
            engine.policies(None).set(&Policy::new(audio).max_age(DAY)).unwrap();
            world.days_pass(2);
            world.tend();
            return;
        }
        _ => {
            put(engine, NAME, b"another");
            engine.erase(Scope::record(found(engine, NAME).unwrap())).unwrap();
            return;
        }
    };
    engine.erase(scope).unwrap();
}

#[test]
fn a_name_falls_with_its_record_and_leaves_nothing() {
    for way in 0..8 {
        for others in [0, 60] {
            let world = World::new(7 + way, SMALL_PAGES);
            let engine = world.engine();
            let source = world.put("ben", Class::action(), b"source");
            // Names around it, so that it is above other pages too.
            for n in 0..others {
                put(engine, &format!("2026/11/{:02}/{n}", n % 30), &[n as u8]);
            }
            let wake = named(NAME).derived_from(source).meta("said", "wécker um 6");
            let began = InteractionId::from_parts(Timestamp(world.env_now() + 5), [3; 10]);
            let id = engine.put(wake.interaction(began), &b"content"[..]).unwrap();
            assert_eq!(found(engine, NAME), Some(id));
            assert!(is_readable(&world, NAME) && !world.tape.contains_bytes(NAME.as_bytes()));
            erase_in_some_way(&world, id, source, way as usize);
            assert_eq!(found(engine, NAME), None, "way {way}");
            for text in [NAME, "wécker um 6"] {
                assert!(!is_readable(&world, text), "way {way}, {others} others: {text}");
                assert!(was_readable(&world, text), "the adversary looks where it was");
            }
            if !matches!(way, 1 | 4 | 6) {
                assert_eq!(list(engine, "", 7).len(), others, "the others stay");
            }
        }
    }
}

trait Now {
    fn env_now(&self) -> u64;
}

impl Now for World {
    fn env_now(&self) -> u64 {
        self.in_days(0).0
    }
}

#[test]
fn a_name_whose_record_fell_with_a_source_is_free_before_it_is_followed() {
    let world = World::new(8, SMALL_PAGES);
    let engine = world.engine();
    let source = world.put("ben", Class::action(), b"source");
    // More than an erase follows.
    for n in 0..300 {
        let put = named(&format!("d/{n:03}")).derived_from(source);
        engine.put(put, &b"derived"[..]).unwrap();
    }
    let erasure = engine.erase(Scope::record(source)).unwrap();
    assert!(erasure.following);
    assert_eq!(found(engine, "d/007"), None);
    assert!(list(engine, "d/", 50).is_empty());
    let again = engine.put(named("d/007").if_absent(), &b"mine"[..]).unwrap();
    assert_eq!(error_kind(engine.put(named("d/008").if_is(again), &b""[..])), ErrorKind::Changed);
    world.tend();
    assert_eq!(found(engine, "d/007"), Some(again));
    assert_eq!(list(engine, "", 50), ["d/007"]);
    assert!(!is_readable(&world, "d/008") && was_readable(&world, "d/008"));
}

#[test]
fn names_list_in_the_order_of_their_bytes_while_they_come_and_go() {
    for geometry in [SMALL_PAGES, Geometry::default()] {
        let world = World::new(9, geometry);
        let engine = world.engine();
        let mut names: BTreeSet<String> = BTreeSet::new();
        for n in 0..200u64 {
            let len = [3, 30, 200][n as usize % 3];
            let name: String =
                bytes(n, len).iter().map(|b| ['a', 'ä', '/', '🎤', 'z'][*b as usize % 5]).collect();
            let name: String = name
                .chars()
                .scan(0, |sum, c| {
                    *sum += c.len_utf8();
                    (*sum <= 250).then_some(c)
                })
                .collect();
            let class =
                [Class::audio(), Class::transcript(), Class::action()][n as usize % 3].clone();
            engine.put(Put::new(user("ada"), class).name(&name), &n.to_be_bytes()[..]).unwrap();
            names.insert(name);
        }
        for prefix in ["", "a", "ä", "/", "🎤", "zz", "none"] {
            let expected: Vec<&String> = names.iter().filter(|n| n.starts_with(prefix)).collect();
            assert!(list(engine, prefix, 7).iter().eq(expected.iter().copied()), "{prefix}");
        }
        // The record after which a page ended falls, another one comes: the next page goes on.
        let all = Query::default().user(user("ada")).name_prefix("").limit(50);
        let first = engine.list(&all).unwrap();
        let last = first.next_name.unwrap();
        engine.erase(Scope::record(first.records[49].id)).unwrap();
        engine.put(named(&format!("{last}+")), &b"new"[..]).unwrap();
        let second = engine.list(&all.clone().after_name(last.clone())).unwrap();
        assert_eq!(second.records[0].name.as_deref(), Some(&*format!("{last}+")));
        let expected: Vec<&String> = names.iter().filter(|n| **n > last).take(49).collect();
        let names: Vec<&String> =
            second.records[1..].iter().filter_map(|r| r.name.as_ref()).collect();
        assert_eq!(names, expected);
        let texts = engine.list(&all.clone().class(Class::transcript())).unwrap();
        assert!(texts.records.iter().all(|record| record.class == Class::transcript()));
        for wrong in [
            Query::default().name_prefix("a"),
            all.clone().newest_first(true),
            all.after(first.records[0].id),
        ] {
            assert_eq!(error_kind(engine.list(&wrong)), ErrorKind::Invalid);
        }
    }
}

/// Against a plain map: names of all lengths come, are replaced and go, one by one and in runs.
#[test]
fn names_agree_with_a_map() {
    for (geometry, most) in [(SMALL_PAGES, 256), (Geometry::default(), 1024)] {
        let mut world = World::new(10, geometry);
        let mut there: BTreeMap<String, RecordId> = BTreeMap::new();
        for n in 0..900u64 {
            let b = bytes(n * 7 + 1, 8);
            let stem = usize::from(b[0]) % 40;
            let name = format!("{:02}{}", stem, "x".repeat(usize::from(b[1]) * stem % (most - 2)));
            let engine = world.engine();
            if n % 3 < 2 {
                let id = put(engine, &name, &b);
                if let Some(before) = there.insert(name, id) {
                    assert_eq!(error_kind(engine.get(&before)), ErrorKind::Erased);
                }
            } else if let Some(id) = there.remove(&name) {
                engine.erase(Scope::record(id)).unwrap();
            } else if n % 50 == 2 {
                let ids: Vec<RecordId> = there.values().copied().take(30).collect();
                there.retain(|_, id| !ids.contains(id));
                let erases: Vec<Erase> =
                    ids.into_iter().map(|id| Erase::new(Scope::record(id))).collect();
                assert!(engine.erase_all(&erases).iter().all(Result::is_ok));
            }
            if n % 100 == 0 {
                world.reopen();
            }
        }
        let engine = world.engine();
        assert!(there.len() > 100, "{}", there.len());
        assert!(list(engine, "", 13).iter().eq(there.keys()));
        for (name, id) in &there {
            assert_eq!(found(engine, name), Some(*id));
        }
        let span = Scope::between(user("ada"), None, Some(Timestamp(u64::MAX >> 17)));
        engine.erase(span).unwrap();
        assert!(list(engine, "", 13).is_empty());
    }
}

#[test]
fn a_name_and_metadata_have_bounds() {
    for (page_bytes, most) in [(1024, 256), (2048, 512), (4096, 1024), (16_384, 1024)] {
        let world = World::new(11, Geometry { page_bytes, fan_bits: 2, ..Geometry::DEFAULT });
        let engine = world.engine();
        for n in 0..4 {
            let name = format!("{n}{}", "n".repeat(most - 1));
            let wake = named(&name).meta("k".repeat(255), "v".repeat(2048 - 255));
            let id = engine.put(wake, &bytes(1, 512)[..]).unwrap();
            let info = engine.find(&user("ada"), &name).unwrap();
            assert_eq!((info.id, info.meta.len()), (id, 1));
            assert_eq!(info.meta["k".repeat(255).as_str()].len(), 2048 - 255);
            let mut many = named(&format!("many{n}"));
            for key in 0..64 {
                many = many.meta(format!("{key}"), "v".repeat(20));
            }
            engine.put(many, &b""[..]).unwrap();
            let info = engine.find(&user("ada"), &format!("many{n}")).unwrap();
            assert_eq!(info.meta.len(), 64);
        }
        let over = [
            named(""),
            named(&"n".repeat(most + 1)),
            named("a").meta("", "v"),
            named("a").meta("k".repeat(256), "v"),
            named("a").meta("k", "v".repeat(2048)),
            (0..65).fold(named("a"), |put, n| put.meta(n.to_string(), "v")),
        ];
        for put in over {
            assert_eq!(error_kind(engine.put(put, &b""[..])), ErrorKind::Invalid);
        }
        let listed = engine.list(&Query::default()).unwrap().records;
        assert_eq!(listed.len(), 8);
        for record in &listed {
            assert_eq!(engine.info(&record.id).unwrap(), *record);
        }
        // Metadata without a name.
        let put =
            Put::new(user("ada"), Class::audio()).meta("device", "kitchen").meta("device", "hall");
        let id = engine.put(put, &b""[..]).unwrap();
        let info = engine.info(&id).unwrap();
        assert_eq!((info.name, info.meta["device"].as_str()), (None, "hall"));
        assert_eq!(list(engine, "", 3).len(), 8);
    }
}

#[test]
fn a_digest_is_that_of_the_plaintext() {
    use sha2::{Digest, Sha256};
    let world = World::new(12, Geometry::default());
    let engine = world.engine();
    for len in [0, 1, 512, 513, 16_384, 262_144, 300_001] {
        let content = bytes(len as u64, len);
        let expected: [u8; 32] = Sha256::digest(&content).into();
        let id = world.put("ada", Class::audio(), &content);
        let listed = engine.list(&Query::default().user(user("ada"))).unwrap().records;
        assert_eq!(listed.iter().find(|r| r.id == id).unwrap().digest, Some(expected));
        assert_eq!(engine.info(&id).unwrap().digest, Some(expected));
        let text = Put::new(user("ben"), Class::transcript()).derived_from(id);
        let text = engine.put(text, &content[..]).unwrap();
        for detached in [false, true] {
            if detached {
                engine.detach(&text, "a copy of its own").unwrap();
            }
            assert_eq!(engine.info(&text).unwrap().digest, Some(expected), "{len}");
            assert_eq!(engine.get(&text).unwrap().info().digest, Some(expected));
            let listed = engine.list(&Query::default().user(user("ben"))).unwrap().records;
            assert_eq!(listed.iter().find(|r| r.id == text).unwrap().digest, None);
        }
        // Its digest falls with what it was derived from.
        let short = Put::new(user("ben"), Class::transcript()).derived_from(id);
        let short = engine.put(short, &content[..]).unwrap();
        engine.erase(Scope::record(id)).unwrap();
        assert_eq!(error_kind(engine.info(&short)), ErrorKind::Erased);
        assert!(!is_bytes_readable(&world, &expected), "{len}");
    }
}

fn is_bytes_readable(world: &World, needle: &[u8]) -> bool {
    world.tape.is_readable(&world.cell.load().unwrap().keys, needle)
}

#[test]
fn names_come_back_from_a_backup_and_what_was_kept_keeps_its_name() {
    let world = World::new(13, SMALL_PAGES);
    let engine = world.engine();
    let mut names = BTreeSet::new();
    for n in 0..80 {
        let class = if n % 2 == 0 { Class::audio() } else { Class::transcript() };
        let name = format!("{n:03}");
        let put = Put::new(user("ada"), class).name(&name).meta("n", n.to_string());
        engine.put(put, &[n as u8][..]).unwrap();
        names.insert(name);
    }
    let copy = Arc::new(MemoryStore::new());
    engine.backup(&*copy, &mut |_| {}).unwrap();
    let audit = engine.audit(&[copy], &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.places[0].live, audit.live_blobs);
    engine.discard(&mut |_| {}).unwrap();
    assert!(list(engine, "", 9).iter().eq(&names));
    engine.erase(Erase::new(Scope::user(user("ada"))).keep(Class::audio(), "asked for")).unwrap();
    names.retain(|name| name.parse::<u8>().unwrap() % 2 == 0);
    assert!(list(engine, "", 9).iter().eq(&names));
    let kept = engine.list(&Query::default().user(user("ada"))).unwrap().records;
    assert!(kept.iter().all(|record| record.name.is_some() && record.meta.len() == 1));
}

/// Of 100,000 names that are put as they ascend: a look-up reads a few pages, and a listing those
/// of its part. What that takes in time is in `benches/names.rs`.
#[test]
fn a_name_among_very_many_is_found_by_reading_about_as_many_pages_as_an_id() {
    let (store, read) = (Arc::new(MemoryStore::new()), Arc::new(AtomicU64::new(0)));
    let store = Arc::new(Counted(store, Arc::clone(&read)));
    // Every page that is looked at is read.
    let options = Options::default().cache_bytes(0);
    let engine = Engine::init(store, Arc::new(MemoryCell::new()), options).unwrap();
    let name = |n: usize| format!("2026/{:02}/{:02}/{n:06}.wav", n / 10_000, n / 400 % 25);
    let mut ids = Vec::new();
    for batch_of in 0..10 {
        let mut batch = engine.batch();
        for n in batch_of * 10_000..(batch_of + 1) * 10_000 {
            batch.add(named(&name(n)), &n.to_be_bytes()[..]).unwrap();
        }
        ids.extend(batch.commit().unwrap());
    }
    let ada = user("ada");
    let most = |act: &dyn Fn(usize)| {
        let reads = (0..50).map(|n| {
            let before = read.load(Ordering::Relaxed);
            act(n * 7919 % ids.len());
            read.load(Ordering::Relaxed) - before
        });
        reads.max().unwrap()
    };
    let by_id = most(&|n| drop(engine.info(&ids[n]).unwrap()));
    let by_name = most(&|n| assert_eq!(engine.find(&ada, &name(n)).unwrap().id, ids[n]));
    let page = most(&|n| {
        let prefix = format!("2026/{:02}/", n % 10);
        let query = Query::default().user(ada.clone()).name_prefix(prefix).limit(1000);
        assert_eq!(engine.list(&query).unwrap().records.len(), 1000);
    });
    println!("pages read: {by_id} by id, {by_name} by name, {page} for a page of 1,000 names");
    assert!(by_name <= by_id + 1 && page <= 80, "{by_id} {by_name} {page}");
}
