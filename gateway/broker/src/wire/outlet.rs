//! The way back of one connection: answers leave in the order of their requests, sent by whoever completes the first.
//!
//! The committing thread sends the answers of a round itself, since waking the connections' thread to do it would cost
//! each producer another turn of the scheduler. The connection's own task sends all others. No lock is held while the
//! socket is written: the one who writes says so, and takes along what becomes ready meanwhile.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard};

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use super::answer::{self, Answer, EncodeError};
use crate::storage::queue::Line;
use crate::sync::lock;

/// Requests begun but not answered; reading pauses above. Clients keep five or so in flight.
const PIPELINE: usize = 64;
/// Answers gathered before they are sent.
const GATHER_BYTES: usize = 256 << 10;

/// Names a request of a connection; they count up.
pub(crate) type Ticket = u64;

/// Answers of one connection.
#[derive(Debug)]
pub(crate) struct Outlet {
    socket: OwnedWriteHalf,
    state: Mutex<State>,
    /// The connection's task has something to do.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of the requests.
    places: VecDeque<Place>,
    /// Ticket of the first place.
    first: Ticket,
    /// Encoded, not sent.
    out: BytesMut,
    /// Somebody writes to the socket.
    sending: bool,
    /// The socket takes no more; the task waits for it.
    stuck: bool,
    /// The task has paused reading for want of room.
    paused: bool,
    /// The task hears of everything that is sent by others.
    tell_all: bool,
    broken: Option<Broken>,
}

/// A request in work.
#[derive(Debug)]
struct Place {
    key: ApiKey,
    version: i16,
    correlation: i32,
    answer: Option<Answer>,
    /// Nothing is done for it before it is first in line, and then the task does it.
    lazy: bool,
}

/// Why no more answers can leave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What the connection's task has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Duty {
    /// A lazy request is first in line.
    pub(crate) begin: bool,
    /// Wait until the socket takes more.
    pub(crate) unstick: bool,
    /// More requests may be read.
    pub(crate) read: bool,
    /// Every request is answered and sent.
    pub(crate) idle: bool,
    /// The connection is of no more use.
    pub(crate) broken: bool,
}

impl Outlet {
    pub(crate) fn new(socket: OwnedWriteHalf) -> Outlet {
        Outlet { socket, state: Mutex::default(), wanted: Notify::new() }
    }

    /// A place in line for a request.
    pub(crate) fn enter(&self, key: ApiKey, version: i16, correlation: i32) -> Ticket {
        let mut state = lock(&self.state);
        state.places.push_back(Place { key, version, correlation, answer: None, lazy: false });
        state.first + state.places.len() as Ticket - 1
    }

    /// The task answers this request when it is first in line.
    pub(crate) fn make_lazy(&self, ticket: Ticket) {
        if let Some(place) = lock(&self.state).place(ticket) {
            place.lazy = true;
        }
    }

    /// Hands in an answer; it leaves with the next [`Outlet::send`] that finds it first in line.
    pub(crate) fn answer(&self, ticket: Ticket, answer: Answer) {
        if let Some(place) = lock(&self.state).place(ticket) {
            place.answer = Some(answer);
        }
    }

    /// Sends what is ready, as far as the socket takes it, and says what the connection's task, which calls this, has to do.
    pub(crate) fn send(&self) -> Duty {
        let mut state = self.flush();
        state.paused = state.places.len() >= PIPELINE;
        state.duty()
    }

    /// From now on the task hears of everything that is sent by others.
    pub(crate) fn tell_all(&self) {
        lock(&self.state).tell_all = true;
    }

    fn flush(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        while !state.sending && !state.stuck && state.broken.is_none() {
            state.encode_ready();
            if state.out.is_empty() {
                break;
            }
            let mut out = std::mem::take(&mut state.out);
            state.sending = true;
            drop(state);
            let written = self.write(&mut out);
            state = lock(&self.state);
            state.sending = false;
            state.stuck = !out.is_empty();
            // A large answer does not leave its memory behind.
            if state.stuck || out.capacity() <= GATHER_BYTES {
                state.out = out;
            }
            if let Err(error) = written {
                state.broken.get_or_insert(error.into());
            }
        }
        state
    }

    /// Writes as much as the socket takes and leaves the rest.
    fn write(&self, out: &mut BytesMut) -> io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.socket.try_write(&out[done..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    out.advance(done);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        out.clear();
        Ok(())
    }

    /// Waits until the socket takes more.
    pub(crate) async fn unstick(&self) -> io::Result<()> {
        self.socket.writable().await?;
        lock(&self.state).stuck = false;
        Ok(())
    }

    /// Waits until another thread leaves something for the task to do.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Why nothing leaves any more.
    pub(crate) fn broken(&self) -> Option<Broken> {
        lock(&self.state).broken.take()
    }
}

impl Line for Outlet {
    fn send(&self) {
        let mut state = self.flush();
        let resumes = state.paused && state.places.len() < PIPELINE;
        state.paused &= !resumes;
        let Duty { begin, unstick, broken, .. } = state.duty();
        let wanted = begin || unstick || broken || resumes || state.tell_all;
        drop(state);
        if wanted {
            self.wanted.notify_one();
        }
    }
}

impl State {
    fn place(&mut self, ticket: Ticket) -> Option<&mut Place> {
        self.places.get_mut(usize::try_from(ticket.checked_sub(self.first)?).ok()?)
    }

    /// Encodes the answers that are ready, in order.
    fn encode_ready(&mut self) {
        while self.out.len() < GATHER_BYTES
            && let Some(Place { key, version, correlation, answer: Some(answer), .. }) = self.places.front()
        {
            if let Err(error) = answer::encode(answer, *key, *version, *correlation, &mut self.out) {
                tracing::error!(api = ?key, version, %error, "an answer cannot be encoded; the connection is closed");
                self.broken = Some(error.into());
                return self.out.clear();
            }
            self.places.pop_front();
            self.first += 1;
        }
    }

    fn duty(&self) -> Duty {
        let begin = self.places.front().is_some_and(|place| place.lazy && place.answer.is_none());
        let read = self.places.len() < PIPELINE && !self.stuck;
        let idle = self.places.is_empty() && self.out.is_empty() && !self.sending;
        Duty { begin, unstick: self.stuck, read, idle, broken: self.broken.is_some() }
    }
}

#[cfg(test)]
#[path = "outlet_tests.rs"]
mod tests;
