//! The tasks of agents: a list, and one with its exchanges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::site::Site;
use crate::message::RelayId;
use crate::relay::record::{Kind, View};
use crate::relay::{FollowError, Task, TaskState, names_task};

/// Tasks in one answer unless told otherwise, and at most.
const USUAL: usize = 100;
const MOST: usize = 10_000;

/// Exchanges of one task in one answer.
const EXCHANGES: usize = 1_000;

/// How long the log may be read for one task.
const READING: Duration = Duration::from_secs(20);

/// What is asked for; absent means all.
#[derive(Default)]
struct Wanted {
    agent: Option<String>,
    principal: Option<String>,
    tenant: Option<String>,
    state: Option<TaskState>,
    limit: Option<usize>,
}

/// `/api/tasks`
pub(super) fn list(site: &Site, query: &str) -> Answer {
    let wanted = match Wanted::read(query) {
        Ok(wanted) => wanted,
        Err(message) => return answer::error(StatusCode::BAD_REQUEST, "bad_query", &message),
    };
    let limit = wanted.limit.unwrap_or(USUAL).min(MOST);
    let mut tasks = site.tasks.list(limit + 1, |task| wanted.has(task));
    let more = tasks.len() > limit;
    tasks.truncate(limit);
    let tasks: Vec<Value> = tasks.iter().map(as_json).collect();
    let body = json!({ "tasks": tasks, "more": more, "whole": site.tasks.is_loaded() });
    answer::json(StatusCode::OK, &body)
}

/// `/api/tasks/{agent}/{task}`
pub(super) async fn one(site: &Arc<Site>, rest: &str) -> Answer {
    let parts = rest.split_once('/').and_then(|(agent, task)| Some((decode(agent)?, decode(task)?)));
    let Some(task) = parts.and_then(|(agent, task)| site.tasks.look_up(&agent, &task)) else {
        let message = "there is no such task; /api/tasks lists those that are known";
        return answer::error(StatusCode::NOT_FOUND, "unknown_task", message);
    };
    let mut body = as_json(&task);
    match exchanges(site, &task).await {
        Ok(exchanges) => {
            body["exchanges"] = exchanges;
            answer::json(StatusCode::OK, &body)
        }
        Err(error @ FollowError::Slow) => {
            answer::error(StatusCode::GATEWAY_TIMEOUT, "timeout", &error.to_string())
        }
        Err(error) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", &error.to_string()),
    }
}

/// The exchanges that name `task` or were answered with it, in the order of their first events.
async fn exchanges(site: &Site, task: &Task) -> Result<Value, FollowError> {
    let range = site.follower.extent(task.partition).await?;
    let from = task.from.max(range.start);
    let (partition, teller) = (task.partition, Teller { task: task.clone(), found: BTreeMap::new() });
    let told = site.follower.read(partition, from..range.end, READING, teller, Teller::hear).await?;
    let mut found: Vec<(i64, Value)> = told.found.into_values().collect();
    found.sort_by_key(|(offset, _)| *offset);
    Ok(found.into_iter().map(|(_, exchange)| exchange).collect())
}

struct Teller {
    task: Task,
    /// By relay id: the offset of its first event that counts, and what is told of it.
    found: BTreeMap<RelayId, (i64, Value)>,
}

impl Teller {
    fn hear(&mut self, view: &View<'_>) -> bool {
        let fields = &view.fields;
        if *fields.agent != *self.task.agent || !self.task.is_of(fields.tenant, fields.principal) {
            return true;
        }
        let named = fields.key == Some(&*self.task.task) || self.found.contains_key(&fields.id);
        if !named && !names_task(view, &self.task.task) {
            return true;
        }
        let (_, exchange) = self.found.entry(fields.id).or_insert_with(|| (view.offset, first(view)));
        if fields.kind == Kind::Event {
            exchange["events"] = json!(exchange["events"].as_u64().unwrap_or(0) + 1);
        }
        if let Some(end) = fields.end {
            exchange["state"] = json!(end.state.as_str());
            exchange["reason"] = json!(end.reason.label());
        }
        self.found.len() < EXCHANGES
    }
}

fn first(view: &View<'_>) -> Value {
    let fields = &view.fields;
    json!({
        "id": fields.id.to_string(),
        "time": humantime::format_rfc3339_micros(fields.time).to_string(),
        "method": fields.method,
        "version": fields.dialect.version(),
        "mode": fields.mode.as_str(),
        "events": 0,
        "state": null,
        "reason": null,
    })
}

fn as_json(task: &Task) -> Value {
    serde_json::from_slice(&task.value()).unwrap_or_default()
}

impl Wanted {
    fn read(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).ok_or_else(|| format!("`{name}` is not percent-encoded UTF-8"))?;
            match name {
                "agent" => wanted.agent = Some(value),
                "principal" => wanted.principal = Some(value),
                "tenant" => wanted.tenant = Some(value),
                "state" => {
                    let names: Vec<_> = TaskState::ALL.into_iter().map(TaskState::as_str).collect();
                    let unknown = || format!("`state` is one of {}", names.join(", "));
                    wanted.state = Some(TaskState::parse(&value).ok_or_else(unknown)?);
                }
                "limit" => {
                    let number = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    wanted.limit = Some(number.ok_or_else(|| format!("`limit` is a number up to {MOST}"))?);
                }
                _ => {
                    return Err(
                        "known parameters are `agent`, `principal`, `tenant`, `state` and `limit`".to_owned()
                    );
                }
            }
        }
        Ok(wanted)
    }

    fn has(&self, task: &Task) -> bool {
        let is = |filter: &Option<String>, value: &str| filter.as_deref().is_none_or(|want| want == value);
        is(&self.agent, &task.agent)
            && is(&self.principal, &task.principal)
            && is(&self.tenant, &task.tenant)
            && self.state.is_none_or(|state| state == task.state)
    }
}

/// Undoes percent-encoding (RFC 3986, 2.1); none when it is no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(decode("a%2Fb%C3%A9c").as_deref(), Some("a/b\u{e9}c"));
        for broken in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn queries_are_read_and_mistakes_told() {
        let wanted = Wanted::read("agent=a%20b&state=TASK_STATE_WORKING&limit=7").unwrap();
        assert_eq!((wanted.agent.as_deref(), wanted.limit), (Some("a b"), Some(7)));
        assert_eq!(wanted.state, Some(TaskState::Working));
        for query in ["state=busy", "limit=0", "limit=x", "who=me", "agent=%"] {
            assert!(Wanted::read(query).is_err(), "{query}");
        }
    }
}
