//! What a spread cell promises.

use crate::promise::{Level, Promise, Quorum};

/// The promise of a cell whose root keys these keyholders may have shares of; of epochs up to
/// `unnamed` others may too.
pub(super) fn promised(quorum: Quorum, unnamed: Option<u64>) -> Promise {
    let (n, t, f) = (quorum.keyholders.len(), quorum.threshold, quorum.liars);
    let unnamed = unnamed.map_or(String::new(), |epoch| {
        format!(
            "; of root keys up to epoch {epoch} keyholders that are not known any more may hold shares: these keys \
             never count as destroyed"
        )
    });
    Promise {
        kind: "quorum",
        place: format!("{n} keyholders"),
        level: Level::L3,
        statement: format!(
            "the root key is shared among {n} keyholders, {t} of whom can give it back; it \
             counts as destroyed when {} of them have signed that their share is: then it is \
             gone, if at most {f} of those lied and the others kept no copy of what was \
             overwritten on their media{unnamed}",
            quorum.needed()
        ),
        remnants: false,
        quorum: Some(quorum),
    }
}
