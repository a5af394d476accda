//! Objects beyond a network that loses, delays and repeats requests, and places that lie.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory::MemoryObjects;
use crate::port::{Created, Failure, Listed, Objects, Result};

/// What goes wrong, each in so many of 100 requests, and how a place lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A write that never arrives: no answer.
    pub lost: u8,
    /// A write that takes effect, and whose answer is lost.
    pub unanswered: u8,
    /// A write that arrives later, perhaps after its sender is gone: no answer.
    pub late: u8,
    /// A write that takes effect, and arrives once more later.
    pub doubled: u8,
    /// A write that is refused as if something were there (S3's 409), while nothing is.
    pub conflict: u8,
    /// A read without an answer.
    pub unread: u8,
    /// A listing without what was created last.
    pub stale_lists: u8,
    /// A liar: it overwrites what is there.
    pub overwrites: bool,
    /// A liar: every read of an object shows none until the second one.
    pub stale_reads: bool,
}

impl Faults {
    /// What a network may do to an honest place, a few of each.
    pub fn of_a_network() -> Self {
        Faults {
            lost: 6,
            unanswered: 6,
            late: 6,
            doubled: 6,
            conflict: 4,
            unread: 4,
            ..Faults::default()
        }
    }
}

/// A write that is on its way.
enum Sent {
    Create(String, Vec<u8>),
    Delete(String),
}

impl Sent {
    /// It arrives: nobody waits for the answer.
    fn land(self, place: &MemoryObjects) {
        match self {
            Sent::Create(name, bytes) => drop(place.create(&name, &bytes)),
            Sent::Delete(name) => drop(place.delete(&name)),
        }
    }
}

/// What is on its way, and where the draws are.
struct Network {
    rng: u64,
    on_the_way: Vec<Sent>,
    /// The object created last: a stale list lacks it.
    last: String,
    /// Of the liar: reads that showed nothing.
    unseen: Vec<String>,
}

/// A place in memory, beyond a network in which requests are lost, late and doubled, drawn from a
/// seed. Clones share network and place: what one client sent may land when it is gone.
#[derive(Clone)]
pub struct FaultyObjects {
    place: Arc<MemoryObjects>,
    faults: Faults,
    network: Arc<Mutex<Network>>,
}

impl FaultyObjects {
    /// A place with these faults.
    pub fn new(place: Arc<MemoryObjects>, faults: Faults, seed: u64) -> Self {
        let network =
            Network { rng: seed, on_the_way: Vec::new(), last: String::new(), unseen: Vec::new() };
        FaultyObjects { place, faults, network: Arc::new(Mutex::new(network)) }
    }

    /// Has everything arrive that is on its way.
    pub fn land(&self) {
        let all = std::mem::take(&mut self.network().on_the_way);
        all.into_iter().for_each(|sent| sent.land(&self.place));
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the things with these chances of 100 each, or none; now and then something that is
    /// on its way arrives first.
    fn draw(&self, chances: &[u8]) -> Option<usize> {
        let landing = {
            let mut network = self.network();
            let n = network.on_the_way.len();
            (n > 0 && network.below(4) == 0).then(|| {
                let at = network.below(n as u64) as usize;
                network.on_the_way.swap_remove(at)
            })
        };
        if let Some(sent) = landing {
            sent.land(&self.place);
        }
        let mut drawn = self.network().below(100);
        for (n, chance) in chances.iter().enumerate() {
            let chance = u64::from(*chance);
            if drawn < chance {
                return Some(n);
            }
            drawn -= chance;
        }
        None
    }

    fn later(&self, sent: Sent) {
        self.network().on_the_way.push(sent);
    }

    fn read<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.draw(&[self.faults.unread]) {
            Some(_) => Err(Failure::unknown("no answer")),
            None => read(),
        }
    }

    /// Whether the liar shows nothing under this name this time.
    fn is_unseen(&self, name: &str) -> bool {
        if !self.faults.stale_reads {
            return false;
        }
        let unseen = &mut self.network().unseen;
        let first = !unseen.iter().any(|there| there == name);
        if first {
            unseen.push(name.to_owned());
        }
        first
    }
}

impl Network {
    /// A number below `n`: splitmix64.
    fn below(&mut self, n: u64) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

impl Objects for FaultyObjects {
    fn place(&self) -> String {
        "memory beyond a bad network".into()
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let Faults { lost, unanswered, late, doubled, conflict, .. } = self.faults;
        let no_answer = || Err(Failure::unknown("no answer"));
        let sent = || Sent::Create(name.to_owned(), bytes.to_vec());
        match self.draw(&[lost, unanswered, late, doubled, conflict]) {
            Some(0) => return no_answer(),
            Some(1) => {
                self.place.create(name, bytes)?;
                return no_answer();
            }
            Some(2) => {
                self.later(sent());
                return no_answer();
            }
            Some(3) => self.later(sent()),
            Some(4) => return Ok(Created::Exists),
            _ => {}
        }
        if self.faults.overwrites {
            self.place.overwrite(name, bytes.to_vec());
            return Ok(Created::Here { versioned: false });
        }
        let created = self.place.create(name, bytes)?;
        self.network().last = name.to_owned();
        Ok(created)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.read(|| if self.is_unseen(name) { Ok(None) } else { self.place.get(name) })
    }

    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.read(|| self.place.get_range(name, from, len))
    }

    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        let mut listed = self.read(|| self.place.list(folder, after, limit))?;
        if self.draw(&[self.faults.stale_lists]).is_some() {
            let last = self.network().last.clone();
            listed.retain(|object| object.name != last);
        }
        Ok(listed)
    }

    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.read(|| self.place.head(name))
    }

    fn delete(&self, name: &str) -> Result<()> {
        let Faults { lost, unanswered, late, doubled, .. } = self.faults;
        let (no_answer, sent) =
            (|| Err(Failure::unknown("no answer")), || Sent::Delete(name.to_owned()));
        match self.draw(&[lost, unanswered, late, doubled]) {
            Some(0) => return no_answer(),
            Some(1) => {
                self.place.delete(name)?;
                return no_answer();
            }
            Some(2) => {
                self.later(sent());
                return no_answer();
            }
            Some(_) => self.later(sent()),
            None => {}
        }
        self.place.delete(name)
    }
}
