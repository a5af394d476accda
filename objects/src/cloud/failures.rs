//! What an error of `object_store` says of a request's effect.

use std::io::{self, ErrorKind};

use object_store::Error;

use crate::causes::line;
use crate::port::Failure;

/// Statuses, besides those of the server's side, after which the same request may succeed.
const PASSING: [u16; 4] = [408, 409, 425, 429];

/// How directories are called in errors.
const LOCAL: &str = "LocalFileSystem";

/// Whether this machine's file system says that it does not do this, however often it is asked.
fn is_refused_here(e: &(dyn std::error::Error + 'static)) -> bool {
    let mut at = Some(e);
    while let Some(e) = at {
        if let Some(e) = e.downcast_ref::<io::Error>() {
            return matches!(
                e.kind(),
                ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::PermissionDenied
            );
        }
        at = e.source();
    }
    false
}

/// What a failed request is: refused for good only where the answer says so.
pub(super) fn failure(url: &str, name: &str, e: &Error) -> Failure {
    let text = line(e);
    let message = format!("{url}: {name}: {text}");
    let refused = match e {
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::InvalidPath { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::UnknownConfigurationKey { .. } => true,
        // The name may be there when it cannot be synced.
        Error::Generic { store: LOCAL, source } => {
            is_refused_here(&**source) && !text.contains("sync data to disk")
        }
        _ => status(&text).is_some_and(|status| {
            // S3 says 400 also of a request that came too slowly.
            (400..500).contains(&status)
                && !PASSING.contains(&status)
                && !text.contains("RequestTimeout")
        }),
    };
    if refused { Failure::refused(message) } else { Failure::unknown(message) }
}

/// The status of an answer, which the crate shows in its text alone.
fn status(text: &str) -> Option<u16> {
    let (_, after) = text.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::FailureKind;

    fn kind(text: &str) -> FailureKind {
        let e = Error::Generic { store: "S3", source: text.to_owned().into() };
        failure("s3://b", "c/1", &e).kind
    }

    #[test]
    fn only_an_answer_that_says_so_is_a_refusal() {
        for status in ["400 Bad Request", "405 Method Not Allowed", "411 Length Required"] {
            let text = format!("Server returned non-2xx status code: {status}: <Error/>");
            assert_eq!(kind(&text), FailureKind::Refused, "{text}");
        }
        for status in ["500 x", "503 Slow Down", "429 x", "408 x", "400: RequestTimeout"] {
            let text = format!("Server returned non-2xx status code: {status}");
            assert_eq!(kind(&text), FailureKind::Unknown, "{text}");
        }
        assert_eq!(kind("connection reset"), FailureKind::Unknown);
    }

    #[test]
    fn a_directory_on_a_full_disk_refuses() {
        let kind = |store: &'static str, of: ErrorKind| {
            let e = Error::Generic { store, source: Box::new(io::Error::from(of)) };
            failure("file:///d", "c/1", &e).kind
        };
        for of in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem] {
            assert_eq!(kind(LOCAL, of), FailureKind::Refused, "{of}");
            assert_eq!(kind("S3", of), FailureKind::Unknown, "{of}");
        }
        assert_eq!(kind(LOCAL, ErrorKind::Interrupted), FailureKind::Unknown);
    }
}
