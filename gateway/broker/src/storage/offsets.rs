//! Committed offsets: a map in memory, a journal on disk.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::journal;
use crate::sync::lock;

/// A partition by its topic's name and its number.
pub(crate) type Place = (String, i32);

/// What a group committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: i64,
}

/// A change of committed offsets; the journal is the list of them, in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Change {
    Committed {
        group: String,
        topic: String,
        partition: i32,
        committed: Committed,
    },
    /// One partition forgotten.
    Removed {
        group: String,
        topic: String,
        partition: i32,
    },
    /// The whole group forgotten.
    Group {
        group: String,
    },
}

type Groups = HashMap<String, BTreeMap<Place, Committed>>;

/// All committed offsets.
#[derive(Debug, Default)]
pub(crate) struct Offsets(Mutex<Groups>);

impl Offsets {
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        let mut groups = lock(&self.0);
        for change in changes {
            match change {
                Change::Committed { group, topic, partition, committed } => {
                    groups.entry(group).or_default().insert((topic, partition), committed);
                }
                Change::Removed { group, topic, partition } => {
                    if let Some(places) = groups.get_mut(&group) {
                        places.remove(&(topic, partition));
                        if places.is_empty() {
                            groups.remove(&group);
                        }
                    }
                }
                Change::Group { group } => drop(groups.remove(&group)),
            }
        }
    }

    pub(crate) fn get(&self, group: &str, place: &Place) -> Option<Committed> {
        lock(&self.0).get(group)?.get(place).cloned()
    }

    /// All of one group, in order.
    pub(crate) fn all(&self, group: &str) -> Vec<(Place, Committed)> {
        let groups = lock(&self.0);
        groups
            .get(group)
            .into_iter()
            .flatten()
            .map(|(place, committed)| (place.clone(), committed.clone()))
            .collect()
    }

    pub(crate) fn groups(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }

    pub(crate) fn has(&self, group: &str) -> bool {
        lock(&self.0).contains_key(group)
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// Groups whose newest commit is older than `before_ms`.
    pub(crate) fn silent_since(&self, before_ms: i64) -> Vec<String> {
        let groups = lock(&self.0);
        let silent =
            groups.iter().filter(|(_, places)| places.values().all(|committed| committed.at_ms < before_ms));
        silent.map(|(group, _)| group.clone()).collect()
    }

    /// What forgets a deleted topic.
    pub(crate) fn without_topic(&self, name: &str) -> Vec<Change> {
        let groups = lock(&self.0);
        let places = groups.iter().flat_map(|(group, places)| places.keys().map(move |place| (group, place)));
        let removed = |(group, (topic, partition)): (&String, &Place)| Change::Removed {
            group: group.clone(),
            topic: topic.clone(),
            partition: *partition,
        };
        places.filter(|(_, place)| place.0 == name).map(removed).collect()
    }

    /// Everything in force, for a new edition of the journal.
    pub(crate) fn framed(&self) -> Vec<u8> {
        let groups = lock(&self.0);
        let changes = groups.iter().flat_map(|(group, places)| {
            places.iter().map(|((topic, partition), committed)| Change::Committed {
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                committed: committed.clone(),
            })
        });
        framed(changes)
    }
}

/// Changes as bytes for the journal.
pub(crate) fn framed(changes: impl IntoIterator<Item = Change>) -> Vec<u8> {
    let mut out = Vec::new();
    for change in changes {
        let json = serde_json::to_vec(&change).expect("names and numbers always have a JSON form");
        journal::frame(&json, &mut out);
    }
    out
}
