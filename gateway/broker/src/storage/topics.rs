//! Administrative changes, made on the committing thread between rounds: journalled first, then in force.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::Topic;
use super::checkpoint::Work;
use super::clean::Marks;
use super::committer::Committer;
use super::journal::sync_folder;
use super::keys;
use super::meta::{self, Change};
use super::offsets;
use super::partition::{Opened, Partition};
use super::producers::Producers;
use super::queue::OffsetsAppend;
use super::round::Round;
use super::segment::Segment;
use super::settings::Settings;
use crate::options::Limits;
use crate::sync::lock;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("there is a topic of this name")]
    Exists,
    #[error("there is no such topic or partition")]
    Unknown,
    #[error("the broker holds at most {0} partitions")]
    TooManyPartitions(usize),
    #[error("the offset lies outside the log")]
    OutOfRange,
    #[error("the disk refused the write: {0}")]
    Disk(#[from] io::Error),
}

/// Folder of a partition.
pub(crate) fn folder_of(root: &Path, log: u64) -> PathBuf {
    root.join("partitions").join(format!("{log:08}"))
}

/// Share of each partition in the memory for recent records.
pub(crate) fn tail_bytes(limits: &Limits, partitions: usize) -> usize {
    (limits.tail_bytes / partitions.max(1)).clamp(16 << 10, 512 << 10)
}

