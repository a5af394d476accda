//! Locks of the engine and of the journal: the standard library's, or, with the feature `shuttle`,
//! those of a schedule explorer.
//!
//! Leaves that are never held while another lock is taken (the page cache's owner lists, memory for
//! secrets, the memory store) use the standard library's either way: the explorer cannot look into
//! the cache that calls them.

#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::thread::yield_now;

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::thread::yield_now;

/// Takes a lock also if a holder panicked: what it guards is changed in one step, or checked
/// again.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
