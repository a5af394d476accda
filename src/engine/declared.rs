//! A payload whose length was declared before it came: what is shorter or longer is an error, so
//! that half an upload is not stored as whole.

use std::cmp::Ordering;
use std::io::{self, Read};

use crate::error::{Error, Result};
use crate::limits::RECORD_MAX_BYTES;

/// A payload, and how long it is to be.
pub(super) struct Declared<R> {
    payload: R,
    /// `None`: whatever comes is the whole of it.
    length: Option<u64>,
    read: u64,
}

impl<R: Read> Declared<R> {
    /// # Errors
    /// `Invalid` for a length that no record has.
    pub(super) fn new(payload: R, length: Option<u64>) -> Result<Self> {
        match length {
            Some(length) if length > RECORD_MAX_BYTES => Err(Error::invalid(format!(
                "a record has at most {RECORD_MAX_BYTES} bytes, and {length} were declared; cut it \
                 into several"
            ))),
            _ => Ok(Declared { payload, length, read: 0 }),
        }
    }
}

impl<R: Read> Read for Declared<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.payload.read(out)?;
        let Some(length) = self.length.filter(|_| !out.is_empty()) else {
            return Ok(n);
        };
        self.read = self.read.saturating_add(n as u64);
        let found = match self.read.cmp(&length) {
            Ordering::Less if n == 0 => format!("ended after {} of", self.read),
            Ordering::Greater => "has more than".to_owned(),
            Ordering::Less | Ordering::Equal => return Ok(n),
        };
        Err(Error::invalid(format!(
            "the payload {found} the {length} bytes that were declared; nothing of it was stored; \
             put it again, whole"
        ))
        .into())
    }
}
