//! What an erase did, and what it takes, in words.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use keyfall::engine::Foreseen;
use keyfall::promise::Level;
use keyfall::{Class, ErrorKind, Timestamp};
use maud::{Markup, html};

use super::awaited::settle;
use super::by_code::{place_of_codes, told as code_card};
use super::card::{place_of, proof_card};
use super::desk::Role;
use super::frame::{Icon, KEPT, SURE, heading, icon};
use super::inside::{missing, page};
use super::outcome::Outcome;
use super::scopes::{What, called, counted, joined, kind};
use super::spoken::reasons;
use super::visit::Visit;
use super::when::When;
use super::words::Words;
use crate::app::App;

/// Says what an erase did.
pub(crate) async fn done(
    State(app): State<App>,
    visit: Visit,
    headers: HeaderMap,
    Path(number): Path<usize>,
) -> Response {
    settle(&app, &visit).await;
    let Some(outcome) = visit.session.outcome(number) else {
        return missing(&visit);
    };
    let (words, when) = (visit.words(), visit.when());
    let said = told(&visit, &outcome);
    let about = visit.about();
    let body = html! {
        div class=(format!("result {}", said.mood)) role="status" {
            (icon(said.icon))
            div {
                (heading(&said.title))
                @for line in &said.lines { p.lead { (line) } }
                @if let Some(level) = outcome.level.filter(|_| outcome.erased) {
                    p.lead.level { (level_words(words, level)) " " a href=(SURE) { (words.say("nav-sure")) } }
                }
                p.soft { (words.with("done-what", [("what", outcome.what.clone().into())])) }
            }
        }
        @if let Some(kind) = outcome.failed.filter(|_| !outcome.unsure) { (failure(words, kind)) }
        @if let Some(code) = &outcome.code { (code_card(words, code, &place_of_codes(&app, &headers))) }
        @for (n, proof) in outcome.proofs.iter().enumerate() {
            (proof_card(words, proof, &place_of(&format!("{number}-{n}")), &about))
        }
        @if !outcome.limits.is_empty() {
            section.card { h2 { (words.say("done-limits")) } (reasons(&when, &outcome.limits)) }
        }
        div.actions { a.button href=(KEPT) { (words.say("back-list")) } }
    };
    page(&visit, KEPT, &said.title, &body)
}

/// What is said of a key that was destroyed: no more than where it was can promise.
fn level_words(words: Words<'_>, level: Level) -> String {
    words.say(&format!("level-{}", level.name()))
}

struct Told {
    mood: &'static str,
    icon: Icon,
    title: String,
    lines: Vec<String>,
}

fn told(visit: &Visit, outcome: &Outcome) -> Told {
    let (words, when) = (visit.words(), visit.when());
    let told = |mood, icon, title: String, lines| Told { mood, icon, title, lines };
    if let Some(due) = outcome.planned {
        let lines = due_lines(words, outcome, visit.session.grant.role == Role::Child);
        return told("wait", Icon::Clock, due_title(&when, outcome, due), lines);
    }
    if outcome.unsure {
        let lines = vec![words.say("unsure-lead")];
        return told("bad", Icon::Info, words.say("unsure-title"), lines);
    }
    if outcome.waits() {
        let lines = ["done-pending-lead", "done-awaited"].map(|id| words.say(id)).to_vec();
        return told("wait", Icon::Clock, words.say("done-pending-title"), lines);
    }
    if !outcome.erased {
        return match outcome.failed {
            Some(_) => told("bad", Icon::Info, words.say("failed-nothing-title"), Vec::new()),
            None => {
                let lines = vec![words.say("done-already-lead")];
                told("", Icon::Check, words.say("done-already-title"), lines)
            }
        };
    }
    let mut lines = vec![fell(words, outcome)];
    if outcome.derived > 0 {
        lines.push(words.with("done-derived", [("n", outcome.derived.into())]));
    }
    if outcome.following {
        lines.push(words.say("done-following"));
    }
    let kept = outcome.kept.iter().filter(|class| *class != "certificate");
    let kept: Vec<_> = kept.map(|class| kind(words, class)).collect();
    if !kept.is_empty() {
        lines.push(words.with("done-kept", [("what", joined(words, &kept).into())]));
    }
    lines.extend(proofs_stay(words, outcome.proofs_stay, outcome.left));
    if outcome.pending {
        lines.insert(0, words.say("done-pending-lead"));
        if let Some(until) = outcome.pending_until {
            let until = when.moment(until);
            lines.push(words.with("done-pending-until", [("when", until.into())]));
        }
        return told("wait", Icon::Clock, words.say("done-pending-title"), lines);
    }
    let title = if outcome.failed.is_some() { "failed-title" } else { "done-title" };
    told("", Icon::Check, words.say(title), lines)
}

/// What of the class of proofs stays, counted.
pub(super) fn proofs_stay(words: Words<'_>, proofs: u64, left: u64) -> Vec<String> {
    let said = [("stays-proofs", proofs), ("stays-left", left)].into_iter().filter(|(_, n)| *n > 0);
    said.map(|(id, n)| words.with(id, [("n", n.into())])).collect()
}

/// When what was planned goes: all of it, unless a hold covers some or not all could be planned.
fn due_title(when: &When<'_>, outcome: &Outcome, due: Timestamp) -> String {
    let id = match (outcome.failed, outcome.held) {
        (Some(_), _) => "later-some-title",
        (None, true) => "later-held-title",
        (None, false) => "later-done-title",
    };
    when.words.with(id, [("when", when.moment(due).into())])
}

