//! A key that neither prints nor clones, and leaves nothing in memory when it is dropped.

use crate::env::Env;
use crate::error::Result;
use crate::secret::Secret;

/// 32 secret bytes: every constructor takes or makes so many. They lie in memory for secrets and
/// are never moved, so that no copy stays on a stack; they are zeroized on drop.
pub struct Key(Secret);

impl Key {
    /// Makes a key from 32 bytes; the caller wipes its own copy.
    pub fn copied_from(bytes: &[u8; 32]) -> Self {
        Key(Secret::copied_from(bytes))
    }

    /// A key straight from the environment's generator.
    ///
    /// # Errors
    /// What the generator says.
    pub fn random(env: &dyn Env) -> Result<Self> {
        let mut key = Key(Secret::zeroed(32));
        env.fill(&mut key.0)?;
        Ok(key)
    }

    /// The bytes, for a cell that must write them down.
    pub fn bytes(&self) -> &[u8; 32] {
        let (keys, _) = self.0.as_chunks();
        &keys[0]
    }

    /// A second owner of the same key: named, so that each one is looked at.
    pub(crate) fn duplicate(&self) -> Self {
        Key::copied_from(self.bytes())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}
