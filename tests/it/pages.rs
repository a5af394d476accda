//! Pages: which geometries are possible, and that stored pages have the sizes that the
//! specification names and no others. SPEC §5.1 to §5.5.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::engine::Geometry;
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::payload_names;
use keyfall::{
    Class, Engine, ErrorKind, InteractionId, Options, Put, RecordId, Scope, Timestamp, When,
};

use crate::support::{bytes, error_kind, read_record, user};

#[test]
fn a_geometry_is_checked() {
    let check = |page_bytes, fan_bits| {
        Geometry { page_bytes, fan_bits, ..Geometry::DEFAULT }.check().map_err(|e| e.kind())
    };
    for (page_bytes, fan_bits) in
        [(1024, 2), (1024, 4), (2048, 5), (4096, 6), (8192, 7), (16_384, 8), (16_384, 2)]
    {
        assert_eq!(
            check(page_bytes, fan_bits),
            Ok(Geometry { page_bytes, fan_bits, ..Geometry::DEFAULT })
        );
    }
    // Not a power of two; too small, too large; fan-outs out of bounds, and too wide for the page.
    for (page_bytes, fan_bits) in [
        (4000, 6),
        (3072, 4),
        (512, 2),
        (256, 2),
        (32_768, 6),
        (4096, 1),
        (4096, 0),
        (16_384, 9),
        (1024, 5),
        (4096, 7),
    ] {
        assert_eq!(check(page_bytes, fan_bits), Err(ErrorKind::Invalid), "{page_bytes} {fan_bits}");
    }
    let options =
        Options::new().geometry(Geometry { page_bytes: 4000, fan_bits: 6, ..Geometry::DEFAULT });
    assert_eq!(
        error_kind(Engine::init(
            Arc::new(MemoryStore::new()),
            Arc::new(MemoryCell::new()),
            options
        )),
        ErrorKind::Invalid
    );
}

#[test]
fn a_segment_size_is_checked() {
    let check = |segment_bytes| {
        Geometry { segment_bytes, ..Geometry::DEFAULT }.check().map_err(|e| e.kind())
    };
    for segment_bytes in [16_384, 262_144, 8 << 20] {
        assert_eq!(check(segment_bytes).unwrap().segment_bytes, segment_bytes);
    }
    // Less than a chunk, between two sizes, beyond what two buffers may take.
    for segment_bytes in [0, 1, 8192, 16_385, 3 * 16_384, 16 << 20, 1 << 32, usize::MAX] {
        assert_eq!(check(segment_bytes), Err(ErrorKind::Invalid), "{segment_bytes}");
    }
}

#[test]
fn a_record_is_cut_into_segments_of_the_size_that_its_store_was_made_with() {
    for segment_bytes in [16_384, 65_536, 8 << 20] {
        let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
        let options = Options::new().geometry(Geometry { segment_bytes, ..Geometry::DEFAULT });
        drop(Engine::init(store.clone(), cell.clone(), options).unwrap());
        // The head says the size, whatever the engine that opens the store is told.
        let engine = Engine::open(store.clone(), cell.clone(), Options::default()).unwrap();
        assert_eq!(engine.status().unwrap().geometry.segment_bytes, segment_bytes);
        let lengths =
            [0, 1, segment_bytes - 1, segment_bytes, segment_bytes + 1, 2 * segment_bytes + 5];
        let put = |n: usize, len| {
            engine.put(Put::new(user("ada"), Class::audio()), &bytes(n as u64, len)[..]).unwrap()
        };
        let ids: Vec<RecordId> = lengths.iter().enumerate().map(|(n, len)| put(n, *len)).collect();
        let segments = payload_names(&engine).unwrap();
        assert_eq!(
            segments.len(),
            lengths
                .iter()
                .filter(|len| **len > 512)
                .map(|len| keyfall::engine::padded(*len as u64) as usize / segment_bytes + 1)
                .sum::<usize>()
        );
        let longest =
            segments.iter().map(|name| store.get(name).unwrap().unwrap().len()).max().unwrap();
        assert_eq!(longest, 56 + segment_bytes / 16_384 * (16_384 + 16));
        let copy = MemoryStore::new();
        engine.backup(&copy, &mut |_| {}).unwrap();
        engine.discard(&mut |_| {}).unwrap();
        for (n, (id, len)) in ids.iter().zip(lengths).enumerate() {
            let content = bytes(n as u64, len);
            assert!(read_record(&engine, id).unwrap() == content, "{len} of {segment_bytes}");
            let mut reader = engine.get(id).unwrap();
            reader.seek(SeekFrom::Start(len as u64 / 2 + 9)).unwrap();
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert!(rest == content[content.len().min(len / 2 + 9)..], "{len} of {segment_bytes}");
        }
        let audit = engine.audit(&[Arc::new(copy)], &mut |_| {}).unwrap();
        assert!(audit.is_clean(), "{audit:?}");
        assert!(audit.places.iter().all(|place| place.live == audit.live_blobs), "{audit:?}");
    }
}

