//! One run: steps against an engine that is opened again and again over the same media, and the judges.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::{Engine, Options, Query, Reader, When};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::disk::Saved;
use super::many::{Event, Others};
use super::media::{FaultyCell, Hoard, Late, Media};
use super::model::{Model, Named};
use super::op::{Op, STEP_BYTES, Scoped, Trouble, decode};
use super::records::Chosen;
use super::rng::Rng;
use super::tally::Tally;
use crate::cell::RootCell;
use crate::certificate::Certificate;
use crate::engine::{CopyMode, Defect, Follow, Geometry, Keeper, OpenAs};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{InteractionId, RecordId, UserId};
use crate::limits::SEGMENT_MIN_BYTES;
use crate::store::{HeadId, Store};
use crate::testing::{RecordingStore, Seeded, Tape, locked};

/// Names of the users: with characters that are hard on text.
const USERS: [&str; 4] = ["ada", "bob", "Ünïcode \u{1F3A4}", "\u{0}nul"];
pub(super) const STORE: &str = "store";
pub(super) const BACKUP: &str = "backup";

/// Small pages, so that trees grow and split; every seventh run has the default. Every eleventh has the shortest segments.
fn geometry(seed: u64) -> Geometry {
    let segment_bytes = if seed % 11 == 4 { SEGMENT_MIN_BYTES } else { Geometry::DEFAULT.segment_bytes };
    match seed % 7 {
        0 => Geometry { segment_bytes, ..Geometry::DEFAULT },
        1 | 2 => Geometry { page_bytes: 1024, fan_bits: 4, segment_bytes },
        _ => Geometry { page_bytes: 1024, fan_bits: 2, segment_bytes },
    }
}

pub(super) fn user_id(n: u8) -> UserId {
    match UserId::new(USERS[usize::from(n)]) {
        Ok(id) => id,
        Err(e) => panic!("a user's name: {e}"),
    }
}

pub(super) fn place(n: u8) -> String {
    format!("copy{n}")
}

/// The one verb that may commit more than once.
pub(super) const TENDS: &str = "what is due done";

/// What an erase said: how many records fell, and whether there was nothing to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Fell(u64, bool),
    Absent,
    Held,
    /// An error of the medium, while others of the same call were done.
    Failed,
}

/// What a verb gave back.
pub(super) enum Done {
    Ids(Vec<RecordId>),
    /// For each scope.
    Erased(Vec<Told>),
    /// The number of a hold.
    Number(u64),
    Nothing,
}

pub(super) struct Machine {
    pub(super) saved: Saved,
    pub(super) model: Model,
    pub(super) position: (u64, u64, u64),
    pub(super) head: HeadId,
}

/// A run in progress.
pub(super) struct Run {
    pub(super) media: Arc<dyn Media>,
    pub(super) env: Arc<Seeded>,
    pub(super) tape: Arc<Tape>,
    pub(super) hoard: Hoard,
    pub(super) late: Late,
    pub(super) options: Options,
    pub(super) engine: Option<Engine>,
    /// The store was restored since: it is not the one that owns the cell, and is to be taken over.
    pub(super) restored: bool,
    /// An erase met a fault: it may have left derived records to be followed later.
    pub(super) left: bool,
    pub(super) unreachable: Arc<Mutex<BTreeSet<String>>>,
    pub(super) model: Model,
    /// Records of a timeline that a restored snapshot ended; they may open until the epoch ends.
    pub(super) abandoned: BTreeSet<RecordId>,
    pub(super) abandoned_epoch: u64,
    /// The epoch of the last put that was undone: its head may be on the tape, and opens until the epoch ends.
    pub(super) undone_epoch: u64,
    /// When a call failed last: what was due then is tried again later.
    pub(super) failed_at: Option<u64>,
    pub(super) machine: Option<Machine>,
    pub(super) copies: BTreeMap<u8, Saved>,
    pub(super) cell: Option<(Saved, u64)>,
    pub(super) readers: Vec<(RecordId, Reader)>,
    /// Envelopes that were accepted, and what they became.
    pub(super) envelopes: Vec<(Vec<u8>, RecordId)>,
    /// Certificates of acknowledged erases.
    pub(super) certificates: Vec<Certificate>,
    pub(super) rng: Rng,
    pub(super) contents: u64,
    pub(super) tally: Tally,
    /// What else has the cell open, where the store is not alone.
    pub(super) others: Option<Others>,
}

