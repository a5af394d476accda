//! How long it is kept: a choice of four.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use keyfall::engine::Report;
use keyfall::{Class, Engine, Error, Policy, UserId};
use maud::{Markup, html};

use super::desk::Role;
use super::frame::{HOW_LONG, Icon, heading, icon};
use super::inside::{csrf, failed, page};
use super::kept::gone;
use super::visit::{Filled, Visit, here};
use super::words::Words;
use crate::app::App;

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// The choices: their names, and how long each keeps; `None` has no end.
const CHOICES: [(&str, Option<u64>); 4] = [
    ("nothing", Some(10 * MINUTE)),
    ("day", Some(DAY)),
    ("months", Some(92 * DAY)),
    ("open", None),
];

/// What holds now.
struct Kept {
    /// For how long at most, of each class: of the person's own policies or the store's.
    now: Vec<Option<Duration>>,
    /// For how long the store keeps anything at most, if it says so of a class.
    store: Option<Duration>,
}

/// Asks how long.
pub(crate) async fn ask(State(app): State<App>, visit: Visit) -> Response {
    let user = visit.user().clone();
    match app.engine().run(move |engine| kept(engine, &user)).await {
        Ok(kept) => page(&visit, HOW_LONG, &visit.words.say("keep-title"), &form(&visit, &kept)),
        Err(e) => failed(&visit, &e),
    }
}

/// Sets it; says first what would go at once.
pub(crate) async fn set(State(app): State<App>, filled: Filled) -> Response {
    let visit = filled.visit.clone();
    let choice = filled.field("keep").unwrap_or_default().to_owned();
    let Some((name, age)) = CHOICES.into_iter().find(|(name, _)| *name == choice) else {
        return ask(State(app), visit).await;
    };
    let age = age.map(Duration::from_secs);
    let user = visit.user().clone();
    let child = visit.session.grant.role == Role::Child;
    let (sure, grant) = (filled.field("sure").is_some(), visit.session.grant.clone());
    let set = app.engine().run(move |engine| {
        here(engine, &grant)?;
        let kept = kept(engine, &user)?;
        if !allowed(age, &kept, child) {
            return Ok((kept, None));
        }
        let age = age.or(kept.store);
        let policies = policies(engine, &user, age)?;
        let mut falls = 0;
        for policy in &policies {
            falls += engine.policies(Some(&user)).would_expire(policy)?;
        }
        if falls > 0 && !sure {
            return Ok((kept, Some(falls)));
        }
        for policy in &policies {
            engine.policies(Some(&user)).set(policy)?;
        }
        engine.run_due(&mut |_| {})?;
        Ok((kept, Some(0)))
    });
    let title = visit.words.say("keep-title");
    match set.await {
        Err(e) => failed(&visit, &e),
        Ok((kept, None)) => page(&visit, HOW_LONG, &title, &form(&visit, &kept)),
        Ok((kept, Some(0))) => {
            let said = match filled.field("child") {
                Some(_) => visit.words.say("child-done"),
                None => chosen(visit.words, name, &kept),
            };
            page(&visit, HOW_LONG, &title, &done(&visit, &said, &title))
        }
        Ok((_, Some(falls))) => page(&visit, HOW_LONG, &title, &confirm(&visit, name, falls)),
    }
}

/// That a choice holds from now on.
fn chosen(words: &Words, name: &str, kept: &Kept) -> String {
    let what = match kept.store {
        Some(store) if name == "open" => {
            words.with("keep-other-days", [("n", (store.as_secs() / DAY).into())])
        }
        _ => words.say(&format!("keep-{name}")),
    };
    words.with("keep-done", [("what", what.into())])
}

/// Whether a choice may be made: the store's end is nobody's to move, and a child has no more kept.
fn allowed(age: Option<Duration>, kept: &Kept, child: bool) -> bool {
    let within_store = match (age, kept.store) {
        (Some(age), Some(store)) => age <= store,
        // Without an end it goes on to the store's.
        _ => true,
    };
    // Of no class: one that is kept for a shorter time than the others counts.
    let now = kept.now.iter().copied().map(|age| age.unwrap_or(Duration::MAX)).min();
    let shorter = age.unwrap_or(Duration::MAX) <= now.unwrap_or(Duration::MAX);
    within_store && (shorter || !child)
}

fn kept(engine: &Engine, user: &UserId) -> Result<Kept, Error> {
    let store = engine.policies(None).list()?;
    let (own, classes) = match engine.report(user) {
        Err(e) if gone(&e) => (Vec::new(), BASIC.map(|class| class()).to_vec()),
        report => report.map(|report| (report.policies.clone(), classes(&report)))?,
    };
    let of = |policies: &[Policy], class: &Class| {
        let found = policies.iter().find(|p| p.class == *class && p.purpose.is_none());
        found.map(|policy| policy.max_age)
    };
    let now = classes.iter().map(|class| of(&own, class).or_else(|| of(&store, class)).flatten());
    let now = now.collect();
    let store = classes.iter().filter_map(|class| of(&store, class).flatten()).min();
    Ok(Kept { now, store })
}

