//! Third parties: they open what they were granted, sealed to a fresh key, and the report shows it.
//! SPEC §6.7.

use std::collections::BTreeMap;
use std::io::Write;

use keyfall::cell::RootCell;
use keyfall::engine::{Fact, Grant, Opened};
use keyfall::env::Env;
use keyfall::sealed::{Identity, Item, PublicKey, Ticket, Unpack, unpack};
use keyfall::{Class, Engine, ErrorKind, Put, RecordId, Result, Scope, Timestamp};

use crate::command_line::Cli;
use crate::support::{SMALL_PAGES, World, bytes, error_kind, read_record, user};

/// Keeps what a parcel holds.
#[derive(Default)]
struct Kept {
    records: BTreeMap<RecordId, Vec<u8>>,
    last: Vec<u8>,
    fell: usize,
}

impl Unpack for Kept {
    fn begin(&mut self, _: &Item) -> Result<Box<dyn Write + '_>> {
        self.last.clear();
        Ok(Box::new(&mut self.last))
    }
    fn end(&mut self, item: &Item, fell: bool) -> Result<()> {
        if let Item::Record { id, .. } = item
            && !fell
        {
            self.records.insert(*id, std::mem::take(&mut self.last));
        }
        self.fell += usize::from(fell);
        Ok(())
    }
}

struct Party {
    identity: Identity,
    public: PublicKey,
}

impl Party {
    fn new(world: &World) -> Self {
        let identity = Identity::new(&*world.env).unwrap();
        let public = identity.public().unwrap().to_string().parse().unwrap();
        Party { identity: Identity::from_private(&identity.private()).unwrap(), public }
    }

    /// Asks, has it opened, and unpacks.
    fn open(
        &self,
        world: &World,
        ticket: &Ticket,
    ) -> Result<(Opened, BTreeMap<RecordId, Vec<u8>>)> {
        let ticket: Ticket = ticket.to_string().parse().unwrap();
        let (request, secret) = self.identity.ask(&ticket, &*world.env).unwrap();
        let mut parcel = Vec::new();
        let opened = world.engine().open_request(&request, &mut parcel)?;
        let mut kept = Kept::default();
        unpack(&secret, &parcel[..], &mut kept).unwrap();
        assert_eq!(opened.records, kept.records.len() as u64);
        Ok((opened, kept.records))
    }
}

fn grant(party: &Party) -> Grant {
    Grant::new(&party.public, "Ride skill", "to order rides")
}

fn to_improve(party: &Party) -> Grant {
    let mut grant = grant(party);
    grant.purpose = "to improve the models".into();
    grant
}

fn ids<'r>(records: impl IntoIterator<Item = &'r RecordId>) -> Vec<RecordId> {
    records.into_iter().copied().collect()
}

#[test]
fn a_third_party_opens_what_it_was_granted_and_the_report_says_so() {
    let world = World::new(1, SMALL_PAGES);
    let engine = world.engine();
    let party = Party::new(&world);
    let action = world.put("ada", Class::action(), &bytes(1, 50_000));
    let audio = world.put("ada", Class::audio(), b"not granted");
    world.put("ben", Class::action(), b"another's");
    let ticket = engine.grants(&user("ada")).add(grant(&party).class(Class::action())).unwrap();
    let (opened, records) = party.open(&world, &ticket).unwrap();
    assert_eq!((opened.records, opened.bytes, opened.fell), (1, 50_000, 0));
    assert!(records[&action] == bytes(1, 50_000));
    let accesses = engine.accesses(&action).unwrap();
    assert!(
        accesses[0].principal.starts_with("Ride skill, grant ")
            && accesses[0].purpose == "to order rides"
    );
    assert!(engine.accesses(&audio).unwrap().is_empty());
    let report = engine.report(&user("ada")).unwrap();
    assert_eq!((report.grants.len(), report.grants[0].1.opened), (1, 1));
    assert!(matches!(&report.history[0].1, Fact::Granted { name, .. } if name == "Ride skill"));
    // What is put later is covered; what is erased is not.
    let later = world.put("ada", Class::action(), b"later");
    engine.erase(Scope::Record(action)).unwrap();
    assert_eq!(ids(party.open(&world, &ticket).unwrap().1.keys()), [later]);
}