/// What is said of what was planned.
fn due_lines(words: Words<'_>, outcome: &Outcome, child: bool) -> Vec<String> {
    let lead = if child { "later-done-child" } else { "later-done-lead" };
    let mut lines = vec![words.say(lead)];
    if outcome.failed.is_some() {
        lines.push(words.say("later-some-lead"));
    }
    if outcome.held {
        lines.push(words.say("planned-held"));
    }
    if !outcome.kept.is_empty() {
        let kept: Vec<_> = outcome.kept.iter().map(|class| kind(words, class)).collect();
        lines.push(words.with("later-kept", [("what", joined(words, &kept).into())]));
    }
    lines.extend(proofs_stay(words, outcome.proofs_stay, outcome.left));
    if outcome.code.is_none() {
        lines.push(words.say("later-done-proof"));
    }
    lines
}

/// What fell. That nobody can read it is said of what is final alone, and with its limits.
fn fell(words: Words<'_>, outcome: &Outcome) -> String {
    let end = match (outcome.pending, outcome.limits.is_empty()) {
        (true, _) => "-pending",
        (false, false) => "-limited",
        (false, true) => "",
    };
    let Some(counts) = &outcome.counts else {
        return words.say(&format!("done-lead-unknown{end}"));
    };
    let all: u64 = counts.iter().map(|(_, n)| *n).sum();
    let counts: Vec<_> = counts.iter().map(|(class, n)| counted(words, class, *n)).collect();
    let what = joined(words, &counts);
    words.with(&format!("done-lead{end}"), [("what", what.into()), ("n", all.into())])
}

fn failure(words: Words<'_>, kind: ErrorKind) -> Markup {
    let id = match kind {
        ErrorKind::Held => "failed-held",
        ErrorKind::Refused => "failed-clock",
        ErrorKind::Limit => "failed-limit",
        _ => "failed-other",
    };
    html! { div.note.bad role="alert" { (icon(Icon::Info)) p { (words.say(id)) } } }
}

/// What would go; `keeps` says whether some of it can be kept.
pub(crate) fn goes(words: Words<'_>, seen: &Foreseen, what: &What, keeps: bool) -> Markup {
    let Some(counts) = &seen.records else { return html! { p { (words.say("goes-unknown")) } } };
    if counts.is_empty() {
        return html! { p { (words.say("goes-nothing")) } };
    }
    // Of several that are named, one may be derived from another.
    let several = matches!(what, What::Turns(turns) if turns.len() > 1);
    let derived = if several { "goes-derived-up-to" } else { "goes-derived" };
    html! {
        ul.counts {
            @for (class, n) in counts { (count(&counted(words, called(what, class.as_str()), *n), *n)) }
            @if seen.derived > 0 {
                (count(&words.with(derived, [("n", seen.derived.into())]), seen.derived))
            }
        }
        @if seen.following { p { (words.say("goes-following")) } }
        @if counts.iter().any(|(class, _)| *class == Class::audio()) {
            p.soft { (words.say(if keeps { "goes-text-unless" } else { "goes-text" })) }
        }
    }
}

/// A count with its number large.
fn count(said: &str, n: u64) -> Markup {
    let number = n.to_string();
    html! {
        li {
            @if let Some(rest) = said.strip_prefix(&number) { strong { (number) } (rest) }
            @else { (said) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Nobody can read them any more" was said also where keys may live on.
    #[test]
    fn what_is_not_final_or_has_limits_is_not_said_to_be_gone() {
        let of = |pending, limits: &[&str], counted: bool| Outcome {
            counts: counted.then(|| vec![("audio".to_owned(), 2)]),
            pending,
            limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
            ..Outcome::default()
        };
        for (tag, nobody, within) in [
            ("en", "Nobody can open", "within the limits"),
            ("de", "Niemand kann", "in den Grenzen"),
        ] {
            let said = |outcome: &Outcome| fell(Words::of(tag), outcome);
            for counted in [true, false] {
                let last = said(&of(false, &[], counted));
                assert!(last.contains(nobody) && !last.contains(within), "{last}");
                let limited = said(&of(false, &["remnants"], counted));
                assert!(limited.contains(nobody) && limited.contains(within), "{limited}");
                for limits in [&[][..], &["the old root key waits"]] {
                    let pending = said(&of(true, limits, counted));
                    assert!(
                        !pending.contains(nobody) && !pending.starts_with("done-"),
                        "{pending}"
                    );
                }
            }
        }
    }

    /// Of a key in a file the page said that what it opened is gone for good.
    #[test]
    fn no_more_is_said_than_the_level_promises() {
        for (tag, levels) in [
            ("en", ["may remain on the disk", "the maker", "the operator", "keyholders"]),
            ("de", ["auf der Festplatte", "Hersteller", "Betreiber", "Schlüsselhalter"]),
        ] {
            let words = Words::of(tag);
            for (level, part) in
                [Level::L0, Level::L1, Level::L2, Level::L3].into_iter().zip(levels)
            {
                let said = level_words(words, level);
                assert!(said.contains(part) && !said.starts_with("level-"), "{said}");
            }
            let limited = ["check-final", "check-limited", "done-lead", "done-title", "row-erased"];
            for id in limited.into_iter().chain(["done-lead-limited", "done-lead-unknown"]) {
                let said = words.with(id, [("n", 2.into()), ("what", "x".into())]);
                assert!(!said.contains("for good") && !said.contains("endgültig"), "{said}");
            }
        }
    }
}
