//! Five keyholders that are away, answer late or twice, or come back from a backup of themselves;
//! one of them keeps whatever it was told to destroy. Never more of them fail at a time than the
//! quorum tolerates: 3 of 5, one liar. If they change, one is replaced and may come back later,
//! or loses all that it holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ed25519_dalek::SigningKey;

use super::disk::{Saved, SimDisk};
use super::gate::Gate;
use crate::cell::defect::CellDefect;
use crate::cell::{Owner, RootCell, RootKey, ShareSlots};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::promise::{RootId, Statement};
use crate::quorum::net::KeyholderId;
use crate::quorum::{
    Config, Held, Holder, Keyholder, Left, Member, QuorumCell, Rule, Share, kept_in, recovered,
};
use crate::testing::lock::locked;
use crate::testing::sim::rng::Rng;

const N: usize = 5;
/// The five, and those that may replace one of them.
const POOL: usize = 7;
const T: u8 = 3;
/// The one that keeps everything and is restored from backups.
const LIAR: usize = N - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// No request reaches it.
    Away,
    /// It does what it is told; its answer is lost.
    Mute,
    /// What it is told arrives later, after something else.
    Late,
    Twice,
}

/// What happens to a keyholder; the number picks it.
#[derive(Clone, Copy, Debug)]
pub enum KeyholderEvent {
    /// Another one replaces it.
    Replaced(u8),
    /// It loses all that it holds.
    Lost(u8),
}

type Job = Box<dyn FnOnce(&Holder) + Send>;

/// The state that all of them share.
struct Shared {
    rng: Rng,
    calm: bool,
    moods: [Mood; POOL],
    /// The keyholders of the store, in order.
    list: [usize; N],
    /// One that lost what it held, until all have their shares again.
    lost: Option<usize>,
    /// The two that may fail: others may only when all have their share of the newest key again.
    pair: [usize; 2],
    late: Vec<(usize, Job)>,
    store: Option<StoreId>,
    /// Every share that the liar was ever given.
    kept: Vec<Share>,
    backup: Option<Saved>,
}

/// Five keyholders in this process.
pub(crate) struct Keyholders {
    holders: Vec<Arc<Holder>>,
    disks: Vec<SimDisk>,
    shared: Mutex<Shared>,
    env: SharedEnv,
    /// The configuration on the engine's machine, if they change.
    config: Option<Arc<Mutex<Config>>>,
    broken: Option<CellDefect>,
}

fn dir() -> &'static Path {
    Path::new("/shares")
}

impl Keyholders {
    pub(crate) fn new(seed: u64, env: &SharedEnv) -> Arc<Self> {
        Arc::new(Self::of(seed, env, N, None))
    }

    /// Keyholders that change; `broken` plants a defect in them.
    pub(crate) fn changing(seed: u64, env: &SharedEnv, broken: Option<CellDefect>) -> Arc<Self> {
        let mut all = Self::of(seed, env, POOL, broken);
        let margin = if broken == Some(CellDefect::NoMargin) { 0 } else { 1 };
        let members = (0..N).map(|n| all.member(n)).collect();
        let config = Config::new(members, Rule { threshold: T, liars: 1, margin });
        all.config = Some(Arc::new(Mutex::new(config)));
        Arc::new(all)
    }

    fn member(&self, n: usize) -> Member {
        let id = KeyholderId { channel: [n as u8; 32], statements: self.holders[n].key() };
        Member { key: id.to_string(), address: format!("{n}") }
    }

    fn of(seed: u64, env: &SharedEnv, pool: usize, broken: Option<CellDefect>) -> Self {
        let disks: Vec<SimDisk> = (0..pool).map(|_| SimDisk::new(Gate::new(), None)).collect();
        let holder = |(n, disk): (usize, &SimDisk)| {
            let (disk, slots_env) = (disk.clone(), Arc::clone(env));
            let open = move |_: StoreId, create: bool| {
                let slots = ShareSlots::new(Arc::new(disk.clone()), dir(), Arc::clone(&slots_env))
                    .broken(broken);
                let made = !disk.on_medium(&dir().join("slot-a")).is_empty();
                if !made && create {
                    slots.make()?;
                }
                Ok((made || create).then_some(slots))
            };
            let key = SigningKey::from_bytes(&[n as u8 + 1; 32]);
            Arc::new(Holder::new(format!("keyholder {n}"), Arc::clone(env), key, Arc::new(open)))
        };
        let holders = disks.iter().enumerate().map(holder).collect();
        let shared = Shared {
            rng: Rng::new(seed ^ 0x6B65_7973),
            calm: true,
            moods: [Mood::Well; POOL],
            list: [0, 1, 2, 3, 4],
            lost: None,
            pair: [0, 1],
            late: Vec::new(),
            store: None,
            kept: Vec::new(),
            backup: None,
        };
        Keyholders {
            holders,
            disks,
            shared: Mutex::new(shared),
            env: Arc::clone(env),
            config: None,
            broken,
        }
    }

