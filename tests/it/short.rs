//! Short records: where their payloads stand, what they take on disk, and that they fall as others
//! do. SPEC §2.2, §5.2, §5.3, §5.5.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::engine::Geometry;
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::{decode_anything, listed, payload_names};
use keyfall::{
    Class, Engine, ErrorKind, InteractionId, Options, Put, Query, RecordId, Scope, Timestamp, When,
};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, read_record, user};

/// An engine over a memory store.
fn new(geometry: Geometry) -> (Arc<MemoryStore>, Engine) {
    let store = Arc::new(MemoryStore::new());
    let options = Options::new().geometry(geometry);
    let engine = Engine::init(store.clone(), Arc::new(MemoryCell::new()), options).unwrap();
    (store, engine)
}

fn interaction(n: u64) -> InteractionId {
    InteractionId::from_parts(Timestamp(1_700_000_000_000 + n), [7; 10])
}

/// A record of 200 bytes, as an assistant leaves many.
fn transcript(name: &str, n: u64) -> Put {
    Put::new(user(name), Class::transcript())
        .interaction(interaction(n))
        .created(interaction(n).began())
        .media_type("text/plain")
        .purpose("voice history")
}

/// What the default store keeps for live blobs: each with a label of 28 bytes and 20 in a table.
fn on_disk(store: &MemoryStore, engine: &Engine) -> usize {
    engine.discard(&mut |_| {}).unwrap();
    let names = listed(store, 1000).unwrap();
    names.iter().map(|name| store.get(name).unwrap().unwrap().len() + 48).sum()
}

#[test]
fn twenty_records_of_200_bytes_take_at_most_1_6_times_their_length() {
    // A sixteenth of 10,000 users: their tree is one level lower, and as full.
    let (users, each) = (625, 20);
    let (store, engine) = new(Geometry::default());
    for name in 0..users {
        let mut batch = engine.batch();
        for n in 0..each {
            batch.add(transcript(&format!("user-{name}"), n), &bytes(n, 200)[..]).unwrap();
        }
        batch.commit().unwrap();
    }
    let (all, plain) = (on_disk(&store, &engine), users * each as usize * 200);
    println!("{} bytes for {plain}: {:.3}", all, all as f64 / plain as f64);
    assert!(all * 10 <= plain * 16, "{all} bytes for {plain}");
}

#[test]
fn a_user_with_one_short_record_takes_at_most_600_bytes() {
    // 1 in 256 of 1,000,000 users: their tree is two levels lower, and as full.
    let users = 3906;
    let (store, engine) = new(Geometry::default());
    let mut batch = engine.batch();
    for name in 0..users {
        batch.add(transcript(&format!("user-{name}"), 1), &bytes(name, 200)[..]).unwrap();
    }
    batch.commit().unwrap();
    let all = on_disk(&store, &engine);
    println!("{} bytes a user", all as f64 / users as f64);
    assert!(all <= 600 * users as usize, "{all} bytes for {users} users");
}

#[test]
fn a_payload_up_to_an_eighth_of_a_page_and_512_bytes_has_no_blob() {
    for (page_bytes, bound) in [(1024, 128), (2048, 256), (4096, 512), (16_384, 512)] {
        let (_, engine) = new(Geometry { page_bytes, fan_bits: 2, ..Geometry::DEFAULT });
        let copy = Arc::new(MemoryStore::new());
        let mut segments = 0;
        for (n, len) in [0, 1, 63, 64, 65, bound - 1, bound, bound + 1, 700].into_iter().enumerate()
        {
            let content = bytes(n as u64, len);
            let id = engine.put(transcript("ada", n as u64), &content[..]).unwrap();
            segments += usize::from(len > bound);
            assert_eq!(payload_names(&engine).unwrap().len(), segments, "{len} of {page_bytes}");
            assert!(read_record(&engine, &id).unwrap() == content, "{len} of {page_bytes}");
            let info = engine.info(&id).unwrap();
            assert_eq!((info.length, info.created), (len as u64, interaction(n as u64).began()));
            let mut reader = engine.get(&id).unwrap();
            reader.seek(SeekFrom::Start(len as u64 / 2)).unwrap();
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert!(rest == content[len / 2..], "{len} of {page_bytes}");
        }
        engine.backup(&*copy, &mut |_| {}).unwrap();
        let audit = engine.audit(&[copy], &mut |_| {}).unwrap();
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!(audit.places[0].live, audit.live_blobs);
    }
}

