//! Times as people write them: read as written, or refused with a hint how to write them; an erase
//! destroys what a wrong guess would name. SPEC §3, §6.9.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyfall::time::{Span, Zone, parse};
use keyfall::{ErrorKind, Timestamp};

fn read(text: &str) -> (String, u64) {
    let Span { from, before } = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    (from.to_string(), before.0 - from.0)
}

#[test]
fn a_date_alone_is_its_day_in_utc_and_with_a_zone_the_day_there() {
    const HOUR: u64 = 3_600_000;
    assert_eq!(read("2026-11-26"), ("2026-11-26T00:00:00Z".into(), 24 * HOUR));
    assert_eq!(read("2026-11-26[Europe/Berlin]"), ("2026-11-25T23:00:00Z".into(), 24 * HOUR));
    // The clocks are put forward, and back.
    assert_eq!(read("2026-03-29[Europe/Berlin]"), ("2026-03-28T23:00:00Z".into(), 23 * HOUR));
    assert_eq!(read("2026-10-25[Europe/Berlin]"), ("2026-10-24T22:00:00Z".into(), 25 * HOUR));
    assert_eq!(read("2024-02-29"), ("2024-02-29T00:00:00Z".into(), 24 * HOUR));
    // Its next day was left out; and a day that begins at one.
    assert_eq!(read("2011-12-29[Pacific/Apia]"), ("2011-12-29T10:00:00Z".into(), 24 * HOUR));
    assert_eq!(read("2018-11-04[America/Sao_Paulo]"), ("2018-11-04T03:00:00Z".into(), 23 * HOUR));
    assert_eq!(read("2026-11-26[+14:00]"), ("2026-11-25T10:00:00Z".into(), 24 * HOUR));
}

#[test]
fn a_time_with_offset_or_zone_is_read_as_written() {
    for (text, at) in [
        ("2026-11-26T23:59:59Z", "2026-11-26T23:59:59Z"),
        ("2026-11-26t23:59:59z", "2026-11-26T23:59:59Z"),
        ("2026-11-26 23:59:59Z", "2026-11-26T23:59:59Z"),
        ("2026-11-26T23:59Z", "2026-11-26T23:59:00Z"),
        ("2026-11-26T23:59:59.25Z", "2026-11-26T23:59:59.25Z"),
        ("2026-11-26T23:59:59.9999999Z", "2026-11-26T23:59:59.999Z"),
        ("2026-11-26T23:59:59+02:00", "2026-11-26T21:59:59Z"),
        ("2026-11-26T23:59:59-05:30", "2026-11-27T05:29:59Z"),
        ("2026-11-26T23:59:59+18:00", "2026-11-26T05:59:59Z"),
        ("2026-11-26T23:59:59-00:00", "2026-11-26T23:59:59Z"),
        ("2026-11-26T23:59:59[Europe/Berlin]", "2026-11-26T22:59:59Z"),
        ("2026-07-26 23:59[Europe/Berlin]", "2026-07-26T21:59:00Z"),
        ("2026-11-26T23:59:59+01:00[Europe/Berlin]", "2026-11-26T22:59:59Z"),
        ("2026-11-26T23:59:59Z[Europe/Berlin]", "2026-11-26T23:59:59Z"),
        ("2026-11-26T23:59:59-00:00[Europe/Berlin]", "2026-11-26T23:59:59Z"),
        ("2026-11-26T23:59:59+01:00[+01:00]", "2026-11-26T22:59:59Z"),
        ("2026-11-26T23:59:59+01:00[Europe/Berlin][u-ca=gregory]", "2026-11-26T22:59:59Z"),
        // Of two that are written alike the offset says which.
        ("2026-10-25T02:30:00+02:00[Europe/Berlin]", "2026-10-25T00:30:00Z"),
        ("2026-10-25T02:30:00+01:00[Europe/Berlin]", "2026-10-25T01:30:00Z"),
    ] {
        assert_eq!(read(text), (at.to_owned(), 1), "{text}");
    }
    let shown = keyfall::Timestamp(1_772_357_400_123);
    assert_eq!(parse(&shown.to_string()).unwrap().from, shown);
}

#[test]
fn a_time_of_day_without_a_zone_is_refused_with_how_to_write_it() {
    for text in
        ["2026-11-26T23:59:59", "2026-11-26 23:59", "2026-11-26 23:59:59.5", "2026-11-26t23:59"]
    {
        let e = parse(text).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid);
        let told = e.to_string();
        let clock = &text[11..];
        assert!(told.contains(&format!("2026-11-26T{clock}Z")), "{told}");
        assert!(told.contains("+01:00") && told.contains("[Europe/Berlin]"), "{told}");
        assert!(!told.contains('\n'));
        parse(&format!("2026-11-26T{clock}Z")).unwrap();
    }
}

