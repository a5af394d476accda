//! Five keyholders that are away, answer late or twice, or come back from a backup of themselves; one of them keeps whatever it was told
//! to destroy. Never more at a time than the quorum allows for: 3 of 5, one liar.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ed25519_dalek::SigningKey;

use super::disk::{Saved, SimDisk};
use super::gate::Gate;
use super::rng::Rng;
use crate::cell::{Owner, RootCell, RootId, RootKey, SHARE_SLOTS, Slots, Statement};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::quorum::{Held, Holder, Keyholder, QuorumCell, Share, recovered};
use crate::testing::locked;

const N: usize = 5;
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

type Job = Box<dyn FnOnce(&Holder) + Send>;

/// What all of them share.
struct World {
    rng: Rng,
    calm: bool,
    moods: [Mood; N],
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
}

fn dir() -> &'static Path {
    Path::new("/shares")
}

impl Keyholders {
    pub(super) fn new(seed: u64, env: &SharedEnv) -> Arc<Self> {
        let disks: Vec<SimDisk> = (0..N).map(|_| SimDisk::new(Gate::new(), None)).collect();
        let holder = |(n, disk): (usize, &SimDisk)| {
            let (disk, slots_env, made) = (disk.clone(), Arc::clone(env), Mutex::new(false));
            let open = move |_: StoreId, create: bool| {
                let slots = Slots::new(Arc::new(disk.clone()), dir(), Arc::clone(&slots_env), SHARE_SLOTS);
                let mut made = locked(&made);
                if !*made && create {
                    slots.make()?;
                    *made = true;
                }
                Ok(made.then_some(slots))
            };
            let key = SigningKey::from_bytes(&[n as u8 + 1; 32]);
            Arc::new(Holder::new(format!("keyholder {n}"), Arc::clone(env), key, Arc::new(open)))
        };
        let holders = disks.iter().enumerate().map(holder).collect();
        let world = World {
            rng: Rng::new(seed ^ 0x6B65_7973),
            calm: false,
            moods: [Mood::Well; N],
            pair: [0, 1],
            late: Vec::new(),
            store: None,
            kept: Vec::new(),
            backup: None,
        };
        Arc::new(Keyholders { holders, disks, world: Mutex::new(world), env: Arc::clone(env) })
    }

    pub(super) fn cell(self: &Arc<Self>) -> Result<Arc<dyn RootCell>> {
        let member = |n| Arc::new(Fickle { n, all: Arc::clone(self) }) as Arc<dyn Keyholder>;
        let store = locked(&self.world).store;
        Ok(Arc::new(QuorumCell::in_process((0..N).map(member).collect(), (T, 1), store, Arc::clone(&self.env))?))
    }

    /// From here on nothing goes wrong; what is late arrives now.
    pub(super) fn calm(&self) {
        let late = {
            let mut world = locked(&self.world);
            world.calm = true;
            world.moods = [Mood::Well; N];
            std::mem::take(&mut world.late)
        };
        late.into_iter().for_each(|(n, job)| job(&self.holders[n]));
    }

    /// The liar comes back from a backup of itself, or makes one; only while the others have all that is needed.
    pub(super) fn restart(&self) {
        let mut world = locked(&self.world);
        let Some(store) = world.store.filter(|_| !world.calm) else { return };
        let all = (0..N).filter_map(|n| self.newest(store, n)).max();
        match (world.rng.below(4), world.backup.take()) {
            (0, None) => world.backup = Some(self.disks[LIAR].save(dir())),
            (1, Some(backup)) if (0..LIAR).all(|n| self.newest(store, n) == all) => {
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

    fn all_of(&self, store: StoreId, n: usize) -> Vec<RootId> {
        let mut ids: Vec<RootId> =
            self.holders[n].load(store).unwrap_or_default().shares.iter().map(|share| share.id).collect();
        ids.sort_unstable();
        ids
    }

    fn newest(&self, store: StoreId, n: usize) -> Option<RootId> {
        self.holders[n].load(store).unwrap_or_default().shares.iter().map(|share| share.id).max()
    }

    /// Begins a round of verbs: at most two of them are unwell.
    fn round(&self, world: &mut World) -> Vec<(usize, Job)> {
        world.moods = [Mood::Well; N];
        if world.calm {
            return Vec::new();
        }
        if let Some(store) = world.store {
            // Others may fail only where each has all that any has: no more than two are ever without a share.
            let first = self.all_of(store, 0);
            if (1..N).all(|n| self.all_of(store, n) == first) {
                world.pair = [0, 1].map(|_| world.rng.below(N as u64) as usize);
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
            let arrives = if self.n == 0 { self.all.round(&mut world) } else { Vec::new() };
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
