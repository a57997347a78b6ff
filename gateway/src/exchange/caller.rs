//! Delivery's view of the upstreams.

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::StreamExt;
use memchr::memmem::Finder;
use tokio::time::Instant;

use crate::protocol::splice;
use crate::protocol::{self, request_id};
use crate::relay::{Admitted, Answer, Caller, Failure, Message};
use crate::upstream::{self, Call, CallError, Worker};

/// Calls upstreams for the dispatcher.
pub struct Upstream(pub Worker);

impl Caller for Upstream {
    async fn call(&self, admitted: &Admitted, body: Bytes, deadline: Instant) -> Result<Answer, Failure> {
        call(&self.0, admitted, body, deadline).await
    }

    fn explain(&self, admitted: &Admitted, request: &Bytes, failure: &Failure) -> Bytes {
        let id = request_id(request);
        protocol::error_body(admitted.dialect, failure.reason, id.as_ref(), &failure.message, &[])
    }
}

/// Calls the upstream of `admitted` through `worker`.
pub(super) async fn call(
    worker: &Worker,
    admitted: &Admitted,
    body: Bytes,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let call = Call {
        upstream: admitted.agent.clone(),
        dialect: admitted.dialect,
        operation: admitted.operation,
        tool: admitted.tool.clone(),
        body,
        deadline,
        traceparent: admitted.traceparent.clone(),
        relay_id: admitted.id,
    };
    match worker.call(call).await {
        Ok(upstream::Answer::Unary(body)) => Ok(Answer::Unary(message(body, true))),
        Ok(upstream::Answer::Stream(events)) => {
            Ok(Answer::Stream(Box::pin(events.map(|event| match event {
                Ok(event) => Ok(message(event.body, event.last)),
                Err(error) => Err(failure(&error)),
            }))))
        }
        Err(error) => Err(failure(&error)),
    }
}

fn message(body: Bytes, last: bool) -> Message {
    let error = last && is_error(&body);
    Message { body, last, error }
}

fn failure(error: &CallError) -> Failure {
    Failure { reason: error.reason(), message: error.to_string() }
}

/// Whether a JSON-RPC response is an error. Most are not, and most of those do not even hold the word.
fn is_error(body: &[u8]) -> bool {
    static WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));
    WORD.find(body).is_some()
        && splice::Message::read(body).is_ok_and(|message| message.kind() == splice::Kind::Error)
}
