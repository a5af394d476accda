//! Commands that messages name: they run as they are printed, with the store and the cell that this command was given.
//!
//! The library does not know what its store is called: it writes STORE, and CELL behind `--cell`, in a command between backticks.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::stores::cell_of;

/// The store that this command is about, and the cell that was named with it.
static ABOUT: Mutex<Option<(PathBuf, Option<PathBuf>)>> = Mutex::new(None);

/// Puts down which store this command is about.
pub(crate) fn about(store: &Path, cell: Option<&Path>) {
    *ABOUT.lock().unwrap_or_else(PoisonError::into_inner) = Some((store.to_owned(), cell.map(Path::to_owned)));
}

/// A word of a command, as a shell takes it.
pub(crate) fn word(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A command with the store in the place of STORE, and its cell in that of CELL, where they are known.
pub(crate) fn typed(command: &str) -> String {
    // Not under the lock: where the cell is, is asked of what puts this down.
    let about = ABOUT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some((store, cell)) = about else { return command.to_owned() };
    let cell = cell.as_deref();
    let (mut left, mut before) = (true, "");
    let words = command.split(' ').map(|part| {
        let text = match part {
            // What comes after it may be somebody's own words.
            "STORE" if std::mem::take(&mut left) => {
                let named = cell.map_or(String::new(), |cell| format!(" --cell {}", word(cell)));
                word(&store) + &named
            }
            "CELL" if left && before == "--cell" => cell_of(&store, cell).map_or_else(|_| part.to_owned(), word),
            part => part.to_owned(),
        };
        before = part;
        text
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A text with the commands in it typed.
pub(crate) fn fill(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(n, part)| match part {
        command if n % 2 == 1 && command.starts_with("keyfall ") => typed(command),
        words => words.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}