/// Texts that are no time, each for one reason.
const NO_TIMES: &[&str] = &[
    "",
    " ",
    "now",
    "yesterday",
    "2026",
    "2026-11",
    "2026-1-2",
    "26-11-26",
    "20261126",
    "20261126T235959Z",
    "2026-11-26T",
    "2026-11-26T23",
    "2026-11-26T23Z",
    "2026-11-26T2359Z",
    "2026-11-26T23:59:59,5Z",
    "2026-11-26T23:59:5Z",
    "2026-11-26T24:00:00Z",
    "2026-11-26T23:60:00Z",
    "2026-11-26T23:59:60Z",
    "2026-13-01",
    "2026-02-29",
    "2026-02-30T00:00:00Z",
    "2026-11-26Z",
    "2026-11-26+01:00",
    "2026-11-26 ",
    " 2026-11-26",
    "2026-11-26T23:59:59Z ",
    "2026-11-26T23:59:59Z and more",
    "2026-11-26T23:59:59Zulu",
    "2026-11-26T23:59:59 Z",
    "2026-11-26T23:59:59 UTC",
    "2026-11-26T23:59:59 +01:00",
    "2026-11-26T23:59:59Z\n",
    "2026-11-26T23:59:59+",
    "2026-11-26T23:59:59+25:99",
    "2026-11-26T23:59:59+25:00",
    "2026-11-26T23:59:59-19:00",
    "2026-11-26T23:59:59+18:01",
    "2026-11-26T23:59:59[+25:00]",
    "2026-11-26T23:59:59Z[-20:00]",
    "2026-11-26[+25:00]",
    // It stands for no zone.
    "2026-11-26[Etc/Unknown]",
    "2026-11-26T23:59:59[Etc/Unknown]",
    "2026-11-26T23:59:59Z[etc/unknown]",
    // A day that was left out: it would stand for nothing, or for the next one.
    "2011-12-30[Pacific/Apia]",
    "2026-11-26T23:59:59CET",
    "2026-11-26T23:59:59.Z",
    "2026-11-26T23:59:59[Europe/Berlni]",
    "2026-11-26T23:59:59[Europe/Berlin",
    "2026-11-26T23:59:59[]",
    "2026-11-26T23:59:59+01:00[Europe/Berlni]",
    "2026-11-26x",
    "2026-11-26x23:59:59Z",
    "2026-11-26[Europe/Berlin]x",
    // The zone has another offset then, skips that time, or has it twice.
    "2026-07-26T23:59:59+01:00[Europe/Berlin]",
    "2026-11-26T23:59:59+00:00[Europe/Berlin]",
    "2026-03-29T02:30:00[Europe/Berlin]",
    "2026-10-25T02:30:00[Europe/Berlin]",
    // Before the first millisecond, and after the last.
    "1969-12-31",
    "1969-12-31T23:59:59.999Z",
    "-2026-11-26",
    "+002026-11-26",
    "9999-12-31",
    "1e9",
    "1772357400123",
    "２０２６-11-26",
    "2026-11-26T23:59:59Z\u{0}",
    "2026‐11‐26",
];

#[test]
fn what_is_no_time_is_refused_whole() {
    let read: Vec<_> =
        NO_TIMES.iter().filter_map(|text| parse(text).ok().map(|span| (text, span))).collect();
    assert!(read.is_empty(), "{read:?}");
    for text in NO_TIMES {
        let e = parse(text).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{text:?}");
        assert_eq!(e.to_string().lines().count(), 1, "{text:?}: {e}");
    }
}

