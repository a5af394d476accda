//! Histories of many threads are linearizable: puts, reads, listings, erases and creations, with a
//! discard and a backup beside them. The checker is Wing and Gong's with Lowe's extension, from a
//! library; every wrong answer would have to fit no order. SPEC §6.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier, Mutex};

use keyfall::cell::MemoryCell;
use keyfall::store::{MemoryStore, SledStore, Store};
use keyfall::{Class, Engine, ErrorKind, Options, Put, Query, RecordId, Scope, UserId};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::support::{SMALL_PAGES, bytes, read_record, user};

const USERS: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    /// Records that fell.
    Fell(u64),
    Listed(BTreeSet<u16>),
    Erased,
    Absent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    /// Puts record `.1`, a number of its own, for a user.
    Put(u8, u16),
    Get(u16),
    List(u8),
    EraseUser(u8),
    EraseRecord(u16),
    Create(u8),
}

/// What a user is: not there, or there with these records, or erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct User {
    there: bool,
    erased: bool,
    live: BTreeSet<u16>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    users: [User; USERS as usize],
    fell: BTreeSet<u16>,
}

struct Spec;

impl Specification for Spec {
    type State = State;
    type Operation = (Op, Option<Answer>);

    fn init() -> State {
        State::default()
    }

    fn apply((op, answer): &Self::Operation, state: &State) -> (bool, State) {
        let Some(answer) = answer else { return (false, state.clone()) };
        let mut next = state.clone();
        let right = match op {
            Op::Put(u, n) => {
                let there = &mut next.users[usize::from(*u)];
                if there.erased {
                    *answer == Answer::Erased
                } else {
                    there.there = true;
                    there.live.insert(*n);
                    *answer == Answer::Done
                }
            }
            Op::Get(n) => {
                let live = state.users.iter().any(|u| u.live.contains(n));
                match answer {
                    Answer::Done => live,
                    Answer::Erased => state.fell.contains(n),
                    _ => false,
                }
            }
            Op::List(u) => {
                let there = &state.users[usize::from(*u)];
                match answer {
                    Answer::Listed(records) => {
                        there.there && !there.erased && *records == there.live
                    }
                    Answer::Erased => there.erased,
                    Answer::Absent => !there.there && !there.erased,
                    _ => false,
                }
            }
            Op::EraseUser(u) => {
                let there = &mut next.users[usize::from(*u)];
                let fell = std::mem::take(&mut there.live);
                // Also a user that never existed: what is on its way is refused.
                *there = User { there: false, erased: true, live: BTreeSet::new() };
                let right = *answer == Answer::Fell(fell.len() as u64);
                next.fell.extend(fell);
                right
            }
            Op::EraseRecord(n) => {
                let fell = next.users.iter_mut().map(|u| u64::from(u.live.remove(n))).sum::<u64>();
                if fell > 0 {
                    next.fell.insert(*n);
                }
                *answer == Answer::Fell(fell)
            }
            Op::Create(u) => {
                let there = &mut next.users[usize::from(*u)];
                if !there.there {
                    *there = User { there: true, ..User::default() };
                }
                *answer == Answer::Done
            }
        };
        (right, next)
    }
}

fn name(n: u8) -> UserId {
    user(["ada", "ben"][usize::from(n)])
}

/// The ids of records whose put has returned, with their numbers.
type Known = Mutex<Vec<(u16, RecordId)>>;

fn run(engine: &Engine, known: &Known, op: &Op) -> Answer {
    let id_of = |n: u16| known.lock().unwrap().iter().find(|(there, _)| *there == n).unwrap().1;
    let refused = |e: keyfall::Error| match e.kind() {
        ErrorKind::Erased => Answer::Erased,
        ErrorKind::Absent => Answer::Absent,
        _ => panic!("{e}"),
    };
    match op {
        Op::Put(u, n) => match engine.put(Put::new(name(*u), Class::audio()), &n.to_be_bytes()[..])
        {
            Ok(id) => {
                known.lock().unwrap().push((*n, id));
                Answer::Done
            }
            Err(e) => refused(e),
        },
        Op::Get(n) => match read_record(engine, &id_of(*n)) {
            Ok(content) => {
                assert_eq!(content, n.to_be_bytes());
                Answer::Done
            }
            Err(e) => refused(e),
        },
        Op::List(u) => match engine.list(&Query::default().user(name(*u))) {
            Ok(listing) => {
                // A record may be listed before its put has returned: its content tells its number.
                let number = |id: &RecordId| {
                    read_record(engine, id).map(|c| u16::from_be_bytes([c[0], c[1]])).ok()
                };
                let known = known.lock().unwrap().clone();
                let number = |id: &RecordId| {
                    known.iter().find(|(_, k)| k == id).map(|(n, _)| *n).or_else(|| number(id))
                };
                match listing
                    .records
                    .iter()
                    .map(|r| number(&r.id))
                    .collect::<Option<BTreeSet<u16>>>()
                {
                    Some(records) => Answer::Listed(records),
                    // It fell meanwhile, and nobody can tell which it was.
                    None => run(engine, &Mutex::new(known), op),
                }
            }
            Err(e) => refused(e),
        },
        Op::EraseUser(u) => match engine.erase(Scope::user(name(*u))) {
            Ok(done) => Answer::Fell(done.records.unwrap()),
            Err(e) => refused(e),
        },
        Op::EraseRecord(n) => {
            Answer::Fell(engine.erase(Scope::Record(id_of(*n))).unwrap().records.unwrap())
        }
        Op::Create(u) => {
            engine.create_user(&name(*u)).unwrap();
            Answer::Done
        }
    }
}

