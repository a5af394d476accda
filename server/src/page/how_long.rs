//! How long things are kept: each choice does what it says, with a clock that is put forward.

use std::path::Path;
use std::sync::Arc;

use keyfall::certificate::Certificate;
use keyfall::{Builder, Class, ErrorKind, Put, Query, RecordId, UserId};

use super::desk::Role;
use super::trial::{Ahead, DAY, Session, between, count, get, passes, service, somebody, text};
use crate::app::App;

const MINUTE: u64 = 60_000;

/// A choice, and how long it keeps: whether it is there just before, and gone just after.
const CHOICES: [(&str, u64); 3] = [("nothing", 10 * MINUTE), ("day", DAY), ("months", 92 * DAY)];

/// Puts something, and gives its id.
async fn put(app: &App, user: &UserId, class: &str) -> RecordId {
    let put = Put::new(user.clone(), Class::new(class).unwrap());
    app.engine().run(move |engine| engine.put(put, &b"set a timer"[..])).await.unwrap()
}

/// Whether a record can be read.
async fn is_there(app: &App, id: RecordId) -> bool {
    match app.engine().run(move |engine| engine.get(&id).map(|_| ())).await {
        Ok(()) => true,
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Erased);
            false
        }
    }
}

/// Which choices a page lets somebody make, and which one is made.
fn choices(page: &str) -> Vec<(String, bool, bool)> {
    let inputs = page.split("<input type=\"radio\" name=\"keep\"").skip(1);
    let input = |rest: &str| {
        let (input, _) = rest.split_once('>').unwrap();
        let name = between(input, "value=\"", "\"").unwrap().to_owned();
        (name, !input.contains("disabled"), input.contains("checked"))
    };
    inputs.map(input).collect()
}

fn made(page: &str) -> Vec<String> {
    choices(page).into_iter().filter(|choice| choice.2).map(|choice| choice.0).collect()
}

fn open(page: &str) -> Vec<String> {
    choices(page).into_iter().filter(|choice| choice.1).map(|choice| choice.0).collect()
}

/// It holds for what is there, for what comes, and for kinds of which nothing was there.
#[tokio::test]
async fn each_of_the_four_choices_keeps_as_long_as_it_says() {
    for (name, ms) in CHOICES {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
        let (app, _) = service(dir.path(), &clock).await;
        let ada = somebody(&app, "ada").await;
        let letter = put(&app, &ada, "letter").await;
        let session = Session::enter(&app, &ada).await;
        let form = session.get(&app, "/page/keep").await;
        let names: Vec<_> = choices(&form).into_iter().map(|choice| choice.0).collect();
        assert_eq!(names, ["nothing", "day", "months", "open"]);
        assert_eq!(made(&form), ["open"]);
        let done = text(session.post(&app, "/page/keep", &format!("keep={name}")).await).await;
        assert!(done.contains("From now on: "), "{done}");
        assert_eq!(made(&session.get(&app, "/page/keep").await), [name]);
        passes(&app, &clock, ms / 2).await;
        let later = put(&app, &ada, "audio").await;
        passes(&app, &clock, ms / 2 - MINUTE).await;
        assert!(is_there(&app, letter).await && is_there(&app, later).await, "{name}: before");
        passes(&app, &clock, 2 * MINUTE).await;
        assert!(!is_there(&app, letter).await, "{name}: after");
        assert!(is_there(&app, later).await, "{name}: it counts from when each was said");
        passes(&app, &clock, ms / 2).await;
        assert!(!is_there(&app, later).await, "{name}: what came later");
        for class in ["audio", "transcript", "letter"] {
            assert_eq!(count(&app, &ada, class).await, 0, "{name}: {class}");
        }
    }
}

#[tokio::test]
async fn what_only_the_person_ends_is_there_after_ten_years() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "ada").await;
    let session = Session::enter(&app, &ada).await;
    for choice in ["months", "open"] {
        let done = session.post(&app, "/page/keep", &format!("keep={choice}")).await;
        assert!(text(done).await.contains("From now on: "));
    }
    passes(&app, &clock, 3650 * DAY).await;
    assert_eq!(count(&app, &ada, "audio").await, 1);
}

