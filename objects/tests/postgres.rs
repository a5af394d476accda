//! PostgreSQL: killed in a commit, promoted with and without what was acknowledged, waits for
//! standbys that are cut short, requests that are late. Each test makes its servers
//! (`cluster::programs`).

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod cluster;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cluster::wire::{Fault, Wire};
use cluster::{Server, directory, programs};
use keyfall_objects::postgres::PostgresObjects;
use keyfall_objects::{
    Created, Failure, FailureKind, Objects, Outcome, Patience, create, patiently,
};

/// Servers take room: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn at(url: &str) -> PostgresObjects {
    PostgresObjects::at(url).unwrap()
}

/// An object that no other attempt made.
fn attempt(writer: u8, n: u32) -> Vec<u8> {
    let mut bytes = vec![writer; 9000];
    bytes[1..5].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn name(n: u32) -> String {
    format!("c/{n:020}")
}

/// About ten seconds.
fn patience() -> Patience {
    let (pause, longest) = (Duration::from_millis(20), Duration::from_millis(300));
    Patience { pause, longest, ..Patience::of_tries(40) }
}

fn failed(made: Result<Created, Failure>, kind: FailureKind, says: &str) {
    let e = made.unwrap_err();
    assert_eq!(e.kind, kind, "{e}");
    assert!(e.message.contains(says), "{e}");
}

fn unfit(made: Result<Created, Failure>, says: &str) {
    failed(made, FailureKind::Unfit, says);
}

fn refused(made: Result<Created, Failure>, says: &str) {
    failed(made, FailureKind::Refused, says);
}

/// Two writers take numbers in turn, and the server is killed under them: each number is one's, and
/// what was acknowledged is there.
#[test]
fn killed_in_a_commit() {
    let Some(bin) = programs() else { return };
    let _alone = alone();
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    let rounds = std::env::var("KEYFALL_POSTGRES_ROUNDS").ok().and_then(|n| n.parse().ok());
    let (url, end) = (server.url("&timeout=5"), AtomicBool::new(false));
    let won: Vec<BTreeMap<u32, bool>> = thread::scope(|scope| {
        let writer = |writer: u8| {
            let (url, end) = (&url, &end);
            scope.spawn(move || {
                let (objects, mut won) = (at(url), BTreeMap::new());
                let mut n = 1;
                while !end.load(Ordering::SeqCst) {
                    let made = create(&objects, &name(n), &attempt(writer, n), &patience());
                    let is_mine = matches!(made.unwrap(), Outcome::Here { .. });
                    won.insert(n, is_mine);
                    n += 1;
                }
                won
            })
        };
        let writers = [writer(1), writer(2)];
        for _ in 0..rounds.unwrap_or(5) {
            thread::sleep(Duration::from_millis(400));
            server.kill();
            server.start();
        }
        end.store(true, Ordering::SeqCst);
        writers.map(|writer| writer.join().unwrap()).into()
    });
    let objects = at(&url);
    let (one, two) = (&won[0], &won[1]);
    for (n, &is_mine) in one {
        let writer = if is_mine { 1 } else { 2 };
        assert_eq!(objects.get(&name(*n)).unwrap(), Some(attempt(writer, *n)), "{n}");
        if let Some(&other) = two.get(n) {
            assert!(is_mine != other, "{n} is one's");
        }
    }
    for (n, _) in two.iter().filter(|(_, is_mine)| **is_mine) {
        assert_eq!(objects.get(&name(*n)).unwrap(), Some(attempt(2, *n)), "{n}");
    }
    let (all, kills) = (one.len().min(two.len()), rounds.unwrap_or(5));
    eprintln!(
        "{kills} kills, {all} numbers, {} of the first",
        one.values().filter(|w| **w).count()
    );
    assert!(one.values().any(|w| *w) && two.values().any(|w| *w), "both won some");
}

/// The server has a standby that is asked for every commit.
fn with_a_standby(bin: &std::path::Path, dir: &std::path::Path) -> (Server, Server) {
    let primary = Server::make(bin, dir, "a");
    let standby = primary.standby("b");
    primary.set("synchronous_standby_names", "b");
    primary.until("select sync_state from pg_stat_replication", "sync");
    (primary, standby)
}

#[test]
fn a_synchronous_standby_that_is_promoted_has_everything() {
    let Some(bin) = programs() else { return };
    let _alone = alone();
    let dir = directory();
    let (primary, standby) = with_a_standby(&bin, dir.path());
    let url = primary.url_with(&standby, "&durable=standby(1)&timeout=5");
    let objects = at(&url);
    let failed_over = AtomicBool::new(false);
    // As its own configuration has it, for the day on which it is the primary.
    standby.set("synchronous_standby_names", "c");
    let (last, third) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut n, mut after) = (0, 0);
            while after < 20 {
                n += 1;
                after += u32::from(failed_over.load(Ordering::SeqCst));
                let made = create(&objects, &name(n), &attempt(1, n), &patience()).unwrap();
                assert!(matches!(made, Outcome::Here { .. }), "{n}");
            }
            n
        });
        thread::sleep(Duration::from_millis(500));
        primary.kill();
        standby.promote();
        // What comes new does not know whether it has everything; nothing is written yet.
        let new = at(&standby.url("&durable=standby(1)&timeout=5"));
        unfit(new.create("x/1", b"x"), "accept=");
        let third = standby.standby("c");
        failed_over.store(true, Ordering::SeqCst);
        (writer.join().unwrap(), third)
    });
    // The handle that went on has shown that nothing is missing, and the store remembers that.
    let there = at(&standby.url("&durable=standby(1)"));
    there.create("x/2", b"x").unwrap();
    for n in 1..=last {
        assert_eq!(there.get(&name(n)).unwrap(), Some(attempt(1, n)), "{n}");
    }
    eprintln!("{last} objects, all there after the failover");
    drop(third);
}

