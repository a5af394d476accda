//! kill -9 at random moments of import and erase: what was acknowledged is there, what was erased
//! is not, the store opens. SPEC §6, §9.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use keyfall::{Engine, ErrorKind, Query, RecordId};

use crate::command_line::Cli;
use crate::speech::make_corpus;
use crate::support::{Pace, bytes, copy, error_kind, open_files, random, read_record, user};

const CLIPS: usize = 70;

struct Record {
    user: String,
    /// The clip's content, for recordings.
    content: Option<Vec<u8>>,
}

fn open(cli: &Cli) -> Engine {
    open_files(&cli.path("store"), &cli.path("store.cell")).unwrap()
}

/// A store that is imported into and erased from by processes that are killed, and what it must
/// hold.
struct Killed {
    cli: Cli,
    seed: u64,
    live: BTreeMap<RecordId, Record>,
    erased: Vec<RecordId>,
    import_takes: Pace,
    erase_takes: Pace,
    cut_imports: u64,
    cut_erases: u64,
    acknowledged: u64,
}

impl Killed {
    /// Imports a corpus. Some rounds run to the end, so that the typical time is known.
    fn import(&mut self, round: u64) {
        let corpus = self.cli.path("corpus");
        make_corpus(&corpus, 3, CLIPS, 1500, &format!("r{round}"));
        let began = Instant::now();
        let mut child = self
            .cli
            .command(&["import", "store", "corpus", "--actions", "corpus/actions.jsonl", "--ids"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).collect::<Vec<_>>()
        });
        if !round.is_multiple_of(10) {
            std::thread::sleep(self.import_takes.moment(random(self.seed + round * 2)));
            child.kill().unwrap();
        }
        let whole = child.wait().unwrap().success();
        if !round.is_multiple_of(10) {
            self.import_takes.ended(whole);
        } else if whole {
            self.import_takes.0 = began.elapsed();
        }
        self.cut_imports += u64::from(!whole);
        for line in reader.join().unwrap() {
            let fields: Vec<&str> = line.split('\t').collect();
            // The last line may be cut short.
            let Some(Ok(id)) = fields.first().map(|f| f.parse::<RecordId>()) else {
                continue;
            };
            if let [_, user, class, clip] = &fields[..] {
                let content =
                    (*class == "audio").then(|| std::fs::read(corpus.join(clip)).unwrap());
                self.live.insert(id, Record { user: (*user).to_owned(), content });
                self.acknowledged += 1;
            }
        }
    }

    /// Erases a user; whether the command said that it was done.
    fn erase(&mut self, round: u64, user: &str) -> bool {
        let began = Instant::now();
        let mut child = self
            .cli
            .command(&["erase", "store", "--user", user, "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if round % 10 != 5 {
            std::thread::sleep(self.erase_takes.moment(random(self.seed + round * 2 + 1)));
            child.kill().unwrap();
        }
        let done = child.wait().unwrap().success();
        if round % 10 != 5 {
            self.erase_takes.ended(done);
        } else if done {
            self.erase_takes.0 = began.elapsed();
        }
        self.cut_erases += u64::from(!done);
        done
    }

    /// An erase is whole or not at all; one that was acknowledged is whole.
    fn check_erase(&mut self, engine: &Engine, user: &str, done: bool) {
        let ids: Vec<RecordId> =
            self.live.iter().filter(|(_, r)| r.user == user).map(|(id, _)| *id).collect();
        let gone = kind_of(engine, &ids[0]) == Some(ErrorKind::Erased);
        assert!(gone || !done, "an acknowledged erase is not erased");
        for id in &ids {
            assert_eq!(
                kind_of(engine, id) == Some(ErrorKind::Erased),
                gone,
                "an erase is whole or not at all"
            );
            if gone {
                self.live.remove(id);
                self.erased.push(*id);
            }
        }
    }
}

