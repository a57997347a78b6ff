//! What the admin listener shows: handles on the other parts, given to it at the start.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::aggregate::live::Live;
use crate::config::Prices;
use crate::relay::{Follower, Log, Promise, Redriver, Tasks};

/// Says that a part is ready, or what it waits for.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Everything that the routes read.
pub struct Site {
    pub registry: prometheus::Registry,
    /// By name, for `/readyz`.
    pub checks: Vec<(&'static str, Check)>,
    pub started: Instant,
    pub log: Log,
    /// What its acknowledgements stand for, for `/readyz`.
    pub promise: Promise,
    /// Prefix of the topics.
    pub prefix: String,
    pub prices: Prices,
    /// Health of the upstreams as JSON, for `/api/status`.
    pub upstreams: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    pub live: Live,
    pub tasks: Arc<Tasks>,
    pub follower: Arc<Follower>,
    /// Sends dead letters again.
    pub redriver: Redriver,
    /// Searches through the log that may run at once; see [`Site::SEARCHES`].
    pub searches: Arc<Semaphore>,
}

impl Site {
    /// Each search reads much of the log: two do not starve the gateway itself.
    pub const SEARCHES: usize = 2;
}
