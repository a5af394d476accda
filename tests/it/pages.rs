//! Pages: which geometries there can be, and that stored pages have the sizes that the specification names and no other.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::engine::{Geometry, Options};
use keyfall::ids::BlobName;
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::payload_names;
use keyfall::{Class, Engine, ErrorKind, Put, Scope};

use crate::support::{kind, user};

#[test]
fn a_geometry_is_checked() {
    let check = |page_bytes, fan_bits| Geometry { page_bytes, fan_bits }.check().map_err(|e| e.kind());
    for (page_bytes, fan_bits) in [(1024, 2), (1024, 4), (2048, 5), (4096, 6), (8192, 7), (16_384, 8), (16_384, 2)] {
        assert_eq!(check(page_bytes, fan_bits), Ok(Geometry { page_bytes, fan_bits }));
    }
    // Not a power of two; too small, too large; fan-outs out of bounds, and too wide for the page.
    for (page_bytes, fan_bits) in
        [(4000, 6), (3072, 4), (512, 2), (256, 2), (32_768, 6), (4096, 1), (4096, 0), (16_384, 9), (1024, 5), (4096, 7)]
    {
        assert_eq!(check(page_bytes, fan_bits), Err(ErrorKind::Invalid), "{page_bytes} {fan_bits}");
    }
    let options = Options { geometry: Geometry { page_bytes: 4000, fan_bits: 6 }, ..Options::default() };
    assert_eq!(
        kind(Engine::init(Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()), options)),
        ErrorKind::Invalid
    );
}

/// Sizes of all pages that a store holds after some life, with trees of more than one level.
fn sizes(geometry: Geometry) -> BTreeSet<usize> {
    let store = Arc::new(MemoryStore::new());
    let options = Options { geometry, ..Options::default() };
    let engine = Engine::init(store.clone(), Arc::new(MemoryCell::new()), options).unwrap();
    let mut payloads = BTreeSet::new();
    for n in 0..60 {
        engine.create_user(&user(&format!("user {n}"))).unwrap();
    }
    let mut batch = engine.batch();
    for n in 0..120 {
        let put = Put::new(user("ada"), Class::audio()).purpose("p".repeat(n * 2)).media_type("audio/x-a-long-type");
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
    let names = store.names(&BlobName::FIRST, usize::MAX).unwrap();
    let pages = names.iter().filter(|n| !payloads.contains(n));
    pages.map(|name| store.get(name).unwrap().unwrap().len()).collect()
}

#[test]
fn stored_pages_have_the_sizes_that_the_specification_names() {
    // A user page has classes of its own, up to 8,192, whatever the pages of the trees.
    assert_eq!(sizes(Geometry::default()), BTreeSet::from([512, 1024, 2048, 4096, 8192]));
    let small = sizes(Geometry { page_bytes: 1024, fan_bits: 2 });
    assert_eq!(small, BTreeSet::from([512, 1024, 2048, 4096, 8192]));
}
