//! RocksDB: writes synced; DeleteRange, then a compaction down to the last level, with the log of
//! writes let go.

use std::path::Path;

use rocksdb::{BottommostLevelCompaction, CompactOptions, DB, FlushOptions, Options, WriteBatch, WriteOptions};

use crate::measure::Peer;
use crate::peers::end_of;
use crate::rows::{self, Rows};

struct Rocks(DB);

pub(crate) fn rows(dir: &Path) -> impl Rows + use<> {
    let mut options = Options::default();
    options.create_if_missing(true);
    // Large values beside the tree, as its documentation has it for them.
    options.set_enable_blob_files(true);
    options.set_min_blob_size(32 << 10);
    Rocks(DB::open(&options, dir).unwrap())
}

pub(crate) fn plain(dir: &Path) -> Box<dyn Peer> {
    rows::plain(rows(dir))
}

fn durable() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

impl Rows for Rocks {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) {
        let mut batch = WriteBatch::default();
        rows.for_each(|(key, value)| {
            batch.put(key, value);
            if batch.size_in_bytes() > 16 << 20 {
                self.0.write(std::mem::take(&mut batch)).unwrap();
            }
        });
        self.0.write_opt(batch, &durable()).unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Vec<u8> {
        self.0.get(key).unwrap().unwrap()
    }
    fn remove(&mut self, prefix: &[u8]) {
        let mut batch = WriteBatch::default();
        batch.delete_range(prefix, &end_of(prefix)[..]);
        self.0.write_opt(batch, &durable()).unwrap();
    }
    fn vacuum(&mut self) {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.0.flush_opt(&flush).unwrap();
        let mut compact = CompactOptions::default();
        compact.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.0.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &compact);
    }
}
