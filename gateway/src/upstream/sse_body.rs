//! An SSE answer read off the wire within its limits: event size, number of events, silence.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::CallError;
use super::error::Limit;
use super::http::why;
use super::sse::{SseEvent, SseReader};
use crate::config::Limits;
use crate::message::Name;

/// What bounds a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamLimits {
    pub(super) event_bytes: usize,
    pub(super) events: usize,
    pub(super) silence: Duration,
    /// An overall end, where the protocol wants one.
    pub(super) deadline: Option<Instant>,
}

impl StreamLimits {
    pub(super) fn new(limits: &Limits, silence: Duration, deadline: Option<Instant>) -> Self {
        Self { event_bytes: limits.event_bytes, events: limits.events_per_stream, silence, deadline }
    }
}

/// The events of one body. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct SseBody {
    upstream: Name,
    body: Incoming,
    reader: SseReader,
    limits: StreamLimits,
    events: usize,
}

impl SseBody {
    pub(super) fn new(upstream: Name, body: Incoming, limits: StreamLimits) -> Self {
        Self { upstream, body, reader: SseReader::new(limits.event_bytes), limits, events: 0 }
    }

    /// The next event; none when the upstream ended its body as HTTP asks (the last chunk) and between two events. Anything
    /// else is an error: a stream that was cut never looks complete.
    pub(super) async fn next(&mut self) -> Result<Option<SseEvent>, CallError> {
        loop {
            let event = self.reader.next_event();
            if let Some(event) =
                event.map_err(|error| CallError::invalid(&self.upstream, error.to_string()))?
            {
                self.events += 1;
                if self.events > self.limits.events {
                    let why = format!("a stream of more than {} events", self.limits.events);
                    return Err(CallError::invalid(&self.upstream, why));
                }
                return Ok(Some(event));
            }
            let silence = Instant::now() + self.limits.silence;
            let (until, limit) = match self.limits.deadline {
                Some(deadline) if deadline < silence => (deadline, Limit::Total),
                _ => (silence, Limit::Silence),
            };
            match timeout_at(until, self.body.frame()).await {
                Err(_) => return Err(CallError::timeout(&self.upstream, limit)),
                Ok(Some(Err(error))) => return Err(CallError::broken(&self.upstream, why(&error))),
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.reader.push(data);
                    }
                }
                Ok(None) if self.reader.is_between_events() => return Ok(None),
                Ok(None) => {
                    return Err(CallError::broken(&self.upstream, "the stream ended inside an event"));
                }
            }
        }
    }
}