#[test]
fn a_timestamp_is_a_moment_that_can_be_read_shown_and_reckoned_with() {
    let at: Timestamp = "2026-11-26T23:59:59.5+01:00".parse().unwrap();
    assert_eq!(at, Timestamp::from_millis(1_795_733_999_500));
    assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
    assert_eq!("1970-01-01T00:00:00Z".parse::<Timestamp>().unwrap(), Timestamp(0));
    for text in ["2026-11-26", "2026-11-26[Europe/Berlin]", "2026-11-26T23:59:59", "1795734000"] {
        assert_eq!(text.parse::<Timestamp>().unwrap_err().kind(), ErrorKind::Invalid, "{text}");
    }
    let (day, most) = (Duration::from_secs(86_400), Timestamp(u64::MAX));
    assert_eq!((at + day - day, (at + day).as_millis() - at.as_millis()), (at, 86_400_000));
    assert_eq!((Timestamp(5) - day, most + day), (Timestamp(0), most));
    assert_eq!((Timestamp(5).checked_sub(day), most.checked_add(day)), (None, None));
    assert_eq!(at.checked_add(Duration::MAX), None);
    assert_eq!(Timestamp::from(UNIX_EPOCH + Duration::from_micros(1999)), Timestamp(1));
    assert_eq!(Timestamp::from(UNIX_EPOCH - day), Timestamp(0));
    assert!(Timestamp::now() >= Timestamp::from(SystemTime::now()) - day);
}

fn zone(name: &str) -> Zone {
    name.parse().unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn a_moment_has_its_day_and_its_time_in_a_zone() {
    for (name, at, day, local) in [
        ("UTC", "2026-03-01T23:59:59.999Z", "2026-03-01", "2026-03-01T23:59:59.999+00:00"),
        ("Europe/Berlin", "2026-03-01T23:00:00Z", "2026-03-02", "2026-03-02T00:00:00+01:00"),
        ("europe/berlin", "2026-07-01T21:59:59Z", "2026-07-01", "2026-07-01T23:59:59+02:00"),
        ("Asia/Kolkata", "2026-03-01T18:30:00Z", "2026-03-02", "2026-03-02T00:00:00+05:30"),
        // The day after the one that was left out; a day that begins at one.
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31", "2011-12-31T00:00:00+14:00"),
        ("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04", "2018-11-04T01:00:00-02:00"),
        ("America/New_York", "1970-01-01T00:00:00Z", "1969-12-31", "1969-12-31T19:00:00-05:00"),
        // Put back from one past midnight: what comes after midnight is the next day's.
        ("America/St_Johns", "2006-10-29T02:30:30Z", "2006-10-29", "2006-10-29T00:00:30-02:30"),
        ("America/St_Johns", "2006-10-29T02:31:00Z", "2006-10-29", "2006-10-28T23:01:00-03:30"),
        ("America/St_Johns", "2006-10-29T02:29:59Z", "2006-10-28", "2006-10-28T23:59:59-02:30"),
    ] {
        let (zone, at): (_, Timestamp) = (zone(name), at.parse().unwrap());
        assert_eq!(
            (zone.day(at).to_string(), zone.local(at)),
            (day.into(), local.into()),
            "{name}"
        );
        assert_eq!(zone.local(at).parse::<Timestamp>().unwrap(), at);
    }
    assert_eq!(zone("UTC"), Zone::utc());
}

#[test]
fn a_day_is_the_span_that_its_date_is_read_as() {
    for name in ["UTC", "Europe/Berlin", "America/St_Johns", "America/Sao_Paulo", "Pacific/Apia"] {
        let zone = zone(name);
        for year in [1987, 2006, 2011, 2018, 2026] {
            let first: Timestamp = format!("{year}-01-01T00:30:00Z").parse().unwrap();
            for hours in (0..366 * 24).step_by(5) {
                let at = first + Duration::from_secs(hours * 3600);
                let day = zone.day(at);
                assert_eq!(parse(&format!("{day}[{name}]")).unwrap(), day.span(), "{at} {name}");
                assert!(day.span().from <= at && at < day.span().before, "{at} {name}");
                let next = zone.day(day.span().before);
                assert_eq!(next.span().from, day.span().before, "no moment between two days");
            }
        }
    }
}

#[test]
fn days_end_where_times_do_and_a_zone_that_is_none_is_refused() {
    for name in ["UTC", "Pacific/Apia", "America/New_York"] {
        for at in [Timestamp(0), Timestamp(253_402_207_200_000), Timestamp(u64::MAX)] {
            let Span { from, before } = zone(name).day(at).span();
            assert!(from <= at && from < before, "{name} {at}");
            assert!(!zone(name).local(at).is_empty());
        }
    }
    for name in
        ["", " ", "Etc/Unknown", "Europe/Berlni", "[UTC]", "UTC ", "+01:00", "../passwd", "\n"]
    {
        let e = name.parse::<Zone>().unwrap_err();
        assert_eq!((e.kind(), e.to_string().lines().count()), (ErrorKind::Invalid, 1), "{e}");
    }
}
