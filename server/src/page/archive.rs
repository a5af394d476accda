//! What is added to an export so that people can read it, and check its proofs, with nothing but a
//! browser: also in ten years, without this service and without a network.

use keyfall::time::Zone;
use keyfall::{Class, InteractionId, RecordInfo, Timestamp};
use maud::{DOCTYPE, Markup, html};

use super::card::{About, Place, by_file, proof_card};
use super::frame::{Icon, icon};
use super::kept::Proof;
use super::scopes::{counted, joined, kind, place};
use super::size::size;
use super::turns::flat;
use super::when::When;
use super::words::Words;

/// The files that the pages of an export need.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("page.css", keyfall_page::STYLE),
    ("page.js", include_str!("../../assets/page.js")),
    ("verify.js", include_str!("../../assets/verify.js")),
];

/// How an export is shown, and what it says of itself.
pub(crate) struct Shown<'a> {
    pub(crate) words: Words<'static>,
    pub(crate) zone: &'a Zone,
    pub(crate) now: Timestamp,
    /// Whose it is.
    pub(crate) name: &'a str,
}

/// A record that is in an export.
pub(crate) struct Filed {
    pub(crate) info: RecordInfo,
    /// Its file's name.
    pub(crate) file: String,
    /// Its text, if it is one that is not long.
    pub(crate) text: Option<String>,
}

/// The page that leads to every file.
pub(crate) fn index(shown: &Shown<'_>, filed: &[Filed], proofs: usize) -> String {
    let words = shown.words;
    let when = When { words, zone: shown.zone, now: shown.now };
    let title = words.with("archive-title", [("name", shown.name.to_owned().into())]);
    let what = match counts(words, filed) {
        counts if counts.is_empty() => words.say("archive-nothing"),
        counts => joined(words, &counts),
    };
    let at = when.moment(shown.now);
    let days = by_day(filed, shown.zone);
    let body = html! {
        h1 { (title) }
        p.lead { (words.with("archive-lead", [("what", what.into()), ("when", at.into())])) }
        div.actions {
            @if proofs > 0 { a.button.main href="check.html" { (words.say("check-title")) } }
            a.button href="report.json" { (words.say("archive-report")) }
        }
        @for (day, turns) in &days {
            section.day {
                header { h2 { (when.day(day)) } }
                ul.turns { @for (id, of) in turns { (turn(*id, of, &when)) } }
            }
        }
    };
    document(words, &title, &body)
}

/// The page that checks the proofs of an export, where the browser has them and the network is off.
pub(crate) fn check(shown: &Shown<'_>, proofs: &[(String, Proof)], key: &str) -> String {
    let words = shown.words;
    let title = words.say("check-title");
    let about = About::Archive(shown.name, shown.zone.name());
    let body = html! {
        h1 { (title) }
        p.lead { (words.say("check-lead")) }
        noscript { p.note.wait { (words.say("check-noscript")) } }
        @for (file, proof) in proofs { (proof_card(words, proof, &Place::Beside(file), &about)) }
        (by_file(words, key, &about))
        div.actions { a.button href="index.html" { (words.say("archive-back")) } }
    };
    document(words, &title, &body)
}

fn document(words: Words<'_>, title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang=(words.tag()) dir=(words.direction()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="page.css";
                script src="verify.js" defer {}
                script src="page.js" defer {}
            }
            body { div.page { main { (body) } } }
        }
    };
    page.into_string()
}

fn counts(words: Words<'_>, filed: &[Filed]) -> Vec<String> {
    let mut counts: Vec<(&Class, u64)> = Vec::new();
    for Filed { info, .. } in filed {
        match counts.iter_mut().find(|(class, _)| **class == info.class) {
            Some((_, n)) => *n += 1,
            None => counts.push((&info.class, 1)),
        }
    }
    counts.sort_by_key(|(class, _)| place(class.as_str()));
    counts.into_iter().map(|(class, n)| counted(words, class.as_str(), n)).collect()
}

/// Exchanges with what was said in each, by the day on which they began, the newest first.
type Days<'a> = Vec<(String, Vec<(InteractionId, Vec<&'a Filed>)>)>;

fn by_day<'a>(filed: &'a [Filed], zone: &Zone) -> Days<'a> {
    let mut all: Vec<&Filed> = filed.iter().collect();
    all.sort_by_key(|one| {
        let turn = one.info.interaction;
        (std::cmp::Reverse((turn.began(), turn)), place(one.info.class.as_str()))
    });
    let mut days: Days<'a> = Vec::new();
    for one in all {
        let id = one.info.interaction;
        let day = zone.day(id.began()).to_string();
        if days.last().is_none_or(|(last, _)| *last != day) {
            days.push((day, Vec::new()));
        }
        let Some((_, turns)) = days.last_mut() else { continue };
        match turns.last_mut().filter(|(last, _)| *last == id) {
            Some((_, of)) => of.push(one),
            None => turns.push((id, vec![one])),
        }
    }
    days
}

fn turn(id: InteractionId, of: &[&Filed], when: &When<'_>) -> Markup {
    let mut purposes: Vec<&str> = of.iter().map(|one| one.info.purpose.as_str()).collect();
    purposes.retain(|purpose| !purpose.is_empty());
    purposes.dedup();
    html! {
        li.turn.filed {
            div.said {
                time.at datetime=(when.zone.local(id.began())) { (when.time(id.began())) }
                @for one in of.iter().filter(|one| one.info.class == Class::transcript()) {
                    @if let Some(text) = &one.text { blockquote dir="auto" { (text) } }
                }
                @for one in of.iter().filter(|one| one.info.media_type.starts_with("audio/")) {
                    (sound(one, when))
                }
                ul.done { @for text in of.iter().filter_map(|one| done(one)) {
                    li { (icon(Icon::Arrow)) span dir="auto" { (text) } }
                } }
                div.about {
                    @if !purposes.is_empty() {
                        @let purposes = purposes.join("; ");
                        p { (when.words.with("kept-for", [("purpose", purposes.into())])) }
                    }
                    ul { @for one in of { li { (link(one, when)) } } }
                }
            }
        }
    }
}

fn sound(one: &Filed, when: &When<'_>) -> Markup {
    let label = when.words.with("listen", [("time", when.time(one.info.created).into())]);
    html! { audio controls preload="none" src=(one.file) aria-label=(label) {} }
}

/// What was done, in words.
fn done(one: &Filed) -> Option<String> {
    let text = one.text.as_ref().filter(|_| one.info.class != Class::transcript())?;
    let is_json = one.info.media_type.starts_with("application/json");
    Some(is_json.then(|| flat(text)).flatten().unwrap_or_else(|| text.clone()))
}

fn link(one: &Filed, when: &When<'_>) -> Markup {
    let words = when.words;
    let size = size(words, one.info.length);
    let kind = kind(words, one.info.class.as_str());
    html! {
        a href=(one.file) { (words.with("file", [("kind", kind.into()), ("size", size.into())])) }
        @if let Some(name) = &one.info.name { " " bdi { (name) } }
    }
}
