//! The measurements of one case on one line.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Bench, Sample};
use crate::cases::Case;
use crate::cpu::{self, CoreTime, Layout};
use crate::load::{self, Answers, Latencies, Target};
use crate::plan::Line;
use crate::wire;

/// How long a gateway may go on working after a measurement before the next one begins.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

/// A gateway that uses less than a tenth of this in this time is at rest.
const SETTLE_STEP: Duration = Duration::from_millis(100);

impl Bench {
    /// One sample: at saturation first, then at the fixed rate.
    pub(super) async fn measure(&mut self, line: Line, case: Case) -> Result<Sample> {
        self.arrange(line.layout())?;
        let target = Target { address: self.server(line)?.address, case };
        self.saturate(line, target, self.plan.warm).await?;
        let mut sample = self.measure_saturated(line, target).await?;
        let latencies = self.at_rate(line, target, line.rate(case)).await?;
        (sample.p50_us, sample.p99_us) = quantiles(&latencies);
        sample.unanswered = latencies.unanswered;
        Ok(sample)
    }

    async fn measure_saturated(&mut self, line: Line, target: Target) -> Result<Sample> {
        let process = self.server(line)?.process.id();
        let (seen, used) = (self.upstream_requests().await?, cpu::used(process)?);
        let (load, server) = (CoreTime::now(self.cores.load)?, CoreTime::now(self.cores.server)?);
        let (count, elapsed) = self.saturate(line, target, self.plan.measure).await?;
        let server_share = (cpu::used(process)? - used).as_secs_f64() / elapsed.as_secs_f64();
        let (load_busy, load_stolen) = CoreTime::now(self.cores.load)?.shares_since(load);
        let (server_busy, server_stolen) = CoreTime::now(self.cores.server)?.shares_since(server);
        // What the server still has to do about these requests is part of their price.
        self.settle(line).await?;
        let (seen, used) = (self.upstream_requests().await? - seen, cpu::used(process)? - used);
        Ok(Sample {
            rps: count as f64 / elapsed.as_secs_f64(),
            cpu_us: used.as_secs_f64() * 1e6 / count.max(1) as f64,
            upstream_requests: Some(seen as f64 / count.max(1) as f64),
            load_busy,
            server_busy,
            server_share,
            stolen: load_stolen.max(server_stolen),
            ..Sample::default()
        })
    }

    /// Right answers, and the time that they took.
    pub(super) async fn saturate(
        &mut self,
        line: Line,
        target: Target,
        duration: Duration,
    ) -> Result<(u64, Duration)> {
        let (answers, elapsed) = load::saturate(target, duration).await.with_context(|| self.about(line))?;
        let right = answers.count - answers.wrong;
        self.count(line, answers);
        Ok((right, elapsed))
    }

    async fn at_rate(&mut self, line: Line, target: Target, rate: u32) -> Result<Latencies> {
        let run = load::at_rate(target, rate, self.plan.measure).await.with_context(|| self.about(line));
        let mut latencies = run?;
        self.count(line, std::mem::take(&mut latencies.answers));
        self.settle(line).await?;
        Ok(latencies)
    }

    /// Latency without anything between, in the layout and at the rate of `line`.
    pub(super) async fn direct_latency(&mut self, line: Line, case: Case) -> Result<(f64, f64)> {
        self.arrange(line.layout())?;
        let target = Target { address: self.server(Line::Direct)?.address, case };
        Ok(quantiles(&self.at_rate(Line::Direct, target, line.rate(case)).await?))
    }

    /// Keeps the answers of a line, each described with where it came from.
    fn count(&mut self, line: Line, mut answers: Answers) {
        *self.served.entry(line).or_default() += answers.count;
        for sample in &mut answers.samples {
            *sample = format!("{}: {sample}", line.name());
        }
        self.results.answers.merge(answers);
    }

    /// What to say when a line fails.
    fn about(&self, line: Line) -> String {
        let words = self.server(line).map(|server| server.process.last_words()).unwrap_or_default();
        format!("{} failed; the last words of its server:\n{words}", line.name())
    }

    /// Waits until a gateway has done what it does after the answers: records, aggregates.
    pub(super) async fn settle(&self, line: Line) -> Result<()> {
        if !matches!(line, Line::GatewayDirect | Line::GatewayRelay) {
            return Ok(());
        }
        let (process, start) = (self.server(line)?.process.id(), Instant::now());
        let mut used = cpu::used(process)?;
        while start.elapsed() < SETTLED_WITHIN {
            tokio::time::sleep(SETTLE_STEP).await;
            let now = cpu::used(process)?;
            if now - used <= SETTLE_STEP / 10 {
                break;
            }
            used = now;
        }
        Ok(())
    }

    /// Puts load generator and upstreams where the layout wants them.
    pub(super) fn arrange(&self, layout: Layout) -> Result<()> {
        let cores = self.cores.of_load(layout);
        let upstream = i32::try_from(self.server(Line::Direct)?.process.id())?;
        cpu::pin(upstream, &cores)?;
        cpu::pin(0, &cores)
    }

    /// Requests that the upstream has seen so far.
    async fn upstream_requests(&self) -> Result<u64> {
        let (_, body) = wire::get(self.server(Line::Direct)?.address, "/count").await?;
        String::from_utf8(body)?.parse().context("the upstream's count")
    }
}

/// Median and 99th percentile in microseconds.
fn quantiles(latencies: &Latencies) -> (f64, f64) {
    let at = |quantile| latencies.nanoseconds.value_at_quantile(quantile) as f64 / 1e3;
    (at(0.5), at(0.99))
}
