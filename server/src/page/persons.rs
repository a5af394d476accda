//! To whom each page speaks: every text that says "you" is listed, for each who may see a page, so
//! that a guardian is not told what is said of the child.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyfall::{Class, Put};
use serde_json::Value;

use super::desk::Role;
use super::trial::{Ahead, DAY, Session, between, get, passes, post, service, somebody, text};
use crate::app::App;

/// What was read and found right, by role and language.
const RIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page/persons.txt");

/// A key of 32 bytes in base64.
const KEY_LEN: usize = 43;
/// Words that say to whom, and of whom, something is said.
const PERSONS: [&str; 21] = [
    "you", "your", "yours", "yourself", "i", "my", "me", "mine", "sie", "ihnen", "ihr", "ihre",
    "ihrem", "ihren", "ihrer", "ihres", "ich", "mir", "mich", "mein", "meine",
];

/// The sentences of a page that say "you", its script's among them.
fn sentences(page: &str, found: &mut BTreeSet<String>) {
    let mut texts = Vec::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once('<') {
        texts.push(before.to_owned());
        let (tag, after) = after.split_once('>').unwrap();
        for label in ["aria-label=\"", "data-erased=\"", "data-none=\"", "data-one=\""] {
            texts.extend(between(tag, label, "\"").map(str::to_owned));
        }
        if let Some(words) = between(tag, "data-words=\"", "\"") {
            let words: Value = serde_json::from_str(&plain(words)).unwrap();
            strings(&words, &mut texts);
        }
        rest = after;
    }
    for text in texts {
        let text = plain(&text);
        for sentence in text.trim().split_inclusive(['.', '?', '!', ':']) {
            // A key or a signature in a certificate is no word of any language.
            let words = sentence.split_whitespace().filter(|word| word.len() < KEY_LEN);
            let words = words.flat_map(|word| word.split(|c: char| !c.is_alphanumeric()));
            // In German "sie" is "they": at the beginning of a sentence both are capital.
            let is_person = |word: &str| {
                let lower = word.to_lowercase();
                let capital = word.starts_with(char::is_uppercase);
                let german = lower.starts_with("ih") || lower == "sie";
                PERSONS.contains(&&*lower) && (capital || !german) && lower != "ihn"
            };
            if words.into_iter().any(is_person) {
                let digits = |c: char| if c.is_ascii_digit() { '#' } else { c };
                found.insert(sentence.trim().chars().map(digits).collect());
            }
        }
    }
}

fn strings(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|one| strings(one, texts)),
        Value::Object(all) => all.values().for_each(|one| strings(one, texts)),
        _ => {}
    }
}

fn plain(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&amp;", "&")
}

/// Every page that one of them sees.
async fn walk(role: &Role, language: &str) -> (Vec<String>, BTreeSet<String>) {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let kim = somebody(&app, "kim").await;
    passes(&app, &clock, 2 * DAY).await;
    let of = kim.clone();
    let more = move |engine: &keyfall::Engine| {
        let note = Put::new(of.clone(), Class::new("note")?).media_type("text/plain");
        engine.put(note, &b"milk"[..])?;
        let audio = Put::new(of.clone(), Class::audio()).media_type("audio/ogg");
        let id = engine.put(audio, &b"set a timer"[..])?;
        for who in ["the person, on their page", "guardian: Erika Muster", "support desk"] {
            engine.get_as(&id, who, "to hear or read it on the page")?;
        }
        engine.policies(Some(&of)).set(&keyfall::Policy::new(Class::new("note")?).max_records(9))
    };
    app.engine().run(more).await.unwrap();
    let (session, entry) = Session::enter_in(&app, &kim, role.clone(), language).await;
    let mut pages = vec![entry];
    for path in ["/page", "/page/keep", "/page/proofs", "/page/check", "/page/sure", "/page/done/9"]
    {
        pages.push(session.get(&app, path).await);
    }
    let today = "day=".to_owned() + &now_day(&clock);
    for (path, what) in [
        ("/page/erase", "class=note"),
        ("/page/erase", "all=1"),
        ("/page/erase", &*today),
        ("/page/erase", ""),
        ("/page/erase", "turn=x"),
        ("/page/erase/now", "all=1&keep=note"),
        ("/page/erase/later", "class=note"),
        ("/page/erase/later", "all=1"),
        ("/page/erase/cancel", "plan=77"),
        ("/page/erase/now", "class=note"),
        ("/page/erase/now", &*today),
        ("/page/keep", "keep=months"),
        ("/page/keep", "keep=day"),
        ("/page/keep", "keep=day&child=1&sure=1"),
        ("/page/keep", "keep=open"),
        ("/page/erase/now", "all=1"),
        ("/page/leave", ""),
    ] {
        let sent = session.post(&app, path, what).await;
        let to = sent.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        pages.push(match to {
            Some(to) => session.get(&app, &to).await,
            None => text(sent).await,
        });
        for path in ["/page", "/page/proofs", "/page/keep", "/page/sure"] {
            pages.push(session.get(&app, path).await);
        }
    }
    pages.push(text(get(&app, "/page/receipt", &session.cookie).await).await);
    pages.push(text(post(&app, "/page/receipt", "code=aaaaa", &session.cookie).await).await);
    let mut found = BTreeSet::new();
    for page in &pages {
        assert!(page.contains("<h1"), "{page}");
        sentences(page, &mut found);
    }
    drop::<App>(app);
    (pages, found)
}

fn now_day(clock: &Ahead) -> String {
    use keyfall::env::Env;
    clock.now().to_string()[..10].to_owned()
}

#[tokio::test]
async fn each_page_speaks_to_whoever_sees_it() {
    let roles = [
        ("self", Role::Own),
        ("child", Role::Child),
        ("guardian", Role::Guardian("Erika Muster".to_owned())),
    ];
    let mut seen = String::new();
    for (name, role) in &roles {
        for language in ["en", "de"] {
            let (pages, found) = walk(role, language).await;
            for page in &pages {
                let other = ["{$", "{ $", "guardian]"].iter().find(|text| page.contains(**text));
                assert_eq!(other, None, "{page}");
            }
            seen += &format!("# {name}, {language}\n");
            found.iter().for_each(|text| seen += &format!("{text}\n"));
        }
    }
    if let Ok(place) = std::env::var("KEYFALL_PERSONS") {
        std::fs::write(place, &seen).unwrap();
    }
    let guardian = seen.split_once("# guardian, en").unwrap().1;
    for wrong in [
        "about you",
        "of you",
        "Your voice",
        "you said",
        "your things",
        "von Ihnen",
        "über Sie",
        "Ihre Stimme",
        "you end",
        "Sie beenden",
        "Until I",
        "Bis ich",
    ] {
        let texts: Vec<&str> = guardian.lines().filter(|text| text.contains(wrong)).collect();
        assert!(texts.is_empty(), "a guardian is told {texts:#?}");
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (there, seen) = (lines(&std::fs::read_to_string(RIGHT).unwrap()), lines(&seen));
    let fresh: Vec<_> = seen.iter().filter(|text| !there.contains(text)).collect();
    let lost: Vec<_> = there.iter().filter(|text| !seen.contains(text)).collect();
    assert_eq!(
        seen, there,
        "read them, and put them into persons.txt: {fresh:#?}; gone: {lost:#?}"
    );
}
