//! Uploads: parts that survive restarts, fall with what they were to become, and become a record
//! in one commit. SPEC §5.6.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use keyfall::engine::{CopyMode, Due, Erased, Hold, UploadState, WrongOffset};
use keyfall::env::Env;
use keyfall::store::{MemoryStore, Store};
use keyfall::{
    Class, ErrorKind, InteractionId, Policy, Put, Query, RecordId, Scope, Timestamp, UploadId, When,
};

use crate::support::{DAY, SMALL_PAGES, World, bytes, error_kind, read_record, user};

fn begin(world: &World, name: &str) -> UploadId {
    let put = Put::new(user(name), Class::audio()).media_type("audio/webm").purpose("a reminder");
    world.engine().uploads().begin(put).unwrap()
}

fn append(world: &World, upload: &UploadId, offset: u64, content: &[u8]) -> keyfall::Result<u64> {
    world.engine().uploads().append(upload, offset, content)
}

fn state(world: &World, upload: &UploadId) -> keyfall::Result<UploadState> {
    world.engine().uploads().state(upload)
}

/// What the adversary opens.
fn exposed(world: &World) -> usize {
    world.tape.exposed(&*world.cell).unwrap().len()
}

/// An upload is gone by an erase: nothing goes on with it, and the adversary finds nothing of it.
fn assert_erased(world: &World, upload: &UploadId, what: &str) {
    let kinds = [
        error_kind(state(world, upload)),
        error_kind(append(world, upload, 0, b"more")),
        error_kind(world.engine().uploads().finish(upload)),
        error_kind(world.engine().uploads().abort(upload)),
    ];
    assert_eq!(kinds, [ErrorKind::Erased; 4], "{what}");
}

#[test]
fn parts_become_a_record_when_it_is_finished_and_not_before() {
    let mut world = World::new(1, SMALL_PAGES);
    let began = world.env.now().0;
    for pieces in [&[1usize][..], &[0], &[100, 300, 1], &[700_000, 5, 0, 262_144], &[9_000_000]] {
        let content = bytes(3, pieces.iter().sum());
        let upload = begin(&world, "ada");
        let mut offset = 0;
        for piece in pieces {
            let end = offset + piece;
            let there = append(&world, &upload, offset as u64, &content[offset..end]).unwrap();
            assert_eq!(there, end as u64);
            offset = end;
            world.reopen();
            let state = state(&world, &upload).unwrap();
            assert_eq!((state.offset, state.length), (end as u64, None));
            assert_eq!((&state.class, &state.media_type[..]), (&Class::audio(), "audio/webm"));
            assert_eq!(state.purpose, "a reminder");
            assert_eq!(world.engine().uploads().list(&user("ada")).unwrap(), [state]);
        }
        let listed = world.engine().list(&Query::default()).unwrap().records.len();
        let counted = world.engine().users(None, 9).unwrap()[0].1;
        assert_eq!(counted, listed as u64, "parts are no records");
        let id = world.engine().uploads().finish(&upload).unwrap();
        assert!(read_record(world.engine(), &id).unwrap() == content);
        let info = world.engine().info(&id).unwrap();
        assert_eq!((info.length, &info.media_type[..]), (offset as u64, "audio/webm"));
        assert_eq!((info.class, &info.purpose[..]), (Class::audio(), "a reminder"));
        assert!(info.created.0 > began && info.created <= world.env.now());
        assert_eq!(info.interaction, upload.interaction());
        assert_eq!(error_kind(state(&world, &upload)), ErrorKind::Absent);
        assert_eq!(error_kind(append(&world, &upload, 0, b"x")), ErrorKind::Absent);
        assert_eq!(error_kind(world.engine().uploads().finish(&upload)), ErrorKind::Absent);
        assert!(world.engine().uploads().list(&user("ada")).unwrap().is_empty());
        assert_eq!(world.engine().list(&Query::default()).unwrap().records.len(), listed + 1);
    }
    assert!(world.engine().audit(&[], &mut |_| {}).unwrap().is_clean());
    // The epoch ends, and with it what is known of the parts.
    world.engine().erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(exposed(&world), 0);
}

