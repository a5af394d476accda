//! What is printed: lines, blocks, tables, counts and progress.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use keyfall::{Error, ErrorKind};

use crate::shell::failure::{Done, Failure};

/// Prints one line on standard output; nothing in `text` can make it more than one.
pub(crate) fn line(text: impl std::fmt::Display) -> Done {
    block(printable(&text.to_string()))
}

/// Prints lines on standard output as they are: JSON, tables, and what programs read.
pub(crate) fn block(text: impl std::fmt::Display) -> Done {
    let text = text.to_string();
    writeln!(io::stdout(), "{text}").map_err(|e| Failure::Untold {
        closed: e.kind() == io::ErrorKind::BrokenPipe,
        error: Error::new(ErrorKind::Io, format!("standard output: {e}")).with_source(e),
        lost: text,
    })
}

/// Prints one line on standard error.
pub(crate) fn tell(text: &str) {
    tell_whole(&printable(text));
}

/// Prints a text on standard error as it is. If nobody reads it, nothing can be done about it.
pub(crate) fn tell_whole(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A table in the terminal's width; without headings, the rows alone.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if headings.iter().any(|h| !h.is_empty()) {
        table.set_header(headings.iter().copied());
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    table.trim_fmt()
}

/// A text that breaks no line, drives no terminal, and does not reorder what is read. Names and
/// reasons may hold anything.
pub(crate) fn printable(text: &str) -> String {
    let acts = |c: char| {
        let reorders = matches!(
            c,
            '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        );
        reorders || c.is_control()
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// A number and its noun, in the plural if the number asks for it.
pub(crate) fn counted(n: u64, what: &str) -> String {
    match what {
        _ if n == 1 => format!("1 {what}"),
        "copy" => format!("{n} copies"),
        "leaf" => format!("{n} leaves"),
        _ => format!("{n} {what}s"),
    }
}

/// A number of bytes for a person.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// A progress bar on standard error, if that is a terminal.
pub(crate) fn progress(what: &'static str, total: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, style) = match total {
        Some(total) => (ProgressBar::new(total), "{msg} [{bar:30}] {pos}/{len} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {pos}"),
    };
    let style = ProgressStyle::with_template(style);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(what)
}
