//! Openings: one line in the report, then any number of readers, until it is closed, expires or
//! the record falls. SPEC §6, §11.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::mpsc::channel;
use std::time::Duration;

use keyfall::cell::RootCell;
use keyfall::{Class, ErrorKind, Opening, Policy, Put, Reader, Scope};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, user};

const MINUTE: i64 = 60_000;

fn read(mut reader: Reader) -> keyfall::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.write_to(&mut out).map(|_| out)
}

fn opened(world: &World, content: &[u8]) -> Opening {
    let id = world.put("ada", Class::audio(), content);
    world.engine().open_as(&id, "page", "to hear it").unwrap()
}

/// Whether it is over, for readers from before and for new ones.
fn is_over(opening: &Opening, before: &mut Reader) -> bool {
    before.seek(SeekFrom::Start(0)).unwrap();
    let reads = before.read_some(&mut [0; 9]);
    let over = opening.reader().is_err();
    assert_eq!((reads.is_err(), opening.left().is_err()), (over, over));
    if over {
        assert_eq!(error_kind(reads), ErrorKind::Refused);
        assert_eq!(error_kind(opening.reader()), ErrorKind::Refused);
    }
    over
}

#[test]
fn a_play_with_any_number_of_seeks_is_one_line_in_the_report() {
    let world = World::new(1, SMALL_PAGES);
    let content = bytes(1, 300_000);
    let opening = opened(&world, &content);
    let after = world.engine().head();
    for at in [0usize, 299_999, 16_384, 5, 262_144] {
        let mut reader = opening.reader().unwrap();
        reader.seek(SeekFrom::Start(at as u64)).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest == content[at..]);
    }
    assert_eq!(read(opening.clone().reader().unwrap()).unwrap(), content);
    let told = world.engine().accesses(opening.id()).unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0].principal[..], &told[0].purpose[..]), ("page", "to hear it"));
    assert_eq!(world.engine().head(), after, "a reader of an opening commits nothing");
}

/// Who opened a record is told while it lives, and by no copy of anything afterwards.
#[test]
fn who_opened_a_record_falls_with_it() {
    for of_user in [false, true] {
        let world = World::new(9, SMALL_PAGES);
        let engine = world.engine();
        let id = world.put("ada", Class::audio(), b"wake me");
        let stays = world.put("ada", Class::action(), b"it rings");
        for n in 0..40 {
            engine.open_as(&id, &format!("the page of {n}"), "to hear it again").unwrap();
            engine.get_as(&stays, "somebody else", "for a report").unwrap();
        }
        let texts = ["the page of 0", "the page of 39", "to hear it again"];
        let is_readable =
            |text: &str| world.tape.is_readable(&world.cell.load().unwrap().keys, text.as_bytes());
        for text in texts {
            assert!(is_readable(text) && !world.tape.contains_bytes(text.as_bytes()));
        }
        let ada = user("ada");
        engine.erase(if of_user { Scope::user(ada) } else { Scope::record(id) }).unwrap();
        for text in texts {
            assert!(!is_readable(text), "{text}");
            let ever = world.cell.hoard();
            assert!(world.tape.is_readable(&ever, text.as_bytes()), "the adversary is blind");
        }
        assert_eq!(is_readable("somebody else"), !of_user);
    }
}

#[test]
fn who_opens_and_why_must_be_said_and_a_policy_that_names_readers_binds() {
    let world = World::new(2, SMALL_PAGES);
    let engine = world.engine();
    engine.policies(None).set(&Policy::new(Class::audio()).readers_named()).unwrap();
    let id = world.put("ada", Class::audio(), b"wake me");
    for (who, why) in [("", "why"), (" ", "why"), ("who", " "), (&"w".repeat(81)[..], "why")] {
        assert_eq!(error_kind(engine.open_as(&id, who, why)), ErrorKind::Invalid);
    }
    assert!(engine.accesses(&id).unwrap().is_empty());
    assert_eq!(error_kind(engine.get(&id)), ErrorKind::Refused);
    let opening = engine.open_as(&id, "analyst", "to count words").unwrap();
    assert_eq!(read(opening.reader().unwrap()).unwrap(), b"wake me");
    let nobody = world.put("ben", Class::audio(), b"x");
    engine.erase(Scope::Record(nobody)).unwrap();
    assert_eq!(error_kind(engine.open_as(&nobody, "who", "why")), ErrorKind::Erased);
}

#[test]
fn it_expires_ten_minutes_after_it_began_or_when_it_is_told_to() {
    let world = World::new(3, SMALL_PAGES);
    for (lasts, holds_for) in [(None, 10), (Some(1), 1), (Some(60), 60), (Some(100_000), 24 * 60)] {
        let mut opening = opened(&world, b"wake me at six");
        if let Some(minutes) = lasts {
            opening = opening.lasting(Duration::from_secs(60 * minutes));
        }
        let mut reader = opening.reader().unwrap();
        world.pass(holds_for * MINUTE - 1000);
        assert!(!is_over(&opening, &mut reader), "{lasts:?}");
        assert!(opening.left().unwrap() <= Duration::from_secs(1));
        world.pass(1000);
        assert!(is_over(&opening, &mut reader), "{lasts:?}");
        let again = opening.lasting(Duration::from_secs(24 * 3600));
        assert!(is_over(&again, &mut reader), "what is over is not brought back");
    }
}

