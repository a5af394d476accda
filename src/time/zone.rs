//! Time zones, and the days in them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Span;
use super::point::Timestamp;
use crate::error::{Error, Result};

/// A time zone of the IANA database, by its name: `Europe/Berlin`, `UTC`. Its rules are those that
/// this system has.
///
/// ```no_run
/// use keyfall::Timestamp;
/// use keyfall::time::Zone;
///
/// let berlin: Zone = "Europe/Berlin".parse()?;
/// let began: Timestamp = "2026-03-01T23:30:00Z".parse()?;
/// assert_eq!(berlin.local(began), "2026-03-02T00:30:00+01:00");
/// assert_eq!(berlin.day(began).to_string(), "2026-03-02");
/// assert_eq!(Zone::utc().day(began).to_string(), "2026-03-01");
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Zone(TimeZone::UTC)
    }

    /// Its name in the IANA database.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The day that a moment belongs to: the one whose span it lies in. An erase of that span and a
    /// page headed with that day are about the same moments.
    pub fn day(&self, at: Timestamp) -> Day {
        let at = moment(at);
        let date = self.0.to_datetime(at).date();
        let day = self.whole(date);
        // A clock that was put back across midnight shows the end of a date twice. The next day
        // began with the first midnight.
        match date.tomorrow() {
            Ok(next) if day.span.before <= stamp(at) => self.whole(next),
            _ => day,
        }
    }

    /// A moment as it is written there (RFC 3339), with the offset that the zone has then.
    pub fn local(&self, at: Timestamp) -> String {
        let moment = moment(at);
        moment.display_with_offset(self.0.to_offset(moment)).to_string()
    }

    /// A date with the time that it takes; what lies outside of all times of this crate is cut off.
    fn whole(&self, date: Date) -> Day {
        let start = |date: Date| {
            let start = date.to_zoned(self.0.clone()).ok();
            start.map_or(Timestamp(u64::MAX), |start| stamp(start.timestamp()))
        };
        let before = date.tomorrow().map_or(Timestamp(u64::MAX), start);
        Day { date, span: Span { from: start(date), before } }
    }
}

impl FromStr for Zone {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
        zone.map(Zone).ok_or_else(|| {
            Error::invalid(format!(
                "this system has no time zone {name:?}; write its name in the IANA database, as \
                 Europe/Berlin, or UTC"
            ))
        })
    }
}

/// A day in a zone, written as its date there: 2026-03-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Day {
    date: Date,
    span: Span,
}

impl Day {
    /// From its first moment to the first one of the next day: 23 or 25 hours if the clocks are
    /// put forward or back.
    pub fn span(&self) -> Span {
        self.span
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date.fmt(f)
    }
}

/// A time as jiff has it; its last one for all beyond the year 9999.
fn moment(at: Timestamp) -> jiff::Timestamp {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
}

/// A time of jiff's; the beginning of 1970 for all before.
fn stamp(at: jiff::Timestamp) -> Timestamp {
    Timestamp(u64::try_from(at.as_millisecond()).unwrap_or(0))
}
