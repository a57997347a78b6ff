//! Calls to A2A agents over HTTP, JSON-RPC binding. The body goes as it came; the head is the gateway's own.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, Uri};
use serde_json::Value;
use tokio::time::Instant;

use super::answer::{for_client, is_event_stream, unary};
use super::card::Card;
use super::health::Vital;
use super::http::{HttpClient, Once};
use super::sse_body::{SseBody, StreamLimits};
use super::{Answer, Call, CallError, Event, EventStream, StartError};
use crate::config;
use crate::message::{Dialect, Name};
use crate::protocol::splice::{Kind, Message};

pub(super) const A2A_VERSION: HeaderName = HeaderName::from_static("a2a-version");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const BOTH_TYPES: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How long a call waits for an agent that the gateway itself is starting.
const START_WAIT: Duration = Duration::from_secs(3);
const START_POLL: Duration = Duration::from_millis(50);

/// One configured agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) name: Name,
    pub(super) url: Uri,
    pub(super) card_url: Option<Uri>,
    pub(super) config: config::Agent,
    pub(super) authorization: Option<HeaderValue>,
    limits: config::Limits,
    pub(super) card: arc_swap::ArcSwapOption<Card>,
    pub(super) vital: Vital,
    /// The head of every request, in each dialect: what the gateway knows, nothing of a client's head.
    heads: Heads,
}

#[derive(Debug)]
struct Heads {
    v03: HeaderMap,
    v10: HeaderMap,
}

impl Agent {
    pub(super) fn new(
        name: &Name,
        config: &config::Agent,
        limits: &config::Limits,
    ) -> Result<Self, StartError> {
        let authorization =
            config.authorization.as_ref().map(|secret| super::sensitive(name, secret)).transpose()?;
        let head = |version| {
            let mut head = HeaderMap::with_capacity(6);
            head.insert(CONTENT_TYPE, JSON);
            head.insert(ACCEPT, BOTH_TYPES);
            head.insert(A2A_VERSION, HeaderValue::from_static(version));
            head.extend(authorization.clone().map(|value| (AUTHORIZATION, value)));
            head
        };
        Ok(Self {
            name: name.clone(),
            url: super::http_url(name, &config.url)?,
            card_url: config.card.as_deref().map(|url| super::http_url(name, url)).transpose()?,
            config: config.clone(),
            heads: Heads { v03: head("0.3"), v10: head("1.0") },
            authorization,
            limits: limits.clone(),
            card: arc_swap::ArcSwapOption::empty(),
            vital: Vital::agent(name),
        })
    }

    pub(super) async fn call(&self, client: &HttpClient, call: &Call) -> Result<Answer, CallError> {
        let id = Message::read(&call.body)
            .ok()
            .and_then(|request| request.id().map(str::to_owned))
            .ok_or_else(|| CallError::invalid(&self.name, "the request has no id"))?;
        let response = self.send(client, call).await;
        self.vital.saw(&response);
        let (head, body) = response?.into_parts();
        if head.status.is_success() && is_event_stream(&head.headers) {
            let limits = StreamLimits::new(&self.limits, self.config.timeouts.silence, None);
            let body = SseBody::new(self.name.clone(), body, limits);
            let framed =
                head.headers.contains_key(TRANSFER_ENCODING) || head.headers.contains_key(CONTENT_LENGTH);
            let events =
                Events { agent: self.name.clone(), id, body, framed, latest: Bytes::new(), ended: false };
            return Ok(Answer::Stream(events.into_stream()));
        }
        let body = client.collect(body, self.limits.answer_bytes, call.deadline).await?;
        unary(&self.name, &id, &id, head.status, &body).map(Answer::Unary)
    }

    async fn send(&self, client: &HttpClient, call: &Call) -> Result<Response<Incoming>, CallError> {
        let head = if call.dialect == Dialect::A2aV03 { &self.heads.v03 } else { &self.heads.v10 };
        let traceparent = HeaderValue::from_str(&call.traceparent).ok();
        let build = |body: Once| {
            let mut request = Request::new(body);
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.url.clone();
            *request.headers_mut() = head.clone();
            request.headers_mut().extend(traceparent.clone().map(|value| (TRACEPARENT, value)));
            request
        };
        let give_up = (Instant::now() + START_WAIT).min(call.deadline);
        loop {
            match client.send(&call.body, call.deadline, build).await {
                Err(CallError::Unreachable { .. })
                    if self.config.process.is_some() && Instant::now() + START_POLL < give_up =>
                {
                    tokio::time::sleep(START_POLL).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// The stream of one answer.
struct Events {
    agent: Name,
    id: String,
    body: SseBody,
    /// The body says where it ends. Of one that lasts until the connection closes, a cut cannot be told from the end.
    framed: bool,
    latest: Bytes,
    ended: bool,
}

impl Events {
    async fn next(&mut self) -> Result<Option<Event>, CallError> {
        while let Some(event) = self.body.next().await? {
            if event.data.is_empty() {
                continue;
            }
            if !self.framed {
                self.latest = event.data.clone();
            }
            return self.read(&event.data).map(Some);
        }
        if self.framed || may_be_the_last(&self.latest) {
            return Ok(None);
        }
        Err(CallError::broken(&self.agent, "the connection closed before the task came to an end"))
    }

    fn read(&self, data: &Bytes) -> Result<Event, CallError> {
        let message = Message::read(data)
            .map_err(|error| CallError::invalid(&self.agent, format!("in its stream: {error}")))?;
        let body = for_client(&self.agent, &message, &self.id, &self.id, data)?;
        Ok(Event { body, last: message.kind() == Kind::Error })
    }

    fn into_stream(self) -> EventStream {
        Box::pin(stream::unfold(self, |mut events| async move {
            if events.ended {
                return None;
            }
            let item = events.next().await.transpose()?;
            events.ended = item.is_err();
            Some((item, events))
        }))
    }
}

/// Whether a stream can end after `event`: an error, a message, a task that is over or waits for its caller (A2A 1.0, 3.1.2;
/// 0.3, `final`).
fn may_be_the_last(event: &[u8]) -> bool {
    let Ok(message) = Message::read(event) else { return false };
    if message.kind() == Kind::Error {
        return true;
    }
    let result: Value =
        message.result().and_then(|result| serde_json::from_str(result).ok()).unwrap_or_default();
    let inner =
        ["task", "statusUpdate", "message"].iter().find_map(|wrapper| result.get(wrapper)).unwrap_or(&result);
    let state = inner["status"]["state"].as_str().unwrap_or("").trim_start_matches("TASK_STATE_");
    let state = state.to_ascii_lowercase().replace('_', "-");
    const OVER: [&str; 7] =
        ["completed", "failed", "canceled", "cancelled", "rejected", "input-required", "auth-required"];
    OVER.contains(&state.as_str()) || inner["final"] == true || inner.get("role").is_some()
}
