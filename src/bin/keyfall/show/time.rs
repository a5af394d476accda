//! Times, and lengths of time.

use std::time::Duration;

use keyfall::Timestamp;

/// A time as RFC 3339 writes it.
pub(crate) fn time(at: Timestamp) -> String {
    at.to_string()
}

/// A length of time as it is typed.
pub(crate) fn span(span: Duration) -> String {
    let s = span.as_secs();
    let parts = [(s / 86_400, "d"), (s / 3600 % 24, "h"), (s / 60 % 60, "min"), (s % 60, "s")];
    let parts = parts.iter().filter(|(n, _)| *n > 0);
    let text: String = parts.map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}
