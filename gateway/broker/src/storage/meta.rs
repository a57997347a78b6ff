//! What the broker knows about topics, as records of a journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::journal;

/// A change. The journal is the list of them, in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Change {
    /// Made once, when the directory is.
    Cluster {
        id: String,
    },
    /// A new topic, with the numbers of its partitions' folders.
    Topic {
        name: String,
        logs: Vec<u64>,
        settings: BTreeMap<String, String>,
    },
    /// More partitions.
    Grown {
        name: String,
        logs: Vec<u64>,
    },
    /// All settings of a topic that differ from the defaults.
    Settings {
        name: String,
        settings: BTreeMap<String, String>,
    },
    Deleted {
        name: String,
    },
    /// Records below `offset` were deleted.
    Start {
        log: u64,
        offset: i64,
    },
    /// Producer ids below this may have been given out.
    Producers {
        below: i64,
    },
    /// Folder numbers below this have been used.
    Logs {
        below: u64,
    },
}

/// One topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicMeta {
    pub(crate) logs: Vec<u64>,
    pub(crate) settings: BTreeMap<String, String>,
}

/// All changes taken together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    pub(crate) cluster: String,
    pub(crate) topics: BTreeMap<String, TopicMeta>,
    pub(crate) starts: BTreeMap<u64, i64>,
    pub(crate) producers_below: i64,
    pub(crate) next_log: u64,
}

impl Meta {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Cluster { id } => self.cluster = id,
            Change::Topic { name, logs, settings } => {
                self.use_logs(&logs);
                self.topics.insert(name, TopicMeta { logs, settings });
            }
            Change::Grown { name, logs } => {
                self.use_logs(&logs);
                if let Some(topic) = self.topics.get_mut(&name) {
                    topic.logs.extend(logs);
                }
            }
            Change::Settings { name, settings } => {
                if let Some(topic) = self.topics.get_mut(&name) {
                    topic.settings = settings;
                }
            }
            Change::Deleted { name } => {
                for log in self.topics.remove(&name).into_iter().flat_map(|topic| topic.logs) {
                    self.starts.remove(&log);
                }
            }
            Change::Start { log, offset } => drop(self.starts.insert(log, offset)),
            Change::Producers { below } => self.producers_below = self.producers_below.max(below),
            Change::Logs { below } => self.next_log = self.next_log.max(below),
        }
    }

    fn use_logs(&mut self, logs: &[u64]) {
        for log in logs {
            self.next_log = self.next_log.max(log + 1);
        }
    }

    /// The fewest changes that lead here, framed for a journal.
    pub(crate) fn framed(&self) -> Vec<u8> {
        let mut changes = vec![
            Change::Cluster { id: self.cluster.clone() },
            Change::Producers { below: self.producers_below },
            Change::Logs { below: self.next_log },
        ];
        for (name, topic) in &self.topics {
            let TopicMeta { logs, settings } = topic.clone();
            changes.push(Change::Topic { name: name.clone(), logs, settings });
        }
        changes.extend(self.starts.iter().map(|(log, offset)| Change::Start { log: *log, offset: *offset }));
        framed(&changes)
    }
}

/// Changes as bytes for a journal.
pub(crate) fn framed(changes: &[Change]) -> Vec<u8> {
    let mut out = Vec::new();
    for change in changes {
        let json =
            serde_json::to_vec(change).expect("names, numbers and maps of strings always have a JSON form");
        journal::frame(&json, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compacted_form_leads_to_the_same_state() {
        let mut meta = Meta::default();
        let settings = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        for change in [
            Change::Cluster { id: "c".into() },
            Change::Topic { name: "a".into(), logs: vec![1, 2], settings: BTreeMap::new() },
            Change::Topic { name: "b".into(), logs: vec![3], settings: BTreeMap::new() },
            Change::Grown { name: "a".into(), logs: vec![4] },
            Change::Settings { name: "a".into(), settings },
            Change::Start { log: 2, offset: 7 },
            Change::Start { log: 3, offset: 9 },
            Change::Deleted { name: "b".into() },
            Change::Producers { below: 1000 },
        ] {
            meta.apply(change);
        }
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = journal::Journal::open(folder.path()).unwrap();
        file.append(&meta.framed()).unwrap();
        let (_, records) = journal::Journal::open(folder.path()).unwrap();
        let mut again = Meta::default();
        for record in records {
            again.apply(serde_json::from_slice(&record).unwrap());
        }
        assert_eq!(format!("{meta:?}"), format!("{again:?}"));
        assert_eq!((again.next_log, again.starts.len()), (5, 1));
    }
}
