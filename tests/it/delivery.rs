//! After an erase or a revocation has returned, no byte of what it took is delivered in any way.
//! SPEC §6, §6.7, §10.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use keyfall::engine::Grant;
use keyfall::env::Env;
use keyfall::sealed::{Guarded, Identity, Item, Packing, Unpack, unpack};
use keyfall::{Class, Engine, Error, ErrorKind, Query, RecordId, Result, Scope, Timestamp};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, user};

/// Takes `take` bytes a call, does something within the call that reaches `at`, and counts the
/// calls and bytes that come after it.
struct Slow<F: FnMut()> {
    take: usize,
    at: usize,
    then: F,
    written: Vec<u8>,
    calls: usize,
    bytes: usize,
}

impl<F: FnMut()> Slow<F> {
    fn new(take: usize, at: usize, then: F) -> Self {
        Slow { take, at, then, written: Vec::new(), calls: 0, bytes: 0 }
    }
}

impl<F: FnMut()> Write for Slow<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.take);
        let before = self.written.len();
        if before >= self.at {
            (self.calls, self.bytes) = (self.calls + 1, self.bytes + n);
        }
        self.written.extend_from_slice(&bytes[..n]);
        if before < self.at && self.written.len() >= self.at {
            (self.then)();
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_takes_a_byte_a_call_gets_none_once_the_record_is_erased() {
    for (take, at) in
        [(1, 1), (1, 20_000), (1000, 1000), (64 << 10, 64 << 10), (7, 70_007), (1 << 20, 1)]
    {
        for long in [100_000, 3 << 20] {
            let world = World::new(1, SMALL_PAGES);
            let engine = world.engine();
            let content = bytes(1, long);
            let id = world.put("ada", Class::audio(), &content);
            let mut out = Slow::new(take, at, || drop(engine.erase(Scope::Record(id)).unwrap()));
            assert_eq!(error_kind(engine.get_to(&id, &mut out)), ErrorKind::Erased, "{take} {at}");
            assert_eq!(
                (out.calls, out.bytes),
                (0, 0),
                "bytes were handed over after the erase returned"
            );
            assert!(content.starts_with(&out.written));
        }
    }
}

#[test]
fn an_erase_that_another_thread_ends_is_seen_before_the_next_write() {
    let world = World::new(2, SMALL_PAGES);
    let id = world.put("ada", Class::audio(), &bytes(2, 300_000));
    let engine = world.engine().clone();
    let erase = || {
        let engine = engine.clone();
        std::thread::spawn(move || drop(engine.erase(Scope::user(user("ada"))).unwrap()))
            .join()
            .unwrap();
    };
    let began = Instant::now();
    let mut out = Slow::new(1000, 5000, erase);
    assert_eq!(error_kind(world.engine().get_to(&id, &mut out)), ErrorKind::Erased);
    assert_eq!(out.bytes, 0);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "the erase waited for a writer that waited for it"
    );
}

#[test]
fn a_writer_that_blocks_for_ever_holds_no_erase_up() {
    let world = World::new(3, SMALL_PAGES);
    let id = world.put("ada", Class::audio(), &bytes(3, 100_000));
    let (engine, blocked) = (world.engine().clone(), Arc::new((Barrier::new(2), Barrier::new(2))));
    let reading = {
        let (engine, blocked) = (engine.clone(), Arc::clone(&blocked));
        std::thread::spawn(move || {
            let wait = || {
                blocked.0.wait();
                blocked.1.wait();
            };
            let mut out = Slow::new(100, 100, wait);
            (error_kind(engine.get_to(&id, &mut out)), out.bytes)
        })
    };
    blocked.0.wait();
    let began = Instant::now();
    engine.erase(Scope::Record(id)).unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
    blocked.1.wait();
    assert_eq!(reading.join().unwrap(), (ErrorKind::Erased, 0));
}

/// What stands in a parcel, and how much fell.
#[derive(Default)]
struct Unpacked {
    records: Vec<(RecordId, Vec<u8>)>,
    last: Vec<u8>,
    fell: usize,
    users: Vec<String>,
}

impl Unpack for Unpacked {
    fn begin(&mut self, item: &Item) -> Result<Box<dyn Write + '_>> {
        if let Item::Record { user, .. } = item {
            self.users.push(user.as_str().to_owned());
        }
        self.last.clear();
        Ok(Box::new(&mut self.last))
    }
    fn end(&mut self, item: &Item, fell: bool) -> Result<()> {
        self.fell += usize::from(fell);
        if let Item::Record { id, .. } = item
            && !fell
        {
            self.records.push((*id, std::mem::take(&mut self.last)));
        }
        Ok(())
    }
}

