//! Paths: where they lead, and which of them lie inside one another.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use keyfall::{Error, ErrorKind};

/// Most links that are followed, which is as many as the kernel follows.
pub(crate) const LINKS_MAX: usize = 40;

/// An absolute path with its links followed, also those that lead where nothing is yet. What does
/// not exist is taken by its letters.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
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
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            real.pop();
            rest.extend(parts(&to));
        }
    }
    Ok(real)
}

/// The directory of a file; `.` where a path names none.
pub(crate) fn parent(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A place, and what it is, for a message.
#[derive(Clone, Copy)]
pub(crate) struct Named<'p> {
    pub(crate) what: &'static str,
    pub(crate) place: &'p Path,
}

/// Refuses places of which one is another, or lies inside it: whatever takes the one takes both.
pub(crate) fn apart(places: &[Named<'_>]) -> Result<(), Error> {
    for (n, one) in places.iter().enumerate() {
        for (_, other) in places.iter().enumerate().filter(|(m, _)| *m != n) {
            if lies_inside(one.place, other.place)? {
                let text = format!(
                    "{} {} lies inside {} {}: copying or losing the one copies or loses both; \
                     name another place",
                    one.what,
                    one.place.display(),
                    other.what,
                    other.place.display()
                );
                return Err(Error::new(ErrorKind::Refused, text));
            }
        }
    }
    Ok(())
}

/// Whether a place is another, or lies inside it, by whichever way one gets there.
pub(crate) fn lies_inside(place: &Path, other: &Path) -> Result<bool, Error> {
    let (place, other) = (absolute(place)?, absolute(other)?);
    let node = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    let there = node(&other);
    Ok(place.starts_with(&other)
        || there.is_some() && place.ancestors().any(|above| node(above) == there))
}