#[test]
fn killed_at_any_moment() {
    let rounds: u64 =
        std::env::var("KEYFALL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let seed: u64 = std::env::var("KEYFALL_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    println!("KEYFALL_SEED={seed}");
    let mut killed = Killed {
        cli: Cli::new(),
        seed,
        live: BTreeMap::new(),
        erased: Vec::new(),
        import_takes: Pace(Duration::from_millis(120)),
        erase_takes: Pace(Duration::from_millis(40)),
        cut_imports: 0,
        cut_erases: 0,
        acknowledged: 0,
    };
    killed.cli.ok(&["copy", "add", "store", "replica"]);
    for round in 0..rounds {
        killed.import(round);
        let all = round % 20 == 19 || round + 1 == rounds;
        verify(&open(&killed.cli), &killed.live, &killed.erased, all);
        let nth = bytes(round, 1)[0] as usize % killed.live.len().max(1);
        let Some(user) = killed.live.values().nth(nth).map(|r| r.user.clone()) else {
            continue;
        };
        let done = killed.erase(round, &user);
        let engine = open(&killed.cli);
        killed.check_erase(&engine, &user, done);
        if all {
            verify(&engine, &killed.live, &killed.erased, true);
            let audit = engine.audit(&[], &mut |_| {}).unwrap();
            assert!(audit.is_clean(), "{audit:?}");
        }
    }
    let Killed { cut_imports, cut_erases, acknowledged, erased, .. } = killed;
    println!(
        "{rounds} rounds: {cut_imports} imports and {cut_erases} erases cut, {acknowledged} records acknowledged, {} erased",
        erased.len()
    );
    assert!(
        rounds < 50 || (cut_imports > rounds / 4 && cut_erases > rounds / 4),
        "the kills hit: {cut_imports} {cut_erases}"
    );
}

fn kind_of(engine: &Engine, id: &RecordId) -> Option<ErrorKind> {
    read_record(engine, id).err().map(|e| e.kind())
}

fn verify(engine: &Engine, live: &BTreeMap<RecordId, Record>, erased: &[RecordId], all: bool) {
    let skip = if all { 0 } else { live.len().saturating_sub(250) };
    // Ids are ordered by time: the newest are at the end.
    for (id, record) in live.iter().skip(skip) {
        let content =
            read_record(engine, id).unwrap_or_else(|e| panic!("acknowledged and lost: {e}"));
        if let Some(expected) = &record.content {
            assert_eq!(&content, expected);
        }
    }
    let skip = if all { 0 } else { erased.len().saturating_sub(100) };
    for id in &erased[skip..] {
        assert_eq!(error_kind(read_record(engine, id)), ErrorKind::Erased, "erased and back");
    }
}

/// A command, and what killing it may leave undone.
struct Verb {
    arguments: &'static [&'static str],
    /// Whether it may take ada's records.
    erases: bool,
    /// How it may answer when it is run again: it was done already.
    again: &'static [i32],
}

const fn verb(arguments: &'static [&'static str], erases: bool, again: &'static [i32]) -> Verb {
    Verb { arguments, erases, again }
}

const VERBS: [Verb; 12] = [
    verb(&["put", "store", "--user", "ada", "--class", "action", "new.wav"], false, &[0]),
    verb(&["create", "store", "--user", "eve"], false, &[0]),
    verb(&["erase", "store", "--user", "ada", "--yes"], true, &[0]),
    verb(&["erase", "store", "--user", "ada", "--class", "audio", "--yes"], true, &[0]),
    verb(&["erase", "store", "--user", "ada", "--after", "2020-01-01", "--yes"], true, &[0]),
    verb(&["copy", "add", "store", "second"], false, &[0, 1]),
    verb(&["copy", "sync", "store"], false, &[0]),
    verb(&["copy", "remove", "store", "replica"], false, &[0, 4]),
    verb(&["backup", "store", "backup"], false, &[0]),
    verb(&["discard", "store"], false, &[0]),
    verb(&["audit", "store", "replica"], false, &[0]),
    verb(&["restore", "--cell", "store.cell", "--into", "restored", "replica"], false, &[0, 1]),
];

const PARTS: [&str; 3] = ["store", "store.cell", "replica"];

