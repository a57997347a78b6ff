//! Which partitions are worth compacting.

use std::io;
use std::sync::Arc;

use super::newest;
use super::pass::{Plan, Progress};
use crate::options::Limits;
use crate::storage::committer::Committer;
use crate::storage::partition::Partition;
use crate::storage::settings::Values;

impl Committer {
    /// Begins new segments where `segment.ms` or `max.compaction.lag.ms` say so, and has compacted what is due.
    pub(crate) fn compact(&mut self, now_ms: i64, limits: &Limits) {
        let mut uncovered = false;
        for (name, topic) in self.catalog.all() {
            let values = topic.settings.get();
            for partition in topic.partitions() {
                if let Err(error) = self.roll_if_old(&partition, &values, now_ms) {
                    tracing::warn!(topic = name, %error, "cannot begin a new segment");
                }
                let plan = if values.compacts { plan(&partition, values, now_ms, limits) } else { None };
                let Some(plan) = plan else { continue };
                let dirty = |base| self.dirty.contains_key(&(partition.log, base));
                if plan.segments.iter().any(|(segment, _)| dirty(segment.base_offset)) {
                    uncovered = true;
                } else {
                    Progress::of(&partition).busy = true;
                    self.cleaner.send(plan);
                }
            }
        }
        if uncovered {
            // The producers as of a segment's end are in its summary. Once it is written the partition's turn comes.
            self.switch_wal();
        }
    }

    fn roll_if_old(&mut self, partition: &Arc<Partition>, values: &Values, now_ms: i64) -> io::Result<()> {
        let segments = partition.segments();
        let Some(active) = segments.last().filter(|active| active.synced() > 0) else {
            return Ok(());
        };
        let lag = if values.compacts { values.lag_max_ms } else { i64::MAX };
        let oldest = now_ms.saturating_sub(values.segment_ms.min(lag));
        if active.began_ms() <= oldest {
            self.roll(partition, partition.ends().high_watermark)
        } else {
            Ok(())
        }
    }
}

/// What to do with a partition, if anything.
fn plan(partition: &Arc<Partition>, values: Values, now_ms: i64, limits: &Limits) -> Option<Plan> {
    let progress = Progress::of(partition);
    if progress.busy {
        return None;
    }
    let all = partition.segments();
    let young = now_ms.saturating_sub(values.lag_min_ms);
    let ends = all.iter().skip(1).map(|next| next.base_offset);
    let closed = all.iter().cloned().zip(ends);
    let segments: Vec<_> = closed.take_while(|(segment, _)| segment.max_timestamp() <= young).collect();
    let marks = progress.marks.clone();
    let (mut bytes, mut dirty, mut late) = (0, 0, false);
    for (segment, end) in &segments {
        bytes += segment.synced();
        if *end > marks.below() {
            dirty += segment.synced();
            late |= segment.synced() > 0 && segment.began_ms() <= now_ms.saturating_sub(values.lag_max_ms);
        }
    }
    let worth = dirty > 0 && (late || dirty as f64 >= values.dirty_ratio * bytes as f64);
    let settles = marks.settled(now_ms, values.delete_retention_ms) > progress.settled;
    drop(progress);
    let (partition, keys, producers) = (Arc::clone(partition), newest::KEYS, limits.producers);
    let plan = Plan { partition, segments, marks, values, now_ms, keys, producers };
    (!plan.segments.is_empty() && (worth || settles)).then_some(plan)
}
