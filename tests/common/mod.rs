//! What the tests are told with: a gateway, callers, upstreams that remember, the log as others read it.

pub(crate) mod bed;
pub(crate) mod broker;
pub(crate) mod caller;
pub(crate) mod crowd;
pub(crate) mod files;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod ledger;
pub(crate) mod pipe;
pub(crate) mod ports;
pub(crate) mod program;
pub(crate) mod proof;
pub(crate) mod scene;
pub(crate) mod settings;
pub(crate) mod tools;
pub(crate) mod upstream;
pub(crate) mod wait;

pub(crate) use crate::checker::log as topics;
pub(crate) use caller::Caller;
pub(crate) use gateway::Gateway;
pub(crate) use http::Answer;
pub(crate) use settings::Settings;
pub(crate) use upstream::{Act, Recorder};
pub(crate) use wait::eventually;

pub(crate) use serde_json::{Value, json};

/// Tests fail with what went wrong, told from the outside in.
pub(crate) type Result<T = ()> = anyhow::Result<T>;
