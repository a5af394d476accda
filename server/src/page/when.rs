//! Days and times as people say them.

use jiff::civil::Date;
use keyfall::Timestamp;
use keyfall::time::Zone;

use super::words::Words;

/// What times are said with: whose words, whose clock, and what time it is.
#[derive(Clone, Copy)]
pub(crate) struct When<'a> {
    pub(crate) words: Words<'a>,
    pub(crate) zone: &'a Zone,
    pub(crate) now: Timestamp,
}

impl When<'_> {
    /// A day, by its date: `Yesterday, 26 November`.
    pub(crate) fn day(&self, date: &str) -> String {
        let said = self.date(date);
        let Ok(parsed) = date.parse::<Date>() else { return said };
        let today = self.zone.day(self.now).to_string().parse::<Date>();
        let (id, weekday) = match today {
            Ok(today) if today == parsed => ("today", String::new()),
            Ok(today) if today.yesterday().is_ok_and(|day| day == parsed) => {
                ("yesterday", String::new())
            }
            _ => {
                let number = parsed.weekday().to_monday_one_offset();
                ("day", self.words.say(&format!("weekday-{number}")))
            }
        };
        self.words.with(id, [("day", said.into()), ("weekday", weekday.into())])
    }

    /// A date: `26 November`, with the year unless it is this one.
    pub(crate) fn date(&self, date: &str) -> String {
        let Ok(parsed) = date.parse::<Date>() else { return date.to_owned() };
        let this_year = self.zone.day(self.now).to_string().starts_with(&date[..4]);
        let id = if this_year { "date" } else { "date-year" };
        let month = self.words.say(&format!("month-{}", parsed.month()));
        let (day, year) = (parsed.day().to_string(), parsed.year().to_string());
        self.words.with(id, [("day", day.into()), ("month", month.into()), ("year", year.into())])
    }

    /// The date of a moment.
    pub(crate) fn date_of(&self, at: Timestamp) -> String {
        self.date(&self.zone.day(at).to_string())
    }

    /// A moment: `26 November, 09:14`.
    pub(crate) fn moment(&self, at: Timestamp) -> String {
        let (date, time) = (self.date_of(at), self.time(at));
        self.words.with("moment", [("date", date.into()), ("time", time.into())])
    }

    /// The time of a day, of 24 hours: `09:14`.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        self.zone.local(at).get(11..16).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_called_what_people_call_it() {
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        let now: Timestamp = "2026-11-26T23:30:00Z".parse().expect("a time");
        let when = When { words: Words::of("en"), zone: &zone, now };
        assert_eq!(when.day("2026-11-27"), "Today, 27 November");
        assert_eq!(when.day("2026-11-26"), "Yesterday, 26 November");
        assert_eq!(when.day("2026-11-25"), "Wednesday, 25 November");
        assert_eq!(when.day("2025-01-01"), "Wednesday, 1 January 2025");
        assert_eq!(when.moment(now), "27 November, 00:30");
        let german = When { words: Words::of("de"), ..when };
        assert_eq!(german.day("2026-11-25"), "Mittwoch, 25. November");
    }
}
