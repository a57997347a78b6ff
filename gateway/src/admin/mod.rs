//! The second listener: metrics, health and the API. Loopback unless configured, never the public one.
//!
//! | path | what |
//! | --- | --- |
//! | `/metrics` | all metrics, Prometheus text format |
//! | `/livez` | 200 while the process runs |
//! | `/readyz` | 200, or 503 with a JSON list of what is not ready |
//! | `/api/status` | version, uptime, the log's address and prefix, health of the upstreams |
//! | `/api/aggregates?window=10s\|1m&since=...` | rows of the last hour; `since` is RFC 3339, or a duration like `15m` |
//! | `/api/tasks?agent=&state=&principal=&tenant=&limit=` | A2A tasks that are known, the latest first |
//! | `/api/tasks/{agent}/{task}` | one of them, with its exchanges |
//! | `/api/exchanges/{id}` | the story of an exchange: its whole trace |
//!
//! Only `GET` and `HEAD`; nothing here changes anything.

mod answer;
mod deadletters;
mod host;
mod routes;
mod server;
mod site;
mod tasks;

pub use server::{BindError, Server};
pub use site::{Check, Site};
