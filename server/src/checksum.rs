//! What the bytes of an upload are said to hash to (tus 1.0.0, extension checksum).

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use data_encoding::BASE64;

use crate::auth::caller::text;
use crate::problem::{Answer, Problem};

/// The header of an algorithm and a sum in base64.
const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
/// What is taken. The protocol has every server take SHA-1: against bytes that went wrong on their
/// way it is enough.
pub(crate) const ALGORITHMS: HeaderValue = HeaderValue::from_static("sha256,sha1");

/// A sum that bytes on their way in must have.
pub(crate) struct Checksum {
    context: Context,
    sum: Vec<u8>,
}

impl Checksum {
    /// The sum that headers say, if they do.
    ///
    /// # Errors
    /// 400 for another algorithm, or for what is no sum of it.
    pub(crate) fn read(headers: &HeaderMap) -> Answer<Option<Self>> {
        let Some(value) = headers.get(CHECKSUM) else { return Ok(None) };
        let value = text(value.as_bytes())?;
        let (name, sum) = value.split_once(' ').unwrap_or((&value, ""));
        let algorithm = match name {
            "sha256" => &SHA256,
            "sha1" => &SHA1_FOR_LEGACY_USE_ONLY,
            _ => return Err(Problem::invalid("Upload-Checksum is of sha256 or sha1")),
        };
        let sum = BASE64.decode(sum.as_bytes()).ok();
        let sum = sum.filter(|sum| sum.len() == algorithm.output_len()).ok_or_else(|| {
            Problem::invalid("Upload-Checksum is the algorithm, a space, and the sum in base64")
        })?;
        Ok(Some(Checksum { context: Context::new(algorithm), sum }))
    }

    /// Takes bytes in.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Whether the bytes have the sum.
    pub(crate) fn holds(self) -> bool {
        self.context.finish().as_ref() == self.sum
    }
}

/// The problem of bytes that have another sum.
pub(crate) fn mismatch() -> Problem {
    let status = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
    let detail = "these are not the bytes that Upload-Checksum is of; none of them was kept; send \
                  them again";
    Problem::new(status, "checksum", detail)
}
