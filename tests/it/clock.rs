//! A clock that is wrong for a while: it erases nothing that nobody asked for, and blocks nothing
//! when it is right again. SPEC §6.9.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Grant, Keeper};
use keyfall::env::Env;
use keyfall::sealed::Identity;
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::Seeded;
use keyfall::{
    Class, Engine, Erase, ErrorKind, InteractionId, Options, Policy, Put, RecordId, Result, Scope,
    Timestamp, When,
};

use crate::command_line::Cli;
use crate::support::{SMALL_PAGES, World, error_kind, read_record, user};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

fn audio_of(name: &str) -> Scope {
    Scope::class(user(name), Class::audio())
}

#[test]
fn one_erase_by_a_clock_that_is_ahead_blocks_no_put_when_it_is_right_again() {
    for (seed, ahead) in
        [HOUR / 2, 12 * HOUR, 10 * DAY, 40 * DAY, YEAR, 73 * YEAR].into_iter().enumerate()
    {
        for restarts in [false, true] {
            let mut world = World::new(seed as u64, SMALL_PAGES);
            let before = world.put("ada", Class::audio(), b"before");
            let of_ben = world.put("ben", Class::audio(), b"before");
            world.put("chloe", Class::audio(), b"before");
            let span = When::Between { from: None, until: None };
            let set = |world: &mut World, ms| {
                world.wrong_by(ms);
                if restarts {
                    world.closed_for(10);
                }
            };
            set(&mut world, ahead);
            let erases = [
                audio_of("ada"),
                Scope::Record(of_ben),
                Scope::User { user: user("chloe"), class: None, when: span },
            ];
            assert!(world.engine().erase_all(&erases).iter().all(Result::is_ok));
            set(&mut world, 0);
            let engine = world.engine();
            for name in ["ada", "ben", "chloe", "dora"] {
                let id = world.put(name, Class::audio(), b"after");
                assert_eq!(read_record(engine, &id).unwrap(), b"after");
                let began = id.interaction().began().0;
                assert!(
                    began.abs_diff(world.env.now().0) <= 2 * HOUR as u64,
                    "ids tell the time: {ahead}"
                );
                // The application makes an interaction, and puts several records into it.
                let interaction = engine.new_interaction().unwrap();
                for class in [Class::audio(), Class::transcript()] {
                    engine
                        .put(Put::new(user(name), class).interaction(interaction), &b"x"[..])
                        .unwrap();
                }
            }
            // What was erased stays erased, and what comes late from then as well.
            assert_eq!(error_kind(read_record(engine, &before)), ErrorKind::Erased);
            let late = Put::new(user("ada"), Class::audio()).interaction(before.interaction());
            assert_eq!(error_kind(engine.put(late, &b"late"[..])), ErrorKind::Erased);
            // Devices whose clocks were right all the time; a year on, too.
            world.pass(2 * HOUR);
            let mine = world.put_began("ada", Class::audio(), HOUR / 4).unwrap();
            world.pass(YEAR);
            let more = Put::new(user("ada"), Class::audio()).interaction(mine.interaction());
            world.engine().put(more, &b"more"[..]).unwrap();
            assert!(read_record(world.engine(), &mine).is_ok());
            assert_eq!(error_kind(read_record(world.engine(), &before)), ErrorKind::Erased);
        }
    }
}