#[test]
fn an_asynchronous_standby_that_lacks_something_is_found() {
    let Some(bin) = programs() else { return };
    let _alone = alone();
    let dir = directory();
    let primary = Server::make(&bin, dir.path(), "a");
    let standby = primary.standby("b");
    let url = primary.url_with(&standby, "&timeout=5");
    let objects = at(&url);
    for n in 1..=10 {
        create(&objects, &name(n), &attempt(1, n), &patience()).unwrap();
    }
    primary.until(
        "select bool_and(flush_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication",
        "t",
    );
    standby.stop("fast");
    for n in 11..=15 {
        create(&objects, &name(n), &attempt(1, n), &patience()).unwrap();
    }
    primary.kill();
    standby.start();
    // A failover is under way.
    let e = objects.create(&name(16), &attempt(1, 16)).unwrap_err();
    assert_eq!(e.kind, FailureKind::Unknown, "{e}");
    standby.promote();
    let e = create(&objects, &name(16), &attempt(1, 16), &patience()).unwrap_err();
    assert!(e.message.contains(&name(15)) && e.message.contains("restore"), "{e}");
    assert_eq!(objects.get(&name(16)).unwrap(), None, "nothing was written");
    // What was not there before knows that it was promoted, and not what is missing.
    let url = standby.url("");
    let e = at(&url).create(&name(11), &attempt(2, 11)).unwrap_err();
    assert_eq!(e.kind, FailureKind::Unfit);
    let (_, accept) = e.message.split_once("accept=").unwrap();
    let accept = accept.split_whitespace().next().unwrap();
    eprintln!("{e}");
    unfit(at(&standby.url("&accept=7-2")).create("x/1", b"x"), "accept=");
    at(&standby.url(&format!("&accept={accept}"))).create("x/1", b"x").unwrap();
    // It is known from then on, as long as nobody is promoted again.
    at(&url).create("x/2", b"x").unwrap();
}

