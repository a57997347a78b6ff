//! Fetches the cards of agents: at start, every minute, sooner after a failure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION};
use hyper::{Request, Uri};
use tokio::sync::watch;
use tokio::time::Instant;

use super::CallError;
use super::a2a::{A2A_VERSION, Agent, JSON};
use super::backoff::Backoff;
use super::card::{Card, NoCard};
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
            Err(error) => {
                let why = error.to_string();
                let news = match error {
                    FetchError::Call(_) => agent.vital.down(&why),
                    // It can be called, though nobody can discover it.
                    FetchError::Status(_) | FetchError::NoCard(_) => agent.vital.failed(&why),
                };
                if news {
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
    if let Some(card) = &agent.card_url {
        return vec![card.clone()];
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

async fn fetch_any(agent: &Agent, client: &HttpClient, places: &[Uri]) -> Result<Card, FetchError> {
    let mut outcome = Err(FetchError::Status(404));
    for place in places {
        outcome = fetch(agent, client, place).await;
        // Where nobody answers there is no other place to look in.
        if matches!(outcome, Ok(_) | Err(FetchError::Call(_))) {
            break;
        }
    }
    outcome
}

/// Why there is no card.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("its card: HTTP status {0}")]
    Status(u16),
    #[error("its card: {0}")]
    NoCard(#[from] NoCard),
}

async fn fetch(agent: &Agent, client: &HttpClient, place: &Uri) -> Result<Card, FetchError> {
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
    let response = client.send(&Bytes::new(), deadline, build).await?;
    if !response.status().is_success() {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let body = client.collect(response.into_body(), CARD_BYTES_MAX, deadline).await?;
    Ok(Card::read(&body)?)
}
