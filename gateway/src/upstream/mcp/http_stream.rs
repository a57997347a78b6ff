//! One call's SSE answer from an MCP server: what belongs to the call goes to its caller, the rest is dealt with here.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;

use super::http::{HttpServer, Running};
use super::remap::{self, Ticket};
use crate::protocol::splice::{Kind, Message};
use crate::upstream::answer::for_client;
use crate::upstream::http::HttpClient;
use crate::upstream::sse_body::SseBody;
use crate::upstream::{Answer, CallError, Event};

/// See the module.
pub(super) struct Exchange {
    server: Arc<HttpServer>,
    /// Kept so that the pool outlives the stream.
    _client: HttpClient,
    ticket: Ticket,
    sent_id: String,
    body: SseBody,
    running: Running,
}

impl Exchange {
    pub(super) fn new(
        server: Arc<HttpServer>,
        client: HttpClient,
        ticket: Ticket,
        body: SseBody,
        running: Running,
    ) -> Self {
        let sent_id = ticket.number.to_string();
        Self { server, _client: client, ticket, sent_id, body, running }
    }

    /// A stream that opens with the response is no stream to the caller.
    pub(super) async fn answer(mut self) -> Result<Answer, CallError> {
        let first = self.next().await?;
        if first.last {
            return Ok(Answer::Unary(first.body));
        }
        let state = (Some(first), Some(self));
        Ok(Answer::Stream(Box::pin(stream::unfold(state, |(first, exchange)| async move {
            let mut exchange = exchange?;
            let item = match first {
                Some(first) => Ok(first),
                None => exchange.next().await,
            };
            let more = item.as_ref().is_ok_and(|event| !event.last);
            Some((item, (None, more.then_some(exchange))))
        }))))
    }

    async fn next(&mut self) -> Result<Event, CallError> {
        loop {
            let Some(event) = self.body.next().await? else {
                return Err(CallError::broken(self.server.name(), "its stream ended before the response"));
            };
            // 2025-11-25 opens streams with an event that has only an id.
            if event.data.is_empty() {
                continue;
            }
            if let Some(event) = self.read(&event.data)? {
                return Ok(event);
            }
        }
    }

    fn read(&mut self, data: &Bytes) -> Result<Option<Event>, CallError> {
        let name = self.server.name();
        let message = Message::read(data)
            .map_err(|error| CallError::invalid(name, format!("in its stream: {error}")))?;
        match message.kind() {
            Kind::Result | Kind::Error => {
                let body = for_client(name, &message, &self.sent_id, &self.ticket.client_id, data)?;
                self.running.over();
                Ok(Some(Event { body, last: true }))
            }
            Kind::Request => {
                if let Some(answer) = remap::to_server_request(&message) {
                    self.running.tell(answer);
                }
                Ok(None)
            }
            Kind::Notification => {
                Ok(self.notification(&message, data).map(|body| Event { body, last: false }))
            }
        }
    }

    fn notification(&self, message: &Message<'_>, data: &Bytes) -> Option<Bytes> {
        match message.method() {
            Some("notifications/progress") if remap::progress_number(message) == Some(self.ticket.number) => {
                self.ticket.progress(message, data)
            }
            // On the stream of a request these belong to the request.
            Some("notifications/message") => Some(data.clone()),
            Some("notifications/tools/list_changed") => {
                self.server.relist.notify_one();
                None
            }
            _ => None,
        }
    }
}