#[test]
fn an_append_elsewhere_says_where_it_goes_and_of_two_at_once_one_wins() {
    let world = World::new(2, SMALL_PAGES);
    let upload = begin(&world, "ada");
    append(&world, &upload, 0, b"wake me ").unwrap();
    for wrong in [0, 7, 9, u64::MAX] {
        let e = append(&world, &upload, wrong, b"at six").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid);
        let there = e.source().and_then(|e| e.downcast_ref::<WrongOffset>()).unwrap();
        assert_eq!(there.offset, 8);
        assert!(e.to_string().contains("offset 8"), "{e}");
    }
    assert_eq!(append(&world, &upload, 8, b"").unwrap(), 8, "nothing is no part");
    let won: Vec<bool> = std::thread::scope(|s| {
        let threads: Vec<_> =
            (0..4).map(|_| s.spawn(|| append(&world, &upload, 8, b"at six").is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    let id = world.engine().uploads().finish(&upload).unwrap();
    assert_eq!(read_record(world.engine(), &id).unwrap(), b"wake me at six");
}

#[test]
fn a_declared_length_is_kept_to() {
    let world = World::new(3, SMALL_PAGES);
    let put =
        Put::new(user("ada"), Class::audio()).length(10).created(Timestamp(1_700_000_000_000));
    let upload = world.engine().uploads().begin(put).unwrap();
    append(&world, &upload, 0, b"wake").unwrap();
    assert_eq!(state(&world, &upload).unwrap().length, Some(10));
    let e = world.engine().uploads().finish(&upload).unwrap_err();
    assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("4 of 10"), "{e}");
    // What was declared is taken, and no more.
    assert_eq!(error_kind(append(&world, &upload, 4, b" me at six")), ErrorKind::Invalid);
    assert_eq!(state(&world, &upload).unwrap().offset, 10);
    let id = world.engine().uploads().finish(&upload).unwrap();
    assert_eq!(read_record(world.engine(), &id).unwrap(), b"wake me at");
    assert_eq!(world.engine().info(&id).unwrap().created, Timestamp(1_700_000_000_000));
}

/// A reader that fails after what it has.
struct Fails<'a>(&'a [u8]);

impl Read for Fails<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::Error::other("the line is dead")),
            n => Ok(n),
        }
    }
}

#[test]
fn what_came_before_its_reader_failed_is_kept() {
    let world = World::new(4, SMALL_PAGES);
    let (upload, content) = (begin(&world, "ada"), bytes(4, 9_000_000));
    let mut offset = 0;
    for length in [1, 20_000, 8_500_000] {
        let piece = &content[offset..offset + length];
        let appended = world.engine().uploads().append(&upload, offset as u64, Fails(piece));
        assert_eq!(error_kind(appended), ErrorKind::Io);
        offset += length;
        assert_eq!(state(&world, &upload).unwrap().offset, offset as u64);
    }
    append(&world, &upload, offset as u64, &content[offset..]).unwrap();
    let id = world.engine().uploads().finish(&upload).unwrap();
    assert!(read_record(world.engine(), &id).unwrap() == content);
}

