//! One running stdio server, shared by all callers: a writer task, a reader task, and the table of calls in flight.
//!
//! Nothing that the server does reaches further than the calls that it concerns: lines that make no sense are counted and
//! dropped, answers to nobody too; when the server goes, its calls end, told apart by whether they had been written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::lines::{Line, Lines, id_in_prefix};
use super::remap::{self, Ticket};
use crate::message::Name;
use crate::protocol::splice::{Kind, Message};
use crate::upstream::error::Limit;
use crate::upstream::{CallError, Event};

/// Calls in flight to one server; more are refused, so that a server that answers nothing fills no memory.
const IN_FLIGHT_MAX: usize = 1024;
/// Requests waiting to be written. A server that does not read makes callers wait here, up to their deadlines.
const QUEUE: usize = 64;
/// Cancellations and answers to the server's requests waiting to be written; more are dropped.
const CONTROL_QUEUE: usize = 1024;
/// Progress notifications that a slow caller may lag behind; more are dropped, the answer never is.
const EVENTS: usize = 64;
/// A server that does not take a line for so long hangs.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Garbage is logged at the 1st, 2nd, 4th, 8th … line.
const LOGGED_PREFIX: usize = 200;

type Item = Result<Event, CallError>;

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    server: Name,
    queue: mpsc::Sender<Outgoing>,
    control: mpsc::Sender<Bytes>,
    calls: Mutex<Calls>,
    numbers: AtomicU64,
    /// The server's tools changed.
    pub(super) relist: Notify,
    closed: watch::Sender<bool>,
    limits: LinkLimits,
    garbage: IntCounter,
    discarded: IntCounter,
}

/// What bounds a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkLimits {
    pub(super) line_bytes: usize,
    pub(super) event_bytes: usize,
    pub(super) events: usize,
}

#[derive(Debug)]
struct Outgoing {
    number: u64,
    line: Bytes,
}

#[derive(Debug, Default)]
struct Calls {
    by_number: HashMap<u64, InFlight>,
    closed: Option<String>,
}

#[derive(Debug)]
struct InFlight {
    ticket: Arc<Ticket>,
    /// The writer has taken it: the server may have seen it.
    written: bool,
    /// The place for the answer, kept free from the start.
    last: OwnedPermit<Item>,
    events: Option<mpsc::Sender<Item>>,
    seen: usize,
}

impl Link {
    /// Starts the two tasks. They end, and every call with them, when the server closes its output, takes no input, or
    /// [`Link::close`] is called.
    pub(super) fn start(
        server: Name,
        stdin: impl AsyncWrite + Send + Unpin + 'static,
        stdout: impl AsyncRead + Send + Unpin + 'static,
        limits: LinkLimits,
        garbage: IntCounter,
        discarded: IntCounter,
    ) -> Arc<Self> {
        let (queue, queued) = mpsc::channel(QUEUE);
        let (control, controls) = mpsc::channel(CONTROL_QUEUE);
        let link = Arc::new(Self {
            server,
            queue,
            control,
            calls: Mutex::default(),
            numbers: AtomicU64::new(1),
            relist: Notify::new(),
            closed: watch::channel(false).0,
            limits,
            garbage,
            discarded,
        });
        tokio::spawn(link.clone().write(stdin, queued, controls));
        tokio::spawn(link.clone().read(stdout));
        link
    }

    /// Resolves when the link is closed.
    pub(super) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        let _ = closed.wait_for(|closed| *closed).await;
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends every call: `Broken` for what was written, `Unreachable` for what was not.
    pub(super) fn close(&self, why: &str) {
        let calls = {
            let mut calls = self.calls();
            calls.closed.get_or_insert_with(|| why.to_owned());
            std::mem::take(&mut calls.by_number)
        };
        self.closed.send_replace(true);
        for call in calls.into_values() {
            let error = if call.written {
                CallError::broken(&self.server, why.to_owned())
            } else {
                CallError::unreachable(&self.server, why.to_owned())
            };
            call.last.send(Err(error));
        }
    }