/// One commit by a clock thirty days ahead: an erase after it was right again fenced thirty days to
/// come.
#[test]
fn a_commit_by_a_clock_that_was_ahead_lets_no_erase_fence_what_is_to_come() {
    for (seed, ahead) in [HOUR, 12 * HOUR, 30 * DAY].into_iter().enumerate() {
        for restarts in [false, true] {
            let mut world = World::new(25 + seed as u64, SMALL_PAGES);
            let before = world.put("ada", Class::audio(), b"before");
            let set = |world: &mut World, ms| {
                world.wrong_by(ms);
                if restarts {
                    world.closed_for(10);
                }
            };
            set(&mut world, ahead);
            world.put("ben", Class::audio(), b"ahead");
            set(&mut world, 0);
            world.engine().erase(audio_of("ada")).unwrap();
            world.pass(HOUR / 2);
            // A device whose clock was right all the time, and the engine's own.
            let late = world.put_began("ada", Class::audio(), HOUR / 4).unwrap();
            let own = world.put("ada", Class::audio(), b"after");
            assert!(
                own.interaction().began().0.abs_diff(world.env.now().0) <= HOUR as u64,
                "ids tell the time: {ahead}"
            );
            // What was erased stays erased.
            assert_eq!(error_kind(world.put_began("ada", Class::audio(), HOUR)), ErrorKind::Erased);
            let again = Put::new(user("ada"), Class::audio()).interaction(before.interaction());
            assert_eq!(error_kind(world.engine().put(again, &b"late"[..])), ErrorKind::Erased);
            for time in [DAY, YEAR] {
                world.pass(time);
                for id in [&late, &own] {
                    assert!(read_record(world.engine(), id).is_ok());
                    let more = Put::new(user("ada"), Class::audio()).interaction(id.interaction());
                    world.engine().put(more, &b"more"[..]).unwrap();
                }
                assert_eq!(error_kind(read_record(world.engine(), &before)), ErrorKind::Erased);
            }
        }
    }
}

#[test]
fn saying_that_the_clock_is_right_makes_ids_tell_the_time_again() {
    let world = World::new(29, SMALL_PAGES);
    world.put("ada", Class::audio(), b"before");
    world.wrong_by(30 * DAY);
    world.put("ben", Class::audio(), b"ahead");
    world.engine().erase(audio_of("ada")).unwrap();
    world.wrong_by(0);
    world.engine().clock().trust().unwrap();
    let id = world.put("carl", Class::audio(), b"after");
    assert!(id.interaction().began().0.abs_diff(world.env.now().0) <= HOUR as u64);
    // Whose past was erased up to a time to come begins after that.
    let id = world.put("ada", Class::audio(), b"after");
    assert_eq!(read_record(world.engine(), &id).unwrap(), b"after");
}

#[test]
fn what_was_put_by_a_clock_that_is_ahead_is_erased_for_good() {
    let world = World::new(20, SMALL_PAGES);
    world.put("ada", Class::audio(), b"x");
    world.wrong_by(YEAR);
    let ahead = world.put("ada", Class::audio(), b"ahead");
    world.engine().erase(audio_of("ada")).unwrap();
    world.wrong_by(0);
    world.put("ada", Class::audio(), b"after");
    world.pass(HOUR);
    world.put_began("ada", Class::audio(), 0).unwrap();
    assert_eq!(error_kind(read_record(world.engine(), &ahead)), ErrorKind::Erased);
    world.pass(YEAR);
    let late = Put::new(user("ada"), Class::audio()).interaction(ahead.interaction());
    assert_eq!(error_kind(world.engine().put(late, &b"x"[..])), ErrorKind::Erased);
}

#[test]
fn late_arrivals_stay_refused_also_where_nothing_was_put_for_a_while() {
    for (seed, idle) in [2 * HOUR, 10 * DAY, YEAR].into_iter().enumerate() {
        let mut world = World::new(30 + seed as u64, SMALL_PAGES);
        world.put("ada", Class::audio(), b"x");
        world.closed_for(idle);
        world.engine().erase(audio_of("ada")).unwrap();
        for ago in [idle / 100, idle / 2] {
            assert_eq!(
                error_kind(world.put_began("ada", Class::audio(), ago)),
                ErrorKind::Erased,
                "{idle} {ago}"
            );
        }
        let id = world.put("ada", Class::audio(), b"new");
        assert!(read_record(world.engine(), &id).is_ok());
    }
}

