//! Two engines, two processes, take turns at one store on a real server, beyond a proxy that loses,
//! delays and repeats what they send; each is killed by `kill -9` at a random moment, or stopped in
//! the midst of its puts and erases and woken while the other one puts and erases. Keyholders have
//! the root key.
//!
//! `KEYFALL_TURNS=400` for more rounds; each takes some two seconds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use keyfall::env::{Env, System};
use keyfall::testing::root_keys;
use keyfall::{Engine, ErrorKind, RecordId, Scope};

use crate::engines::{put, read, user};
use crate::far::{Far, far, rounds};
use crate::paused::{Keyholders, bring, made, open};
use crate::proxy::Faults;

const USERS: u64 = 12;

fn draw(below: u64) -> u64 {
    let mut bytes = [0; 8];
    System.fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes) % below
}

/// It begins with the time at which its put began: so it says whose erase came after it.
fn payload(len: usize, began: u64) -> Vec<u8> {
    began.to_be_bytes().into_iter().cycle().take(len).collect()
}

fn now() -> u64 {
    System.monotonic().as_nanos() as u64
}

/// An engine that takes its turn: it checks what it is told of, then puts and erases until it is
/// killed, and says before and after what it does.
#[test]
#[ignore = "it is started by the test below"]
fn child() {
    let Ok(told) = std::env::var("KEYFALL_TURN") else { return };
    let (store, cell) = told.split_once('|').unwrap();
    let engine = match keyfall::Builder::at(store)
        .cell_at(cell)
        .keeper(keyfall::engine::Keeper::ByHand)
        .open()
    {
        Ok(engine) if engine.read_only().is_none() => engine,
        Ok(engine) => return println!("\n@failed to open: {:?}", engine.read_only()),
        Err(e) => return println!("\n@failed to open: {e}"),
    };
    println!("\n@open");
    for line in std::io::stdin().lines().map(Result::unwrap) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["kept", id, len, began] => {
                let there = read(&engine, &id.parse().unwrap());
                let whole = payload(len.parse().unwrap(), began.parse().unwrap());
                match there {
                    Ok(there) if there == whole => {}
                    Err(e) if e.kind() == ErrorKind::Io => {}
                    other => println!("\n@wrong {line}: {:?}", other.map(|there| there.len())),
                }
            }
            ["gone", id] => match read(&engine, &id.parse().unwrap()) {
                Err(_) => {}
                Ok(there) => println!("\n@wrong {line}: {} bytes", there.len()),
            },
            _ => break,
        }
    }
    println!("\n@checked");
    work(&engine);
}

fn work(engine: &Engine) {
    loop {
        let n = draw(USERS);
        let done = if draw(8) > 0 {
            let (len, began) = ([8, 900, 200_000][draw(3) as usize], now());
            println!("\n@putting {n} {len} {began}");
            let id = put(engine, n as u32, &payload(len, began));
            id.map(|id| println!("\n@put {id} {}", now()))
        } else {
            let began = now();
            println!("\n@erasing {n}");
            match engine.erase(Scope::user(user(n as u32))) {
                Err(e) if e.kind() == ErrorKind::Absent => Ok(()),
                erased => erased.map(|_| ()),
            }
            .map(|()| println!("\n@erased {n} {began} {}", now()))
        };
        match done {
            Ok(()) => {}
            // Its user was erased: it comes to life again.
            Err(e) if e.kind() == ErrorKind::Erased => {
                let _ = engine.create_user(&user(n as u32));
            }
            Err(e) => {
                println!("\n@failed {:?} {e}", e.kind());
                return;
            }
        }
    }
}

struct Turn {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    cell: PathBuf,
    /// When it was stopped, if it was.
    stopped: u64,
}

