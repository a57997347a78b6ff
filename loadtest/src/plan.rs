//! What is compared with what, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::cases::Case;
use crate::cpu::Layout;

/// What stands between client and upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Line {
    /// Nothing.
    Direct,
    /// A bare hyper forwarding proxy on one core.
    Floor,
    /// The gateway in mode `direct`, on one core.
    GatewayDirect,
    /// The gateway in mode `relay` on its embedded log, on both cores.
    GatewayRelay,
    /// No HTTP at all: two acknowledged appends by bare rdkafka to the log of an idle gateway, on both
    /// cores.
    TwoAppends,
}

impl Line {
    pub(crate) const ALL: [Self; 5] =
        [Self::Direct, Self::Floor, Self::GatewayDirect, Self::GatewayRelay, Self::TwoAppends];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Floor => "floor",
            Self::GatewayDirect => "gateway_direct",
            Self::GatewayRelay => "gateway_relay",
            Self::TwoAppends => "two_appends",
        }
    }

    pub(crate) fn needs_gateway(self) -> bool {
        matches!(self, Self::GatewayDirect | Self::GatewayRelay | Self::TwoAppends)
    }

    /// How its processes lie on the cores.
    pub(crate) fn layout(self) -> Layout {
        match self {
            Self::Direct | Self::Floor | Self::GatewayDirect => Layout::Apart,
            Self::GatewayRelay | Self::TwoAppends => Layout::Together,
        }
    }

    /// Arrivals a second at which latency is measured: modest, so that it is the way through that is
    /// measured and not a queue.
    pub(crate) fn rate(self, case: Case) -> u32 {
        match (self.layout(), case) {
            (Layout::Apart, _) => 1000,
            (Layout::Together, Case::A2aSend | Case::McpCall) => 500,
            // Twenty durable events each.
            (Layout::Together, Case::A2aStream) => 100,
        }
    }
}

/// What to measure, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) cases: Vec<Case>,
    pub(crate) lines: Vec<Line>,
    pub(crate) rounds: usize,
    /// Load before each measurement that does not count.
    pub(crate) warm: Duration,
    /// Length of each measurement, at saturation and at the fixed rate each.
    pub(crate) measure: Duration,
    /// Requests that a gateway must have served before its memory is read.
    pub(crate) served: u64,
    pub(crate) gateway: Option<PathBuf>,
    /// Where logs and data of the run are kept; on the disk that durability is to be measured on.
    pub(crate) directory: PathBuf,
}

impl Plan {
    /// The case beside which two appends are shown: no case of HTTP goes through them, and a stream
    /// takes more than two.
    pub(crate) fn case_of_two_appends(&self) -> Option<Case> {
        self.cases.iter().copied().find(|case| *case != Case::A2aStream)
    }
}
