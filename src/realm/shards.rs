//! The shards of an open realm, each opened when it is first asked for. One that cannot be opened
//! keeps nobody from the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock, TryLockError};
use std::thread::Builder;
use std::time::Duration;

use super::map::Map;
use super::places::{OpenShard, ShardAt};
use crate::Engine;
use crate::catalogue::shard::{Home, Homes, Shard};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::RealmId;
use crate::promise::Finality;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, locked};

/// For so long a shard is waited for before the next is opened as well.
const SOON: Duration = Duration::from_secs(2);
/// How often, and how many times, a shard is looked at that may be being opened.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: u32 = 100;

/// What the engine says of a cell that holds another store's keys.
const OTHER_STORE: &str = "the cell belongs to another store than";

/// Why a shard does not open, where its cell is not at the place that the realm has for it, or is
/// another store's: nothing that a realm is given names another one.
pub fn of_lost_cell(place: &str, cell: Option<&str>, e: Error) -> Error {
    let says_cell = e.to_string().contains("`Builder::cell_at`");
    let at = cell.map_or_else(|| format!("{place}.cell"), str::to_owned);
    let text = match e.kind() {
        // One that a file beside the store is bound to another store is told as it is.
        ErrorKind::Mismatch if e.to_string().contains(OTHER_STORE) => format!(
            "the cell {at} belongs to another store than {place}: stores or cells of shards were \
             exchanged; put each back in its place"
        ),
        ErrorKind::Absent if (says_cell || cell.is_some()) && !Path::new(&at).exists() => format!(
            "its root cell is not at {at}, where the realm has it; put it back there (without it \
             nothing in the shard can be read)"
        ),
        _ => return e,
    };
    Error::new(e.kind(), text)
}

pub(super) struct Shards {
    pub(super) at: Vec<ShardAt>,
    pub(super) homes: Arc<Homes>,
    pub(super) realm: RealmId,
    open: OpenShard,
    read_only: bool,
    /// Each by itself: one that takes long to open keeps nobody from the others.
    engines: Vec<Mutex<Option<Engine>>>,
    index_key: OnceLock<Key>,
    closed: AtomicBool,
}

impl Shards {
    pub(super) fn new(dir: &Path, map: &Map, open: &OpenShard, read_only: bool) -> Self {
        let at: Vec<_> = map.shards.iter().map(|shard| shard.seen_from(dir)).collect();
        Shards {
            homes: map.homes(dir),
            realm: map.realm,
            open: Arc::clone(open),
            read_only,
            engines: at.iter().map(|_| Mutex::new(None)).collect(),
            index_key: OnceLock::new(),
            closed: AtomicBool::new(false),
            at,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// The engine of a shard; it is opened if it is not.
    pub(super) fn engine(&self, number: usize) -> Result<Engine> {
        let mut engine = locked(&self.engines[number]);
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        let opened = self
            .opened(number)
            .map_err(|e| e.context(format!("{} does not open", self.homes.name(number))))?;
        if self.closed.load(Ordering::Acquire) {
            opened.close()?;
            return Err(closed());
        }
        let _ = self.index_key.set(opened.kin().1);
        Ok(engine.insert(opened).clone())
    }

    /// How a shard is opened, with its place in the realm.
    pub(super) fn builder(&self, number: usize) -> Result<crate::Builder> {
        let home = Home { number, homes: Arc::clone(&self.homes) };
        let shard = Shard { realm: self.realm, index_key: None, home: Some(home) };
        Ok((self.open)(&self.at[number])?.shard(Arc::new(shard)))
    }

    fn opened(&self, number: usize) -> Result<Engine> {
        let builder = self.builder(number)?;
        let opened = if self.read_only { builder.read_only() } else { builder }.open();
        let ShardAt { place, cell, .. } = &self.at[number];
        opened.map_err(|e| of_lost_cell(place, cell.as_deref(), e))
    }

    /// The index key, which every shard has: of the first that opens. One that does not open soon
    /// is not waited for alone: the next is opened as well.
    ///
    /// # Errors
    /// That of the first shard, if none opens.
    pub(super) fn index_key(self: &Arc<Self>) -> Result<&Key> {
        if let Some(key) = self.index_key.get() {
            return Ok(key);
        }
        let (tell, told) = channel();
        let mut failed: BTreeMap<usize, Error> = BTreeMap::new();
        for number in 0..self.len() {
            let (shards, tell) = (Arc::clone(self), tell.clone());
            let open = move || tell.send((number, shards.engine(number).map(drop))).is_ok();
            let thread = Builder::new().name("keyfall-opens".to_owned()).spawn(open);
            thread.map_err(|e| Error::io("a thread that opens a shard", e))?;
            match told.recv_timeout(SOON) {
                Ok((_, Ok(()))) => break,
                Ok((number, Err(e))) => _ = failed.insert(number, e),
                Err(_) => {}
            }
        }
        drop(tell);
        while self.index_key.get().is_none()
            && let Ok((number, opened)) = told.recv()
        {
            if let Err(e) = opened {
                failed.insert(number, e);
            }
        }
        self.index_key.get().ok_or_else(|| {
            let text = "none of the shards opens, and one is needed to find a user";
            failed.pop_first().map_or_else(|| Error::invalid(text), |(_, e)| e.context(text))
        })
    }

    /// Asks these shards something, all at once; the answers are in their order.
    pub(super) fn each<W: Send, T: Send>(
        &self,
        work: Vec<(usize, W)>,
        ask: impl Fn(Engine, usize, &W) -> T + Sync,
        failed: impl Fn(Error, usize, &W) -> T + Sync,
    ) -> Vec<T> {
        let one = |number: usize, work: W| match self.engine(number) {
            Ok(engine) => ask(engine, number, &work),
            Err(e) => failed(e, number, &work),
        };
        let one = &one;
        std::thread::scope(|scope| {
            let threads: Vec<_> = work
                .into_iter()
                .map(|(number, work)| scope.spawn(move || one(number, work)))
                .collect();
            let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            joined.map(|done| done.unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        })
    }

    /// Closes what is open; nothing opens afterwards. A shard that is being opened is not waited
    /// for: it is closed again by whoever opens it.
    pub(super) fn close(&self) -> Vec<(usize, Result<Finality>)> {
        self.closed.store(true, Ordering::Release);
        let engines = self.engines.iter().enumerate();
        let open = engines.filter_map(|(n, engine)| Some((n, taken(engine)?)));
        open.map(|(n, engine)| (n, engine.close())).collect()
    }
}

/// What is open of a shard, unless it is being opened: then its lock stays taken.
fn taken(engine: &Mutex<Option<Engine>>) -> Option<Engine> {
    for _ in 0..LOOKS {
        match engine.try_lock() {
            Ok(mut engine) => return engine.take(),
            Err(TryLockError::Poisoned(engine)) => return engine.into_inner().take(),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
        }
    }
    None
}

fn closed() -> Error {
    let text = "this realm was closed; open it again with `Realm::open`";
    Error::new(ErrorKind::Refused, text)
}