#[test]
fn a_third_party_is_refused() {
    let world = World::new(2, SMALL_PAGES);
    let engine = world.engine();
    let (party, other) = (Party::new(&world), Party::new(&world));
    let id = world.put("ada", Class::action(), b"a ride to the station");
    let ticket = engine.grants(&user("ada")).add(grant(&party)).unwrap();
    // Not its own, or not signed.
    assert_eq!(error_kind(other.open(&world, &ticket)), ErrorKind::Refused);
    let (request, _) = party.identity.ask(&ticket, &*world.env).unwrap();
    let no_byte = |request: &[u8]| {
        let mut out = Vec::new();
        let refused = engine.open_request(request, &mut out).expect_err("it must fail").kind();
        assert!(out.is_empty(), "a byte went out");
        refused
    };
    for at in [20, 60, 100, 700, request.len() - 1] {
        let mut forged = request.clone();
        forged[at] ^= 1;
        assert!(matches!(no_byte(&forged), ErrorKind::Refused | ErrorKind::Erased), "{at}");
    }
    assert_eq!(no_byte(&request[..request.len() - 1]), ErrorKind::Corrupt);
    assert!(engine.accesses(&id).unwrap().is_empty());
    // Once, and not long after.
    engine.open_request(&request, Vec::new()).unwrap();
    assert_eq!(no_byte(&request), ErrorKind::Refused);
    let (old, _) = party.identity.ask(&ticket, &*world.env).unwrap();
    world.env.advance(2 * 3_600_000);
    assert_eq!(no_byte(&old), ErrorKind::Refused);
    // A grant that is over; one that was revoked; a user who was erased.
    let soon = Timestamp(world.env.now().0 + 1000);
    let short = engine.grants(&user("ada")).add(grant(&party).until(soon)).unwrap();
    assert!(party.open(&world, &short).is_ok());
    world.env.advance(1000);
    assert_eq!(error_kind(party.open(&world, &short)), ErrorKind::Refused);
    let number = ticket.grant().unwrap();
    engine.grants(&user("ada")).revoke(number).unwrap();
    assert_eq!(error_kind(party.open(&world, &ticket)), ErrorKind::Refused);
    assert_eq!(error_kind(engine.grants(&user("ada")).revoke(number)), ErrorKind::Absent);
    let of_erased = engine.grants(&user("ada")).add(grant(&party)).unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(error_kind(party.open(&world, &of_erased)), ErrorKind::Erased);
    engine.create_user(&user("ada")).unwrap();
    assert_eq!(error_kind(party.open(&world, &of_erased)), ErrorKind::Erased);
    assert_eq!(error_kind(engine.grants(&user("nobody")).add(grant(&party))), ErrorKind::Absent);
    for (name, purpose) in [("", "x"), ("x", ""), ("\u{7}", "x"), (&"n".repeat(33)[..], "x")] {
        assert_eq!(
            error_kind(engine.grants(&user("ada")).add(Grant::new(&party.public, name, purpose))),
            ErrorKind::Invalid
        );
    }
    let elsewhere = World::new(3, SMALL_PAGES);
    let (request, _) = party.identity.ask(&of_erased, &*world.env).unwrap();
    assert_eq!(
        error_kind(elsewhere.engine().open_request(&request, Vec::new())),
        ErrorKind::Refused
    );
}

/// Does something when the first megabyte has gone out.
struct Interrupted<'w, F: FnMut()> {
    written: usize,
    then: F,
    out: &'w mut Vec<u8>,
}

