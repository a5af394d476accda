//! Paths of files.

use std::path::Path;

/// Most links that are followed, which is as many as the kernel follows.
pub(crate) const LINKS_MAX: usize = 40;

/// The directory of a file; `.` if a path names none.
pub(crate) fn parent(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
