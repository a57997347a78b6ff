//! A2A 1.0 and 0.3, JSON-RPC binding. The method says which of the two a request speaks, and the header
//! `A2A-Version` must agree (missing means 0.3).

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde_json::Value;

use super::envelope::{self, Kind};
use super::json::quoted;
use super::{Params, Parsed, RawId, ReadLimits, Rejected};
use crate::message::{Dialect, Operation};
use crate::outcome::Reason;

/// Name of the header that carries the version.
pub const VERSION_HEADER: &str = "a2a-version";

/// What a method name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Served(Operation),
    /// Known, but nothing that the gateway offers.
    Unserved,
    /// Configuration of push notifications.
    Push,
}

/// Reads one request. The order of checks: JSON, envelope, method, version, push configuration.
pub fn read(body: Bytes, version_header: Option<&str>, limits: &ReadLimits) -> Result<Parsed, Rejected> {
    let asked = version_header.map(str::trim).filter(|text| !text.is_empty());
    let spoken = asked.map_or(Some(Dialect::A2aV03), dialect_of);
    let guess = spoken.unwrap_or(Dialect::A2aV10);
    let envelope = envelope::open(&body, false, limits).map_err(|broken| broken.rejected(guess))?;
    let id = envelope.id;
    let Kind::Call { method, params } = envelope.message else {
        return Err(Rejected::new(Reason::InvalidRequest, guess, id, "only requests are taken here"));
    };
    let Some(id) = id else {
        return Err(Rejected::new(Reason::InvalidRequest, guess, None, "member `id` is missing"));
    };
    let Some((dialect, known)) = lookup(&method) else {
        let message = format!("method {} is not known in A2A 1.0 or 0.3", quoted(&method));
        return Err(Rejected::new(Reason::UnknownMethod, guess, Some(id), message));
    };
    if spoken != Some(dialect) {
        return Err(version_refused(dialect, id, &method, asked));
    }
    let operation = match known {
        Method::Served(operation) => operation,
        Method::Unserved => {
            let message = format!("`{method}` is not offered by this gateway");
            return Err(Rejected::new(Reason::Unsupported, dialect, Some(id), message));
        }
        Method::Push => return Err(push_refused(dialect, id)),
    };
    if carries_push(dialect, params.as_ref()) {
        return Err(push_refused(dialect, id));
    }
    Ok(Parsed { body, dialect, operation, id: Some(id), params })
}

/// The dialect that a version text names: its first two numbers count.
fn dialect_of(version: &str) -> Option<Dialect> {
    let mut numbers = version.split('.');
    let mut next = || numbers.next().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (major, minor) = (next()?, next()?);
    let rest = numbers.all(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?) {
        (1, 0) if rest => Some(Dialect::A2aV10),
        (0, 3) if rest => Some(Dialect::A2aV03),
        _ => None,
    }
}

fn lookup(method: &str) -> Option<(Dialect, Method)> {
    for dialect in [Dialect::A2aV10, Dialect::A2aV03] {
        if let Some(operation) = Operation::from_method(dialect, method) {
            return Some((dialect, Method::Served(operation)));
        }
    }
    Some(match method {
        "ListTasks" | "GetExtendedAgentCard" => (Dialect::A2aV10, Method::Unserved),
        "agent/getAuthenticatedExtendedCard" => (Dialect::A2aV03, Method::Unserved),
        "CreateTaskPushNotificationConfig"
        | "GetTaskPushNotificationConfig"
        | "ListTaskPushNotificationConfigs"
        | "DeleteTaskPushNotificationConfig" => (Dialect::A2aV10, Method::Push),
        "tasks/pushNotificationConfig/set"
        | "tasks/pushNotificationConfig/get"
        | "tasks/pushNotificationConfig/list"
        | "tasks/pushNotificationConfig/delete" => (Dialect::A2aV03, Method::Push),
        _ => return None,
    })
}

fn version_refused(dialect: Dialect, id: RawId, method: &str, asked: Option<&str>) -> Rejected {
    let version = dialect.version();
    let message = match asked {
        None => {
            format!("`{method}` is a method of A2A {version}: send the header `A2A-Version: {version}`")
        }
        Some(asked) if dialect_of(asked).is_none() => {
            format!("A2A version {} is not spoken here: send `A2A-Version: {version}`", quoted(asked))
        }
        Some(asked) => format!(
            "`{method}` is a method of A2A {version}, but the header `A2A-Version` says {}",
            quoted(asked)
        ),
    };
    let mut rejected = Rejected::new(Reason::UnsupportedVersion, dialect, Some(id), message);
    rejected.requested = Some(asked.unwrap_or("0.3").to_owned());
    rejected
}

/// Whether a send asks for push notifications along the way. Both spellings: agents of both versions read both.
fn carries_push(dialect: Dialect, params: Option<&Params>) -> bool {
    let names = match dialect {
        Dialect::A2aV10 => ["taskPushNotificationConfig", "task_push_notification_config"],
        _ => ["pushNotificationConfig", "push_notification_config"],
    };
    let configuration = params.and_then(|params| params.tree.get("configuration"));
    let set =
        |name| configuration.and_then(|value| value.get(name)).is_some_and(|value: &Value| !value.is_null());
    names.into_iter().any(set)
}

fn push_refused(dialect: Dialect, id: RawId) -> Rejected {
    let message = "push notifications are not offered by this gateway: stream, or ask for the task again";
    Rejected::new(Reason::PushUnsupported, dialect, Some(id), message)
}
