//! What certificates say in exact words (SPEC.md 14), in the language of a page: for the page, and
//! as data for the script that checks one in the browser.

use fluent_bundle::FluentValue;
use keyfall::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::when::When;
use super::words::Words;

/// The reasons of a grade: how the catalogue calls each, and its exact words.
const REASONS: [(&str, &str); 12] = [
    (
        "reason-window",
        "the old root key waits for other erases, until {when} at the latest: until then who holds \
         the cell and old copies can read what it names",
    ),
    (
        "reason-waiting",
        "the cell has not said yet that the old root key is destroyed: until then who has access \
         to it can read what it names",
    ),
    (
        "reason-scheduled",
        "the cell destroys the old root key at {when}: until then who has access to it can read \
         what it names",
    ),
    (
        "reason-stated-earlier",
        "{n} of the {needed} statements that are needed, by {of} keyholders, are there: until then \
         {few} of them may have enough shares of the root key of epoch {epoch}, which reached it too",
    ),
    (
        "reason-stated",
        "{n} of the {needed} statements that are needed, by {of} keyholders, are there: until then \
         {few} of them may have enough shares of the old root key",
    ),
    (
        "reason-remnants",
        "the owner accepted a medium that is known to keep old bytes: the old root key may be left \
         on it",
    ),
    (
        "reason-memory",
        "the root key was in the memory of a process, which may have been written elsewhere",
    ),
    (
        "reason-openings",
        "records of this user had been opened {n} times by somebody named, before: what they took \
         with them is out of reach",
    ),
    ("reason-openings-hidden", "damaged pages hide who had opened records before"),
    ("reason-grants", "{n} grants to third parties stood: what they opened before is out of reach"),
    (
        "reason-uncounted",
        "damaged pages kept the records from being counted; none of them can be read",
    ),
    (
        "reason-following",
        "entries (not the content) of records derived from it, by this erase or an earlier one, \
         were still in lists",
    ),
];

/// What stands in the holes of a pattern, where a text is as the pattern has it.
fn holes<'t>(mut pattern: &'static str, mut text: &'t str) -> Option<Vec<(&'static str, &'t str)>> {
    let mut found = Vec::new();
    while let Some((before, rest)) = pattern.split_once('{') {
        let (name, rest) = rest.split_once('}')?;
        text = text.strip_prefix(before)?;
        let next = rest.split('{').next().unwrap_or_default();
        let at = if next.is_empty() { text.len() } else { text.find(next)? };
        found.push((name, &text[..at]));
        (pattern, text) = (rest, &text[at..]);
    }
    (pattern == text).then_some(found)
}

/// A reason in the language of a page; as it is, where the catalogue does not know it.
fn said(when: &When<'_>, reason: &str) -> String {
    let found = REASONS.iter().find_map(|(id, pattern)| Some((id, holes(pattern, reason)?)));
    let Some((id, found)) = found else { return reason.to_owned() };
    let of = |wanted: &str| {
        let (_, text) = found.iter().find(|(name, _)| *name == wanted)?;
        Some(match (text.parse::<u64>(), text.parse::<Timestamp>()) {
            (Ok(n), _) => n.into(),
            (_, Ok(at)) => when.moment(at).into(),
            _ => FluentValue::from((*text).to_owned()),
        })
    };
    let of = |name| (name, of(name).unwrap_or(FluentValue::None));
    when.words.with(id, ["n", "when", "needed", "of", "few", "epoch"].map(of))
}

/// The reasons of a grade, and below them their exact words.
pub(super) fn reasons(when: &When<'_>, reasons: &[String]) -> Markup {
    html! {
        ul { @for reason in reasons { li { (said(when, reason)) } } }
        (exact(when.words, reasons))
    }
}

/// Exact words, folded.
pub(super) fn exact(words: Words<'_>, lines: &[String]) -> Markup {
    html! {
        details.exact {
            summary { (words.say("exact-words")) }
            ul lang="en" dir="ltr" { @for line in lines { li { (line) } } }
        }
    }
}

