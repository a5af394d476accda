//! What befalls a store that is not alone: others look at its copies with its cell, at any moment; another takes it over and comes back
//! too late; its machine is restored from a snapshot; its clock is wrong; its keyholders change; a batch stays open while others erase.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::{Engine, Options, Put, Query, Scope, Source};
use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use super::keyholders::KeyholderEvent;
use super::media::{FaultyCell, Late, Media};
use super::op::{Item, Op, STEP_BYTES, Scoped, Trouble, class, scoped, some, user};
use super::records::Chosen;
use super::run::{BACKUP, Done, Run, STORE, user_id};
use crate::Batch;
use crate::engine::OpenAs;
use crate::env::Env;
use crate::error::ErrorKind;
use crate::limits::CLOCK_JUMP;
use crate::store::HeadId;
use crate::testing::locked;

/// A copy of the store's directory, byte for byte.
const TWIN: &str = "twin";
/// The store as a snapshot of the machine has it.
const LIVE: &str = "live";

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A backup, or a copy of the directory, is opened with the store's cell.
    Look { twin: bool, owner: bool },
    /// The backup is opened in the middle of an operation, before it touches its media for the `nth` time.
    Spied { nth: u64, op: Op },
    /// The backup is taken over, and the store taken back; the other engine stays open.
    Drill,
    /// The engine whose store was taken back goes on.
    Stale(u8),
    /// A record is added to a batch that stays open.
    BatchAdd { user: u8, item: Item },
    /// The batch is committed.
    BatchCommit,
    /// The clock is wrong for a moment; the process may begin in it.
    WrongClock { ahead: bool, far: bool, reopen: bool, user: u8 },
    /// What befalls a keyholder.
    Keyholder(KeyholderEvent),
    /// A snapshot of the machine is made while the engine is open.
    Snapshot,
    /// A machine goes on from the snapshot, with the cell as it is now.
    FromSnapshot(u8),
    /// A scope that keeps a class is planned.
    Plan(Scoped, u8),
    /// A copy is added, or removed.
    Copy(Op),
    /// A scope, pending for so many tenths of a second at most.
    EraseWithin(Scoped, u8),
    /// Scopes in one commit, of which one keeps a class.
    Erase(Vec<Scoped>),
}

impl Event {
    /// `None` for a step that is like those of a store that is alone.
    pub(super) fn decode(b: &[u8; STEP_BYTES]) -> Option<Event> {
        if b[14] >= 110 {
            return None;
        }
        let keeping = |b: &[u8]| Scoped::Keeping { user: user(b[0]), keep: class(b[1]), interaction: some(b[2]) };
        Some(match b[15] % 30 {
            0 => Event::Look { twin: b[1] & 1 == 1, owner: b[1] & 2 == 2 },
            1..=3 => {
                let scoped = scoped(b[3], [b[1], b[2], b[4], b[5]]);
                Event::Spied { nth: 1 + u64::from(b[6]) % 40, op: Op::Erase(vec![scoped]) }
            }
            4 => Event::Spied { nth: 1 + u64::from(b[6]) % 40, op: Op::Tend },
            5 => Event::Drill,
            6 => Event::Stale(user(b[1])),
            7..=9 => {
                let item =
                    Item { sources: vec![b[3]; usize::from(b[4] & 1)], ..Item::plain(class(b[2]), some(b[5]), 30) };
                Event::BatchAdd { user: user(b[1]), item }
            }
            10 | 25 => Event::BatchCommit,
            11 => {
                Event::WrongClock { ahead: b[1] & 1 == 1, far: b[1] & 2 == 2, reopen: b[1] & 4 == 4, user: user(b[2]) }
            }
            12 | 13 => Event::Keyholder(KeyholderEvent::Replaced(b[1])),
            14 | 20 => Event::Keyholder(KeyholderEvent::Lost(b[1])),
            15 | 21 => Event::Snapshot,
            26 | 27 => Event::Copy(Op::CopyAdd { place: b[1] % 2, in_step: true }),
            28 | 29 => Event::Copy(Op::CopyRemove(b[1] % 2)),
            22..=24 => Event::EraseWithin(scoped(b[3], [b[1], b[2], b[4], b[5]]), b[6]),
            16 => Event::FromSnapshot(user(b[1])),
            17 => Event::Plan(keeping(&b[1..]), b[6] % 16),
            18 => Event::Erase(vec![scoped(b[3], [b[1], b[2], b[4], b[5]]), keeping(&b[4..])]),
            _ => {
                let item = Item { sources: vec![b[4], b[5]], ..Item::plain(class(b[2]), None, 40) };
                return Some(Event::Spied {
                    nth: 1 + u64::from(b[6]) % 40,
                    op: Op::Put { user: user(b[1]), items: vec![item] },
                });
            }
        })
    }
}