    pub(crate) fn cell(self: &Arc<Self>) -> Result<Arc<dyn RootCell>> {
        let member = |n| Arc::new(Fickle { n, all: Arc::clone(self) }) as Arc<dyn Keyholder>;
        if let Some(config) = &self.config {
            let left: Vec<usize> = locked(config)
                .leaving
                .iter()
                .filter_map(|left| left.member.address.parse().ok())
                .collect();
            let all = locked(&self.shared).list.into_iter().chain(left);
            return Ok(Arc::new(kept_in(
                all.map(member).collect(),
                config,
                Arc::clone(&self.env),
                self.broken,
            )?));
        }
        let store = locked(&self.shared).store;
        Ok(Arc::new(QuorumCell::in_process(
            (0..N).map(member).collect(),
            (T, 1),
            store,
            Arc::clone(&self.env),
        )?))
    }

    /// From now on nothing goes wrong; what is late arrives.
    pub(crate) fn calm(&self) {
        let late = {
            let mut shared = locked(&self.shared);
            shared.calm = true;
            shared.moods = [Mood::Well; POOL];
            std::mem::take(&mut shared.late)
        };
        late.into_iter().for_each(|(n, job)| job(&self.holders[n]));
    }

    /// From now on some of them fail at times.
    pub(crate) fn stir(&self) {
        locked(&self.shared).calm = false;
    }

    /// The liar makes a backup of itself, or comes back from one: only while the others have all
    /// that is needed.
    pub(crate) fn restart(&self) {
        let mut shared = locked(&self.shared);
        let Some(store) = shared.store.filter(|_| !shared.calm) else { return };
        let list = shared.list;
        if !list.contains(&LIAR) {
            return;
        }
        match (shared.rng.below(4), shared.backup.take()) {
            (0, None) => shared.backup = Some(self.disks[LIAR].save(dir())),
            // By all that they hold: the newest may be an attempt that came to nothing.
            (1, Some(backup)) if self.alike(store, list.iter().filter(|n| **n != LIAR)) => {
                self.disks[LIAR].put_back(dir(), &backup);
                shared.pair[0] = LIAR;
            }
            (_, backup) => shared.backup = backup,
        }
    }

    /// The keys that can be combined from the shares held now and, where every erase was reported
    /// final, from all that the liar ever had.
    pub(crate) fn keys(&self, all_final: bool) -> Vec<RootKey> {
        let shared = locked(&self.shared);
        let Some(store) = shared.store else { return Vec::new() };
        let held: Vec<Held> =
            self.holders.iter().map(|holder| holder.load(store).unwrap_or_default()).collect();
        let hoard = shared.kept.iter().filter(|_| all_final);
        let mut by_id: BTreeMap<(RootId, u8), &Share> = BTreeMap::new();
        for share in held.iter().flat_map(|held| &held.shares).chain(hoard) {
            by_id.insert((share.id, share.x), share);
        }
        let shares: Vec<&Share> = by_id.into_values().collect();
        let of_one = shares.chunk_by(|a, b| a.id == b.id);
        of_one
            .filter_map(|same| {
                Some(RootKey { id: same[0].id, key: recovered(same, usize::from(T))? })
            })
            .collect()
    }

    /// Lets something happen to one of them while the engine is closed; `false` where too few
    /// others are whole.
    pub(crate) fn befall(&self, event: KeyholderEvent) -> bool {
        let (mut shared, Some(config)) = (locked(&self.shared), &self.config) else { return false };
        let Some(store) = shared.store else { return false };
        if self.all_alike(&shared) {
            shared.lost = None;
        }
        let changed = match event {
            KeyholderEvent::Replaced(n) => {
                if !self.all_alike(&shared) {
                    return false;
                }
                let (at, mut config) = (usize::from(n) % N, locked(config));
                let x = at as u8 + 1;
                // One that left another place, and has not signed yet, is refused as a program
                // refuses it: it may hold a share of that place.
                let left_another = |n: usize| {
                    let mut left =
                        config.leaving.iter().filter(|left| left.member.address == n.to_string());
                    left.any(|left| left.x != x)
                };
                let free = |n: &usize| !shared.list.contains(n) && !left_another(*n);
                let Some(spare) = (0..POOL).rev().find(free) else { return false };
                let old = std::mem::replace(&mut config.keyholders[at], self.member(spare));
                let address = spare.to_string();
                config.leaving.retain(|left| left.member.address != address);
                if config.was_dealt(&old).unwrap_or(true) {
                    config.leaving.push(Left { member: old, x, until: None });
                }
                shared.list[at] = spare;
                spare
            }
            // That may be at any time, but not to another before all are whole again.
            KeyholderEvent::Lost(n) => {
                if shared.lost.is_some()
                    || shared.list.contains(&shared.pair[0]) && shared.pair[0] == shared.pair[1]
                {
                    return false;
                }
                let lost = shared.list[usize::from(n) % N];
                self.holders[lost].lose(store);
                self.disks[lost].put_back(dir(), &Saved::default());
                shared.lost = Some(lost);
                lost
            }
        };
        // The others are well until it is whole, too.
        shared.pair = [changed; 2];
        true
    }

