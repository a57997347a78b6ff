//! Drives the module on a thread of its own: reading and counting is work for a core, not for a runtime's worker.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use prometheus::Registry;

use super::live::{Live, Question};
use super::metrics::Metrics;
use super::reader::Wake;
use super::row::{Micros, micros};
use super::session::{Session, SessionError};
use super::window::Bounds;
use crate::config::Prices;
use crate::relay::Log;

/// How long the thread sleeps when there is nothing to do: windows close and questions are answered in between.
const NAP: Duration = Duration::from_millis(100);

/// How long it lets records gather when few came: a look at every partition costs as much as some records.
const GATHER: Duration = Duration::from_millis(50);
const FEW: usize = 500;

/// After a failure: before the log is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often the lag is measured.
const MEASURE: Duration = Duration::from_secs(5);

/// For how long a starting module waits for the right to write before it begins without.
const AWAIT_OFFICE: Duration = Duration::from_secs(1);

/// Tells whether this replica is the one that writes results, and in the name of which epoch.
pub type Office = Box<dyn Fn() -> Option<i64> + Send>;

/// The running module.
pub struct Stream {
    live: Live,
    stop: Arc<AtomicBool>,
    hold: Arc<AtomicBool>,
    wake: Arc<Wake>,
    thread: JoinHandle<()>,
}

/// Why the module cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the metrics of the stream module cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the system gives no thread for the stream module: {0}")]
    Thread(#[from] io::Error),
}

impl Stream {
    /// Starts to read the log, where the results on it end. Every replica counts; the one that `office` names also
    /// writes.
    ///
    /// # Errors
    /// See [`StartError`]. That the log does not answer is none: it is tried again, and [`Live::ready`] tells.
    pub fn start(
        log: &Log,
        prices: &Prices,
        registry: &Registry,
        office: Office,
    ) -> Result<Self, StartError> {
        let wake = Arc::new(Wake::default());
        let (stop, hold) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (live, questions) = Live::new(wake.clone());
        let driver = Driver {
            log: log.clone(),
            prices: prices.clone(),
            metrics: Arc::new(Metrics::register(registry)?),
            live: live.clone(),
            questions,
            office,
            stop: stop.clone(),
            hold: hold.clone(),
            wake: wake.clone(),
        };
        let thread =
            std::thread::Builder::new().name("kamf-stream".to_owned()).spawn(move || driver.run())?;
        Ok(Self { live, stop, hold, wake, thread })
    }

    /// For the admin listener.
    pub fn handle(&self) -> Live {
        self.live.clone()
    }

    /// From now on it stays as it is, writing or not: the replica gives up its partitions because it ends.
    pub fn hold(&self) {
        self.hold.store(true, Ordering::Release);
    }

    /// Writes what is complete and ends. What is not complete, the next start reads again.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.wake.notify();
        let thread = self.thread;
        if !matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(()))) {
            tracing::warn!("the stream module did not end in order; the next start goes on from the log");
        }
    }
}

struct Driver {
    log: Log,
    prices: Prices,
    metrics: Arc<Metrics>,
    live: Live,
    questions: Receiver<Question>,
    office: Office,
    stop: Arc<AtomicBool>,
    hold: Arc<AtomicBool>,
    wake: Arc<Wake>,
}

impl Driver {
    fn run(self) {
        let mut counted = BTreeMap::new();
        self.await_office();
        while !self.stopping() {
            let Err(error) = self.session(&mut counted) else { continue };
            if self.live.ready() != Err(error.to_string()) {
                tracing::warn!(%error, "the stream module begins anew from what is on the log");
            }
            self.live.set_health(Err(error.to_string()));
            self.metrics.restarts.inc();
            self.rest();
        }
        self.live.set_health(Err("it has stopped".to_owned()));
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// A session that is opened without the right to write is opened again with it: that is spared where it comes soon.
    fn await_office(&self) {
        let since = Instant::now();
        while since.elapsed() < AWAIT_OFFICE && !self.stopping() && (self.office)().is_none() {
            self.wake.wait(GATHER);
        }
    }

    /// Waits before the next attempt; questions are turned away by dropping them.
    fn rest(&self) {
        let since = Instant::now();
        while since.elapsed() < RETRY && !self.stopping() {
            while self.questions.try_recv().is_ok() {}
            self.wake.wait(NAP);
        }
    }

    /// Runs until the end, or until another replica is to write.
    fn session(&self, counted: &mut BTreeMap<i32, i64>) -> Result<(), SessionError> {
        let epoch = (self.office)();
        let mut session = Session::open(
            &self.log,
            &self.prices,
            Bounds::default(),
            &self.metrics,
            std::mem::take(counted),
            &self.wake,
            epoch,
        )?;
        match epoch {
            Some(epoch) => tracing::debug!(epoch, "this replica writes aggregates and audit"),
            None => tracing::debug!("another replica writes aggregates and audit"),
        }
        let outcome = self.drive(&mut session, epoch);
        *counted = session.counted();
        outcome?;
        if self.stopping() { session.close().map(|_| ()) } else { Ok(()) }
    }

    fn drive(&self, session: &mut Session, epoch: Option<i64>) -> Result<(), SessionError> {
        let mut measured = Instant::now();
        let mut whole = false;
        while !self.stopping() && (self.hold.load(Ordering::Acquire) || (self.office)() == epoch) {
            let work = session.turn(clock())?;
            if !whole && session.is_whole() {
                whole = true;
                self.live.set_health(Ok(()));
            }
            while let Ok(question) = self.questions.try_recv() {
                // Nobody waits for it any more when this fails.
                let _ = question.reply.send(session.snapshot(question.size, question.since));
            }
            if measured.elapsed() >= MEASURE {
                measured = Instant::now();
                session.measure_lag();
            }
            match work {
                0 => self.wake.wait(NAP),
                1..FEW => std::thread::sleep(GATHER),
                _ => {}
            }
        }
        Ok(())
    }
}

fn clock() -> Micros {
    micros(SystemTime::now())
}
