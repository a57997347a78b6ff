//! The end of every fault test: what clients, upstreams and the log have, before the checker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, now};
use super::{Gateway, Recorder, Result, eventually, settings};
use crate::checker::{self, Evidence, Freeze, Report, Sent, log};

/// Longer than a deadline and the 30 s within which the end of a request must be on the log.
const SETTLE: Duration = Duration::from_secs(60);

/// Windows of ten seconds, their lateness, and a machine that is busy.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Between two looks at the whole log.
const PAUSE: Duration = Duration::from_millis(500);

/// What a test gathers while it goes on.
pub(crate) struct Proof {
    pub(crate) sent: Arc<Ledger<Sent>>,
    pub(crate) freezes: Arc<Ledger<Freeze>>,
}

impl Proof {
    pub(crate) fn new() -> Self {
        Self { sent: Arc::new(Ledger::new()), freezes: Arc::new(Ledger::new()) }
    }

    /// Runs `fault`, during which the gateways called `names` cannot answer.
    pub(crate) async fn freezing<T>(&self, names: &[&str], fault: impl Future<Output = T>) -> T {
        let from = now();
        let result = fault.await;
        for name in names {
            self.freezes.add(Freeze { gateway: (*name).to_owned(), from, to: now() });
        }
        result
    }

    /// Waits until every accepted request has its end, and demands all invariants.
    ///
    /// # Errors
    /// Every violation.
    pub(crate) async fn demand(
        &self,
        log: &str,
        prefix: &str,
        upstream: &Recorder,
        gateways: &[&Gateway],
    ) -> Result<Report> {
        let topic = |name: &str| format!("{prefix}.{name}");
        eventually(SETTLE, "the end of every accepted request", || async {
            let events = log::read(log, &topic("events")).await?;
            let open = checker::open(&log::read(log, &topic("requests")).await?, &events);
            anyhow::ensure!(open.is_empty(), "{} are open, as {:?}", open.len(), open.first());
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let began = Instant::now();
        loop {
            let evidence = self.evidence(log, prefix, upstream, gateways).await?;
            let report = checker::judge(&evidence);
            // Aggregates and audit follow the log; all else must hold at once.
            let follows = |id: &str| ["I5", "I6"].contains(&id);
            let waits = !report.violations.is_empty()
                && report.violations.iter().all(|violation| follows(violation.invariant));
            if !waits || began.elapsed() > CATCH_UP {
                return report.good();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn evidence(
        &self,
        log: &str,
        prefix: &str,
        upstream: &Recorder,
        gateways: &[&Gateway],
    ) -> Result<Evidence> {
        let topic = |name: &str| format!("{prefix}.{name}");
        // Events first: then the request of each of them is among the requests.
        let events = log::read(log, &topic("events")).await?;
        let mut evidence = Evidence {
            sent: self.sent.entries(),
            seen: upstream.ledger.entries(),
            freezes: self.freezes.entries(),
            requests: log::read(log, &topic("requests")).await?,
            aggregates: Some(log::read(log, &topic("aggregates")).await?),
            audit: Some(log::read(log, &topic("audit")).await?),
            secrets: settings::secrets(),
            now: now(),
            events,
            ..Evidence::default()
        };
        for name in ["tasks", "deadletters"] {
            evidence.others.insert(name.to_owned(), log::read(log, &topic(name)).await?);
        }
        for gateway in gateways {
            evidence.texts.push((format!("output of {}", gateway.public), gateway.output()));
            if let Ok(metrics) = gateway.admin("/metrics").await {
                evidence.texts.push((format!("metrics of {}", gateway.public), metrics.text()));
            }
            evidence.readings.extend(gateway.reading());
        }
        Ok(evidence)
    }
}
