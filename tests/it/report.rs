//! The report shows all that is kept about a user; the export contains all of it, byte for byte.
//! SPEC §6.3.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::cell::FileCell;
use keyfall::engine::{CopyMode, Erased, Fact, Grant, Hold};
use keyfall::env::{Env, System};
use keyfall::sealed::Identity;
use keyfall::testing::secrets;
use keyfall::{
    Class, Engine, Erase, Error, ErrorKind, Policy, Put, Query, RecordId, Scope, Timestamp,
};

use crate::command_line::Cli;
use crate::support::{SMALL_PAGES, World, bytes, error_kind, open_files, user};

fn put(engine: &Engine, name: &str, class: Class, sources: &[RecordId]) -> RecordId {
    let put = Put::new(user(name), class).purpose("to be useful");
    engine.put(sources.iter().fold(put, |put, id| put.derived_from(*id)), &b"content"[..]).unwrap()
}

/// Every kind of page below a user's, and where the report shows what is in it.
fn shown(engine: &Engine, name: &str, page: &str) -> bool {
    let report = engine.report(&user(name)).unwrap();
    let records = engine.list(&Query::default().user(user(name))).unwrap().records;
    match page {
        "User" => report.user == user(name),
        "Class" => {
            report.classes.iter().map(|(_, n)| n).sum::<u64>() == records.len() as u64
                && !records.is_empty()
        }
        "Fences" => !report.erased.is_empty(),
        "Lineage" => records.iter().any(|r| {
            let lineage = engine.lineage(&r.id).unwrap();
            r.detached || !lineage.sources.is_empty() || !lineage.derived.is_empty()
        }),
        "History" => !report.history.is_empty(),
        "Holds" => !report.holds.is_empty(),
        "Marks" => report.needed > 0,
        "Plans" => !report.plans.is_empty() && report.next_due.is_some(),
        "Inbox" => report.inbox_keys.len() == 1 && report.accepted == 0,
        "Grants" => report.grants.len() == 1,
        "Policies" => !report.policies.is_empty(),
        "Names" => records.iter().any(|r| r.name.is_some()),
        "Labels" => records.iter().any(|r| !r.meta.is_empty()),
        _ => false,
    }
}

#[test]
fn a_report_lists_all_of_it() {
    let world = World::new(1, SMALL_PAGES);
    let engine = world.engine();
    engine.copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    let audio = put(engine, "ada", Class::audio(), &[]);
    // So long that its class has a page of its own.
    let long = Put::new(user("ada"), Class::transcript()).purpose("to be useful ".repeat(19));
    let text = engine.put(long.derived_from(audio), &b"content"[..]).unwrap();
    // And so long a label that its trees have pages of their own.
    let action = Put::new(user("ada"), Class::action()).name("lists/milk ".repeat(20));
    let action = action.meta("skill", "lists ".repeat(40));
    let action = engine.put(action.derived_from(text), &b"content"[..]).unwrap();
    let of_ben = put(engine, "ben", Class::new("profile").unwrap(), &[action]);
    let gone = put(engine, "ada", Class::audio(), &[]);
    engine.detach(&text, "it is a list").unwrap();
    engine.erase(Scope::Record(gone)).unwrap();
    engine.erase(Scope::class(user("ada"), Class::audio())).unwrap();
    let id = engine
        .holds(&user("ada"))
        .add(Hold::new("a court asks", "Amtsgericht").class(Class::transcript()))
        .unwrap();
    engine.holds(&user("ben")).add(Hold::new("a court asks", "Amtsgericht")).unwrap();
    assert_eq!(error_kind(engine.erase(Scope::Record(text))), ErrorKind::Held);
    engine
        .erase(
            Erase::new(Scope::user(user("ada")))
                .keep(Class::transcript(), "held")
                .keep(Class::action(), "held"),
        )
        .unwrap();

    engine.erase_at(Scope::user(user("ada")), Timestamp(world.env.now().0 + 1000)).unwrap();
    engine.policies(Some(&user("ada"))).set(&Policy::new(Class::audio()).max_records(9)).unwrap();

    engine.inbox(&user("ada")).key().unwrap();
    let party = Identity::new(&*world.env).unwrap().public().unwrap();
    engine.grants(&user("ada")).add(Grant::new(&party, "a skill", "to help")).unwrap();
    engine.training().make("voices", &party, "to help").unwrap();
    engine.training().add("voices", &[action]).unwrap();

    // What the tree holds about her, and nothing of it missing.
    let mut pages = BTreeSet::new();
    let mut records = 0;
    for (what, _) in secrets(engine, &user("ada"), None).unwrap() {
        match what.strip_suffix(" page key") {
            Some("root") | None => records += u64::from(what == "record secret"),
            Some(page) => {
                pages.insert(page.to_owned());
            }
        }
    }
    let all = [
        "Class", "Fences", "Grants", "History", "Holds", "Inbox", "Labels", "Lineage", "Marks",
        "Names", "Plans", "Policies", "User",
    ];
    assert_eq!(pages, all.map(str::to_owned).into(), "the test has made one of each");
    for page in &pages {
        assert!(shown(engine, "ada", page), "the report does not show {page}");
    }
    let report = engine.report(&user("ada")).unwrap();
    assert_eq!(report.classes.iter().map(|(_, n)| n).sum::<u64>(), records);
    assert_eq!(report.sets, [("voices".to_owned(), 1)]);
    assert_eq!((report.life, report.needed, report.holds[0].0), (1, 2, id));
    assert_eq!(report.copies[0].entry.place, "replica");
    assert!(
        report
            .history
            .iter()
            .any(|(_, f)| matches!(f, Fact::Detached { reason, .. } if reason == "it is a list"))
    );
    assert!(report.history.iter().any(|(_, f)| matches!(f, Fact::Refused { .. })));
    assert!(report.erased.iter().any(|e| matches!(e, Erased::Single { number: 1, .. })));
    assert!(
        report.erased.iter().any(|e| matches!(e, Erased::Span { class: Some(None), .. })),
        "{:?}",
        report.erased
    );
    let exposed: BTreeSet<RecordId> =
        world.tape.exposed(&*world.cell).unwrap().into_keys().collect();
    assert_eq!(exposed, BTreeSet::from([text, action, of_ben]));
    assert_eq!(error_kind(engine.report(&user("nobody"))), ErrorKind::Absent);
}