#[test]
fn killed_in_every_verb() {
    let cli = Cli::new();
    let mut live: BTreeMap<RecordId, Vec<u8>> = BTreeMap::new();
    for n in 0..30u8 {
        let content = bytes(u64::from(n) + 900, 700 * usize::from(n) + 1);
        let id = cli.put(["ada", "ben", "chloe"][usize::from(n) % 3], "audio", &content);
        live.insert(id.parse().unwrap(), content);
    }
    let gone: RecordId = cli.put("dora", "audio", b"gone").parse().unwrap();
    cli.ok(&["copy", "add", "store", "replica"]);
    cli.ok(&["erase", "store", "--user", "dora", "--yes"]);
    std::fs::write(cli.path("new.wav"), bytes(1, 400_000)).unwrap();
    let of_ada: Vec<RecordId> = {
        let engine = open(&cli);
        live.keys().filter(|id| engine.info(id).unwrap().user.as_str() == "ada").copied().collect()
    };
    std::fs::create_dir(cli.path("saved")).unwrap();
    for part in PARTS {
        copy(&cli.path(part), &cli.path("saved").join(part));
    }
    let mut cut = 0;
    for (n, verb) in VERBS.iter().enumerate() {
        let what = verb.arguments.join(" ");
        let mut takes = Pace(Duration::ZERO);
        for round in 0..9u64 {
            // A store knows its copies by their places: everything goes back to where it was.
            for left in PARTS.iter().chain(&["second", "backup", "restored"]) {
                let _ = std::fs::remove_dir_all(cli.path(left));
            }
            for part in PARTS {
                copy(&cli.path("saved").join(part), &cli.path(part));
            }
            let began = Instant::now();
            let mut child = cli
                .command(verb.arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The first runs to its end, so that the typical time is known.
            if round > 0 {
                std::thread::sleep(takes.moment(random(n as u64 * 100 + round)));
                child.kill().unwrap();
            }
            let whole = child.wait().unwrap().success();
            if round == 0 {
                takes = Pace(began.elapsed());
                assert!(whole, "{what}");
            } else {
                takes.ended(whole);
            }
            cut += u64::from(!whole);
            let engine = open(&cli);
            let fell =
                of_ada.iter().filter(|id| kind_of(&engine, id) == Some(ErrorKind::Erased)).count();
            assert!(
                fell == 0 || verb.erases && fell == of_ada.len(),
                "{what}: an erase is there in part"
            );
            assert!(
                !whole || !verb.erases || fell > 0,
                "{what}: an acknowledged erase is not erased"
            );
            for (id, content) in live.iter().filter(|(id, _)| fell == 0 || !of_ada.contains(id)) {
                assert_eq!(
                    &read_record(&engine, id).unwrap_or_else(|e| panic!("{what}: lost: {e}")),
                    content
                );
            }
            assert_eq!(kind_of(&engine, &gone), Some(ErrorKind::Erased), "{what}: back");
            assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean(), "{what}");
            drop(engine);
            // And it can be done after all.
            let again = cli.run(verb.arguments);
            let said = String::from_utf8_lossy(&again.stderr).into_owned();
            assert!(
                again.status.code().is_some_and(|c| verb.again.contains(&c)),
                "{what}: {:?} {said}",
                again.status
            );
        }
    }
    println!("{} verbs, {cut} of {} runs cut", VERBS.len(), VERBS.len() * 9);
    assert!(cut as usize > VERBS.len() * 2, "the kills hit: {cut}");
}