/// A span in doubt lets what comes later pass: an erase of it by name does not report that it was
/// erased already.
#[test]
fn what_only_a_span_in_doubt_covers_is_erased_by_a_fence_of_its_own() {
    for class in [None, Some(Class::audio())] {
        let world = World::new(110, SMALL_PAGES);
        let first = world.put("ada", Class::audio(), b"x");
        world.wrong_by(YEAR);
        let span = When::Between { from: None, until: None };
        world
            .engine()
            .erase(Scope::User { user: user("ada"), class: class.clone(), when: span })
            .unwrap();
        world.wrong_by(0);
        world.pass(HOUR);
        let engine = world.engine();
        // A record that was never there.
        let began = engine.new_interaction().unwrap().began();
        let mut bytes = first.to_bytes();
        bytes[..6].copy_from_slice(&began.0.to_be_bytes()[2..]);
        let never = RecordId::from_bytes(&bytes).unwrap();
        let late = InteractionId::from_parts(began, [9; 10]);
        let interaction = Scope::User { user: user("ada"), class, when: When::Interaction(late) };
        for scope in [Scope::Record(never), interaction] {
            let done = engine.erase(scope.clone()).unwrap();
            assert_eq!((done.records, done.already), (Some(0), false), "{scope:?}");
            assert!(engine.erase(scope).unwrap().already);
        }
        let put =
            |id| engine.put(Put::new(user("ada"), Class::audio()).interaction(id), &b"late"[..]);
        assert_eq!(error_kind(put(late)), ErrorKind::Erased);
        // The span in doubt goes with this one.
        assert_ne!(put(never.interaction()).unwrap(), never);
        assert_eq!(error_kind(put(late)), ErrorKind::Erased);
        assert_eq!(error_kind(engine.get(&never)), ErrorKind::Erased);
    }
}

fn retained(seed: u64) -> (World, RecordId) {
    let world = World::new(seed, SMALL_PAGES);
    world
        .engine()
        .policies(None)
        .set(&Policy::new(Class::audio()).max_age(Duration::from_secs(90 * 86_400)))
        .unwrap();
    let id = world.put("ada", Class::audio(), b"x");
    world
        .engine()
        .erase_at(Scope::user(user("ben")), world.env.now())
        .expect_err("there is no such user");
    (world, id)
}

#[test]
fn one_look_by_a_clock_that_is_ahead_expires_nothing_and_says_why() {
    for restarts in [false, true] {
        let (mut world, id) = retained(40);
        let planned = world.put("ben", Class::audio(), b"y");
        let due = Timestamp(world.env.now().0 + 10 * DAY as u64);
        world.engine().erase_at(Scope::user(user("ben")), due).unwrap();
        world.engine().run_due(&mut |_| {}).unwrap();
        for ahead in [200 * DAY, 73 * YEAR] {
            world.wrong_by(ahead);
            if restarts {
                world.reopen();
            }
            let engine = world.engine();
            for _ in 0..2 {
                let done = engine.run_due(&mut |_| {}).unwrap();
                assert_eq!((done.expired, done.planned, done.waiting), (0, 0, true));
            }
            assert!(engine.report(&user("ada")).is_ok() && engine.users(None, 10).is_ok());
            assert!([id, planned].iter().all(|id| read_record(engine, id).is_ok()));
            let told = engine.status().unwrap().clock.unwrap();
            assert!(told.contains("`Clock::trust`"), "{told}");
            // Nothing is planned for a time that nobody knows.
            let later = Timestamp(world.env.now().0 + DAY as u64);
            assert_eq!(
                error_kind(engine.erase_at(Scope::user(user("ben")), later)),
                ErrorKind::Refused
            );
            // A put and an erase do not make it any more right.
            let put = world.put("ada", Class::action(), b"z");
            engine.erase(Scope::Record(put)).unwrap();
            assert!(engine.run_due(&mut |_| {}).unwrap().waiting);
        }
        world.wrong_by(0);
        if restarts {
            world.reopen();
        }
        let engine = world.engine();
        assert_eq!(engine.status().unwrap().clock, None);
        assert_eq!(engine.run_due(&mut |_| {}).unwrap(), Default::default());
        world.pass(11 * DAY);
        assert_eq!(world.engine().run_due(&mut |_| {}).unwrap().planned, 1);
        world.pass(80 * DAY);
        let done = world.engine().run_due(&mut |_| {}).unwrap();
        assert_eq!((done.expired, done.waiting), (1, false));
        assert_eq!(error_kind(read_record(world.engine(), &id)), ErrorKind::Erased);
    }
}

