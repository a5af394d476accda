//! What was read of objects, in windows: an object never changes, so a window is never stale. A
//! path's pages come with one request where they lie in one small commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::frame::Header;
use super::named::Object;

/// Bytes of a window.
pub(super) const WINDOW: u64 = 64 << 10;
/// Bytes of windows that are kept,
const KEPT: usize = 4 << 20;
/// and while all that lives is walked over.
const WIDE: usize = 64 << 20;
/// Bytes that are read at once then, at most.
const AHEAD_MAX: u64 = 8 << 20;
/// Headers that are kept, of some 80 bytes each.
const HEADERS: usize = 1 << 16;

/// The windows that were read last.
#[derive(Default)]
pub(super) struct Windows {
    kept: HashMap<(Object, u64), Arc<Vec<u8>>>,
    order: VecDeque<(Object, u64)>,
    bytes: usize,
    /// Bytes that are read at once while all that lives is walked over.
    ahead: Option<u64>,
    headers: HashMap<Object, Header>,
}

impl Windows {
    pub(super) fn get(&self, object: Object, number: u64) -> Option<Arc<Vec<u8>>> {
        self.kept.get(&(object, number)).map(Arc::clone)
    }

    /// Keeps one, in the place of the one that was kept first.
    pub(super) fn keep(&mut self, object: Object, number: u64, bytes: Arc<Vec<u8>>) {
        let key = (object, number);
        self.bytes += bytes.len();
        match self.kept.insert(key, bytes) {
            Some(before) => self.bytes -= before.len(),
            None => self.order.push_back(key),
        }
        self.trim();
    }

    fn trim(&mut self) {
        let most = if self.ahead.is_some() { WIDE } else { KEPT };
        while self.bytes > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.kept.remove(&oldest).map_or(0, |window| window.len());
        }
    }

    /// Keeps more, and reads more at once, while all that lives is walked over: in each of so many
    /// objects, for what comes next in the order of users often lies after it.
    pub(super) fn widen(&mut self, objects: u64) {
        let each = WIDE as u64 / 2 / objects.max(1);
        self.ahead = Some((each / WINDOW * WINDOW).clamp(WINDOW, AHEAD_MAX));
    }

    /// Ends that.
    pub(super) fn narrow(&mut self) {
        self.ahead = None;
        self.trim();
    }

    /// Bytes that are read at once.
    pub(super) fn at_once(&self) -> u64 {
        self.ahead.unwrap_or(WINDOW)
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
        if self.order.iter().any(|key| key.0 == object) {
            self.order.retain(|key| key.0 != object);
            self.kept.retain(|key, _| key.0 != object);
            self.bytes = self.kept.values().map(|window| window.len()).sum();
        }
    }
}
