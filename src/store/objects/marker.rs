//! The marker of an object log: its format, and the naming key in hex.

use super::naming::NAMING_KEY_BYTES;
use crate::error::{Error, ErrorKind, Result};

/// How the marker of any format begins.
const FORMATS: &str = "keyfall object log, format ";
const FORMAT: &str = "keyfall object log, format 1\n";
const NAMING: &str = "naming key ";

/// The text of a marker.
pub(super) fn text_of(naming_key: &[u8; NAMING_KEY_BYTES]) -> String {
    let sum = crc32fast::hash(naming_key).to_be_bytes();
    let hex = data_encoding::HEXLOWER.encode(&[&naming_key[..], &sum].concat());
    format!("{FORMAT}{NAMING}{hex}\n")
}

/// The naming key in a marker.
pub(super) fn naming_key(place: &str, marker: &[u8]) -> Result<[u8; NAMING_KEY_BYTES]> {
    let damaged = || {
        Error::corrupt(format!(
            "{place}: its marker `keyfall` is damaged; restore the store from a copy"
        ))
    };
    let text = std::str::from_utf8(marker).map_err(|_| damaged())?;
    let Some(rest) = text.strip_prefix(FORMAT) else {
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
    key.try_into().map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_damage_is_found() {
        let text = text_of(&[7; 16]);
        assert_eq!(naming_key("there", text.as_bytes()).unwrap(), [7; 16]);
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            assert!(naming_key("there", &damaged).is_err(), "byte {at}");
        }
    }
}