#[test]
fn a_store_that_nobody_opened_for_a_year_asks_once() {
    for by_option in [false, true] {
        let (mut world, id) = retained(50);
        world.closed_for(YEAR);
        assert!(world.engine().run_due(&mut |_| {}).unwrap().waiting);
        assert!(read_record(world.engine(), &id).is_ok());
        if by_option {
            world.options.clock_is_right = true;
            world.reopen();
            world.options.clock_is_right = false;
        } else {
            world.engine().clock().trust().unwrap();
        }
        let done = world.engine().run_due(&mut |_| {}).unwrap();
        assert_eq!((done.expired, done.waiting), (1, false));
        assert_eq!(error_kind(read_record(world.engine(), &id)), ErrorKind::Erased);
        world.reopen();
        assert_eq!(world.engine().status().unwrap().clock, None);
    }
}

#[test]
fn a_store_that_is_tended_is_never_asked() {
    let (mut world, id) = retained(60);
    for _ in 0..8 {
        // Nobody puts anything; every ten days somebody looks whether something is due.
        world.closed_for(10 * DAY);
        assert_eq!(world.engine().run_due(&mut |_| {}).unwrap(), Default::default());
    }
    let before = world.engine().head();
    world.engine().run_due(&mut |_| {}).unwrap();
    assert_eq!(world.engine().head(), before, "the time is written down once a day at most");
    world.closed_for(11 * DAY);
    assert_eq!(world.engine().run_due(&mut |_| {}).unwrap().expired, 1);
    assert_eq!(error_kind(read_record(world.engine(), &id)), ErrorKind::Erased);
    // One that is open all the time counts by itself.
    let (world, id) = retained(61);
    world.pass(100 * DAY);
    assert_eq!(world.engine().run_due(&mut |_| {}).unwrap().expired, 1);
    assert_eq!(error_kind(read_record(world.engine(), &id)), ErrorKind::Erased);
}

#[test]
fn a_clock_that_was_set_back_blocks_no_put_and_delays_no_pending_erase() {
    let mut world = World::new(70, SMALL_PAGES);
    world.put("ada", Class::audio(), b"x");
    world.engine().erase(audio_of("ada")).unwrap();
    let window = |id| Erase::new(Scope::Record(id)).final_within(Duration::from_secs(3600));
    let id = world.put("ben", Class::audio(), b"y");
    let pending = world.engine().erase(window(id)).unwrap().finality.until().unwrap();
    world.wrong_by(-YEAR);
    for restarts in [false, true] {
        if restarts {
            world.reopen();
        }
        let engine = world.engine();
        let id = world.put("ada", Class::audio(), b"z");
        assert_eq!(read_record(engine, &id).unwrap(), b"z");
        assert!(
            engine
                .put(
                    Put::new(user("ada"), Class::action()).interaction(id.interaction()),
                    &b"z"[..]
                )
                .is_ok()
        );
        assert!(
            world.put_began("ada", Class::audio(), -YEAR).is_ok(),
            "a device whose clock is right"
        );
        assert_eq!(engine.status().unwrap().pending, Some(pending));
    }
    world.pass(2 * HOUR);
    assert!(world.engine().run_due(&mut |_| {}).unwrap().finalized);
    // One that is asked for by that clock.
    let id = world.put("ben", Class::audio(), b"y");
    assert!(world.engine().erase(window(id)).unwrap().finality.until().is_some());
    world.pass(2 * HOUR);
    assert!(world.engine().run_due(&mut |_| {}).unwrap().finalized);
    world.wrong_by(0);
    world.reopen();
    let engine = world.engine();
    assert_eq!((engine.status().unwrap().clock, engine.status().unwrap().pending), (None, None));
    assert!(engine.put(Put::new(user("ada"), Class::audio()), &b"z"[..]).is_ok());
    assert_eq!(engine.run_due(&mut |_| {}).unwrap(), Default::default());
}

