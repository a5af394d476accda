//! What a change is made with: time and randomness, the naming of blobs, how far links are
//! followed.

use super::blob_names::BlobNaming;
use super::defect::Planted;
use super::fell::Follow;
use super::shard::Shard;
use crate::env::Env;
use crate::error::Result;

/// What a change is made with, beside the state that it begins with.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    /// Source of time and randomness.
    pub(crate) env: &'a dyn Env,
    pub(crate) names: &'a dyn BlobNaming,
    /// How far an erase follows what was derived from its scope.
    pub(crate) follow: Follow,
    pub(crate) planted: Planted,
    /// What is known of the realm that the store is a shard of.
    pub(crate) shard: Option<&'a Shard>,
}

impl Means<'_> {
    /// A number that nobody had, for a hold, a plan, a grant, an inbox key.
    pub(crate) fn number(&self) -> Result<u64> {
        let mut number = [0; 8];
        self.env.fill(&mut number)?;
        Ok(u64::from_be_bytes(number))
    }
}