    /// A number that no other message on this link has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues the line of a call. Waiting for room counts as not sent.
    pub(super) async fn send(
        self: &Arc<Self>,
        ticket: Ticket,
        line: Bytes,
        until: Instant,
    ) -> Result<Pending, CallError> {
        let number = ticket.number;
        let pending = self.register(ticket)?;
        match timeout_at(until, self.queue.send(Outgoing { number, line })).await {
            Ok(Ok(())) => Ok(pending),
            Ok(Err(_)) => Err(CallError::unreachable(&self.server, "its process is gone")),
            Err(_) => Err(CallError::unreachable(&self.server, "it takes no more requests")),
        }
    }

    /// Sends a notification of the gateway's own; dropped when the server does not read.
    pub(super) fn notify(&self, text: &str) {
        let _ = self.control.try_send(format!("{text}\n").into());
    }

    fn register(self: &Arc<Self>, ticket: Ticket) -> Result<Pending, CallError> {
        let wants_events = ticket.client_token.is_some();
        let number = ticket.number;
        let (sender, receiver) = mpsc::channel(if wants_events { EVENTS + 1 } else { 1 });
        let mut calls = self.calls();
        if let Some(why) = &calls.closed {
            return Err(CallError::unreachable(&self.server, why.clone()));
        }
        if calls.by_number.len() >= IN_FLIGHT_MAX {
            return Err(CallError::unreachable(&self.server, "too many calls to it are in flight"));
        }
        let Ok(last) = sender.clone().try_reserve_owned() else {
            return Err(CallError::unreachable(&self.server, "no room for its answer"));
        };
        let events = wants_events.then_some(sender);
        calls
            .by_number
            .insert(number, InFlight { ticket: Arc::new(ticket), written: false, last, events, seen: 0 });
        Ok(Pending { link: self.clone(), number, receiver, over: false })
    }

