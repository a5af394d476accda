//! What an error of `object_store` says of a request's effect.

use std::io::{self, ErrorKind};

use object_store::Error;

use crate::causes::line;
use crate::port::{Failure, FailureKind};

/// Statuses, besides those of the server's side, after which the same request may succeed.
const PASSING: [u16; 4] = [408, 409, 425, 429];

/// How directories are called in errors.
const LOCAL: &str = "LocalFileSystem";

/// How the error begins of a name that could not be given to a whole file, or not be synced: it may
/// be there.
const NAMED: &str = "Unable to rename file";

/// What this machine's file system says that it does not do: for lack of room, or however often it
/// is asked.
fn of_this_machine(e: &(dyn std::error::Error + 'static)) -> FailureKind {
    let mut at = Some(e);
    while let Some(e) = at {
        if let Some(e) = e.downcast_ref::<io::Error>() {
            return match e.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FailureKind::Full,
                ErrorKind::ReadOnlyFilesystem
                | ErrorKind::PermissionDenied
                | ErrorKind::IsADirectory
                | ErrorKind::NotADirectory => FailureKind::Refused,
                _ => FailureKind::Unknown,
            };
        }
        at = e.source();
    }
    FailureKind::Unknown
}

/// How servers call a bucket that is not there.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];

/// What a request to a bucket that is not there comes to.
pub(super) fn no_bucket(url: &str) -> Failure {
    Failure::refused(format!("{url}: there is no such bucket; make it, or name another place"))
}