#[test]
fn what_comes_whole_is_kept_whole_or_not_at_all() {
    let world = World::new(14, SMALL_PAGES);
    let content = bytes(5, 9_000_000);
    let put = Put::new(user("ada"), Class::audio()).length(9_000_000);
    let upload = world.engine().uploads().begin(put).unwrap();
    let whole = |offset: usize, bytes: &[u8]| {
        world.engine().uploads().append_whole(&upload, offset as u64, bytes)
    };
    let mut offset = 0;
    for length in [1, 20_000, 8_500_000] {
        let piece = &content[offset..offset + length];
        let fails = Fails(piece);
        let failed = world.engine().uploads().append_whole(&upload, offset as u64, fails);
        assert_eq!(error_kind(failed), ErrorKind::Io);
        assert_eq!(state(&world, &upload).unwrap().offset, offset as u64, "nothing was kept");
        assert_eq!(whole(offset, piece).unwrap(), (offset + length) as u64);
        offset += length;
    }
    let e = whole(0, b"x").unwrap_err();
    assert!(e.source().unwrap().is::<WrongOffset>(), "{e}");
    assert_eq!(error_kind(whole(offset, &content)), ErrorKind::Invalid, "more than was declared");
    assert_eq!(whole(offset, b"").unwrap(), offset as u64);
    assert_eq!(whole(offset, &content[offset..]).unwrap(), 9_000_000);
    assert_eq!(error_kind(whole(9_000_000, b"x")), ErrorKind::Invalid);
    let id = world.engine().uploads().finish(&upload).unwrap();
    assert!(read_record(world.engine(), &id).unwrap() == content);
}

#[test]
fn it_falls_with_its_user_its_class_its_interaction_and_a_span() {
    for (n, derived) in (0..8).flat_map(|n| [(n, false), (n, true)]) {
        let world = World::new(5 + n, SMALL_PAGES);
        let engine = world.engine();
        let source = world.put("ben", Class::audio(), b"said");
        let mut put = Put::new(user("ada"), Class::audio());
        if derived {
            put = put.derived_from(source);
        }
        let upload = engine.uploads().begin(put.clone()).unwrap();
        append(&world, &upload, 0, b"short").unwrap();
        append(&world, &upload, 5, &bytes(5, 20_000)).unwrap();
        // Of another class and of another user: they stay.
        let action = engine.uploads().begin(Put::new(user("ada"), Class::action())).unwrap();
        let of_ben = begin(&world, "ben");
        let (now, ada) = (world.env.now(), user("ada"));
        let span = |class| Scope::User {
            user: user("ada"),
            class,
            when: When::Between { from: None, until: Some(Timestamp(now.0 + 1)) },
        };
        let interaction = upload.interaction();
        let (what, scope, takes_action) = match n {
            0 => ("user", Scope::user(ada), true),
            1 => ("class", Scope::class(ada, Class::audio()), false),
            2 => ("interaction", Scope::interaction(ada, interaction), false),
            3 => ("span", span(None), true),
            4 => ("span of a class", span(Some(Class::audio())), false),
            5 => {
                let when = When::Interaction(interaction);
                let class = Some(Class::audio());
                ("class of it", Scope::User { user: ada, class, when }, false)
            }
            6 => ("source", Scope::Record(source), false),
            _ => ("source's user", Scope::user(user("ben")), false),
        };
        let of_sources = n >= 6;
        let erasure = engine.erase(scope).unwrap();
        if of_sources && !derived {
            assert_eq!(state(&world, &upload).unwrap().offset, 20_005);
            continue;
        }
        assert_eq!(erasure.records, Some(u64::from(of_sources)), "{what}: parts are no records");
        assert_erased(&world, &upload, what);
        assert_eq!(state(&world, &action).is_ok(), !takes_action, "{what}");
        assert_eq!(state(&world, &of_ben).is_ok(), n != 7, "{what}");
        let left = usize::from(!of_sources) + usize::from(!takes_action) + usize::from(n != 7);
        assert_eq!(exposed(&world), left, "{what}");
        if !derived && !matches!(n, 0 | 6 | 7) {
            // A new one of the class begins after.
            append(&world, &begin(&world, "ada"), 0, b"again").unwrap();
        }
    }
}

#[test]
fn what_an_erase_keeps_of_a_class_is_its_records() {
    let world = World::new(20, SMALL_PAGES);
    let engine = world.engine();
    let turn = engine.new_interaction().unwrap();
    let put = || Put::new(user("ada"), Class::audio()).interaction(turn);
    let kept = engine.put(put(), &b"kept"[..]).unwrap();
    let upload = engine.uploads().begin(put()).unwrap();
    append(&world, &upload, 0, b"half").unwrap();
    let erase = keyfall::Erase::new(Scope::interaction(user("ada"), turn));
    engine.erase(erase.keep(Class::audio(), "it rings")).unwrap();
    assert_eq!(read_record(engine, &kept).unwrap(), b"kept");
    assert_erased(&world, &upload, "nothing could finish it");
}

