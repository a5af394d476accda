//! The store that is measured: how it is made and filled, with counters in its ports.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use keyfall::cell::{FileCell, RootCell};
use keyfall::engine::{CopyMode, Keeper};
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineKey, KeyholderDir, Server, make_cell};
use keyfall::store::{SledStore, Store};
use keyfall::{Class, Engine, Error, Options, Put, UserId};

use crate::bench::counted::{CountedCell, CountedStore, Counters};
use crate::bench::floor::Floor;
use crate::shell::cells::env;
use crate::shell::print::progress;

/// Records in one commit while a store is filled.
const FILL: u64 = 20_000;
/// The same for a large store: about 1 GB of memory.
const FILL_MAX: u64 = 500_000;

/// What each record holds.
pub(super) const ACTION: [u8; 200] = [7; 200];

/// A store that is measured.
pub(super) struct Bench {
    pub(super) dir: PathBuf,
    pub(super) engine: Engine,
    store: Arc<CountedStore<SledStore>>,
    pub(super) counters: Arc<Counters>,
    pub(super) floor: Floor,
}

impl Bench {
    /// A store that nothing tends while it is measured.
    pub(super) fn new(dir: &Path, keyholders: usize, copies: usize) -> Result<Self, Error> {
        Bench::kept_by(Keeper::ByHand, dir, keyholders, copies)
    }

    /// A store as an application has it by default, which gives space back by itself.
    pub(super) fn tended(dir: &Path) -> Result<Self, Error> {
        Bench::kept_by(Keeper::Thread, dir, 0, 0)
    }

    fn kept_by(
        keeper: Keeper,
        dir: &Path,
        keyholders: usize,
        copies: usize,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir.display(), e))?;
        let counters = Arc::new(Counters::default());
        let store = Arc::new(CountedStore {
            store: SledStore::create(&dir.join("store"))?,
            counters: Arc::clone(&counters),
        });
        let cell: Box<dyn RootCell> = if keyholders == 0 {
            Box::new(FileCell::create(&dir.join("cell"), true, Arc::new(System))?)
        } else {
            let key = EngineKey::in_dir(&dir.join("cell"), &System)?;
            let members =
                (0..keyholders).map(|n| keyholder(&dir.join(format!("keyholder-{n}")), &key));
            let threshold = u8::try_from(keyholders / 2 + 1).unwrap_or(u8::MAX);
            Box::new(make_cell(
                &dir.join("cell"),
                members.collect::<Result<_, _>>()?,
                (threshold, 1),
                &env(),
            )?)
        };
        let cell = CountedCell { cell, counters: Arc::clone(&counters), ready: Mutex::default() };
        let options = Options::new().keeper(keeper);
        let theirs = Arc::clone(&store) as Arc<dyn Store>;
        let engine = Engine::init(theirs, Arc::new(cell), options)?;
        for n in 0..copies {
            engine.copies().add(
                &dir.join(format!("copy-{n}")).display().to_string(),
                CopyMode::InStep,
                &mut |_| {},
            )?;
        }
        let floor = Floor::new(dir, "main")?;
        Ok(Bench { floor, dir: dir.to_owned(), engine, store, counters })
    }

    /// Bytes that the store takes on the disk now.
    pub(super) fn bytes(&self) -> Result<u64, Error> {
        self.store.usage().map(|usage| usage.bytes)
    }

    /// Puts `records` actions for each of these users.
    pub(super) fn fill(&self, prefix: &str, users: u64, records: u64) -> Result<(), Error> {
        // Large stores in few commits: each rewrites most of the user tree.
        let fill = (users * records / 20).clamp(FILL, FILL_MAX);
        self.fill_by(fill, prefix, users, records)
    }

    /// Puts one action for each of these users, in commits that take little memory.
    pub(super) fn fill_sparingly(&self, prefix: &str, users: u64) -> Result<(), Error> {
        self.fill_by(FILL, prefix, users, 1)
    }

    fn fill_by(&self, fill: u64, prefix: &str, users: u64, records: u64) -> Result<(), Error> {
        let bar = progress("filling", Some(users * records));
        let mut batch = self.engine.batch();
        for n in 0..users {
            let interaction = self.engine.new_interaction()?;
            for _ in 0..records {
                let user = UserId::new(format!("{prefix}{n}"))?;
                batch.add(Put::new(user, Class::action()).interaction(interaction), &ACTION[..])?;
                if batch.len() as u64 == fill {
                    batch.commit()?;
                    batch = self.engine.batch();
                    bar.inc(fill);
                }
            }
        }
        batch.commit()?;
        bar.finish_and_clear();
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Starts a keyholder in a thread of this process, reached over a real channel.
fn keyholder(dir: &Path, engine: &EngineKey) -> Result<Member, Error> {
    let env: SharedEnv = Arc::new(System);
    let made = KeyholderDir::create(dir, true, &System)?;
    KeyholderDir::allow(dir, engine.id(), None)?;
    let key = made.id().to_string();
    let server = Server::bind(made, "127.0.0.1:0", env)?;
    let address = server.address()?.to_string();
    // The thread ends with the process.
    thread::spawn(move || server.run(&|_| {}));
    Ok(Member { key, address })
}
