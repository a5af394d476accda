//! Keyfall, on its default stack.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyfall::cell::{FileCell, MemoryCell, RootCell};
use keyfall::engine::Keeper;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, Options, Put, RecordId, Scope, UserId};

use crate::measure::{Peer, RECORD, content};
use crate::rows::marks;

struct Ours {
    engine: Engine,
    cell: PathBuf,
    ids: HashMap<(u32, u32), RecordId>,
}

fn user(n: u32) -> UserId {
    UserId::new(&format!("user-{n}")).unwrap()
}

pub(crate) fn make(dir: &Path) -> Box<dyn Peer> {
    // The cell lies beside, where no backup of the store takes it along.
    let cell = dir.with_extension("cell");
    let store = SledStore::create(dir).unwrap();
    let root = FileCell::create(&cell, true, Arc::new(System)).unwrap();
    let options = Options::new().keeper(Keeper::ByHand);
    let engine = Engine::init(Arc::new(store), Arc::new(root), options).unwrap();
    Box::new(Ours { engine, cell, ids: HashMap::new() })
}

impl Peer for Ours {
    fn fill(&mut self, who: u32, n: u32) {
        let interaction = self.engine.new_interaction().unwrap();
        for part in (0..n).collect::<Vec<_>>().chunks(5000) {
            let mut batch = self.engine.batch();
            for record in part {
                let put = Put::new(user(who), Class::audio()).interaction(interaction);
                batch.add(put, &content(who, *record, RECORD)[..]).unwrap();
            }
            let ids = batch.commit().unwrap();
            self.ids.extend(part.iter().map(|record| (who, *record)).zip(ids));
        }
    }
    fn put(&mut self, who: u32, record: u32, content: &[u8]) {
        let id = self.engine.put(Put::new(user(who), Class::audio()), content).unwrap();
        self.ids.insert((who, record), id);
    }
    fn get(&mut self, who: u32, record: u32) -> usize {
        let mut reader = self.engine.get(&self.ids[&(who, record)]).unwrap();
        let mut out = Vec::with_capacity(reader.info().length as usize);
        reader.write_to(&mut out).unwrap();
        out.len()
    }
    fn erase(&mut self, who: u32) {
        self.engine.erase(Scope::user(user(who))).unwrap();
    }
    fn traces(&mut self, who: u32, n: u32) -> Vec<Vec<u8>> {
        marks(who, n)
    }
    /// Every key that the cell holds now is tried on the copy.
    fn opens(&mut self, copy: &Path, who: u32) -> Option<bool> {
        let taken = MemoryCell::new();
        let now = tempfile::tempdir().unwrap();
        for slot in ["slot-a", "slot-b"] {
            std::fs::copy(self.cell.join(slot), now.path().join(slot)).unwrap();
        }
        std::fs::write(now.path().join("remnants-accepted"), "").unwrap();
        let contents = FileCell::open(now.path(), Arc::new(System)).unwrap().load().unwrap();
        for key in contents.keys {
            taken.deposit(contents.store.unwrap(), &key.id, &key.key).unwrap();
        }
        let _ = std::fs::remove_file(copy.join("lock"));
        let options = Options::new().keeper(Keeper::ByHand);
        let opened = Engine::open(Arc::new(SledStore::open(copy).unwrap()), Arc::new(taken), options);
        Some(opened.is_ok_and(|engine| engine.info(&self.ids[&(who, 0)]).is_ok()))
    }
}
