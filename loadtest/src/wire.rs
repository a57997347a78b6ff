//! A lean HTTP/1.1 client: one connection, one request at a time, requests as ready-made bytes.
//!
//! The load generator shares a core with the upstreams, so what it costs decides how much of the
//! other core it can ask for. This one has no task, channel or header map between socket and caller.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers are a few KiB; one that passes this is an error, not a reason to fill the memory.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Headers that an answer may have.
const MAX_HEADERS: usize = 64;

/// A kept connection to one server.
pub(crate) struct Connection {
    stream: TcpStream,
    input: BytesMut,
    body: Vec<u8>,
}

/// One answer, as far as it matters here; borrowed from its connection.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Whether the body is `text/event-stream`.
    pub(crate) event_stream: bool,
    /// The body without its transfer coding.
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: BytesMut::with_capacity(16 * 1024), body: Vec::with_capacity(8 * 1024) })
    }

    /// Sends one request and reads its whole answer. After an error the connection is of no use.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.input.clear();
        self.stream.write_all(request).await.context("the request could not be written")?;
        let head = loop {
            if let Some(head) = read_head(&self.input)? {
                break head;
            }
            self.fill().await?;
        };
        let body = match head.framing {
            Framing::Length(length) => {
                while self.input.len() < head.length + length {
                    self.fill().await?;
                }
                &self.input[head.length..head.length + length]
            }
            Framing::Chunked => {
                self.read_chunks(head.length).await?;
                &self.body
            }
        };
        Ok(Answer { status: head.status, event_stream: head.event_stream, body })
    }

    /// Reads the chunks that begin at `at` into `body`.
    async fn read_chunks(&mut self, mut at: usize) -> Result<()> {
        self.body.clear();
        loop {
            let size = httparse::parse_chunk_size(&self.input[at..]);
            match size.map_err(|_| anyhow::anyhow!("a malformed chunk"))? {
                httparse::Status::Partial => self.fill().await?,
                httparse::Status::Complete((skip, size)) => {
                    let start = at + skip;
                    let end = start + usize::try_from(size).context("a chunk beyond all bounds")?;
                    ensure!(end < MAX_ANSWER_BYTES, "an answer longer than {MAX_ANSWER_BYTES} bytes");
                    while self.input.len() < end + 2 {
                        self.fill().await?;
                    }
                    if size == 0 {
                        return Ok(());
                    }
                    self.body.extend_from_slice(&self.input[start..end]);
                    at = end + 2;
                }
            }
        }
    }

    async fn fill(&mut self) -> Result<()> {
        ensure!(self.input.len() < MAX_ANSWER_BYTES, "an answer longer than {MAX_ANSWER_BYTES} bytes");
        let count = self.stream.read_buf(&mut self.input).await.context("the answer could not be read")?;
        ensure!(count > 0, "the connection was closed before the answer was complete");
        Ok(())
    }
}

/// Sends `GET path` on a connection of its own; gives status and body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>)> {
    let mut connection = Connection::open(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n");
    let answer = connection.exchange(request.as_bytes()).await?;
    Ok((answer.status, answer.body.to_vec()))
}

struct Head {
    status: u16,
    event_stream: bool,
    framing: Framing,
    /// Bytes up to the body.
    length: usize,
}

enum Framing {
    Length(usize),
    Chunked,
}

fn read_head(input: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(input).context("a malformed head")? else {
        return Ok(None);
    };
    let (mut event_stream, mut framing) = (false, None);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value)?;
            framing = Some(Framing::Length(text.parse().context("a malformed Content-Length")?));
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Some(Framing::Chunked);
        } else if header.name.eq_ignore_ascii_case("content-type") {
            event_stream = header.value.starts_with(b"text/event-stream");
        }
    }
    let status = response.code.unwrap_or_default();
    let Some(framing) = framing else {
        bail!("an answer (status {status}) whose length is not told");
    };
    Ok(Some(Head { status, event_stream, framing, length }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each read with one of `writes`, piece by piece.
    async fn answered_by(pieces: Vec<&'static [u8]>) -> Result<(u16, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let (_, answer) = tokio::join!(server, get(address, "/"));
        answer
    }

    #[tokio::test]
    async fn chunks_and_lengths_are_read_however_they_are_cut() {
        let chunked = answered_by(vec![
            b"HTTP/1.1 200 OK\r\nTransfer-Enc",
            b"oding: chunked\r\n\r\n5\r",
            b"\nhello\r\n6\r\n wor",
            b"ld\r\n0\r\n",
            b"\r\n",
        ]);
        assert_eq!(chunked.await.unwrap(), (200, b"hello world".to_vec()));
        let sized = answered_by(vec![b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nno", b"ne"]);
        assert_eq!(sized.await.unwrap(), (404, b"none".to_vec()));
    }

    #[tokio::test]
    async fn a_cut_answer_is_an_error() {
        let cut = answered_by(vec![b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"]);
        assert!(cut.await.is_err());
        assert!(answered_by(vec![b"HTTP/1.1 200 OK\r\n\r\n"]).await.is_err());
    }
}