/// What looked in, and what it saw that must not be.
type Seen = Arc<Mutex<Vec<String>>>;

/// What has the cell open beside the store's own engine.
#[derive(Default)]
pub(super) struct Others {
    /// The head of the backup, where it lists no copies.
    backup: Option<HeadId>,
    /// When somebody looks into the next verb.
    spies: Option<u64>,
    seen: Seen,
    /// Whether the cell knows no owner, so that looks must say that they are.
    ownerless: bool,
    stale: Option<Engine>,
    batch: Option<(Batch, u8, Vec<Chosen>)>,
    snapshot: Option<(Engine, HeadId)>,
}

impl Others {
    pub(super) fn new(ownerless: bool) -> Self {
        Others { ownerless, ..Others::default() }
    }
}

/// Opens a copy of the store with its cell, and says what must not be.
fn look(media: &dyn Media, options: &Options, place: &str, open_as: OpenAs) -> Option<String> {
    let store = media.store(place, false).ok()?;
    let options = Options { open_as, ..options.clone() };
    let keys = || media.keys_on_medium(false).ok().map(|keys| keys.iter().map(|key| key.id).collect::<Vec<_>>());
    let before = keys();
    let opened = media.cell().and_then(|cell| Engine::open(store, cell, options));
    let listed = match &opened {
        Err(_) => None,
        Ok(engine) if engine.read_only().is_none() => return Some(format!("FOUND: {place} owns the cell by itself")),
        Ok(engine) => {
            let erased = engine.erase(Scope::user(user_id(0))).err().map(|e| e.kind());
            if erased != Some(ErrorKind::Fenced) {
                return Some(format!("FOUND: {place} does not own the cell, and erases: {erased:?}"));
            }
            let _ = (engine.run_due(&mut |_| {}), engine.status());
            engine.list(&Query::default()).err()
        }
    };
    drop(opened);
    // What is on its way to a keyholder may arrive meanwhile.
    if before != keys() && !media.has_keyholders() {
        return Some(format!("FOUND: a look at {place} changes the root keys in the cell"));
    }
    listed.map(|e| format!("LOST: a look at {place}: {e}"))
}

impl Run {
    /// Before a verb: somebody may look into its middle.
    pub(super) fn let_in(&mut self) {
        let Some(others) = &mut self.others else { return };
        let Some(nth) = others.spies.take() else { return };
        let open_as = if others.ownerless { OpenAs::ReadOnly } else { OpenAs::Owner };
        let (media, options, seen) = (Arc::clone(&self.media), self.options.clone(), Arc::clone(&others.seen));
        let hook = move || {
            let wrong = look(&*media, &options, BACKUP, open_as);
            locked(&seen).push(wrong.unwrap_or_default());
        };
        self.media.gate().interrupt(Some((nth, Box::new(hook))));
    }

    pub(super) fn let_out(&mut self) {
        let Some(others) = &self.others else { return };
        self.media.gate().interrupt(None);
        for wrong in std::mem::take(&mut *locked(&others.seen)) {
            self.tally.count("looks in the middle of a verb");
            assert!(wrong.is_empty(), "{wrong}");
        }
    }

    /// Before the store is opened: somebody may have opened the backup first.
    pub(super) fn look_first(&mut self) {
        if self.backup_is_closed() && self.rng.coin() {
            self.look(BACKUP, OpenAs::Owner);
        }
    }

    /// Whether no other engine has the backup open: its lock would keep others out.
    fn backup_is_closed(&self) -> bool {
        self.others.as_ref().is_some_and(|others| others.stale.is_none())
    }

    fn look(&mut self, place: &str, open_as: OpenAs) {
        let open_as = if self.others().ownerless { OpenAs::ReadOnly } else { open_as };
        if let Some(wrong) = look(&*self.media, &self.options, place, open_as) {
            panic!("{wrong}");
        }
        self.tally.count("looks at a copy");
    }

    /// The machine of the store's engine ends; a power cut ends the others too.
    pub(super) fn switch_off(&mut self, power: bool) {
        let power = power && !self.media.has_keyholders();
        if let Some(others) = self.others.as_mut().filter(|_| power) {
            others.stale = None;
            if let Some((old, _)) = others.snapshot.take() {
                old.unplug();
            }
        }
    }

    pub(super) fn close_batch(&mut self) {
        if let Some(others) = &mut self.others {
            others.batch = None;
        }
    }

    pub(super) fn note_backup(&mut self) {
        let head = self.engine().head();
        let alone = self.model.copies.is_empty();
        if let Some(others) = &mut self.others {
            others.backup = alone.then_some(head);
        }
    }

    fn others(&mut self) -> &mut Others {
        self.others.get_or_insert_default()
    }