/// Sizes of all pages that a store holds after some life, with trees of more than one level.
fn sizes(geometry: Geometry) -> BTreeSet<usize> {
    let store = Arc::new(MemoryStore::new());
    let options = Options::new().geometry(geometry);
    let engine = Engine::init(store.clone(), Arc::new(MemoryCell::new()), options).unwrap();
    let mut payloads = BTreeSet::new();
    for n in 0..60 {
        engine.create_user(&user(&format!("user {n}"))).unwrap();
    }
    let mut batch = engine.batch();
    for n in 0..120 {
        let put = Put::new(user("ada"), Class::audio())
            .purpose("p".repeat(n * 2))
            .media_type("audio/x-a-long-type");
        batch.add(put, &[0; 7][..]).unwrap();
    }
    let ids = batch.commit().unwrap();
    for class in 0..45 {
        let put = Put::new(user("ada"), Class::new(format!("c{class:0>31}")).unwrap());
        engine.put(put, &[0; 7][..]).unwrap();
    }
    payloads.extend(payload_names(&engine).unwrap());
    for id in ids.iter().step_by(2) {
        engine.erase(Scope::Record(*id)).unwrap();
    }
    let names = keyfall::testing::listed(&*store, 1000).unwrap();
    let pages = names.iter().filter(|n| !payloads.contains(n));
    pages.map(|name| store.get(name).unwrap().unwrap().len()).collect()
}

