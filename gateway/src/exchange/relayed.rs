//! Mode `relay` from the client's side: accepted by the log, answered from the log.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::Notify;

use super::metrics::Ending;
use super::positions::{At, Bound};
use super::respond::{self, Refused};
use super::{Front, Gateway, mcp, resume, sse};
use crate::edge::{Body, SseItem};
use crate::message::{Dialect, Operation};
use crate::outcome::Reason;
use crate::protocol::RawId;
use crate::relay::{Accepted, Admitted, Position, Reply, Waiting};

/// Says that the answer is that of an earlier request with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the gateway itself may take beyond the deadline of a call until its end is on the log.
const GRACE: Duration = Duration::from_secs(5);

/// A client that asked for a stream gets its head after this, with the first message still to come.
const STREAM_HEAD: Duration = Duration::from_millis(500);

/// A tool call that takes longer answers as a stream, so that the client sees signs of life.
const CALL_HEAD: Duration = Duration::from_secs(10);

/// One request that a client waits for.
pub(super) struct Pending {
    pub(super) admitted: Arc<Admitted>,
    pub(super) id: RawId,
    pub(super) body: Bytes,
    /// The client takes an event stream.
    pub(super) streams: bool,
    /// Told when the client cancels a direct call.
    pub(super) cancel: Arc<Notify>,
    /// The session that it is part of, where its dialect has sessions.
    pub(super) session: Option<String>,
    /// Its client knows streams that begin with a place to go on from.
    pub(super) primed: bool,
    /// Its entry among the calls that its session may cancel.
    pub(super) running: Option<mcp::Guard>,
}

/// Has the log accept `pending`, waits for what becomes of it, and answers.
pub(super) async fn run(front: &Front, pending: Pending, mut ending: Ending) -> Response<Body> {
    let gateway = &front.gateway;
    let admitted = Arc::clone(&pending.admitted);
    let gate = gateway.upstreams.gate(&admitted.agent);
    if let Some(Err(full)) = gate.map(|gate| gate.room()) {
        ending.set(Reason::Overloaded);
        return refused(&pending, Reason::Overloaded, &full.to_string());
    }
    // Whatever becomes of it lies behind.
    let before = gateway.intake.deliveries.replies.position(admitted.partition) - 1;
    // Which request of a key is the first, the owner of its partition says when it reads it.
    let keyed = admitted.idempotency.is_some();
    let at_once = !keyed && gate.is_some_and(|gate| gate.is_free());
    let waiting = match gateway.intake.accept(&admitted, &pending.body, at_once).await {
        Ok(Accepted { waiting, claim }) => {
            if let Some(claim) = claim {
                let upstream = Arc::clone(&front.upstream);
                tokio::spawn(async move { claim.deliver(&*upstream).await });
            }
            waiting
        }
        Err(error) => {
            tracing::warn!(id = %admitted.id, %error, "a request was not accepted");
            let (reason, message) = error.told();
            ending.set(reason);
            return refused(&pending, reason, message);
        }
    };
    let guard = Guard::new(gateway, &admitted);
    let mut pending = pending;
    let running = pending.running.take();
    answer(front, pending, Wait { waiting, before, guard, ending, _running: running }).await
}

/// A client's place in the line, what to do when it leaves, and what to count then.
struct Wait {
    waiting: Waiting,
    /// An offset of the events of its partition before anything became of it.
    before: i64,
    guard: Guard,
    ending: Ending,
    _running: Option<mcp::Guard>,
}

async fn answer(front: &Front, pending: Pending, mut wait: Wait) -> Response<Body> {
    let until = deadline(&pending.admitted);
    let patience = match pending.admitted.operation {
        _ if !pending.streams => until,
        operation if operation.streams() => STREAM_HEAD,
        _ => CALL_HEAD,
    };
    let first = match tokio::time::timeout(patience.min(until), wait.waiting.next()).await {
        Ok(Some(Reply::End { reason, body, replayed, .. })) => {
            return end(&pending, wait, (reason, replayed), body);
        }
        Ok(Some(event @ Reply::Event { .. })) if pending.streams => Some(event),
        Err(_) if pending.streams && patience < until => None,
        Ok(Some(Reply::Event { .. })) => return skip_to_end(pending, wait).await,
        Ok(None) | Err(_) => {
            wait.ending.set(Reason::UpstreamTimeout);
            wait.guard.keep();
            let message = "no end of this request came from the log in time; it may still be carried out";
            return refused(&pending, Reason::UpstreamTimeout, message);
        }
    };
    let admitted = &pending.admitted;
    let bound = front.gateway.positions.of(admitted, pending.session.as_deref());
    let position = Position { partition: admitted.partition, offset: wait.before };
    let at = At { id: admitted.id, position, sequence: 0 };
    let prime = pending.primed.then(|| sse::prime(bound.write(at)));
    let items = events(Arc::clone(admitted), bound, wait, first);
    resume::response(&front.gateway, at, stream::iter(prime.into_iter().flatten()).chain(items))
}