impl Run {
    /// Makes a store on empty media; `trouble` meets the making.
    pub(super) fn new(
        media: Arc<dyn Media>,
        env: Arc<Seeded>,
        seed: u64,
        defect: Option<Defect>,
        trouble: Option<(u64, super::Fault)>,
    ) -> Self {
        let tape = Tape::new();
        let unreachable: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (over, onto, gone) = (Arc::clone(&media), Arc::clone(&tape), Arc::clone(&unreachable));
        let open_copy = move |place: &str, create: bool| -> Result<Arc<dyn Store>> {
            if locked(&gone).contains(place) {
                return Err(Error::new(ErrorKind::Io, format!("{place} is out of reach")));
            }
            Ok(Arc::new(RecordingStore::new(over.store(place, create)?, Arc::clone(&onto))))
        };
        let options = Options {
            env: env.clone(),
            geometry: geometry(seed),
            keeper: Keeper::ByHand,
            follow: if seed.is_multiple_of(3) {
                Follow { links: 2, users: 1 }
            } else {
                Follow { users: 9, ..Follow::default() }
            },
            cache_bytes: 1 << 18,
            log_origin: None,
            open_copy: Arc::new(open_copy),
            open_as: OpenAs::Owner,
            defect,
            ..Options::default()
        };
        let mut run = Run {
            media,
            env,
            tape,
            hoard: Hoard::default(),
            late: Late::default(),
            options,
            engine: None,
            restored: false,
            left: false,
            unreachable,
            model: Model::default(),
            abandoned: BTreeSet::new(),
            abandoned_epoch: 0,
            undone_epoch: 0,
            failed_at: None,
            machine: None,
            copies: BTreeMap::new(),
            cell: None,
            readers: Vec::new(),
            envelopes: Vec::new(),
            certificates: Vec::new(),
            rng: Rng::new(seed),
            contents: 0,
            tally: Tally::default(),
            others: None,
        };
        run.init(trouble);
        run.media.stir();
        run
    }

    /// An `init` that is cut short is done again on empty places, or opened where it was done after all.
    pub(super) fn init(&mut self, trouble: Option<(u64, super::Fault)>) {
        self.media.gate().plan(trouble);
        let made = self.with_media(true, Engine::init);
        let blown = self.media.gate().blown().is_some();
        self.media.gate().plan(None);
        match made {
            Ok(engine) if !self.media.gate().is_off() => {
                self.engine = Some(engine);
                return;
            }
            Err(e) if !blown => panic!("an empty place takes no store: {e}"),
            _ => {}
        }
        drop(made);
        let power = self.media.gate().is_off() || self.rng.coin();
        self.restart(power);
        match self.with_media(false, Engine::open) {
            Ok(engine) => self.engine = Some(engine),
            Err(e) => {
                assert!(matches!(e.kind(), ErrorKind::Absent | ErrorKind::Corrupt), "an init cut short: {e:?}");
                self.media.lose(STORE);
                self.media.lose("cell");
                self.init(None);
            }
        }
    }

    pub(super) fn with_media(
        &self,
        create: bool,
        open: impl FnOnce(Arc<dyn Store>, Arc<dyn RootCell>, Options) -> Result<Engine>,
    ) -> Result<Engine> {
        open(self.recorded(STORE, create)?, self.faulty_cell()?, self.options.clone())
    }

