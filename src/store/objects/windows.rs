//! What was read of objects, in windows: an object never changes, so a window is never stale. A
//! path's pages come with one request where they lie in one small commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::frame::Header;
use super::named::Object;

/// Bytes of a window.
pub(super) const WINDOW: u64 = 64 << 10;
/// Windows of a long range: 8 MiB, what a chunk takes.
pub(super) const RANGE: u64 = 128;
/// Windows after it that come with it: its last blob may end there.
pub(super) const BEYOND: u64 = 2;
/// Bytes of windows that are kept,
const KEPT: usize = 4 << 20;
/// and of long ranges: two.
const KEPT_ALONG: usize = 2 * ((RANGE + BEYOND) * WINDOW) as usize;
/// Headers that are kept, of some 80 bytes each.
const HEADERS: usize = 1 << 16;

/// The windows that were read last.
#[derive(Default)]
pub(super) struct Windows {
    near: Kept,
    along: Kept,
    headers: HashMap<Object, Header>,
}

/// Windows, at most so many bytes of them: those that were kept first go first.
#[derive(Default)]
struct Kept {
    kept: HashMap<(Object, u64), Arc<Vec<u8>>>,
    order: VecDeque<(Object, u64)>,
    bytes: usize,
}

impl Kept {
    fn keep(&mut self, key: (Object, u64), bytes: Arc<Vec<u8>>, most: usize) {
        self.bytes += bytes.len();
        match self.kept.insert(key, bytes) {
            Some(before) => self.bytes -= before.len(),
            None => self.order.push_back(key),
        }
        while self.bytes > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.kept.remove(&oldest).map_or(0, |window| window.len());
        }
    }

    fn forget(&mut self, object: Object) {
        if self.order.iter().any(|key| key.0 == object) {
            self.order.retain(|key| key.0 != object);
            self.kept.retain(|key, _| key.0 != object);
            self.bytes = self.kept.values().map(|window| window.len()).sum();
        }
    }
}

impl Windows {
    pub(super) fn get(&self, object: Object, number: u64) -> Option<Arc<Vec<u8>>> {
        let key = (object, number);
        self.near.kept.get(&key).or_else(|| self.along.kept.get(&key)).map(Arc::clone)
    }

    /// Keeps one, in the place of the one that was kept first.
    pub(super) fn keep(&mut self, object: Object, number: u64, bytes: Arc<Vec<u8>>) {
        self.near.keep((object, number), bytes, KEPT);
    }

    /// Keeps one that came with a long range, beside the others.
    pub(super) fn keep_along(&mut self, object: Object, number: u64, bytes: Arc<Vec<u8>>) {
        self.along.keep((object, number), bytes, KEPT_ALONG);
    }

    /// Lets go of long ranges.
    pub(super) fn end_along(&mut self) {
        self.along = Kept::default();
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
        self.near.forget(object);
        self.along.forget(object);
    }
}
