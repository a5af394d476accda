//! How far long work has come.

/// Hears how far long work has come: blobs or records read.
pub type Progress<'p> = &'p mut dyn FnMut(u64);