impl<F: FnMut()> Write for Interrupted<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let before = self.written;
        self.written += bytes.len();
        if before < 100_000 && self.written >= 100_000 {
            (self.then)();
        }
        self.out.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_revoked_or_erased_while_it_is_opened_goes_no_further() {
    for erased in [false, true] {
        let world = World::new(4, SMALL_PAGES);
        let engine = world.engine();
        let party = Party::new(&world);
        for n in 0..5 {
            world.put("ada", Class::audio(), &bytes(n, 70_000));
        }
        let ticket = engine.grants(&user("ada")).add(grant(&party)).unwrap();
        let (request, secret) = party.identity.ask(&ticket, &*world.env).unwrap();
        let mut parcel = Vec::new();
        let then = || match erased {
            true => drop(engine.erase(Scope::class(user("ada"), Class::audio())).unwrap()),
            false => engine.grants(&user("ada")).revoke(ticket.grant().unwrap()).unwrap(),
        };
        let opened = engine
            .open_request(&request, Interrupted { written: 0, then, out: &mut parcel })
            .unwrap();
        // Neither lets the record in hand end.
        assert_eq!((opened.records, opened.fell), (1, 4));
        let mut kept = Kept::default();
        unpack(&secret, &parcel[..], &mut kept).unwrap();
        assert_eq!((kept.records.len() as u64, kept.fell), (opened.records, 1));
    }
}

#[test]
fn a_grant_that_ends_while_it_is_opened_ends_though_the_clock_is_set_back() {
    let world = World::new(9, SMALL_PAGES);
    let engine = world.engine();
    let party = Party::new(&world);
    for n in 0..5 {
        world.put("ada", Class::audio(), &bytes(n, 70_000));
    }
    let until = Timestamp(world.env.now().0 + 3_600_000);
    let ticket = engine.grants(&user("ada")).add(grant(&party).until(until)).unwrap();
    let (request, _) = party.identity.ask(&ticket, &*world.env).unwrap();
    let mut parcel = Vec::new();
    let then = || {
        world.env.advance(2 * 3_600_000);
        world.env.set_wrong(-24 * 3_600_000);
    };
    let opened =
        engine.open_request(&request, Interrupted { written: 0, then, out: &mut parcel }).unwrap();
    assert_eq!((opened.records, opened.fell), (1, 4));
}