/// What a failed request is: refused for good only where the answer says so.
pub(super) fn failure(url: &str, name: &str, e: &Error) -> Failure {
    let text = line(e);
    if NO_BUCKET.iter().any(|code| text.contains(&format!("<Code>{code}</Code>"))) {
        return no_bucket(url);
    }
    let remedy = match status(&text) {
        _ if is_of_the_clock(&text) => CLOCK,
        Some(401 | 403) => RIGHTS,
        _ => "",
    };
    let said = without_markup(&text);
    let message = format!("{url}: object {name}: {}{remedy}", said.trim_end_matches([':', ' ']));
    let refused = || FailureKind::Refused;
    let kind = match e {
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::InvalidPath { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::UnknownConfigurationKey { .. } => refused(),
        Error::Generic { store: LOCAL, source } => match of_this_machine(&**source) {
            FailureKind::Full | FailureKind::Refused if text.contains(NAMED) => {
                FailureKind::Unknown
            }
            kind => kind,
        },
        _ if status(&text).is_some_and(|status| {
            // S3 says 400 also of a request that came too slowly.
            (400..500).contains(&status)
                && !PASSING.contains(&status)
                && !text.contains("RequestTimeout")
        }) =>
        {
            refused()
        }
        _ => FailureKind::Unknown,
    };
    Failure { kind, message }
}

/// What servers say of a request whose time is too far from theirs.
const OTHER_TIMES: [&str; 2] = ["RequestTimeTooSkewed", "Request date header too old"];

/// What to do about that.
const CLOCK: &str = "; the clock of this machine or of the server is wrong: set it";

/// What to do where a server gives nothing to these credentials.
const RIGHTS: &str = "; check the credentials in the environment, that they may list, read, create and \
                      delete objects there, and the time of this machine";

fn is_of_the_clock(text: &str) -> bool {
    OTHER_TIMES.iter().any(|said| text.contains(said))
}

/// How the pages of other servers begin.
const PAGES: [&str; 2] = ["<!doctype", "<html"];

/// The text with the code and the message of a server's answer in the place of its XML.
fn without_markup(text: &str) -> String {
    let between = |from: &str, to: &str| {
        let (_, rest) = text.split_once(from)?;
        Some(rest.split_once(to)?.0)
    };
    let lower = text.to_ascii_lowercase();
    let at = text.find("<?xml").or_else(|| text.find("<Error>"));
    match (at, between("<Code>", "</Code>")) {
        (Some(at), Some(code)) => {
            let said = between("<Message>", "</Message>").map(|said| format!(": {said}"));
            format!("{}{code}{}", &text[..at], said.unwrap_or_default())
        }
        _ => match PAGES.iter().filter_map(|begins| lower.find(begins)).min() {
            Some(at) => {
                format!("{}a web page: is this the endpoint of a store of objects?", &text[..at])
            }
            None => text.to_owned(),
        },
    }
}

/// The status of an answer, which the crate shows in its text alone.
fn status(text: &str) -> Option<u16> {
    let (_, after) = text.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn withdrawn_credentials_and_a_wrong_clock_are_refusals() {
        let skewed = "Server returned non-2xx status code: 403 Forbidden: <Error>\
                      <Code>RequestTimeTooSkewed</Code><Message>The difference between the \
                      request time and the current time is too large.</Message></Error>";
        for text in ["status code: 403 Forbidden: ", skewed] {
            let (path, source) = ("c/1".to_owned(), || text.to_owned().into());
            for e in [
                Error::PermissionDenied { path: path.clone(), source: source() },
                Error::Unauthenticated { path: path.clone(), source: source() },
                Error::Generic { store: "S3", source: source() },
            ] {
                let told = failure("s3://b", "c/1", &e);
                assert_eq!(told.kind, FailureKind::Refused, "{e}");
                assert_eq!(told.message.contains("clock"), text == skewed, "{told}");
                let checks = told.message.contains("Forbidden; check the credentials");
                assert_eq!(checks, text != skewed, "{told}");
            }
        }
    }

    #[test]
    fn an_answer_is_told_without_its_xml() {
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>Odd</Code><Message>The bucket \
                   is odd</Message><Resource>/b</Resource></Error>";
        for xml in [xml, &xml[22..]] {
            let source = format!("non-2xx status code: 404 Not Found: {xml}").into();
            let told = failure("s3://b", "c/1", &Error::Generic { store: "S3", source }).message;
            assert!(told.ends_with("404 Not Found: Odd: The bucket is odd"), "{told}");
        }
        let source = "404 Not Found: <Error><Code>NoSuchBucket</Code></Error>".into();
        let none = failure("s3://b", "c", &Error::Generic { store: "S3", source });
        assert_eq!(none, no_bucket("s3://b"));
        for page in ["<html>nothing here</html>", "<!DOCTYPE html>\n<HTML>nothing"] {
            let told = without_markup(&format!("status code: 404: {page}"));
            assert!(told.starts_with("status code: 404: a web page"), "{told}");
        }
        let odd = "status code: 404: nothing here";
        assert_eq!(without_markup(odd), odd);
    }

    #[test]
    fn a_directory_on_a_full_disk_says_so() {
        let kind = |store: &'static str, of: ErrorKind| {
            let e = Error::Generic { store, source: Box::new(io::Error::from(of)) };
            failure("file:///d", "c/1", &e).kind
        };
        for (of, told) in [
            (ErrorKind::StorageFull, FailureKind::Full),
            (ErrorKind::QuotaExceeded, FailureKind::Full),
            (ErrorKind::ReadOnlyFilesystem, FailureKind::Refused),
            (ErrorKind::PermissionDenied, FailureKind::Refused),
            (ErrorKind::IsADirectory, FailureKind::Refused),
            (ErrorKind::NotADirectory, FailureKind::Refused),
            (ErrorKind::Interrupted, FailureKind::Unknown),
        ] {
            assert_eq!(kind(LOCAL, of), told, "{of}");
            assert_eq!(kind("S3", of), FailureKind::Unknown, "{of}");
        }
    }

    /// The name may be there, and its folder could not be synced.
    #[test]
    fn a_name_that_may_be_there_is_not_told_as_refused() {
        #[derive(Debug)]
        struct Named(io::Error);
        impl std::fmt::Display for Named {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{NAMED}: {}", self.0)
            }
        }
        impl std::error::Error for Named {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        for kind in [
            ErrorKind::StorageFull,
            ErrorKind::PermissionDenied,
            ErrorKind::ReadOnlyFilesystem,
            ErrorKind::IsADirectory,
        ] {
            let source = Box::new(Named(io::Error::from(kind)));
            let e = Error::Generic { store: LOCAL, source };
            assert_eq!(failure("file:///d", "c/1", &e).kind, FailureKind::Unknown, "{kind}");
        }
    }
}