/// A machine that comes up in 1970 put what was erased as soon as its clock was right.
#[test]
fn what_a_clock_far_behind_would_have_erased_is_refused_and_not_taken() {
    let (mut world, kept) = retained(71);
    let most = Policy::new(Class::transcript()).max_records(3);
    world.engine().policies(None).set(&most).unwrap();
    let limited = [Class::audio(), Class::transcript()];
    for (behind, refused) in [(-YEAR, true), (-50 * YEAR, true), (-10 * DAY, false), (0, false)] {
        world.wrong_by(behind);
        for restarts in [false, true] {
            if restarts {
                world.reopen();
            }
            let engine = world.engine();
            for name in ["ada", "somebody new"] {
                for class in &limited {
                    let put = Put::new(user(name), class.clone());
                    if refused {
                        let e = engine.put(put, &b"z"[..]).unwrap_err();
                        assert_eq!(e.kind(), ErrorKind::Refused, "{behind}");
                        let shown = world.env.now().to_string()[..10].to_owned();
                        let says = ["set the clock", "Clock::trust", class.as_str(), &shown];
                        says.iter().for_each(|what| assert!(e.to_string().contains(what), "{e}"));
                        let put = Put::new(user(name), class.clone());
                        let made = put.interaction(engine.new_interaction().unwrap());
                        assert_eq!(error_kind(engine.put(made, &b"z"[..])), ErrorKind::Refused);
                    }
                }
                assert!(engine.put(Put::new(user(name), Class::action()), &b"z"[..]).is_ok());
            }
        }
    }
    let id = world.put("ada", Class::audio(), b"z");
    assert_eq!(world.engine().run_due(&mut |_| {}).unwrap().expired, 0);
    assert_eq!(read_record(world.engine(), &kept).unwrap(), b"x");
    assert_eq!(read_record(world.engine(), &id).unwrap(), b"z");
    // Somebody says that the clock is right: then it is.
    world.wrong_by(-YEAR);
    world.engine().clock().trust().unwrap();
    world.put("ada", Class::audio(), b"now");
}

/// One put by a clock that was ahead was the newest of its class from then on: what was put by the
/// right clock was acknowledged, and erased by the next command.
#[test]
fn what_a_clock_ahead_put_erases_nothing_that_is_put_by_the_right_one() {
    let put =
        |world: &World, class: Class| world.engine().put(Put::new(user("ada"), class), &b"x"[..]);
    for (seed, ahead) in [(80, HOUR), (81, 40 * DAY)] {
        let mut world = World::new(seed, SMALL_PAGES);
        let most = Policy::new(Class::transcript()).max_records(2);
        world.engine().policies(None).set(&most).unwrap();
        world.put("ada", Class::action(), b"x");
        world.wrong_by(ahead);
        world.reopen();
        let by_it: Vec<_> = (0..2).map(|_| put(&world, Class::transcript())).collect();
        assert_eq!(by_it.iter().all(Result::is_err), ahead > 35 * DAY, "{by_it:?}");
        assert!(put(&world, Class::action()).is_ok());
        world.wrong_by(0);
        world.reopen();
        let told = put(&world, Class::transcript());
        world.engine().run_due(&mut |_| {}).unwrap();
        match told {
            Ok(id) => assert_eq!(read_record(world.engine(), &id).unwrap(), b"x"),
            Err(e) => {
                assert_eq!((e.kind(), ahead), (ErrorKind::Refused, HOUR), "{e}");
                assert!(e.to_string().contains("erase those"), "{e}");
                let those = Scope::class(user("ada"), Class::transcript());
                world.engine().erase(those).unwrap();
                put(&world, Class::transcript()).unwrap();
            }
        }
    }
    // A step back by seconds holds up nothing.
    let world = World::new(82, SMALL_PAGES);
    world.engine().policies(None).set(&Policy::new(Class::transcript()).max_records(1)).unwrap();
    put(&world, Class::transcript()).unwrap();
    world.wrong_by(-5_000);
    for _ in 0..3 {
        let id = put(&world, Class::transcript()).unwrap();
        world.engine().run_due(&mut |_| {}).unwrap();
        assert_eq!(read_record(world.engine(), &id).unwrap(), b"x");
    }
}

