//! From path to answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use prometheus::{Encoder, TextEncoder};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::deadletters;
use super::host;
use super::site::Site;
use super::tasks;
use crate::aggregate::row::{Micros, Priced, Size, micros, rfc3339};
use crate::aggregate::story::{self, StoryError, Subject};

/// Answers one request to the listener on `address`.
pub(super) async fn answer(site: &Arc<Site>, address: SocketAddr, request: &Request<Incoming>) -> Answer {
    let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
    if !host::is_ours(address, request.headers(), target) {
        return answer::error(
            StatusCode::MISDIRECTED_REQUEST,
            "host_refused",
            "Host or Origin names another place than this listener",
        );
    }
    let path = request.uri().path();
    if let Some(rest) =
        path.strip_prefix("/api/deadletters").filter(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        return deadletters::answer(site, request.method(), rest).await;
    }
    let known = matches!(path, "/metrics" | "/livez" | "/readyz" | "/api/status" | "/api/aggregates");
    let known = known || path == "/api/tasks" || path.starts_with("/api/tasks/");
    let exchange = path.strip_prefix("/api/exchanges/");
    if !known && exchange.is_none() {
        let message = "known paths: /metrics /livez /readyz /api/status /api/aggregates /api/tasks \
                       /api/tasks/{agent}/{task} /api/exchanges/{id} /api/deadletters";
        return answer::error(StatusCode::NOT_FOUND, "path_not_found", message);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer::method_not_allowed();
    }
    match (path, exchange) {
        (_, Some(id)) => exchange_story(site, id).await,
        ("/metrics", _) => metrics(site),
        ("/readyz", _) => ready(site),
        ("/api/status", _) => status(site),
        ("/api/tasks", _) => tasks::list(site, request.uri().query().unwrap_or_default()),
        (path, _) if path.starts_with("/api/tasks/") => tasks::one(site, &path["/api/tasks/".len()..]).await,
        ("/api/aggregates", _) => aggregates(site, request.uri().query().unwrap_or_default()).await,
        _ => answer::json(StatusCode::OK, &json!({ "live": true })),
    }
}

/// The answer took longer than anybody should wait.
pub(super) fn too_slow() -> Answer {
    answer::error(StatusCode::GATEWAY_TIMEOUT, "timeout", "the answer took too long")
}

fn metrics(site: &Site) -> Answer {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&site.registry.gather(), &mut text) {
        Ok(()) => answer::typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        Err(error) => {
            let message = format!("the metrics could not be written: {error}");
            answer::error(StatusCode::SERVICE_UNAVAILABLE, "metrics", &message)
        }
    }
}

fn ready(site: &Site) -> Answer {
    let not_ready: Vec<Value> = site
        .checks
        .iter()
        .filter_map(|(name, check)| check().err().map(|why| json!({ "part": name, "why": why })))
        .collect();
    let status = if not_ready.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(
        status,
        &json!({ "ready": not_ready.is_empty(), "not_ready": not_ready, "promise": site.promise.to_string() }),
    )
}

fn status(site: &Site) -> Answer {
    let status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": site.started.elapsed().as_secs(),
        "log": { "brokers": site.log.bootstrap(), "prefix": site.prefix, "partitions": site.log.partitions() },
        "upstreams": (site.upstreams)(),
    });
    answer::json(StatusCode::OK, &status)
}

async fn aggregates(site: &Site, query: &str) -> Answer {
    let (size, since) = match parse_query(query, SystemTime::now()) {
        Ok(asked) => asked,
        Err(message) => return answer::error(StatusCode::BAD_REQUEST, "bad_query", &message),
    };
    let snapshot = match site.live.rows(size, since).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            return answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &error.to_string());
        }
    };
    let currency = &snapshot.currency;
    let rows: Vec<Priced<'_>> = snapshot.rows.iter().map(|row| Priced { row, currency }).collect();
    let body = json!({
        "window": size.as_str(),
        "currency": currency,
        "watermark": (snapshot.watermark > 0).then(|| rfc3339(snapshot.watermark)),
        "whole": snapshot.whole,
        "rows": rows,
    });
    answer::json(StatusCode::OK, &body)
}

/// `window` (10 seconds unless given) and `since` (an hour ago unless given).
fn parse_query(query: &str, now: SystemTime) -> Result<(Size, Micros), String> {
    let (mut size, mut since) = (Size::TenSeconds, now - Duration::from_secs(3600));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace("%3A", ":").replace("%3a", ":").replace("%2B", "+").replace("%2b", "+");
        match name {
            "window" => {
                size = Size::parse(&value).ok_or("`window` is `10s` or `1m`")?;
            }
            "since" => {
                let ago = humantime::parse_duration(&value).ok().and_then(|ago| now.checked_sub(ago));
                since = humantime::parse_rfc3339(&value).ok().or(ago).ok_or(
                    "`since` is a time like `2026-11-22T18:00:00Z` or a duration like `15m`, back from now",
                )?;
            }
            _ => return Err("known parameters are `window` and `since`".to_owned()),
        }
    }
    Ok((size, micros(since)))
}

async fn exchange_story(site: &Arc<Site>, id: &str) -> Answer {
    let Some(subject) = Subject::parse(id) else {
        let message = "an id is a relay id (`kamf-relay-id` of an answer) or a trace id of 32 hex digits";
        return answer::error(StatusCode::BAD_REQUEST, "bad_id", message);
    };
    let Ok(permit) = site.searches.clone().acquire_owned().await else { return too_slow() };
    let (log, prices) = (site.log.clone(), site.prices.clone());
    let search = tokio::task::spawn_blocking(move || {
        let found = story::find(&log, &prices, subject);
        drop(permit);
        found
    });
    match search.await {
        Ok(Ok(story)) => answer::json(StatusCode::OK, &story),
        Ok(Err(error @ StoryError::Unknown(_))) => {
            answer::error(StatusCode::NOT_FOUND, "unknown_exchange", &error.to_string())
        }
        Ok(Err(error @ StoryError::Slow(_))) => {
            answer::error(StatusCode::GATEWAY_TIMEOUT, "timeout", &error.to_string())
        }
        Ok(Err(error @ StoryError::Log(_))) => {
            answer::error(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", &error.to_string())
        }
        Err(error) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "search", &error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_and_mistakes_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let hour_ago = 1_699_996_400_000_000;
        assert_eq!(parse_query("", now), Ok((Size::TenSeconds, hour_ago)));
        assert_eq!(parse_query("window=1m&since=1h", now), Ok((Size::Minute, hour_ago)));
        let since = Ok((Size::TenSeconds, 1_700_000_000_000_000));
        assert_eq!(parse_query("since=2023-11-14T22%3A13%3A20Z", now), since);
        for query in ["window=2m", "since=yesterday", "x=1", "since=9999999999999999h"] {
            assert!(parse_query(query, now).is_err(), "{query}");
        }
    }
}
