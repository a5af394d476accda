//! Keyfall, on its default stack: actions, each in an interaction of its own.

use std::path::Path;
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, Options, Put, Query, RecordId, Scope, UserId};

use crate::many::{Many, Record};

struct Ours {
    engine: Engine,
    /// Ids of the records, by their numbers.
    ids: Vec<RecordId>,
}

fn user(n: u32) -> UserId {
    UserId::new(&format!("user-{n}")).unwrap()
}

pub(crate) fn make(dir: &Path) -> Box<dyn Many> {
    let store = SledStore::create(&dir.join("store")).unwrap();
    let cell = FileCell::create(&dir.join("cell"), true, Arc::new(System)).unwrap();
    let options = Options::new();
    let engine = Engine::init(Arc::new(store), Arc::new(cell), options).unwrap();
    Box::new(Ours { engine, ids: Vec::new() })
}

impl Many for Ours {
    fn put(&mut self, records: &[Record], contents: &[Vec<u8>]) {
        let mut batch = self.engine.batch();
        for (record, content) in records.iter().zip(contents) {
            batch.add(Put::new(user(record.user), Class::action()), &content[..]).unwrap();
        }
        self.ids.extend(batch.commit().unwrap());
    }
    fn get(&mut self, record: Record) -> Vec<u8> {
        let mut content = Vec::with_capacity(256);
        self.engine.get_to(&self.ids[record.number as usize], &mut content).unwrap();
        content
    }
    fn list(&mut self, who: u32) -> usize {
        self.engine.list(&Query::default().user(user(who))).unwrap().records.len()
    }
    fn erase(&mut self, who: u32) {
        self.engine.erase(Scope::user(user(who))).unwrap();
    }
    fn tidy(&mut self) {
        self.engine.discard(&mut |_| {}).unwrap();
    }
}
