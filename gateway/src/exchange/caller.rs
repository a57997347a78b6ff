//! Delivery's view of the upstreams.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::StreamExt;
use memchr::memmem::Finder;
use tokio::time::{Instant, timeout_at};

use crate::config::{Delivery, Retry};
use crate::message::{Mode, Protocol, RelayId};
use crate::outcome::Reason;
use crate::protocol::splice;
use crate::protocol::{self, request_id};
use crate::relay::record::View;
use crate::relay::{Admitted, Answer, Caller, Failure, Message, Tasks};
use crate::upstream::{self, Call, CallError, Closed, Gate, Place, Worker};

/// Calls upstreams for the dispatcher.
pub struct Upstream {
    pub worker: Worker,
    pub tasks: Arc<Tasks>,
    pub delivery: Delivery,
}

impl Caller for Upstream {
    type Place = Place;

    async fn enter(&self, admitted: &Admitted, attempt: u32) -> Result<Place, Failure> {
        let gate = gate(&self.worker, admitted)?;
        match admitted.mode {
            Mode::Relay => Ok(gate.enter(attempt).await),
            Mode::Journal | Mode::Direct => gate.enter_open().await.map_err(|closed| shut(&closed)),
        }
    }

    async fn call(
        &self,
        admitted: &Admitted,
        body: Bytes,
        deadline: Instant,
        place: Place,
    ) -> Result<Answer, Failure> {
        call_in(&self.worker, &self.tasks, admitted, body, deadline, place).await
    }

    fn retry(&self, admitted: &Admitted) -> Retry {
        self.delivery.route(&admitted.agent).retry
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

/// Calls the upstream of `admitted` at once, when it takes a call; `tasks` learns what is said of them.
pub(super) async fn call(
    worker: &Worker,
    tasks: &Arc<Tasks>,
    admitted: &Admitted,
    body: Bytes,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let entered = timeout_at(deadline, gate(worker, admitted)?.enter_open()).await;
    let place = entered.map_err(|_| Failure::plain(Reason::Expired))?.map_err(|closed| shut(&closed))?;
    call_in(worker, tasks, admitted, body, deadline, place).await
}

async fn call_in(
    worker: &Worker,
    tasks: &Arc<Tasks>,
    admitted: &Admitted,
    body: Bytes,
    deadline: Instant,
    mut place: Place,
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
    match worker.call(call, &mut place).await {
        Ok(upstream::Answer::Unary(body)) => {
            tasks.note(admitted, &body);
            Ok(Answer::Unary(message(body, true)))
        }
        Ok(upstream::Answer::Stream(events)) => {
            let learner =
                (admitted.dialect.protocol() == Protocol::A2a).then(|| (Arc::clone(tasks), admitted.clone()));
            // A stream of an agent may stay open for days; what is bounded is the work that somebody waits for.
            let place = Some(place).filter(|_| !admitted.operation.streams());
            Ok(Answer::Stream(Box::pin(events.map(move |event| {
                let _place = &place;
                let event = event.map_err(|error| failure(&error))?;
                if let Some((tasks, admitted)) = &learner {
                    tasks.note(admitted, &event.body);
                }
                Ok(message(event.body, event.last))
            }))))
        }
        Err(error) => Err(failure(&error)),
    }
}

fn gate<'a>(worker: &'a Worker, admitted: &Admitted) -> Result<&'a Arc<Gate>, Failure> {
    let unknown = || failure(&CallError::Unknown { upstream: admitted.agent.clone() });
    worker.gate(&admitted.agent).ok_or_else(unknown)
}

fn shut(closed: &Closed) -> Failure {
    let reason = match closed {
        Closed::Full(_) => Reason::Overloaded,
        Closed::Open(_) => Reason::UpstreamUnreachable,
    };
    Failure { reason, message: closed.to_string() }
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
