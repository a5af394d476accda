//! Places in a file system, by whichever way one gets there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::store::place::{check_url, is_url};

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;

/// The URL that a place is, if it is one: `s3://`, `gs://`, `az://`, `file:///` or `postgres://`,
/// or one at which no store can be.
pub fn url_of(place: &Path) -> Option<&str> {
    place.to_str().filter(|place| is_url(place))
}

/// The directory of a `file:///` URL; any other place as it is.
pub fn on_the_ground(place: &Path) -> PathBuf {
    match url_of(place).and_then(|url| url.strip_prefix("file://")) {
        // The host is this machine's, or the URL is refused.
        Some(rest) => Path::new("/").join(parts_of(rest).into_iter().skip(1).collect::<PathBuf>()),
        None => place.to_owned(),
    }
}

/// A place as it is compared with others: a URL as those read it that open it.
fn compared(place: &Path) -> Result<PathBuf> {
    match url_of(place).and_then(|url| url.split_once("://")) {
        Some((scheme, rest)) if !["file", "postgres", "postgresql"].contains(&scheme) => {
            let parts = parts_of(rest).into_iter().enumerate();
            // Names of buckets differ by more than their case.
            let part = |(n, part): (usize, OsString)| match n {
                0 => part.to_ascii_lowercase(),
                _ => part,
            };
            Ok(Path::new(&format!("{scheme}:")).join(parts.map(part).collect::<PathBuf>()))
        }
        _ => absolute(&on_the_ground(place)),
    }
}

/// The parts of a URL after its scheme, decoded, the host or the bucket first; `.` and `..` are
/// taken by the letter.
fn parts_of(rest: &str) -> Vec<OsString> {
    let decoded = decoded(rest);
    let mut parts = Vec::new();
    for (n, part) in decoded.split(|b| *b == b'/').enumerate() {
        match part {
            b".." if n > 0 => parts.truncate((parts.len() - 1).max(1)),
            b"" | b"." if n > 0 => {}
            _ => parts.push(OsString::from_vec(part.to_vec())),
        }
    }
    parts
}

/// A text with `%41` as `A`.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |at: usize| char::from(*text.as_bytes().get(at)?).to_digit(16);
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.as_bytes().get(at) {
        let two = digit(at + 1).zip(digit(at + 2)).filter(|_| *byte == b'%');
        decoded.push(two.map_or(*byte, |(high, low)| (high * 16 + low) as u8));
        at += if two.is_some() { 3 } else { 1 };
    }
    decoded
}

/// Refuses places of which one is another, or lies inside it: whatever takes the one takes the
/// other. Each comes with what it is, for the error.
///
/// # Errors
/// `Refused`; `Invalid` for a URL with a password, and for one of an unknown kind; `Io`.
pub fn apart(places: &[(&str, &Path)]) -> Result<()> {
    for (_, place) in places {
        check_url(&place.to_string_lossy())?;
    }
    for (n, (what, place)) in places.iter().enumerate() {
        for (_, (other, there)) in places.iter().enumerate().filter(|(m, _)| *m != n) {
            if lies_inside(place, there)? {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "{what} {} lies inside {other} {}: to copy or lose the outer one is to \
                         copy or lose both; name another place",
                        place.display(),
                        there.display()
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// Whether a place is another, or lies inside it, by whichever way one gets there.
///
/// # Errors
/// As [`absolute`].
pub fn lies_inside(place: &Path, other: &Path) -> Result<bool> {
    let (place, other) = (compared(place)?, compared(other)?);
    let node = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    let there = node(&other);
    Ok(place.starts_with(&other)
        || there.is_some() && place.ancestors().any(|above| node(above) == there))
}

/// An absolute path with its links followed, also those that lead where nothing is yet, and the
/// rest taken by the letter. A URL is itself.
///
/// # Errors
/// `Invalid` for a link that leads in a circle; `Io`.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    if let Some(url) = url_of(path) {
        // Of `postgres:///` the environment says the rest.
        let place = Some(url.trim_end_matches('/')).filter(|place| !place.ends_with(':'));
        return Ok(PathBuf::from(place.unwrap_or(url)));
    }
    let whole = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
    let parts = |path: &Path| {
        path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>()
    };
    let (mut real, mut rest, mut links) = (PathBuf::new(), parts(&whole), 0);
    while let Some(part) = rest.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        if part == "." {
            continue;
        }
        real.push(&part);
        if let Ok(followed) = real.canonicalize() {
            real = followed;
        } else if let Ok(to) = real.read_link() {
            links += 1;
            if links > LINKS_MAX {
                let text = format!(
                    "{} is a link that leads in a circle; name another place",
                    path.display()
                );
                return Err(Error::invalid(text));
            }
            real.pop();
            rest.extend(parts(&to));
        }
    }
    Ok(real)
}

#[cfg(all(test, feature = "objects"))]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_the_slashes_that_it_begins_with() {
        for (url, place) in [
            ("s3://bucket/x/", "s3://bucket/x"),
            ("postgres:///", "postgres:///"),
            ("postgres:///keyfall", "postgres:///keyfall"),
        ] {
            assert_eq!(absolute(Path::new(url)).unwrap(), Path::new(place));
        }
    }
}
