//! A lock that a panicking judge leaves usable.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock although a judge may have panicked while it held it: a run that failed is replayed
/// and judged again.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
