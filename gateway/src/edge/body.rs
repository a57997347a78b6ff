//! The body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::server::Open;
use super::sse::Events;

/// What can break a body on its way out.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer: all of it at once, or events as they come.
#[derive(Debug)]
pub struct Body {
    kind: Kind,
    /// Counts the exchange as open until the last byte of its answer was taken.
    open: Option<Open>,
}

#[derive(Debug)]
enum Kind {
    /// `None` once it was taken.
    Full(Option<Bytes>),
    Events(Box<Events>),
}

/// A body of these bytes.
pub fn full(bytes: Bytes) -> Body {
    Body { kind: Kind::Full((!bytes.is_empty()).then_some(bytes)), open: None }
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

impl Body {
    pub(super) fn from_events(events: Events) -> Self {
        Self { kind: Kind::Events(Box::new(events)), open: None }
    }

    pub(super) fn hold(&mut self, open: Open) {
        self.open = Some(open);
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().kind {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Events(events) => events.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}
