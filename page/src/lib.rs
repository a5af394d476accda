//! The frame and the look of what people read: the reports and certificates of the command line
//! and of the service, and the pages of the service.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The style sheet of everything that a person reads.
pub const STYLE: &str = include_str!("page.css");

/// A document in English that is complete in itself, with its title as the heading: nothing is
/// fetched.
#[must_use]
pub fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { div.page { main { h1 { (title) } (body) } } }
        }
    };
    page.into_string()
}

/// A long name or address, which a line may end within, but in no word of it.
#[must_use]
pub fn token(text: &str) -> Markup {
    html! {
        @for piece in text.split_inclusive(['/', '.', '+', '-', '_', '=', '&', '?', ':']) {
            (piece) wbr;
        }
    }
}
