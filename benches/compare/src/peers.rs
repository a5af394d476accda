//! The peers, each as its own documentation has it for durable writes.

use std::path::{Path, PathBuf};

use heed::types::Bytes;
use redb::ReadableDatabase;

use crate::measure::Peer;
use crate::rows::{Rows, plain};

pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xFF; 8]].concat()
}

/// SQLite: WAL, synchronous=FULL, secure_delete.
struct Sqlite(rusqlite::Connection);

pub(crate) fn sqlite_rows(dir: &Path) -> impl Rows + use<> {
    let db = rusqlite::Connection::open(dir.join("db")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;
         CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
    )
    .unwrap();
    Sqlite(db)
}

pub(crate) fn sqlite(dir: &Path) -> Box<dyn Peer> {
    plain(sqlite_rows(dir))
}

impl Rows for Sqlite {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) {
        let tx = self.0.transaction().unwrap();
        {
            let mut insert = tx.prepare_cached("INSERT OR REPLACE INTO rows VALUES (?1, ?2)").unwrap();
            rows.for_each(|(key, value)| assert_eq!(insert.execute((key, value)).unwrap(), 1));
        }
        tx.commit().unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Vec<u8> {
        let mut select = self.0.prepare_cached("SELECT value FROM rows WHERE key = ?1").unwrap();
        select.query_row([key], |row| row.get(0)).unwrap()
    }
    fn remove(&mut self, prefix: &[u8]) {
        self.0.execute("DELETE FROM rows WHERE key >= ?1 AND key < ?2", (prefix, end_of(prefix))).unwrap();
        // What was deleted stands in the log of writes until that is emptied.
        self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    fn vacuum(&mut self) {
        self.0.execute_batch("VACUUM").unwrap();
        self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
}

/// redb: its default durability is immediate.
struct Redb(redb::Database);
const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("rows");

pub(crate) fn redb_rows(dir: &Path) -> impl Rows + use<> {
    Redb(redb::Database::create(dir.join("db")).unwrap())
}

pub(crate) fn redb(dir: &Path) -> Box<dyn Peer> {
    plain(redb_rows(dir))
}

impl Rows for Redb {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) {
        let tx = self.0.begin_write().unwrap();
        {
            let mut table = tx.open_table(TABLE).unwrap();
            rows.for_each(|(key, value)| drop(table.insert(&key[..], &value[..]).unwrap()));
        }
        tx.commit().unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Vec<u8> {
        let table = self.0.begin_read().unwrap().open_table(TABLE).unwrap();
        table.get(key).unwrap().unwrap().value().to_vec()
    }
    fn remove(&mut self, prefix: &[u8]) {
        let tx = self.0.begin_write().unwrap();
        {
            let mut table = tx.open_table(TABLE).unwrap();
            table.retain_in(prefix..&end_of(prefix)[..], |_, _| false).unwrap();
        }
        tx.commit().unwrap();
    }
    fn vacuum(&mut self) {
        self.0.compact().unwrap();
    }
}

/// fjall: persisted with SyncAll.
struct Fjall {
    db: fjall::Database,
    rows: fjall::Keyspace,
}

pub(crate) fn fjall_rows(dir: &Path) -> impl Rows + use<> {
    let db = fjall::Database::builder(dir).open().unwrap();
    let rows = db.keyspace("rows", fjall::KeyspaceCreateOptions::default).unwrap();
    Fjall { db, rows }
}

pub(crate) fn fjall(dir: &Path) -> Box<dyn Peer> {
    plain(fjall_rows(dir))
}

impl Rows for Fjall {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) {
        rows.for_each(|(key, value)| self.rows.insert(key, value).unwrap());
        self.db.persist(fjall::PersistMode::SyncAll).unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Vec<u8> {
        self.rows.get(key).unwrap().unwrap().to_vec()
    }
    fn remove(&mut self, prefix: &[u8]) {
        let keys: Vec<_> = self.rows.prefix(prefix).map(|row| row.key().unwrap()).collect();
        keys.into_iter().for_each(|key| self.rows.remove(key).unwrap());
        self.db.persist(fjall::PersistMode::SyncAll).unwrap();
    }
    fn vacuum(&mut self) {
        self.rows.rotate_memtable_and_wait().unwrap();
        self.rows.major_compact().unwrap();
    }
}

/// LMDB: synced at each commit. Pages that were freed keep their bytes; only a compacting copy
/// leaves them behind.
struct Lmdb {
    dir: PathBuf,
    open: Option<(heed::Env, heed::Database<Bytes, Bytes>)>,
}

fn open_lmdb(dir: &Path) -> (heed::Env, heed::Database<Bytes, Bytes>) {
    std::fs::create_dir_all(dir).unwrap();
    let mut options = heed::EnvOpenOptions::new();
    options.map_size(4 << 30);
    // SAFETY: nobody else opens these files, and they lie on a local disk.
    #[allow(unsafe_code)]
    let env = unsafe { options.open(dir) }.unwrap();
    let mut tx = env.write_txn().unwrap();
    let rows = env.create_database(&mut tx, None).unwrap();
    tx.commit().unwrap();
    (env, rows)
}

pub(crate) fn lmdb_rows(dir: &Path) -> impl Rows + use<> {
    Lmdb { dir: dir.to_owned(), open: Some(open_lmdb(dir)) }
}

pub(crate) fn lmdb(dir: &Path) -> Box<dyn Peer> {
    plain(lmdb_rows(dir))
}

impl Lmdb {
    fn open(&self) -> &(heed::Env, heed::Database<Bytes, Bytes>) {
        self.open.as_ref().unwrap()
    }
}

impl Rows for Lmdb {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) {
        let (env, db) = self.open();
        let mut tx = env.write_txn().unwrap();
        rows.for_each(|(key, value)| db.put(&mut tx, &key, &value).unwrap());
        tx.commit().unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Vec<u8> {
        let (env, db) = self.open();
        db.get(&env.read_txn().unwrap(), key).unwrap().unwrap().to_vec()
    }
    fn remove(&mut self, prefix: &[u8]) {
        let (env, db) = self.open();
        let mut tx = env.write_txn().unwrap();
        let keys: Vec<Vec<u8>> = db.prefix_iter(&tx, prefix).unwrap().map(|row| row.unwrap().0.to_vec()).collect();
        keys.iter().for_each(|key| assert!(db.delete(&mut tx, key).unwrap()));
        tx.commit().unwrap();
    }
    fn vacuum(&mut self) {
        let (env, _) = self.open.take().unwrap();
        let copy = self.dir.join("copy.mdb");
        let file = env.copy_to_path(&copy, heed::CompactionOption::Enabled).unwrap();
        file.sync_all().unwrap();
        env.prepare_for_closing().wait();
        std::fs::rename(copy, self.dir.join("data.mdb")).unwrap();
        std::fs::File::open(&self.dir).unwrap().sync_all().unwrap();
        self.open = Some(open_lmdb(&self.dir));
    }
}

/// sled: flushed after each write.
struct Sled(sled::Db);

pub(crate) fn sled(dir: &Path) -> Box<dyn Peer> {
    plain(Sled(sled::Config::new().path(dir).flush_every_ms(None).open().unwrap()))
}

impl Rows for Sled {
    fn put(&mut self, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) {
        rows.for_each(|(key, value)| drop(self.0.insert(key, value).unwrap()));
        self.0.flush().unwrap();
    }
    fn get(&mut self, key: &[u8]) -> Vec<u8> {
        self.0.get(key).unwrap().unwrap().to_vec()
    }
    fn remove(&mut self, prefix: &[u8]) {
        let keys: Vec<_> = self.0.scan_prefix(prefix).keys().map(Result::unwrap).collect();
        keys.into_iter().for_each(|key| drop(self.0.remove(key).unwrap()));
        self.0.flush().unwrap();
    }
}
