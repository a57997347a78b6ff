//! `advisor`: an A2A agent over JSON-RPC that uses its tools through the gateway.
//!
//! It speaks 1.0 and 0.3 on one URL, told apart by the method. Asked for the profit it calls
//! `gold_price__price_now`, `ledger__holdings` and `profit_clac__profit` at the gateway's `/mcp`, in
//! the trace of the request that it answers, and reports each step. A question with the word
//! "slowly" (or `metadata.slowly: true`) takes some two seconds in steps.
//!
//! - [`model`]: tasks and messages as they are kept; [`dialect`]: as they look in 1.0 and 0.3
//! - [`rpc`]: bytes to a request; [`error`]: answers back; [`http`]: the card, the door, streams
//! - [`tasks`]: bounded memory of tasks; [`work`]: what is done with a question
//! - [`gateway`]: the MCP client

mod card;
mod dialect;
mod error;
mod gateway;
mod http;
mod model;
mod rpc;
mod tasks;
mod work;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::HeaderValue;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use super::DemoError;
use crate::message::Trace;
use dialect::{Dialect, send_result, task};
use error::{Kind, RpcError, result_body};
use gateway::Gateway;
use http::{EventStream, Reply};
use model::Message;
use rpc::Operation;
use tasks::{Entry, Tasks};
use work::Question;

/// Serves the advisor on `listen` until the process is stopped. It reaches its tools at `gateway`
/// with `key`, which appears in no log or error.
pub async fn advisor(listen: SocketAddr, gateway: Uri, key: String) -> Result<(), DemoError> {
    let failed = |source| DemoError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    advisor_on(listener, gateway, key).await
}

/// Serves the advisor on a listener that is bound already, for callers that let the kernel pick
/// the port.
pub async fn advisor_on(listener: TcpListener, gateway: Uri, key: String) -> Result<(), DemoError> {
    let advisor = Advisor::new(&listener, &gateway, &key)?;
    tracing::info!(url = advisor.url, %gateway, "the advisor listens");
    http::serve(listener, Arc::new(advisor)).await;
    Ok(())
}

/// The agent: its tasks, its way to the tools, its card.
struct Advisor {
    tasks: Tasks,
    gateway: Arc<Gateway>,
    url: String,
    card: Bytes,
    card_tag: HeaderValue,
}

