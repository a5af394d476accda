//! Small files that come from elsewhere: keys, certificates, checkpoints, files of a log. Whoever wrote one, reading it takes bounded memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use keyfall::{Error, ErrorKind};

/// Most bytes of one; no file of these kinds that this program writes is so large.
const MAX_BYTES: u64 = 1 << 20;

/// Reads one.
pub(crate) fn read_limited(file: &Path) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(file.display(), e);
    let from = File::open(file).map_err(io)?;
    let length = from.metadata().map_err(io)?.len().min(MAX_BYTES);
    // At once as large as it will be: a secret is not moved, and left behind, as the bytes grow.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        let text = format!("{} is larger than 1 MiB: it is none of these files; name another", file.display());
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(bytes)
}

/// Reads one that is text.
pub(crate) fn read_text(file: &Path) -> Result<String, Error> {
    let text = String::from_utf8(read_limited(file)?);
    text.map_err(|_| Error::new(ErrorKind::Invalid, format!("{} is no text", file.display())))
}
