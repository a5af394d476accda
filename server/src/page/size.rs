//! How much of something there is, as people say it.

use std::collections::BTreeMap;

use super::words::Words;

/// A number of bytes: `11 bytes`, `4 KB`.
pub(crate) fn size(words: Words<'_>, bytes: u64) -> String {
    let (id, unit) = match bytes {
        0..1_000 => ("size-bytes", 1),
        1_000..1_000_000 => ("size-kb", 1_000),
        _ => ("size-mb", 1_000_000),
    };
    words.with(id, [("n", bytes.div_ceil(unit).into())])
}

/// A length in seconds: `0:30`, `1:02:07`.
pub(super) fn length(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{rest:02}"),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

/// Most bytes of a recording that are read to know how long it is.
pub(super) const HEAD: usize = 4096;

/// How long a recording is in seconds, as the application said of it.
pub(super) fn said_length(meta: &BTreeMap<String, String>) -> Option<u64> {
    let seconds: f64 = meta.get("duration")?.parse().ok()?;
    (0.0..=86_400.0).contains(&seconds).then(|| seconds.round() as u64)
}

/// How long a recording is in seconds, by the first bytes of its file: of WAV alone it stands there.
pub(super) fn wav_length(head: &[u8], whole: u64) -> Option<u64> {
    let number = |at: usize| {
        let bytes = head.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    if head.get(..4)? != b"RIFF" || head.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut rate) = (12, None);
    loop {
        let (name, size) = (head.get(at..at + 4)?, number(at + 4)?);
        match name {
            b"fmt " => rate = number(at + 16).filter(|rate| *rate > 0),
            // A program that streams does not know it: then what is there counts.
            b"data" => return Some(size.min(whole.saturating_sub(at as u64 + 8)).div_ceil(rate?)),
            _ => {}
        }
        at = at.checked_add(8)?.checked_add(usize::try_from(size + size % 2).ok()?)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A note of eleven bytes was called one of 1 KB.
    #[test]
    fn a_size_is_said_in_the_unit_that_fits() {
        let words = Words::of("en");
        for (bytes, said) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (11, "11 bytes"),
            (999, "999 bytes"),
            (1_000, "1 KB"),
            (5_001, "6 KB"),
            (2_000_000, "2 MB"),
        ] {
            assert_eq!(size(words, bytes), said);
        }
        assert_eq!(size(Words::of("de"), 11), "11 Byte");
    }

    #[test]
    fn a_recording_is_as_long_as_its_file_says() {
        let wav = |data: u32, extra: &[u8]| {
            let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
            file.extend(8000u32.to_le_bytes());
            file.extend(16_000u32.to_le_bytes());
            file.extend(b"\x02\0\x10\0");
            file.extend(extra);
            file.extend(b"data");
            file.extend(data.to_le_bytes());
            file
        };
        let (plain, list) = (wav(480_000, b""), wav(480_000, b"LIST\x03\0\0\0abc\0"));
        assert_eq!(wav_length(&plain, 480_044), Some(30));
        assert_eq!(wav_length(&list, 480_056), Some(30));
        assert_eq!(wav_length(&wav(u32::MAX, b""), 16_044), Some(1), "one that was streamed");
        assert_eq!(wav_length(&plain[..40], 480_044), None);
        for broken in [&b"RIFF"[..], b"OggS\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEdata\x01\0\0\0", b""] {
            assert_eq!(wav_length(broken, 100), None);
        }
        assert_eq!(
            (length(30), length(62), length(3727)),
            ("0:30".into(), "1:02".into(), "1:02:07".into())
        );
        let meta = |text: &str| BTreeMap::from([("duration".to_owned(), text.to_owned())]);
        assert_eq!(said_length(&meta("2.6")), Some(3));
        assert!(
            ["-1", "NaN", "inf", "x", "1e9"].iter().all(|text| said_length(&meta(text)).is_none())
        );
    }
}