    /// After a step: others that have the cell open go on.
    pub(super) fn go_on(&mut self) {
        if self.others.as_ref().is_some_and(|others| others.stale.is_some()) && self.rng.below(3) == 0 {
            let user = self.rng.below(4) as u8;
            self.stale(user);
        }
        if self.others.as_ref().is_some_and(|others| others.snapshot.is_some()) && self.rng.below(4) == 0 {
            let user = self.rng.below(4) as u8;
            self.set_back(user);
        }
    }

    pub(super) fn befall(&mut self, event: Event, trouble: Trouble) {
        match event {
            Event::Look { twin, owner } => {
                let open_as = if owner { OpenAs::Owner } else { OpenAs::ReadOnly };
                if twin {
                    self.close();
                    let copied = self.media.copy(STORE, TWIN);
                    self.open(None);
                    if copied {
                        self.look(TWIN, open_as);
                        self.media.lose(TWIN);
                    }
                } else if self.backup_is_closed() {
                    self.look(BACKUP, open_as);
                }
                self.compare();
            }
            Event::Spied { nth, op } => {
                self.others().spies = self.backup_is_closed().then_some(nth);
                self.apply(op, trouble);
                self.others().spies = None;
            }
            Event::Drill => self.drill(),
            Event::Stale(user) => self.stale(user),
            Event::BatchAdd { user, item } => self.batch_add(user, item),
            Event::BatchCommit => self.batch_commit(trouble),
            Event::WrongClock { ahead, far, reopen, user } => self.wrong_clock((ahead, far), reopen, user),
            Event::Keyholder(event) => self.keyholder(event, trouble),
            Event::Snapshot => self.snapshot(),
            Event::FromSnapshot(user) => self.set_back(user),
            Event::Plan(scoped, delay) => self.plan(&scoped, delay, trouble),
            Event::Copy(op) => self.apply(op, trouble),
            Event::EraseWithin(scoped, window) => self.apply(Op::EraseWithin(scoped, window), trouble),
            Event::Erase(scopes) => self.apply(Op::Erase(scopes), trouble),
        }
    }

    /// A backup is taken over for a moment, as in a drill that went too far; then the store is taken back.
    fn drill(&mut self) {
        let backup = self.others().backup;
        let same = backup.is_some_and(|backup| backup.epoch == self.engine().head().epoch);
        if !same || !self.model.copies.is_empty() || !self.settled() {
            return;
        }
        self.close();
        let options = Options { open_as: OpenAs::TakeOver, ..self.options.clone() };
        let opened = self.media.store(BACKUP, false).and_then(|store| Engine::open(store, self.media.cell()?, options));
        if let Ok(engine) = opened {
            assert!(engine.read_only().is_none(), "LOST: a backup that is taken over is read-only");
            self.others().stale = Some(engine);
            self.tally.count("backups taken over");
        }
        self.options.open_as = OpenAs::TakeOver;
        self.open(None);
        self.compare();
    }

    /// Who lost the cell destroys nothing in it, whenever that is.
    fn stale(&mut self, user: u8) {
        let Some(stale) = self.others().stale.take() else { return };
        let did = stale.erase(Scope::user(user_id(user))).is_ok_and(|done| !done.already);
        assert!(!did, "FOUND: an engine erases whose store was taken from it");
        drop(stale);
        self.tally.count("erases of who lost the store");
        self.compare();
    }