struct Party(Identity);

impl Party {
    fn new(world: &World) -> Self {
        Party(Identity::new(&*world.env).unwrap())
    }
    fn grant(&self) -> Grant {
        Grant::new(&self.0.public().unwrap(), "a skill", "to help")
    }
}

#[test]
fn a_parcel_stops_within_the_chunk_in_which_a_record_falls() {
    for revoked in [false, true] {
        for (take, at) in [(1, 1300), (1, 17_600), (1000, 30_000), (16_400, 40_000)] {
            let world = World::new(4, SMALL_PAGES);
            let (engine, party) = (world.engine(), Party::new(&world));
            for n in 0..5 {
                world.put("ada", Class::audio(), &bytes(n, 30_000));
            }
            let ticket = engine.grants(&user("ada")).add(party.grant()).unwrap();
            let (request, secret) = party.0.ask(&ticket, &*world.env).unwrap();
            let then = || match revoked {
                true => engine.grants(&user("ada")).revoke(ticket.grant().unwrap()).unwrap(),
                false => drop(engine.erase(Scope::user(user("ada"))).unwrap()),
            };
            let mut out = Slow::new(take, at, then);
            match engine.open_request(&request, &mut out) {
                // Nothing may follow a chunk that went out in part.
                Err(e) => {
                    let expected = if revoked { ErrorKind::Refused } else { ErrorKind::Erased };
                    assert_eq!((e.kind(), out.bytes), (expected, 0), "{take} {at}: {e}");
                }
                // What follows a whole chunk says that the rest fell, and holds nothing of it.
                Ok(opened) => {
                    let mut kept = Unpacked::default();
                    unpack(&secret, &out.written[..], &mut kept).unwrap();
                    assert_eq!(kept.records.len() as u64, opened.records, "{take} {at}");
                    assert!(
                        opened.fell >= 4 && out.bytes < 17_000,
                        "{take} {at}: {opened:?}, {} bytes",
                        out.bytes
                    );
                }
            }
        }
    }
}

