//! STORE, which may be left out, and the arguments after it.

use std::path::{Path, PathBuf};

use keyfall::{Error, ErrorKind};

use keyfall::opening::default_cell;
use keyfall::opening::is_store;

use crate::shell::remedy::word;

/// The STORE argument of a command that takes no other path.
pub(crate) fn one(places: Vec<PathBuf>) -> Result<PathBuf, Error> {
    store_and(places, []).map(|(store, [])| store)
}

/// STORE and the arguments after it; if only the latter are given, KEYFALL_STORE names the store.
pub(crate) fn store_and<const N: usize>(
    mut places: Vec<PathBuf>,
    names: [&str; N],
) -> Result<(PathBuf, [PathBuf; N]), Error> {
    if places.len() == N {
        let store = store_from_env().map_err(|e| match (places.first(), names.first()) {
            (Some(given), Some(name)) => lacking(given, name),
            _ => e,
        })?;
        places.insert(0, store);
    }
    let store = places.remove(0);
    let missing = |_| Error::new(ErrorKind::Invalid, "an argument is missing; see --help");
    Ok((store, places.try_into().map_err(missing)?))
}

/// STORE and one or more arguments after it; a single place is one of those.
pub(crate) fn store_and_some(
    mut places: Vec<PathBuf>,
    name: &str,
) -> Result<(PathBuf, Vec<PathBuf>), Error> {
    let store = match places.len() {
        1 => store_from_env().map_err(|_| lacking(&places[0], name))?,
        _ => places.remove(0),
    };
    Ok((store, places))
}

/// STORE and any number of arguments after it; a single place is the store.
pub(crate) fn store_and_any(mut places: Vec<PathBuf>) -> Result<(PathBuf, Vec<PathBuf>), Error> {
    let store = if places.is_empty() { store_from_env()? } else { places.remove(0) };
    Ok((store, places))
}

/// Of two arguments one is missing; what was given tells which.
fn lacking(given: &Path, name: &str) -> Error {
    let place = given.display();
    let text = if is_store(given) || default_cell(given).exists() {
        format!("{name} is missing; give it after the store: `{}`", typed_with(given, name))
    } else {
        format!(
            "which store? {place} was taken for {name}; name the store's directory before it, as \
             STORE, or in KEYFALL_STORE"
        )
    };
    Error::new(ErrorKind::Invalid, text)
}

/// This command as it was typed, with `name` after the store.
fn typed_with(store: &Path, name: &str) -> String {
    let mut words = vec!["keyfall".to_owned()];
    let mut named = false;
    for arg in std::env::args_os().skip(1) {
        words.push(word(&arg));
        if !named && arg == store.as_os_str() {
            named = true;
            words.push(name.to_owned());
        }
    }
    words.join(" ")
}

fn store_from_env() -> Result<PathBuf, Error> {
    let text = "which store? name its directory as STORE, or in KEYFALL_STORE";
    let store =
        std::env::var_os("KEYFALL_STORE").filter(|store| !store.is_empty()).map(PathBuf::from);
    store.ok_or_else(|| Error::new(ErrorKind::Invalid, text))
}
