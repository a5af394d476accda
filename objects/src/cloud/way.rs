//! What lies in a directory under an object's name, and is no object.

use std::fs;
use std::io::ErrorKind;

use super::directory_of;

/// Says what has an object's name at a `file:///` place, if it is no file: it reads as "not
/// there", and yet the name is taken.
pub(super) fn in_the_way(url: &str, name: &str) -> Option<String> {
    let path = directory_of(url)?.join(name);
    let what = match fs::metadata(&path) {
        Ok(meta) if meta.is_file() => return None,
        Ok(meta) if meta.is_dir() => "a directory",
        Ok(_) => "something that is no file",
        // Gone by now, or a link whose target is not there.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            path.symlink_metadata().ok().filter(fs::Metadata::is_symlink)?;
            "a link to nothing"
        }
        Err(_) => return None,
    };
    let path = path.display();
    Some(format!("{url}: {name}: {what} has the name of an object; move {path} away"))
}
