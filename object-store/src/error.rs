//! What errors of the engine are called by those who speak object_store.

use keyfall::ErrorKind;
use object_store::{Error, path::Path};

/// The name of this store in errors.
pub(crate) const STORE: &str = "Keyfall";

/// An error of the engine about a path. Its source is the engine's own error, which tells erased
/// from absent.
pub(crate) fn about(path: &Path, error: keyfall::Error) -> Error {
    let kind = error.kind();
    let (path, source) = (path.to_string(), Box::new(error));
    match kind {
        ErrorKind::Absent | ErrorKind::Erased => Error::NotFound { path, source },
        ErrorKind::Exists => Error::AlreadyExists { path, source },
        ErrorKind::Changed => Error::Precondition { path, source },
        ErrorKind::Refused | ErrorKind::Held => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: STORE, source },
    }
}

/// The same for a put: to put what was erased is no question of what is there.
pub(crate) fn about_put(path: &Path, error: keyfall::Error) -> Error {
    match error.kind() {
        ErrorKind::Erased | ErrorKind::Absent => generic(error),
        _ => about(path, error),
    }
}

pub(crate) fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: STORE, source: source.into() }
}

/// A path that cannot be one here.
pub(crate) fn no_path(path: &Path, why: &str) -> Error {
    generic(keyfall::Error::new(ErrorKind::Invalid, format!("{path}: {why}")))
}
