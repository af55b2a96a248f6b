//! The newest offset of each key in the dirty part of a log, in bounded memory.
//!
//! Keys are known by 128 bits of hash, as Kafka knows them by their MD5; the hash is seeded per log, so that a collision made
//! for one log is none in another. Divided into shards, so that growing never holds a core for long.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::types::{Offset, RandomAlready};

/// What an entry is charged, in bytes: key, offset and the slack of a table that has just doubled.
pub const ENTRY_BYTES: usize = 64;

/// Power of two.
const SHARDS: usize = 256;

type Shard = HashMap<(u64, u64), Offset, BuildHasherDefault<RandomAlready>>;

/// Keys and their newest offsets.
pub struct KeyMap {
    seed: u64,
    entries_max: usize,
    entries: usize,
    shards: Vec<Shard>,
    /// Records above it were not mapped, and stay whatever their keys.
    latest_offset: Offset,
}

impl KeyMap {
    /// An empty map of at most `bytes_max` bytes, and of one entry at least.
    pub fn new(seed: u64, bytes_max: usize) -> Self {
        Self {
            seed,
            entries_max: (bytes_max / ENTRY_BYTES).max(1),
            entries: 0,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            latest_offset: -1,
        }
    }

    /// Notes that `key` is at `offset`; offsets come in order. False when the map is full: nothing is noted then.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let full = self.entries >= self.entries_max;
        let hash = self.hash(key);
        let shard = self.shard(hash);
        match self.shards[shard].get_mut(&hash) {
            Some(newest) => *newest = offset,
            None if full => return false,
            None => {
                self.shards[shard].insert(hash, offset);
                self.entries += 1;
            }
        }
        true
    }

    /// The newest offset of a key.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let hash = self.hash(key);
        self.shards[self.shard(hash)].get(&hash).copied()
    }

    /// Notes that everything up to `offset` is mapped.
    pub fn mapped_up_to(&mut self, offset: Offset) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    /// Everything up to here is mapped; -1 for nothing.
    pub fn latest_offset(&self) -> Offset {
        self.latest_offset
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let hash = xxh3_128_with_seed(key, self.seed);
        (hash as u64, (hash >> 64) as u64)
    }

    fn shard(&self, (_, high): (u64, u64)) -> usize {
        // The lowest bits of the other half choose a place within the shard.
        (high >> 56) as usize % SHARDS
    }
}
