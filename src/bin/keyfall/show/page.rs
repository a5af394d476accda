//! What is around every page that the program writes: complete in itself, nothing is fetched.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The look of everything that a person reads; the service has it from here.
const STYLE: &str = include_str!("page.css");

/// A page, whole.
pub(crate) fn page(title: &str, body: &Markup) -> String {
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
pub(crate) fn token(text: &str) -> Markup {
    html! {
        @for piece in text.split_inclusive(['/', '.', '+', '-', '_', '=', '&', '?', ':']) {
            (piece) wbr;
        }
    }
}