/// What is older than the choice goes at once: that is said first, with how much it is.
#[tokio::test]
async fn what_goes_at_once_is_said_before_it_goes() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "ada").await;
    passes(&app, &clock, 2 * DAY).await;
    let young = put(&app, &ada, "audio").await;
    let session = Session::enter(&app, &ada).await;
    let asked = text(session.post(&app, "/page/keep", "keep=day").await).await;
    assert!(asked.contains("2 things are older than that"), "{asked}");
    assert_eq!(count(&app, &ada, "audio").await, 2);
    assert_eq!(made(&session.get(&app, "/page/keep").await), ["open"], "nothing was set");
    let done = text(session.post(&app, "/page/keep", "keep=day&sure=1").await).await;
    assert!(done.contains("From now on: 1 day."), "{done}");
    assert_eq!(count(&app, &ada, "audio").await, 1);
    assert_eq!(count(&app, &ada, "transcript").await, 0);
    assert!(is_there(&app, young).await);
    // A choice that is none changes nothing.
    session.post(&app, "/page/keep", "keep=century").await;
    assert_eq!(made(&session.get(&app, "/page/keep").await), ["day"]);
}

/// A child could lengthen what was kept for a shorter time than something else of theirs.
#[tokio::test]
async fn a_child_can_have_no_kind_kept_longer() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let kim = somebody(&app, "kim").await;
    put(&app, &kim, "letter").await;
    for class in ["audio", "letter"] {
        let of = kim.clone();
        let hour = std::time::Duration::from_secs(3600);
        let policy = keyfall::Policy::new(Class::new(class).unwrap()).max_age(hour);
        app.engine().run(move |engine| engine.policies(Some(&of)).set(&policy)).await.unwrap();
        let child = Session::enter_as(&app, &kim, Role::Child).await;
        assert_eq!(open(&child.get(&app, "/page/keep").await), ["nothing"], "{class}");
        child.post(&app, "/page/keep", "keep=day&sure=1").await;
        let of = kim.clone();
        let set = app.engine().run(move |engine| engine.policies(Some(&of)).list()).await.unwrap();
        assert!(set.iter().all(|policy| policy.max_age == Some(hour)), "{set:?}");
        let of = kim.clone();
        let unset = Class::new(class).unwrap();
        app.engine().run(move |e| e.policies(Some(&of)).unset(&unset, None)).await.unwrap();
    }
}

/// What the service keeps at most is not the person's to lengthen.
#[tokio::test]
async fn nothing_is_kept_longer_than_the_service_keeps_anything() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "ada").await;
    let month = std::time::Duration::from_millis(30 * DAY);
    let session = Session::enter(&app, &ada).await;
    for (class, nothing, open_ended) in [
        (Class::audio(), false, false),
        (Class::transcript(), false, false),
        (Class::action(), true, true),
    ] {
        let policy = keyfall::Policy::new(class).max_age(month);
        app.engine().run(move |engine| engine.policies(None).set(&policy)).await.unwrap();
        let form = session.get(&app, "/page/keep").await;
        assert_eq!(open(&form), ["nothing", "day", "open"]);
        assert_eq!(
            form.contains("This service does not keep anything that long."),
            nothing,
            "{form}"
        );
        assert_eq!(form.contains("does not keep every kind that long."), !nothing, "{form}");
        assert_eq!(form.contains("As long as this service keeps anything"), open_ended, "{form}");
    }
    let form = session.get(&app, "/page/keep").await;
    assert!(form.contains("As long as this service keeps anything: 30 days."), "{form}");
    session.post(&app, "/page/keep", "keep=months&sure=1").await;
    let done = text(session.post(&app, "/page/keep", "keep=open").await).await;
    assert!(done.contains("From now on: 30 days."), "{done}");
    assert_eq!(made(&session.get(&app, "/page/keep").await), ["open"]);
    passes(&app, &clock, 30 * DAY - MINUTE).await;
    assert_eq!(count(&app, &ada, "audio").await, 1);
    passes(&app, &clock, 2 * MINUTE).await;
    assert_eq!(count(&app, &ada, "audio").await, 0);
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let place = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copied(&file.path(), &place);
        } else {
            std::fs::copy(file.path(), place).unwrap();
        }
    }
}