#[test]
fn a_clock_that_goes_wrong_never_lengthens_it() {
    let hour = 60 * MINUTE;
    for (seed, (first, then)) in
        [(0, -hour), (hour, 0), (30 * 24 * hour, 0), (-hour, -2 * hour), (0, -400 * 24 * hour)]
            .into_iter()
            .enumerate()
    {
        let world = World::new(10 + seed as u64, SMALL_PAGES);
        world.put("ada", Class::audio(), b"before");
        world.wrong_by(first);
        let opening = opened(&world, b"wake me");
        let mut reader = opening.reader().unwrap();
        world.wrong_by(then);
        world.pass(9 * MINUTE);
        assert!(!is_over(&opening, &mut reader), "{first}, {then}");
        world.pass(MINUTE);
        assert!(is_over(&opening, &mut reader), "{first}, {then}");
    }
    // One that jumps ahead ends it early; set right, it does not bring it back.
    let world = World::new(20, SMALL_PAGES);
    let opening = opened(&world, b"wake me");
    let mut reader = opening.reader().unwrap();
    world.wrong_by(hour);
    assert!(is_over(&opening, &mut reader));
    world.wrong_by(0);
    assert!(is_over(&opening, &mut reader));
}

#[test]
fn once_it_is_closed_no_reader_of_it_goes_on_and_others_do() {
    let world = World::new(4, SMALL_PAGES);
    let opening = opened(&world, &bytes(4, 100_000));
    let other = world.engine().open_as(opening.id(), "page", "again").unwrap();
    let mut reader = opening.reader().unwrap();
    let (mut of_other, mut of_nobody) =
        (other.reader().unwrap(), world.engine().get(opening.id()).unwrap());
    assert!(reader.read_some(&mut [0; 9]).unwrap() > 0);
    opening.clone().close();
    assert!(is_over(&opening, &mut reader));
    opening.close();
    for going_on in [&mut of_other, &mut of_nobody] {
        assert!(going_on.read_some(&mut [0; 9]).unwrap() > 0);
    }
    // To let go of it closes nothing.
    drop(other);
    assert!(of_other.read_some(&mut [0; 9]).unwrap() > 0);
    world.pass(10 * MINUTE);
    assert_eq!(error_kind(of_other.read_some(&mut [0; 9])), ErrorKind::Refused);
}

#[test]
fn it_ends_with_its_record_and_with_a_source_of_it_also_in_the_middle_of_a_read() {
    let world = World::new(5, SMALL_PAGES);
    let engine = world.engine();
    let source = world.put("ben", Class::audio(), b"said");
    let put = Put::new(user("ada"), Class::audio()).derived_from(source);
    let id = engine.put(put, &bytes(5, 400_000)[..]).unwrap();
    let opening = engine.open_as(&id, "page", "to hear it").unwrap();
    let mut reader = opening.reader().unwrap();
    assert!(reader.read_some(&mut [0; 9]).unwrap() > 0);
    let (begun, erase) = channel();
    let (erased, go_on) = channel();
    std::thread::scope(|s| {
        let mut in_flight = opening.reader().unwrap();
        let reading = s.spawn(move || {
            let out = Slow { begun: Some(begun), go_on, written: 0 };
            let mut out = out;
            (in_flight.write_to(&mut out).map_err(|e| e.kind()), out.written)
        });
        erase.recv().unwrap();
        engine.erase(Scope::Record(source)).unwrap();
        erased.send(()).unwrap();
        let (outcome, written) = reading.join().unwrap();
        assert_eq!(outcome, Err(ErrorKind::Erased));
        assert!(written < 400_000);
    });
    assert_eq!(error_kind(reader.read_some(&mut [0; 9])), ErrorKind::Erased);
    assert_eq!(error_kind(opening.reader()), ErrorKind::Erased);
    assert!(engine.accesses(&id).is_err(), "the line falls with the record");
}

/// A writer that is slow with its first bytes.
struct Slow {
    begun: Option<std::sync::mpsc::Sender<()>>,
    go_on: std::sync::mpsc::Receiver<()>,
    written: usize,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.written += bytes.len();
        if let Some(begun) = self.begun.take() {
            begun.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn it_does_not_outlast_the_engine_and_its_line_does() {
    let mut world = World::new(6, SMALL_PAGES);
    let id = *opened(&world, b"wake me").id();
    world.reopen();
    assert_eq!(world.engine().accesses(&id).unwrap().len(), 1);
}