#[test]
fn stored_pages_have_the_sizes_that_the_specification_names() {
    for geometry in
        [Geometry::default(), Geometry { page_bytes: 1024, fan_bits: 2, ..Geometry::DEFAULT }]
    {
        let sizes = sizes(geometry);
        // A user page has classes of its own, up to 8,192, whatever the pages of the trees.
        assert!(sizes.iter().any(|size| *size > 4096), "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 8192), "{sizes:?}");
        // Padmé's: from 256 to 65,535 bytes sixteen classes an octave.
        assert!(sizes.iter().all(|size| size % (1 << (size.ilog2() - 4)) == 0), "{sizes:?}");
    }
}

#[test]
fn the_length_of_a_users_own_pages_shows_up_to_an_eighth_and_from_256_bytes_on() {
    let store = Arc::new(MemoryStore::new());
    let engine =
        Engine::init(store.clone(), Arc::new(MemoryCell::new()), Options::default()).unwrap();
    for n in 0..20 {
        engine.create_user(&user(&format!("user {n}"))).unwrap();
    }
    let listed = || keyfall::testing::listed(&*store, 1000).unwrap();
    for n in 0..30 {
        let before = listed();
        let put = Put::new(user("user 7"), Class::audio()).purpose("p".repeat(n * 3));
        engine.put(put, &b"payload"[..]).unwrap();
        let new = listed().into_iter().filter(|name| !before.contains(name));
        let sizes: Vec<usize> = new.map(|name| store.get(&name).unwrap().unwrap().len()).collect();
        // The page of the user tree; then the user's page, and once it is long the class's.
        let twenty_slots = 3 + 20 * 67 + 72;
        assert_eq!(
            sizes.iter().filter(|size| (twenty_slots..twenty_slots + 64).contains(*size)).count(),
            1,
            "{sizes:?}"
        );
        let own = sizes.iter().filter(|size| !(twenty_slots..twenty_slots + 64).contains(*size));
        assert!(
            own.clone().all(|size| *size >= 256 && size % (1 << (size.ilog2() - 4)) == 0),
            "{sizes:?}"
        );
        assert!((1..=4).contains(&own.count()), "{sizes:?}");
    }
}

/// One user's records in a class, each in an interaction of its own: record `n` began at 1,000 + n.
struct Ladder {
    store: Arc<MemoryStore>,
    engine: Engine,
}

/// Of 1,024-byte pages: entries in a full leaf, leaves below a full page above them.
const LEAF: u64 = 15;
const FAN: u64 = 12;

fn interaction(n: u64) -> InteractionId {
    InteractionId::from_parts(Timestamp(1000 + n), [7; 10])
}

impl Ladder {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let options = Options::new().geometry(Geometry {
            page_bytes: 1024,
            fan_bits: 2,
            ..Geometry::DEFAULT
        });
        let engine = Engine::init(store.clone(), Arc::new(MemoryCell::new()), options).unwrap();
        Ladder { store, engine }
    }

    fn put(&self, numbers: impl Iterator<Item = u64>) -> Vec<RecordId> {
        let mut batch = self.engine.batch();
        for n in numbers {
            let put = Put::new(user("ada"), Class::audio()).interaction(interaction(n));
            batch.add(put.created(interaction(n).began()), &b"x"[..]).unwrap();
        }
        batch.commit().unwrap()
    }

    fn span(from: u64, until: u64) -> Scope {
        let when = When::Between {
            from: Some(Timestamp(1000 + from)),
            until: Some(Timestamp(1000 + until)),
        };
        Scope::User { user: user("ada"), class: Some(Class::audio()), when }
    }

    fn erase(&self, from: u64, until: u64) {
        assert_eq!(self.engine.erase(Self::span(from, until)).unwrap().records, Some(until - from));
    }

    fn blobs(&self) -> u64 {
        self.store.usage().unwrap().blobs
    }

    /// Live pages of the class's tree, where spans left `fences` pages of fences.
    fn class_pages(&self, fences: u64) -> u64 {
        self.engine.discard(&mut |_| {}).unwrap();
        // One page of the user tree, the user's own, and the log's.
        self.blobs() - 3 - fences
    }
}

/// Pages of the radix tree over these tags: SPEC.md 5.2, for leaves of 14 slots and two bits a
/// level.
fn radix_pages(tags: &[u128], depth: u32) -> u64 {
    if tags.len() <= 14 {
        return 1;
    }
    let digit = |tag: &u128| (tag << (depth * 2)) >> 126;
    let below =
        (0..4).map(|d| tags.iter().copied().filter(|tag| digit(tag) == d).collect::<Vec<_>>());
    1 + below.filter(|tags| !tags.is_empty()).map(|tags| radix_pages(&tags, depth + 1)).sum::<u64>()
}

#[test]
fn the_user_tree_has_the_shape_of_its_tags() {
    for users in [1, 14, 15, 60, 300] {
        let ladder = Ladder::new();
        let mut tags = Vec::new();
        for n in 0..users {
            let id = ladder
                .engine
                .put(Put::new(user(&format!("user {n}")), Class::audio()), &b"x"[..])
                .unwrap();
            let mut tag = [0; 16];
            tag[..12].copy_from_slice(&id.to_bytes()[16..28]);
            tags.push(u128::from_be_bytes(tag));
        }
        ladder.engine.discard(&mut |_| {}).unwrap();
        // Each user has a page, in which the record stands; the log has a page.
        assert_eq!(ladder.blobs() - 1 - users, radix_pages(&tags, 0), "{users} users");
    }
}

