//! Mode `direct`: the upstream is called at once, and the exchange is recorded after the fact.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use hyper::Response;
use tokio::sync::{mpsc, oneshot};

use super::caller;
use super::metrics::Ending;
use super::relayed::Pending;
use super::respond::{self, Refused};
use super::{Front, Gateway, sse};
use crate::edge::{Body, SseItem};
use crate::message::{Dialect, Protocol};
use crate::outcome::Reason;
use crate::relay::{Admitted, Answer, Failure, Message, Messages};

/// Messages of a direct stream are recorded together, a line each, in records of about this size.
const BATCH_BYTES: usize = 256 * 1024;

/// Messages that may wait for the client before the upstream is no longer read.
const AHEAD: usize = 64;

/// Calls the upstream of `pending` and answers with what it says.
///
/// The call goes on in a task of its own: a client that leaves does not take the record of its exchange with it.
pub(super) async fn run(front: &Front, pending: Pending, mut ending: Ending) -> Response<Body> {
    if front.gateway.intake.appender().room().await.is_err() {
        ending.set(Reason::LogUnavailable);
        let message = "the log does not take records; the request was not carried out";
        return refused(&pending, &Failure { reason: Reason::LogUnavailable, message: message.to_owned() });
    }
    let (client, response) = oneshot::channel();
    let (dialect, id) = (pending.admitted.dialect, pending.id.clone());
    tokio::spawn(work(front.clone(), pending, ending, client));
    response.await.unwrap_or_else(|_| {
        Refused::new(Reason::Dropped, dialect, Some(&id), "the gateway gave this request up").response(None)
    })
}

async fn work(front: Front, pending: Pending, ending: Ending, mut client: oneshot::Sender<Response<Body>>) {
    let gateway = &front.gateway;
    let deadline = front.deadline(&pending.admitted);
    let call = caller::call(
        &front.upstream.worker,
        &gateway.tasks,
        &pending.admitted,
        pending.body.clone(),
        deadline,
    );
    let answer = tokio::select! {
        answer = call => answer,
        () = pending.cancel.notified() => Err(Failure::plain(Reason::Cancelled)),
        () = client.closed(), if pending.admitted.dialect == Dialect::McpModern => Err(Failure::plain(Reason::ClientGone)),
    };
    let answer = match answer {
        Ok(Answer::Unary(message)) => Ok(message),
        Ok(Answer::Stream(messages)) if pending.streams => {
            // A client that has gone does not hear it; the log has it.
            drop(client.send(streamed(&front, pending, messages, ending)));
            return;
        }
        Ok(Answer::Stream(messages)) => last_of(messages).await,
        Err(failure) => Err(failure),
    };
    let (reason, body, response) = match answer {
        Ok(message) => answered(&pending, message),
        Err(failure) => failed(&pending, &failure),
    };
    ending.finish(reason);
    // First the client, then the log: it is recorded after the fact.
    drop(client.send(response));
    note(gateway, &pending, reason, &body).await;
}

fn answered(pending: &Pending, message: Message) -> (Reason, Bytes, Response<Body>) {
    let reason = if message.error { Reason::UpstreamError } else { Reason::Completed };
    let response = respond::json(hyper::StatusCode::OK, message.body.clone(), Some(pending.admitted.id));
    (reason, message.body, response)
}

fn failed(pending: &Pending, failure: &Failure) -> (Reason, Bytes, Response<Body>) {
    let refused = explain(pending, failure);
    (failure.reason, refused.body(), refused.response(Some(pending.admitted.id)))
}

fn refused(pending: &Pending, failure: &Failure) -> Response<Body> {
    explain(pending, failure).response(Some(pending.admitted.id))
}

fn explain(pending: &Pending, failure: &Failure) -> Refused {
    Refused::new(failure.reason, pending.admitted.dialect, Some(&pending.id), failure.message.clone())
}

async fn note(gateway: &Gateway, pending: &Pending, reason: Reason, body: &[u8]) {
    let intake = &gateway.intake;
    let admitted = &pending.admitted;
    let request = intake.note_request(admitted, &pending.body).await;
    let end = intake.note_end(admitted, reason, body.len() as u64, false, body).await;
    for missing in [request, end].into_iter().filter_map(Result::err) {
        gateway.metrics.unrecorded.inc();
        tracing::error!(id = %admitted.id, error = %missing, "a record of a direct exchange is missing from the log");
    }
}