#[test]
fn a_time_before_or_after_that_of_the_interaction_comes_back() {
    let (_, engine) = new(Geometry::default());
    let began = interaction(5).began().0;
    for created in [0, 1, began - 1, began, began + 1, began + 64, 1 << 62, u64::MAX] {
        let put = transcript("ada", 5).created(Timestamp(created));
        let id = engine.put(put, &b"x"[..]).unwrap();
        assert_eq!(engine.info(&id).unwrap().created, Timestamp(created));
    }
}

/// Which of these can be read, and which were erased.
fn readable(engine: &Engine, ids: &[RecordId]) -> Vec<bool> {
    ids.iter()
        .map(|id| match read_record(engine, id) {
            Ok(_) => true,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Erased);
                false
            }
        })
        .collect()
}

#[test]
fn a_short_derived_record_falls_with_its_source_and_can_be_detached() {
    for geometry in [Geometry::default(), SMALL_PAGES] {
        let world = World::new(3, geometry);
        let engine = world.engine();
        let audio = world.put("ada", Class::audio(), b"six");
        let derived = |class, content: &[u8]| {
            let put = Put::new(user("ben"), class).derived_from(audio);
            engine.put(put, content).unwrap()
        };
        let (text, alarm) =
            (derived(Class::transcript(), b"in letters"), derived(Class::action(), b"alarm"));
        let empty = derived(Class::action(), b"");
        assert!(payload_names(engine).unwrap().is_empty());
        for (id, content) in [(text, &b"in letters"[..]), (alarm, b"alarm"), (empty, b"")] {
            assert_eq!(read_record(engine, &id).unwrap(), content);
        }
        engine.detach(&alarm, "it goes on ringing").unwrap();
        let mut reader = engine.get(&text).unwrap();
        engine.erase(Scope::Record(audio)).unwrap();
        assert!(reader.read_some(&mut [0; 9]).is_err(), "a reader that holds it is closed");
        assert_eq!(readable(engine, &[audio, text, alarm, empty]), [false, false, true, false]);
        assert_eq!(read_record(engine, &alarm).unwrap(), b"alarm");
        let exposed = world.tape.exposed(&*world.cell).unwrap();
        assert_eq!(exposed.into_keys().collect::<Vec<_>>(), [alarm]);
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    }
}

#[test]
fn a_class_leaves_the_page_of_its_user_as_it_grows_and_comes_back() {
    let mut world = World::new(4, Geometry::default());
    let put = |world: &World, n: u64| {
        world.engine().put(transcript("ada", n), &bytes(n, 150)[..]).unwrap()
    };
    // The user tree's page, the log's, the user's.
    let pages = |world: &World| {
        world.engine().discard(&mut |_| {}).unwrap();
        world.store.usage().unwrap().blobs
    };
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(put(&world, n));
        assert_eq!(pages(&world), 3, "{n} records");
    }
    for n in 4..30 {
        ids.push(put(&world, n));
    }
    assert_eq!(pages(&world), 3 + 3, "two leaves, and a page above them");
    world.reopen();
    let span = |from: u64, until: u64| {
        let at = |n| Some(interaction(n).began());
        let when = When::Between { from: at(from), until: at(until) };
        Scope::User { user: user("ada"), class: Some(Class::transcript()), when }
    };
    world.engine().erase(span(3, 30)).unwrap();
    assert_eq!(pages(&world), 3 + 1, "and the fences");
    let alive: Vec<bool> = (0..30).map(|n| n < 3).collect();
    assert_eq!(readable(world.engine(), &ids), alive);
    // Within the class that stands in the user's page.
    world.engine().erase(span(1, 2)).unwrap();
    world.engine().erase(Scope::Record(ids[0])).unwrap();
    let alive: Vec<bool> = (0..30).map(|n| n == 2).collect();
    assert_eq!(readable(world.engine(), &ids), alive);
    let exposed = world.tape.exposed(&*world.cell).unwrap();
    assert_eq!(exposed.into_keys().collect::<Vec<_>>(), [ids[2]]);
    let put = Put::new(user("ada"), Class::transcript()).interaction(interaction(1));
    assert_eq!(error_kind(world.engine().put(put, &b"late"[..])), ErrorKind::Erased);
    world.reopen();
    let left = world.engine().list(&Query::default()).unwrap().records;
    assert_eq!(left.iter().map(|record| record.id).collect::<Vec<_>>(), [ids[2]]);
    assert_eq!(world.engine().users(None, 9).unwrap(), [(user("ada"), 1)]);
}

