//! batpak 0.10: a journal whose payloads are sealed under a key per entity; `shred_scope` destroys
//! it. One line of JSON on standard output.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark: what fails ends it")]

#[path = "../../src/measure.rs"]
mod measure;

use std::collections::HashMap;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
use batpak::prelude::{AppendOptions, Coordinate, EventId, EventKind, Open, Store, StoreConfig, SyncMode};
use batpak::store::{BatchAppendItem, CausationRef, KeyScopeGranularity, ReadDisposition, ShredScope};
use clap::Parser;
use measure::{Args, Peer, RECORD, content, measure};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    what: Args,
}

/// Payloads are text: a read that can say "shredded" gives JSON.
const KIND: EventKind = EventKind::custom(0xF, 1);

struct Batpak {
    store: Option<Store<Open>>,
    ids: HashMap<(u32, u32), EventId>,
}

fn open(dir: &Path) -> Store<Open> {
    let config = StoreConfig::new(dir)
        .with_payload_encryption(KeyScopeGranularity::PerEntity)
        .with_sync_every_n_events(1)
        .with_sync_mode(SyncMode::SyncData)
        .with_single_append_max_bytes(64 << 20)
        .with_batch_max_bytes(16 << 20);
    Store::open(config).unwrap()
}

fn coordinate(user: u32) -> Coordinate {
    Coordinate::new(format!("user:{user}"), "scope:compare").unwrap()
}

fn make(dir: &Path) -> Box<dyn Peer> {
    Box::new(Batpak { store: Some(open(dir)), ids: HashMap::new() })
}

impl Batpak {
    fn store(&self) -> &Store<Open> {
        self.store.as_ref().unwrap()
    }
}

impl Peer for Batpak {
    fn fill(&mut self, user: u32, n: u32) {
        for records in (0..n).collect::<Vec<_>>().chunks(200) {
            let item = |record: &u32| {
                let text = BASE64.encode(content(user, *record, RECORD));
                BatchAppendItem::new(coordinate(user), KIND, &text, AppendOptions::default(), CausationRef::None)
                    .unwrap()
            };
            let receipts = self.store().append_batch(records.iter().map(item).collect()).unwrap();
            self.ids.extend(records.iter().map(|record| (user, *record)).zip(receipts.iter().map(|r| r.event_id)));
        }
    }
    fn put(&mut self, user: u32, record: u32, content: &[u8]) {
        let receipt = self.store().append(&coordinate(user), KIND, &BASE64.encode(content)).unwrap();
        self.ids.insert((user, record), receipt.event_id);
    }
    fn get(&mut self, user: u32, record: u32) -> usize {
        match self.store().get_shreddable(self.ids[&(user, record)]).unwrap() {
            ReadDisposition::Present(event) => BASE64.decode(event.event.payload.as_str().unwrap()).unwrap().len(),
            ReadDisposition::Shredded => panic!("shredded"),
        }
    }
    fn erase(&mut self, user: u32) {
        assert!(self.store().shred_scope(ShredScope::Entity(&coordinate(user))).unwrap());
    }
    /// Its keys are its own; whether they are there shows when it opens.
    fn traces(&mut self, _: u32, _: u32) -> Vec<Vec<u8>> {
        Vec::new()
    }
    fn opens(&mut self, copy: &Path, user: u32) -> Option<bool> {
        let opened = open(copy);
        let read = opened.get_shreddable(self.ids[&(user, 0)]);
        Some(matches!(read, Ok(ReadDisposition::Present(_))))
    }
}

impl Drop for Batpak {
    fn drop(&mut self) {
        self.store.take().map(Store::close);
    }
}

fn main() {
    let line = measure("batpak: shred, a key per user", make, &Cli::parse().what);
    println!("{}", serde_json::to_string(&line).unwrap());
}
