//! How one exchange is shown.

use keyfall::engine::Plan;
use keyfall::{Class, Scope, Timestamp, When as Of};
use maud::{Markup, html};

use super::frame::{Icon, icon, opens};
use super::scopes::kind;
use super::size::{length, size};
use super::turns::{Item, Text, Turn, device};
use super::visit::{GUARDIAN, PERSON, PURPOSE};
use super::when::When;
use super::words::Words;

/// One exchange: what was said, heard and done, why it is kept, and who opened it.
pub(crate) fn row(turn: &Turn, when: &When<'_>, plans: &[Plan]) -> Markup {
    let words = when.words;
    let time = when.time(turn.id.began());
    let name = name(turn, when);
    let (named, at) = (name.clone(), time.clone());
    let select = words.with("select-one", [("text", named.into()), ("time", at.into())]);
    let erase =
        words.with("erase-one-label", [("text", name.into()), ("time", time.clone().into())]);
    html! {
        li.turn id=(format!("t-{}", turn.number)) {
            label.pick {
                input type="checkbox" name="turn" value=(turn.number);
                span.hidden { (select) }
            }
            div.said {
                time.at datetime=(when.zone.local(turn.id.began())) { (time) }
                @if turn.held { " " span.badge.held { (words.say("held")) } }
                @if let Some(plan) = plans.iter().find(|plan| !plan.held && covers(plan, turn)) {
                    " " span.badge {
                        (words.with("goes-on", [("when", when.moment(plan.due).into())]))
                    }
                }
                @for item in of(turn, Class::transcript()) { (quote(item, when)) }
                @for item in of(turn, Class::audio()) { (sound(item, when)) }
                ul.done { @for item in others(turn) { li { (icon(Icon::Arrow)) (other(item, when)) } } }
                p.state role="status" data-erased=(words.say("row-erased")) {}
                (about(turn, when, plans))
            }
            div.drop {
                button.quiet.red name="one" value=(turn.number) aria-label=(erase) {
                    (icon(Icon::Trash)) span { (words.say("erase-one")) }
                }
            }
        }
    }
}

/// What a button that acts on it calls it.
fn name(turn: &Turn, when: &When<'_>) -> String {
    let transcripts = of(turn, Class::transcript());
    let texts = transcripts.chain(others(turn));
    let mut texts = texts.filter_map(|item| match &item.text {
        Text::Shown { text, .. } if !text.is_empty() => Some(text),
        _ => None,
    });
    match texts.next() {
        Some(text) if text.chars().count() > 60 => text.chars().take(60).chain(['…']).collect(),
        Some(text) => text.clone(),
        None => {
            let time = when.time(turn.id.began());
            when.words.with("unnamed", [("time", time.into())])
        }
    }
}

fn of(turn: &Turn, class: Class) -> impl Iterator<Item = &Item> {
    turn.said.iter().filter(move |item| item.info.class == class)
}

fn others(turn: &Turn) -> impl Iterator<Item = &Item> {
    let apart = [Class::audio(), Class::transcript()];
    turn.said.iter().filter(move |item| !apart.contains(&item.info.class))
}

fn quote(item: &Item, when: &When<'_>) -> Markup {
    match &item.text {
        Text::Shown { text, cut } => html! {
            blockquote lang=[language(&item.info.media_type)] dir="auto" {
                (text) @if *cut { (when.words.say("text-cut")) }
            }
        },
        Text::Named | Text::None => html! { p { (link(item, when)) } },
    }
}

fn sound(item: &Item, when: &When<'_>) -> Markup {
    let words = when.words;
    let at = when.time(item.info.created);
    let (id, length) = match item.seconds {
        Some(seconds) => ("listen-long", length(seconds)),
        None => ("listen", String::new()),
    };
    let label = words.with(id, [("time", at.into()), ("length", length.clone().into())]);
    let src = format!("/page/records/{}", item.number);
    html! {
        @if item.seconds.is_some() {
            p.length { (words.with("recording-long", [("length", length.into())])) }
        } @else { p.length.on-paper { (words.say("recording")) } }
        audio controls preload="none" src=(src) aria-label=(label) {}
    }
}

fn other(item: &Item, when: &When<'_>) -> Markup {
    match &item.text {
        Text::Shown { text, cut } => html! {
            span dir="auto" { (text) @if *cut { (when.words.say("text-cut")) } }
        },
        Text::Named | Text::None => html! { span { (link(item, when)) } },
    }
}

/// A link to what the list does not show.
fn link(item: &Item, when: &When<'_>) -> Markup {
    let words = when.words;
    let size = size(words, item.info.length);
    let kind = match item.info.class.as_str() {
        // The proofs themselves are not listed.
        "certificate" => words.quoted("certificate"),
        class => kind(words, class),
    };
    html! {
        (words.with("file", [("kind", kind.into()), ("size", size.into())]))
        span.on-screen {
            @let says = if opens(&item.info.media_type) { "read-it" } else { "save-it" };
            ": " a href=(format!("/page/records/{}", item.number)) { (words.say(says)) }
        }
        @if matches!(item.text, Text::Named) { " " span.soft.small { (words.say("named-hint")) } }
    }
}

