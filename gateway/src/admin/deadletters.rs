//! `/api/deadletters`: what could not be delivered, and sending it again.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::site::Site;
use crate::relay::{Place, ReadError, RedriveError, letters};

/// Answers for what follows `/api/deadletters` in the path.
pub(super) async fn answer(site: &Arc<Site>, method: &Method, rest: &str) -> Answer {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let parts: Vec<&str> = rest.split('/').skip(1).collect();
    match parts[..] {
        [] if reads => list(site).await,
        [id] if reads => match Place::parse(id) {
            Some(place) => show(site, place).await,
            None => bad_id(),
        },
        [id, "redrive"] if *method == Method::POST => match Place::parse(id) {
            Some(place) => redrive(site, place).await,
            None => bad_id(),
        },
        [] | [_] | [_, "redrive"] => answer::method_not_allowed(),
        _ => answer::error(StatusCode::NOT_FOUND, "path_not_found", "known: /api/deadletters/{id}/redrive"),
    }
}

async fn list(site: &Arc<Site>) -> Answer {
    match read(site, None).await {
        Ok(letters) => answer::json(StatusCode::OK, &json!({ "letters": letters })),
        Err(error) => unreadable(&error),
    }
}

async fn show(site: &Arc<Site>, place: Place) -> Answer {
    match read(site, Some(place)).await {
        Ok(mut letters) => match letters.pop() {
            Some(letter) => answer::json(StatusCode::OK, &letter),
            None => refused(&RedriveError::Unknown(place)),
        },
        Err(error) => unreadable(&error),
    }
}

async fn redrive(site: &Arc<Site>, place: Place) -> Answer {
    match site.redriver.redrive(place).await {
        Ok(id) => {
            answer::json(StatusCode::OK, &json!({ "id": place.to_string(), "redriven": id.to_string() }))
        }
        Err(error) => refused(&error),
    }
}

async fn read(site: &Arc<Site>, only: Option<Place>) -> Result<Vec<Value>, ReadError> {
    let Ok(permit) = site.searches.clone().acquire_owned().await else { return Err(ReadError::Slow) };
    let log = site.log.clone();
    let search = tokio::task::spawn_blocking(move || {
        let found = letters(&log, only);
        drop(permit);
        Ok(found?.iter().map(|letter| letter.as_json(only.is_some())).collect())
    });
    search.await.unwrap_or(Err(ReadError::Slow))
}

fn bad_id() -> Answer {
    let message = "the id of a dead letter is its place in the requests: PARTITION-OFFSET";
    answer::error(StatusCode::BAD_REQUEST, "bad_id", message)
}

fn unreadable(error: &ReadError) -> Answer {
    let status = match error {
        ReadError::Slow => StatusCode::GATEWAY_TIMEOUT,
        ReadError::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::error(status, "log_unavailable", &error.to_string())
}

fn refused(error: &RedriveError) -> Answer {
    let (status, reason) = match error {
        RedriveError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_letter"),
        RedriveError::Before(_) => (StatusCode::CONFLICT, "redriven_before"),
        RedriveError::Unreadable => (StatusCode::UNPROCESSABLE_ENTITY, "unreadable"),
        RedriveError::Read(error) => return unreadable(error),
        RedriveError::Mark(_) | RedriveError::Append(_) | RedriveError::Broken => {
            (StatusCode::SERVICE_UNAVAILABLE, "log_unavailable")
        }
    };
    answer::error(status, reason, &error.to_string())
}
