//! Objects in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::port::{Created, Listed, Objects, Result};

/// Objects in memory: the plainest statement of the port's contract.
#[derive(Debug, Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryObjects {
    /// A place without objects.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts bytes under a name, whatever is there: what damages a medium.
    pub fn overwrite(&self, name: &str, bytes: Vec<u8>) {
        self.objects().insert(name.to_owned(), bytes);
    }

    /// The names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }

    /// A second place with the same objects: what a copy of a bucket is.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        MemoryObjects { objects: Mutex::new(self.objects().clone()) }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects for MemoryObjects {
    fn place(&self) -> String {
        "memory".into()
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let mut objects = self.objects();
        if objects.contains_key(name) {
            return Ok(Created::Exists);
        }
        objects.insert(name.to_owned(), bytes.to_vec());
        Ok(Created::Here { versioned: false })
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.objects().get(name).cloned())
    }

    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.objects().get(name).map(|bytes| {
            let end = from.saturating_add(len).min(bytes.len() as u64) as usize;
            bytes.get(from as usize..end).unwrap_or_default().to_vec()
        }))
    }

    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        let begin = format!("{folder}/");
        let from = if after < begin.as_str() { begin.clone() } else { after.to_owned() };
        let objects = self.objects();
        let there = objects.range::<str, _>((Bound::Excluded(from.as_str()), Bound::Unbounded));
        Ok(there
            .take_while(|(name, _)| name.starts_with(&begin))
            .take(limit)
            .map(|(name, bytes)| Listed { name: name.clone(), size: bytes.len() as u64 })
            .collect())
    }

    fn head(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.objects().get(name).map(|bytes| bytes.len() as u64))
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.objects().remove(name);
        Ok(())
    }
}
