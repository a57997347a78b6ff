//! How each upstream is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{CallError, GateHealth};
use crate::message::{Name, Protocol};

/// The health of one upstream, as the admin listener shows it. Holds no secret and no address.
#[derive(Clone, Debug)]
pub struct Health {
    pub name: Name,
    pub protocol: Protocol,
    pub state: HealthState,
    pub since: SystemTime,
    /// The last thing that went wrong, also when all is well again.
    pub last_error: Option<String>,
    /// How often its process was started again.
    pub restarts: u64,
    /// Tools that it has but that are not offered, with the reason.
    pub refused_tools: Vec<(String, String)>,
    pub gate: Option<GateHealth>,
}

/// Whether an upstream can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Not seen yet.
    Starting,
    Up,
    Down,
}

impl HealthState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The cell that an upstream's own task, and its calls, write.
#[derive(Debug)]
pub(super) struct Vital {
    health: Mutex<Health>,
    /// Known to be up: a call that goes well then has nothing to write.
    is_up: AtomicBool,
}

impl Vital {
    pub(super) fn agent(name: &Name) -> Self {
        Self::new(name, Protocol::A2a)
    }

    pub(super) fn server(name: &Name) -> Self {
        Self::new(name, Protocol::Mcp)
    }

    fn new(name: &Name, protocol: Protocol) -> Self {
        let health = Mutex::new(Health {
            name: name.clone(),
            protocol,
            state: HealthState::Starting,
            since: SystemTime::now(),
            last_error: None,
            restarts: 0,
            refused_tools: Vec::new(),
            gate: None,
        });
        Self { health, is_up: AtomicBool::new(false) }
    }

    pub(super) fn up(&self) {
        if !self.is_up.load(Ordering::Relaxed) {
            self.set(HealthState::Up);
        }
    }

    /// What a call says of its upstream.
    pub(super) fn saw<T>(&self, outcome: &Result<T, CallError>) {
        match outcome {
            Ok(_) => self.up(),
            Err(error @ CallError::Unreachable { .. }) => {
                self.down(&error.to_string());
            }
            Err(_) => {}
        }
    }

    /// Whether this is news: the upstream was not down, or for another reason.
    pub(super) fn down(&self, why: &str) -> bool {
        let known = self.lock().last_error.as_deref() == Some(why);
        let changed = self.set(HealthState::Down);
        self.lock().last_error = Some(why.to_owned());
        changed || !known
    }

    /// Something went wrong that does not keep it from being called. Whether this is news.
    pub(super) fn failed(&self, why: &str) -> bool {
        self.up();
        self.lock().last_error.replace(why.to_owned()).as_deref() != Some(why)
    }

    pub(super) fn restarted(&self) {
        self.lock().restarts += 1;
    }

    pub(super) fn refused_tools(&self, tools: Vec<(String, String)>) {
        self.lock().refused_tools = tools;
    }

    pub(super) fn health(&self) -> Health {
        self.lock().clone()
    }

    fn set(&self, state: HealthState) -> bool {
        let mut health = self.lock();
        let changed = health.state != state;
        if changed {
            health.state = state;
            health.since = SystemTime::now();
        }
        self.is_up.store(state == HealthState::Up, Ordering::Relaxed);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