#[test]
fn a_training_set_that_shrinks() {
    let mut world = World::new(5, SMALL_PAGES);
    let party = Party::new(&world);
    let engine = world.engine();
    let mut all = Vec::new();
    for name in ["ada", "ben", "chloe", "dora"] {
        let audio = world.put(name, Class::audio(), name.as_bytes());
        let text = Put::new(user(name), Class::transcript()).derived_from(audio);
        all.extend([audio, engine.put(text, name.as_bytes()).unwrap()]);
    }
    let ticket =
        engine.training().make("voices 2026", &party.public, "to improve the models").unwrap();
    assert_eq!(
        error_kind(engine.training().make("voices 2026", &party.public, "again")),
        ErrorKind::Exists
    );
    // Only users who consented are in it.
    assert_eq!(error_kind(engine.training().add("voices 2026", &all)), ErrorKind::Refused);
    let mut grants = Vec::new();
    for name in ["ada", "ben", "chloe", "dora"] {
        grants.push(engine.grants(&user(name)).add(to_improve(&party)).unwrap());
    }
    assert_eq!(engine.training().add("voices 2026", &all).unwrap(), 8);
    assert_eq!(engine.training().add("voices 2026", &all[..2]).unwrap(), 0, "they are there");
    assert_eq!(error_kind(engine.training().add("nobody's", &all)), ErrorKind::Absent);
    let (opened, records) = party.open(&world, &ticket).unwrap();
    assert_eq!((opened.records, opened.fell), (8, 0));
    assert_eq!(records.len(), 8);
    let report = engine.report(&user("ada")).unwrap();
    assert_eq!(report.sets, [("voices 2026".to_owned(), 2)]);
    assert_eq!(engine.accesses(&all[0]).unwrap()[0].principal, "training set voices 2026, run 1");
    // A record and what was derived from it; a whole user; a grant.
    engine.erase(Scope::Record(all[0])).unwrap();
    engine.erase(Scope::user(user("ben"))).unwrap();
    engine.grants(&user("chloe")).revoke(grants[2].grant().unwrap()).unwrap();
    world.reopen();
    let engine = world.engine();
    let (opened, records) = party.open(&world, &ticket).unwrap();
    assert_eq!((opened.records, opened.fell), (2, 6));
    assert_eq!(ids(records.keys()), {
        let mut left = all[6..].to_vec();
        left.sort();
        left
    });
    let (opened, _) = party.open(&world, &ticket).unwrap();
    assert_eq!((opened.records, opened.fell), (2, 0));
    let told: Vec<String> =
        engine.accesses(&all[6]).unwrap().into_iter().map(|a| a.principal).collect();
    assert_eq!(told, [1, 2, 3].map(|run| format!("training set voices 2026, run {run}")));
    assert_eq!(
        engine.report(&user("chloe")).unwrap().sets,
        [],
        "who took the grant back is in no set"
    );
    assert_eq!(
        (engine.training().list().unwrap()[0].runs, engine.training().list().unwrap()[0].members),
        (3, 2)
    );
    // What nobody put in stays out, and a set can be dropped.
    engine.grants(&user("chloe")).add(to_improve(&party)).unwrap();
    assert_eq!(party.open(&world, &ticket).unwrap().0.records, 2);
    engine.training().drop("voices 2026").unwrap();
    assert_eq!(error_kind(party.open(&world, &ticket)), ErrorKind::Absent);
    assert_eq!(engine.report(&user("dora")).unwrap().sets, []);
    assert!(read_record(engine, &all[6]).is_ok());
}

