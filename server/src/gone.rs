//! Whether what an erase names is seen to be gone, where it was not heard of to its end.

use keyfall::{Engine, Erase, ErrorKind, Result, Scope, When};

/// Whether nothing of what an erase names is there. Of a class or a time more may come, so it is
/// never erased before; a user of whom nothing is kept is one all the same.
///
/// # Errors
/// As [`Engine::would_erase`], but for `Erased`.
pub(crate) fn is_gone(engine: &Engine, erase: Erase) -> Result<bool> {
    let of_all = matches!(erase.scope(), Scope::User { class: None, when: When::Ever, .. });
    let whole = of_all && erase.kept().is_empty();
    match engine.would_erase(erase) {
        Ok(seen) => {
            let nothing = seen.records.is_some_and(|records| records.is_empty());
            Ok(seen.already || (nothing && !(whole && seen.here)))
        }
        Err(e) if e.kind() == ErrorKind::Erased => Ok(true),
        Err(e) => Err(e),
    }
}