/// It was said to be kept until the person erases it, and went the next day with its source.
#[tokio::test]
async fn what_was_derived_is_said_to_be_kept_as_long_as_its_source() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let kim = somebody(&app, "kim").await;
    let guardian = Role::Guardian("Erika Muster".to_owned());
    let guardian = Session::enter_as(&app, &kim, guardian).await;
    guardian.post(&app, "/page/keep", "keep=day&child=1").await;
    let said = put(&app, &kim, "audio").await;
    passes(&app, &clock, DAY / 4).await;
    let summary = Put::new(kim.clone(), Class::new("summary").unwrap()).derived_from(said);
    let derived = app.engine().run(move |engine| engine.put(summary, &b"a timer"[..]));
    let derived = derived.await.unwrap();
    let child = Session::enter_as(&app, &kim, Role::Child).await;
    let list = child.get(&app, "/page").await;
    assert!(list.contains("summary") && !list.contains("Kept until you erase it"), "{list}");
    passes(&app, &clock, DAY * 3 / 4 + MINUTE).await;
    assert!(!is_there(&app, derived).await);
}

/// Story 7: my child's words for a day at most.
#[tokio::test]
async fn what_a_child_says_is_kept_for_a_day_and_the_guardian_answers_for_it() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let kim = somebody(&app, "kim").await;
    let guardian = Role::Guardian("Erika Muster".to_owned());
    let guardian = Session::enter_as(&app, &kim, guardian).await;
    let form = guardian.get(&app, "/page/keep").await;
    assert!(form.contains("Make this a child’s profile"), "{form}");
    let done = text(guardian.post(&app, "/page/keep", "keep=day&child=1").await).await;
    assert!(done.contains("a child’s profile now: a day at most."), "{done}");

    // The guardian sees, hears, exports and erases; the certificate says so.
    let page = guardian.get(&app, "/page").await;
    assert!(
        page.contains("What we keep about kim") && page.contains("which you look after"),
        "{page}"
    );
    let audio = between(&page, "<audio controls preload=\"none\" src=\"", "\"").unwrap();
    let heard = get(&app, audio, &guardian.cookie).await;
    assert_eq!(text(heard).await, "set a timer");
    let file = get(&app, "/page/export.zip", &guardian.cookie).await;
    assert_eq!(file.headers()["content-type"], "application/zip");
    let erased = guardian.post(&app, "/page/erase/now", "class=audio").await;
    let to = erased.headers()["location"].to_str().unwrap();
    let said = guardian.get(&app, to).await;
    assert!(said.contains("1 recording"), "{said}");
    let proofs = guardian.proofs(&app).await;
    let proof: Certificate = proofs[0].parse().unwrap();
    assert_eq!(proof.facts.body.authority, "guardian: Erika Muster");

    // The child hears and erases, and cannot lengthen it.
    let said = put(&app, &kim, "audio").await;
    let child = Session::enter_as(&app, &kim, Role::Child).await;
    let form = child.get(&app, "/page/keep").await;
    assert_eq!(open(&form), ["nothing", "day"]);
    assert!(form.contains("Only the person who looks after this profile can make it longer."));
    assert!(!form.contains("Make this a child’s profile"));
    for longer in ["months", "open"] {
        child.post(&app, "/page/keep", &format!("keep={longer}&sure=1")).await;
        assert_eq!(made(&child.get(&app, "/page/keep").await), ["day"], "{longer}");
    }

    // After a day and ten minutes nothing of it is readable, in the store or in a copy of before.
    let before = dir.path().join("before.db");
    copied(&dir.path().join("a.db"), &before);
    passes(&app, &clock, DAY + 10 * MINUTE).await;
    assert!(!is_there(&app, said).await);
    let query = Query::default().user(kim.clone());
    let left = app.engine().run(move |engine| engine.list(&query)).await.unwrap().records;
    assert!(left.iter().all(|info| info.class.as_str() == "certificate"), "{left:?}");
    let page = guardian.get(&app, "/page").await;
    assert!(page.contains("Nothing is kept."), "{page}");
    drop((app, guardian, child));
    let cell = dir.path().join("a.db.cell");
    let old = Builder::at(before).cell_at(cell).accept_remnants().take_over();
    let old = old.wait_for_lock(std::time::Duration::from_secs(20)).open();
    assert!(old.is_err(), "the keys of the copy are destroyed");
}
