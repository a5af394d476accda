//! A place without room: what had none is not there, and nothing else is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::Geometry;
use keyfall::store::{ObjectLog, Store};
use keyfall::{Class, Engine, ErrorKind, Options, Put, RecordId, Scope};
use keyfall_objects::{Created, Failure, Listed, MemoryObjects, Objects, Result};

use crate::engines::{put, read, user};

/// Segments that are put into commits, many of them into one.
fn options() -> Options {
    let geometry = Geometry { segment_bytes: 64 << 10, ..Geometry::DEFAULT };
    crate::engines::options().geometry(geometry)
}

/// Objects with room for so many more of them.
struct Narrow {
    inner: MemoryObjects,
    room: AtomicU64,
}

impl Narrow {
    fn new() -> Arc<Self> {
        Arc::new(Narrow { inner: MemoryObjects::new(), room: AtomicU64::new(u64::MAX) })
    }

    fn has_room_for(&self, objects: u64) {
        self.room.store(objects, Ordering::Relaxed);
    }
}

impl Objects for Narrow {
    fn place(&self) -> String {
        "narrow".into()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let takes = |room: u64| room.checked_sub(1);
        match self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes) {
            Ok(_) => self.inner.create(name, bytes),
            Err(_) => Err(Failure::full(format!("narrow: {name}: no space left"))),
        }
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.inner.get(name)
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.inner.get_range(name, from, len)
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.inner.list(folder, after, limit)
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.inner.head(name)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.inner.delete(name)
    }
}

fn log(objects: &Arc<Narrow>) -> Arc<dyn Store> {
    Arc::new(ObjectLog::open_or_create(Arc::clone(objects) as Arc<dyn Objects>).unwrap())
}

/// Bytes that begin with their number; lengths that are one commit, several objects, and parts of
/// several commits.
fn payload(n: u32) -> Vec<u8> {
    let len = [9, 60_000, 700_000, 9_500_000][n as usize % 4];
    n.to_be_bytes().into_iter().cycle().take(len).collect()
}

#[test]
fn what_had_no_room_is_told_so_and_the_engine_goes_on() {
    let objects = Narrow::new();
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), Arc::clone(&cell), options()).unwrap();
    let mut kept: Vec<(RecordId, u32)> = Vec::new();
    let mut failed = 0;
    for n in 0..12 {
        // From none at all to all but the commit.
        for room in 0..6 {
            objects.has_room_for(room);
            match put(&engine, n, &payload(n)) {
                Ok(id) => kept.push((id, n)),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Full, "{e}");
                    assert!(!e.may_have_happened(), "{e}");
                    assert!(e.to_string().contains("free some space"), "{e}");
                    failed += 1;
                }
            }
        }
        objects.has_room_for(u64::MAX);
        kept.push((put(&engine, n, &payload(n)).unwrap(), n));
        for (id, n) in kept.iter().rev().take(6) {
            assert_eq!(read(&engine, id).unwrap(), payload(*n), "record {n}");
        }
    }
    assert!(failed > 12, "{failed}");
    let (gone, n) = kept.remove(7);
    objects.has_room_for(0);
    let e = engine.erase(Scope::record(gone)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Full, "{e}");
    assert_eq!(read(&engine, &gone).unwrap(), payload(n), "nothing was erased");
    let e = ObjectLog::open(Arc::clone(&objects) as Arc<dyn Objects>).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Full, "an opening leaves a probe: {e}");
    objects.has_room_for(u64::MAX);
    engine.erase(Scope::record(gone)).unwrap();
    engine.close().unwrap();
    let engine = Engine::open(log(&objects), cell, options()).unwrap();
    for (id, n) in &kept {
        assert_eq!(read(&engine, id).unwrap(), payload(*n), "record {n}");
    }
    assert_eq!(read(&engine, &gone).unwrap_err().kind(), ErrorKind::Erased);
}

/// A record that is put piece by piece, and others that find no room meanwhile.
#[test]
fn an_upload_outlasts_a_full_disk() {
    let objects = Narrow::new();
    let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options()).unwrap();
    let whole = payload(3);
    let mut pieces = whole.chunks(1 << 20);
    let mut reads = std::io::Cursor::new(Vec::new());
    let mut turn = 0;
    let source = std::iter::from_fn(|| {
        turn += 1;
        objects.has_room_for(0);
        let e = put(&engine, 7, &payload(turn % 2)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Full, "{e}");
        objects.has_room_for(u64::MAX);
        pieces.next()
    });
    let mut source = Pieces { source, piece: &mut reads };
    let id = engine.put(Put::new(user(1), Class::audio()), &mut source).unwrap();
    assert_eq!(read(&engine, &id).unwrap(), whole);
}

struct Pieces<'a, I> {
    source: I,
    piece: &'a mut std::io::Cursor<Vec<u8>>,
}

impl<'p, I: Iterator<Item = &'p [u8]>> std::io::Read for Pieces<'_, I> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self.piece.read(into)? {
            0 => match self.source.next() {
                Some(piece) => {
                    *self.piece = std::io::Cursor::new(piece.to_vec());
                    self.piece.read(into)
                }
                None => Ok(0),
            },
            n => Ok(n),
        }
    }
}