impl Turn {
    fn start(far: &Far, cell: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = far
            .seen_by(&mut command)
            .args(["turns::child", "--exact", "--ignored", "--nocapture"])
            .env("KEYFALL_TURN", format!("{}|{}", far.url, cell.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Turn { child, lines, cell: cell.to_owned(), stopped: u64::MAX }
    }

    /// The next thing it says; `None` if it has ended.
    fn hears(&mut self) -> Option<String> {
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix('@')?.to_owned()))
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Wakes it up, once it was replaced, and gives what it had said, and what it says until it
    /// fails.
    fn woken(&mut self) -> Vec<String> {
        self.signal("-CONT");
        let mut said = Vec::new();
        while let Some(line) = self.hears() {
            said.push(line);
            if said.last().is_some_and(|line| line.starts_with("failed")) {
                return said;
            }
        }
        panic!("it ended, and nothing had failed: {:?}", said.last())
    }

    /// Kills it, and gives what it had said.
    fn killed(&mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::iter::from_fn(|| self.hears()).collect()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Records, each with its user, and the length and beginning of its payload.
type Records = BTreeMap<RecordId, (u64, usize, u64)>;

/// Takes those of one user out.
fn taken(records: &mut Records, n: u64) -> Records {
    let (of_n, others) = std::mem::take(records).into_iter().partition(|(_, (of, ..))| *of == n);
    *records = others;
    of_n
}

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    kept: Records,
    /// An erase was begun, and is not known to have ended.
    perhaps: Records,
    erased: Vec<RecordId>,
    /// By each user when the last erase of it began that was acknowledged.
    fell: BTreeMap<u64, u64>,
    puts: u64,
    erases: u64,
    failed: BTreeMap<String, u64>,
}

impl Acknowledged {
    fn take(&mut self, said: Vec<String>) {
        let mut putting = (0, 0, 0);
        for line in said {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["putting", n, len, byte] => {
                    putting = (n.parse().unwrap(), len.parse().unwrap(), byte.parse().unwrap());
                }
                ["put", id, _] => {
                    self.puts += 1;
                    self.kept.insert(id.parse().unwrap(), putting);
                }
                ["erasing", n] => {
                    let n: u64 = n.parse().unwrap();
                    self.perhaps.extend(taken(&mut self.kept, n));
                }
                ["erased", n, began, _] => {
                    let n: u64 = n.parse().unwrap();
                    self.fell.insert(n, began.parse().unwrap());
                    self.erases += 1;
                    self.erased.extend(taken(&mut self.perhaps, n).into_keys());
                }
                ["failed", kind, ..] => *self.failed.entry(kind.to_owned()).or_default() += 1,
                ["wrong", ..] => panic!("{line}"),
                _ => {}
            }
        }
    }

    /// Some of it, for the next engine to look at.
    fn asked(&self) -> String {
        let mut text = String::new();
        let last = self.kept.iter().rev().take(5);
        let some = self.kept.iter().skip(draw(20) as usize).step_by(20).take(10);
        for (id, (_, len, began)) in last.chain(some) {
            text.push_str(&format!("kept {id} {len} {began}\n"));
        }
        for id in self.erased.iter().rev().take(30) {
            text.push_str(&format!("gone {id}\n"));
        }
        text + "go\n"
    }
}

/// Whether it tells of something that was acknowledged after this time.
fn is_told_after(time: u64, line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    ["put", "erased"].contains(&words[0]) && words.last().unwrap().parse::<u64>().unwrap() > time
}

/// How a turn ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ends {
    Killed,
    /// Once the other one has opened.
    KilledLate,
    /// It is stopped, and woken once the other one has put and erased.
    Stopped,
}

/// Starts the other engine, with the newest files of the one before; gives that too if it was
/// stopped and not killed.
fn next(
    far: &Far,
    cells: &[PathBuf; 2],
    mut before: Turn,
    ends: Ends,
    seen: &mut Acknowledged,
) -> (Turn, Option<Turn>) {
    let other = cells.iter().find(|cell| **cell != before.cell).unwrap();
    match ends {
        Ends::Killed => seen.take(before.killed()),
        Ends::KilledLate => {}
        Ends::Stopped => {
            before.signal("-STOP");
            before.stopped = now();
        }
    }
    bring(&before.cell, other);
    let mut turn = Turn::start(far, other);
    let first = turn.hears();
    if ends == Ends::KilledLate {
        seen.take(before.killed());
    }
    let cell = before.cell.clone();
    let asleep = (ends == Ends::Stopped).then_some(before);
    if first.as_deref() == Some("open") {
        return (turn, asleep);
    }
    // It knew too old an epoch, or the network was against it: again, and again.
    for _ in 0..20 {
        drop(turn);
        bring(&cell, other);
        turn = Turn::start(far, other);
        match turn.hears() {
            Some(said) if said == "open" => return (turn, asleep),
            said => eprintln!("{said:?}"),
        }
    }
    panic!("it never opens")
}

