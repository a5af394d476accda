//! Where a path leads: to a user, and to a name of theirs.

use keyfall::{ErrorKind, UserId};
use object_store::{Result, path::Path};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::no_path;

/// In the first segment of a path nothing but these stands for itself.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Whose files a store shows.
#[derive(Clone, Debug)]
pub(crate) enum Whose {
    /// One user's: a path is a name.
    One(UserId),
    /// Everybody's: the first segment of a path is the user, percent-encoded, the rest the name.
    All,
}

/// A file of a user.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) user: UserId,
    pub(crate) name: String,
}

impl Whose {
    /// Where a path leads.
    ///
    /// # Errors
    /// For a path without a name, and one whose first segment is no user.
    pub(crate) fn place(&self, path: &Path) -> Result<Place> {
        let (user, name) = match self {
            Whose::One(user) => (user.clone(), path.as_ref()),
            Whose::All => {
                let (user, name) = path.as_ref().split_once('/').unwrap_or((path.as_ref(), ""));
                (named(path, user)?, name)
            }
        };
        match name {
            "" => Err(no_path(path, "a file has a name; write one after the user")),
            name => Ok(Place { user, name: name.to_owned() }),
        }
    }

    /// The user of a prefix, and the beginning of the names below it; `None` for all users.
    pub(crate) fn below(&self, prefix: &str) -> Result<Option<(UserId, String)>> {
        match self {
            Whose::One(user) => Ok(Some((user.clone(), prefix.to_owned()))),
            Whose::All => match prefix.split_once('/') {
                None => Ok(None),
                Some((user, rest)) => {
                    Ok(Some((named(&Path::from(prefix), user)?, rest.to_owned())))
                }
            },
        }
    }

    /// The path of a name; `None` if object_store cannot say it.
    pub(crate) fn path(&self, user: &UserId, name: &str) -> Option<Path> {
        let path = match self {
            Whose::One(_) => name.to_owned(),
            Whose::All => format!("{}/{name}", segment(user)),
        };
        Path::parse(&path).ok().filter(|parsed| parsed.as_ref() == path)
    }
}

/// A user as the first segment of a path.
pub(crate) fn segment(user: &UserId) -> String {
    utf8_percent_encode(user.as_str(), PLAIN).to_string()
}

fn named(path: &Path, segment: &str) -> Result<UserId> {
    let decoded = percent_decode_str(segment).decode_utf8();
    let user = decoded
        .map_err(|_| ErrorKind::Invalid)
        .and_then(|user| UserId::new(user.into_owned()).map_err(|e| e.kind()));
    user.map_err(|_| no_path(path, "its first segment is no user's name, percent-encoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_all_leads_to_the_user_and_back() {
        let user = UserId::new("ada/lovelace@example.org").unwrap();
        let path = Whose::All.path(&user, "a/b.wav").unwrap();
        assert_eq!(path.as_ref(), "ada%2Flovelace%40example.org/a/b.wav");
        let place = Whose::All.place(&path).unwrap();
        assert_eq!((place.user, place.name.as_str()), (user, "a/b.wav"));
        assert!(Whose::All.place(&Path::from("ada")).is_err());
    }

    #[test]
    fn a_name_that_is_no_path_has_none() {
        let whose = Whose::One(UserId::new("ada").unwrap());
        for name in ["a//b", "/a", "a/", "..", "\u{1}"] {
            assert_eq!(whose.path(&UserId::new("ada").unwrap(), name), None, "{name:?}");
        }
    }
}
