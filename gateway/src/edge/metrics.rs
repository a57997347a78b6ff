//! What the edge counts. Handles are looked up once, here.

use std::sync::Arc;

use hyper::StatusCode;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::outcome::Reason;

/// Bounds of the duration histogram: from a hit in memory to the longest unary call.
const DURATION_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Why the gateway ended a connection that its peer would have kept. Label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// No first byte, or half an HTTP/2 preface.
    FirstByte,
    /// The TLS handshake took too long.
    Handshake,
    /// A request head that did not end.
    Head,
    /// No request for long.
    Idle,
    /// The peer took no bytes.
    Stalled,
    /// Refused at the limit of all connections.
    Connections,
    /// Refused at the limit of one address.
    Address,
    /// Open at the end of the drain.
    Drain,
}

const CUTS: [(Cut, &str); 8] = [
    (Cut::FirstByte, "first_byte"),
    (Cut::Handshake, "handshake"),
    (Cut::Head, "head"),
    (Cut::Idle, "idle"),
    (Cut::Stalled, "stalled"),
    (Cut::Connections, "connections"),
    (Cut::Address, "connections_per_address"),
    (Cut::Drain, "drain"),
];

/// The handles of one listener; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    requests: [IntCounter; 5],
    duration: Histogram,
    refusals: Vec<IntCounter>,
    connections: IntGauge,
    cuts: [IntCounter; CUTS.len()],
    received: IntCounter,
    sent: IntCounter,
}

impl Metrics {
    /// Makes the handles and registers them; once a registry.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests =
            counters(registry, "kamf_edge_requests_total", "Answers by class of status.", "status")?;
        let refusals = counters(
            registry,
            "kamf_edge_refusals_total",
            "Requests refused at the door, by reason.",
            "reason",
        )?;
        let cuts = counters(
            registry,
            "kamf_edge_connections_cut_total",
            "Connections ended by the gateway.",
            "cause",
        )?;
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                "kamf_edge_request_duration_seconds",
                "From a request's head to its answer's head.",
            )
            .buckets(DURATION_SECONDS.to_vec()),
        )?;
        let connections = IntGauge::new("kamf_edge_connections", "Connections that are open.")?;
        let received = IntCounter::new("kamf_edge_received_bytes_total", "Bytes read, without TLS.")?;
        let sent = IntCounter::new("kamf_edge_sent_bytes_total", "Bytes written, without TLS.")?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(received.clone()))?;
        registry.register(Box::new(sent.clone()))?;
        Ok(Self(Arc::new(Handles {
            requests: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| requests.with_label_values(&[class])),
            duration,
            refusals: Reason::ALL
                .iter()
                .map(|reason| refusals.with_label_values(&[reason.label()]))
                .collect(),
            connections,
            cuts: CUTS.map(|(_, cause)| cuts.with_label_values(&[cause])),
            received,
            sent,
        })))
    }

    /// Counts a request that was refused before it was understood.
    pub fn refused(&self, reason: Reason) {
        if let Some(index) = Reason::ALL.iter().position(|other| *other == reason) {
            self.0.refusals[index].inc();
        }
    }

    pub(super) fn answered(&self, status: StatusCode, seconds: f64) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.0.requests[class].inc();
        self.0.duration.observe(seconds);
    }

    pub(super) fn opened(&self) {
        self.0.connections.inc();
    }

    pub(super) fn closed(&self) {
        self.0.connections.dec();
    }

    pub(super) fn cut(&self, cause: Cut) {
        if let Some(index) = CUTS.iter().position(|(other, _)| *other == cause) {
            self.0.cuts[index].inc();
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        self.0.received.inc_by(bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.0.sent.inc_by(bytes as u64);
    }
}

impl Default for Metrics {
    /// Handles that no registry shows.
    fn default() -> Self {
        Self::register(&Registry::new()).expect("the names are fit and different")
    }
}

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}