    fn batch_add(&mut self, user: u8, item: Item) {
        let mut chosen = self.choose(item);
        let live = self.model.live();
        chosen.sources.retain(|source| live.contains_key(source));
        let (mut batch, user, mut items) = match self.others().batch.take() {
            Some(open) => open,
            None => (self.engine().batch(), user, Vec::new()),
        };
        let mut put = Put::new(user_id(user), chosen.class.clone());
        if let Some(interaction) = chosen.interaction {
            put = put.interaction(interaction);
        }
        put = chosen.sources.iter().fold(put, |put, source| put.derived_from(Source::Record(*source)));
        match batch.add(put, &chosen.content[..]) {
            Ok(_) => items.push(chosen),
            Err(e) => assert!(
                matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent),
                "an error out of nothing as a batch grows: {e:?}"
            ),
        }
        self.others().batch = Some((batch, user, items));
    }

    fn batch_commit(&mut self, trouble: Trouble) {
        let Some((batch, user, items)) = self.others().batch.take() else { return };
        if items.is_empty() {
            return;
        }
        let refused = self.refuses(user, &items);
        let batch = RefCell::new(Some(batch));
        let act = |_: &Run| {
            let Some(batch) = batch.borrow_mut().take() else { return Ok(Done::Nothing) };
            let ids = batch.commit()?;
            assert!(!refused, "FOUND: a batch from what fell while it was open, or behind a fence, was let in");
            Ok(Done::Ids(ids))
        };
        self.verb("batches committed", trouble, &act, |run, done, _| run.follow_put(user, items, done));
        self.compare();
    }

    /// While the clock is wrong nothing is erased by it and a put is taken; nothing of it stays when it is right again.
    fn wrong_clock(&mut self, (ahead, far): (bool, bool), reopen: bool, user: u8) {
        self.tend(Trouble::default());
        // Also what falls due before the clock is right again.
        let now = self.env.now().0 + 1000;
        let late = self.model.users.values().any(|user| user.plans.iter().any(|(_, due, _)| *due <= now));
        if late || !self.model.expired(now).is_empty() {
            // Keyholders are away, or it is due in a moment: it is done by a call that the model does not follow.
            return;
        }
        let jump = i64::try_from(CLOCK_JUMP.as_millis()).unwrap_or(i64::MAX);
        let by = if far { 10 * jump } else { jump + 3_600_000 };
        self.env.set_wrong(if ahead { by } else { -by });
        if reopen {
            self.restart(false);
            self.open(None);
        }
        let _ = self.engine().run_due(&mut |_| {});
        let known = self.model.interactions.len();
        self.put_now(user, "puts with a wrong clock");
        // What began at a wrong time is not picked as a border in time.
        self.model.interactions.truncate(known);
        self.env.set_wrong(0);
        self.put_now(user, "puts when it is right again");
        self.tend(Trouble::default());
        self.compare();
    }

    /// A put that nothing may stop but that its user, or its class, is gone.
    fn put_now(&mut self, user: u8, event: &'static str) {
        let class = class(user + 1);
        let refused = self.model.fenced(user, &class, None);
        let content = self.content(20);
        let put = self.engine().put(Put::new(user_id(user), class.clone()), &content[..]);
        match put {
            Ok(id) => {
                assert!(!refused, "FOUND: a put behind a fence was let in");
                let chosen = Chosen { class, interaction: None, sources: Vec::new(), from_last: false, content };
                self.follow_put(user, vec![chosen], Some(Done::Ids(vec![id])));
                self.tally.count(event);
            }
            Err(e) if refused => assert_eq!(e.kind(), ErrorKind::Erased, "{e}"),
            // A copy or a keyholder that is away keeps it from being acknowledged: then the store is opened again.
            Err(e) => {
                assert!(matches!(e.kind(), ErrorKind::Copy | ErrorKind::Io), "LOST: {event} fail: {e:?}");
                let before = self.engine().head();
                self.restart(false);
                self.open(None);
                if self.engine().head() > before {
                    let chosen = Chosen { class, interaction: None, sources: Vec::new(), from_last: false, content };
                    self.follow_put(user, vec![chosen], None);
                }
            }
        }
    }

    fn keyholder(&mut self, event: KeyholderEvent, trouble: Trouble) {
        if !self.media.has_keyholders() {
            return;
        }
        self.restart(false);
        let befell = self.media.keyholders(event);
        self.open(None);
        if !befell {
            return;
        }
        self.tally.count(match event {
            KeyholderEvent::Replaced(_) => "keyholders replaced",
            KeyholderEvent::Lost(_) => "keyholders lost",
        });
        self.compare();
        if let KeyholderEvent::Replaced(_) = event {
            let act = |run: &Run| run.engine().rekey().map(|_| Done::Nothing);
            self.verb("epochs begun", trouble, &act, |_, _, _| {});
        }
    }

    /// A snapshot of store and memory, while the engine is open; its cell is elsewhere.
    fn snapshot(&mut self) {
        if !self.settled() || !self.model.copies.is_empty() {
            return;
        }
        let Some(cell) = self.media.twin_cell().filter(|_| self.media.copy(STORE, LIVE)) else { return };
        let cell = Arc::new(FaultyCell {
            cell,
            gate: Arc::clone(self.media.gate()),
            hoard: Arc::clone(&self.hoard),
            late: Late::default(),
        });
        let Ok(store) = self.recorded(LIVE, false) else { return };
        let (twin, head) = (self.engine().twin(store, cell), self.engine().head());
        self.tally.add("snapshots with a key that stands ready", u64::from(twin.has_ready_key()));
        if let Some((old, _)) = self.others().snapshot.replace((twin, head)) {
            old.unplug();
        }
    }

    /// The machine goes on from the snapshot, with the cell as it is: it would bring back what was erased since.
    fn set_back(&mut self, user: u8) {
        let Some((twin, then)) = self.others().snapshot.take() else { return };
        if self.engine().head().epoch > then.epoch && self.settled() {
            let did = twin.erase(Scope::user(user_id(user))).is_ok_and(|done| !done.already);
            assert!(!did, "FOUND: a machine that was set back erases with a cell that went on");
            self.tally.count("machines set back");
        }
        twin.unplug();
        self.compare();
    }
}
