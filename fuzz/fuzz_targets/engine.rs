//! The engine, driven by bytes as operations, with two judges at the end: a plain model, and the archive adversary who
//! holds every byte ever written and the cell as it is.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Arbitrary;
use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Geometry, Options, When};
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::{RecordingStore, Seeded, Tape};
use keyfall::{Class, Engine, ErrorKind, Put, RecordId, Scope, UserId};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Op {
    Put { user: u8, class: u8, same_interaction: bool, len: u16 },
    Create(u8),
    EraseUser(u8),
    EraseClass(u8, u8),
    EraseInteraction(u8),
    EraseRecord(u8),
    EraseRange { user: u8, from: u8, until: u8 },
    Backup,
    Discard,
    Reopen,
}

fn user(n: u8) -> UserId {
    UserId::new(format!("user {}", n % 5)).unwrap()
}

fn class(n: u8) -> Class {
    [Class::audio(), Class::transcript(), Class::action()][usize::from(n % 3)].clone()
}

struct Live {
    user: u8,
    class: u8,
    content: Vec<u8>,
}

fuzz_target!(|input: (u64, Vec<Op>)| {
    let (seed, ops) = input;
    if ops.len() > 64 {
        return;
    }
    let tape = Tape::new();
    let record = || Arc::new(RecordingStore::new(Arc::new(MemoryStore::new()), Arc::clone(&tape))) as Arc<dyn Store>;
    let (store, backup) = (record(), record());
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let geometry = Geometry { page_bytes: 1024, fan_bits: 2 };
    let options = Options { env: Arc::new(Seeded::new(seed)), geometry, ..Options::default() };
    let mut engine = Engine::init(Arc::clone(&store), Arc::clone(&cell), options.clone()).unwrap();
    let mut live: BTreeMap<RecordId, Live> = BTreeMap::new();
    let mut gone: Vec<RecordId> = Vec::new();
    let drop_where = |live: &mut BTreeMap<RecordId, Live>, gone: &mut Vec<RecordId>, f: &dyn Fn(&RecordId, &Live) -> bool| {
        let ids: Vec<RecordId> = live.iter().filter(|(id, l)| f(id, l)).map(|(id, _)| *id).collect();
        for id in &ids {
            live.remove(id);
        }
        gone.extend(&ids);
        ids.len() as u64
    };
    let pick = |live: &BTreeMap<RecordId, Live>, gone: &[RecordId], n: u8| {
        let all: Vec<RecordId> = live.keys().chain(gone).copied().collect();
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
    };
    for (n, op) in ops.iter().enumerate() {
        match *op {
            Op::Put { user: u, class: c, same_interaction, len } => {
                let content = vec![n as u8; usize::from(len) % 20_000];
                let mut put = Put::new(user(u), class(c));
                if let Some(id) = pick(&live, &gone, u).filter(|_| same_interaction) {
                    put = put.interaction(id.interaction());
                }
                match engine.put(put, &content[..]) {
                    Ok(id) => {
                        assert!(!gone.contains(&id), "an erased record's id was given again");
                        live.insert(id, Live { user: u % 5, class: c % 3, content });
                    }
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Erased),
                }
            }
            Op::Create(u) => engine.create_user(&user(u)).unwrap(),
            Op::EraseUser(u) => match engine.erase(Scope::user(user(u))) {
                Ok(done) => {
                    assert_eq!(done.records, Some(drop_where(&mut live, &mut gone, &|_, l| l.user == u % 5)));
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Absent),
            },
            Op::EraseClass(u, c) => match engine.erase(Scope::class(user(u), class(c))) {
                Ok(done) => {
                    let n = drop_where(&mut live, &mut gone, &|_, l| l.user == u % 5 && l.class == c % 3);
                    assert_eq!(done.records, Some(n));
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Absent),
            },
            Op::EraseInteraction(n) => {
                if let Some(id) = pick(&live, &gone, n) {
                    let whose = live.get(&id).map_or(n % 5, |l| l.user);
                    let i = id.interaction();
                    if engine.erase(Scope::interaction(user(whose), i)).is_ok() {
                        drop_where(&mut live, &mut gone, &|id, l| l.user == whose && id.interaction() == i);
                    }
                }
            }
            Op::EraseRecord(n) => {
                if let Some(id) = pick(&live, &gone, n) {
                    engine.erase(Scope::Record(id)).unwrap();
                    drop_where(&mut live, &mut gone, &|at, _| *at == id);
                }
            }
            Op::EraseRange { user: u, from, until } => {
                let time = |n| pick(&live, &gone, n).map(|id| id.interaction().began());
                let (from, until) = (time(from), time(until));
                let when = When::Between { from, until };
                if engine.erase(Scope::User { user: user(u), class: None, when }).is_ok() {
                    drop_where(&mut live, &mut gone, &|id, l| {
                        let t = id.interaction().began();
                        l.user == u % 5 && from.is_none_or(|f| t >= f) && until.is_none_or(|u| t < u)
                    });
                }
            }
            Op::Backup => drop(engine.backup(&*backup, |_| {}).unwrap()),
            Op::Discard => drop(engine.discard(&mut |_| {}).unwrap()),
            Op::Reopen => {
                drop(engine);
                engine = Engine::open(Arc::clone(&store), Arc::clone(&cell), options.clone()).unwrap();
            }
        }
    }
    for (id, expected) in &live {
        let mut out = Vec::new();
        engine.get_to(id, &mut out).unwrap();
        assert_eq!(out, expected.content);
    }
    for id in &gone {
        assert_eq!(engine.get(id).unwrap_err().kind(), ErrorKind::Erased);
    }
    let exposed = tape.exposed(&*cell).unwrap();
    assert_eq!(exposed.keys().collect::<Vec<_>>(), live.keys().collect::<Vec<_>>());
    for (id, record) in exposed {
        assert_eq!(record.content.as_ref(), Some(&live[&id].content));
    }
});