#[test]
fn it_expires_with_the_work_that_is_due() {
    let mut world = World::new(21, SMALL_PAGES);
    world.put("ada", Class::audio(), b"stays");
    let upload = begin(&world, "ada");
    append(&world, &upload, 0, b"half").unwrap();
    let expires = state(&world, &upload).unwrap().expires;
    assert_eq!(world.engine().report(&user("ada")).unwrap().next_due, Some(expires));
    assert_eq!(world.engine().status().unwrap().next_due_is, Some(Due::Upload));
    world.pass(23 * 3_600_000);
    assert_eq!(world.tend().uploads, 0);
    append(&world, &upload, 4, b"more").unwrap();
    world.closed_for(3_600_000);
    // The time counts, done or not.
    assert_eq!(error_kind(state(&world, &upload)), ErrorKind::Erased);
    assert_eq!(error_kind(append(&world, &upload, 8, b"more")), ErrorKind::Erased);
    assert_eq!(error_kind(world.engine().uploads().finish(&upload)), ErrorKind::Erased);
    assert_eq!(world.engine().uploads().list(&user("ada")).unwrap().len(), 1);
    assert_eq!((world.tend().uploads, world.tend().uploads), (1, 0));
    assert_erased(&world, &upload, "expired");
    assert!(world.engine().uploads().list(&user("ada")).unwrap().is_empty());
    assert_eq!(exposed(&world), 1);
    assert_eq!(world.engine().report(&user("ada")).unwrap().next_due, None);
}

#[test]
fn how_long_it_lasts_is_set_and_a_policy_may_end_it_sooner() {
    let mut world = World::new(22, SMALL_PAGES);
    world.options = world.options.clone().upload_lasts(10 * DAY);
    world.reopen();
    let upload = begin(&world, "ada");
    let policy = Policy::new(Class::audio()).max_age(3 * DAY);
    world.days_pass(2);
    world.tend();
    assert!(state(&world, &upload).is_ok());
    world.engine().policies(None).set(&policy).unwrap();
    let late = begin(&world, "ben");
    world.days_pass(2);
    assert_eq!(world.tend().uploads, 1);
    assert_erased(&world, &upload, "its record would have passed the limit");
    assert!(state(&world, &late).is_ok());
}

#[test]
fn by_a_clock_that_is_not_believed_none_expires() {
    let world = World::new(23, SMALL_PAGES);
    let upload = begin(&world, "ada");
    world.wrong_by(400 * 86_400_000);
    assert_eq!(world.tend().uploads, 0);
    assert!(append(&world, &upload, 0, b"half").is_ok());
    world.wrong_by(0);
    assert_eq!(world.tend().uploads, 0);
    assert!(state(&world, &upload).is_ok());
}

#[test]
fn a_hold_on_what_it_is_to_become_binds() {
    let world = World::new(24, SMALL_PAGES);
    let engine = world.engine();
    let source = world.put("ben", Class::audio(), b"said");
    let put = Put::new(user("ada"), Class::audio()).derived_from(source);
    let before = engine.uploads().begin(put.clone()).unwrap();
    let hold = Hold::new("a court asks", "a court").class(Class::audio());
    let id = engine.holds(&user("ada")).add(hold).unwrap();
    let after = engine.uploads().begin(put).unwrap();
    for upload in [before, after] {
        append(&world, &upload, 0, b"half").unwrap();
        assert_eq!(error_kind(engine.uploads().abort(&upload)), ErrorKind::Held);
    }
    for scope in [Scope::class(user("ada"), Class::audio()), Scope::Record(source)] {
        assert_eq!(error_kind(engine.erase(scope)), ErrorKind::Held);
    }
    world.days_pass(2);
    let due = world.tend();
    assert_eq!((due.uploads, due.refused), (0, 2));
    let classes = format!("{:?}", engine.history(&user("ada")).unwrap());
    assert!(!classes.contains('+'), "{classes}");
    engine.holds(&user("ada")).lift(id, "it is over", "a court").unwrap();
    world.pass(2 * 3_600_000);
    assert_eq!(world.tend().uploads, 2);
    engine.erase(Scope::Record(source)).unwrap();
    assert_eq!(exposed(&world), 0);
}

