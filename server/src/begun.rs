//! Whose the unfinished uploads of each user are: each principal has a share of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use keyfall::engine::UploadState;
use keyfall::{Timestamp, UploadId};

use crate::places::Share;

/// Of one principal 64, of all together 256; and the first one of each is there while fewer than 64
/// have any.
const SHARE: Share = Share { all: 256, each: 64, firsts: 64 };
/// With so many the first look for those that are over.
const MANY: usize = 1024;

/// Who began the uploads that are not finished. In memory alone: of those from before a start it is
/// not known, and they are counted among all.
#[derive(Default)]
pub(crate) struct Begun(Mutex<All>);

#[derive(Default)]
struct All {
    by: HashMap<UploadId, (String, Timestamp)>,
    /// With so many those that are over are looked for.
    look: usize,
}

impl Begun {
    /// Whether a principal may begin one more upload of a user who has these.
    pub(crate) fn has_room(&self, who: &str, there: &[UploadState]) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by = |state: &UploadState| all.by.get(&state.id).map(|(who, _)| who.as_str());
        let known: Vec<&str> = there.iter().filter_map(by).collect();
        let own = known.iter().filter(|other| **other == who).count();
        let owners = known.iter().collect::<BTreeSet<_>>().len();
        SHARE.has_room(own, there.len(), owners)
    }

    /// Notes who began an upload.
    pub(crate) fn note(&self, id: UploadId, who: &str, expires: Timestamp, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.by.insert(id, (who.to_owned(), expires));
        if all.by.len() >= all.look.max(MANY) {
            all.by.retain(|_, (_, expires)| *expires > now);
            all.look = 2 * all.by.len();
        }
    }

    /// Forgets one that is over.
    pub(crate) fn forget(&self, id: &UploadId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by.remove(id);
    }
}