#[test]
fn a_user_has_48_classes_at_a_time_and_no_more() {
    let ladder = Ladder::new();
    let put = |n: usize| {
        ladder.engine.put(Put::new(user("ada"), Class::new(format!("c{n}")).unwrap()), &b"x"[..])
    };
    for n in 0..48 {
        put(n).unwrap();
    }
    assert_eq!(error_kind(put(48)), ErrorKind::Limit);
    put(47).unwrap();
    ladder.engine.erase(Scope::class(user("ada"), Class::new("c3").unwrap())).unwrap();
    put(48).unwrap();
    assert_eq!(ladder.engine.list(&keyfall::Query::default()).unwrap().records.len(), 49);
}

#[test]
fn records_in_the_order_of_time_fill_their_pages() {
    let ladder = Ladder::new();
    ladder.put(0..LEAF);
    assert_eq!(ladder.class_pages(0), 1, "a full leaf");
    ladder.put(LEAF..LEAF + 1);
    assert_eq!(ladder.class_pages(0), 3, "one more: a second leaf, and a page above both");
    ladder.put(LEAF + 1..LEAF * FAN);
    assert_eq!(ladder.class_pages(0), FAN + 1, "full leaves below a full page");
    ladder.put(LEAF * FAN..LEAF * FAN * 3);
    assert_eq!(ladder.class_pages(0), FAN * 3 + 3 + 1);
}

#[test]
fn records_out_of_order_fill_half_of_their_pages_at_least() {
    let ladder = Ladder::new();
    ladder.put((0..LEAF * 36).rev());
    let pages = ladder.class_pages(0);
    assert!((36..=90).contains(&pages), "{pages} pages for 36 full leaves");
    let mixed = Ladder::new();
    mixed.put((0..LEAF * 36).map(|n| n * 101 % (LEAF * 36)));
    let pages = mixed.class_pages(0);
    assert!((36..=80).contains(&pages), "{pages} pages for 36 full leaves");
}

#[test]
fn an_erase_rewrites_the_path_and_no_more() {
    let ladder = Ladder::new();
    let ids = ladder.put(0..LEAF * FAN * 3);
    let before = ladder.blobs();
    ladder.engine.erase(Scope::Record(ids[500])).unwrap();
    // The user tree, the user, three pages of the class, the fences, the log.
    assert_eq!(ladder.blobs() - before, 7);
    let before = ladder.blobs();
    // Ten leaves fall unread; those at both ends are cut.
    ladder.erase(LEAF + 4, LEAF * 12 + 4);
    assert_eq!(ladder.blobs() - before, 9);
}

#[test]
fn pages_that_are_left_nearly_empty_are_joined() {
    let pages = |spans: &[(u64, u64)]| {
        let ladder = Ladder::new();
        ladder.put(0..LEAF * 2);
        spans.iter().for_each(|(from, until)| ladder.erase(*from, *until));
        ladder.class_pages(1)
    };
    assert_eq!(pages(&[(0, 14)]), 3, "one and fifteen entries are too many for one page");
    assert_eq!(pages(&[(LEAF, LEAF + 4), (0, 14)]), 3, "nor do one and eleven share one");
    // And that one stands in the page of the user, for it is short.
    assert_eq!(pages(&[(LEAF, LEAF + 5), (0, 14)]), 0, "one and ten share a page");
    assert_eq!(pages(&[(0, 5), (LEAF, LEAF + 14)]), 0, "and so do ten and one");

    let ladder = Ladder::new();
    ladder.put(0..LEAF * FAN * 3);
    // In one commit: one leaf of the log, which stays in its one page.
    let spans: Vec<Scope> =
        (0..36).map(|leaf| Ladder::span(leaf * LEAF + 1, leaf * LEAF + LEAF)).collect();
    assert!(ladder.engine.erase_all(&spans).iter().all(Result::is_ok));
    let pages = ladder.class_pages(2);
    assert!((5..=10).contains(&pages), "{pages} pages for 36 records");
    let left: Vec<u64> = ladder
        .engine
        .list(&keyfall::Query::default())
        .unwrap()
        .records
        .iter()
        .map(|r| r.interaction.began().0 - 1000)
        .collect();
    assert_eq!(left, (0..36).map(|leaf| leaf * LEAF).collect::<Vec<_>>());
}