/// The classes that a choice is about, whether or not there is anything of them.
const BASIC: [fn() -> Class; 3] = [Class::audio, Class::transcript, Class::action];

/// The classes of a choice: what is kept of the person, what rules are about, and what comes.
fn classes(report: &Report) -> Vec<Class> {
    let mut classes = BASIC.map(|class| class()).to_vec();
    let kept = report.classes.iter().filter(|(_, n)| *n > 0).map(|(class, _)| class);
    let ruled = report.policies.iter().chain(&report.store_policies).map(|policy| &policy.class);
    for class in kept.chain(ruled) {
        if class.as_str() != "certificate" && !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    classes
}

/// The policies of a choice.
fn policies(engine: &Engine, user: &UserId, age: Option<Duration>) -> Result<Vec<Policy>, Error> {
    let report = engine.report(user)?;
    let policy = |class: Class| {
        let both = report.policies.iter().chain(&report.store_policies);
        let named = both.into_iter().any(|p| p.class == class && p.readers_named);
        Policy { max_age: age, readers_named: named, ..Policy::new(class) }
    };
    Ok(classes(&report).into_iter().map(policy).collect())
}

fn form(visit: &Visit, kept: &Kept) -> Markup {
    let words = visit.words;
    let child = visit.session.grant.role == Role::Child;
    let same = kept.now.iter().all(|age| *age == kept.now[0]);
    let now = kept.now.first().copied().flatten().map(|age| age.as_secs());
    let chosen = |age: Option<u64>| {
        same && (age == now || (age.is_none() && kept.store.map(|s| s.as_secs()) == now))
    };
    let days = |age: u64| words.with("keep-other-days", [("n", (age / DAY).into())]);
    html! {
        (heading(&words.say("keep-title")))
        p.lead { (words.say("keep-lead")) }
        form method="post" action=(HOW_LONG) {
            (csrf(visit))
            fieldset.radios {
                legend { (words.say("keep-legend")) }
                @for (name, age) in CHOICES {
                    @let may = allowed(age.map(Duration::from_secs), kept, child);
                    label {
                        input type="radio" name="keep" value=(name) required
                            checked[chosen(age)] disabled[!may];
                        div { (words.say(&format!("keep-{name}"))) span { (lead(visit, name, kept, may)) } }
                    }
                }
            }
            @if !CHOICES.iter().any(|(_, age)| chosen(*age)) {
                @let what = if same { now.map(days).unwrap_or_default() }
                    else { words.say("keep-other-mixed") };
                p.soft { (words.with("keep-other", [("what", what.into())])) }
            }
            div.actions { button.main { (words.say("keep-button")) } }
        }
        @if matches!(visit.session.grant.role, Role::Guardian(_)) {
            form.card method="post" action=(HOW_LONG) {
                (csrf(visit))
                h2 { (words.say("child-title")) }
                p { (words.say("child-lead")) }
                input type="hidden" name="keep" value="day";
                button name="child" value="1" { (words.say("child-button")) }
            }
        }
    }
}

/// What is said of a choice.
fn lead(visit: &Visit, name: &str, kept: &Kept, may: bool) -> String {
    let words = visit.words;
    match (may, kept.store) {
        (false, _) if visit.session.grant.role == Role::Child => words.say("keep-child"),
        (false, _) => words.say("keep-too-long"),
        (true, Some(store)) if name == "open" => {
            words.with("keep-open-store", [("days", (store.as_secs() / DAY).into())])
        }
        (true, _) => words.say(&format!("keep-{name}-lead")),
    }
}

fn confirm(visit: &Visit, name: &str, falls: u64) -> Markup {
    let words = visit.words;
    html! {
        (heading(&words.say("keep-falls-title")))
        form method="post" action=(HOW_LONG) {
            (csrf(visit))
            input type="hidden" name="keep" value=(name);
            div.note.wait role="alert" {
                (icon(Icon::Clock))
                p { (words.with("keep-falls", [("n", falls.into())])) }
            }
            div.actions {
                button.danger name="sure" value="1" { (words.say("keep-falls-button")) }
                a.button.quiet href=(HOW_LONG) { (words.say("back-nothing")) }
            }
        }
    }
}

fn done(visit: &Visit, said: &str, title: &str) -> Markup {
    html! {
        (heading(title))
        div.note.good role="status" {
            (icon(Icon::Check))
            p { (said) }
        }
        div.actions { a.button href=(HOW_LONG) { (visit.words.say("nav-how-long")) } }
    }
}