/// A user without a record was not asked for.
#[test]
fn what_a_policy_keeps_no_more_is_refused_of_a_new_user_too() {
    let world = World::new(83, SMALL_PAGES);
    let until = Timestamp(world.env.now().0 - 1);
    world.engine().policies(None).set(&Policy::new(Class::audio()).until(until)).unwrap();
    for name in ["ada", "ben"] {
        let put = Put::new(user(name), Class::audio());
        assert_eq!(error_kind(world.engine().put(put, &b"x"[..])), ErrorKind::Refused);
    }
}

#[test]
fn no_window_is_longer_because_the_clock_was_ahead() {
    for ahead in [10 * DAY, YEAR] {
        let mut world = World::new(80, SMALL_PAGES);
        let id = world.put("ada", Class::audio(), b"x");
        world.wrong_by(ahead);
        world.reopen();
        let window = Erase::new(Scope::Record(id)).final_within(Duration::from_secs(60));
        let pending = world.engine().erase(window).unwrap().finality.until();
        world.wrong_by(0);
        world.reopen();
        world.pass(2 * HOUR);
        world.engine().run_due(&mut |_| {}).unwrap();
        assert_eq!(world.engine().status().unwrap().pending, None, "{pending:?}");
    }
}

#[test]
fn a_clock_that_is_ahead_ends_no_grant_and_no_membership_for_good() {
    let world = World::new(90, SMALL_PAGES);
    let engine = world.engine();
    let party = Identity::new(&*world.env).unwrap();
    let public = party.public().unwrap();
    let id = world.put("ada", Class::action(), b"a ride");
    let until = Timestamp(world.env.now().0 + 30 * DAY as u64);
    let ended = engine
        .grants(&user("ada"))
        .add(Grant::new(&public, "Ride skill", "to train").until(until))
        .unwrap();
    let ticket = engine.grants(&user("ben")).add(Grant::new(&public, "Ride skill", "rides"));
    assert_eq!(error_kind(ticket), ErrorKind::Absent);
    let set = engine.training().make("rides", &public, "to train").unwrap();
    assert_eq!(engine.training().add("rides", &[id]).unwrap(), 1);
    world.put("ben", Class::action(), b"a ride");
    let ticket =
        engine.grants(&user("ben")).add(Grant::new(&public, "Ride skill", "to train")).unwrap();
    let open = |ticket| {
        let (request, _) = party.ask(ticket, &*world.env).unwrap();
        engine.open_request(&request, Vec::new())
    };
    world.wrong_by(YEAR);
    assert_eq!(error_kind(open(&ended)), ErrorKind::Refused);
    assert_eq!(open(&set).unwrap().records, 0, "by this clock its grant is over");
    assert_eq!(open(&ticket).unwrap().records, 1);
    world.wrong_by(0);
    assert_eq!(open(&ended).unwrap().records, 1);
    assert_eq!(open(&set).unwrap().records, 1);
    assert_eq!(open(&ticket).unwrap().records, 1);
    let (request, _) = party.ask(&ticket, &*world.env).unwrap();
    engine.open_request(&request, Vec::new()).unwrap();
    assert_eq!(
        error_kind(engine.open_request(&request, Vec::new())),
        ErrorKind::Refused,
        "it opens once"
    );
}

