//! A proof as it stands in a page: to be downloaded, read, and checked in the browser.

use maud::{Markup, html};

use super::frame::{BY_CODE, SURE};
use super::kept::Proof;
use super::spoken::spoken;
use super::words::Words;

/// What the names of proofs of a session that ended begin with.
pub(super) const ENDED: &str = "ended-";

/// Where the file of a proof is downloaded from.
pub(super) fn place_of(name: &str) -> Place<'static> {
    Place::From(format!("/page/proofs/{name}.erased"))
}

/// Whom a proof has to be about.
pub(crate) enum About<'a> {
    /// Whoever it names.
    Any,
    /// The person with this name, in an archive whose times are those of a zone.
    Archive(&'a str, &'a str),
    /// The same, on a page in a time zone that leads to how sure "gone" is.
    Page(&'a str, &'a str),
}

impl<'a> About<'a> {
    fn name(&self) -> Option<&'a str> {
        match self {
            About::Any => None,
            About::Archive(name, _) | About::Page(name, _) => Some(name),
        }
    }

    fn zone(&self) -> Option<&'a str> {
        match self {
            About::Archive(_, zone) | About::Page(_, zone) => Some(zone),
            About::Any => None,
        }
    }
}

/// Where a file is checked that the reader chooses.
pub(crate) fn by_file(words: Words<'_>, key: &str, about: &About<'_>) -> Markup {
    html! {
        section.card data-check data-user=[about.name()] data-zone=[about.zone()] {
            p { label for="file" { strong { (words.say("check-file")) } } }
            p { input #file type="file" accept=".erased,text/plain" data-file; }
            p { label for="key" { strong { (words.say("check-key")) } } }
            p { textarea #key rows="3" cols="60" spellcheck="false" data-key { (key) } }
            p.soft.small { (words.say("check-key-hint")) }
            (verdict(words, about))
        }
    }
}

/// Where the file of a proof is.
pub(crate) enum Place<'a> {
    /// It is downloaded from there.
    From(String),
    /// It lies there, beside the page.
    Beside(&'a str),
    /// It is the one with this number of those that a code opens.
    ByCode(&'a str, usize),
}

/// A proof, whole: it can be checked with nothing more than this page.
pub(crate) fn proof_card(
    words: Words<'_>,
    proof: &Proof,
    place: &Place<'_>,
    about: &About<'_>,
) -> Markup {
    html! {
        section.card data-check data-user=[about.name()] data-zone=[about.zone()] {
            h2 { (words.say("proof-title")) }
            p { (words.say("proof-lead")) }
            @if let Place::Beside(file) = place { p.soft.small { code { (file) } } }
            div.actions {
                @match place {
                    Place::From(at) => {
                        a.button.main href=(at) download { (words.say("proof-download")) }
                    }
                    Place::ByCode(code, number) => {
                        form method="post" action=(BY_CODE) {
                            input type="hidden" name="code" value=(code);
                            button.main name="file" value=(number) { (words.say("proof-download")) }
                        }
                    }
                    Place::Beside(_) => {}
                }
                button type="button" hidden data-run { (words.say("proof-check")) }
            }
            (verdict(words, about))
            details {
                summary { (words.say("proof-read")) }
                pre lang="en" dir="ltr" data-proof { (proof.text) }
                p.soft.small { (words.say("check-key")) ": " code data-key { (proof.key) } }
            }
        }
    }
}

/// Where the verdict of a check comes, with its words.
fn verdict(words: Words<'_>, about: &About<'_>) -> Markup {
    let more = match about {
        About::Page(..) => Some((SURE, words.say("nav-sure"))),
        About::Any | About::Archive(..) => None,
    };
    html! {
        @if let Some((to, said)) = more { template data-more { a href=(to) { (said) } } }
        div role="status" data-verdict data-words=(spoken(words, about.name().is_some())) {}
    }
}
