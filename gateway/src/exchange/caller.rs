//! Delivery's view of the upstreams.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::StreamExt;
use memchr::memmem::Finder;
use tokio::time::Instant;

use crate::message::{Protocol, RelayId};
use crate::protocol::splice;
use crate::protocol::{self, request_id};
use crate::relay::record::View;
use crate::relay::{Admitted, Answer, Caller, Failure, Message, Tasks};
use crate::upstream::{self, Call, CallError, Worker};

/// Calls upstreams for the dispatcher.
pub struct Upstream {
    pub worker: Worker,
    pub tasks: Arc<Tasks>,
}

impl Caller for Upstream {
    async fn call(&self, admitted: &Admitted, body: Bytes, deadline: Instant) -> Result<Answer, Failure> {
        call(&self.worker, &self.tasks, admitted, body, deadline).await
    }

    fn explain(&self, admitted: &Admitted, request: &Bytes, failure: &Failure) -> Bytes {
        let id = request_id(request);
        protocol::error_body(admitted.dialect, failure.reason, id.as_ref(), &failure.message, &[])
    }

    async fn settled(&self, id: RelayId) {
        self.tasks.settled(id).await;
    }

    fn found(&self, view: &View<'_>) {
        self.tasks.note_again(view);
    }
}

/// Calls the upstream of `admitted` through `worker`; `tasks` learns what is said of them.
pub(super) async fn call(
    worker: &Worker,
    tasks: &Arc<Tasks>,
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
        Ok(upstream::Answer::Unary(body)) => {
            tasks.note(admitted, &body);
            Ok(Answer::Unary(message(body, true)))
        }
        Ok(upstream::Answer::Stream(events)) => {
            let learner =
                (admitted.dialect.protocol() == Protocol::A2a).then(|| (Arc::clone(tasks), admitted.clone()));
            Ok(Answer::Stream(Box::pin(events.map(move |event| match event {
                Ok(event) => {
                    if let Some((tasks, admitted)) = &learner {
                        tasks.note(admitted, &event.body);
                    }
                    Ok(message(event.body, event.last))
                }
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
