//! Five keyholders that are away, answer late or twice, or come back from a backup of themselves; one of them keeps whatever it was told
//! to destroy. Never more at a time than the quorum allows for: 3 of 5, one liar. Where they change, one is replaced, and may come back
//! later, or loses all that it holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ed25519_dalek::SigningKey;

use super::disk::{Saved, SimDisk};
use super::gate::Gate;
use super::rng::Rng;
use crate::cell::{CellDefect, Owner, RootCell, RootId, RootKey, ShareSlots, Statement};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::quorum::net::KeyholderId;
use crate::quorum::{Config, Held, Holder, Keyholder, Left, Member, QuorumCell, Rule, Share, recovered};
use crate::testing::locked;

const N: usize = 5;
/// With those that may take the place of another.
const POOL: usize = 7;
const T: u8 = 3;
/// Who keeps everything, and is restored from backups.
const LIAR: usize = N - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Nothing reaches it.
    Away,
    /// It does what it is told, and its answer is lost.
    Mute,
    /// What it is told arrives later, behind something else.
    Late,
    Twice,
}

/// What befalls one of them; the number picks it.
#[derive(Clone, Copy, Debug)]
pub enum KeyholderEvent {
    /// Another takes its place.
    Replaced(u8),
    /// It loses all that it holds.
    Lost(u8),
}

type Job = Box<dyn FnOnce(&Holder) + Send>;

/// What all of them share.
struct World {
    rng: Rng,
    calm: bool,
    moods: [Mood; POOL],
    /// The keyholders of the store, in order.
    list: [usize; N],
    /// One that lost what it held, until all have their shares again.
    lost: Option<usize>,
    /// Who may be unwell: others only when all have their share of the newest key again.
    pair: [usize; 2],
    late: Vec<(usize, Job)>,
    store: Option<StoreId>,
    /// Every share that the liar ever had.
    kept: Vec<Share>,
    backup: Option<Saved>,
}

/// Five keyholders in this process.
pub(super) struct Keyholders {
    holders: Vec<Arc<Holder>>,
    disks: Vec<SimDisk>,
    world: Mutex<World>,
    env: SharedEnv,
    /// What the machine of the engine keeps of them, where they change.
    config: Option<Arc<Mutex<Config>>>,
}

fn dir() -> &'static Path {
    Path::new("/shares")
}

impl Keyholders {
    pub(super) fn new(seed: u64, env: &SharedEnv) -> Arc<Self> {
        Arc::new(Self::of(seed, env, (N, None)))
    }

