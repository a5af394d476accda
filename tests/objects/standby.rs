//! One writer and two standbys, a process each, over one store on objects and one root key spread
//! over three keyholders: the writer is killed, or stopped, in the middle of puts and erases; one
//! standby takes its place, the other goes on waiting. Each has a list of keyholders of its own, as
//! it was when the store was made.
//!
//! `KEYFALL_STANDBYS=20` for more rounds; each takes some four seconds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use keyfall::cell::MemoryCell;
use keyfall::engine::Keeper;
use keyfall::env::{Env, System};
use keyfall::opening::{Beside, StandBy};
use keyfall::store::{MemoryStore, ObjectLog, Store};
use keyfall::{Builder, Engine, ErrorKind, RecordId, Scope};
use keyfall_objects::cloud::CloudObjects;
use keyfall_objects::{Counted, CountedObjects, Created, Listed, MemoryObjects, Objects};

use crate::engines::read;
use crate::far::Far;
use crate::paused::{bring, made, put};

const BEAT: Duration = Duration::from_millis(100);
const GONE_AFTER: Duration = Duration::from_millis(600);
const EVERY: Duration = Duration::from_millis(25);

fn payload(n: u64) -> Vec<u8> {
    let len = [9, 700, 20_000, 200_000][n as usize % 4];
    n.to_be_bytes().into_iter().cycle().take(len).collect()
}

/// Puts and erases until that fails, and says what is acknowledged.
fn write(engine: &Engine) -> keyfall::Result<()> {
    let mut mine = Vec::new();
    for n in 0_u64.. {
        let id = engine.put(
            keyfall::Put::new(crate::engines::user(n as u32 % 5), keyfall::Class::audio()),
            &payload(n)[..],
        )?;
        println!("\n@put {id} {n}");
        mine.push(id);
        if mine.len() > 3 {
            let id = mine.remove(0);
            println!("\n@erasing {id}");
            engine.erase(Scope::record(id))?;
            println!("\n@erased {id}");
        }
    }
    Ok(())
}

/// Opens the store as a process was told to that is a machine: as its writer, or standing beside
/// it. `None` for a process that was told nothing.
pub(crate) fn opened(beat: Duration, how: &StandBy, gone: &mut dyn FnMut()) -> Option<Engine> {
    let told = std::env::var("KEYFALL_STANDS_BY").ok()?;
    let [store, cell, role] = told.split('|').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let builder = Builder::at(store).cell_at(cell).beat(beat);
    let mut stands = false;
    let mut see = |beside: &Beside| {
        match beside {
            Beside::Quiet(_) if !stands => {
                stands = true;
                println!("\n@stands");
            }
            Beside::Gone(_) => gone(),
            Beside::Failed(e) => println!("\n@failed {:?}", e.kind()),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    Some(match role {
        "writer" => builder.open().unwrap(),
        _ => builder.stand_by(how, &mut see).unwrap().unwrap(),
    })
}

/// A machine: it stands by, takes the store over, puts a first record, and writes when it is told
/// to.
#[test]
#[ignore = "it is started by the test below"]
fn child() {
    let how = StandBy::new().every(EVERY).gone_after(GONE_AFTER);
    let mut gone = || println!("\n@gone {}", System.monotonic().as_nanos());
    let Some(engine) = opened(BEAT, &how, &mut gone) else { return };
    let first = put(&engine, "first", &payload(1));
    println!("\n@owner {} {first}", System.monotonic().as_nanos());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let e = write(&engine).unwrap_err();
    println!("\n@refused {:?}", e.kind());
    let again = engine.erase(Scope::record(first)).unwrap_err();
    println!("\n@refused {:?}", again.kind());
}

/// A process that says what it meets.
pub(crate) struct Machine {
    /// What it was told.
    told: String,
    pub(crate) child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Machine {
    /// Starts a test that is ignored otherwise, and has it told this.
    pub(crate) fn start(test: &str, far: Option<&Far>, told: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        if let Some(far) = far {
            far.seen_by(&mut command);
        }
        let mut child = command
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env("KEYFALL_STANDS_BY", told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix('@') {
                    let _ = tell.send(line.to_owned());
                }
            }
        });
        Machine { told: told.to_owned(), child, input, lines }
    }

    pub(crate) fn tell(&self, what: &str) {
        writeln!(&self.input, "{what}").unwrap();
    }

    pub(crate) fn hears(&self, wanted: &str) -> Option<String> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.ok()?;
            if let Some(rest) = line.strip_prefix(wanted) {
                return Some(rest.trim().to_owned());
            }
            assert!(!line.starts_with("failed Mismatch"), "{line}");
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was acknowledged, by all writers.
#[derive(Default)]
struct Acknowledged {
    live: BTreeMap<RecordId, u64>,
    erased: Vec<RecordId>,
    /// An erase began, and nobody knows what became of it.
    perhaps: Option<RecordId>,
}

impl Acknowledged {
    fn take(&mut self, line: &str) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["put", id, n] => {
                self.live.insert(id.parse().unwrap(), n.parse().unwrap());
            }
            ["erasing", id] => {
                let id = id.parse().unwrap();
                self.live.remove(&id);
                self.perhaps = Some(id);
            }
            ["erased", id] => {
                self.perhaps = None;
                self.erased.push(id.parse().unwrap());
            }
            _ => {}
        }
    }

    fn judge(&self, engine: &Engine, round: usize) {
        for (id, n) in &self.live {
            assert_eq!(read(engine, id).unwrap(), payload(*n), "round {round}: lost");
        }
        for id in &self.erased {
            let e = read(engine, id).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Erased, "round {round}: {e}");
        }
    }
}

