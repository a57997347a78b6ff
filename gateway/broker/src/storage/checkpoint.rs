//! The background thread that syncs segments, writes their summaries, and removes old files.
//!
//! It works strictly in order, so a segment is never summarised after its removal, and the number of the newest
//! finished generation says that everything the write-ahead file held up to it is safe elsewhere.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::{fs, io, thread};

use super::clean::Marks;
use super::fatal;
use super::journal::sync_folder;
use super::partition::Partition;
use super::producers::Producers;
use super::segment::Segment;
use super::summary::Summary;
use crate::sync::lock;

/// Work waiting at most; the committing thread waits beyond it.
const QUEUE: usize = 64;

/// A segment as of one moment between rounds.
pub(crate) struct Cover {
    pub(crate) partition: Arc<Partition>,
    pub(crate) segment: Arc<Segment>,
    pub(crate) bytes: u64,
    pub(crate) next_offset: i64,
    pub(crate) producers: Producers,
}

pub(crate) enum Work {
    /// Sync these and write their summaries.
    Cover(Vec<Cover>),
    /// Sync a journal.
    Journal(Arc<fs::File>, PathBuf),
    /// All before belongs to this generation or an older one.
    Finished(u64),
    Remove(Vec<Arc<Segment>>),
    /// Make the names in a folder lasting, then remove the segments that others have replaced.
    Replaced(PathBuf, Vec<Arc<Segment>>),
    /// Keep how far a partition is compacted.
    Compacted(PathBuf, Marks),
    RemoveFolder(PathBuf),
}

/// The handle of the committing thread.
pub(crate) struct Checkpointer {
    work: Option<SyncSender<Work>>,
    finished: Arc<(Mutex<u64>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// `finished` is the generation before the first.
    pub(crate) fn start(finished: u64) -> io::Result<Checkpointer> {
        let (work, receiver) = sync_channel(QUEUE);
        let finished = Arc::new((Mutex::new(finished), Condvar::new()));
        let shared = Arc::clone(&finished);
        let thread =
            thread::Builder::new().name("log-checkpoint".into()).spawn(move || run(&receiver, &shared))?;
        Ok(Checkpointer { work: Some(work), finished, thread: Some(thread) })
    }

    pub(crate) fn send(&self, work: Work) {
        if let Some(sender) = &self.work
            && sender.send(work).is_err()
        {
            fatal::die("the checkpoint thread has ended");
        }
    }

    /// Waits until all of `generation` is safe outside the write-ahead file.
    pub(crate) fn wait_for(&self, generation: u64) {
        let (number, changed) = &*self.finished;
        let mut number = lock(number);
        while *number < generation {
            number = changed.wait(number).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Finishes what is queued.
    pub(crate) fn stop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread of the log panicked; the next start reads more");
        }
    }
}

/// Ends the process when the thread panics: the committing thread would wait for it for ever.
struct Abort;

impl Drop for Abort {
    fn drop(&mut self) {
        if thread::panicking() {
            fatal::die("the checkpoint thread panicked");
        }
    }
}

fn run(work: &Receiver<Work>, finished: &(Mutex<u64>, Condvar)) {
    let _abort = Abort;
    for work in work {
        match work {
            Work::Cover(covers) => covers.into_iter().for_each(cover),
            Work::Journal(file, path) => fatal::sync(&file, &path),
            Work::Finished(generation) => {
                *lock(&finished.0) = generation;
                finished.1.notify_all();
            }
            Work::Remove(segments) => segments.iter().for_each(|segment| warn("segment", segment.remove())),
            Work::Replaced(folder, old) => match sync_folder(&folder) {
                Ok(()) => old.iter().for_each(|segment| warn("segment", segment.remove())),
                Err(error) => warn("segment", Err(error)),
            },
            Work::Compacted(folder, marks) => {
                if let Err(error) = marks.write(&folder) {
                    tracing::debug!(%error, "cannot keep how far a partition is compacted; the next start begins anew");
                }
            }
            Work::RemoveFolder(folder) => warn("folder", fs::remove_dir_all(&folder)),
        }
    }
}

fn warn(what: &str, removed: io::Result<()>) {
    if let Err(error) = removed {
        tracing::warn!(what, %error, "cannot remove an old file of the log; it only takes space");
    }
}

fn cover(cover: Cover) {
    if cover.partition.is_deleted() {
        return;
    }
    fatal::sync(&cover.segment.file, &cover.segment.path);
    if cover.bytes == 0
        && let Err(error) = sync_folder(&cover.partition.folder)
    {
        tracing::warn!(%error, "cannot sync a folder of the log");
    }
    let mut index = lock(&cover.segment.index).clone();
    index.entries.retain(|entry| entry.position < cover.bytes);
    index.synced = cover.bytes;
    let summary = Summary { index, next_offset: cover.next_offset, producers: cover.producers };
    if let Err(error) = summary.write(&cover.segment.path) {
        // The next start reads the segment instead.
        tracing::debug!(%error, "cannot write the summary of a segment");
    }
}