/// Both halves of a leaf list the same long texts: with a long entry between them neither has room
/// for it.
#[test]
fn a_leaf_is_cut_into_three_where_two_would_be_too_long() {
    let (store, engine) = new(Geometry::default());
    let purpose = |n: u64| format!("{n:0>250}");
    let short = |n| transcript("ada", n).purpose(purpose(n % 100));
    let mut ids = Vec::new();
    for n in (0..10).chain(100..110) {
        ids.push(engine.put(short(n), &bytes(n, 17)[..]).unwrap());
    }
    let middle = transcript("ada", 50)
        .media_type(format!("text/{}", "x".repeat(122)))
        .purpose("y".repeat(255));
    ids.insert(10, engine.put(middle, &bytes(50, 512)[..]).unwrap());
    let records = engine.list(&Query::default()).unwrap().records;
    assert_eq!(records.iter().map(|record| record.id).collect::<Vec<_>>(), ids);
    for (record, n) in records.iter().zip((0..10).chain([50]).chain(100..110)) {
        let expected = if n == 50 { "y".repeat(255) } else { purpose(n % 100) };
        assert_eq!(record.purpose, expected);
        assert!(read_record(&engine, &record.id).unwrap() == bytes(n, record.length as usize));
    }
    engine.discard(&mut |_| {}).unwrap();
    // The user tree, the user, the log, three leaves and a page above them.
    assert_eq!(store.usage().unwrap().blobs, 3 + 4);
}

#[test]
fn an_entry_with_a_flag_that_nobody_knows_is_refused() {
    let entry = [&[3][..], b"a/b", &[0], &[0], &[7; 32], b"wake me"].concat();
    assert!(decode_anything(5, &entry));
    for (flag, known) in [(16, true), (32, true), (64, false), (128, false)] {
        let mut other = entry.clone();
        other[5] |= flag;
        // A digest is that of a payload in segments.
        assert_eq!(decode_anything(5, &other), known, "{flag}");
    }
    let apart = [&entry[..5], &[72], &[7; 32], &[8; 32], &[0x81, 4], &[9; 16]].concat();
    assert!(decode_anything(5, &apart));
    assert!(!decode_anything(5, &apart[..apart.len() - 1]));
    // What says nothing is not written: no sources and no depth, no lag.
    assert!(!decode_anything(5, &[&entry[..5], &[2], &[7; 32], &[0; 4], b"wake me"].concat()));
    assert!(!decode_anything(5, &[&entry[..5], &[4], &[7; 32], &[0], b"wake me"].concat()));
    // Nor is a number in a longer form than it needs.
    assert!(decode_anything(5, &[&entry[..5], &[4], &[7; 32], &[2], b"wake me"].concat()));
    assert!(!decode_anything(5, &[&entry[..5], &[4], &[7; 32], &[0x82, 0], b"wake me"].concat()));
    // A payload is at most 512 bytes long here.
    assert!(decode_anything(5, &[&entry[..38], &[9; 512]].concat()));
    assert!(!decode_anything(5, &[&entry[..38], &[9; 513]].concat()));
}

#[test]
fn a_leaf_lists_its_texts_in_order_and_each_that_its_records_have() {
    let leaf = |texts: &[&[u8]], numbers: [u8; 2]| {
        let mut out = vec![3, 0, 1, 0, texts.len() as u8];
        for text in texts {
            out.push(text.len() as u8);
            out.extend_from_slice(text);
        }
        let rest = [&[0][..], &[7; 32], b"x"].concat();
        [&out[..], &[5; 20], &numbers, &[0, rest.len() as u8], &rest].concat()
    };
    assert!(decode_anything(28, &leaf(&[b"", b"a/b"], [1, 0])));
    assert!(decode_anything(28, &leaf(&[b"a/b"], [0, 0])));
    assert!(!decode_anything(28, &leaf(&[b"a/b", b""], [0, 1])), "out of order");
    assert!(!decode_anything(28, &leaf(&[b"", b"a/b", b"c"], [1, 0])), "one that no record has");
    assert!(!decode_anything(28, &leaf(&[b"a/b"], [0, 1])), "one that is not there");
}
