//! Lines in and lines out, both bounded.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

/// Longest line that is taken: the largest message of common MCP clients, 4 MiB.
pub(crate) const MAX_LINE_BYTES: usize = 4 << 20;
/// Lines that wait for the client to read.
pub(crate) const MAX_UNWRITTEN: usize = 64;

/// A request that runs, seen by the one who reads, the one who runs and the one who writes.
#[derive(Clone, Default)]
pub(crate) struct Fate(Arc<AtomicU8>);

impl Fate {
    pub(crate) const RUNNING: u8 = 0;
    pub(crate) const ANSWERED: u8 = 1;
    pub(crate) const CANCELLED: u8 = 2;

    /// Settles the request unless it is settled already; exactly one caller gets true.
    pub(crate) fn settle(&self, fate: u8) -> bool {
        let order = Ordering::AcqRel;
        self.0.compare_exchange(Self::RUNNING, fate, order, Ordering::Acquire).is_ok()
    }

    pub(crate) fn is(&self, fate: u8) -> bool {
        self.0.load(Ordering::Acquire) == fate
    }
}

/// Where the lines of one request go. Once the request is cancelled they go nowhere, also those
/// that were waiting already.
#[derive(Clone)]
pub(crate) struct Outbox {
    lines: mpsc::Sender<(Fate, String)>,
    fate: Fate,
}

impl Outbox {
    pub(crate) fn new(lines: mpsc::Sender<(Fate, String)>, fate: Fate) -> Self {
        Self { lines, fate }
    }

    /// Settles the request that the lines belong to; see [`Fate::settle`].
    pub(crate) fn settle(&self, fate: u8) -> bool {
        self.fate.settle(fate)
    }

    /// Hands a line to the writer. When the writer is gone the server is ending anyway.
    pub(crate) async fn send(&self, line: String) {
        let _ = self.lines.send((self.fate.clone(), line)).await;
    }
}

/// Writes lines until every sender is gone, flushing when none waits.
pub(crate) async fn write_lines<W: AsyncWrite + Unpin>(
    mut unwritten: mpsc::Receiver<(Fate, String)>,
    mut output: W,
) -> io::Result<()> {
    while let Some((fate, mut line)) = unwritten.recv().await {
        if !fate.is(Fate::CANCELLED) {
            line.push('\n');
            output.write_all(line.as_bytes()).await?;
        }
        if unwritten.is_empty() {
            output.flush().await?;
        }
    }
    output.flush().await
}

/// A line of input.
pub(crate) enum Line {
    Text(Vec<u8>),
    TooLong,
    End,
}

/// Splits the input into lines of bounded length. `next` may be dropped at its await and called
/// again without loss.
pub(crate) struct LineReader<R> {
    input: BufReader<R>,
    partial: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input: BufReader::new(input), partial: Vec::new(), too_long: false }
    }

    /// The next line that is not blank. A last line without a line end counts as well.
    pub(crate) async fn next(&mut self) -> io::Result<Line> {
        loop {
            let chunk = self.input.fill_buf().await?;
            let ended = chunk.is_empty();
            let newline = memchr::memchr(b'\n', chunk);
            let taken = newline.unwrap_or(chunk.len());
            if self.partial.len() + taken > MAX_LINE_BYTES {
                self.too_long = true;
                self.partial = Vec::new();
            }
            if !self.too_long {
                self.partial.extend_from_slice(&chunk[..taken]);
            }
            let consumed = taken + usize::from(newline.is_some());
            self.input.consume(consumed);
            if !ended && newline.is_none() {
                continue;
            }
            let line = std::mem::take(&mut self.partial);
            if std::mem::take(&mut self.too_long) {
                return Ok(Line::TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Line::Text(line));
            }
            if ended {
                return Ok(Line::End);
            }
        }
    }
}
