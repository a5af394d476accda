//! What was read of objects, in windows: an object never changes, so a window is never stale. A
//! path's pages come with one request where they lie in one small commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::frame::Header;
use super::named::Object;

/// Bytes of a window.
pub(super) const WINDOW: u64 = 64 << 10;
/// Windows that are kept.
const KEPT: usize = 64;
/// Headers that are kept, of some 80 bytes each.
const HEADERS: usize = 1 << 16;

/// The windows that were read last.
#[derive(Default)]
pub(super) struct Windows {
    kept: HashMap<(Object, u64), Arc<Vec<u8>>>,
    order: VecDeque<(Object, u64)>,
    headers: HashMap<Object, Header>,
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

    /// The header of an object, if it was read.
    pub(super) fn header(&self, object: Object) -> Option<Header> {
        self.headers.get(&object).copied()
    }

    /// Keeps a header.
    pub(super) fn keep_header(&mut self, object: Object, header: Header) {
        if self.headers.len() >= HEADERS {
            self.headers.clear();
        }
        self.headers.insert(object, header);
    }

    /// Forgets an object that was deleted.
    pub(super) fn forget(&mut self, object: Object) {
        self.headers.remove(&object);
        self.order.retain(|key| key.0 != object);
        self.kept.retain(|key, _| key.0 != object);
    }
}
