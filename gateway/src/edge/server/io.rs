//! The bytes of one connection: plain or TLS, counted, seen by its deadlines, and closed without haste.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use crate::edge::metrics::Metrics;

/// How long a closed connection is still read from, so that what the peer sends meanwhile does not make the
/// kernel reset it and destroy the answer that the peer has not read.
const LINGER: Duration = Duration::from_secs(1);

/// And how much: more than a body that was refused by its announced length and sent all the same.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// A stream with or without TLS. One type, so that everything above is compiled once.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream whose first bytes were read already.
pub(super) struct Io {
    stream: Stream,
    start: Bytes,
    activity: Arc<Activity>,
    /// Whether bytes without a request mean the start of a head: so on HTTP/1.1 only.
    heads: bool,
    metrics: Metrics,
    closing: Closing,
}

enum Closing {
    No,
    /// The write side is shut; the rest of what the peer sends is read and dropped.
    Linger {
        until: Pin<Box<Sleep>>,
        bytes: usize,
    },
    Done,
}

impl Io {
    pub(super) fn new(
        stream: Stream,
        start: Bytes,
        activity: Arc<Activity>,
        heads: bool,
        metrics: Metrics,
    ) -> Self {
        metrics.received(start.len());
        if heads {
            activity.received();
        }
        Self { stream, start, activity, heads, metrics, closing: Closing::No }
    }

    fn received(&mut self, bytes: usize) {
        if bytes == 0 {
            self.closing = Closing::Done;
            return;
        }
        self.metrics.received(bytes);
        if self.heads {
            self.activity.received();
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        self.activity.wrote(result.is_pending());
        if let Poll::Ready(Ok(bytes)) = result {
            self.metrics.sent(*bytes);
        }
    }

    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scrap = [0; 4096];
        while let Closing::Linger { until, bytes } = &mut self.closing {
            let mut buffer = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && *bytes < LINGER_BYTES => {
                    *bytes += buffer.filled().len();
                }
                Poll::Pending => {
                    ready!(until.as_mut().poll(context));
                    self.closing = Closing::Done;
                }
                Poll::Ready(_) => self.closing = Closing::Done,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start.has_remaining() {
            let length = this.start.len().min(buffer.remaining());
            buffer.put_slice(&this.start[..length]);
            this.start.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.received(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.wrote(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(context);
        if let Stream::Tls(_) = this.stream {
            this.activity.wrote(result.is_pending());
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Closing::No = this.closing {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.closing = Closing::Linger { until: Box::pin(sleep(LINGER)), bytes: 0 };
        }
        if let Closing::Linger { .. } = this.closing {
            return this.poll_linger(context);
        }
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
