//! Fetches the cards of agents: at start, every minute, sooner after a failure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION};
use hyper::{Request, Uri};
use tokio::sync::watch;
use tokio::time::Instant;

use super::a2a::{A2A_VERSION, Agent, JSON};
use super::backoff::Backoff;
use super::card::Card;
use super::http::{HttpClient, Once};

/// How long a fetched card is taken for true.
const FRESH: Duration = Duration::from_secs(60);
/// A whole fetch, for each address that is tried.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// Cards seen are of a few KiB.
const CARD_BYTES_MAX: usize = 1024 * 1024;
/// Between attempts while there is no card yet: an agent that is starting shall be seen soon.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Runs until `stop`.
pub(super) async fn watch(agent: Arc<Agent>, client: HttpClient, mut stop: watch::Receiver<bool>) {
    let places = places(&agent);
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        let pause = match fetch_any(&agent, &client, &places).await {
            Ok(card) => {
                agent.vital.up();
                if agent.card.load().as_deref() != Some(&card) {
                    tracing::info!(agent = %agent.name, etag = card.etag, dialects = ?card.dialects, "agent card learned");
                    agent.card.store(Some(Arc::new(card)));
                }
                backoff.reset();
                FRESH
            }
            Err(why) => {
                if agent.vital.down(&why) {
                    tracing::warn!(agent = %agent.name, error = why, "agent card cannot be fetched; trying again");
                }
                backoff.pause()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Where a card may be: the configured place alone, or the well-known ones from the nearest to the oldest.
fn places(agent: &Agent) -> Vec<Uri> {
    if let Some(card) = &agent.config.card {
        return card.parse().into_iter().collect();
    }
    let url = &agent.url;
    let origin = format!(
        "{}://{}",
        url.scheme_str().unwrap_or("http"),
        url.authority().map_or("", |authority| authority.as_str())
    );
    let base = format!("{origin}{}", url.path().trim_end_matches('/'));
    let mut places = vec![format!("{base}/.well-known/agent-card.json")];
    if base != origin {
        places.push(format!("{origin}/.well-known/agent-card.json"));
    }
    places.push(format!("{origin}/.well-known/agent.json"));
    places.iter().filter_map(|place| place.parse().ok()).collect()
}

async fn fetch_any(agent: &Agent, client: &HttpClient, places: &[Uri]) -> Result<Card, String> {
    let mut first_error = None;
    for place in places {
        match fetch(agent, client, place).await {
            Ok(card) => return Ok(card),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| "the card's URL cannot be read".into()))
}

async fn fetch(agent: &Agent, client: &HttpClient, place: &Uri) -> Result<Card, String> {
    let deadline = Instant::now() + FETCH_LIMIT;
    let build = |body: Once| {
        let mut request = Request::new(body);
        *request.uri_mut() = place.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, JSON);
        headers.insert(A2A_VERSION, hyper::header::HeaderValue::from_static("1.0"));
        // The credential is for the agent's own origin only.
        if let Some(authorization) = &agent.authorization
            && place.scheme() == agent.url.scheme()
            && place.authority() == agent.url.authority()
        {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    };
    let response = client.send(&Bytes::new(), deadline, build).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("its card: HTTP status {}", response.status().as_u16()));
    }
    let body = client
        .collect(response.into_body(), CARD_BYTES_MAX, deadline)
        .await
        .map_err(|error| error.to_string())?;
    Card::read(&body).map_err(|error| format!("its card: {error}"))
}