#[test]
fn it_is_shown_in_the_report_and_nowhere_as_a_record() {
    let world = World::new(25, SMALL_PAGES);
    let engine = world.engine();
    let source = world.put("ada", Class::transcript(), b"said");
    let put = Put::new(user("ada"), Class::audio()).derived_from(source).length(9);
    let upload = engine.uploads().begin(put).unwrap();
    append(&world, &upload, 0, b"half").unwrap();
    let report = engine.report(&user("ada")).unwrap();
    assert_eq!(report.classes, [(Class::transcript(), 1)]);
    assert_eq!((report.uploads.len(), report.uploads[0].id), (1, upload));
    assert_eq!((report.uploads[0].offset, report.uploads[0].length), (4, Some(9)));
    assert!(engine.lineage(&source).unwrap().derived.is_empty());
    assert_eq!(engine.list(&Query::default().user(user("ada"))).unwrap().records.len(), 1);
    engine.uploads().abort(&upload).unwrap();
    assert_erased(&world, &upload, "given up");
    let report = engine.report(&user("ada")).unwrap();
    assert!(report.uploads.is_empty());
    assert!(report.erased.iter().any(|e| matches!(e, Erased::Single { number: 1, .. })));
    // The record that it becomes depends on the source.
    let put = Put::new(user("ada"), Class::audio()).derived_from(source);
    let upload = engine.uploads().begin(put).unwrap();
    append(&world, &upload, 0, b"whole").unwrap();
    let id = engine.uploads().finish(&upload).unwrap();
    assert_eq!(engine.lineage(&source).unwrap().derived, [id]);
    assert_eq!(engine.lineage(&id).unwrap().sources, [source]);
    assert_eq!(engine.erase(Scope::Record(source)).unwrap().derived, 1);
    assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
    assert_eq!(exposed(&world), 0);
}

#[test]
fn many_in_one_interaction_keep_apart() {
    let world = World::new(26, SMALL_PAGES);
    let engine = world.engine();
    let turn = engine.new_interaction().unwrap();
    let put = || Put::new(user("ada"), Class::audio()).interaction(turn);
    let uploads: Vec<UploadId> = (0..40).map(|_| engine.uploads().begin(put()).unwrap()).collect();
    for (n, upload) in uploads.iter().enumerate() {
        for part in 0..n as u64 % 5 {
            append(&world, upload, part, &[n as u8]).unwrap();
        }
    }
    let ids: BTreeSet<UploadId> = uploads.iter().copied().collect();
    let listed = engine.uploads().list(&user("ada")).unwrap();
    assert_eq!(listed.iter().map(|it| it.id).collect::<BTreeSet<_>>(), ids);
    for (n, upload) in uploads.iter().enumerate() {
        let text = upload.to_string();
        assert_eq!((text.len(), text.parse::<UploadId>().unwrap()), (77, *upload));
        if n % 3 == 0 {
            engine.uploads().abort(upload).unwrap();
        } else {
            let id = engine.uploads().finish(upload).unwrap();
            assert_eq!(read_record(engine, &id).unwrap(), vec![n as u8; n % 5]);
        }
    }
    assert!(engine.uploads().list(&user("ada")).unwrap().is_empty());
    let bad: keyfall::Result<UploadId> =
        RecordId::to_string(&world.put("ada", Class::audio(), b"x")).parse();
    assert_eq!(error_kind(bad), ErrorKind::Invalid);
}

