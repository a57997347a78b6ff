//! One connection: frames in, answers out, in order.
//!
//! Requests are begun as they arrive and answered in their order. Produce requests are queued at once, so several wait
//! for one sync together; all else that waits (a fetch for records, a join for a rebalance) begins when it is first in
//! line, as in Kafka, where a connection has one request in work.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind};
use kafka_protocol::protocol::Decodable;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::api::{self, Asker, Later, Reply};
use crate::node::{Node, Peer};
use crate::wire::answer::Answer;
use crate::wire::apis::{self, Api};
use crate::wire::outlet::{Broken, Outlet, Ticket};
use crate::wire::shape::{self, Malformed};
use crate::wire::shapes;

/// Bytes of a request other than produce.
const SMALL_REQUEST_BYTES: usize = 2 << 20;
/// Room made for reading; most requests are far smaller.
const READ_BYTES: usize = 16 << 10;
/// A client that takes none of its answer for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// API key, version, correlation id: the least that a request has.
const HEAD_BYTES: usize = 8;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("the client closed it")]
    ByClient,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a frame of {0} bytes is too small or too large")]
    FrameSize(i32),
    #[error("API {key} version {version} is not spoken here")]
    NotSpoken { key: i16, version: i16 },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a request cannot be decoded: {0}")]
    Undecodable(String),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("no request for a long time")]
    Idle,
    #[error("an answer was not taken in time")]
    Stuck,
}

/// An accepted connection.
pub(crate) struct Connection {
    node: Arc<Node>,
    peer: Peer,
    socket: OwnedReadHalf,
    inbox: BytesMut,
    outlet: Arc<Outlet>,
    /// Requests that begin when they are first in line, in order.
    later: VecDeque<(Ticket, Later)>,
    /// When a request came last.
    asked: Instant,
}

impl Connection {
    pub(crate) fn new(node: Arc<Node>, stream: TcpStream, peer: Peer) -> Connection {
        let (socket, out) = stream.into_split();
        let (inbox, later) = (BytesMut::new(), VecDeque::new());
        Connection {
            node,
            peer,
            socket,
            inbox,
            outlet: Arc::new(Outlet::new(out)),
            later,
            asked: Instant::now(),
        }
    }