/// For a client that takes no stream: only the end counts.
async fn skip_to_end(pending: Pending, mut wait: Wait) -> Response<Body> {
    let until = deadline(&pending.admitted);
    loop {
        match tokio::time::timeout(until, wait.waiting.next()).await {
            Ok(Some(Reply::Event { .. })) => {}
            Ok(Some(Reply::End { reason, body, replayed, .. })) => {
                return end(&pending, wait, (reason, replayed), body);
            }
            Ok(None) | Err(_) => {
                wait.ending.set(Reason::UpstreamTimeout);
                wait.guard.keep();
                return refused(
                    &pending,
                    Reason::UpstreamTimeout,
                    "no end of this request came from the log in time",
                );
            }
        }
    }
}

fn end(pending: &Pending, wait: Wait, (reason, replayed): (Reason, bool), body: Bytes) -> Response<Body> {
    wait.guard.keep();
    wait.ending.finish(reason);
    let status = respond::status(reason, pending.admitted.dialect);
    let mut response = respond::json(status, body, Some(pending.admitted.id));
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(seconds) = reason.retry_after() {
        response.headers_mut().insert(hyper::header::RETRY_AFTER, seconds.into());
    }
    response
}

fn refused(pending: &Pending, reason: Reason, message: &str) -> Response<Body> {
    let refused = Refused::new(reason, pending.admitted.dialect, Some(&pending.id), message);
    refused.response(Some(pending.admitted.id))
}

fn deadline(admitted: &Admitted) -> Duration {
    admitted.deadline.duration_since(SystemTime::now()).unwrap_or_default() + GRACE
}

fn events(
    admitted: Arc<Admitted>,
    bound: Bound,
    wait: Wait,
    first: Option<Reply>,
) -> impl futures_util::Stream<Item = SseItem> + Send + 'static {
    stream::unfold((Some(wait), first, admitted, bound), |(wait, first, admitted, bound)| async move {
        let mut wait = wait?;
        let reply = match first {
            Some(reply) => Some(reply),
            None => wait.waiting.next().await,
        };
        let id = |position, sequence| Some(bound.write(At { id: admitted.id, position, sequence }));
        match reply {
            Some(Reply::Event { position, sequence, body }) => {
                Some((sse::item(id(position, sequence), body), (Some(wait), None, admitted, bound)))
            }
            Some(Reply::End { position, reason, body, .. }) => {
                wait.guard.keep();
                wait.ending.finish(reason);
                sse::last(admitted.dialect, reason, id(position, 0), body)
                    .map(|item| (item, (None, None, admitted, bound)))
            }
            None => {
                wait.guard.keep();
                wait.ending.finish(Reason::ClientGone);
                Some((SseItem::Abort, (None, None, admitted, bound)))
            }
        }
    })
}

/// Closing a stream of modern MCP cancels its request; a client of any other dialect that goes away does not
/// (MCP 2026-07-28, streamable HTTP; MCP 2025-11-25, transports; A2A: a task outlives any stream).
struct Guard(Option<(Arc<Gateway>, Arc<Admitted>)>);

impl Guard {
    fn new(gateway: &Arc<Gateway>, admitted: &Arc<Admitted>) -> Self {
        let cancels = admitted.dialect == Dialect::McpModern && admitted.operation == Operation::CallTool;
        Self(cancels.then(|| (Arc::clone(gateway), Arc::clone(admitted))))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some((gateway, admitted)) = self.0.take() else { return };
        let background = gateway.background.clone();
        background.spawn(async move {
            if let Err(error) = gateway.intake.cancel(&admitted).await {
                tracing::warn!(id = %admitted.id, %error, "the wish to cancel a request is not on the log");
            }
        });
    }
}
