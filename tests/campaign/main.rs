//! Many faults over many requests: gateways killed and frozen, their log killed and frozen, while clients go on. At
//! its end stands the checker.
//!
//! ```text
//! cargo test -p kamf --test campaign                                             # the short form
//! cargo test -p kamf --test campaign -- --faults 200 --requests 100000           # the long one
//! cargo test -p kamf --test campaign -- --kafka --keep DIR                       # on Apache Kafka, ledgers kept
//! ```
//!
//! Exit code 0: no violation. `tests/README.md` has the summary of a long run.

#[expect(dead_code, reason = "shared with the checker program, which reads ledgers")]
#[path = "../checker/mod.rs"]
mod checker;
#[expect(dead_code, unused_imports, reason = "shared with the end-to-end tests, which use all of it")]
#[path = "../common/mod.rs"]
mod common;

mod faults;
mod options;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use common::bed::Bed;
use common::crowd::Crowd;
use common::scene::Scene;
use common::{Recorder, Result};
use faults::Fault;
use options::Options;

/// What the routes give a call: longer than a frozen gateway stands still.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// For the requests between two faults.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = Options::from_arguments() else { return ExitCode::SUCCESS };
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result {
    let bed = match options.kafka {
        false => Some(Bed::embedded().await?),
        true => Bed::kafka("the campaign on Apache Kafka").await?,
    };
    let Some(bed) = bed else { return Ok(()) };
    let mut scene = Scene::start(bed, 2, Recorder::slow().await, DEADLINE).await?;
    if let Some(folder) = &options.keep {
        std::fs::create_dir_all(folder)?;
        scene.proof.sent.keep_in(&folder.join("clients.jsonl"))?;
        scene.proof.freezes.keep_in(&folder.join("freezes.jsonl"))?;
        scene.upstream.ledger.keep_in(&folder.join("upstreams.jsonl"))?;
    }
    let began = Instant::now();
    let crowd = scene.crowd(options.requests);
    let done = Arc::new(AtomicUsize::new(0));
    let progress = progress(&crowd, options, Arc::clone(&done), began);
    let mut counts = [0; Fault::ALL.len()];
    for number in 1..=options.faults {
        let mark = options.requests * number / (options.faults + 1);
        common::eventually(PATIENCE, "requests", || async {
            let ended = crowd.ended();
            if ended >= mark { Ok(()) } else { Err(format!("{ended} of {mark}")) }
        })
        .await?;
        let fault = Fault::of(number);
        fault.happen(&mut scene, number).await.with_context(|| {
            format!("fault {number}, {}; the log's output ends with:\n{}", fault.name(), scene.bed.output())
        })?;
        counts[fault as usize] += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
    crowd.finish().await;
    progress.abort();
    let took = began.elapsed();
    println!("{} faults over {} requests in {} s:", options.faults, options.requests, took.as_secs());
    for (fault, count) in Fault::ALL.iter().zip(counts) {
        println!("{count:>9}  {}", fault.name());
    }
    println!("{}", scene.demand().await?);
    Ok(())
}

/// Says now and then how far it is.
fn progress(
    crowd: &Crowd,
    options: &Options,
    done: Arc<AtomicUsize>,
    began: Instant,
) -> tokio::task::JoinHandle<()> {
    let (ended, faults, requests) = (crowd.counter(), options.faults, options.requests);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(PROGRESS);
        loop {
            tick.tick().await;
            let (done, ended) = (done.load(Ordering::Relaxed), ended());
            let seconds = began.elapsed().as_secs();
            eprintln!("{seconds:>5} s  {done} of {faults} faults, {ended} of {requests} requests");
        }
    })
}
