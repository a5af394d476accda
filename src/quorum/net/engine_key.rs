//! The key by which an engine proves its identity to keyholders: `engine.key` in the cell's
//! directory.

use std::path::Path;

use zeroize::Zeroizing;

use super::EngineId;
use super::private::{public, read, write};
use crate::codec::{parsed, shown};
use crate::crypto::Key;
use crate::dir::{check_unused, is_there, make_dir};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};

const FILE: &str = "engine.key";
/// What else lies in the directory of a cell, of either kind.
const OF_A_CELL: [&str; 7] =
    ["quorum.json", "lock", "slot-a", "slot-b", "claim-a", "claim-b", "remnants-accepted"];
const ENGINE_PRIVATE: &str = "keyfall-engine-private-1:";

/// The key by which an engine proves its identity to keyholders.
pub struct EngineKey(Key);

impl std::fmt::Debug for EngineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineKey(..)")
    }
}

impl EngineKey {
    /// Reads the key in a cell's directory, or makes one if there is none.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged; `Refused` if the directory holds something else than a cell;
    /// `Io`.
    pub fn in_dir(dir: &Path, env: &dyn Env) -> Result<Self> {
        let path = dir.join(FILE);
        if !is_there(&path)? {
            make_dir(dir)?;
            check_unused(dir, &OF_A_CELL, "a cell")?;
            let seed = Key::random(env)?;
            let text = Zeroizing::new(format!("{}\n", shown(ENGINE_PRIVATE, seed.bytes())));
            // Another process may have made one meanwhile: that one counts.
            write(&path, &text, true)
                .or_else(|e| if is_there(&path)? { Ok(()) } else { Err(e) })?;
        }
        EngineKey::there(dir)
    }

    /// Reads the key in a cell's directory. No other is made in its place: keyholders do not know
    /// it, and one that they are told of shuts out the machine that has this one.
    ///
    /// # Errors
    /// `Absent` if there is none; `Corrupt` if it is damaged; `Io`.
    pub fn there(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        if !is_there(&path)? {
            return Err(Error::new(
                ErrorKind::Absent,
                format!(
                    "{} is missing: copy it here from the machine that made the store; if it is \
                     lost, `keyfall keyholder engine CELL` makes another, and `keyfall keyholder \
                     allow DIR ENGINE_KEY --store ID` gives it the store at each keyholder",
                    path.display()
                ),
            ));
        }
        let seed = Zeroizing::new(parsed(ENGINE_PRIVATE, &read(&path)?).unwrap_or_default());
        let (Some(seed), 32) = (seed.first_chunk(), seed.len()) else {
            return Err(Error::corrupt(format!(
                "{} is damaged; have keyholders allow another with `keyfall keyholder allow DIR \
                 ENGINE_KEY --store ID`",
                path.display()
            )));
        };
        Ok(EngineKey(Key::copied_from(seed)))
    }

    /// The public key of this engine.
    pub fn id(&self) -> EngineId {
        EngineId(public(&self.0))
    }

    pub(super) fn seed(&self) -> &Key {
        &self.0
    }
}