#[test]
fn what_may_not_be_put_is_not_begun_nor_gone_on_with() {
    let world = World::new(27, SMALL_PAGES);
    let engine = world.engine();
    let turn = engine.new_interaction().unwrap();
    engine.erase(Scope::interaction(user("ada"), turn)).unwrap();
    let put = Put::new(user("ada"), Class::audio());
    assert_eq!(
        error_kind(engine.uploads().begin(put.clone().interaction(turn))),
        ErrorKind::Erased
    );
    let ahead = InteractionId::from_parts(world.in_days(3), [1; 10]);
    assert_eq!(
        error_kind(engine.uploads().begin(put.clone().interaction(ahead))),
        ErrorKind::Invalid
    );
    let upload = engine.uploads().begin(put.clone()).unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    engine.create_user(&user("ada")).unwrap();
    assert_erased(&world, &upload, "of a former life");
    // In the middle of an append and of a finish.
    let upload = engine.uploads().begin(put).unwrap();
    append(&world, &upload, 0, &bytes(1, 300_000)).unwrap();
    let erasing = Erases(&world, 3);
    assert_eq!(error_kind(engine.uploads().append(&upload, 300_000, erasing)), ErrorKind::Erased);
    assert_eq!(exposed(&world), 0);
}

/// A reader in the middle of which the class is erased.
struct Erases<'w>(&'w World, u8);

impl Read for Erases<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 -= 1;
        if self.1 == 1 {
            let scope = Scope::class(user("ada"), Class::audio());
            self.0.engine().erase(scope).map_err(io::Error::from)?;
        }
        out[0] = 7;
        Ok(usize::from(self.1 > 0))
    }
}

/// What was finished leaves no trace: a backup from before was taken for one that another place of
/// the store had written to.
#[test]
fn a_backup_from_before_it_was_finished_can_be_brought_up() {
    let world = World::new(29, SMALL_PAGES);
    let (engine, backup) = (world.engine(), MemoryStore::new());
    let upload = begin(&world, "ada");
    append(&world, &upload, 0, b"short").unwrap();
    engine.backup(&backup, &mut |_| {}).unwrap();
    engine.uploads().finish(&upload).unwrap();
    engine.discard(&mut |_| {}).unwrap();
    engine.backup(&backup, &mut |_| {}).unwrap();
}

/// A copy that is behind has the parts of an upload that became a record since: an audit took them
/// for what an erase had left.
#[test]
fn an_audit_knows_the_parts_of_what_became_a_record() {
    let world = World::new(29, SMALL_PAGES);
    let engine = world.engine();
    let upload = begin(&world, "ada");
    append(&world, &upload, 0, &bytes(2, 50_000)).unwrap();
    engine.copies().add("there", CopyMode::Behind, &mut |_| {}).unwrap();
    let there: [Arc<dyn Store>; 1] = [world.place("there")];
    let id = engine.uploads().finish(&upload).unwrap();
    let audit = engine.audit(&there, &mut |_| {}).unwrap();
    assert!(audit.is_clean() && audit.places[0].superseded > 0, "{audit:?}");
    engine.erase(Scope::Record(id)).unwrap();
    let audit = engine.audit(&there, &mut |_| {}).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(exposed(&world), 0);
}

#[test]
fn parts_go_to_copies_and_come_back_with_them() {
    let world = World::new(28, SMALL_PAGES);
    let engine = world.engine();
    engine.copies().add("there", CopyMode::InStep, &mut |_| {}).unwrap();
    let upload = begin(&world, "ada");
    append(&world, &upload, 0, &bytes(2, 50_000)).unwrap();
    let there: [Arc<dyn Store>; 1] = [world.place("there")];
    engine.copies().check_restore(&there, &mut |_| {}).unwrap();
    let id = engine.uploads().finish(&upload).unwrap();
    engine.copies().check_restore(&there, &mut |_| {}).unwrap();
    engine.discard(&mut |_| {}).unwrap();
    assert_eq!(read_record(engine, &id).unwrap(), bytes(2, 50_000));
    assert_eq!(Duration::from_secs(24 * 3600), world.options.upload_lasts);
}
