//! Reading a request body: bounded in size, in silence, and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::config::Limits;
use crate::outcome::Reason;

/// A buffer starts with at most this much, whatever a header announces.
const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// What a request body may take.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub bytes: usize,
    /// Between two pieces.
    pub idle: Duration,
    pub total: Duration,
}

impl From<&Limits> for BodyLimits {
    fn from(limits: &Limits) -> Self {
        Self { bytes: limits.body_bytes, idle: limits.body_idle, total: limits.body_total }
    }
}

/// All of `body`. One that came in one piece, as most do, is not copied.
///
/// # Errors
/// `BodyTooLarge`, from `content_length` alone before anything is read (a client that waits for
/// `100 Continue` then never sends it); `BodyTimeout`; `BadHttp` when the client went away or broke the framing.
pub async fn collect(
    body: Incoming,
    content_length: Option<u64>,
    limits: &BodyLimits,
) -> Result<Bytes, Reason> {
    if content_length.is_some_and(|length| length > limits.bytes as u64) {
        return Err(Reason::BodyTooLarge);
    }
    let deadline = Instant::now() + limits.total;
    let mut pieces = Pieces { body, deadline, limits, read: 0 };
    let Some(first) = pieces.next().await? else { return Ok(Bytes::new()) };
    if pieces.body.is_end_stream() || content_length == Some(first.len() as u64) {
        return Ok(first);
    }
    let Some(second) = pieces.next().await? else { return Ok(first) };
    let announced = content_length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut all = BytesMut::with_capacity(announced.min(RESERVE_BYTES_MAX).max(first.len() + second.len()));
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(piece) = pieces.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

struct Pieces<'a> {
    body: Incoming,
    deadline: Instant,
    limits: &'a BodyLimits,
    read: usize,
}

impl Pieces<'_> {
    /// The next piece that holds anything; `None` at the end. Trailers mean nothing here.
    async fn next(&mut self) -> Result<Option<Bytes>, Reason> {
        let quiet = (Instant::now() + self.limits.idle).min(self.deadline);
        loop {
            let frame = match timeout_at(quiet, self.body.frame()).await {
                Err(_) => return Err(Reason::BodyTimeout),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Reason::BadHttp),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            self.read += data.len();
            if self.read > self.limits.bytes {
                return Err(Reason::BodyTooLarge);
            }
            return Ok(Some(data));
        }
    }
}