/// A record that is whole in the parcel's chunk in hand has not gone out yet.
#[test]
fn short_records_that_wait_in_a_parcel_fall_with_an_erase() {
    let world = World::new(5, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    let mut ids = Vec::new();
    for n in 0..40u64 {
        ids.push(world.put(
            ["ada", "ben", "chloe"][n as usize % 3],
            Class::audio(),
            &bytes(n, 300 + n as usize),
        ));
    }
    let mut sealed = Vec::new();
    let mut parcel = Packing::new(&*world.env, &party.0.public().unwrap(), &mut sealed).unwrap();
    for id in &ids {
        let reader = engine.get(id).unwrap();
        let info = reader.info().clone();
        assert!(parcel.record(&info, reader).unwrap().is_some());
    }
    engine.erase(Scope::user(user("ada"))).unwrap();
    parcel.file("a file", &b"beside them"[..]).unwrap();
    parcel.finish().unwrap();
    let mut kept = Unpacked::default();
    unpack(party.0.opening(), &sealed[..], &mut kept).unwrap();
    // What fills the first chunk went out before.
    let chunk = kept.users.iter().filter(|user| *user == "ada").count();
    assert!(chunk < 14, "{chunk}");
    for (id, content) in &kept.records {
        let n = ids.iter().position(|there| there == id).unwrap();
        assert!(*content == bytes(n as u64, 300 + n), "{n}");
    }
    let others = kept.records.iter().filter(|(id, _)| engine.get(id).is_ok()).count();
    assert_eq!(others, 26, "whoever lives is there whole");
}

#[test]
fn an_export_of_many_short_records_delivers_none_that_was_erased_before_its_chunk_went_out() {
    let world = World::new(6, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    let mut all = Vec::new();
    for n in 0..30 {
        let name = format!("user {n}");
        all.push(world.put(&name, Class::audio(), format!("what user {n} said").as_bytes()));
        engine.grants(&user(&name)).add(party.grant()).unwrap();
    }
    let ticket = engine.training().make("voices", &party.0.public().unwrap(), "to help").unwrap();
    engine.training().add("voices", &all).unwrap();
    let (request, secret) = party.0.ask(&ticket, &*world.env).unwrap();
    // The head alone goes out before the first chunk, and everything is in that.
    let then = || drop(engine.erase(Scope::user(user("user 7"))).unwrap());
    let mut out = Slow::new(1 << 20, 1, then);
    let opened = engine.open_request(&request, &mut out).unwrap();
    assert_eq!((opened.records, opened.fell), (29, 1));
    let mut kept = Unpacked::default();
    unpack(&secret, &out.written[..], &mut kept).unwrap();
    assert!(kept.records.len() == 29 && !kept.users.contains(&"user 7".to_owned()));
}

#[test]
fn a_revoked_grant_delivers_nothing_more_of_a_long_record() {
    let world = World::new(7, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    world.put("ada", Class::audio(), &bytes(7, 1 << 20));
    let ticket = engine.grants(&user("ada")).add(party.grant()).unwrap();
    let (request, secret) = party.0.ask(&ticket, &*world.env).unwrap();
    let mut out = Slow::new(1 << 20, 50_000, || {
        engine.grants(&user("ada")).revoke(ticket.grant().unwrap()).unwrap()
    });
    let opened = engine.open_request(&request, &mut out).unwrap();
    assert_eq!((opened.records, opened.fell), (0, 1));
    assert!(out.bytes < 17_000, "{} bytes after the grant was revoked", out.bytes);
    let mut kept = Unpacked::default();
    unpack(&secret, &out.written[..], &mut kept).unwrap();
    assert_eq!((kept.records.len(), kept.fell), (0, 1));
}

#[test]
fn a_grant_that_runs_out_ends_within_a_record() {
    let world = World::new(8, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    world.put("ada", Class::audio(), &bytes(8, 1 << 20));
    let until = Timestamp(world.env.now().0 + 60_000);
    let ticket = engine.grants(&user("ada")).add(party.grant().until(until)).unwrap();
    let (request, secret) = party.0.ask(&ticket, &*world.env).unwrap();
    let mut out = Slow::new(1 << 20, 50_000, || world.env.advance(60_000));
    let opened = engine.open_request(&request, &mut out).unwrap();
    assert_eq!((opened.records, opened.fell), (0, 1));
    assert!(out.bytes < 17_000, "{} bytes after its end", out.bytes);
    unpack(&secret, &out.written[..], &mut Unpacked::default()).unwrap();
    // And one whose end is the beginning of time opens nothing at all.
    let over = engine.grants(&user("ada")).add(party.grant().until(Timestamp(0))).unwrap();
    let (request, _) = party.0.ask(&over, &*world.env).unwrap();
    assert_eq!(error_kind(engine.open_request(&request, Vec::new())), ErrorKind::Refused);
    assert_eq!(
        engine
            .grants(&user("ada"))
            .list()
            .unwrap()
            .iter()
            .filter(|(_, g)| g.until == Some(Timestamp(0)))
            .count(),
        1
    );
}

#[test]
fn a_set_that_is_dropped_while_it_is_opened_goes_no_further() {
    let world = World::new(9, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    let mut all = Vec::new();
    for n in 0..3 {
        all.push(world.put("ada", Class::audio(), &bytes(n, 100_000)));
    }
    engine.grants(&user("ada")).add(party.grant()).unwrap();
    let ticket = engine.training().make("voices", &party.0.public().unwrap(), "to help").unwrap();
    engine.training().add("voices", &all).unwrap();
    let (request, _) = party.0.ask(&ticket, &*world.env).unwrap();
    let mut out = Slow::new(1 << 20, 50_000, || engine.training().drop("voices").unwrap());
    let opened = engine.open_request(&request, &mut out).unwrap();
    assert_eq!((opened.records, opened.fell), (0, 3));
    assert!(out.bytes < 17_000);
}

#[test]
fn one_of_two_grants_is_enough() {
    let world = World::new(10, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    let id = world.put("ada", Class::audio(), &bytes(10, 300_000));
    let one = engine.grants(&user("ada")).add(party.grant()).unwrap();
    engine.grants(&user("ada")).add(party.grant().class(Class::audio())).unwrap();
    let ticket = engine.training().make("voices", &party.0.public().unwrap(), "to help").unwrap();
    engine.training().add("voices", &[id]).unwrap();
    let (request, _) = party.0.ask(&ticket, &*world.env).unwrap();
    let mut out = Slow::new(1 << 20, 50_000, || {
        engine.grants(&user("ada")).revoke(one.grant().unwrap()).unwrap()
    });
    assert_eq!(engine.open_request(&request, &mut out).unwrap().records, 1);
}

#[test]
fn a_set_is_for_what_its_members_were_granted_for() {
    let world = World::new(11, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    let id = world.put("ada", Class::audio(), b"to be helped, not sold");
    engine.grants(&user("ada")).add(party.grant()).unwrap();
    engine.training().make("voices", &party.0.public().unwrap(), "to sell").unwrap();
    assert_eq!(error_kind(engine.training().add("voices", &[id])), ErrorKind::Refused);
}

#[test]
fn a_grantee_asks_so_often_and_not_without_end() {
    let world = World::new(12, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    let id = world.put("ada", Class::audio(), b"asked for again and again");
    let ticket = engine.grants(&user("ada")).add(party.grant()).unwrap();
    let ask = || {
        world.env.advance(10);
        let (request, _) = party.0.ask(&ticket, &*world.env).unwrap();
        engine.open_request(&request, io::sink())
    };
    let opened = (0..300).filter(|_| ask().is_ok()).count();
    assert!((10..=100).contains(&opened), "{opened} openings at once");
    assert_eq!(engine.accesses(&id).unwrap().len(), opened);
    assert_eq!(error_kind(ask()), ErrorKind::Limit);
    world.env.advance(3_600_000);
    ask().unwrap();
}

/// Everything that gives content or names out, while its user is erased: a call that begins after
/// the erase returned gives nothing.
#[test]
fn nothing_that_begins_after_an_erase_gives_a_name() {
    let world = World::new(13, SMALL_PAGES);
    let engine = world.engine().clone();
    let id = world.put("ada", Class::audio(), &bytes(13, 50_000));
    world.put("ben", Class::audio(), b"stays");
    let (erased, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (late, begun) = (Mutex::new(Vec::new()), Mutex::new(BTreeSet::new()));
    type Way<'w> = (&'w str, Box<dyn Fn(&Engine) -> bool + Sync + 'w>);
    let ada = user("ada");
    let ways: Vec<Way<'_>> = vec![
        ("report", Box::new(|e| e.report(&ada).is_ok())),
        ("history", Box::new(|e| e.history(&ada).is_ok())),
        ("holds", Box::new(|e| e.holds(&ada).list().is_ok())),
        ("grants", Box::new(|e| e.grants(&ada).list().is_ok())),
        ("plans", Box::new(|e| e.plans(&ada).list().is_ok())),
        ("info", Box::new(|e| e.info(&id).is_ok())),
        ("lineage", Box::new(|e| e.lineage(&id).is_ok())),
        ("accesses", Box::new(|e| e.accesses(&id).is_ok())),
        (
            "list",
            Box::new(|e| e.list(&Query::default()).unwrap().records.iter().any(|r| r.user == ada)),
        ),
        ("users", Box::new(|e| e.users(None, 10).unwrap().iter().any(|(u, _)| *u == ada))),
        ("get", Box::new(|e| e.get(&id).is_ok_and(|mut r| r.read_to_end(&mut Vec::new()).is_ok()))),
    ];
    std::thread::scope(|scope| {
        for (name, way) in &ways {
            let (engine, erased, stop, late, begun) = (&engine, &erased, &stop, &late, &begun);
            scope.spawn(move || {
                let mut before = 0;
                while !stop.load(Ordering::SeqCst) {
                    let after = erased.load(Ordering::SeqCst);
                    let gave = way(engine);
                    before += usize::from(gave && !after);
                    if before == 1 && gave {
                        begun.lock().unwrap().insert(*name);
                    }
                    if gave && after {
                        late.lock().unwrap().push((*name).to_owned());
                        break;
                    }
                }
                assert!(before > 0, "{name} never gave anything");
            });
        }
        let began = Instant::now();
        let all = || begun.lock().unwrap().len() == ways.len();
        while !all() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(10));
        }
        engine.erase(Scope::user(user("ada"))).unwrap();
        erased.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::SeqCst);
    });
    assert!(late.lock().unwrap().is_empty(), "{late:?}");
}

/// Reads so much of an envelope or a payload, and then does something.
struct Paused<R, F: FnMut()> {
    reader: R,
    at: usize,
    then: Option<F>,
}

impl<R: Read, F: FnMut()> Read for Paused<R, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == 0
            && let Some(mut then) = self.then.take()
        {
            then();
        }
        let n = out.len().min(if self.at > 0 { self.at } else { usize::MAX });
        let n = self.reader.read(&mut out[..n])?;
        self.at = self.at.saturating_sub(n);
        Ok(n)
    }
}

#[test]
fn what_falls_while_a_put_or_an_envelope_streams_in_is_not_taken() {
    for at in [1, 5000, 16_384, 270_000] {
        let world = World::new(14, SMALL_PAGES);
        let engine = world.engine();
        let source = world.put("ada", Class::audio(), b"said");
        let erase = || drop(engine.erase(Scope::Record(source)).unwrap());
        let content = bytes(14, 300_000);
        let put = keyfall::Put::new(user("ben"), Class::transcript()).derived_from(source);
        let put = engine.put(put, Paused { reader: &content[..], at, then: Some(erase) });
        assert_eq!(put.map_err(|e: Error| e.kind()), Err(ErrorKind::Erased), "{at}");

        let id = world.put("ada", Class::audio(), b"said again");
        let inbox = engine.inbox(&user("ada")).key().unwrap();
        let mut envelope = Vec::new();
        let put = keyfall::Put::new(user("ada"), Class::action());
        keyfall::sealed::seal(&put, &content[..], &inbox, &*world.env, &mut envelope).unwrap();
        let erase = || drop(engine.erase(Scope::Record(id)).unwrap());
        let accepted =
            engine.accept(Paused { reader: &envelope[..], at: at + 1200, then: Some(erase) });
        assert!(accepted.is_err(), "{at}: the inbox key fell with the erase");
    }
}

#[test]
fn a_report_that_waits_in_a_parcel_falls_with_what_it_tells_of() {
    let world = World::new(15, SMALL_PAGES);
    let (engine, party) = (world.engine(), Party::new(&world));
    let id = world.put("zuleika", Class::audio(), b"one thing");
    world.put("zuleika", Class::transcript(), b"another");
    world.put("ben", Class::transcript(), b"another's");
    let (of_ada, of_ben) =
        (engine.report(&user("zuleika")).unwrap(), engine.report(&user("ben")).unwrap());
    let mut sealed = Vec::new();
    let mut parcel = Packing::new(&*world.env, &party.0.public().unwrap(), &mut sealed).unwrap();
    let text = |report: &keyfall::engine::Report| format!("{report:?}");
    for report in [&of_ada, &of_ben] {
        parcel.file("a report", Guarded::new(text(report).as_bytes(), report.live())).unwrap();
    }
    engine.erase(Scope::Record(id)).unwrap();
    assert!(!of_ada.live().is_live() && of_ben.live().is_live());
    assert_eq!(
        parcel.file("later", Guarded::new(text(&of_ada).as_bytes(), of_ada.live())).unwrap(),
        None
    );
    parcel.finish().unwrap();
    let mut kept = Files::default();
    unpack(party.0.opening(), &sealed[..], &mut kept).unwrap();
    let whole: Vec<_> = kept.0.iter().filter(|(_, fell)| !fell).map(|(text, _)| text).collect();
    assert!(whole.len() == 1 && *whole[0] == text(&of_ben).into_bytes());
    assert!(!kept.0.iter().any(|(bytes, _)| String::from_utf8_lossy(bytes).contains("zuleika")));
}

/// Every file in a parcel, and whether it fell.
#[derive(Default)]
struct Files(Vec<(Vec<u8>, bool)>);

impl Unpack for Files {
    fn begin(&mut self, _: &Item) -> Result<Box<dyn Write + '_>> {
        self.0.push((Vec::new(), false));
        Ok(Box::new(&mut self.0.last_mut().unwrap().0))
    }
    fn end(&mut self, _: &Item, fell: bool) -> Result<()> {
        self.0.last_mut().unwrap().1 = fell;
        Ok(())
    }
}

#[test]
fn a_set_that_is_dropped_and_made_again_gives_nothing_to_an_opening_that_began_before() {
    for filled in [false, true] {
        let world = World::new(10, SMALL_PAGES);
        let (engine, party) = (world.engine(), Party::new(&world));
        let all: Vec<_> =
            (0..3).map(|n| world.put("ada", Class::audio(), &bytes(n, 100_000))).collect();
        engine.grants(&user("ada")).add(party.grant()).unwrap();
        let public = party.0.public().unwrap();
        let ticket = engine.training().make("voices", &public, "to help").unwrap();
        engine.training().add("voices", &all).unwrap();
        let (request, _) = party.0.ask(&ticket, &*world.env).unwrap();
        let again = || {
            engine.training().drop("voices").unwrap();
            engine.training().make("voices", &public, "to help").unwrap();
            if filled {
                engine.training().add("voices", &all).unwrap();
            }
        };
        let mut out = Slow::new(1 << 20, 50_000, again);
        let opened = engine.open_request(&request, &mut out).unwrap();
        assert_eq!((opened.records, opened.fell), (0, 3));
        assert!(out.bytes < 17_000);
        assert_eq!(
            engine.accesses(&all[2]).unwrap().len(),
            1,
            "it stands in the report all the same"
        );
    }
}