    /// What the engine's machine keeps of them, if they change.
    pub(crate) fn list(&self) -> Option<Config> {
        self.config.as_ref().map(|config| locked(config).clone())
    }

    /// Another machine goes on, with what it keeps of them.
    pub(crate) fn go_on_with(&self, list: Config) {
        let (mut shared, Some(config)) = (locked(&self.shared), &self.config) else { return };
        for (at, member) in list.keyholders.iter().enumerate() {
            shared.list[at] = member.address.parse().unwrap_or(at);
        }
        *locked(config) = list;
    }

    /// Whether all keyholders of the store hold shares of the same root keys.
    fn all_alike(&self, shared: &Shared) -> bool {
        shared.store.is_some_and(|store| self.alike(store, shared.list.iter()))
    }

    fn alike<'a>(&self, store: StoreId, mut some: impl Iterator<Item = &'a usize>) -> bool {
        let first = some.next().map(|n| self.all_of(store, *n));
        some.all(|n| Some(self.all_of(store, *n)) == first)
    }

    fn all_of(&self, store: StoreId, n: usize) -> Vec<RootId> {
        let mut ids: Vec<RootId> = self.holders[n]
            .load(store)
            .unwrap_or_default()
            .shares
            .iter()
            .map(|share| share.id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Begins a round of calls: at most two of them fail in it.
    fn round(&self, shared: &mut Shared) -> Vec<(usize, Job)> {
        shared.moods = [Mood::Well; POOL];
        if shared.calm {
            return Vec::new();
        }
        // Others may fail only where each has all that any has: no more than two are ever without a
        // share.
        if self.all_alike(shared) {
            shared.lost = None;
            shared.pair = [0, 1].map(|_| shared.list[shared.rng.below(N as u64) as usize]);
        }
        if self.config.is_some() {
            for n in 0..POOL {
                if !shared.list.contains(&n) && shared.rng.below(2) == 0 {
                    shared.moods[n] = Mood::Away;
                }
            }
        }
        for n in shared.pair {
            shared.moods[n] = match shared.rng.below(8) {
                0 => Mood::Away,
                1 => Mood::Mute,
                2 => Mood::Late,
                3 => Mood::Twice,
                _ => Mood::Well,
            };
        }
        let due = shared.rng.below(3) == 0;
        if due { std::mem::take(&mut shared.late) } else { Vec::new() }
    }
}

/// One of them, as the cell sees it.
struct Fickle {
    n: usize,
    all: Arc<Keyholders>,
}

impl Fickle {
    fn act<T>(&self, act: impl Fn(&Holder) -> Result<T> + Clone + Send + 'static) -> Result<T> {
        let (mood, arrives) = {
            let mut shared = locked(&self.all.shared);
            let arrives =
                if self.n == shared.list[0] { self.all.round(&mut shared) } else { Vec::new() };
            (shared.moods[self.n], arrives)
        };
        arrives.into_iter().for_each(|(n, job)| job(&self.all.holders[n]));
        let holder = &self.all.holders[self.n];
        let lost =
            || Err(Error::new(ErrorKind::Io, format!("keyholder {} does not answer", self.n)));
        match mood {
            Mood::Well => act(holder),
            Mood::Away => lost(),
            Mood::Mute => act(holder).and_then(|_| lost()),
            Mood::Twice => act(holder).and_then(|_| act(holder)),
            Mood::Late => {
                locked(&self.all.shared)
                    .late
                    .push((self.n, Box::new(move |holder| drop(act(holder)))));
                lost()
            }
        }
    }
}

impl Keyholder for Fickle {
    fn place(&self) -> String {
        format!("keyholder {}", self.n)
    }

    fn key(&self) -> [u8; 32] {
        self.all.holders[self.n].key()
    }

    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        let owner = *owner;
        self.act(move |holder| holder.claim(store, &owner, mark))
    }

    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> Result<()> {
        {
            let mut shared = locked(&self.all.shared);
            shared.store = Some(store);
            if self.n == LIAR {
                shared.kept.push(share.duplicate());
            }
        }
        let (owner, share) = (*owner, Arc::new(share.duplicate()));
        self.act(move |holder| holder.deposit(store, &owner, &share))
    }

    fn load(&self, store: StoreId) -> Result<Held> {
        self.act(move |holder| holder.load(store))
    }

    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given_up: &[RootId],
        mark: u64,
    ) -> Result<Statement> {
        let (owner, keep, given_up) = (*owner, *keep, given_up.to_vec());
        self.act(move |holder| holder.retire(store, &owner, &keep, &given_up, mark))
    }
}