impl Committer {
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: usize,
        given: BTreeMap<String, String>,
        limits: &Limits,
    ) -> Result<(), ChangeError> {
        if self.catalog.topic(name).is_some() {
            return Err(ChangeError::Exists);
        }
        let settings = Arc::new(Settings::new(keys::values(&given, limits.batch_bytes)));
        let (logs, made) = self.make_partitions(partitions, &settings, limits)?;
        self.record(Change::Topic { name: name.to_owned(), logs, settings: given.clone() })?;
        self.catalog.insert(name.to_owned(), Arc::new(Topic::new(settings, given, made)));
        Ok(())
    }

    pub(crate) fn grow_topic(&mut self, name: &str, to: usize, limits: &Limits) -> Result<(), ChangeError> {
        let topic = self.catalog.topic(name).ok_or(ChangeError::Unknown)?;
        let more = to.saturating_sub(topic.count());
        let (logs, made) = self.make_partitions(more, &topic.settings, limits)?;
        self.record(Change::Grown { name: name.to_owned(), logs })?;
        topic.grow(made);
        Ok(())
    }

    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<(), ChangeError> {
        let topic = self.catalog.topic(name).ok_or(ChangeError::Unknown)?;
        self.record(Change::Deleted { name: name.to_owned() })?;
        self.catalog.remove(name);
        for partition in topic.partitions() {
            partition.mark_deleted();
            self.dirty.retain(|(log, _), _| *log != partition.log);
            self.checkpointer.send(Work::RemoveFolder(partition.folder.clone()));
        }
        self.forget_offsets(self.offsets.without_topic(name));
        Ok(())
    }

    /// Replaces the settings of a topic, which the caller has checked.
    pub(crate) fn set_settings(
        &mut self,
        name: &str,
        given: BTreeMap<String, String>,
        limits: &Limits,
    ) -> Result<(), ChangeError> {
        let topic = self.catalog.topic(name).ok_or(ChangeError::Unknown)?;
        self.record(Change::Settings { name: name.to_owned(), settings: given.clone() })?;
        topic.settings.set(keys::values(&given, limits.batch_bytes));
        *crate::sync::write(&topic.given) = given;
        Ok(())
    }

    /// Deletes the records below `offset`, or all when it is -1; returns the new start.
    pub(crate) fn delete_records(&mut self, name: &str, index: i32, offset: i64) -> Result<i64, ChangeError> {
        let partition = self.catalog.partition(name, index).ok_or(ChangeError::Unknown)?;
        let ends = partition.ends();
        let offset = if offset == -1 { ends.high_watermark } else { offset };
        if offset < 0 || offset > ends.high_watermark {
            return Err(ChangeError::OutOfRange);
        }
        if offset > ends.log_start {
            self.record(Change::Start { log: partition.log, offset })?;
            self.drop_below(&partition, offset);
        }
        Ok(partition.ends().log_start)
    }

    /// Producer ids up to the one returned are set aside.
    pub(crate) fn reserve_producers(&mut self, count: i64) -> Result<i64, ChangeError> {
        let below = self.meta.producers_below + count;
        self.record(Change::Producers { below })?;
        Ok(below)
    }

    /// Journals the forgetting of offsets, and forgets them.
    pub(crate) fn forget_offsets(&mut self, changes: Vec<offsets::Change>) {
        if changes.is_empty() {
            return;
        }
        let framed = offsets::framed(changes.clone()).into();
        let mut round = Round::default();
        round.add_offsets(OffsetsAppend { framed, changes, reply: None });
        self.commit(round);
    }

    /// Deletes segments that lie wholly below `offset`.
    fn drop_below(&mut self, partition: &Arc<Partition>, offset: i64) {
        let removed = partition.advance_start(offset);
        for segment in &removed {
            self.dirty.remove(&(partition.log, segment.base_offset));
        }
        if !removed.is_empty() {
            self.checkpointer.send(Work::Remove(removed));
        }
    }

    /// Deletes what retention no longer keeps, segment by segment, in every partition.
    pub(crate) fn retain(&mut self, now_ms: i64) {
        for (name, topic) in self.catalog.all() {
            let values = topic.settings.get();
            if !values.deletes {
                continue;
            }
            for partition in topic.partitions() {
                if let Err(error) =
                    self.retain_partition(&partition, values.retention_ms, values.retention_bytes, now_ms)
                {
                    tracing::warn!(topic = name, %error, "cannot begin a new segment to delete an old one");
                }
            }
        }
    }

    fn retain_partition(
        &mut self,
        partition: &Arc<Partition>,
        retention_ms: i64,
        retention_bytes: i64,
        now_ms: i64,
    ) -> io::Result<()> {
        let expired = |segment: &Segment| {
            retention_ms >= 0 && segment.max_timestamp() < now_ms.saturating_sub(retention_ms)
        };
        let mut segments = partition.segments();
        if segments.last().is_some_and(|active| active.synced() > 0 && expired(active)) {
            self.roll(partition, partition.ends().high_watermark)?;
            segments = partition.segments();
        }
        let mut bytes: u64 = segments.iter().map(|segment| segment.synced()).sum();
        let mut start = None;
        for pair in segments.windows(2) {
            let too_many = u64::try_from(retention_bytes).is_ok_and(|most| bytes - pair[0].synced() >= most);
            if !expired(&pair[0]) && !too_many {
                break;
            }
            bytes -= pair[0].synced();
            start = Some(pair[1].base_offset);
        }
        if let Some(start) = start {
            self.drop_below(partition, start);
        }
        Ok(())
    }

    /// Forgets idempotent producers that have long been silent.
    pub(crate) fn forget_producers(&self, before_ms: i64) {
        for partition in self.catalog.all().into_iter().flat_map(|(_, topic)| topic.partitions()) {
            lock(&partition.write).producers.forget_silent_since(before_ms);
        }
    }

    /// Journals a change and takes it in.
    fn record(&mut self, change: Change) -> io::Result<()> {
        self.meta_journal
            .append(&meta::framed(std::slice::from_ref(&change)))
            .inspect_err(|error| self.health.refused(error))?;
        self.meta.apply(change);
        Ok(())
    }

    fn make_partitions(
        &mut self,
        count: usize,
        settings: &Arc<Settings>,
        limits: &Limits,
    ) -> Result<(Vec<u64>, Vec<Arc<Partition>>), ChangeError> {
        if self.catalog.partitions() + count > limits.partitions {
            return Err(ChangeError::TooManyPartitions(limits.partitions));
        }
        let tail = tail_bytes(limits, self.catalog.partitions() + count);
        let first = self.meta.next_log.max(1);
        // Taken now: a failed attempt may leave a folder of this number behind.
        self.record(Change::Logs { below: first + count as u64 })?;
        let mut made = Vec::with_capacity(count);
        for log in first..first + count as u64 {
            let folder = folder_of(&self.folder, log);
            fs::create_dir_all(&folder)?;
            let segment = Arc::new(Segment::create(&folder, 0)?);
            sync_folder(&folder)?;
            let opened = Opened {
                segments: vec![segment],
                log_start: 0,
                next_offset: 0,
                producers: Producers::new(limits.producers),
                marks: Marks::default(),
            };
            made.push(Arc::new(Partition::new(log, folder, Arc::clone(settings), opened, tail)));
        }
        sync_folder(&self.folder.join("partitions"))?;
        Ok(((first..first + count as u64).collect(), made))
    }
}
