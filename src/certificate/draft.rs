//! What a certificate needs, handed out before its erase is committed: where the certificate cannot
//! be written afterwards, it is made from the draft. So nothing of it has to be kept in the store,
//! and the caller that asked for the erase gets its certificate whatever happens.
//!
//! ```text
//! draft = words ‖ "keyfall/draft@v1" ‖ JSON of index and facts
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::facts::Retired;
use super::judge::Facts;
use super::plain::pretty;
use crate::error::{Error, Result};

const TITLE: &str = "Keyfall erasure certificate, draft";
const MACHINE: &str = "keyfall/draft@v1";
/// Most bytes of a draft that is read.
const MAX_BYTES: usize = 1 << 20;

/// A certificate before its erase: it is signed by nobody and shows nothing, not even that the
/// erase was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Which leaf of the log is the erase's, if it was done.
    pub index: u64,
    /// What the certificate is to say, with nothing said by the cell yet.
    pub facts: Facts,
}

impl Draft {
    /// Whether a text is meant to be one.
    pub fn is_one(text: &str) -> bool {
        text.starts_with(TITLE)
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}\n")?;
        writeln!(
            f,
            "It shows nothing, not even that the erase was done: nobody signed it. If it was done, \
             the store makes the"
        )?;
        writeln!(
            f,
            "certificate of it: `keyfall certificate upgrade STORE FILE`. Keep it like the data \
             that it is about.\n"
        )?;
        writeln!(f, "{MACHINE}\n{}", pretty(self))
    }
}

impl FromStr for Draft {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad =
            |what: &str| Error::invalid(format!("not the draft of an erasure certificate: {what}"));
        if text.len() > MAX_BYTES || !Draft::is_one(text) {
            return Err(bad("it begins otherwise"));
        }
        let (_, json) = text
            .split_once(&format!("\n\n{MACHINE}\n"))
            .ok_or_else(|| bad("its machine part is missing"))?;
        let draft: Draft = serde_json::from_str(json)
            .map_err(|e| bad(&format!("its machine part does not parse ({e})")))?;
        if draft.facts.outcome.retired != Retired::Waiting || draft.facts.outcome.discarded {
            return Err(bad("it says what nobody can know before"));
        }
        Ok(draft)
    }
}
