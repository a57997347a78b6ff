//! Calls to A2A agents over HTTP, JSON-RPC binding. The body goes as it came; the head is the gateway's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
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
    pub(super) config: config::Agent,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) limits: config::Limits,
    pub(super) card: arc_swap::ArcSwapOption<Card>,
    pub(super) vital: Vital,
}

impl Agent {
    pub(super) fn new(
        name: &Name,
        config: &config::Agent,
        limits: &config::Limits,
    ) -> Result<Self, StartError> {
        let authorization =
            config.authorization.as_ref().map(|secret| super::sensitive(name, secret)).transpose()?;
        Ok(Self {
            name: name.clone(),
            url: super::http_url(name, &config.url)?,
            config: config.clone(),
            authorization,
            limits: limits.clone(),
            card: arc_swap::ArcSwapOption::empty(),
            vital: Vital::agent(name),
        })
    }

    pub(super) async fn call(
        self: &Arc<Self>,
        client: &HttpClient,
        call: &Call,
    ) -> Result<Answer, CallError> {
        let id = Message::read(&call.body)
            .ok()
            .and_then(|request| request.id().map(str::to_owned))
            .ok_or_else(|| CallError::invalid(&self.name, "the request has no id"))?;
        let headers = self.headers(call);
        let response = self.send(client, call, &headers).await?;
        let (head, body) = response.into_parts();
        if head.status.is_success() && is_event_stream(&head.headers) {
            let limits = StreamLimits::new(&self.limits, self.config.timeouts.silence, None);
            let body = SseBody::new(self.name.clone(), body, limits);
            return Ok(Answer::Stream(events(Events { agent: self.name.clone(), id, body, ended: false })));
        }
        let body = client.collect(body, self.limits.answer_bytes, call.deadline).await?;
        unary(&self.name, &id, &id, head.status, body).map(Answer::Unary)
    }

    async fn send(
        &self,
        client: &HttpClient,
        call: &Call,
        headers: &HeaderMap,
    ) -> Result<hyper::Response<hyper::body::Incoming>, CallError> {
        let build = |body: Once| {
            let mut request = Request::new(body);
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.url.clone();
            *request.headers_mut() = headers.clone();
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

    /// The head is built from what the gateway knows; nothing of the client's head is in it.
    fn headers(&self, call: &Call) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, BOTH_TYPES);
        let version = if call.dialect == Dialect::A2aV03 { "0.3" } else { "1.0" };
        headers.insert(A2A_VERSION, HeaderValue::from_static(version));
        if let Ok(traceparent) = HeaderValue::from_str(&call.traceparent) {
            headers.insert(TRACEPARENT, traceparent);
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers
    }
}

struct Events {
    agent: Name,
    id: String,
    body: SseBody,
    ended: bool,
}

impl Events {
    async fn next(&mut self) -> Result<Option<Event>, CallError> {
        while let Some(event) = self.body.next().await? {
            if event.data.is_empty() {
                continue;
            }
            return self.read(&event.data).map(Some);
        }
        Ok(None)
    }

    fn read(&self, data: &Bytes) -> Result<Event, CallError> {
        let message = Message::read(data)
            .map_err(|error| CallError::invalid(&self.agent, format!("in its stream: {error}")))?;
        let body = for_client(&self.agent, &message, &self.id, &self.id, data)?;
        Ok(Event { body, last: message.kind() == Kind::Error })
    }
}

fn events(events: Events) -> EventStream {
    Box::pin(stream::unfold(events, |mut events| async move {
        if events.ended {
            return None;
        }
        let item = events.next().await.transpose()?;
        events.ended = item.is_err();
        Some((item, events))
    }))
}
