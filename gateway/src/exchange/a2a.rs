//! A2A over JSON-RPC at `/a2a/{agent}` (A2A 0.3 and 1.0).

use std::sync::Arc;
use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::door::{self, Brief, Route};
use super::relayed::Pending;
use super::respond::Refused;
use super::{Front, direct, idempotency, relayed, resume, subscribe, tasks};
use crate::edge::Body;
use crate::message::{Dialect, Mode, Name, Operation};
use crate::outcome::Reason;
use crate::policy::{Principal, Resource};
use crate::protocol::{Parsed, RawId, a2a};

/// One JSON-RPC request for `agent`.
pub(super) async fn post(front: &Front, agent: &str, request: Request<Incoming>) -> Response<Body> {
    let gateway = &front.gateway;
    let (parts, incoming) = request.into_parts();
    let version = parts.headers.get("a2a-version").and_then(|value| value.to_str().ok());
    let newer = version.is_some_and(|version| version.starts_with('1'));
    let guess = if newer { Dialect::A2aV10 } else { Dialect::A2aV03 };
    let principal = match door::authenticate(gateway, &parts.headers, guess) {
        Ok(principal) => principal,
        Err(refused) => return door::turn_away(gateway, &refused),
    };
    let Some((agent, timeouts)) = gateway.agents.get_key_value(agent) else {
        let message = format!("there is no agent `{agent}` here, or none that you may call");
        return door::turn_away(gateway, &Refused::new(Reason::UnknownAgent, guess, None, message));
    };
    let body = match door::body(gateway, &parts, incoming, guess).await {
        Ok(body) => body,
        Err(refused) => return door::turn_away(gateway, &refused),
    };
    let parsed = match a2a::read(body, version, &gateway.read_limits) {
        Ok(parsed) => parsed,
        Err(rejected) => return door::turn_away(gateway, &rejected.into()),
    };
    let settings = gateway.delivery.route(agent);
    let keyed = idempotency::asked(&parts.headers, &parsed, &principal, agent, settings.message_ids);
    let idempotency = match keyed {
        Ok(asked) => asked,
        Err(refused) => return door::turn_away(gateway, &refused),
    };
    let named = parsed.task_id().or(parsed.context_id());
    // What has a key is told apart by the owner of its partition, in the order of the log.
    let key = named.or(idempotency.as_ref().map(|asked| asked.key.as_str())).map(str::to_owned);
    let mode = front.mode(agent, parsed.operation);
    let route = Route {
        partition: gateway.intake.partition(key.as_deref(), SystemTime::now()),
        mode: if idempotency.is_some() && mode == Mode::Direct { Mode::Relay } else { mode },
        idempotency,
        repeatable: gateway.delivery.route(agent).idempotent,
        key,
        tool: None,
        total: timeouts.total,
        headers: &parts.headers,
        agent: agent.clone(),
    };
    judge(front, parsed, principal, route).await
}

async fn judge(front: &Front, parsed: Parsed, principal: Principal, route: Route<'_>) -> Response<Body> {
    let gateway = &front.gateway;
    let (agent, headers): (Name, _) = (route.agent.clone(), route.headers);
    let brief = Brief::from(&parsed);
    let checked = match gateway.schemas.check(parsed) {
        Ok(checked) => checked,
        Err(rejected) => {
            let admitted = door::admit(brief, &principal, None, route);
            return door::refuse(front, &admitted, &rejected.into()).await;
        }
    };
    let Some(id) = checked.id.clone() else {
        let refused = Refused::new(
            Reason::InvalidRequest,
            checked.dialect,
            None,
            "A2A has no notifications; `id` is missing",
        );
        return door::turn_away(gateway, &refused);
    };
    if let Err(limited) = gateway.limiter.check(&principal, &agent) {
        return door::turn_away(gateway, &too_fast(&checked, &limited));
    }
    let operation = checked.operation;
    let permitted = match gateway.policies.permit(checked, principal, Resource::Agent(&agent)) {
        Ok(permitted) => permitted,
        Err(denied) => {
            let admitted = door::admit(&*denied.message, &denied.principal, Some(&denied.decision), route);
            let (name, method) = (denied.principal.name(), operation.method(denied.message.dialect));
            let message = format!("`{name}` may not call {method} on `{agent}`: {denied}");
            let refused = Refused::new(Reason::Forbidden, denied.message.dialect, Some(&id), message);
            return door::refuse(front, &admitted, &refused).await;
        }
    };
    let mut admitted =
        door::admit(&**permitted.message(), permitted.principal(), Some(permitted.decision()), route);
    if let Some(refused) = other_dialect(front, &agent, admitted.dialect, &id) {
        return door::refuse(front, &admitted, &refused).await;
    }
    let known = match tasks::known(gateway, permitted.message(), &admitted).await {
        Ok(known) => known,
        Err(refused) => return door::refuse(front, &admitted, &refused).await,
    };
    admitted.partition = known.partition.unwrap_or(admitted.partition);
    let admitted = Arc::new(admitted);
    let ending = gateway.metrics.begin(admitted.dialect, operation, admitted.mode);
    let body = permitted.message().body.clone();
    let pending = Pending {
        streams: operation.streams(),
        id,
        body,
        admitted,
        cancel: Arc::default(),
        session: None,
        primed: false,
        running: None,
    };
    if let (Operation::Subscribe, Some(task)) = (operation, &known.task) {
        return subscribe::run(front, pending, task, resume::asked(headers), ending).await;
    }
    match pending.admitted.mode {
        Mode::Relay | Mode::Journal => relayed::run(front, pending, ending).await,
        Mode::Direct => direct::run(front, pending, ending).await,
    }
}

pub(super) fn too_fast(parsed: &Parsed, limited: &crate::policy::RateLimited) -> Refused {
    let mut refused =
        Refused::new(Reason::RateLimited, parsed.dialect, parsed.id.as_ref(), limited.to_string());
    refused.retry_after = Some(limited.retry_after.as_secs().max(1));
    refused
}

/// Client and agent speak the same dialect; another one is refused in words that say which would do.
fn other_dialect(front: &Front, agent: &str, dialect: Dialect, id: &RawId) -> Option<Refused> {
    let card = front.gateway.upstreams.card(agent)?;
    let offered: Vec<_> = [Dialect::A2aV10, Dialect::A2aV03]
        .into_iter()
        .filter(|dialect| card.dialects.contains(*dialect))
        .collect();
    if offered.is_empty() || offered.contains(&dialect) {
        return None;
    }
    let offered: Vec<_> = offered.into_iter().map(Dialect::version).collect();
    let message = format!("agent `{agent}` speaks A2A {}, not {}", offered.join(" and "), dialect.version());
    Some(Refused::new(Reason::UnsupportedVersion, dialect, Some(id), message))
}