fn take_turns(far: &Far, rounds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (_keyholders, cells): (Keyholders, _) = (
        made(dir.path(), Some(far), &far.url, &[]),
        [dir.path().join("cell"), dir.path().join("cell there")],
    );
    far.proxy.set(Faults { lands_within: Duration::from_secs(3), ..Faults::of_a_network() });
    let mut seen = Acknowledged::default();
    let (mut ended, mut late) = (BTreeMap::<Ends, u64>::new(), 0);
    let mut asleep: Option<Turn> = None;
    let mut turn = Turn::start(far, &cells[0]);
    assert_eq!(turn.hears().as_deref(), Some("open"));
    for _ in 0..rounds {
        // What one that is stopped had done is not known yet.
        let asked = if asleep.is_some() { "go\n".to_owned() } else { seen.asked() };
        turn.child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
        let said = turn.hears().unwrap();
        assert_eq!(said, "checked");
        std::thread::sleep(Duration::from_millis(draw(3500)));
        // What it says came before all that its successor did.
        if let Some(mut before) = asleep.take() {
            let (said, since) = (before.woken(), before.stopped);
            late += said.iter().filter(|line| is_told_after(since, line)).count();
            seen.take(said);
        }
        let ends = [Ends::Killed, Ends::KilledLate, Ends::Stopped, Ends::Stopped][draw(4) as usize];
        *ended.entry(ends).or_default() += 1;
        (turn, asleep) = next(far, &cells, turn, ends, &mut seen);
    }
    if let Some(mut before) = asleep {
        seen.take(before.woken());
    }
    seen.take(turn.killed());
    std::thread::sleep(Duration::from_secs(3));
    far.proxy.set(Faults::default());
    judge(far, &open(Some(far), &far.url, &turn.cell), &seen);
    println!(
        "{}: {rounds} rounds, of which {ended:?} ({late} puts and erases were acknowledged by one that was \
         stopped before); {} puts and {} erases acknowledged, {} records erased, 0 lost, 0 read; \
         {}; (bodies, of a name twice) {:?}; turns that failed {:?}",
        far.url,
        seen.puts,
        seen.erases,
        seen.erased.len(),
        far.proxy.told(),
        far.proxy.kept().count(),
        seen.failed
    );
}

/// All that was acknowledged is there, and nothing that was erased; nor is it in what was sent, be
/// its put acknowledged, refused or without an answer.
fn judge(far: &Far, engine: &Engine, seen: &Acknowledged) {
    let exposed = far.proxy.kept().exposed_to(&root_keys(engine).unwrap());
    for (id, (_, len, began)) in &seen.kept {
        let whole = payload(*len, *began);
        assert_eq!(read(engine, id).unwrap(), whole, "acknowledged, and lost");
        let content = exposed.get(id).and_then(|record| record.content.as_ref());
        assert_eq!(content, Some(&whole), "what lives is in what was sent");
    }
    for id in &seen.erased {
        let read = read(engine, id).map(drop);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Erased, "erased, and read");
        assert!(!exposed.contains_key(id), "erased, and opened from what was sent");
    }
    for (n, fell) in &seen.fell {
        let of_user = exposed.values().filter(|there| there.user == user(*n as u32));
        for content in of_user.filter_map(|there| there.content.as_ref()) {
            let began = u64::from_be_bytes(content[..8].try_into().unwrap());
            assert!(began > *fell, "user {n}: of before its erase, and opened from what was sent");
        }
    }
}

#[test]
fn two_engines_that_are_killed_and_stopped_take_turns() {
    for far in far(Faults::default(), 7) {
        take_turns(&far, rounds("KEYFALL_TURNS", 20));
    }
}