    /// Keyholders that change; a defect of theirs.
    pub(super) fn changing(seed: u64, env: &SharedEnv, broken: Option<CellDefect>) -> Arc<Self> {
        let mut all = Self::of(seed, env, (POOL, broken));
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

    fn of(seed: u64, env: &SharedEnv, (pool, broken): (usize, Option<CellDefect>)) -> Self {
        let disks: Vec<SimDisk> = (0..pool).map(|_| SimDisk::new(Gate::new(), None)).collect();
        let holder = |(n, disk): (usize, &SimDisk)| {
            let (disk, slots_env) = (disk.clone(), Arc::clone(env));
            let open = move |_: StoreId, create: bool| {
                let slots = ShareSlots::new(Arc::new(disk.clone()), dir(), Arc::clone(&slots_env)).broken(broken);
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
        let world = World {
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
        Keyholders { holders, disks, world: Mutex::new(world), env: Arc::clone(env), config: None }
    }

    pub(super) fn cell(self: &Arc<Self>) -> Result<Arc<dyn RootCell>> {
        let member = |n| Arc::new(Fickle { n, all: Arc::clone(self) }) as Arc<dyn Keyholder>;
        if let Some(config) = &self.config {
            let left: Vec<usize> =
                locked(config).leaving.iter().filter_map(|left| left.member.address.parse().ok()).collect();
            let all = locked(&self.world).list.into_iter().chain(left);
            return Ok(Arc::new(QuorumCell::kept_in(all.map(member).collect(), config, Arc::clone(&self.env))?));
        }
        let store = locked(&self.world).store;
        Ok(Arc::new(QuorumCell::in_process((0..N).map(member).collect(), (T, 1), store, Arc::clone(&self.env))?))
    }

    /// From here on nothing goes wrong; what is late arrives now.
    pub(super) fn calm(&self) {
        let late = {
            let mut world = locked(&self.world);
            world.calm = true;
            world.moods = [Mood::Well; POOL];
            std::mem::take(&mut world.late)
        };
        late.into_iter().for_each(|(n, job)| job(&self.holders[n]));
    }

    /// From here on they are unwell at times.
    pub(super) fn stir(&self) {
        locked(&self.world).calm = false;
    }

    /// The liar comes back from a backup of itself, or makes one; only while the others have all that is needed.
    pub(super) fn restart(&self) {
        let mut world = locked(&self.world);
        let Some(store) = world.store.filter(|_| !world.calm) else { return };
        let list = world.list;
        if !list.contains(&LIAR) {
            return;
        }
        match (world.rng.below(4), world.backup.take()) {
            (0, None) => world.backup = Some(self.disks[LIAR].save(dir())),
            // By all that they hold: the newest may be an attempt that came to nothing.
            (1, Some(backup)) if self.alike(store, list.iter().filter(|n| **n != LIAR)) => {
                self.disks[LIAR].put_back(dir(), &backup);
                world.pair[0] = LIAR;
            }
            (_, backup) => world.backup = backup,
        }
    }

    /// The keys that enough shares give: all that are there, and, where every erase is said to be final, all that the liar ever had.
    pub(super) fn keys(&self, all_final: bool) -> Vec<RootKey> {
        let world = locked(&self.world);
        let Some(store) = world.store else { return Vec::new() };
        let held: Vec<Held> = self.holders.iter().map(|holder| holder.load(store).unwrap_or_default()).collect();
        let hoard = world.kept.iter().filter(|_| all_final);
        let mut by_id: BTreeMap<(RootId, u8), &Share> = BTreeMap::new();
        for share in held.iter().flat_map(|held| &held.shares).chain(hoard) {
            by_id.insert((share.id, share.x), share);
        }
        let shares: Vec<&Share> = by_id.into_values().collect();
        let of_one = shares.chunk_by(|a, b| a.id == b.id);
        of_one.filter_map(|same| Some(RootKey { id: same[0].id, key: recovered(same, usize::from(T))? })).collect()
    }

    /// Has something befall one of them, while the engine is closed; `false` where it may not be, since not all are whole.
    pub(super) fn befall(&self, event: KeyholderEvent) -> bool {
        let (mut world, Some(config)) = (locked(&self.world), &self.config) else { return false };
        let Some(store) = world.store else { return false };
        if self.all_alike(&world) {
            world.lost = None;
        }
        let changed = match event {
            KeyholderEvent::Replaced(n) => {
                if !self.all_alike(&world) {
                    return false;
                }
                let at = usize::from(n) % N;
                let Some(spare) = (0..POOL).rev().find(|n| !world.list.contains(n)) else { return false };
                let mut config = locked(config);
                let old = std::mem::replace(&mut config.keyholders[at], self.member(spare));
                config.leaving.push(Left { member: old, x: at as u8 + 1, until: None });
                world.list[at] = spare;
                spare
            }
            // That may be at any time, but not to another before all are whole again.
            KeyholderEvent::Lost(n) => {
                if world.lost.is_some() || world.list.contains(&world.pair[0]) && world.pair[0] == world.pair[1] {
                    return false;
                }
                let lost = world.list[usize::from(n) % N];
                self.holders[lost].lose(store);
                self.disks[lost].put_back(dir(), &Saved::default());
                world.lost = Some(lost);
                lost
            }
        };
        // The others are well until it is whole, too.
        world.pair = [changed; 2];
        true
    }

    /// Whether all keyholders of the store hold shares of the same root keys.
    fn all_alike(&self, world: &World) -> bool {
        world.store.is_some_and(|store| self.alike(store, world.list.iter()))
    }

    fn alike<'a>(&self, store: StoreId, mut some: impl Iterator<Item = &'a usize>) -> bool {
        let first = some.next().map(|n| self.all_of(store, *n));
        some.all(|n| Some(self.all_of(store, *n)) == first)
    }

    fn all_of(&self, store: StoreId, n: usize) -> Vec<RootId> {
        let mut ids: Vec<RootId> =
            self.holders[n].load(store).unwrap_or_default().shares.iter().map(|share| share.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Begins a round of verbs: at most two of them are unwell.
    fn round(&self, world: &mut World) -> Vec<(usize, Job)> {
        world.moods = [Mood::Well; POOL];
        if world.calm {
            return Vec::new();
        }
        // Others may fail only where each has all that any has: no more than two are ever without a share.
        if self.all_alike(world) {
            world.lost = None;
            world.pair = [0, 1].map(|_| world.list[world.rng.below(N as u64) as usize]);
        }
        if self.config.is_some() {
            for n in 0..POOL {
                if !world.list.contains(&n) && world.rng.below(2) == 0 {
                    world.moods[n] = Mood::Away;
                }
            }
        }
        for n in world.pair {
            world.moods[n] = match world.rng.below(8) {
                0 => Mood::Away,
                1 => Mood::Mute,
                2 => Mood::Late,
                3 => Mood::Twice,
                _ => Mood::Well,
            };
        }
        let due = world.rng.below(3) == 0;
        if due { std::mem::take(&mut world.late) } else { Vec::new() }
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
            let mut world = locked(&self.all.world);
            let arrives = if self.n == world.list[0] { self.all.round(&mut world) } else { Vec::new() };
            (world.moods[self.n], arrives)
        };
        arrives.into_iter().for_each(|(n, job)| job(&self.all.holders[n]));
        let holder = &self.all.holders[self.n];
        let lost = || Err(Error::new(ErrorKind::Io, format!("keyholder {} does not answer", self.n)));
        match mood {
            Mood::Well => act(holder),
            Mood::Away => lost(),
            Mood::Mute => act(holder).and_then(|_| lost()),
            Mood::Twice => act(holder).and_then(|_| act(holder)),
            Mood::Late => {
                locked(&self.all.world).late.push((self.n, Box::new(move |holder| drop(act(holder)))));
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
            let mut world = locked(&self.all.world);
            world.store = Some(store);
            if self.n == LIAR {
                world.kept.push(share.duplicate());
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
