//! Reading, running calls side by side, cancelling, writing.
//!
//! One task reads and decides, each tool call is a task of its own, one task writes. The number
//! of calls at once is bounded: while it is reached nothing is read, so the pipe pushes back.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::lines::{Fate, Line, LineReader, MAX_LINE_BYTES, MAX_UNWRITTEN, Outbox, write_lines};
use super::message::{self, INTERNAL_ERROR, INVALID_REQUEST, Incoming, RequestId, RpcError};
use super::server::{Call, Server, Step};
use super::tool::{Progress, Tools};
use crate::demo::DemoError;

/// Calls that run at once. Each is short; more would only wait for the same file or core.
const MAX_RUNNING: usize = 64;
/// How long calls may go on after the input has ended; longer than the slowest tool takes.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Serves the tools on this process's stdin and stdout until the input ends.
pub(crate) async fn serve_stdio(tools: impl Tools) -> Result<(), DemoError> {
    serve(tools, tokio::io::stdin(), tokio::io::stdout()).await.map_err(DemoError::Stdio)
}

/// Serves the tools until the input ends, then lets running calls finish.
pub(crate) async fn serve<T, R, W>(tools: T, input: R, output: W) -> io::Result<()>
where
    T: Tools,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (lines, unwritten) = mpsc::channel(MAX_UNWRITTEN);
    let mut writer = tokio::spawn(write_lines(unwritten, output));
    let mut desk = Desk {
        server: Arc::new(Server::new(tools)),
        session: false,
        lines,
        calls: JoinSet::new(),
        running: HashMap::new(),
    };
    tracing::info!(server = desk.server.name(), "tool server reads its input");
    let mut input = LineReader::new(input);
    loop {
        tokio::select! {
            Some(done) = desk.calls.join_next_with_id() => desk.reap(done).await,
            line = input.next(), if desk.calls.len() < MAX_RUNNING => match line? {
                Line::Text(line) => desk.take(&line).await,
                Line::TooLong => desk.refuse_long_line().await,
                Line::End => break,
            },
            outcome = &mut writer => return outcome.map_err(io::Error::other)?,
        }
    }
    tracing::info!(server = desk.server.name(), "input ended, tool server stops");
    let drain = async {
        while let Some(done) = desk.calls.join_next_with_id().await {
            desk.reap(done).await;
        }
    };
    if tokio::time::timeout(DRAIN_LIMIT, drain).await.is_err() {
        tracing::warn!(calls = desk.calls.len(), "calls did not end in time and are dropped");
    }
    drop(desk);
    writer.await.map_err(io::Error::other)?
}

struct Running {
    id: RequestId,
    fate: Fate,
    abort: AbortHandle,
}

/// The state of the task that reads and decides.
struct Desk<T> {
    server: Arc<Server<T>>,
    session: bool,
    lines: mpsc::Sender<(Fate, String)>,
    calls: JoinSet<()>,
    running: HashMap<tokio::task::Id, Running>,
}

impl<T: Tools> Desk<T> {
    async fn take(&mut self, line: &[u8]) {
        match message::parse(line) {
            Ok(Incoming::Request { id, method, params }) => self.request(id, &method, params).await,
            Ok(Incoming::Notification { method, params }) => {
                if method == "notifications/cancelled" {
                    self.cancel(&params);
                }
            }
            Ok(Incoming::Response) => {}
            Err(bad) => {
                tracing::warn!(reason = bad.error.message, "refused a line of input");
                self.answer(bad.id.as_ref(), Err(bad.error)).await;
            }
        }
    }

    async fn request(&mut self, id: RequestId, method: &str, params: Map<String, Value>) {
        if self.running.values().any(|r| r.id.is(id.value()) && r.fate.is(Fate::RUNNING)) {
            let text = "a request with this `id` is still running";
            return self.answer(Some(&id), Err(RpcError::new(INVALID_REQUEST, text))).await;
        }
        match self.server.step(method, params, &mut self.session) {
            Step::Answer(outcome) => self.answer(Some(&id), outcome).await,
            Step::Call(call) => self.start(id, call),
        }
    }

    fn start(&mut self, id: RequestId, call: Call) {
        let fate = Fate::default();
        let outbox = Outbox::new(self.lines.clone(), fate.clone());
        let abort = self.calls.spawn(run(self.server.clone(), id.clone(), call, outbox));
        self.running.insert(abort.id(), Running { id, fate, abort });
    }

    /// Stops the request that a cancellation names. An unknown or late one is ignored.
    fn cancel(&self, params: &Map<String, Value>) {
        let Some(named) = params.get("requestId") else {
            return;
        };
        for running in self.running.values().filter(|r| r.id.is(named)) {
            if running.fate.settle(Fate::CANCELLED) {
                running.abort.abort();
                tracing::info!(id = %named, "the client cancelled a call");
            }
        }
    }

    /// Forgets a call that is over. One that broke off without an answer gets one here.
    async fn reap(&mut self, done: Result<(tokio::task::Id, ()), JoinError>) {
        let task = match &done {
            Ok((task, ())) => *task,
            Err(error) => error.id(),
        };
        let Some(call) = self.running.remove(&task) else {
            return;
        };
        if call.fate.settle(Fate::ANSWERED) {
            tracing::error!(id = %call.id.value(), "a tool broke off without an answer");
            let error = RpcError::new(INTERNAL_ERROR, "the tool broke off");
            self.answer(Some(&call.id), Err(error)).await;
        }
    }

    async fn refuse_long_line(&self) {
        tracing::warn!(limit_bytes = MAX_LINE_BYTES, "refused a line that is too long");
        let text = format!("the line is longer than {MAX_LINE_BYTES} bytes");
        self.answer(None, Err(RpcError::new(INVALID_REQUEST, text))).await;
    }

    async fn answer(&self, id: Option<&RequestId>, outcome: Result<Value, RpcError>) {
        let line = message::answer(id, outcome);
        let _ = self.lines.send((Fate::default(), line)).await;
    }
}

async fn run<T: Tools>(server: Arc<Server<T>>, id: RequestId, call: Call, outbox: Outbox) {
    let progress = Progress::new(call.progress_token, outbox.clone());
    let outcome = server.tools.call(call.tool, call.arguments, progress).await;
    let result = match outcome {
        Ok(answer) => answer.into_result(),
        Err(failure) => {
            tracing::info!(tool = call.tool, reason = %failure, "a call failed");
            failure.into_result()
        }
    };
    if outbox.settle(Fate::ANSWERED) {
        let result = server.finish(call.era, result);
        outbox.send(message::answer(Some(&id), Ok(result))).await;
    }
}
