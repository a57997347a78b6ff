//! Agents' cards, rewritten to the gateway's address (A2A 1.0, section 8; 0.3, section 5).

use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, Response, StatusCode};

use super::Front;
use super::door;
use super::respond::{self, Refused};
use crate::edge::Body;
use crate::message::{Dialect, Name};
use crate::outcome::Reason;
use crate::policy::{Action, Resource};
use crate::upstream::card;

/// The card of `agent`, for callers who may read it.
pub(super) fn get<B>(front: &Front, agent: &str, request: &Request<B>) -> Response<Body> {
    let gateway = &front.gateway;
    let dialect = Dialect::A2aV10;
    let principal = match door::authenticate(gateway, request.headers(), dialect) {
        Ok(principal) => principal,
        Err(refused) => return door::turn_away(gateway, &refused),
    };
    let visible =
        |name: &&Name| gateway.policies.visible(&principal, Action::ReadCard, Resource::Agent(name), dialect);
    let Some(name) = gateway.agents.get_key_value(agent).map(|(name, _)| name).filter(visible) else {
        let message = format!("there is no agent `{agent}` here, or none that you may see");
        return door::turn_away(gateway, &Refused::new(Reason::UnknownAgent, dialect, None, message));
    };
    let Some(card) = gateway.upstreams.card(name) else {
        let message = format!("the card of agent `{name}` could not be fetched yet");
        return door::turn_away(gateway, &Refused::new(Reason::UpstreamUnreachable, dialect, None, message));
    };
    let rewritten = card::rewrite(&card.json, &format!("{}/a2a/{name}", gateway.public_url));
    let body = rewritten.to_string();
    let etag = format!("\"{}\"", crate::config::hash_key(&body).trim_start_matches("sha256:"));
    let fresh = request.headers().get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes());
    let mut response = if fresh {
        let mut response = respond::accepted();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        door::ok(body.into())
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    response
}
