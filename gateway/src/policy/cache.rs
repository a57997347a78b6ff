//! A bounded map for what can be found out again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

/// Locks side by side, so that workers seldom meet at one.
const SHARDS: usize = 16;

/// Keeps at most `capacity` entries, found by a 64-bit hash that the caller made with a random key.
///
/// Each shard has a young and an old half. A full young half becomes the old one and the old one is
/// dropped; an entry that is used moves back to the young half. So what is in use stays, what is not
/// goes, and nothing is ever scanned. Two keys with one hash displace each other and are told apart
/// by the comparison that [`find`](Self::find) is given.
pub(super) struct Cache<E> {
    shards: [Mutex<Halves<E>>; SHARDS],
    half_max: usize,
}

struct Halves<E> {
    young: Map<E>,
    old: Map<E>,
}

type Map<E> = HashMap<u64, E, BuildHasherDefault<Identity>>;

impl<E: Clone> Cache<E> {
    pub(super) fn new(capacity: usize) -> Self {
        let empty = || Mutex::new(Halves { young: Map::default(), old: Map::default() });
        Self { shards: std::array::from_fn(|_| empty()), half_max: (capacity / SHARDS / 2).max(1) }
    }

    /// The entry of `hash`, when `is_it` agrees.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<E> {
        let mut halves = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = halves.young.get(&hash) {
            return is_it(entry).then(|| entry.clone());
        }
        let entry = halves.old.remove(&hash)?;
        let found = is_it(&entry).then(|| entry.clone());
        halves.insert(hash, entry, self.half_max);
        found
    }

    pub(super) fn insert(&self, hash: u64, entry: E) {
        let mut halves = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        halves.old.remove(&hash);
        halves.insert(hash, entry, self.half_max);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let count = |shard: &Mutex<Halves<E>>| {
            let halves = shard.lock().unwrap_or_else(PoisonError::into_inner);
            halves.young.len() + halves.old.len()
        };
        self.shards.iter().map(count).sum()
    }

    /// By the high bits; the maps use the low ones.
    fn shard(&self, hash: u64) -> &Mutex<Halves<E>> {
        &self.shards[(hash >> 60) as usize % SHARDS]
    }
}

impl<E> Halves<E> {
    fn insert(&mut self, hash: u64, entry: E, half_max: usize) {
        if self.young.len() >= half_max && !self.young.contains_key(&hash) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, entry);
    }
}

/// Hands the 64 bits on: they are a keyed hash already.
#[derive(Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        // The map's control bytes come from the top seven bits, which the shard has used up.
        self.0 = value.rotate_left(16);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_stays_within_its_bound() {
        let cache = Cache::new(1024);
        cache.insert(7, 7_u64);
        for hash in 0..100_000_u64 {
            let spread = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            cache.insert(spread, spread);
            assert_eq!(cache.find(7, |entry| *entry == 7), Some(7), "dropped at {hash}");
        }
        assert!(cache.len() <= 1024, "{} entries", cache.len());
    }

    #[test]
    fn an_equal_hash_alone_is_no_hit() {
        let cache = Cache::new(16);
        cache.insert(1, "mine");
        assert_eq!(cache.find(1, |entry| *entry == "other"), None);
        assert_eq!(cache.find(1, |entry| *entry == "mine"), Some("mine"));
    }
}
