//! What an error of PostgreSQL says of a statement's effect.

use std::error::Error as StdError;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::causes::line;
use crate::port::Failure;

/// Classes of errors after which the same statement would fail again, and whose statement changed
/// nothing: not supported, data, authorization, no such database, syntax and rights, limits.
const REFUSING: [&str; 6] = ["0A", "22", "28", "3D", "42", "54"];

/// What a failed request is: refused for good only where the server says so. What ended a session
/// is not: a server that is shut down while it waits for a standby has committed already.
pub(super) fn failure(url: &str, what: &str, e: &Error) -> Failure {
    let Some(said) = e.as_db_error() else {
        let said = line(e);
        let message = format!("{url}: {what}: {said}{}", remedy(&said));
        return if is_distrusted(e) || is_misconfigured(&said) {
            Failure::refused(message)
        } else {
            Failure::unknown(message)
        };
    };
    let help = to_do(said.code());
    let message = format!("{url}: {what}: {}{help}", of_the_server(said));
    match said.code() {
        // The statement was taken back.
        code if *code == SqlState::DISK_FULL => Failure::full(message),
        code if is_refusal(code) => Failure::refused(message),
        _ => Failure::unknown(message),
    }
}

/// Whether a statement was refused because the server is a standby.
pub(super) fn is_read_only(e: &Error) -> bool {
    e.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

/// Whether the table is missing.
pub(super) fn is_no_table(e: &Error) -> bool {
    e.code() == Some(&SqlState::UNDEFINED_TABLE)
}

/// Whether the role may not make the table.
pub(super) fn is_no_right(e: &Error) -> bool {
    e.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

fn is_refusal(code: &SqlState) -> bool {
    REFUSING.iter().any(|class| code.code().starts_with(class))
}

fn of_the_server(said: &DbError) -> String {
    let text = format!("{} ({})", said.message(), said.code().code());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What helps against a refusal, as far as the code tells.
fn to_do(code: &SqlState) -> &'static str {
    match code.code() {
        "3D000" => "; make it with createdb, or name another database",
        "28P01" => "; check PGPASSWORD and the user in the URL",
        "28000" => {
            "; name another user in the URL, or have the role made, or let in by pg_hba.conf"
        }
        "42501" => {
            "; have an owner run: grant select, insert, delete on keyfall to the role in the URL"
        }
        _ => "",
    }
}

/// Whether the same attempt to connect fails each time: the environment lacks something, or the
/// server speaks no TLS.
fn is_misconfigured(said: &str) -> bool {
    said.starts_with("invalid configuration") || said.contains("server does not support TLS")
}

/// What helps, where the crate says too little.
fn remedy(said: &str) -> &'static str {
    if said.contains("password missing") {
        "; name it in PGPASSWORD"
    } else if said.contains("server does not support TLS") {
        "; turn TLS on there, or, on a network that is yours, write sslmode=disable"
    } else {
        ""
    }
}

/// Whether the server's certificate was not believed.
fn is_distrusted(e: &Error) -> bool {
    let mut cause = e.source();
    while let Some(e) = cause {
        let inner = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if matches!(inner, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        cause = e.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_a_password_is_not_tried_again() {
        let said = "invalid configuration: password missing";
        assert!(is_misconfigured(said) && remedy(said).contains("PGPASSWORD"));
        let said = "error performing TLS handshake: server does not support TLS";
        assert!(is_misconfigured(said) && remedy(said).contains("sslmode=disable"));
        assert!(!is_misconfigured("error connecting to server: connection refused"));
    }

    #[test]
    fn only_what_says_so_is_a_refusal() {
        for code in ["28P01", "3D000", "42501", "0A000", "22001"] {
            assert!(is_refusal(&SqlState::from_code(code)), "{code}");
        }
        assert!(to_do(&SqlState::from_code("3D000")).contains("createdb"));
        assert!(to_do(&SqlState::from_code("22001")).is_empty());
        // Shut down, cancelled, too many connections, a deadlock, a standby, a lost session.
        for code in ["57P01", "57014", "53300", "40P01", "25006", "08006", "XX000"] {
            assert!(!is_refusal(&SqlState::from_code(code)), "{code}");
        }
    }
}