/// The values that a script puts into messages.
const HOLES: [&str; 12] =
    ["n", "when", "needed", "of", "few", "epoch", "what", "from", "until", "text", "class", "kind"];

/// A message whose values a script puts in: as it is for one, and for any other number.
fn open(words: Words<'_>, id: &str) -> Value {
    let with = |n: FluentValue<'static>| {
        let value = |name| match name {
            "n" => (name, n.clone()),
            name => (name, FluentValue::from(format!("{{{name}}}"))),
        };
        words.with(id, HOLES.map(value))
    };
    json!([with(1.into()), with("{n}".into())])
}

/// All that a script says of a certificate; whether it has to be about whoever the page is about.
pub(super) fn spoken(words: Words<'_>, about: bool) -> String {
    let by = |prefix: &str, names: &[&str]| {
        let of = |name: &&str| ((*name).to_owned(), open(words, &format!("{prefix}-{name}")));
        Value::Object(names.iter().map(of).collect())
    };
    let reasons: Vec<Value> = REASONS
        .iter()
        .map(|(id, pattern)| json!({ "exact": pattern, "said": open(words, id) }))
        .collect();
    let other = about.then(|| open(words, "check-other"));
    let classes = ["audio", "transcript", "action", "certificate"];
    let all = json!({
        "check": by("check", &[
            "final", "limited", "pending", "refused", "old", "local", "whose", "what", "count",
            "when", "kept", "unsaid",
        ]),
        "other": other,
        "reasons": reasons,
        "exact": words.say("exact-words"),
        "level": by("level", &["L0", "L1", "L2", "L3"]),
        "kind": by("kind", &classes),
        "count": by("count", &[&classes[..], &["other"]].concat()),
        "what": by("what", &["all", "class", "part", "turn", "from", "before", "between", "record"]),
        "quoted": open(words, "quoted"),
    });
    all.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyfall::time::Zone;

    /// They stood in English on a page in German, and "opened 1 times" on each.
    #[test]
    fn each_reason_is_said_in_the_language_of_the_page() {
        let zone = Zone::utc();
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        for (_, pattern) in REASONS {
            let (mut all, values) = (Vec::new(), [("n", "1"), ("when", "2026-11-29T08:00:00Z")]);
            for tag in ["en", "de"] {
                let when = When { words: Words::of(tag), zone: &zone, now };
                let mut exact = pattern.to_owned();
                for (name, value) in values
                    .into_iter()
                    .chain(["needed", "of", "few", "epoch"].map(|name| (name, "3")))
                {
                    exact = exact.replace(&format!("{{{name}}}"), value);
                }
                let said = said(&when, &exact);
                assert!(said != exact && !said.contains(['{', '}']), "{said}");
                assert!(!said.contains("1 times") && !said.starts_with("reason-"), "{said}");
                assert_eq!(said.contains("08:00"), pattern.contains("{when}"), "{said}");
                all.push(said);
            }
            assert_ne!(all[0], all[1]);
        }
        let when = When { words: Words::of("de"), zone: &zone, now };
        assert_eq!(said(&when, "of another program"), "of another program");
    }

    /// What this file calls a reason is one: the words are those of the engine's own judgement.
    #[test]
    fn the_exact_words_are_those_of_certificates() {
        let source = include_str!("../../../src/certificate/judge.rs");
        let flat = |text: &str| -> String {
            text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let source = flat(source);
        for (id, pattern) in REASONS {
            // Which root key it is stands elsewhere there.
            let pattern = pattern.replace("shares of ", "shares of {which}");
            let mut parts = pattern.split(['{', '}']).step_by(2).filter(|part| part.len() > 12);
            assert!(parts.all(|part| source.contains(flat(part).trim_start_matches(','))), "{id}");
        }
    }
}