pub(crate) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// How long it takes to create 9,000 bytes, and nothing else, at the place of the store.
fn floor(store: &str) -> Duration {
    let objects = CloudObjects::at(store).unwrap();
    let create = |n: u32| {
        let began = Instant::now();
        objects.create(&format!("floor/{n}"), &[7; 9000]).unwrap();
        began.elapsed()
    };
    median((0..31).map(create).collect())
}

#[test]
fn a_standby_takes_over_from_a_writer_that_is_killed_and_another_goes_on_waiting() {
    let rounds = std::env::var("KEYFALL_STANDBYS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let dir = tempfile::tempdir().unwrap();
    let store = format!("file://{}", dir.path().join("log").display());
    let _keyholders = made(dir.path(), None, &store, &[]);
    let at = |name: &str| dir.path().join(name);
    let cells: Vec<PathBuf> = (0..4).map(|n| at(&format!("cell {n}"))).collect();
    cells.iter().for_each(|there| bring(&at("cell"), there));
    let looking = Builder::at(&store).cell_at(&cells[3]).keeper(Keeper::ByHand).read_only();
    let start = |cell: &PathBuf, role: &str| {
        let told = format!("{store}|{}|{role}", cell.display());
        Machine::start("standby::child", None, &told)
    };
    let standby = |cell: &PathBuf| start(cell, "standby");
    let uses = |machine: &Machine, cell: &PathBuf| {
        machine.told.split('|').nth(1) == Some(&*cell.display().to_string())
    };
    let mut machines = vec![start(&cells[0], "writer")];
    machines.extend(cells[1..3].iter().map(standby));
    let mut acknowledged = Acknowledged::default();
    let (mut detected, mut opened) = (Vec::new(), Vec::new());
    let (mut began, mut killed) = (System.monotonic(), None::<Machine>);
    for round in 0..=rounds {
        let owner = owner(&machines);
        let (machine, gone, put, first) = owner;
        let machine = machines.remove(machine);
        if round > 0 {
            detected.push(gone - began);
            opened.push(put - gone);
        }
        acknowledged.live.insert(first, 1);
        acknowledged.judge(&looking.open().unwrap(), round);
        if let Some(stopped) = killed.take() {
            // One that was stopped and goes on is refused, and lets go of what it has.
            stopped.signal("-CONT");
            for _ in 0..2 {
                let kind = stopped.hears("refused").unwrap();
                assert!(["Fenced", "Poisoned", "Erased"].contains(&&*kind), "{kind}");
            }
        }
        // The one that is gone comes back, as a standby.
        let missing = cells[..3]
            .iter()
            .find(|cell| !uses(&machine, cell) && machines.iter().all(|other| !uses(other, cell)));
        machines.extend(missing.map(standby));
        assert_eq!(machines.len(), 2);
        if round == rounds {
            break;
        }
        writes(&machine, round, &mut acknowledged);
        began = System.monotonic();
        machine.signal(if round % 4 == 1 { "-STOP" } else { "-KILL" });
        while let Ok(line) = machine.lines.recv_timeout(Duration::from_millis(100)) {
            acknowledged.take(&line);
        }
        if round % 4 == 1 {
            killed = Some(machine);
        }
    }
    let (floor, taken) = (floor(&store), median(opened.clone()));
    println!(
        "{rounds} rounds, {} records erased; from the kill to its detection {:?} at most (the \
         writer beats every {BEAT:?}, and is gone after {GONE_AFTER:?}); from there to the first put \
         {taken:?}, at most {:?}: {:.1} times a bare create of {floor:?}",
        acknowledged.erased.len(),
        detected.iter().max().unwrap(),
        opened.iter().max().unwrap(),
        taken.as_secs_f64() / floor.as_secs_f64()
    );
}

/// Has the owner write until it has erased something, or until its first erase is under way.
fn writes(machine: &Machine, round: usize, acknowledged: &mut Acknowledged) {
    machine.tell("go");
    let wanted = if round.is_multiple_of(2) { "erased" } else { "erasing" };
    loop {
        let line = machine.lines.recv_timeout(Duration::from_secs(60)).unwrap();
        acknowledged.take(&line);
        if line.starts_with(wanted) {
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(round as u64 * 37 % 250));
}

/// Which machine took the store over, when it took the writer for gone, when it had put something,
/// and what. No other one did.
fn owner(machines: &[Machine]) -> (usize, Duration, Duration, RecordId) {
    let until = Instant::now() + Duration::from_secs(60);
    let (mut gone, mut owner) = (vec![Duration::ZERO; machines.len()], None);
    let mut after = None;
    // A little longer, to see that the other one goes on waiting.
    while Instant::now() < after.unwrap_or(until) {
        for (n, machine) in machines.iter().enumerate() {
            let Ok(line) = machine.lines.recv_timeout(Duration::from_millis(5)) else { continue };
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["gone", at] => gone[n] = Duration::from_nanos(at.parse().unwrap()),
                ["owner", at, first] => {
                    assert!(owner.is_none(), "two machines own the store");
                    let at = Duration::from_nanos(at.parse().unwrap());
                    owner = Some((n, at, first.parse().unwrap()));
                    after = Some(Instant::now() + GONE_AFTER);
                }
                ["failed", kind] => assert!(["Fenced", "Locked", "Io"].contains(&kind), "{kind}"),
                _ => {}
            }
        }
    }
    let (n, at, first) = owner.unwrap();
    (n, gone[n], at, first)
}

fn log(objects: &Arc<dyn Objects>) -> Arc<dyn Store> {
    Arc::new(ObjectLog::open_or_create(Arc::clone(objects)).unwrap())
}

/// A writer that commits leaves nothing else; a quiet one leaves one object at a time, and one that
/// was replaced finds out.
#[test]
fn signs_of_life_come_in_quiet_times_alone_and_do_not_add_up() {
    let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
    let objects: Arc<dyn Objects> = counted.clone();
    let cell = Arc::new(MemoryCell::new());
    let options = crate::engines::options();
    let engine = Engine::init(log(&objects), cell.clone(), options.clone()).unwrap();
    engine.ownership().beat().unwrap();
    let beside = log(&objects);
    let seen = beside.pulse(None).unwrap().unwrap();
    assert!(seen.signs && seen.sign == 1, "{seen:?}");
    assert_eq!(beside.pulse(Some(seen)).unwrap(), Some(seen));
    let signs = || objects.list("b", "", 100).unwrap().len();
    for _ in 0..5 {
        crate::engines::put(&engine, 1, b"x").unwrap();
        engine.ownership().beat().unwrap();
    }
    let busy = beside.pulse(Some(seen)).unwrap().unwrap();
    assert_eq!((signs(), busy.sign, busy.number), (1, 1, seen.number + 5));
    for n in 2..20 {
        counted.take();
        engine.ownership().beat().unwrap();
        let Counted { creates, heads, gets, lists, .. } = counted.take();
        assert_eq!((creates, heads, gets, lists), (1, 1, 0, 0), "a beat in a quiet time");
        assert_eq!(beside.pulse(None).unwrap().unwrap().sign, n);
    }
    assert_eq!(signs(), 2);
    let next = Engine::open(log(&objects), cell, options).unwrap();
    assert_eq!(engine.ownership().beat().unwrap_err().kind(), ErrorKind::Fenced);
    next.ownership().beat().unwrap();
    assert_eq!(signs(), 1, "those of the writer before are gone");
    let now = beside.pulse(Some(seen)).unwrap().unwrap();
    assert!(now.claim > seen.claim && now.sign == 1, "{now:?}");
}

/// A standby that looked claims over what it saw, and over nothing else.
#[test]
fn a_claim_that_expects_something_else_is_refused() {
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let cell = Arc::new(MemoryCell::new());
    let options = crate::engines::options();
    let engine = Engine::init(log(&objects), cell.clone(), options.clone()).unwrap();
    let beside = log(&objects);
    beside.expect(&beside.pulse(None).unwrap().unwrap());
    crate::engines::put(&engine, 1, b"x").unwrap();
    let e = Engine::open(beside, cell.clone(), options.clone()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    crate::engines::put(&engine, 1, b"it goes on").unwrap();
    let beside = log(&objects);
    beside.expect(&beside.pulse(None).unwrap().unwrap());
    let next = Engine::open(beside, cell, options).unwrap();
    crate::engines::put(&next, 1, b"in its place").unwrap();
    let late = crate::engines::put(&engine, 1, b"late").unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late}");
}

/// What a standby asks of the store from the moment at which it takes the writer for gone until its
/// first put is durable: two creates, one of which is the put, and two looks.
#[test]
fn a_standby_that_takes_over_asks_little_before_its_first_put() {
    let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
    let objects: Arc<dyn Objects> = counted.clone();
    let cell = Arc::new(MemoryCell::new());
    let options = crate::engines::options();
    let engine = Engine::init(log(&objects), cell.clone(), options.clone()).unwrap();
    let first = crate::engines::put(&engine, 1, b"before").unwrap();
    engine.erase(Scope::record(first)).unwrap();
    crate::engines::put(&engine, 1, b"kept").unwrap();
    let beside = log(&objects);
    // It looked at the store before, to see whether its cell fits.
    beside.head().unwrap();
    let seen = beside.pulse(None).unwrap().unwrap();
    counted.take();
    beside.expect(&seen);
    let next = Engine::open(beside, cell, options).unwrap();
    let opened = counted.take();
    crate::engines::put(&next, 1, b"in its place").unwrap();
    let put = counted.take();
    // The claim, and a list of what may stand above it.
    assert_eq!(opened, Counted { creates: 1, lists: 1, ..Counted::default() });
    // A page that is in an earlier object.
    assert_eq!(put, Counted { creates: 1, gets: 1, ..Counted::default() });
}

/// A store without signs of life and without a probe has a writer that is never taken for gone; a
/// probe decides; a store of one machine is refused.
#[test]
fn without_signs_a_probe_decides() {
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let cell = Arc::new(MemoryCell::new());
    let options = crate::engines::options();
    let engine = Engine::init(log(&objects), cell.clone(), options.clone()).unwrap();
    let kept = crate::engines::put(&engine, 1, b"kept").unwrap();
    let builder = || Builder::over(log(&objects), cell.clone()).options(options.clone());
    let how = StandBy::new().every(Duration::from_millis(1)).gone_after(Duration::from_millis(5));
    let mut looks = 0;
    let ended = builder().stand_by(&how, &mut |beside| {
        looks += usize::from(matches!(beside, Beside::Untold));
        assert!(!matches!(beside, Beside::Gone(_)));
        if looks == 30 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(ended.unwrap().is_none());
    let asked = std::sync::atomic::AtomicU32::new(0);
    let asked = Arc::new(asked);
    let count = Arc::clone(&asked);
    let lives = move || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 30;
    let next = builder().stand_by(&how.clone().probe(lives), &mut |_| ControlFlow::Continue(()));
    let next = next.unwrap().unwrap();
    assert!(asked.load(std::sync::atomic::Ordering::Relaxed) > 30);
    assert_eq!(read(&next, &kept).unwrap(), b"kept");
    assert_eq!(crate::engines::put(&engine, 1, b"x").unwrap_err().kind(), ErrorKind::Fenced);
    let alone: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let refused = Builder::over(alone, cell).options(options);
    let e = refused.stand_by(&how, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
}

/// However short the time is that was given: a writer whose probe succeeds lives.
#[test]
fn a_probe_that_succeeds_keeps_the_writer() {
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let cell = Arc::new(MemoryCell::new());
    let options = crate::engines::options();
    let engine = Engine::init(log(&objects), cell.clone(), options.clone()).unwrap();
    let how = StandBy::new().every(Duration::from_millis(1)).gone_after(Duration::ZERO);
    let (how, mut looks) = (how.probe(|| true), 0);
    let ended = Builder::over(log(&objects), cell).options(options).stand_by(&how, &mut |beside| {
        assert!(!matches!(beside, Beside::Gone(_)), "{beside:?}");
        looks += 1;
        if looks == 30 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(ended.unwrap().is_none());
    crate::engines::put(&engine, 1, b"it goes on").unwrap();
}

/// A standby with another store's cell says so when it starts, and not when it is needed.
#[test]
fn a_standby_with_another_cell_does_not_wait() {
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let options = crate::engines::options();
    let cell = Arc::new(MemoryCell::new());
    let _engine = Engine::init(log(&objects), cell, options.clone()).unwrap();
    let another = Arc::new(MemoryCell::new());
    let elsewhere = Arc::new(MemoryStore::new());
    Engine::init(elsewhere, another.clone(), options.clone()).unwrap().close().unwrap();
    let standby = Builder::over(log(&objects), another).options(options);
    let mut see = |_: &Beside| -> ControlFlow<()> { panic!("it must not wait") };
    let e = standby.stand_by(&StandBy::new(), &mut see).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch, "{e}");
}

/// Objects whose server now and then answers nothing for a while.
struct Stalled {
    there: MemoryObjects,
    stalled: AtomicBool,
}

impl Stalled {
    fn there(&self) -> &MemoryObjects {
        while self.stalled.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        &self.there
    }
}

impl Objects for Stalled {
    fn place(&self) -> String {
        self.there.place()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> keyfall_objects::Result<Created> {
        self.there().create(name, bytes)
    }
    fn get(&self, name: &str) -> keyfall_objects::Result<Option<Vec<u8>>> {
        self.there().get(name)
    }
    fn get_range(
        &self,
        name: &str,
        from: u64,
        len: u64,
    ) -> keyfall_objects::Result<Option<Vec<u8>>> {
        self.there().get_range(name, from, len)
    }
    fn list(&self, folder: &str, after: &str, n: usize) -> keyfall_objects::Result<Vec<Listed>> {
        self.there().list(folder, after, n)
    }
    fn head(&self, name: &str) -> keyfall_objects::Result<Option<u64>> {
        self.there().head(name)
    }
    fn delete(&self, name: &str) -> keyfall_objects::Result<()> {
        self.there().delete(name)
    }
}

/// While the store answers nothing the writer cannot leave a sign: once it answers, the writer has
/// its whole time.
#[test]
fn a_writer_is_not_taken_for_gone_while_its_store_is_away() {
    let place = Arc::new(Stalled { there: MemoryObjects::new(), stalled: AtomicBool::new(false) });
    let objects: Arc<dyn Objects> = place.clone();
    let cell = Arc::new(MemoryCell::new());
    let options = keyfall::Options::new().beat(BEAT);
    let engine = Engine::init(log(&objects), cell.clone(), options.clone()).unwrap();
    let how = StandBy::new().every(EVERY).gone_after(GONE_AFTER);
    let (ends, gone) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let builder = Builder::over(log(&objects), cell).options(options);
        let (ends, gone, how) = (&ends, &gone, &how);
        scope.spawn(move || {
            builder.stand_by(how, &mut |beside| {
                gone.fetch_or(matches!(beside, Beside::Gone(_)), Ordering::Relaxed);
                if ends.load(Ordering::Relaxed) || gone.load(Ordering::Relaxed) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
        });
        for _ in 0..3 {
            std::thread::sleep(GONE_AFTER);
            place.stalled.store(true, Ordering::Relaxed);
            std::thread::sleep(2 * GONE_AFTER);
            place.stalled.store(false, Ordering::Relaxed);
        }
        std::thread::sleep(GONE_AFTER);
        ends.store(true, Ordering::Relaxed);
    });
    assert!(!gone.load(Ordering::Relaxed), "a writer that lives was taken for gone");
    crate::engines::put(&engine, 1, b"it goes on").unwrap();
}
