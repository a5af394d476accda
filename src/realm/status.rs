//! What a realm says of itself.

use super::places::ShardAt;
use crate::engine::Status;
use crate::error::Result;

/// What is known of a realm and of each of its shards.
#[derive(Debug)]
#[non_exhaustive]
pub struct RealmStatus {
    /// The realm's id, in hexadecimal.
    pub realm: String,
    /// Number of the map that counts.
    pub map: u64,
    /// Its shards, by their numbers.
    pub shards: Vec<ShardStatus>,
}

/// What is known of one shard.
#[derive(Debug)]
#[non_exhaustive]
pub struct ShardStatus {
    /// Where it is.
    pub shard: ShardAt,
    /// How many of the 4,096 slots it has.
    pub slots: usize,
    /// What its engine says; an error if it does not open, or cannot tell.
    pub status: Result<Status>,
}
