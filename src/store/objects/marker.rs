//! The marker of an object log: its format, and the naming key in hex.

use super::named::first_number;
use super::naming::NAMING_KEY_BYTES;
use crate::error::{Error, ErrorKind, Result};

/// How the marker of any format begins.
pub(super) const FORMATS: &str = "keyfall object log, format ";
const FORMAT: &str = "keyfall object log, format 2\n";
/// In which the numbers in names begin at 1, whatever was in that place before.
const FORMAT_1: &str = "keyfall object log, format 1\n";
const NAMING: &str = "naming key ";

/// The text of a marker.
pub(super) fn text_of(naming_key: &[u8; NAMING_KEY_BYTES]) -> String {
    let sum = crc32fast::hash(naming_key).to_be_bytes();
    let hex = data_encoding::HEXLOWER.encode(&[&naming_key[..], &sum].concat());
    format!("{FORMAT}{NAMING}{hex}\n")
}

/// What a marker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) naming_key: [u8; NAMING_KEY_BYTES],
    /// After which number those in the names of its objects begin.
    pub(super) first: u64,
}

/// Reads a marker.
pub(super) fn read(place: &str, marker: &[u8]) -> Result<Marked> {
    let damaged = || {
        Error::corrupt(format!(
            "{place}: its marker `keyfall` is damaged; restore the store from a copy"
        ))
    };
    let text = std::str::from_utf8(marker).map_err(|_| damaged())?;
    let (rest, is_first) = match (text.strip_prefix(FORMAT), text.strip_prefix(FORMAT_1)) {
        (None, rest) => (rest, true),
        (rest, _) => (rest, false),
    };
    let Some(rest) = rest else {
        if !text.starts_with(FORMATS) {
            return Err(damaged());
        }
        let first = text.lines().next().unwrap_or_default();
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{place} has another format ({first:?}); use the program that wrote it"),
        ));
    };
    let hex = rest.strip_prefix(NAMING).and_then(|rest| rest.strip_suffix('\n'));
    let bytes = hex.and_then(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).ok());
    let bytes = bytes.filter(|bytes| bytes.len() == NAMING_KEY_BYTES + 4).ok_or_else(damaged)?;
    let (key, sum) = bytes.split_at(NAMING_KEY_BYTES);
    if crc32fast::hash(key).to_be_bytes() != sum {
        return Err(damaged());
    }
    let naming_key: [u8; NAMING_KEY_BYTES] = key.try_into().map_err(|_| damaged())?;
    let [.., a, b, c] = naming_key;
    let first = if is_first { 0 } else { first_number([a, b, c]) };
    Ok(Marked { naming_key, first })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_damage_is_found() {
        let text = text_of(&[7; 16]);
        let marked = read("there", text.as_bytes()).unwrap();
        assert_eq!((marked.naming_key, marked.first), ([7; 16], first_number([7; 3])));
        let before = read("there", text.replace("format 2", "format 1").as_bytes()).unwrap();
        assert_eq!((before.naming_key, before.first), ([7; 16], 0));
        let later = read("there", text.replace("format 2", "format 3").as_bytes()).unwrap_err();
        assert_eq!(later.kind(), ErrorKind::Refused, "{later}");
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            assert!(read("there", &damaged).is_err(), "byte {at}");
        }
    }
}