/// The answer of a stream for a client that takes none: what was on the way is left out.
async fn last_of(mut messages: Messages) -> Result<Message, Failure> {
    while let Some(message) = messages.next().await {
        let message = message?;
        if message.last {
            return Ok(message);
        }
    }
    Err(Failure::plain(Reason::UpstreamBroken))
}

fn streamed(front: &Front, pending: Pending, messages: Messages, ending: Ending) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let id = pending.admitted.id;
    let gateway = Arc::clone(&front.gateway);
    tokio::spawn(async move { pump(&gateway, &pending, messages, sender, ending).await });
    let items =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let mut response = Response::new(sse::body(items, &front.gateway.limits));
    sse::headers(&mut response);
    respond::name(&mut response, Some(id));
    response
}

async fn pump(
    gateway: &Gateway,
    pending: &Pending,
    mut messages: Messages,
    client: mpsc::Sender<SseItem>,
    ending: Ending,
) {
    let mut lines = Lines::default();
    let admitted = &pending.admitted;
    // For legacy MCP a broken connection is no wish to cancel, so its calls run to their end.
    let stays = admitted.dialect == Dialect::McpLegacy;
    if gateway.intake.note_request(admitted, &pending.body).await.is_err() {
        gateway.metrics.unrecorded.inc();
    }
    let reason = loop {
        let next = tokio::select! {
            next = messages.next() => next,
            () = client.closed(), if !stays => break Reason::ClientGone,
            () = pending.cancel.notified() => {
                tell(&client, pending, &Failure::plain(Reason::Cancelled), &mut lines).await;
                break Reason::Cancelled;
            }
        };
        match next {
            Some(Ok(message)) => {
                lines.push(&message.body);
                let end = message.last.then_some(if message.error {
                    Reason::UpstreamError
                } else {
                    Reason::Completed
                });
                if client.send(sse::item(None, message.body)).await.is_err() && !stays {
                    break end.unwrap_or(Reason::ClientGone);
                }
                if let Some(reason) = end {
                    break reason;
                }
                lines.flush(gateway, admitted, BATCH_BYTES).await;
            }
            Some(Err(failure)) => {
                tell(&client, pending, &failure, &mut lines).await;
                break failure.reason;
            }
            None if admitted.dialect.protocol() == Protocol::Mcp => {
                tell(&client, pending, &Failure::plain(Reason::UpstreamBroken), &mut lines).await;
                break Reason::UpstreamBroken;
            }
            None => break Reason::Completed,
        }
    };
    let (total, rest) = (lines.total, lines.text.split().freeze());
    drop(client);
    if gateway.intake.note_end(admitted, reason, total, true, &rest).await.is_err() {
        gateway.metrics.unrecorded.inc();
    }
    ending.finish(reason);
}

/// A stream that breaks off ends with the error, never as if it were complete.
async fn tell(client: &mpsc::Sender<SseItem>, pending: &Pending, failure: &Failure, lines: &mut Lines) {
    let body = explain(pending, failure).body();
    lines.push(&body);
    if let Some(item) = sse::last(pending.admitted.dialect, failure.reason, None, body) {
        // A client that has gone does not hear it; the log says it all the same.
        drop(client.send(item).await);
    }
}

/// Messages on their way to the log, a line each.
#[derive(Default)]
struct Lines {
    text: BytesMut,
    total: u64,
    sequence: u32,
}

impl Lines {
    fn push(&mut self, body: &Bytes) {
        if !self.text.is_empty() {
            self.text.extend_from_slice(b"\n");
        }
        self.text.extend_from_slice(body);
        self.total += body.len() as u64;
    }

    async fn flush(&mut self, gateway: &Gateway, admitted: &Admitted, over: usize) {
        if self.text.len() < over {
            return;
        }
        self.sequence += 1;
        let text = self.text.split().freeze();
        if gateway.intake.note_event(admitted, self.sequence, &text).await.is_err() {
            gateway.metrics.unrecorded.inc();
        }
    }
}
