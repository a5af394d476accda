//! A key that neither prints, nor clones, nor stays behind when it is dropped.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::env::Env;
use crate::error::Result;

/// 32 secret bytes. They live on the heap and are never moved, so that no copy stays on a stack; they are
/// zeroized on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key(Box<[u8; 32]>);

impl Key {
    /// Makes a key from 32 bytes; the caller wipes its own copy.
    pub fn copied_from(bytes: &[u8; 32]) -> Self {
        let mut key = Key(Box::new([0; 32]));
        key.0.copy_from_slice(bytes);
        key
    }

    /// A key straight from the environment's generator.
    ///
    /// # Errors
    /// What the generator says.
    pub fn random(env: &dyn Env) -> Result<Self> {
        let mut key = Key(Box::new([0; 32]));
        env.fill(&mut *key.0)?;
        Ok(key)
    }

    /// The bytes, for a cell that must write them down.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A second owner of the same key: named, so that each one is looked at.
    pub(crate) fn duplicate(&self) -> Self {
        Key::copied_from(&self.0)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}