    /// The store at a place, on the tape.
    pub(super) fn recorded(&self, place: &str, create: bool) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(RecordingStore::new(self.media.store(place, create)?, Arc::clone(&self.tape))))
    }

    pub(super) fn faulty_cell(&self) -> Result<Arc<dyn RootCell>> {
        Ok(Arc::new(FaultyCell {
            cell: self.media.cell()?,
            gate: Arc::clone(self.media.gate()),
            hoard: Arc::clone(&self.hoard),
            late: Arc::clone(&self.late),
        }))
    }

    pub(super) fn engine(&self) -> &Engine {
        match &self.engine {
            Some(engine) => engine,
            None => panic!("the engine is closed"),
        }
    }

    pub(super) fn close(&mut self) {
        self.readers.clear();
        self.close_batch();
        self.engine = None;
    }

    pub(super) fn restart(&mut self, power: bool) {
        self.close();
        self.switch_off(power);
        let seed = self.rng.next();
        self.media.restart(power, seed);
        self.tally.count(if power { "power cuts" } else { "restarts" });
    }

    /// Opens the engine, with trouble on the way.
    pub(super) fn open(&mut self, trouble: Option<(u64, super::Fault)>) {
        let mut trouble = trouble;
        self.look_first();
        for _ in 0..8 {
            self.media.gate().plan(trouble.take());
            let opened = self.with_media(false, Engine::open);
            let blown = self.media.gate().blown().is_some();
            self.media.gate().plan(None);
            if blown {
                self.failed_at = Some(self.env.now().0);
            }
            if self.media.gate().is_off() {
                drop(opened);
                self.restart(true);
                continue;
            }
            match opened {
                Ok(engine) => {
                    let taken_over = self.options.open_as == OpenAs::TakeOver;
                    let read_only = engine.read_only();
                    assert!(taken_over || self.restored || read_only.is_none(), "LOST: {read_only:?}");
                    assert!(
                        taken_over || !self.restored || read_only.is_some(),
                        "FOUND: a store that was restored owns the cell by itself"
                    );
                    if engine.read_only().is_some() {
                        self.look_only(engine);
                        self.options.open_as = OpenAs::TakeOver;
                        continue;
                    }
                    self.options.open_as = OpenAs::Owner;
                    self.restored = false;
                    self.engine = Some(engine);
                    return;
                }
                Err(_) if blown => {
                    let power = self.rng.coin();
                    self.restart(power);
                }
                Err(e) => panic!("LOST: the store does not open again: {e}"),
            }
        }
        panic!("LOST: the store does not open again, and nothing goes wrong any more");
    }

    /// A store that was restored, or went back, is looked at: nothing in it or in the cell may change by that.
    fn look_only(&self, engine: Engine) {
        let keys = |run: &Run| run.media.cell().and_then(|cell| cell.load()).map(|contents| contents.keys.len()).ok();
        let before = keys(self);
        let refused = engine.erase(crate::Scope::user(user_id(0))).err().map(|e| e.kind());
        assert_eq!(refused, Some(ErrorKind::Fenced), "FOUND: a store erases that does not own its cell");
        let refused =
            engine.put(crate::Put::new(user_id(0), crate::ids::Class::audio()), &b"x"[..]).err().map(|e| e.kind());
        assert_eq!(refused, Some(ErrorKind::Fenced), "FOUND: a store takes a put that does not own its cell");
        let _ = (engine.run_due(&mut |_| {}), engine.status(), engine.list(&Query::default()));
        drop(engine);
        assert_eq!(keys(self), before, "FOUND: a look destroys a root key");
    }

    pub(super) fn pick(&self, n: u8) -> Option<InteractionId> {
        let all = &self.model.interactions;
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
    }

    pub(super) fn named(&self, scoped: &Scoped) -> Option<Named> {
        Some(match scoped {
            Scoped::User(user) => Named::User(*user),
            Scoped::Class(user, class) => {
                Named::Part { user: *user, class: Some(class.clone()), when: When::Ever, keep: None }
            }
            Scoped::Interaction { user, interaction, class } => {
                let when = When::Interaction(self.pick(*interaction)?);
                Named::Part { user: *user, class: class.clone(), when, keep: None }
            }
            Scoped::Record(n) => Named::Record(self.any_record(*n)?),
            Scoped::Keeping { user, keep, interaction } => {
                let when = match interaction {
                    Some(n) => When::Interaction(self.pick(*n)?),
                    None => When::Ever,
                };
                Named::Part { user: *user, class: None, when, keep: Some(keep.clone()) }
            }
            Scoped::Span { user, class, from, until } => {
                let time = |n: &Option<u8>| n.and_then(|n| self.pick(n)).map(|i| i.began());
                let (from, until) = (time(from), time(until));
                if from.zip(until).is_some_and(|(f, u)| f >= u) {
                    return None;
                }
                Named::Part { user: *user, class: class.clone(), when: When::Between { from, until }, keep: None }
            }
        })
    }

    /// A record that lives, or did.
    pub(super) fn any_record(&self, n: u8) -> Option<RecordId> {
        let live = self.model.live();
        let all: Vec<RecordId> = live.keys().chain(&self.model.erased).copied().collect();
        all.get(usize::from(n) % all.len().max(1)).copied()
    }

    pub(super) fn content(&mut self, len: usize) -> Vec<u8> {
        self.contents += 1;
        let mut rng = Rng::new(self.rng.clone().next() ^ self.contents);
        let mut content: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| rng.next().to_be_bytes()).collect();
        content.truncate(len);
        content
    }

    /// Takes one step.
    pub(super) fn step(&mut self, bytes: &[u8; STEP_BYTES]) {
        if self.others.is_some()
            && let Some(event) = Event::decode(bytes)
        {
            self.env.advance(5);
            self.befall(event, super::op::trouble(bytes));
            return self.go_on();
        }
        let (op, trouble) = decode(bytes);
        self.apply(op, trouble);
        self.go_on();
    }

    pub(super) fn apply(&mut self, op: Op, trouble: Trouble) {
        self.env.advance(5);
        match op {
            Op::Put { user, items } => {
                let items: Vec<Chosen> = items.into_iter().map(|item| self.choose(item)).collect();
                self.put(user, items, trouble);
            }
            Op::Detach(n) => self.detach(n, trouble),
            Op::LegalHold { user, class, interaction } => self.legal_hold(user, class, interaction, trouble),
            Op::OpenAs(n) => self.open_as(n, trouble),
            Op::Lift(n) => self.lift(n, trouble),
            Op::Tend => self.tend(trouble),
            Op::Plan(scoped, delay) => self.plan(&scoped, delay, trouble),
            Op::Envelope(user, item) => self.envelope(user, &item, trouble),
            Op::EnvelopeAgain(n) => self.envelope_again(n, trouble),
            Op::Grant { user, class, set, revoked } => self.grant(user, class.as_ref(), (set, revoked), trouble),
            Op::Cancel(n) => self.cancel(n, trouble),
            Op::Limit { user, class, age } => self.limit(user, &class, age, trouble),
            Op::EraseWithin(scoped, window) => {
                if let Some(named) = self.named(&scoped) {
                    self.erase(vec![named], Some(Duration::from_millis(u64::from(window) * 100)), trouble);
                }
            }
            Op::Create(user) => {
                let act = |run: &Run| run.engine().create_user(&user_id(user)).map(|()| Done::Nothing);
                self.verb("creates", trouble, &act, |run, _, now| run.model.create(user, now));
            }
            Op::Erase(scopes) => {
                let named: Vec<Named> = scopes.iter().filter_map(|s| self.named(s)).collect();
                if !named.is_empty() {
                    self.erase(named, None, trouble);
                }
            }
            Op::CopyAdd { place: n, in_step } => {
                let mode = if in_step { CopyMode::InStep } else { CopyMode::Behind };
                let act = |run: &Run| run.engine().copies().add(&place(n), mode, &mut |_| {}).map(|_| Done::Nothing);
                self.verb("copies added", trouble, &act, |run, _, _| {
                    run.model.copies.insert(n, in_step);
                });
            }
            Op::CopySync => {
                let act = |run: &Run| {
                    let synced = run.engine().copies().sync(None, &mut |_| {})?;
                    assert_eq!(synced.len(), run.model.copies.len(), "every copy is brought up");
                    let status = run.engine().copies().status();
                    if run.media.gate().blown().is_none() {
                        for copy in status {
                            assert_eq!(copy.head, Some(run.engine().head()), "{copy:?}");
                            assert_eq!(copy.lacks_pages, Some(0), "{copy:?}");
                        }
                    }
                    Ok(Done::Nothing)
                };
                self.verb("copies synced", trouble, &act, |_, _, _| {});
            }
            Op::CopyRemove(n) => {
                let act = |run: &Run| run.engine().copies().remove(&place(n)).map(|()| Done::Nothing);
                self.verb("copies removed", trouble, &act, |run, _, _| {
                    run.model.copies.remove(&n);
                });
            }
            Op::Backup => {
                let act = |run: &Run| {
                    let to = (run.options.open_copy)(BACKUP, true)?;
                    run.engine().backup(&*to, &mut |_| {}).map(|_| Done::Nothing)
                };
                self.verb("backups", trouble, &act, |run, _, _| run.note_backup());
            }
            Op::Discard => {
                let act = |run: &Run| run.engine().discard_in_windows(9).map(|_| Done::Nothing);
                self.verb("discards", trouble, &act, |_, _, _| {});
            }
            Op::Restore => self.restore(trouble),
            Op::Reopen => {
                self.restart(trouble.after == 2);
                self.open(trouble.recovering);
            }
            Op::Hold(n) => self.hold(n),
            Op::Partition(n) => {
                let place = place(n);
                let gone = locked(&self.unreachable).remove(&place);
                if !gone {
                    // What is open stays open: the place is found to be gone when it is next opened.
                    locked(&self.unreachable).insert(place);
                    self.restart(false);
                    self.open(None);
                    self.tally.count("partitions");
                }
            }
            Op::Keep(kept) => self.keep(kept),
            Op::Return(kept) => self.bring_back(kept),
            Op::Rot { cell } => self.rot(cell),
            Op::Wait(ms) => self.env.advance(u64::from(ms) * 100),
            Op::SecondWriter(n) => self.second_writer(n),
        }
    }

    /// Runs a verb with its trouble, finds out what became of it, and has the model follow. `follow` is told what the
    /// verb gave back, or `None` where it was not acknowledged and is there all the same.
    pub(super) fn verb(
        &mut self,
        event: &'static str,
        trouble: Trouble,
        act: &dyn Fn(&Run) -> Result<Done>,
        follow: impl FnOnce(&mut Run, Option<Done>, u64),
    ) {
        let before = self.engine().head();
        // The time that the verb's next look at the clock sees.
        let now = self.env.now().0 + 1;
        self.media.gate().plan(trouble.during);
        self.let_in();
        let result = act(self);
        let blown = self.media.gate().blown();
        self.media.gate().plan(None);
        if blown.is_some() {
            self.failed_at = Some(self.env.now().0);
        }
        self.let_out();
        if self.media.gate().is_off() {
            drop(result);
            self.restart(true);
            self.open(trouble.recovering);
            return self.resolve(event, before, now, follow);
        }
        match result {
            Ok(done) => {
                self.tally.count(event);
                let after = self.engine().head();
                assert!(after >= before, "a head went back");
                follow(self, Some(done), now);
                self.check_copies();
            }
            Err(e) => {
                let out_of_reach = !locked(&self.unreachable).is_empty()
                    && matches!(e.kind(), ErrorKind::Copy | ErrorKind::Io)
                    || e.kind() == ErrorKind::Refused && e.to_string().contains("moved on by itself")
                    // Two keyholders are away: nothing was changed.
                    || self.media.has_keyholders() && e.kind() == ErrorKind::Io;
                let told = matches!(e.kind(), ErrorKind::Absent | ErrorKind::Exists | ErrorKind::Erased);
                assert!(blown.is_some() || out_of_reach || told, "{event}: an error out of nothing: {e:?}");
                self.tally.count("verbs failed");
                let poisoned = self.engine().list(&Query::default().limit(1));
                match trouble.after {
                    0 if poisoned.is_ok() => {}
                    _ if blown.is_none() => {}
                    after => {
                        self.restart(after == 2);
                        self.open(trouble.recovering);
                    }
                }
                self.resolve(event, before, now, follow);
            }
        }
    }

    /// A verb that was not acknowledged is wholly there or not at all; the head's number tells which.
    pub(super) fn resolve(
        &mut self,
        event: &str,
        before: HeadId,
        now: u64,
        follow: impl FnOnce(&mut Run, Option<Done>, u64),
    ) {
        let after = self.engine().head();
        if after == before {
            self.tally.count("undone");
            self.undone_epoch = after.epoch;
        } else {
            let next = after.commit == before.commit + 1 || event == TENDS && after > before;
            assert!(next, "LOST: the store went from {before} to {after}");
            self.tally.count("done, not acknowledged");
            follow(self, None, now);
        }
        self.compare();
    }

    pub(super) fn hold(&mut self, n: u8) {
        let live: Vec<RecordId> = self.model.live().into_keys().collect();
        if let Some(id) = live.get(usize::from(n) % live.len().max(1)) {
            let reader = self.engine().get(id).unwrap_or_else(|e| panic!("LOST: {e}"));
            self.readers.push((*id, reader));
        }
    }
}
