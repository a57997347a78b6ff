//! The newest offset of each key.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Keys held at most, some 26 MB; with more, compaction goes in steps.
pub(crate) const KEYS: usize = 500_000;

/// A key is known by 128 bits of hash under a secret of this process: two that meet are as good as impossible, also for
/// one who wants them to.
#[derive(Debug)]
pub(crate) struct Newest {
    offsets: HashMap<[u64; 2], i64>,
    secrets: [RandomState; 2],
    most: usize,
}

impl Newest {
    pub(crate) fn new(most: usize) -> Newest {
        Newest { offsets: HashMap::new(), secrets: [RandomState::new(), RandomState::new()], most }
    }

    /// Takes in a record, newer than all before; `false` when there is no room for its key.
    pub(crate) fn take(&mut self, key: &[u8], offset: i64) -> bool {
        let name = self.name(key);
        if self.offsets.len() >= self.most && !self.offsets.contains_key(&name) {
            return false;
        }
        self.offsets.insert(name, offset);
        true
    }

    /// Whether there is a newer record of this key.
    pub(crate) fn supersedes(&self, key: &[u8], offset: i64) -> bool {
        self.offsets.get(&self.name(key)).is_some_and(|newest| *newest > offset)
    }

    fn name(&self, key: &[u8]) -> [u64; 2] {
        [self.secrets[0].hash_one(key), self.secrets[1].hash_one(key)]
    }
}
