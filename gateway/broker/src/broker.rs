//! The broker as its owner holds it: threads, start and stop.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::StartError;
use crate::health::{Health, HealthCell};
use crate::net;
use crate::node::Node;
use crate::options::Options;
use crate::storage::clean::Cleaner;
use crate::storage::committer::{Abort, Committer};
use crate::storage::delivery::Deliveries;
use crate::storage::offsets::Change;
use crate::storage::open::{self, Directory};
use crate::storage::queue::{Job, Queue};
use crate::sync::now_ms;

/// Threads for reading files of consumers that lag.
const READERS: usize = 4;
/// How often a full disk is tried again, and idle groups are looked at.
const CARE: Duration = Duration::from_secs(1);
/// Patience for the threads to end; beyond it the next start replays instead.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A running broker. It works on threads of its own: for connections, for committing, for checkpoints, for compaction.
///
/// Dropping it stops it as [`Broker::shutdown`] does.
pub struct Broker {
    address: SocketAddr,
    health: Arc<HealthCell>,
    stop: watch::Sender<bool>,
    network: Option<JoinHandle<()>>,
    committing: Option<JoinHandle<()>>,
    directory: Option<Directory>,
    queue: Arc<Queue>,
}

impl Broker {
    /// Opens the directory, replays what a crash left, and listens. When it returns, clients are served.
    ///
    /// # Errors
    /// Says what is wrong with the options, the directory, or the address; nothing runs then.
    pub fn start(options: Options) -> Result<Broker, StartError> {
        check(&options)?;
        let listener = bind(options.listen)?;
        let address =
            listener.local_addr().map_err(|source| StartError::Listen { address: options.listen, source })?;
        let directory = Directory::open(&options.directory)?;
        let health = Arc::new(HealthCell::default());
        let mut committer = open::open(&directory, &options.limits, Arc::clone(&health))?;
        let queue = Arc::new(Queue::default());
        committer.cleaner = Cleaner::start(Arc::clone(&queue)).map_err(StartError::Threads)?;
        let node = Arc::new(Node::new(
            options.limits,
            options.default_partitions,
            &committer.meta.cluster,
            Arc::clone(&queue),
            Arc::clone(&committer.catalog),
            Arc::clone(&committer.offsets),
            Arc::clone(&health),
        ));
        let (deliveries, scanned) = (Arc::clone(&committer.deliveries), committer.scanned);
        let committing = start_committing(committer, Arc::clone(&queue)).map_err(StartError::Threads)?;
        let (stop, stopped) = watch::channel(false);
        let network = start_network(node, listener, deliveries, stopped).inspect_err(|_| queue.close())?;
        tracing::info!(%address, scanned, directory = %options.directory.display(), "the log is open");
        let (network, committing, directory) = (Some(network), Some(committing), Some(directory));
        Ok(Broker { address, health, stop, network, committing, directory, queue })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether records are taken.
    pub fn health(&self) -> Health {
        let ended = |thread: &Option<JoinHandle<()>>| thread.as_ref().is_none_or(JoinHandle::is_finished);
        if ended(&self.network) || ended(&self.committing) {
            self.health.failed("a thread of the log has ended");
        }
        self.health.get()
    }

    /// Answers what is queued, syncs everything, marks the directory as closed in order, and releases its lock.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(directory) = self.directory.take() else {
            return;
        };
        let _ = self.stop.send(true);
        let until = Instant::now() + STOP_PATIENCE;
        let network = join(self.network.take(), until);
        self.queue.close();
        if join(self.committing.take(), until) && network {
            directory.close();
            tracing::info!("the log is closed");
        } else {
            tracing::error!("the log did not stop in time; the next start replays what it owes");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn check(options: &Options) -> Result<(), StartError> {
    if !options.allow_remote && !options.listen.ip().is_loopback() {
        return Err(StartError::NotLoopback(options.listen));
    }
    let most = i32::try_from(options.limits.partitions).unwrap_or(i32::MAX);
    if !(1..=most).contains(&options.default_partitions) {
        return Err(StartError::Option(format!(
            "default_partitions is {}, it must be 1 to {most}",
            options.default_partitions
        )));
    }
    if options.limits.pending_bytes < options.limits.request_bytes {
        return Err(StartError::Option(
            "limits.pending_bytes must not be less than limits.request_bytes".to_owned(),
        ));
    }
    Ok(())
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

fn start_committing(committer: Committer, queue: Arc<Queue>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("log-commit".into()).spawn(move || {
        let _abort = Abort;
        committer.run(&queue);
    })
}

fn start_network(
    node: Arc<Node>,
    listener: TcpListener,
    deliveries: Arc<Deliveries>,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(READERS)
        .thread_name("log-read")
        .build();
    let runtime = runtime.map_err(StartError::Threads)?;
    let work = move || {
        runtime.block_on(async {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    return node.health.failed(&format!("cannot use the listening socket: {error}"));
                }
            };
            tokio::select! {
                () = net::serve(Arc::clone(&node), listener, stop) => {}
                () = node.groups.keep_time() => {}
                () = care(&node) => {}
                () = deliveries.run() => {}
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    };
    thread::Builder::new().name("log-net".into()).spawn(work).map_err(StartError::Threads)
}

/// Retention, a look at a full disk, and the forgetting of old offsets, for ever.
async fn care(node: &Node) {
    let mut ticks = tokio::time::interval(CARE.min(node.limits.retention_check));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut retained = Instant::now();
    loop {
        ticks.tick().await;
        if node.health.is_full() {
            node.queue.push(Job::Task(Box::new(Committer::probe)));
        }
        if retained.elapsed() < node.limits.retention_check {
            continue;
        }
        retained = Instant::now();
        let limits = node.limits.clone();
        node.queue.push(Job::Task(Box::new(move |committer| {
            committer.retain(now_ms());
            committer.compact(now_ms(), &limits);
            committer.forget_producers(before(limits.producer_expiry));
        })));
        let oldest = before(node.limits.offsets_retention);
        let silent = node
            .offsets
            .silent_since(oldest)
            .into_iter()
            .filter(|group| node.groups.with(group, |_| ()).is_none());
        let changes: Vec<Change> = silent.map(|group| Change::Group { group }).collect();
        node.queue.push(Job::Task(Box::new(move |committer| committer.forget_offsets(changes))));
    }
}

/// The time so long ago, in milliseconds since 1970.
fn before(ago: Duration) -> i64 {
    now_ms().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))
}

/// Waits for a thread to end in order.
fn join(thread: Option<JoinHandle<()>>, until: Instant) -> bool {
    let Some(thread) = thread else { return false };
    while !thread.is_finished() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    thread.join().is_ok()
}
