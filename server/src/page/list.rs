//! The list: what is kept, by day, the newest first.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use keyfall::engine::Plan;
use keyfall::{Class, RecordId};
use maud::{Markup, html};
use serde::Deserialize;

use super::desk::Role;
use super::frame::{Icon, KEPT, heading, icon};
use super::inside::{csrf, page, unshown};
use super::judge::Whose;
use super::rows::row;
use super::scopes::{counted, erase_words, joined, kind, place, span};
use super::turns::{Listed, Wanted, read};
use super::visit::Visit;
use crate::app::App;

/// What of it is asked for.
#[derive(Default, Deserialize)]
pub(crate) struct Asked {
    class: Option<String>,
    until: Option<String>,
    after: Option<String>,
    device: Option<String>,
    /// What a form before this page did.
    said: Option<String>,
}

/// Shows what is kept.
pub(crate) async fn list(
    State(app): State<App>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Response {
    let zone = visit.session.grant.zone.clone();
    let until = asked.until.as_deref().filter(|date| !date.is_empty());
    let wanted = Wanted {
        class: asked.class.as_deref().and_then(|class| class.parse().ok()),
        until: until.and_then(|date| span(date, &zone).ok()).map(|(_, end)| end),
        after: asked.after.as_deref().and_then(|number| visit.session.record(number)),
        device: asked.device.as_deref().and_then(|number| visit.session.device(number)),
        zone,
        session: Arc::clone(&visit.session),
        whose: Whose::of(&app, &visit.session),
    };
    let user = visit.user().clone();
    let read = app.engine().run(move |engine| read(engine, &user, &wanted)).await;
    match read {
        Err(e) => unshown(&visit, &e),
        Ok(listed) => {
            let title = visit.words().say("list-title");
            let body = match &listed {
                Some(listed) if !empty(listed) => full(&visit, &asked, listed, &title),
                _ => nothing(&visit, &title),
            };
            // A browser keeps titles in its history: no name is in this one.
            page(&visit, KEPT, &visit.words().say("nav-kept"), &body)
        }
    }
}

fn empty(listed: &Listed) -> bool {
    let proofs = |(class, n): &(Class, u64)| *n == 0 || class.as_str() == "certificate";
    listed.days.is_empty() && listed.report.classes.iter().all(proofs)
}

fn nothing(visit: &Visit, title: &str) -> Markup {
    html! {
        (heading(title))
        section.card.empty {
            (icon(Icon::Wave))
            h2 { (visit.words().say("list-nothing-title")) }
            p.soft { (visit.words().say("list-nothing-lead")) }
        }
    }
}

fn full(visit: &Visit, asked: &Asked, listed: &Listed, title: &str) -> Markup {
    let (words, when) = (visit.words(), visit.when());
    let mut counts: Vec<_> = listed.report.classes.iter().filter(|(_, n)| *n > 0).collect();
    // Proofs have a page of their own, and codes of those to come are none yet.
    if counts.iter().any(|(class, _)| class.as_str() != "certificate") {
        counts.retain(|(class, _)| class.as_str() != "certificate");
    }
    counts.sort_by_key(|(class, _)| place(class.as_str()));
    let counts = counts.into_iter();
    let counts: Vec<_> = counts.map(|(class, n)| counted(words, class.as_str(), *n)).collect();
    let since = when.date_of(listed.oldest.unwrap_or(listed.report.created));
    let lead =
        words.with("list-lead", [("what", joined(words, &counts).into()), ("since", since.into())]);
    // The focus is led to what came of a form, before it is led to what is listed.
    let said = match asked.said.as_deref() {
        Some("cancelled") => Some(said(visit, "cancelled")),
        Some("late") => Some(said(visit, "cancel-late")),
        _ => None,
    };
    html! {
        @if let Some(said) = said { h1 { (title) } p.lead { (lead) } (said) }
        @else { (heading(title)) p.lead { (lead) } }
        (plans(visit, &listed.report.plans))
        (filters(visit, asked, listed))
        form method="post" action="/page/erase" {
            (csrf(visit))
            @if listed.days.is_empty() { p.card { (words.say("list-none-of")) } }
            @for (day, turns) in &listed.days {
                @let date = day.to_string();
                @let label = words.with("erase-day-label", [("day", when.day(&date).into())]);
                section.day {
                    header {
                        h2 { (when.day(&date)) }
                        button.quiet.red name="day" value=(date) aria-label=(label) {
                            (words.say("erase-day"))
                        }
                    }
                    ul.turns { @for turn in turns { (row(turn, &when, &listed.report.plans)) } }
                }
            }
            nav.more aria-label=(words.say("older")) {
                @if asked.after.is_some() { a.button href=(KEPT) { (words.say("newest")) } }
                @if let Some(next) = listed.next { (older(visit, asked, next)) }
            }
            @if !listed.days.is_empty() { (selection(visit)) }
            (everything(visit, asked))
        }
    }
}

fn said(visit: &Visit, id: &str) -> Markup {
    html! {
        div.note.good role="status" tabindex="-1" autofocus {
            (icon(Icon::Check)) p { (visit.words().say(id)) }
        }
    }
}

fn selection(visit: &Visit) -> Markup {
    let counted = [0, 1, 2].map(|n: u32| visit.words().with("selected", [("n", n.into())]));
    html! {
        div.selection {
            p role="status" data-none=(counted[0]) data-one=(counted[1])
                data-many=(counted[2]) { (visit.words().say("selected-unknown")) }
            button.danger { (visit.words().say("erase-selected")) }
        }
    }
}

fn everything(visit: &Visit, asked: &Asked) -> Markup {
    let words = visit.words();
    html! {
        section.card.on-screen {
            h2 { (words.say("erase-all-title")) }
            p.soft { (words.say("erase-all-lead")) }
            div.actions {
                button.quiet.red name="all" value="1" { (words.say("erase-all")) }
                @if let Some(class) = asked.class.as_deref().filter(|class| !class.is_empty()) {
                    button.quiet.red name="class" value=(class) {
                        (words.with("erase-kind", [("kind", kind(words, class).into())]))
                    }
                }
                a.button href="/page/export.zip" download { (words.say("download-all")) }
            }
        }
    }
}

/// A browser keeps addresses in its history: the place where the next page begins is a number.
fn older(visit: &Visit, asked: &Asked, next: RecordId) -> Markup {
    let next = visit.session.number_of(next);
    let part = |name: &str, value: &Option<String>| {
        value
            .as_deref()
            .filter(|v| v.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)))
            .map(|value| format!("&{name}={value}"))
            .unwrap_or_default()
    };
    let to = format!(
        "{KEPT}?after={next}{}{}",
        part("class", &asked.class),
        part("until", &asked.until) + &part("device", &asked.device)
    );
    html! { a.button href=(to) { (visit.words().say("older")) } }
}