/// The server answers that it is done, with a warning, and the standby does not have it.
#[test]
fn a_wait_that_is_cut_short_is_not_durable() {
    let Some(bin) = programs() else { return };
    let _alone = alone();
    let dir = directory();
    let (primary, standby) = with_a_standby(&bin, dir.path());
    let url = primary.url("&durable=standby(1)&timeout=3");
    let objects = at(&url);
    create(&objects, &name(1), &attempt(1, 1), &patience()).unwrap();
    standby.stop("fast");
    let cancel = || {
        primary.until("select count(*) from pg_stat_activity where wait_event = 'SyncRep'", "1");
        primary.sql(
            "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'",
        );
    };
    // The server's own word, which is not to be believed.
    thread::scope(|scope| {
        let bare = scope.spawn(|| {
            primary.sql_with_notices("keyfall", "insert into keyfall values ('bare', 'c/1', 'x')")
        });
        cancel();
        let (_, notices) = bare.join().unwrap();
        assert!(notices.contains("might not have been replicated"), "{notices}");
        eprintln!("{notices}");
    });
    thread::scope(|scope| {
        let made = scope.spawn(|| objects.create(&name(2), &attempt(1, 2)));
        cancel();
        let e = made.join().unwrap().unwrap_err();
        assert_eq!(e.kind, FailureKind::Unknown, "{e}");
        assert!(e.message.contains("0 of 1"), "{e}");
    });
    assert_eq!(
        primary
            .sql_with_notices(
                "keyfall",
                "select count(*) from keyfall where key like \
        'c/%2'"
            )
            .0,
        "1",
        "the primary has it, and others see it"
    );
    // To find it there is no proof: what exists is asked for as well.
    let e = create(&objects, &name(2), &attempt(1, 2), &Patience::of_tries(2)).unwrap_err();
    assert_eq!(e.kind, FailureKind::Unknown, "{e}");
    // A writer of the same number does not learn that it lost to what may vanish.
    let e = at(&url).create(&name(2), &attempt(2, 2)).unwrap_err();
    assert_eq!(e.kind, FailureKind::Unknown, "{e}");
    standby.start();
    let made = create(&objects, &name(2), &attempt(1, 2), &patience()).unwrap();
    assert!(matches!(made, Outcome::Here { .. }), "the same attempt, settled");
    let made = create(&at(&url), &name(2), &attempt(2, 2), &patience()).unwrap();
    assert_eq!(made, Outcome::Taken);
}

#[test]
fn servers_that_do_not_keep_what_they_acknowledge_are_refused() {
    let Some(bin) = programs() else { return };
    let _alone = alone();
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    let made = |options: &str| at(&server.url(options)).create("x/1", b"x");
    unfit(made("&durable=standby(1)"), "synchronous_standby_names is empty");
    server.set("fsync", "off");
    unfit(made(""), "fsync");
    server.set("fsync", "on");
    let before = at(&server.url("&timeout=5"));
    before.create("x/0", b"x").unwrap();
    server.set("synchronous_commit", "off");
    unfit(made(""), "synchronous_commit");
    unfit(made("&durable=managed"), "synchronous_commit");
    // Also over a connection that was looked at when it was on.
    let e = before.create("x/2", b"x").unwrap_err();
    assert_eq!(e.kind, FailureKind::Unknown, "{e}");
    unfit(before.create("x/2", b"x"), "synchronous_commit");
    assert_eq!(before.get("x/2").unwrap(), None);
    server.set("synchronous_commit", "local");
    server.set("synchronous_standby_names", "b");
    unfit(made(""), "add durable=");
    unfit(made("&durable=standby(1)"), "synchronous_commit");
    made("&durable=local").unwrap();
    // What is asked of it from here on would wait for a standby.
    server.set("synchronous_standby_names", "");
    server.set("synchronous_commit", "on");
    server.sql("revoke pg_monitor from ada");
    server.set("synchronous_standby_names", "b");
    refused(made("&durable=standby(1)"), "pg_monitor");
    server.set("synchronous_standby_names", "");
    server.sql("create role bob login");
    server.sql_with_notices("keyfall", "drop table keyfall");
    let bob = at(&server.url("").replace("ada@", "bob@"));
    refused(bob.create("x/1", b"x"), "have an owner run: create table keyfall");
    assert_eq!(bob.get("x/1").unwrap(), None, "no table, no objects");
    let nobody = at(&server.url("").replace("ada@", "nobody@"));
    refused(nobody.create("x/1", b"x"), "nobody");
}