#[test]
fn a_thief_of_every_long_term_key_recovers_nothing_erased_before() {
    let world = World::new(6, SMALL_PAGES);
    let engine = world.engine();
    let party = Party::new(&world);
    engine.create_user(&user("ada")).unwrap();
    let stays = world.put("ben", Class::audio(), b"ben's");
    let (mut envelopes, mut parcels, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    let inbox = engine.inbox(&user("ada")).key().unwrap();
    for n in 0..5 {
        let put = Put::new(user("ada"), Class::audio());
        let mut envelope = Vec::new();
        keyfall::sealed::seal(&put, &bytes(n, 20_000)[..], &inbox, &*world.env, &mut envelope)
            .unwrap();
        engine.accept(&envelope[..]).unwrap();
        envelopes.push(envelope);
    }
    let ticket = engine.grants(&user("ada")).add(grant(&party)).unwrap();
    let set = engine.training().make("voices", &party.public, "to order rides").unwrap();
    let records: Vec<RecordId> =
        engine.list(&Default::default()).unwrap().records.iter().map(|r| r.id).collect();
    let of_ada: Vec<RecordId> = records.into_iter().filter(|id| *id != stays).collect();
    engine.training().add("voices", &of_ada).unwrap();
    for ticket in [&ticket, &set] {
        let (request, fresh) = party.identity.ask(ticket, &*world.env).unwrap();
        let mut parcel = Vec::new();
        assert_eq!(engine.open_request(&request, &mut parcel).unwrap().records, 5);
        // With the fresh key it opens: the grantee had it, and destroyed it.
        unpack(&fresh, &parcel[..], &mut Kept::default()).unwrap();
        parcels.push(parcel);
        requests.push(request);
    }
    assert!(
        world.tape.opened(&world.cell.load().unwrap().keys, &envelopes).iter().all(|open| *open)
    );
    engine.erase(Scope::user(user("ada"))).unwrap();
    // Every byte ever written, every envelope, request and parcel, the cell as it is now, and the
    // grantee's private key.
    let keys = world.cell.load().unwrap().keys;
    assert_eq!(ids(world.tape.exposed_to(&keys).unwrap().keys()), [stays]);
    assert!(world.tape.opened(&keys, &envelopes).iter().all(|open| !open));
    for parcel in &parcels {
        assert_eq!(
            error_kind(unpack(party.identity.opening(), &parcel[..], &mut Kept::default())),
            ErrorKind::Corrupt
        );
    }
    for request in &requests {
        assert_eq!(
            error_kind(engine.open_request(request, Vec::new())),
            if request == &requests[0] { ErrorKind::Erased } else { ErrorKind::Refused }
        );
    }
    // No key of the tree ever left: it stands in no request, parcel or envelope.
    let hoard = world.cell.hoard();
    for root in &hoard {
        let has = |bytes: &Vec<u8>| bytes.windows(32).any(|w| w == root.key.bytes());
        assert!(!envelopes.iter().chain(&parcels).chain(&requests).any(has));
    }
    assert_eq!(world.tape.exposed_to(&hoard).unwrap().len(), 6, "the adversary can see");
}

#[test]
fn a_parcel_that_was_changed_or_cut_short_does_not_open_whole() {
    let world = World::new(7, SMALL_PAGES);
    let party = Party::new(&world);
    for n in 0..3 {
        world.put("ada", Class::audio(), &bytes(n, 30_000));
    }
    let ticket = world.engine().grants(&user("ada")).add(grant(&party)).unwrap();
    let (request, secret) = party.identity.ask(&ticket, &*world.env).unwrap();
    let mut parcel = Vec::new();
    world.engine().open_request(&request, &mut parcel).unwrap();
    for cut in [0, 11, 1000, 1131, 1190, 20_000, parcel.len() - 20, parcel.len() - 1] {
        assert_eq!(
            error_kind(unpack(&secret, &parcel[..cut], &mut Kept::default())),
            ErrorKind::Corrupt,
            "{cut}"
        );
    }
    for at in (0..parcel.len()).step_by(parcel.len() / 40) {
        let mut other = parcel.clone();
        other[at] ^= 0x10;
        assert_eq!(
            error_kind(unpack(&secret, &other[..], &mut Kept::default())),
            ErrorKind::Corrupt,
            "{at}"
        );
    }
}

fn granted_on(engine: &Engine, name: &str) -> usize {
    engine.grants(&user(name)).list().unwrap().len()
}

#[test]
fn a_user_gives_at_most_sixty_four_grants() {
    let world = World::new(8, SMALL_PAGES);
    let party = Party::new(&world);
    world.put("ada", Class::audio(), b"x");
    for _ in 0..64 {
        world.engine().grants(&user("ada")).add(grant(&party)).unwrap();
    }
    assert_eq!(
        error_kind(world.engine().grants(&user("ada")).add(grant(&party))),
        ErrorKind::Limit
    );
    assert_eq!(granted_on(world.engine(), "ada"), 64);
}

#[test]
fn grants_and_training_sets_from_the_command_line() {
    let cli = Cli::new();
    let action = cli.put("ada", "action", b"a ride");
    let audio = cli.put("ada", "audio", &bytes(1, 40_000));
    cli.ok(&["key", "skill"]);
    cli.fails(1, &["key", "skill"]);
    let add = [
        "grant",
        "add",
        "store",
        "--to",
        "skill.pub",
        "--name",
        "Ride skill",
        "--user",
        "ada",
        "--purpose",
        "rides",
    ];
    let ticket = cli.ok(&[&add[..], &["--class", "action"]].concat());
    let ask = |ticket: &str, n: &str| {
        cli.ok(&[
            "ask",
            "--key",
            "skill",
            "--ticket",
            ticket,
            "-o",
            "request",
            "--secret",
            &format!("once{n}"),
        ]);
    };
    ask(&ticket, "1");
    assert!(
        cli.ok(&["grant", "open", "store", "request", "-o", "answer"]).starts_with("1 record (")
    );
    cli.fails(6, &["grant", "open", "store", "request", "-o", "again"]);
    assert!(!cli.path("again").exists());
    cli.fails(5, &["unseal", "--key", "skill", "answer", "out"]);
    cli.ok(&["unseal", "--key", "once1", "answer", "out"]);
    assert!(!cli.path("once1").exists(), "a secret of one request is gone when it was used");
    assert_eq!(std::fs::read(cli.path(&format!("out/records/{action}.bin"))).unwrap(), b"a ride");
    assert_eq!(std::fs::read_dir(cli.path("out/records")).unwrap().count(), 1);
    let report = cli.ok(&["report", "store", "--user", "ada"]);
    assert!(
        report.contains("granted: class action to Ride skill")
            && report.contains("by Ride skill, grant"),
        "{report}"
    );
    let list = cli.ok(&["grant", "list", "store", "--user", "ada", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let id = list["grants"][0]["id"].as_str().unwrap();

    let ticket = cli.ok(&[
        "training",
        "make",
        "store",
        "--name",
        "voices",
        "--to",
        "skill.pub",
        "--purpose",
        "rides",
    ]);
    cli.fails(6, &["training", "add", "store", "--name", "voices", "--user", "ada"]);
    cli.ok(&add);
    assert_eq!(
        cli.ok(&["training", "add", "store", "--name", "voices", "--user", "ada"]),
        "2 records added"
    );
    cli.ok(&["erase", "store", "--record", &action, "--yes"]);
    ask(&ticket, "2");
    assert!(
        cli.ok(&["training", "open", "store", "request", "-o", "answer"]).ends_with("1 fell out")
    );
    assert!(cli.ok(&["training", "list", "store"]).contains("voices"));
    assert!(
        cli.ok(&["report", "store", "--user", "ada", "--html"])
            .contains("1 record in training set voices")
    );
    cli.ok(&["grant", "revoke", "store", "--user", "ada", "--id", id]);
    cli.ok(&["training", "drop", "store", "--name", "voices"]);

    // All of it, sealed to a key of her own.
    cli.ok(&["key", "ada"]);
    cli.ok(&["export", "store", "--user", "ada", "--to", "ada.pub", "all.sealed"]);
    cli.ok(&["unseal", "--key", "ada", "all.sealed", "mine"]);
    assert!(cli.path("ada").exists());
    assert!(
        std::fs::read(cli.path(&format!("mine/records/{audio}.bin"))).unwrap() == bytes(1, 40_000)
    );
    assert!(std::fs::read_to_string(cli.path("mine/report.html")).unwrap().contains(&audio));
    cli.fails(1, &["unseal", "--key", "ada", "all.sealed", "mine"]);
    cli.fails(
        2,
        &[
            "grant",
            "add",
            "store",
            "--to",
            "store.cell/slot-a",
            "--name",
            "x",
            "--user",
            "ada",
            "--purpose",
            "y",
        ],
    );
    cli.fails(2, &["unseal", "--key", "ada.pub", "all.sealed", "other"]);
}

#[test]
fn a_grant_that_ended_at_the_beginning_of_time_opens_nothing() {
    let world = World::new(30, SMALL_PAGES);
    let engine = world.engine();
    let party = Party::new(&world);
    world.put("ada", Class::action(), b"a ride to the station");
    let over = engine.grants(&user("ada")).add(grant(&party).until(Timestamp(0))).unwrap();
    assert_eq!(error_kind(party.open(&world, &over)), ErrorKind::Refused);
    assert_eq!(engine.grants(&user("ada")).list().unwrap()[0].1.until, Some(Timestamp(0)));
    let told = engine.history(&user("ada")).unwrap();
    assert!(matches!(&told[0].1, Fact::Granted { until: Some(Timestamp(0)), .. }), "{told:?}");
    let open = engine.grants(&user("ada")).add(grant(&party)).unwrap();
    assert_eq!(party.open(&world, &open).unwrap().0.records, 1);
}