type Actions = Vec<(usize, Action<(Op, Option<Answer>)>)>;
type Log = Mutex<Actions>;

/// Four threads of seven operations each, with a discard and a backup beside them.
fn history(store: Arc<dyn Store>, seed: u64) -> Actions {
    let options = Options::new().geometry(SMALL_PAGES);
    let engine = Engine::init(store, Arc::new(MemoryCell::new()), options).unwrap();
    let (known, log): (Known, Log) = Default::default();
    let together = Barrier::new(4);
    std::thread::scope(|scope| {
        for t in 0..4u64 {
            let (engine, known, log, together) = (&engine, &known, &log, &together);
            scope.spawn(move || {
                let random = bytes(seed * 10 + t, 32);
                together.wait();
                for i in 0..7usize {
                    let (a, b) = (random[2 * i], random[2 * i + 1]);
                    let some =
                        known.lock().unwrap().iter().nth_back(usize::from(b % 5)).map(|(n, _)| *n);
                    let op = match (a % 16, some) {
                        (0..=5, _) => Op::Put(b % USERS, (t * 100) as u16 + i as u16),
                        (6 | 7, _) => Op::List(b % USERS),
                        (8, _) => Op::EraseUser(b % USERS),
                        (9, _) => Op::Create(b % USERS),
                        (10 | 11, Some(n)) => Op::EraseRecord(n),
                        (_, Some(n)) => Op::Get(n),
                        _ => Op::List(b % USERS),
                    };
                    log.lock().unwrap().push((t as usize, Action::Call((op.clone(), None))));
                    std::thread::yield_now();
                    let answer = run(engine, known, &op);
                    log.lock().unwrap().push((t as usize, Action::Response((op, Some(answer)))));
                }
            });
        }
        let engine = &engine;
        scope.spawn(move || {
            engine.discard(&mut |_| {}).unwrap();
            engine.backup(&MemoryStore::new(), &mut |_| {}).unwrap();
        });
    });
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    log.into_inner().unwrap()
}

#[test]
fn histories_are_linearizable() {
    let histories: u64 =
        std::env::var("KEYFALL_LINEAR").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let mut overlapping = 0u64;
    for seed in 0..histories {
        let actions = if seed % 10 == 0 {
            let dir = tempfile::tempdir().unwrap();
            history(Arc::new(SledStore::create(&dir.path().join("store")).unwrap()), seed)
        } else {
            history(Arc::new(MemoryStore::new()), seed)
        };
        let mut under_way = 0;
        for (_, action) in &actions {
            match action {
                Action::Call(_) => {
                    overlapping += u64::from(under_way > 0);
                    under_way += 1;
                }
                Action::Response(_) => under_way -= 1,
            }
        }
        let right = WGLChecker::<Spec>::is_linearizable(History::from_actions(actions.clone()));
        assert!(right, "history {seed} fits no order: {actions:#?}");
    }
    println!("{histories} histories, {overlapping} calls that began while another was under way");
    assert!(overlapping > histories, "the threads did not meet");
}

#[test]
fn the_checker_refuses_a_read_after_an_erase() {
    let (put, get, erase) = (Op::Put(0, 1), Op::Get(1), Op::EraseUser(0));
    let steps = |answer: Answer| {
        let pairs =
            [(put.clone(), Answer::Done), (erase.clone(), Answer::Fell(1)), (get.clone(), answer)];
        let actions = pairs.into_iter().flat_map(|(op, answer)| {
            [(0, Action::Call((op.clone(), None))), (0, Action::Response((op, Some(answer))))]
        });
        WGLChecker::<Spec>::is_linearizable(History::from_actions(actions.collect()))
    };
    assert!(steps(Answer::Erased));
    assert!(!steps(Answer::Done), "a read behind an erase is let through");
}