/// A service that says itself when a commit is durable, and lets nobody ask about its log: only
/// `managed` is at home there, and does all that the others do.
#[test]
fn a_managed_server_is_asked_nothing_but_rows() {
    let Some(bin) = programs() else { return };
    let _alone = alone();
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    server.sql("create role bob login");
    for statement in [
        "grant create on schema public to bob",
        "revoke execute on function pg_walfile_name(pg_lsn) from public",
        "revoke execute on function pg_current_wal_insert_lsn() from public",
        "revoke execute on function pg_control_system() from public",
    ] {
        server.sql_with_notices("keyfall", statement);
    }
    let bob = |options: &str| at(&server.url(options).replace("ada@", "bob@"));
    let e = bob("").create("x/1", b"x").unwrap_err();
    assert!(e.message.contains("permission denied"), "{e}");

    for options in ["&durable=managed", "&durable=managed&prepared=on&store=b"] {
        let (one, two) = (bob(options), bob(options));
        for n in 1..4 {
            let made = create(&one, &name(n), &attempt(1, n), &patience()).unwrap();
            assert_eq!(made, Outcome::Here { versioned: false });
            let made = create(&two, &name(n), &attempt(2, n), &patience()).unwrap();
            assert_eq!(made, Outcome::Taken);
            assert_eq!(two.get(&name(n)).unwrap(), Some(attempt(1, n)));
        }
        assert_eq!(one.create(&name(1), &attempt(1, 1)).unwrap(), Created::Exists);
        assert_eq!(two.get_range(&name(2), 1, 4).unwrap(), Some(2_u32.to_be_bytes().to_vec()));
        one.delete(&name(1)).unwrap();
        let left: Vec<_> = two.list("c", "", 10).unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(left, [name(2), name(3)]);
        // An answer that is lost is settled, also where the server was killed meanwhile.
        server.kill();
        server.start();
        let made = create(&one, &name(3), &attempt(1, 3), &patience()).unwrap();
        assert_eq!(made, Outcome::Here { versioned: false }, "the same attempt");
    }
}

/// One round trip each; what is unanswered is settled; what is late is refused.
#[test]
fn each_request_is_one_round_trip() {
    let Some(bin) = programs() else { return };
    let _alone = alone();
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    let wire = Wire::to(&server.socket());
    let (url, other) = (wire.url("&timeout=5"), at(&server.url("")));
    let objects = at(&url);
    create(&objects, &name(1), &attempt(1, 1), &patience()).unwrap();
    wire.take();
    objects.create(&name(2), &attempt(1, 2)).unwrap();
    objects.get(&name(2)).unwrap();
    objects.get_range(&name(2), 5, 5).unwrap();
    objects.list("c", "", 10).unwrap();
    objects.head(&name(2)).unwrap();
    assert_eq!(wire.take(), 5);

    wire.next(Fault::Unanswered);
    let e = objects.create(&name(3), &attempt(1, 3)).unwrap_err();
    assert_eq!(e.kind, FailureKind::Unknown, "{e}");
    let made = create(&objects, &name(3), &attempt(1, 3), &patience()).unwrap();
    assert_eq!(made, Outcome::Here { versioned: false });

    // The writer is gone, another one has taken the number, and the request arrives.
    wire.next(Fault::Held);
    let e = objects.create(&name(4), &attempt(1, 4)).unwrap_err();
    assert_eq!(e.kind, FailureKind::Unknown, "{e}");
    other.create(&name(4), &attempt(2, 4)).unwrap();
    assert_eq!(wire.deliver(), 1);
    assert_eq!(other.get(&name(4)).unwrap(), Some(attempt(2, 4)));
    let made = create(&objects, &name(4), &attempt(1, 4), &patience()).unwrap();
    assert_eq!(made, Outcome::Taken);

    // A server that hangs: no answer is no success, and others are asked over other connections.
    let hung = at(&server.url("&timeout=1"));
    hung.create("x/0", b"x").unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        let lock = "begin; lock table keyfall in exclusive mode; select pg_sleep(2.5); commit";
        scope.spawn(|| server.sql_with_notices("keyfall", lock));
        server.until("select count(*) from pg_stat_activity where wait_event = 'PgSleep'", "1");
        let e = hung.create("x/1", b"x").unwrap_err();
        assert_eq!(e.kind, FailureKind::Unknown, "{e}");
        assert!(began.elapsed() < Duration::from_secs(3), "it does not wait for ever");
        assert_eq!(hung.get("x/0").unwrap(), Some(b"x".to_vec()), "reads go on");
    });
    assert!(patiently(&patience(), || hung.create("x/1", b"x")).is_ok());
}
