//! Server-sent events (WHATWG HTML, section 9.2): items to frames, and comments while there are none.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::time::{Instant, Sleep, sleep};

use super::body::{Body, BoxError};

/// Up to this size the data of an event is copied into its frame; above it goes out as it is.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// The comment that keeps an idle stream open through whatever stands between.
const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// One thing to tell the client.
#[derive(Clone, Debug)]
pub enum SseItem {
    /// An event.
    Data {
        /// Left out when it holds a line end or NUL, with which it would be no id.
        id: Option<String>,
        event: Option<&'static str>,
        /// One JSON text. Line ends in it, which JSON has only between tokens, become further data lines.
        data: Bytes,
    },
    /// When the client should come back should the stream end early, as it does in a drain.
    Retry(Duration),
    /// The stream broke: the connection or HTTP/2 stream is reset, so that it does not look complete.
    Abort,
}

/// A body of events; it ends well when `stream` ends. After `keep_alive` of silence a comment is sent.
pub fn events(stream: impl Stream<Item = SseItem> + Send + 'static, keep_alive: Duration) -> Body {
    Body::from_events(Events {
        stream: Box::pin(stream),
        rest: Rest::None,
        keep_alive,
        last: Instant::now(),
        timer: Box::pin(sleep(keep_alive)),
    })
}

/// The answer 200 with a body of events and the headers that keep caches and proxies from holding it.
pub fn event_stream(
    stream: impl Stream<Item = SseItem> + Send + 'static,
    keep_alive: Duration,
) -> Response<Body> {
    let mut response = Response::new(events(stream, keep_alive));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The stream was cut before its end.
#[derive(Debug, thiserror::Error)]
#[error("the event stream was cut")]
struct Aborted;

pub(super) struct Events {
    stream: Pin<Box<dyn Stream<Item = SseItem> + Send>>,
    /// What is left of an event whose data is sent without a copy.
    rest: Rest,
    keep_alive: Duration,
    /// When something was last sent. The timer follows only when it fires: most events never touch it.
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

enum Rest {
    None,
    DataAndEnd(Bytes),
    End,
}

impl Events {
    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match mem::replace(&mut self.rest, Rest::None) {
            Rest::None => {}
            Rest::DataAndEnd(data) => {
                self.rest = Rest::End;
                return frame(data);
            }
            Rest::End => return frame(Bytes::from_static(b"\n\n")),
        }
        match self.stream.as_mut().poll_next(context) {
            Poll::Ready(Some(SseItem::Data { id, event, data })) => {
                self.last = Instant::now();
                let mut head = open_event(id.as_deref(), event, data.len().min(COPY_BYTES_MAX));
                if data.len() > COPY_BYTES_MAX && memchr::memchr2(b'\n', b'\r', &data).is_none() {
                    head.put_slice(b"data: ");
                    self.rest = Rest::DataAndEnd(data);
                } else {
                    put_data(&mut head, &data);
                }
                frame(head.freeze())
            }
            Poll::Ready(Some(SseItem::Retry(after))) => {
                self.last = Instant::now();
                frame(Bytes::from(format!("retry: {}\n\n", after.as_millis())))
            }
            Poll::Ready(Some(SseItem::Abort)) => Poll::Ready(Some(Err(Aborted.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_keep_alive(context),
        }
    }

    fn poll_keep_alive(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let due = self.last + self.keep_alive;
            if due <= now {
                self.last = now;
                self.timer.as_mut().reset(now + self.keep_alive);
                return frame(KEEP_ALIVE);
            }
            self.timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

fn frame(bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

/// The lines of an event that come before its data, in a buffer with room for `data_bytes` more.
fn open_event(id: Option<&str>, event: Option<&'static str>, data_bytes: usize) -> BytesMut {
    let id = id.filter(|id| !id.contains(['\n', '\r', '\0']));
    let mut text =
        BytesMut::with_capacity(data_bytes + id.map_or(0, str::len) + event.map_or(0, str::len) + 32);
    for (field, value) in [("id: ", id), ("event: ", event)] {
        if let Some(value) = value {
            text.put_slice(field.as_bytes());
            text.put_slice(value.as_bytes());
            text.put_u8(b'\n');
        }
    }
    text
}

/// `data:` lines, one a line of `data`, and the empty line that ends the event.
fn put_data(text: &mut BytesMut, data: &[u8]) {
    let mut rest = data;
    loop {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        text.reserve(end + 8);
        text.put_slice(b"data: ");
        text.put_slice(&rest[..end]);
        text.put_u8(b'\n');
        if end == rest.len() {
            break;
        }
        rest = &rest[end + 1..];
    }
    text.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    const KEEP: Duration = Duration::from_secs(15);

    fn data(id: Option<&str>, event: Option<&'static str>, data: impl Into<Bytes>) -> SseItem {
        SseItem::Data { id: id.map(str::to_owned), event, data: data.into() }
    }

    async fn written(items: Vec<SseItem>) -> String {
        let bytes = events(stream::iter(items), KEEP).collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_event_is_its_fields_and_an_empty_line() {
        assert_eq!(written(vec![data(None, None, "{}")]).await, "data: {}\n\n");
        assert_eq!(written(vec![SseItem::Retry(Duration::from_secs(1))]).await, "retry: 1000\n\n");
        assert_eq!(
            written(vec![data(Some("7"), Some("message"), "{\"a\":1}"), data(None, None, "2")]).await,
            "id: 7\nevent: message\ndata: {\"a\":1}\n\ndata: 2\n\n"
        );
    }

    #[tokio::test]
    async fn line_ends_cannot_forge_fields() {
        assert_eq!(
            written(vec![data(None, None, "{\n\"a\":\r\n1}")]).await,
            "data: {\ndata: \"a\":\ndata: \ndata: 1}\n\n"
        );
        assert_eq!(written(vec![data(Some("1\ndata: x"), None, "{}")]).await, "data: {}\n\n");
    }

    #[tokio::test]
    async fn large_data_goes_out_uncopied_and_reads_the_same() {
        let large = Bytes::from(vec![b'x'; COPY_BYTES_MAX + 1]);
        let mut body = events(stream::iter([data(None, None, large.clone())]), KEEP);
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(frames.concat(), [b"data: ", large.as_ref(), b"\n\n"].concat());
        assert_eq!(frames[1].as_ptr(), large.as_ptr());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_comments_counted_from_the_last_event() {
        let start = Instant::now();
        let late = stream::once(async {
            sleep(Duration::from_secs(10)).await;
            data(None, None, "1")
        });
        let mut body = events(late.chain(stream::pending()), KEEP);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
            seen.push((start.elapsed().as_secs(), bytes));
        }
        assert_eq!(seen, [(10, Bytes::from("data: 1\n\n")), (25, KEEP_ALIVE), (40, KEEP_ALIVE)]);
    }

    #[tokio::test]
    async fn an_abort_is_an_error_not_an_end() {
        assert!(events(stream::iter([data(None, None, "1"), SseItem::Abort]), KEEP).collect().await.is_err());
    }
}
