//! Points in time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z.
///
/// ```
/// use std::time::Duration;
///
/// use keyfall::Timestamp;
///
/// let began: Timestamp = "2026-03-01T09:30:00+01:00".parse()?;
/// assert_eq!(began, Timestamp::from_millis(1_772_353_800_000));
/// assert_eq!((began + Duration::from_secs(90)).to_string(), "2026-03-01T08:31:30Z");
/// assert!(began < Timestamp::now());
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time of day by this machine's clock, for what a caller names: a range of a query, when a
    /// record was made. An engine takes its time from the environment that it was opened with, and
    /// nothing else of this crate calls this, so that a seed replays a run.
    #[expect(
        clippy::disallowed_methods,
        reason = "for callers; clippy.toml keeps the crate itself from calling it"
    )]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// So many milliseconds after the beginning of 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Timestamp(millis)
    }

    /// Milliseconds since the beginning of 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time after `span`; `None` beyond what 64 bits hold.
    pub fn checked_add(self, span: Duration) -> Option<Self> {
        self.0.checked_add(u64::try_from(span.as_millis()).ok()?).map(Timestamp)
    }

    /// The time before `span`; `None` if that is before 1970.
    pub fn checked_sub(self, span: Duration) -> Option<Self> {
        self.0.checked_sub(u64::try_from(span.as_millis()).ok()?).map(Timestamp)
    }

    /// Whether this looks like seconds that were taken for milliseconds: those of 2000 to 2100 lie
    /// within the first weeks of 1970.
    #[cfg(feature = "engine")]
    pub(crate) fn looks_like_seconds(self) -> bool {
        const FIRST: u64 = 946_684_800;
        const LAST: u64 = 4_102_444_800;
        (FIRST..LAST).contains(&self.0)
    }

    /// The start of its minute: what may be told of when something happened.
    #[must_use]
    pub fn minute(self) -> Self {
        Timestamp(self.0 - self.0 % 60_000)
    }
}

/// So much later; at most the last moment that a number holds.
impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Duration) -> Self {
        self.checked_add(span).unwrap_or(Timestamp(u64::MAX))
    }
}

/// So much earlier; at least the beginning of 1970.
impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Duration) -> Self {
        self.checked_sub(span).unwrap_or(Timestamp(0))
    }
}

/// What is before 1970 becomes its beginning.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// RFC 3339, in UTC; beyond the year 9999 the number of milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By its seconds: of the last one that has such a date each millisecond has it too.
        let second = i64::try_from(self.0 / 1000).ok();
        let nanos = (self.0 % 1000) as i32 * 1_000_000;
        match second.and_then(|second| jiff::Timestamp::new(second, nanos).ok()) {
            Some(time) => time.fmt(f),
            None => write!(f, "{} ms", self.0),
        }
    }
}