    async fn write(
        self: Arc<Self>,
        mut stdin: impl AsyncWrite + Unpin,
        mut queued: mpsc::Receiver<Outgoing>,
        mut controls: mpsc::Receiver<Bytes>,
    ) {
        let mut closed = self.closed.subscribe();
        loop {
            let line = tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => return,
                // Cancellations overtake requests.
                Some(line) = controls.recv() => line,
                Some(outgoing) = queued.recv() => {
                    if !self.mark_written(outgoing.number) {
                        continue; // its caller has gone
                    }
                    outgoing.line
                }
            };
            let written = tokio::select! {
                _ = closed.wait_for(|closed| *closed) => return,
                written = timeout(WRITE_LIMIT, async {
                    stdin.write_all(&line).await?;
                    stdin.flush().await
                }) => written,
            };
            match written {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return self.close("its process closed its input"),
                Err(_) => return self.close("its process does not read its input"),
            }
        }
    }

    fn mark_written(&self, number: u64) -> bool {
        self.calls().by_number.get_mut(&number).map(|call| call.written = true).is_some()
    }

    async fn read(self: Arc<Self>, stdout: impl AsyncRead + Unpin) {
        let mut lines = Lines::new(stdout, self.limits.line_bytes);
        let mut closed = self.closed.subscribe();
        loop {
            let line = tokio::select! {
                _ = closed.wait_for(|closed| *closed) => return,
                line = lines.next() => line,
            };
            match line {
                Ok(Some(Line::Whole(line))) => self.take(&line),
                Ok(Some(Line::TooLong(prefix))) => {
                    self.garbage(&prefix, "a line over the limit");
                    if let Some(call) = id_in_prefix(&prefix).and_then(|number| self.remove(number)) {
                        let why = format!("it is larger than {} bytes", self.limits.line_bytes);
                        call.last.send(Err(CallError::invalid(&self.server, why)));
                    }
                }
                Ok(None) | Err(_) => return self.close("its process ended"),
            }
        }
    }

    fn take(&self, line: &Bytes) {
        let message = match Message::read(line) {
            Ok(message) => message,
            Err(error) => return self.garbage(line, &error.to_string()),
        };
        match message.kind() {
            Kind::Result | Kind::Error => {
                let number = message.id().and_then(|id| id.parse().ok());
                // Late answers, and errors without an id, are nobody's.
                if let Some(call) = number.and_then(|number| self.remove(number)) {
                    let body = message.with_id(call.ticket.client_id.as_bytes());
                    call.last.send(Ok(Event { body, last: true }));
                }
            }
            Kind::Notification => self.notification(&message, line),
            Kind::Request => {
                if let Some(answer) = remap::to_server_request(&message) {
                    self.notify(&answer);
                }
            }
        }
    }

    fn notification(&self, message: &Message<'_>, line: &Bytes) {
        match message.method() {
            Some("notifications/tools/list_changed") => self.relist.notify_one(),
            Some("notifications/progress") => self.progress(message, line),
            // Who else it may be for is unknown on a connection that many share.
            _ => self.discarded.inc(),
        }
    }

    fn progress(&self, message: &Message<'_>, line: &Bytes) {
        let found = remap::progress_number(message).and_then(|number| {
            let mut calls = self.calls();
            let call = calls.by_number.get_mut(&number)?;
            call.seen += 1;
            Some((number, call.seen, call.ticket.clone(), call.events.clone()?))
        });
        let Some((number, seen, ticket, events)) = found else { return self.discarded.inc() };
        if seen > self.limits.events {
            if let Some(call) = self.remove(number) {
                let why = format!("more than {} notifications for one call", self.limits.events);
                call.last.send(Err(CallError::invalid(&self.server, why)));
                self.notify(&remap::cancelled(number));
            }
            return;
        }
        let event = ticket.progress(message, line).filter(|body| body.len() <= self.limits.event_bytes);
        // Never wait here: a caller that does not read must not hold up the others.
        if event.is_none_or(|body| events.try_send(Ok(Event { body, last: false })).is_err()) {
            self.discarded.inc();
        }
    }

    fn garbage(&self, line: &[u8], why: &str) {
        self.garbage.inc();
        let count = self.garbage.get();
        if count.is_power_of_two() {
            let start = String::from_utf8_lossy(&line[..line.len().min(LOGGED_PREFIX)]);
            let start = crate::upstream::child_log::escape(&start);
            tracing::warn!(server = %self.server, count, why, start, "MCP server prints lines that are no messages");
        }
    }

    fn remove(&self, number: u64) -> Option<InFlight> {
        self.calls().by_number.remove(&number)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call in flight. Dropping it before its answer tells the server that nobody waits any more.
#[derive(Debug)]
pub(super) struct Pending {
    link: Arc<Link>,
    number: u64,
    receiver: mpsc::Receiver<Item>,
    over: bool,
}

impl Pending {
    /// The next message for the caller: progress, or the answer, after which there is none.
    pub(super) async fn next(&mut self, until: Instant, limit: Limit) -> Result<Event, CallError> {
        match timeout_at(until, self.receiver.recv()).await {
            Ok(Some(item)) => {
                self.over = item.as_ref().map_or(true, |event| event.last);
                item
            }
            Ok(None) => Err(CallError::broken(&self.link.server, "its process is gone")),
            Err(_) if self.link.calls().by_number.get(&self.number).is_some_and(|call| !call.written) => {
                Err(CallError::unreachable(&self.link.server, "it takes no more requests"))
            }
            Err(_) => Err(CallError::timeout(&self.link.server, limit)),
        }
    }

    /// Keeps the request open without anyone waiting for its answer.
    pub(super) fn forget(mut self) {
        self.over = true;
    }

    /// Gives up without telling the server: `initialize` must not be cancelled.
    pub(super) fn abandon(mut self) {
        self.over = true;
        self.link.remove(self.number);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.over
            && let Some(call) = self.link.remove(self.number)
            && call.written
        {
            self.link.notify(&remap::cancelled(self.number));
        }
    }
}