#[test]
fn the_openings_of_a_record_are_known_as_long_as_the_record() {
    let mut world = World::new(2, SMALL_PAGES);
    let audio = put(world.engine(), "ada", Class::audio(), &[]);
    let text = put(world.engine(), "ada", Class::transcript(), &[audio]);
    for n in 0..30 {
        let mut reader = world
            .engine()
            .get_as(&text, &format!("analyst {}", n % 3), "to improve the models")
            .unwrap();
        assert!(reader.read_some(&mut [0; 9]).unwrap() > 0);
    }
    for (who, why) in [("", "why"), (" ", "why"), ("who", " "), (&"w".repeat(81)[..], "why")] {
        assert_eq!(error_kind(world.engine().get_as(&text, who, why)), ErrorKind::Invalid);
    }
    world.reopen();
    let engine = world.engine();
    let accesses = engine.accesses(&text).unwrap();
    let told: Vec<&str> = accesses.iter().map(|a| a.principal.as_str()).collect();
    assert_eq!(
        told,
        (0..30).map(|n| ["analyst 0", "analyst 1", "analyst 2"][n % 3]).collect::<Vec<_>>()
    );
    assert!(accesses.is_sorted_by_key(|a| a.at) && accesses[0].purpose == "to improve the models");
    assert!(engine.accesses(&audio).unwrap().is_empty());
    // It stands among the links, and is none.
    assert_eq!(engine.lineage(&text).unwrap().sources, vec![audio]);
    assert_eq!(engine.erase(Scope::Record(audio)).unwrap().derived, 1);
    assert_eq!(error_kind(engine.accesses(&text)), ErrorKind::Erased);
    assert_eq!(error_kind(engine.get_as(&text, "analyst", "too late")), ErrorKind::Erased);
    let left = secrets(engine, &user("ada"), None).unwrap();
    assert!(
        left.iter().all(|(what, _)| what != "Lineage page key"),
        "no record of its readers is kept"
    );
}