#[test]
fn a_grant_that_ended_opens_nothing_by_a_clock_that_was_set_back() {
    for restarts in [false, true] {
        let mut world = World::new(91, SMALL_PAGES);
        let party = Identity::new(&*world.env).unwrap();
        let public = party.public().unwrap();
        let id = world.put("ada", Class::action(), b"a ride");
        let until = Timestamp(world.env.now().0 + DAY as u64);
        let grant = Grant::new(&public, "Ride skill", "to train").until(until);
        let ticket = world.engine().grants(&user("ada")).add(grant).unwrap();
        let set = world.engine().training().make("rides", &public, "to train").unwrap();
        assert_eq!(world.engine().training().add("rides", &[id]).unwrap(), 1);
        world.pass(2 * DAY);
        // The store knows the time by this.
        world.put("ben", Class::action(), b"a ride");
        world.wrong_by(-YEAR);
        if restarts {
            world.reopen();
        }
        let engine = world.engine();
        let open = |ticket| {
            let (request, _) = party.ask(ticket, &*world.env).unwrap();
            engine.open_request(&request, Vec::new())
        };
        assert_eq!(error_kind(open(&ticket)), ErrorKind::Refused);
        assert_eq!(error_kind(engine.training().add("rides", &[id])), ErrorKind::Refused);
        let opened = open(&set).unwrap();
        assert_eq!((opened.records, opened.fell), (0, 1));
        assert!(read_record(engine, &id).is_ok());
    }
}

#[test]
fn an_inbox_key_that_was_made_by_a_clock_ahead_is_as_old_as_any() {
    let world = World::new(95, SMALL_PAGES);
    world.put("ada", Class::action(), b"x");
    world.wrong_by(YEAR);
    let ahead = world.engine().inbox(&user("ada")).key().unwrap().to_string();
    world.wrong_by(0);
    assert_eq!(world.engine().inbox(&user("ada")).key().unwrap().to_string(), ahead);
    world.pass(8 * DAY);
    assert_ne!(world.engine().inbox(&user("ada")).key().unwrap().to_string(), ahead);
    world.pass(8 * DAY);
    assert_eq!(world.engine().run_due(&mut |_| {}).unwrap().inbox_keys, 1);
}

#[test]
fn an_open_engine_ends_what_is_pending_though_its_clock_was_set_back() {
    let env = Arc::new(Seeded::new(99));
    let (store, cell): (Arc<dyn Store>, Arc<dyn RootCell>) =
        (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let options = Options::new().env(env.clone()).keeper(Keeper::Thread);
    let engine = Engine::init(store, cell, options).unwrap();
    let id = engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..]).unwrap();
    engine.erase(Erase::new(Scope::Record(id)).final_within(Duration::from_secs(3600))).unwrap();
    env.set_wrong(-YEAR);
    env.advance(2 * HOUR as u64);
    // Something that wakes the thread, which looks at the clock twice a minute.
    engine.policies(None).set(&Policy::new(Class::action())).unwrap();
    let began = Instant::now();
    while engine.status().unwrap().pending.is_some() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it waits for a clock that is a year behind"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_program_is_told_that_the_clock_is_right() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.ok(&["tend", "store"]);
    cli.ok(&["tend", "store", "--clock-is-right"]);
    let status: serde_json::Value =
        serde_json::from_str(&cli.ok(&["status", "store", "--json"])).unwrap();
    assert!(status["clock_doubts"].is_null());
}
