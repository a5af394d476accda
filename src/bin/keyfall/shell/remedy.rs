//! Commands that messages name: they run as they are printed, with the store and the cell that this
//! command was given.
//!
//! The library does not know what its store is called: in a command between backticks it writes
//! STORE, and CELL after `--cell`.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::shell::cells::place_of;

/// The store that a command is about, and the cell that was named with it.
#[derive(Clone)]
pub(crate) struct About {
    pub(crate) store: PathBuf,
    pub(crate) cell: Option<PathBuf>,
}

/// A word of a command, quoted as a shell takes it.
pub(crate) fn word(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A command with the store in the place of STORE, and its cell in that of CELL, if they are known.
pub(crate) fn typed(command: &str, about: Option<&About>) -> String {
    let Some(About { store, cell }) = about else { return command.to_owned() };
    let cell = cell.as_deref();
    let (mut left, mut before) = (true, "");
    let words = command.split(' ').map(|part| {
        let text = match part {
            // What comes after it may be somebody's own words.
            "STORE" if std::mem::take(&mut left) => {
                let named = cell.map_or(String::new(), |cell| format!(" --cell {}", word(cell)));
                word(store) + &named
            }
            "CELL" if left && before == "--cell" => {
                place_of(store, cell).map_or_else(|_| part.to_owned(), |at| word(at.place))
            }
            part => part.to_owned(),
        };
        before = part;
        text
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A text with the commands in it typed.
pub(crate) fn fill(text: &str, about: Option<&About>) -> String {
    let parts = text.split('`').enumerate().map(|(n, part)| match part {
        command if n % 2 == 1 && command.starts_with("keyfall ") => typed(command, about),
        words => words.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}