/// The language that a media type names: `text/plain; language=de`.
fn language(media_type: &str) -> Option<&str> {
    let mut parameters = media_type.split(';').skip(1).filter_map(|p| p.trim().split_once('='));
    parameters.find(|(name, _)| *name == "language").map(|(_, value)| value.trim_matches('"'))
}

fn about(turn: &Turn, when: &When<'_>, plans: &[Plan]) -> Markup {
    let words = when.words;
    let opened = words.with("opened-by", [("n", turn.opened.len().into())]);
    html! {
        div.about {
            p { (kept(turn, when, plans)) }
            @if let Some(device) = turn.said.iter().find_map(|item| device(&item.info)) {
                p { (words.with("from-device", [("device", device.to_owned().into())])) }
            }
            @if turn.opened.is_empty() { p { (opened) } } @else {
                details {
                    summary { (opened) }
                    ul { @for access in &turn.opened {
                        li { (words.with("opened-row", [
                            ("by", opened_by(words, &access.principal).into()),
                            ("why", opened_for(words, &access.purpose).into()),
                            ("when", when.moment(access.at).into()),
                        ])) }
                    } }
                }
            }
        }
    }
}

/// Who opened something: whoever did so on the page is called as the page calls them.
fn opened_by(words: Words<'_>, principal: &str) -> String {
    match principal.strip_prefix(GUARDIAN) {
        _ if principal == PERSON => words.say("opened-person"),
        Some(guardian) => words.with("opened-guardian", [("guardian", guardian.to_owned().into())]),
        None => principal.to_owned(),
    }
}

fn opened_for(words: Words<'_>, purpose: &str) -> String {
    if purpose == PURPOSE { words.say("opened-on-page") } else { purpose.to_owned() }
}

/// What an exchange is kept for, and until when: the first end that is known.
fn kept(turn: &Turn, when: &When<'_>, plans: &[Plan]) -> String {
    let words = when.words;
    let purpose = (!turn.purposes.is_empty()).then(|| turn.purposes.join("; "));
    // What a hold covers stays, and with it all that was to go with it.
    let free = || plans.iter().filter(|plan| !plan.held);
    let planned = free().filter(|plan| covers(plan, turn)).map(|plan| plan.due).min();
    let part = free().filter(|plan| touches(plan, turn)).map(|plan| plan.due).min();
    let first = if turn.whole { None } else { turn.until };
    let until = turn.until.filter(|_| turn.whole).into_iter().chain(planned).min();
    if turn.held {
        return match purpose {
            Some(why) => words.with("kept-for-held", [("purpose", why.into())]),
            None => words.say("kept-held"),
        };
    }
    let said = match (purpose, until) {
        (Some(why), Some(until)) => {
            let until = when.moment(until);
            words.with("kept-for-until", [("purpose", why.into()), ("until", until.into())])
        }
        (Some(why), None) => words.with("kept-for", [("purpose", why.into())]),
        (None, Some(until)) => words.with("kept-until", [("until", when.moment(until).into())]),
        (None, None) if first.or(part).is_some() || turn.numbered => String::new(),
        (None, None) => words.say("kept-open"),
    };
    let sooner = |at: &Timestamp| until.is_none_or(|until| *at < until);
    let part = first.into_iter().chain(part).min().filter(sooner);
    let part = part.map(|at| words.with("kept-part", [("when", when.moment(at).into())]));
    let number = turn.numbered.then(|| words.say("kept-number"));
    let said = Some(said).filter(|said| !said.is_empty());
    said.into_iter().chain(part).chain(number).collect::<Vec<_>>().join(" ")
}

/// Whether a planned erase takes a part of an exchange.
fn touches(plan: &Plan, turn: &Turn) -> bool {
    match plan.erase.scope() {
        Scope::Record(id) => turn.said.iter().any(|item| item.info.id == *id),
        Scope::User { class, when, .. } => {
            let named = |of: &Class| class.as_ref().is_none_or(|class| class == of);
            let goes = |item: &Item| named(&item.info.class) && !stays(plan, item);
            within(when, turn) && turn.said.iter().any(goes)
        }
    }
}

/// Whether a planned erase keeps what is of this kind.
fn stays(plan: &Plan, item: &Item) -> bool {
    plan.erase.kept().contains(&item.info.class)
}

fn within(when: &Of, turn: &Turn) -> bool {
    let began = turn.id.began();
    match when {
        Of::Ever => true,
        Of::Interaction(id) => *id == turn.id,
        Of::Between { from, until } => {
            from.is_none_or(|from| from <= began) && until.is_none_or(|end| began < end)
        }
    }
}

/// Whether a planned erase takes all of an exchange.
fn covers(plan: &Plan, turn: &Turn) -> bool {
    match plan.erase.scope() {
        Scope::Record(_) => false,
        Scope::User { class, when, .. } => {
            class.is_none() && within(when, turn) && !turn.said.iter().any(|item| stays(plan, item))
        }
    }
}
