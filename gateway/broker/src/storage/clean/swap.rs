//! Putting compacted segments in place of what they stand for.

use std::fs;
use std::sync::Arc;

use super::pass::{Group, Pass, Progress};
use crate::storage::checkpoint::Work;
use crate::storage::committer::Committer;
use crate::storage::partition::Partition;

impl Committer {
    /// Has readers, and the next start, see what a pass made. Old files go when the new names are lasting.
    pub(crate) fn swap(&mut self, partition: &Arc<Partition>, pass: Pass, retention_ms: i64) {
        let mut whole = !partition.is_deleted();
        let folder = &partition.folder;
        for group in pass.groups {
            if !whole || !partition.has(&group.old) {
                // Deleted meanwhile, by retention or on request.
                whole = false;
                group.discard();
                continue;
            }
            if let Err(error) = fs::rename(&group.fresh, &group.new.path) {
                tracing::warn!(folder = %folder.display(), %error, "cannot put a compacted segment in place; it is tried again");
                whole = false;
                group.discard();
                continue;
            }
            let Group { old, new, .. } = group;
            partition.replace(&old, new);
            self.checkpointer.send(Work::Replaced(folder.clone(), old));
        }
        let mut progress = Progress::of(partition);
        progress.busy = false;
        if whole {
            progress.marks.add(pass.mark, retention_ms);
            progress.settled = pass.settled;
            self.checkpointer.send(Work::Compacted(folder.clone(), progress.marks.clone()));
            tracing::debug!(folder = %folder.display(), below = pass.mark.below, dropped = pass.dropped, "a partition is compacted");
        }
    }
}