fn filters(visit: &Visit, asked: &Asked, listed: &Listed) -> Markup {
    let words = visit.words();
    html! {
        form.filters method="get" action=(KEPT) {
            label {
                (words.say("show-kind"))
                select name="class" {
                    option value="" { (words.say("show-all")) }
                    @for (class, n) in &listed.report.classes {
                        @if *n > 0 && class.as_str() != "certificate" {
                            option value=(class) selected[asked.class.as_deref() == Some(class.as_str())] {
                                (kind(words, class.as_str()))
                            }
                        }
                    }
                }
            }
            @if !listed.devices.is_empty() {
                label {
                    (words.say("show-device"))
                    select name="device" {
                        option value="" { (words.say("show-all-devices")) }
                        @for device in &listed.devices {
                            @let number = visit.session.number_of_device(device).to_string();
                            option value=(number) selected[asked.device.as_deref() == Some(&*number)] {
                                (device)
                            }
                        }
                    }
                }
            }
            label {
                (words.say("show-until"))
                input type="date" name="until" value=[asked.until.as_deref()];
            }
            button { (words.say("show-button")) }
        }
    }
}

fn plans(visit: &Visit, plans: &[Plan]) -> Markup {
    let (words, when) = (visit.words(), visit.when());
    let child = visit.session.grant.role == Role::Child;
    html! {
        @if !plans.is_empty() {
            section.card {
                h2 { (words.with("planned-title", [("n", plans.len().into())])) }
                @for plan in plans {
                    @let what = erase_words(&plan.erase, &when);
                    form.actions method="post" action="/page/erase/cancel" {
                        (csrf(visit))
                        p { (words.with("planned-row", [
                            ("what", what.clone().into()), ("when", when.moment(plan.due).into()),
                        ])) @if plan.held { " " (words.say("planned-held")) } }
                        @if !child {
                            button name="plan" value=(plan.id)
                                aria-label=(words.with("planned-cancel-label", [("what", what.into())])) {
                                (words.say("planned-cancel"))
                            }
                        }
                    }
                }
                @if child { p.soft { (words.say("planned-child")) } }
            }
        }
    }
}
