//! The names that a run uses: users, and the places where stores are.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::ids::UserId;

/// Names of the users: with characters that are hard on text.
const USERS: [&str; 4] = ["ada", "bob", "Ünïcode \u{1F3A4}", "\u{0}nul"];
/// Names that applications give records: one is a prefix of another, one is as long as the smallest
/// page allows.
const NAMES: [&str; 6] = [
    "2026/11/26/wake.wav",
    "2026/11/26/",
    "\u{1F3A4}",
    "a",
    "\u{0}",
    concat!(
        "a/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde",
    ),
];
pub(super) const STORE: &str = "store";
pub(super) const BACKUP: &str = "backup";
pub(super) const CELL: &str = "cell";
/// Where a restore is tried that must be refused.
pub(super) const SCRATCH: &str = "scratch";
/// A copy of the store's directory, byte for byte.
pub(super) const TWIN: &str = "twin";
/// The store as a snapshot of the running machine has it.
pub(super) const LIVE: &str = "live";

pub(super) fn user_id(n: u8) -> UserId {
    match UserId::new(USERS[usize::from(n)]) {
        Ok(id) => id,
        Err(e) => panic!("a user's name: {e}"),
    }
}

/// The name of a record.
pub(super) fn record_name(n: u8) -> &'static str {
    NAMES[usize::from(n) % NAMES.len()]
}

/// What is said of a record that has a name: nothing, something short, or pieces in several pages.
pub(super) fn record_meta(name: u8, content: &[u8]) -> Option<(String, String)> {
    let short = format!("{:?} and {} bytes", content.first(), content.len());
    match usize::from(name) % NAMES.len() {
        3 => Some(("content".into(), short)),
        4 => Some(("content".into(), short.repeat(60))),
        _ => None,
    }
}

/// Names of which nothing is said beside them: those that an upload may have, whose content is yet
/// to come.
pub(super) const UNSAID: [u8; 4] = [0, 1, 2, 5];

/// Where a copy is.
pub(super) fn copy_place(n: u8) -> String {
    format!("copy{n}")
}
