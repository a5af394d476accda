//! That facts are written as an issuer writes them (SPEC.md 14.2): each text of its kind, each
//! number within its bounds. Else one reader took what another refuses.

use super::facts::{Body, CellFacts, bytes};
use crate::error::{Error, Result};
use crate::limits::{
    AUTHORITY_MAX_BYTES, CLASS_MAX_BYTES, FORMAT, REASON_MAX_BYTES, USER_MAX_BYTES,
};
use crate::time::Timestamp;

/// What the first key of an erase is called.
const ROOT: &str = "root key";

fn not(what: &str, text: &str) -> Error {
    Error::invalid(format!("not {what} as a certificate has it: {text:?}"))
}

/// Reads a time as this program writes it.
pub(super) fn time(text: &str) -> Result<Timestamp> {
    let ms = match text.strip_suffix(" ms") {
        Some(ms) => ms.parse().ok(),
        None => text
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(|at| u64::try_from(at.as_millisecond()).ok()),
    };
    let at = ms.map(Timestamp).filter(|at| at.to_string() == text);
    at.ok_or_else(|| not("a time", text))
}

/// 16 bytes in hexadecimal.
pub(super) fn id(text: &str) -> Result<()> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match text.len() == 32 && text.bytes().all(digit) {
        true => Ok(()),
        false => Err(not("16 bytes in hexadecimal", text)),
    }
}

/// A hash, or a key, in base64.
pub(super) fn hash(text: &str) -> Result<()> {
    bytes::<32>(text).map(drop)
}

fn within(what: &str, text: &str, most: usize) -> Result<()> {
    if text.len() <= most { Ok(()) } else { Err(not(what, text)) }
}

fn class(name: &str) -> Result<()> {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let ok = name.len() <= CLASS_MAX_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(letter);
    if ok { Ok(()) } else { Err(not("a class", name)) }
}

/// Checks all that is not bound to something else.
pub(super) fn check(body: &Body) -> Result<()> {
    let Body { store, user, authority, ground, records, .. } = body;
    if body.format != FORMAT {
        return Err(not("a format", &body.format.to_string()));
    }
    id(store)?;
    if let Some(user) = user {
        let ok = !user.is_empty() && user.len() <= USER_MAX_BYTES;
        ok.then_some(()).ok_or_else(|| not("the name of a user", user))?;
    }
    within("an authority", authority, AUTHORITY_MAX_BYTES)?;
    within("a ground", ground, REASON_MAX_BYTES)?;
    for (n, key) in body.destroyed.iter().enumerate() {
        hash(&key.commitment)?;
        if n == 0 && key.what != ROOT {
            return Err(not("the first key", &key.what));
        }
    }
    records.iter().flatten().try_for_each(|(name, _)| class(name))?;
    for kept in &body.kept {
        class(&kept.class)?;
        within("a reason", &kept.reason, REASON_MAX_BYTES)?;
    }
    check_cell(&body.cell, body.epoch)
}

/// Of earlier root keys the latest stands first; each has keyholders that can work together.
fn check_cell(cell: &CellFacts, epoch: u64) -> Result<()> {
    cell.quorum()?;
    let falls = cell.earlier.windows(2).all(|pair| pair[1].epoch <= pair[0].epoch)
        && cell.earlier.iter().all(|earlier| earlier.epoch < epoch);
    if !falls {
        return Err(Error::invalid("the earlier epochs of a certificate are out of order"));
    }
    cell.earlier.iter().try_for_each(|earlier| earlier.keyholders.quorum().map(drop))
}
