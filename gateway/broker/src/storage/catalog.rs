//! The topics as requests see them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use super::partition::Partition;
use super::settings::Settings;
use crate::sync::{read, write};

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) settings: Arc<Settings>,
    /// Settings given explicitly, as text.
    pub(crate) given: RwLock<BTreeMap<String, String>>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    pub(crate) fn new(
        settings: Arc<Settings>,
        given: BTreeMap<String, String>,
        partitions: Vec<Arc<Partition>>,
    ) -> Topic {
        Topic { settings, given: RwLock::new(given), partitions: RwLock::new(partitions) }
    }

    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        read(&self.partitions).get(usize::try_from(index).ok()?).cloned()
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        read(&self.partitions).clone()
    }

    pub(crate) fn count(&self) -> usize {
        read(&self.partitions).len()
    }

    pub(crate) fn grow(&self, more: Vec<Arc<Partition>>) {
        write(&self.partitions).extend(more);
    }
}

/// All topics by name.
#[derive(Debug, Default)]
pub(crate) struct Catalog(RwLock<HashMap<String, Arc<Topic>>>);

impl Catalog {
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        read(&self.0).get(name).cloned()
    }

    pub(crate) fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        read(&self.0).get(name)?.partition(index)
    }

    /// All topics, by name.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Topic>)> {
        let mut all: Vec<_> =
            read(&self.0).iter().map(|(name, topic)| (name.clone(), Arc::clone(topic))).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    pub(crate) fn partitions(&self) -> usize {
        read(&self.0).values().map(|topic| topic.count()).sum()
    }

    pub(crate) fn insert(&self, name: String, topic: Arc<Topic>) {
        write(&self.0).insert(name, topic);
    }

    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Topic>> {
        write(&self.0).remove(name)
    }
}
