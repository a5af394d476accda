//! What messages say to do, as it is typed: with the store and the cell that this command was
//! given.
//!
//! The library speaks of itself: it names a function between backticks, and what that is given in
//! parentheses after it. Here it becomes the command that does the same. If a command is named,
//! this program's own messages write STORE for the store, HERE for its place alone, CELL after
//! `--cell`, and U after `--user`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use keyfall::opening::{Location, url_of};

/// What the library names, and what is typed for it; {} is what it is given.
const TYPED: &[(&str, &str)] = &[
    ("Builder::cell_at", "--cell"),
    ("Builder::create", "keyfall init STORE"),
    ("Builder::give_up", "keyfall copy remove STORE {} --take-over"),
    ("Builder::keyholders", "--keyholder KEY@HOST:PORT --threshold T"),
    ("Builder::lend", "--lend"),
    ("Builder::restore", "keyfall restore --cell CELL --into HERE --adopt COPY..."),
    ("Builder::single_machine", "--single-machine"),
    ("Builder::take_over", "--take-over"),
    ("Builder::wait_for_lock", "--wait 10s"),
    ("Certificates::get", "keyfall certificate upgrade STORE FILE"),
    ("Clock::trust", "keyfall tend STORE --clock-is-right"),
    ("Copies::add", "keyfall copy add STORE {}"),
    ("Copies::repair", "keyfall copy repair STORE PLACE"),
    ("Copies::remove", "keyfall copy remove STORE {}"),
    ("Copies::status", "keyfall copy status STORE"),
    ("Copies::sync", "keyfall copy sync STORE"),
    ("Engine::backup", "keyfall backup STORE COPY"),
    ("Engine::find", "keyfall info STORE --user U --name NAME"),
    ("Engine::get_as", "--as WHO --purpose WHY"),
    ("Engine::list", "keyfall list STORE"),
    ("Engine::run_due", "keyfall tend STORE"),
    ("Grants::add", "keyfall grant add STORE"),
    ("Grants::list", "keyfall grant list STORE --user U"),
    ("Holds::list", "keyfall hold list STORE --user U"),
    ("Identity::new", "keyfall key FILE"),
    ("Inbox::key", "keyfall inbox STORE --user U"),
    ("Log::key", "keyfall log key STORE"),
    ("Plans::list", "keyfall plan list STORE --user U"),
    ("Policies::list", "keyfall policy list STORE"),
    ("Put::name", "--name"),
    ("Query::name_prefix", "keyfall list STORE --user U --prefix TEXT"),
    ("RealmBuilder::init", "keyfall realm init STORE"),
    ("Training::list", "keyfall training list STORE"),
    ("Training::make", "keyfall training make STORE"),
    ("UserId::in_group", "--user {GROUP}NAME"),
    ("accept_remnants", "--accept-remnants"),
    // Of a store that is damaged; for one that is gone it is the builder's.
    ("restore", "keyfall restore --cell CELL --into NEW --adopt COPY..."),
    ("create_user", "keyfall create STORE --user U"),
];

/// The store that a command is about, and the cell that was named with it.
#[derive(Clone)]
pub(crate) struct About {
    pub(crate) store: PathBuf,
    pub(crate) cell: Option<PathBuf>,
    /// The user that was named.
    pub(crate) user: Option<String>,
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

/// What is typed with a URL where the cell lies in files, to make a store there.
fn alone(store: &Path, cell: Option<&Path>) -> &'static str {
    let is_shared = |at: Location| at.cell().join("quorum.json").exists();
    let in_files = Location::find(store, cell).is_ok_and(|at| !is_shared(at));
    if url_of(store).is_some() && in_files { " --single-machine" } else { "" }
}

/// A command with the store in the place of STORE, and its cell in that of CELL, if they are known.
pub(crate) fn typed(command: &str, about: Option<&About>) -> String {
    let Some(About { store, cell, user }) = about else { return command.to_owned() };
    let cell = cell.as_deref();
    let (mut left, mut before) = (true, "");
    let words = command.split(' ').map(|part| {
        let text = match part {
            "HERE" if left => word(store) + alone(store, cell),
            // What comes after it may be somebody's own words.
            "STORE" if std::mem::take(&mut left) => {
                let named = cell.map_or(String::new(), |cell| format!(" --cell {}", word(cell)));
                word(store) + &named
            }
            "CELL" if left && before == "--cell" => {
                Location::find(store, cell).map_or_else(|_| part.to_owned(), |at| word(at.cell()))
            }
            "U" if before == "--user" => user.as_ref().map_or_else(|| part.to_owned(), word),
            part => part.to_owned(),
        };
        before = part;
        text
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A text with what it says to do as that is typed.
pub(crate) fn fill(text: &str, about: Option<&About>) -> String {
    let parts = text.split('`').enumerate().map(|(n, part)| match command(part) {
        Some(command) if n % 2 == 1 => typed(&command, about),
        None if n % 2 == 1 && part.starts_with("keyfall ") => typed(part, about),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

/// What is typed for a function of the library.
fn command(named: &str) -> Option<String> {
    let (name, given) = match named.strip_suffix(')').and_then(|call| call.split_once('(')) {
        Some((name, given)) => (name, given),
        None => (named, ""),
    };
    let (_, command) = TYPED.iter().find(|(item, _)| *item == name)?;
    Some(command.replace("{}", given))
}
