//! `tools/call`: the tool by its public name, its arguments against its own schema, and on to its server.

use std::sync::Arc;
use std::time::SystemTime;

use hyper::Response;
use tokio::sync::Notify;

use super::Visit;
use super::names::Names;
use super::scope::Scope;
use super::session::Running;
use crate::config;
use crate::edge::Body;
use crate::exchange::a2a::too_fast;
use crate::exchange::door::{self, Route};
use crate::exchange::relayed::Pending;
use crate::exchange::respond::Refused;
use crate::exchange::{direct, idempotency, relayed};
use crate::message::{Dialect, Mode, Name};
use crate::outcome::Reason;
use crate::policy::{Denied, Resource};
use crate::protocol::mcp::{self, McpHeaders};
use crate::protocol::{RawId, Rejected};
use crate::schema::Checked;
use crate::upstream::Tool;

/// One call.
pub(super) async fn run(visit: &Visit<'_>, checked: Checked, headers: &McpHeaders<'_>) -> Response<Body> {
    let gateway = &visit.front.gateway;
    let Some(id) = checked.id.clone() else {
        let refused = Refused::new(Reason::InvalidRequest, checked.dialect, None, "tools/call needs an `id`");
        return door::turn_away(gateway, &refused);
    };
    let names = gateway.names.get(gateway.upstreams.catalog(), gateway.prefix);
    let Some((server, tool)) = find(&names, &visit.scope, &checked) else {
        let admitted = door::admit(&*checked, &visit.principal, None, visit.route(Some(&checked)));
        let refused = no_such_tool(checked.dialect, &id, checked.tool_name());
        return door::refuse(visit.front, &admitted, &refused).await;
    };
    if let Err(limited) = gateway.limiter.check(&visit.principal, &server) {
        return door::turn_away(gateway, &too_fast(&checked, &limited));
    }
    let total = gateway.servers.get(&server).copied().unwrap_or_default().total;
    let asked = match idempotency::asked(visit.headers, &checked, &visit.principal, &server, false) {
        Ok(asked) => asked,
        Err(refused) => return door::turn_away(gateway, &refused),
    };
    // A key holds for the caller, whatever the session.
    let key = asked.as_ref().map(|asked| asked.key.clone()).or_else(|| visit.session.clone());
    let mode = visit.front.mode(&server, checked.operation);
    let route = || Route {
        agent: server.clone(),
        tool: Some(tool.name.clone()),
        mode: if asked.is_some() && mode == Mode::Direct { Mode::Relay } else { mode },
        idempotency: asked.clone(),
        repeatable: may_repeat(&gateway.delivery.route(&server), tool),
        key: key.clone(),
        partition: gateway.intake.partition(key.as_deref(), SystemTime::now()),
        total,
        headers: visit.headers,
    };
    if let Err(refused) = check_arguments(tool, &checked, headers, &id) {
        let admitted = door::admit(&*checked, &visit.principal, None, route());
        return door::refuse(visit.front, &admitted, &refused).await;
    }
    let resource = Resource::Tool { server: &server, tool: &tool.name };
    let route = route();
    let permitted = match gateway.policies.permit(checked, visit.principal.clone(), resource) {
        Ok(permitted) => permitted,
        Err(denied) => return deny(visit, &denied, resource, &id, route).await,
    };
    let admitted =
        Arc::new(door::admit(&**permitted.message(), &visit.principal, Some(permitted.decision()), route));
    let ending = gateway.metrics.begin(admitted.dialect, admitted.operation, admitted.mode);
    let cancel = Arc::new(Notify::new());
    let running = visit.session.as_deref().map(|token| {
        let running = Running { admitted: Arc::clone(&admitted), cancel: Arc::clone(&cancel) };
        gateway.sessions.run(token, id.as_bytes(), running)
    });
    let body = permitted.message().body.clone();
    let (session, primed) = (visit.session.clone(), visit.primed());
    let pending = Pending { streams: visit.streams, id, body, admitted, cancel, session, primed, running };
    match pending.admitted.mode {
        Mode::Relay | Mode::Journal => relayed::run(visit.front, pending, ending).await,
        Mode::Direct => direct::run(visit.front, pending, ending).await,
    }
}

/// By the word of the configuration, or of a server whose word it trusts (MCP 2025-11-25, `ToolAnnotations`).
fn may_repeat(route: &config::Route, tool: &Tool) -> bool {
    let hints = [tool.annotations.idempotent_hint, tool.annotations.read_only_hint];
    route.idempotent || (route.trusted && hints.contains(&Some(true)))
}

async fn deny(
    visit: &Visit<'_>,
    denied: &Denied<Checked>,
    resource: Resource<'_>,
    id: &RawId,
    route: Route<'_>,
) -> Response<Body> {
    let checked = &denied.message;
    let admitted = door::admit(&**checked, &visit.principal, Some(&denied.decision), route);
    let visible =
        visit.front.gateway.policies.visible(&visit.principal, checked.operation, resource, checked.dialect);
    let refused = if visible {
        let message =
            format!("`{}` may not call this tool with these arguments: {denied}", visit.principal.name());
        Refused::new(Reason::Forbidden, checked.dialect, Some(id), message)
    } else {
        // A tool that is hidden from the caller's list reads like one that does not exist.
        no_such_tool(checked.dialect, id, checked.tool_name())
    };
    door::refuse_as(visit.front, &admitted, Reason::Forbidden, &refused).await
}

fn find<'n>(names: &'n Names, scope: &Scope, checked: &Checked) -> Option<(Name, &'n Arc<Tool>)> {
    let name = checked.tool_name()?;
    match scope {
        Scope::All => {
            let entry = names.table(checked.dialect).find(name)?;
            Some((entry.server.clone(), names.tool(entry)?))
        }
        Scope::One(server) => {
            let entry = names.catalog().servers.get(server).filter(|entry| entry.speaks(checked.dialect))?;
            Some((server.clone(), entry.tool(name)?))
        }
    }
}

fn no_such_tool(dialect: Dialect, id: &RawId, name: Option<&str>) -> Refused {
    let message = format!(
        "there is no tool `{}` here, or policy does not let you call it; tools/list names those that you may call",
        name.unwrap_or_default()
    );
    Refused::new(Reason::UnknownTool, dialect, Some(id), message)
}

fn check_arguments(
    tool: &Tool,
    checked: &Checked,
    headers: &McpHeaders<'_>,
    id: &RawId,
) -> Result<(), Box<Refused>> {
    let arguments = checked.tool_arguments();
    tool.input.check(arguments).map_err(|violations| {
        let first = violations.first().map(|violation| format!("{}: {}", violation.path, violation.message));
        let message = format!(
            "the arguments do not fit the inputSchema of `{}`: {}",
            tool.name,
            first.unwrap_or_default()
        );
        let mut refused = Refused::new(Reason::InvalidArguments, checked.dialect, Some(id), message);
        refused.violations = violations;
        Box::new(refused)
    })?;
    if checked.dialect != Dialect::McpModern {
        return Ok(());
    }
    mcp::check_param_headers(tool.input.raw(), arguments, headers).map_err(|message| {
        Box::new(Rejected::new(Reason::HeaderMismatch, checked.dialect, Some(id.clone()), message).into())
    })
}
