//! Text as a certificate has it: nothing in it is hidden, or shown in another place than where it
//! stands.

use std::fmt::Write;

use serde::Serialize;

/// Whether a character is always written as an escape: control characters, separators of lines,
/// what changes the direction of text, and what has no width (SPEC.md 14).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{FEFF}')
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{206F}' | '\u{FFF9}'..='\u{FFFB}')
        || matches!(c, '\u{E0000}'..='\u{E007F}')
}

/// JSON with an escape for each hidden character. These are in strings alone, but for the line
/// feeds between fields, which stay.
pub(super) fn escaped(json: String) -> String {
    let hidden = |c: char| c != '\n' && is_hidden(c);
    if !json.contains(hidden) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A value as JSON on one line with nothing hidden in it.
pub(super) fn json<T: Serialize>(value: &T) -> String {
    escaped(sure(serde_json::to_string(value)))
}

/// A value as indented JSON with nothing hidden in it.
pub(super) fn pretty<T: Serialize>(value: &T) -> String {
    escaped(sure(serde_json::to_string_pretty(value)))
}

/// What a certificate consists of, numbers, strings and maps by string, always serializes.
fn sure(json: serde_json::Result<String>) -> String {
    json.unwrap_or_else(|_| unreachable!("numbers, strings and maps by string always serialize"))
}

/// A text in quotes, on one line.
pub(super) fn quoted(text: &str) -> String {
    escaped(serde_json::Value::from(text).to_string())
}

/// A name as it is if it is one, such as `audio`; in quotes otherwise, so that nothing in it
/// reads like another line or field.
pub(super) fn named(text: &str) -> String {
    let plain =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if plain { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::{escaped, named, quoted};

    #[test]
    fn what_is_escaped_is_the_same_to_any_reader_of_json() {
        for text in [
            "ada",
            "a\u{7f}b",
            "\u{85}\u{2028}\u{2029}",
            "\\\u{7f}\"\n\t",
            "\u{202e}\u{e0041}x\u{feff}",
            "Ægir 🙂",
        ] {
            let json = quoted(text);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(
                !json.contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}'),
                "{json:?}"
            );
            assert_eq!(escaped(json.clone()), json);
        }
        assert_eq!(quoted("a\u{7f}\u{e0041}"), "\"a\\u007f\\udb40\\udc41\"");
        assert_eq!((named("audio"), named("a: b")), ("audio".to_owned(), "\"a: b\"".to_owned()));
    }
}