#[test]
fn an_export_is_all_of_it_in_files() {
    let cli = Cli::new();
    let content = bytes(5, 100_000);
    let audio = cli.put("ada", "audio", &content);
    std::fs::write(cli.path("said.txt"), "<b>wake me</b>").unwrap();
    let arguments = [
        "put",
        "store",
        "--user",
        "ada",
        "--class",
        "transcript",
        "--type",
        "text/plain; charset=utf-8",
    ];
    let text = cli
        .ok(&[&arguments[..], &["--purpose", "<script>", "--from", &audio, "said.txt"]].concat());
    cli.put("ben", "audio", b"his own");
    cli.ok(&["export", "store", "--user", "ada", "out"]);
    assert_eq!(std::fs::read(cli.path(&format!("out/records/{audio}.bin"))).unwrap(), content);
    assert_eq!(
        std::fs::read(cli.path(&format!("out/records/{text}.txt"))).unwrap(),
        b"<b>wake me</b>"
    );
    assert_eq!(std::fs::read_dir(cli.path("out/records")).unwrap().count(), 2);
    let told: serde_json::Value =
        serde_json::from_slice(&std::fs::read(cli.path("out/report.json")).unwrap()).unwrap();
    assert_eq!(told["records"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&told["records"][1]["derived_from"][0], &told["records"][1]["purpose"]),
        (&audio.clone().into(), &"<script>".into())
    );
    assert_eq!(
        told,
        serde_json::from_str::<serde_json::Value>(
            &cli.ok(&["report", "store", "--user", "ada", "--json"])
        )
        .unwrap()
    );
    let page = std::fs::read_to_string(cli.path("out/report.html")).unwrap();
    assert!(
        page.contains(&audio) && page.contains("&lt;script&gt;") && !page.contains("<script"),
        "{page}"
    );
    assert_eq!(page.trim(), cli.ok(&["report", "store", "--user", "ada", "--html"]));
    cli.ok(&["get", "store", &text, "--as", "analyst", "--purpose", "to count words"]);
    cli.fails(2, &["get", "store", &text, "--as", "analyst"]);
    let told = cli.ok(&["report", "store", "--user", "ada"]);
    assert!(told.contains("by analyst, for to count words"), "{told}");
    assert!(!page.contains("http"), "it needs nothing from elsewhere");
    assert!(cli.ok(&["report", "store", "--user", "ada"]).contains("derived from 1"));
    cli.fails(1, &["export", "store", "--user", "ada", "out"]);
    cli.fails(6, &["export", "store", "--user", "ada", "store/inside"]);
    cli.fails(4, &["report", "store", "--user", "nobody"]);
    let engine = open_files(&cli.path("store"), &cli.path("store.cell")).unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    drop(engine);
    cli.fails(3, &["report", "store", "--user", "ada"]);
}

/// What waited for a copy was told by `status` alone.
#[test]
fn a_report_and_an_audit_call_nothing_final_while_a_copy_in_step_is_away() {
    let mut world = World::new(3, SMALL_PAGES);
    let id = world.put("ada", Class::audio(), b"x");
    world.put("ada", Class::transcript(), b"y");
    world.engine().copies().add("near", CopyMode::InStep, &mut |_| {}).unwrap();
    let down = Arc::new(AtomicBool::new(true));
    let (flag, whole) = (Arc::clone(&down), Arc::clone(&world.options.open_copy));
    world.options.open_copy = Arc::new(move |place, create| {
        if flag.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, format!("{place} is down")));
        }
        whole(place, create)
    });
    world.reopen();
    let engine = world.engine();
    let (report, audit) =
        (engine.report(&user("ada")).unwrap(), engine.audit(&[], &mut |_| {}).unwrap());
    assert!(report.finality.to_string().contains("near"), "{}", report.finality);
    assert!(!audit.is_clean() && !audit.finality.is_final(), "{audit:?}");
    assert!(!engine.status().unwrap().finality.is_final());
    down.store(false, Ordering::SeqCst);
    engine.erase(Scope::Record(id)).unwrap();
    assert!(engine.report(&user("ada")).unwrap().finality.is_final());
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

/// A look at a cell that held the old root key still said "final", and an audit over it found
/// nothing pending.
#[test]
fn a_look_at_a_cell_with_two_root_keys_says_pending() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"x");
    cli.put("ben", "audio", b"y");
    let slot = cli.path("store.cell/slot-a");
    let old = std::fs::read(&slot).unwrap();
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    assert_ne!(std::fs::read(&slot).unwrap(), old, "the next key is in the other slot");
    // The machine died before the old key was destroyed.
    std::fs::write(&slot, &old).unwrap();
    let status = || {
        serde_json::from_str::<serde_json::Value>(&cli.ok(&["status", "store", "--json"])).unwrap()
    };
    {
        // Nobody can complete the erase now: a command only looks.
        let _held = FileCell::open(&cli.path("store.cell"), Arc::new(System)).unwrap();
        let told = status();
        assert_eq!((&told["final"], &told["settled"]), (&false.into(), &false.into()), "{told}");
        assert!(cli.ok(&["status", "store"]).contains("pending"));
        for form in [
            &["report", "store", "--user", "ben"][..],
            &["report", "store", "--user", "ben", "--html"],
        ] {
            let told = cli.ok(form);
            assert!(told.contains("pending; `keyfall tend store` completes it"), "{told}");
        }
        assert!(cli.ok(&["audit", "store"]).contains("pending"));
    }
    cli.ok(&["tend", "store"]);
    let told = status();
    assert_eq!(
        (&told["final"], &told["settled"]),
        (&true.into(), &true.into()),
        "it was completed: {told}"
    );
    assert!(cli.ok(&["audit", "store"]).contains("clean: "));
}
