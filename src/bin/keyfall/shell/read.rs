//! Small files that come from elsewhere: keys, certificates, checkpoints, files of a log. Reading
//! one takes bounded memory, whatever it holds.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use keyfall::sealed::PublicKey;
use keyfall::{Error, ErrorKind};

/// Most bytes of one. This program writes no file of these kinds that is so large.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a small file.
pub(crate) fn read_limited(file: &Path) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(file.display(), e);
    let from = File::open(file).map_err(io)?;
    let length = from.metadata().map_err(io)?.len().min(MAX_BYTES);
    // At its full size from the start: growing would move a secret, and leave a copy of it.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        let text = format!(
            "{} is larger than 1 MiB: it is none of these files; name another",
            file.display()
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(bytes)
}

/// Reads a small file of text.
pub(crate) fn read_text(file: &Path) -> Result<String, Error> {
    let text = String::from_utf8(read_limited(file)?);
    text.map_err(|_| Error::new(ErrorKind::Invalid, format!("{} is not text", file.display())))
}

/// Reads a file that holds a public key.
pub(crate) fn read_public_key(file: &Path) -> Result<PublicKey, Error> {
    read_text(file)?.parse()
}

/// Reads the files of a log from a directory, each by its path in the log.
pub(crate) fn log_files(dir: &Path) -> impl Fn(&str) -> Result<Vec<u8>, Error> + use<> {
    let dir = dir.to_owned();
    move |path| read_limited(&dir.join(path))
}
