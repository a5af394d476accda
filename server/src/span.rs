//! Lengths of time, as they are written in the configuration.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time: `2s`, `500ms`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let said = text.parse::<jiff::SignedDuration>().ok();
                said.and_then(|time| Duration::try_from(time).ok())
            }
        };
        time.filter(|time| !time.is_zero())
            .map(Span)
            .ok_or_else(|| format!("{text:?} is not a length of time; write 2s, 500ms or 1min"))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{}ms", self.0.as_millis()))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        /// A number of seconds, or a text.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            Seconds(u64),
            Text(String),
        }
        let text = match Said::deserialize(from)? {
            Said::Seconds(seconds) => seconds.to_string(),
            Said::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_nothing_else() {
        for (text, ms) in [("2s", 2000), ("500ms", 500), ("3", 3000), ("1min", 60_000)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "0", "0s", "-2s", "soon", "2 apples"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        let written = serde_json::to_string(&Span(Duration::from_millis(1500))).unwrap();
        assert_eq!(serde_json::from_str::<Span>(&written).unwrap().0.as_millis(), 1500);
        assert_eq!(serde_json::from_str::<Span>("7").unwrap().0.as_secs(), 7);
    }
}
