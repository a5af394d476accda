//! What was read of objects, in windows: an object never changes, so a window is never stale. A
//! path's pages come with one request where they lie in one small commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::named::Object;

/// Bytes of a window.
pub(super) const WINDOW: u64 = 64 << 10;
/// Windows that are kept.
const KEPT: usize = 64;

/// The windows that were read last.
#[derive(Default)]
pub(super) struct Windows {
    kept: HashMap<(Object, u64), Arc<Vec<u8>>>,
    order: VecDeque<(Object, u64)>,
}

impl Windows {
    pub(super) fn get(&self, object: Object, number: u64) -> Option<Arc<Vec<u8>>> {
        self.kept.get(&(object, number)).map(Arc::clone)
    }

    /// Keeps one, in the place of the one that was kept first.
    pub(super) fn keep(&mut self, object: Object, number: u64, bytes: Arc<Vec<u8>>) {
        let key = (object, number);
        if self.kept.insert(key, bytes).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.kept.remove(&oldest);
            }
        }
    }

    /// Forgets an object that was deleted.
    pub(super) fn forget(&mut self, object: Object) {
        self.order.retain(|key| key.0 != object);
        self.kept.retain(|key, _| key.0 != object);
    }
}
