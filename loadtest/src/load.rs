//! The load generator: a closed loop that finds the most a server can do, and an open loop that
//! measures latency at a fixed rate of arrivals.
//!
//! In the open loop a request's time begins when it was due, not when a connection was free for it:
//! a server that stops for a second is charged for all that arrived in it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cases::{Case, FIRST_ID, Request};
use crate::pace;
use crate::wire::Connection;

/// Connections of the closed loop.
pub(crate) const CONNECTIONS: usize = 16;

/// Connections of the open loop: enough that arrivals do not wait for one at the rates used here.
const OPEN_LOOP_CONNECTIONS: usize = 64;

/// What is still unanswered this long after the last arrival counts as unanswered.
const GRACE: Duration = Duration::from_secs(5);

/// Latencies are kept in nanoseconds up to this, with three significant digits.
const LONGEST: Duration = Duration::from_secs(60);

/// Wrong answers that are kept word for word.
const SAMPLES: usize = 3;

/// Ids of requests are unique in a run, over all lines and loops.
static NEXT_ID: AtomicU64 = AtomicU64::new(FIRST_ID);

/// Where the load goes, and what it is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) case: Case,
}

/// What came back in one run.
#[derive(Default)]
pub(crate) struct Answers {
    /// Answers, right or wrong.
    pub(crate) count: u64,
    /// Answers that were not what was asked for, and requests without one.
    pub(crate) wrong: u64,
    /// The first wrong ones, described.
    pub(crate) samples: Vec<String>,
}

impl Answers {
    fn record(&mut self, outcome: &Result<()>) {
        self.count += 1;
        if let Err(error) = outcome {
            self.wrong += 1;
            if self.samples.len() < SAMPLES {
                self.samples.push(format!("{error:#}"));
            }
        }
    }

    /// Adds what another run saw.
    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.wrong += other.wrong;
        let room = SAMPLES.saturating_sub(self.samples.len());
        self.samples.extend(other.samples.into_iter().take(room));
    }
}

/// Keeps [`CONNECTIONS`] requests in flight for `duration`; gives the answers and the time until the
/// last of them.
pub(crate) async fn saturate(target: Target, duration: Duration) -> Result<(Answers, Duration)> {
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut caller = Caller::connect(target).await?;
        workers.spawn(async move {
            let mut answers = Answers::default();
            while start.elapsed() < duration {
                let outcome = caller.call().await;
                answers.record(&outcome);
            }
            answers
        });
    }
    let mut all = Answers::default();
    let finish = async {
        while let Some(answers) = workers.join_next().await {
            all.merge(answers?);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(duration + GRACE, finish)
        .await
        .context("requests were left without an answer")??;
    Ok((all, start.elapsed()))
}

/// Latencies of one open-loop run.
pub(crate) struct Latencies {
    pub(crate) nanoseconds: Histogram<u64>,
    pub(crate) answers: Answers,
    /// Requests that had no answer when the run was given up: the server did not keep up. They are in
    /// the histogram with the length of the run.
    pub(crate) unanswered: u64,
}

/// Lets `rate` requests a second arrive for `duration`, evenly spaced.
pub(crate) async fn at_rate(target: Target, rate: u32, duration: Duration) -> Result<Latencies> {
    let arrivals = u64::from(rate) * u64::try_from(duration.as_millis())? / 1000;
    let tally = Arc::new(Mutex::new((Answers::default(), histogram()?)));
    let mut callers = Vec::with_capacity(OPEN_LOOP_CONNECTIONS);
    for _ in 0..OPEN_LOOP_CONNECTIONS {
        callers.push(Caller::connect(target).await?);
    }
    let start = Instant::now();
    let due = Arc::new(tokio::sync::Mutex::new(pace::arrivals(rate, usize::try_from(arrivals)?)?));
    let mut workers = JoinSet::new();
    for mut caller in callers {
        let (due, tally) = (Arc::clone(&due), Arc::clone(&tally));
        workers.spawn(async move {
            while let Some(scheduled) = next(&due).await {
                let outcome = caller.call().await;
                let took = scheduled.elapsed();
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.0.record(&outcome);
                tally.1.saturating_record(nanoseconds(took));
            }
        });
    }
    let finish = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(duration + GRACE, finish).await.is_err() {
        workers.shutdown().await;
    }
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let (answers, mut histogram) = (std::mem::take(&mut tally.0), tally.1.clone());
    let unanswered = arrivals.saturating_sub(answers.count);
    histogram.saturating_record_n(nanoseconds(start.elapsed()), unanswered);
    Ok(Latencies { nanoseconds: histogram, answers, unanswered })
}

async fn next(due: &tokio::sync::Mutex<mpsc::Receiver<Instant>>) -> Option<Instant> {
    due.lock().await.recv().await
}

/// An empty histogram of latencies in nanoseconds.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, nanoseconds(LONGEST), 3)?)
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One request, answered and checked, on a connection of its own.
pub(crate) async fn call_once(target: Target) -> Result<()> {
    Caller::connect(target).await?.call().await
}

/// A connection and the request that it repeats.
struct Caller {
    target: Target,
    connection: Option<Connection>,
    request: Request,
}

impl Caller {
    async fn connect(target: Target) -> Result<Self> {
        let connection = Some(open(target.address).await?);
        let request = Request::new(target.case, &target.address.to_string(), crate::config::KEY);
        Ok(Self { target, connection, request })
    }

    /// Sends the request under a new id and checks the answer.
    async fn call(&mut self) -> Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => open(self.target.address).await?,
        };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let answer = connection.exchange(self.request.with_id(id)).await?;
        let outcome = self.target.case.check(id, &answer);
        // Only a connection whose answer was read to its end is used again.
        self.connection = Some(connection);
        outcome
    }
}

async fn open(address: SocketAddr) -> Result<Connection> {
    Connection::open(address).await.with_context(|| format!("{address} cannot be reached"))
}