#[test]
fn killed_while_it_is_made() {
    let cli = Cli::new();
    let (mut cut, mut takes) = (0, Pace(Duration::ZERO));
    for round in 0..40u64 {
        for part in ["store", "store.cell"] {
            let _ = std::fs::remove_dir_all(cli.path(part));
        }
        let began = Instant::now();
        let mut child = cli
            .command(&["init", "store"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if round > 0 {
            std::thread::sleep(takes.moment(random(round + 7000)));
            child.kill().unwrap();
        }
        let whole = child.wait().unwrap().success();
        if round == 0 {
            takes = Pace(began.elapsed());
            assert!(whole);
        } else {
            takes.ended(whole);
        }
        cut += u32::from(!whole);
        let again = cli.run(&["init", "store"]);
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        if said.contains("an init that was cut short") {
            // A root key that no store was ever whole with.
            let _ = std::fs::remove_dir_all(cli.path("store"));
            std::fs::remove_dir_all(cli.path("store.cell")).unwrap();
            cli.ok(&["init", "store"]);
        } else {
            assert!(again.status.success() || said.contains("is a store already"), "{said}");
        }
        cli.put("ada", "audio", b"kept");
    }
    assert!(cut > 5, "the kills hit: {cut}");
}

/// Puts under one name by processes that are killed, and what there must be then.
struct Named {
    cli: Cli,
    user: &'static str,
    /// What `new.wav` may have been when the record was put that has the name: the last that was
    /// acknowledged, and those that were tried since.
    may_be: Vec<Vec<u8>>,
    /// Every record that had the name.
    had: BTreeSet<RecordId>,
    takes: Pace,
    cut: u64,
    /// Puts that were cut and are there.
    landed: u64,
}

const NAME: &str = "2026/11/26/wake.wav";

impl Named {
    fn new(user: &'static str) -> Self {
        let (may_be, had) = (Vec::new(), BTreeSet::new());
        Named { cli: Cli::new(), user, may_be, had, takes: Pace(Duration::ZERO), cut: 0, landed: 0 }
    }

    /// Writes what is to be put from now on.
    fn now(&mut self, content: Vec<u8>) {
        std::fs::write(self.cli.path("new.wav"), &content).unwrap();
        self.may_be.push(content);
    }

    /// Puts it in a process that is killed at this moment, or that runs to its end.
    fn put(&mut self, killed_after: Option<Duration>) {
        let put =
            ["put", "store", "--user", self.user, "--class", "audio", "--name", NAME, "new.wav"];
        let began = Instant::now();
        let mut child =
            self.cli.command(&put).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        if let Some(after) = killed_after {
            std::thread::sleep(after);
            child.kill().unwrap();
        }
        let out = child.wait_with_output().unwrap();
        let whole = out.status.success();
        self.cut += u64::from(!whole);
        if killed_after.is_none() {
            self.takes.0 = began.elapsed();
            assert!(whole);
        } else {
            self.takes.ended(whole);
        }
        self.check(whole);
        if whole {
            let id = String::from_utf8(out.stdout).unwrap().trim().parse().unwrap();
            assert_eq!(self.had.last(), Some(&id), "the id of the stored record");
        }
    }

    /// One record has the name, of what was acknowledged last or tried since; the others that had
    /// it are erased. Before the first put that was acknowledged there may be none.
    fn check(&mut self, acknowledged: bool) {
        let engine = open(&self.cli);
        let user = user(self.user);
        let listed = match engine.list(&Query::default().user(user.clone())) {
            Err(e) if e.kind() == ErrorKind::Absent => Vec::new(),
            listed => listed.unwrap().records,
        };
        let needed = usize::from(acknowledged || !self.had.is_empty());
        assert!((needed..=1).contains(&listed.len()), "{listed:?}");
        for record in &listed {
            assert_eq!(engine.find(&user, NAME).unwrap(), *record);
            let content = read_record(&engine, &record.id).unwrap();
            let at = self.may_be.iter().position(|it| *it == content);
            let at = at.expect("it is what somebody put, and not an older record");
            self.may_be.drain(..at);
            if acknowledged {
                assert_eq!(self.may_be.len(), 1, "what was acknowledged is there");
            } else {
                self.landed += u64::from(!self.had.contains(&record.id));
            }
            self.had.insert(record.id);
        }
        for id in &self.had {
            let there = listed.iter().any(|record| record.id == *id);
            assert_eq!(kind_of(&engine, id), (!there).then_some(ErrorKind::Erased));
        }
    }

    /// Nothing is left of puts that were cut but what a discard takes.
    fn end(&mut self) {
        self.put(None);
        let engine = open(&self.cli);
        assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 1);
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
        engine.discard(&mut |_| {}).unwrap();
        assert_eq!(engine.discard(&mut |_| {}).unwrap().blobs, 0);
        drop(engine);
        self.check(true);
    }
}

/// One put, killed again and again and tried again each time, is one record: before it is there,
/// when a kill lets it through, and after that.
#[test]
fn a_put_by_name_that_is_killed_and_tried_again_is_one_record() {
    let (mut cut, mut landed) = (0, 0);
    for (round, len) in [90, 300_000, 700, 20_000].into_iter().enumerate() {
        let mut named = Named::new("ada");
        // The typical time, of a put to another user.
        named.now(bytes(7, len));
        named.cli.put("ben", "audio", &bytes(7, len));
        let began = Instant::now();
        let other = named.cli.put("ben", "audio", &bytes(7, len));
        named.takes.0 = began.elapsed();
        named.cli.ok(&["erase", "store", "--user", "ben", "--yes"]);
        // Every part of a put is met, in no order.
        for n in 0..100 {
            named.put(Some(named.takes.moment(n * 370 + round as u64 * 3)));
        }
        named.end();
        assert_eq!(named.had.len(), 1, "one put is one record: {:?}", named.had);
        assert_eq!(kind_of(&open(&named.cli), &other.parse().unwrap()), Some(ErrorKind::Erased));
        (cut, landed) = (cut + named.cut, landed + named.landed);
    }
    println!("400 puts killed: {cut} before their end, {landed} of these were stored all the same");
    assert!(cut >= 200, "the kills hit: {cut}");
}

/// Each put has another content, and takes the name from the one before; killed, it is tried
/// again once more, killed again, and then another one comes.
#[test]
fn a_put_by_name_that_replaces_and_is_killed_leaves_one_record() {
    let mut named = Named::new("ada");
    named.now(bytes(1, 300));
    named.put(None);
    named.now(bytes(2, 300));
    named.put(None);
    let (mut n, mut puts) = (3, 0);
    while puts < 120 || named.cut < 40 || named.landed == 0 || named.had.len() <= 5 {
        assert!(puts < 1200, "{} were cut, {} of these are there", named.cut, named.landed);
        named.now(bytes(n, [90, 300_000, 700][n as usize % 3]));
        let after = named.takes.moment(n * 370);
        named.put(Some(after));
        named.put(Some(after));
        (n, puts) = (n + 1, puts + 2);
    }
    named.end();
    let (cut, landed, had) = (named.cut, named.landed, named.had.len());
    println!(
        "{puts} puts killed: {cut} before their end, {landed} of these were stored, {had} records"
    );
}
