//! How long it is kept: a choice of four.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use keyfall::{Engine, Error, Policy, UserId};
use maud::{Markup, html};

use super::desk::Role;
use super::frame::{HOW_LONG, Icon, heading, icon};
use super::inside::{csrf, page, undone, unshown};
use super::rules::{Changes, Rules};
use super::visit::{Filled, Visit, here};
use super::words::Words;
use crate::app::App;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The choices: their names, and how long each keeps; `None` has no end.
const CHOICES: [(&str, Option<u64>); 4] = [
    ("nothing", Some(10 * MINUTE)),
    ("day", Some(DAY)),
    ("months", Some(92 * DAY)),
    ("open", None),
];

/// What came of a choice.
enum Set {
    /// It may not be made.
    Refused,
    /// Not yet: so much would go at once.
    Asked { falls: u64, derived_stays: bool },
    /// A part of it, and the rest could not be set.
    Some,
    /// Whether what is older may not all be gone.
    Done { later: bool },
}

/// Asks how long.
pub(crate) async fn ask(State(app): State<App>, visit: Visit) -> Response {
    let user = visit.user().clone();
    match app.engine().run(move |engine| Rules::read(engine, &user)).await {
        Ok(rules) => {
            page(&visit, HOW_LONG, &visit.words().say("keep-title"), &form(&visit, &rules))
        }
        Err(e) => unshown(&visit, &e),
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
    // A child's profile is made shorter where it is longer, and nothing of it is lengthened.
    let profile = name == "day" && is_guardian(&visit) && filled.field("child").is_some();
    let (sure, grant) = (filled.field("sure").is_some(), visit.session.grant.clone());
    let set = app.engine().run(move |engine| {
        here(engine, &grant)?;
        let rules = Rules::read(engine, &user)?;
        if !profile && !rules.allow(age, child) {
            return Ok((rules, Set::Refused));
        }
        let Changes { policies, counted } = rules.by(age, child || profile);
        let mut falls = 0;
        for policy in &counted {
            falls += engine.policies(Some(&user)).would_expire(policy)?;
        }
        if falls > 0 && !sure {
            let derived_stays = counted.iter().any(|policy| policy.keep_derived.is_some());
            return Ok((rules, Set::Asked { falls, derived_stays }));
        }
        if !apply(engine, &user, &policies)? {
            return Ok((rules, Set::Some));
        }
        // What is due is done again and again.
        let later = engine.run_due(&mut |_| {}).is_err() && falls > 0;
        Ok((rules, Set::Done { later }))
    });
    let title = visit.words().say("keep-title");
    let body = match set.await {
        Err(e) => return undone(&visit, &e),
        Ok((rules, Set::Refused)) => form(&visit, &rules),
        Ok((rules, Set::Asked { falls, derived_stays })) => {
            let lines = falling(visit.words(), &rules, falls, derived_stays);
            confirm(&visit, name, profile, &lines)
        }
        Ok((_, Set::Some)) => part(&visit, &title),
        Ok((rules, Set::Done { later })) => {
            let mut lines = said(&visit, name, profile, &rules);
            lines.extend(later.then(|| visit.words().say("keep-later")));
            done(&visit, &lines, &title)
        }
    };
    page(&visit, HOW_LONG, &title, &body)
}

/// Sets policies; says whether all of them hold, and not a part alone. One that failed may hold all
/// the same.
///
/// # Errors
/// As the engine's `Policies::set`: then none holds, or nobody can know it.
fn apply(engine: &Engine, user: &UserId, policies: &[Policy]) -> Result<bool, Error> {
    let failed = policies.iter().find_map(|it| engine.policies(Some(user)).set(it).err());
    let Some(e) = failed else { return Ok(true) };
    let Ok(set) = engine.policies(Some(user)).list() else { return Err(e) };
    match policies.iter().filter(|policy| set.contains(policy)).count() {
        0 => Err(e),
        hold => Ok(hold == policies.len()),
    }
}

fn is_guardian(visit: &Visit) -> bool {
    matches!(visit.session.grant.role, Role::Guardian(_))
}

/// What holds from now on, and what ends something sooner or later than that.
fn said(visit: &Visit, name: &str, profile: bool, rules: &Rules) -> Vec<String> {
    let words = visit.words();
    let mut lines = vec![match profile {
        true => words.say("child-done"),
        false => {
            let chosen = match rules.longest() {
                Some(Some(most)) if name == "open" => span(words, most),
                _ => words.say(&format!("keep-{name}")),
            };
            words.with("keep-done", [("what", chosen.into())])
        }
    }];
    let service = name == "open" && rules.longest().is_none();
    let more =
        [(service, "keep-service"), (rules.sooner(), "keep-sooner"), (rules.held, "keep-held")];
    lines.extend(more.into_iter().filter(|(so, _)| *so).map(|(_, id)| words.say(id)));
    lines
}

/// What goes at once.
fn falling(words: Words<'_>, rules: &Rules, falls: u64, derived_stays: bool) -> Vec<String> {
    let id = if derived_stays { "keep-falls-alone" } else { "keep-falls" };
    let mut lines = vec![words.with(id, [("n", falls.into())])];
    if rules.held {
        lines.push(words.say("keep-held"));
    }
    lines
}

/// A span of time in words: `30 days`.
fn span(words: Words<'_>, age: Duration) -> String {
    let seconds = age.as_secs();
    let (id, unit) = match seconds {
        s if s >= DAY && s.is_multiple_of(DAY) => ("keep-other-days", DAY),
        s if s >= HOUR && s.is_multiple_of(HOUR) => ("keep-other-hours", HOUR),
        s if s >= MINUTE => ("keep-other-minutes", MINUTE),
        _ => ("keep-other-seconds", 1),
    };
    words.with(id, [("n", (seconds / unit).into())])
}

fn form(visit: &Visit, rules: &Rules) -> Markup {
    let words = visit.words();
    let child = visit.session.grant.role == Role::Child;
    let mut choices = CHOICES.iter().map(|(name, age)| (*name, age.map(Duration::from_secs)));
    let chosen = choices.find(|(_, age)| rules.hold(*age)).map(|(name, _)| name);
    let now = match rules.same() {
        Some(Some(age)) => span(words, age),
        _ => words.say("keep-other-mixed"),
    };
    html! {
        (heading(&words.say("keep-title")))
        p.lead { (words.say("keep-lead")) }
        form method="post" action=(HOW_LONG) {
            (csrf(visit))
            fieldset.radios {
                legend { (words.say("keep-legend")) }
                @for (name, age) in CHOICES {
                    @let age = age.map(Duration::from_secs);
                    @let may = rules.allow(age, child);
                    label {
                        input type="radio" name="keep" value=(name) required
                            checked[chosen == Some(name)] disabled[!may];
                        div { (words.say(&format!("keep-{name}")))
                            span { (lead(visit, name, age, rules, may)) } }
                    }
                }
            }
            @if chosen.is_none() { p.soft { (words.with("keep-other", [("what", now.into())])) } }
            @if rules.sooner() { p.soft { (words.say("keep-sooner")) } }
            @if rules.held { p.soft { (words.say("keep-held")) } }
            div.actions { button.main { (words.say("keep-button")) } }
        }
        @if is_guardian(visit) {
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
fn lead(visit: &Visit, name: &str, age: Option<Duration>, rules: &Rules, may: bool) -> String {
    let words = visit.words();
    if !may {
        return words.say(match visit.session.grant.role {
            Role::Child => "keep-child",
            _ if rules.too_long(age) => "keep-too-long",
            _ => "keep-too-long-some",
        });
    }
    match rules.longest() {
        _ if name != "open" => words.say(&format!("keep-{name}-lead")),
        Some(Some(most)) => words.with("keep-open-store", [("span", span(words, most).into())]),
        None => words.say("keep-open-some"),
        Some(None) if rules.sooner() => words.say("keep-open-sooner"),
        Some(None) => words.say("keep-open-lead"),
    }
}

fn confirm(visit: &Visit, name: &str, profile: bool, lines: &[String]) -> Markup {
    let words = visit.words();
    html! {
        (heading(&words.say("keep-falls-title")))
        form method="post" action=(HOW_LONG) {
            (csrf(visit))
            input type="hidden" name="keep" value=(name);
            @if profile { input type="hidden" name="child" value="1"; }
            div.note.wait role="alert" {
                (icon(Icon::Clock))
                div { @for line in lines { p { (line) } } }
            }
            div.actions {
                button.danger name="sure" value="1" { (words.say("keep-falls-button")) }
                a.button.quiet href=(HOW_LONG) { (words.say("back-nothing")) }
            }
        }
    }
}

/// That only a part of it holds.
fn part(visit: &Visit, title: &str) -> Markup {
    html! {
        (heading(title))
        div.note.bad role="alert" {
            (icon(Icon::Info))
            p { (visit.words().say("keep-some")) }
        }
        div.actions { a.button href=(HOW_LONG) { (visit.words().say("nav-how-long")) } }
    }
}

fn done(visit: &Visit, lines: &[String], title: &str) -> Markup {
    html! {
        (heading(title))
        div.note.good role="status" {
            (icon(Icon::Check))
            div { @for line in lines { p { (line) } } }
        }
        div.actions { a.button href=(HOW_LONG) { (visit.words().say("nav-how-long")) } }
    }
}
