//! The tables that rows are kept in: fjall and sled, with all changes of a commit in one atomic
//! batch.

use std::path::Path;

/// A change of one row: its value, or `None` where it goes.
pub(crate) struct Change {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

pub(crate) trait Table {
    /// Makes all of the changes or none; durable when it returns.
    fn commit(&mut self, changes: Vec<Change>);
    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>>;
    /// Keys that begin so.
    fn keys(&mut self, prefix: &[u8]) -> Vec<Vec<u8>>;
    /// Gives space back, as its documentation says.
    fn tidy(&mut self);
}

/// fjall: its defaults; each batch with the durability SyncAll.
struct Fjall {
    db: fjall::Database,
    rows: fjall::Keyspace,
}

pub(crate) fn fjall(dir: &Path) -> impl Table + use<> {
    let db = fjall::Database::builder(dir).open().unwrap();
    let rows = db.keyspace("rows", fjall::KeyspaceCreateOptions::default).unwrap();
    Fjall { db, rows }
}

impl Table for Fjall {
    fn commit(&mut self, changes: Vec<Change>) {
        let mut batch = self.db.batch().durability(Some(fjall::PersistMode::SyncAll));
        for Change { key, value } in changes {
            match value {
                Some(value) => batch.insert(&self.rows, key, value),
                None => batch.remove(&self.rows, key),
            }
        }
        batch.commit().unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.rows.get(key).unwrap().map(|value| value.to_vec())
    }
    fn keys(&mut self, prefix: &[u8]) -> Vec<Vec<u8>> {
        self.rows.prefix(prefix).map(|row| row.key().unwrap().to_vec()).collect()
    }
    fn tidy(&mut self) {
        self.rows.rotate_memtable_and_wait().unwrap();
        self.rows.major_compact().unwrap();
    }
}

/// sled: its defaults; flushed after each batch. It has nothing for giving space back.
struct Sled(sled::Db);

pub(crate) fn sled(dir: &Path) -> impl Table + use<> {
    Sled(sled::Config::new().path(dir).flush_every_ms(None).open().unwrap())
}

impl Table for Sled {
    fn commit(&mut self, changes: Vec<Change>) {
        let mut batch = sled::Batch::default();
        for Change { key, value } in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.0.apply_batch(batch).unwrap();
        self.0.flush().unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).unwrap().map(|value| value.to_vec())
    }
    fn keys(&mut self, prefix: &[u8]) -> Vec<Vec<u8>> {
        self.0.scan_prefix(prefix).keys().map(|key| key.unwrap().to_vec()).collect()
    }
    fn tidy(&mut self) {}
}