impl Advisor {
    fn new(listener: &TcpListener, gateway: &Uri, key: &str) -> Result<Self, DemoError> {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut address =
            listener.local_addr().map_err(|source| DemoError::Listen { address: unspecified, source })?;
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        let url = format!("http://{address}/");
        let card = card::card(&url).to_string();
        let digest = Sha256::digest(&card);
        let tag: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            tasks: Tasks::default(),
            gateway: Arc::new(Gateway::new(gateway, key)?),
            url,
            card: card.into(),
            card_tag: HeaderValue::try_from(format!("\"{tag}\"")).expect("hex digits in quotes"),
        })
    }

    /// Answers one JSON-RPC request.
    async fn handle(&self, body: &[u8], version: Option<&str>, traceparent: Option<&str>) -> Reply {
        let request = match rpc::read(body, version) {
            Ok(request) => request,
            Err(refused) => return Reply::Json(refused.error.body(refused.dialect, refused.id.as_deref())),
        };
        let (id, dialect) = (request.id, request.dialect);
        let size = body.len();
        let outcome = match request.operation {
            Operation::Send { message, wait, history } => {
                match self.begin(dialect, message, size, traceparent) {
                    Ok(entry) => {
                        if wait {
                            entry.ended().await;
                        }
                        Ok(send_result(dialect, task(dialect, &entry.snapshot().0, history)))
                    }
                    Err(error) => Err(error),
                }
            }
            Operation::Stream { message, history } => {
                match self.begin_stream(dialect, &id, message, size, traceparent, history) {
                    Ok(stream) => return Reply::Stream(stream),
                    Err(error) => Err(error),
                }
            }
            Operation::Get { id, history } => {
                self.find(&id).map(|entry| task(dialect, &entry.snapshot().0, history))
            }
            Operation::Cancel { id } => self.cancel(dialect, &id),
            Operation::Subscribe { id: task_id } => match self.subscribe(dialect, &id, &task_id) {
                Ok(stream) => return Reply::Stream(stream),
                Err(error) => Err(error),
            },
        };
        Reply::Json(match outcome {
            Ok(result) => result_body(&id, &result),
            Err(error) => error.body(dialect, Some(&id)),
        })
    }

    fn find(&self, id: &str) -> Result<Arc<Entry>, RpcError> {
        let missing = || RpcError::new(Kind::TaskNotFound, format!("there is no task `{id}`"));
        self.tasks.get(id).ok_or_else(missing)
    }

    fn cancel(&self, dialect: Dialect, id: &str) -> Result<serde_json::Value, RpcError> {
        let canceled = self.find(id)?.cancel();
        let over = || RpcError::new(Kind::TaskNotCancelable, format!("the task `{id}` is over"));
        canceled.map(|canceled| task(dialect, &canceled, None)).ok_or_else(over)
    }

    /// Opens a task for a message and sets to work on it, whether or not its client stays.
    fn begin(
        &self,
        dialect: Dialect,
        message: Message,
        size: usize,
        traceparent: Option<&str>,
    ) -> Result<Arc<Entry>, RpcError> {
        let (entry, question) = self.open(dialect, message, size)?;
        self.set_to_work(&entry, question, traceparent);
        Ok(entry)
    }

    fn begin_stream(
        &self,
        dialect: Dialect,
        id: &RawValue,
        message: Message,
        size: usize,
        traceparent: Option<&str>,
        history: Option<usize>,
    ) -> Result<EventStream, RpcError> {
        let (entry, question) = self.open(dialect, message, size)?;
        // The stream begins before the work does, so that it starts with the task as submitted.
        let stream = stream_of(dialect, id, &entry, history);
        self.set_to_work(&entry, question, traceparent);
        Ok(stream)
    }

    fn subscribe(&self, dialect: Dialect, id: &RawValue, task_id: &str) -> Result<EventStream, RpcError> {
        let entry = self.find(task_id)?;
        if entry.is_terminal() {
            let text = format!("the task `{task_id}` is over; there is nothing to wait for");
            return Err(RpcError::new(Kind::UnsupportedOperation, text));
        }
        Ok(stream_of(dialect, id, &entry, None))
    }

    fn open(
        &self,
        dialect: Dialect,
        message: Message,
        size: usize,
    ) -> Result<(Arc<Entry>, Question), RpcError> {
        if let Some(task_id) = &message.task_id {
            return Err(self.refuse_follow_up(dialect, task_id, message.context_id.as_deref()));
        }
        let question = Question::of(&message).ok_or_else(|| {
            RpcError::new(
                Kind::ContentTypeNotSupported,
                "the advisor reads text; the message has no text part",
            )
        })?;
        let busy =
            || RpcError::new(Kind::Internal, "the advisor has too many tasks at once; try again later");
        let entry = self.tasks.open(message, size).ok_or_else(busy)?;
        Ok((entry, question))
    }

    /// The advisor never asks back, so a message to one of its tasks has nothing to add to.
    fn refuse_follow_up(&self, dialect: Dialect, task_id: &str, context_id: Option<&str>) -> RpcError {
        let entry = match self.find(task_id) {
            Ok(entry) => entry,
            Err(error) => return error,
        };
        let (task, _) = entry.snapshot();
        if context_id.is_some_and(|given| given != task.context_id) {
            let text = format!("the task `{task_id}` does not belong to that context");
            return RpcError::new(Kind::InvalidParams, text);
        }
        let (kind, what) = match (dialect, task.status.state.is_terminal()) {
            (Dialect::V03, true) => (Kind::InvalidParams, "is over"),
            (_, true) => (Kind::UnsupportedOperation, "is over"),
            (_, false) => (Kind::UnsupportedOperation, "takes no further messages"),
        };
        RpcError::new(
            kind,
            format!("the task `{task_id}` {what}; ask in a new one, in the same context if you like"),
        )
    }

    fn set_to_work(&self, entry: &Arc<Entry>, question: Question, traceparent: Option<&str>) {
        let trace = Trace::continue_from(traceparent);
        let worker = tokio::spawn(work::work(self.gateway.clone(), entry.clone(), question, trace));
        entry.set_worker(worker.abort_handle());
    }
}

fn stream_of(dialect: Dialect, id: &RawValue, entry: &Arc<Entry>, history: Option<usize>) -> EventStream {
    let (now, next) = entry.snapshot();
    EventStream {
        id: id.to_owned(),
        dialect,
        entry: entry.clone(),
        first: send_result(dialect, task(dialect, &now, history)),
        task_id: now.id,
        context_id: now.context_id,
        next,
    }
}
