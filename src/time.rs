//! Points in time, and how they are written.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The start of its minute: what may be told of when something happened.
    #[must_use]
    pub fn minute(self) -> Self {
        Timestamp(self.0 - self.0 % 60_000)
    }
}

/// RFC 3339, in UTC; beyond the year 9999 the number of milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(time) => time.fmt(f),
            None => write!(f, "{} ms", self.0),
        }
    }
}
