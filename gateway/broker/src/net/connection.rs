//! One connection: frames in, answers out, in order.
//!
//! Requests are begun as they arrive and answered in their order. Produce requests are queued at once, so several wait
//! for one sync together; all else that waits (a fetch for records, a join for a rebalance) begins when it is first in
//! line, as in Kafka, where a connection has one request in work.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind};
use kafka_protocol::protocol::Decodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::api::{self, Asker, Reply};
use crate::node::{Node, Peer};
use crate::wire::answer::{self, Answer, EncodeError};
use crate::wire::apis::{self, Api};
use crate::wire::shape::{self, Malformed};
use crate::wire::shapes;

/// Requests begun but not answered; reading pauses above. Clients keep five or so in flight.
const PIPELINE: usize = 64;
/// Bytes of a request other than produce.
const SMALL_REQUEST_BYTES: usize = 2 << 20;
/// Room made for reading; most requests are far smaller.
const READ_BYTES: usize = 16 << 10;
/// Answers gathered before they are sent.
const GATHER_BYTES: usize = 256 << 10;
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
    Encode(#[from] EncodeError),
    #[error("no request for a long time")]
    Idle,
    #[error("an answer was not taken in time")]
    Stuck,
}

/// A request in work.
struct Waiting {
    key: ApiKey,
    version: i16,
    correlation: i32,
    reply: Reply,
}

/// An accepted connection.
pub(crate) struct Connection {
    node: Arc<Node>,
    stream: TcpStream,
    peer: Peer,
    inbox: BytesMut,
    outbox: BytesMut,
    waiting: VecDeque<Waiting>,
}

impl Connection {
    pub(crate) fn new(node: Arc<Node>, stream: TcpStream, peer: Peer) -> Connection {
        Connection {
            node,
            stream,
            peer,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Serves until the client goes, something is wrong, or `stop` changes and what was queued is answered.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Closed> {
        loop {
            if self.inbox.capacity() - self.inbox.len() < READ_BYTES / 4 {
                self.inbox.reserve(READ_BYTES);
            }
            let Connection { stream, inbox, outbox, waiting, node, .. } = &mut self;
            let idle = waiting.is_empty();
            tokio::select! {
                biased;
                encoded = poll_fn(|context| encode_ready(waiting, outbox, context)), if !idle => {
                    encoded?;
                    self.send().await?;
                }
                read = stream.read_buf(inbox), if waiting.len() < PIPELINE => {
                    if read? == 0 {
                        return Err(Closed::ByClient);
                    }
                    self.begin_all().await?;
                }
                () = tokio::time::sleep(node.limits.idle), if idle => return Err(Closed::Idle),
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
            let waiting = self.begin(frame).await?;
            self.waiting.push_back(waiting);
        }
        Ok(())
    }

    async fn begin(&mut self, mut frame: Bytes) -> Result<Waiting, Closed> {
        let mut head = &frame[..HEAD_BYTES];
        let (key, version, correlation) = (head.get_i16(), head.get_i16(), head.get_i32());
        let api = match apis::find(key) {
            Some(api) if (api.min..=api.max).contains(&version) => api,
            Some(Api { key: ApiKey::ApiVersions, .. }) => {
                let reply = Reply::Now(api::unsupported().into());
                return Ok(Waiting { key: ApiKey::ApiVersions, version: 0, correlation, reply });
            }
            _ => return Err(Closed::NotSpoken { key, version }),
        };
        let permit = if api.key == ApiKey::Produce { permit(&self.node, frame.len()).await } else { None };
        let (client, request) = decode(api, version, &mut frame)?;
        let asker = Asker { peer: self.peer, client, version };
        let reply = api::handle(&self.node, &asker, request, permit);
        Ok(Waiting { key: api.key, version, correlation, reply })
    }

    async fn send(&mut self) -> Result<(), Closed> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        match tokio::time::timeout(WRITE_PATIENCE, self.stream.write_all(&self.outbox)).await {
            Ok(written) => written?,
            Err(_) => return Err(Closed::Stuck),
        }
        // A large answer does not leave its memory behind.
        if self.outbox.capacity() > GATHER_BYTES {
            self.outbox = BytesMut::new()
        } else {
            self.outbox.clear()
        }
        Ok(())
    }

    /// The broker stops: appends that were begun are answered, waits are given up.
    async fn finish(&mut self) -> Result<(), Closed> {
        while let Some(waiting) = self.waiting.front_mut() {
            if matches!(waiting.reply, Reply::Later(_)) {
                break;
            }
            poll_fn(|context| encode_ready(&mut self.waiting, &mut self.outbox, context)).await?;
        }
        self.send().await
    }
}

/// A share of the bytes that may wait for the disk, once there is one. Requests behind this one wait with it.
async fn permit(node: &Node, bytes: usize) -> Option<OwnedSemaphorePermit> {
    Arc::clone(&node.pending).acquire_many_owned(node.permits(bytes)).await.ok()
}

/// Encodes the answers that are ready, in order; pending when there is none.
fn encode_ready(
    waiting: &mut VecDeque<Waiting>,
    outbox: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    let mut some = false;
    while outbox.len() < GATHER_BYTES
        && let Some(first) = waiting.front_mut()
    {
        let Poll::Ready(answer) = first.reply.poll_answer(context) else {
            break;
        };
        let encoded = answer::encode(&answer, first.key, first.version, first.correlation, outbox);
        if let Err(error) = encoded {
            tracing::error!(api = ?first.key, version = first.version, %error, "an answer cannot be encoded; the connection is closed");
            return Poll::Ready(Err(error.into()));
        }
        waiting.pop_front();
        some = true;
    }
    if some { Poll::Ready(Ok(())) } else { Poll::Pending }
}

impl Reply {
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        match self {
            Reply::Now(answer) => Poll::Ready(std::mem::replace(answer, Answer::Nothing)),
            Reply::Produced(pending) => Pin::new(pending).poll(context),
            Reply::Later(answer) => answer.as_mut().poll(context),
        }
    }
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
