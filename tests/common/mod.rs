//! What the tests are told with: a gateway, callers, upstreams that remember, the log as others read it.

pub(crate) mod broker;
pub(crate) mod caller;
pub(crate) mod check;
pub(crate) mod files;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod ports;
pub(crate) mod program;
pub(crate) mod settings;
pub(crate) mod tools;
pub(crate) mod topics;
pub(crate) mod traffic;
pub(crate) mod upstream;
pub(crate) mod wait;

pub(crate) use caller::Caller;
pub(crate) use gateway::Gateway;
pub(crate) use http::Answer;
pub(crate) use settings::Settings;
pub(crate) use upstream::{Act, Recorder};
pub(crate) use wait::eventually;

pub(crate) use serde_json::{Value, json};

/// Tests fail with what went wrong, told from the outside in.
pub(crate) type Result<T = ()> = anyhow::Result<T>;