    /// Serves until the client goes, something is wrong, or `stop` changes and what was queued is answered.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Closed> {
        let patience = self.node.limits.idle;
        let silence = tokio::time::sleep_until(self.asked + patience);
        tokio::pin!(silence);
        loop {
            let duty = self.outlet.send();
            if let Some(broken) = duty.broken.then(|| self.outlet.broken()).flatten() {
                return Err(broken.into());
            }
            if self.inbox.capacity() - self.inbox.len() < READ_BYTES / 4 {
                self.inbox.reserve(READ_BYTES);
            }
            let Connection { socket, inbox, outlet, later, .. } = &mut self;
            tokio::select! {
                biased;
                unstuck = tokio::time::timeout(WRITE_PATIENCE, outlet.unstick()), if duty.unstick => {
                    unstuck.map_err(|_| Closed::Stuck)??;
                }
                answer = poll_fn(|context| poll_first(later, context)), if duty.begin => {
                    if let Some((ticket, _)) = self.later.pop_front() {
                        self.outlet.answer(ticket, answer);
                    }
                }
                read = socket.read_buf(inbox), if duty.read => {
                    if read? == 0 {
                        return Err(Closed::ByClient);
                    }
                    self.begin_all().await?;
                }
                () = outlet.wanted() => {}
                () = &mut silence => {
                    let until = self.asked + patience;
                    if duty.idle && until <= Instant::now() {
                        return Err(Closed::Idle);
                    }
                    silence.as_mut().reset(until.max(Instant::now() + patience / 4));
                }
                _ = stop.changed() => return self.finish().await,
            }
        }
    }

    /// Begins every request that is there in full.
    async fn begin_all(&mut self) -> Result<(), Closed> {
        while let Some(mut head) = self.inbox.get(..4) {
            let length = head.get_i32();
            let bytes = usize::try_from(length).map_err(|_| Closed::FrameSize(length))?;
            let most = match self.inbox.get(4..6) {
                Some(key) if key != (ApiKey::Produce as i16).to_be_bytes() => {
                    SMALL_REQUEST_BYTES.min(self.node.limits.request_bytes)
                }
                _ => self.node.limits.request_bytes,
            };
            if !(HEAD_BYTES..=most).contains(&bytes) {
                return Err(Closed::FrameSize(length));
            }
            if self.inbox.len() < 4 + bytes {
                self.inbox.reserve(4 + bytes - self.inbox.len());
                break;
            }
            self.inbox.advance(4);
            let frame = self.inbox.split_to(bytes).freeze();
            self.asked = Instant::now();
            self.begin(frame).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, mut frame: Bytes) -> Result<(), Closed> {
        let mut head = &frame[..HEAD_BYTES];
        let (key, version, correlation) = (head.get_i16(), head.get_i16(), head.get_i32());
        let api = match apis::find(key) {
            Some(api) if (api.min..=api.max).contains(&version) => api,
            Some(Api { key: ApiKey::ApiVersions, .. }) => {
                let ticket = self.outlet.enter(ApiKey::ApiVersions, 0, correlation);
                self.outlet.answer(ticket, api::unsupported().into());
                return Ok(());
            }
            _ => return Err(Closed::NotSpoken { key, version }),
        };
        let permit = if api.key == ApiKey::Produce { permit(&self.node, frame.len()).await } else { None };
        let (client, request) = decode(api, version, &mut frame)?;
        let asker = Asker { peer: self.peer, client, version };
        let ticket = self.outlet.enter(api.key, version, correlation);
        match api::handle(&self.node, &asker, request, permit, (&self.outlet, ticket)) {
            Reply::Now(answer) => self.outlet.answer(ticket, answer),
            Reply::Queued => {}
            Reply::Later(answer) => {
                self.outlet.make_lazy(ticket);
                self.later.push_back((ticket, answer));
            }
        }
        Ok(())
    }

    /// The broker stops: appends that were begun are answered, waits are given up.
    async fn finish(&mut self) -> Result<(), Closed> {
        self.outlet.tell_all();
        loop {
            let duty = self.outlet.send();
            if duty.idle || duty.begin || duty.unstick || duty.broken {
                return Ok(());
            }
            self.outlet.wanted().await;
        }
    }
}

/// A share of the bytes that may wait for the disk, once there is one. Requests behind this one wait with it.
async fn permit(node: &Node, bytes: usize) -> Option<OwnedSemaphorePermit> {
    Arc::clone(&node.pending).acquire_many_owned(node.permits(bytes)).await.ok()
}

/// The answer of the first request that waits for its turn; its turn has come.
fn poll_first(later: &mut VecDeque<(Ticket, Later)>, context: &mut Context<'_>) -> Poll<Answer> {
    later.front_mut().map_or(Poll::Pending, |(_, answer)| answer.as_mut().poll(context))
}

/// Decodes a request whose API and version are known, after a check of its shape.
fn decode(
    api: &Api,
    version: i16,
    frame: &mut Bytes,
) -> Result<(kafka_protocol::protocol::StrBytes, RequestKind), Closed> {
    let header_version = api.key.request_header_version(version);
    shape::check_header(frame, header_version >= 2)?;
    let header = RequestHeader::decode(frame, header_version)
        .map_err(|error| Closed::Undecodable(format!("{error:#}")))?;
    shape::check(frame, shapes::of(api.key), version, api.is_flexible(version))?;
    let request = RequestKind::decode(api.key, frame, version)
        .map_err(|error| Closed::Undecodable(format!("{error:#}")))?;
    Ok((header.client_id.unwrap_or_default(), request))
}
