//! What a child prints for people goes to the log: line by line, bounded, escaped, without its secrets.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config;
use crate::message::Name;

/// The part of a line that is logged.
const LINE_MAX: usize = 2048;
/// Lines logged in each [`WINDOW`]; what is beyond is read, counted and dropped, so that a flood fills no disk.
const LINES_MAX: u32 = 50;
const WINDOW: Duration = Duration::from_secs(10);
/// Shorter values occur in ordinary text.
const SECRET_MIN: usize = 6;

/// The configured values that must not show.
#[derive(Clone, Debug)]
pub(super) struct Mask(Vec<config::Secret>);

impl Mask {
    pub(super) fn new(process: &config::Process) -> Self {
        Self(process.env.values().filter(|value| value.expose().len() >= SECRET_MIN).cloned().collect())
    }

    /// `line` as it may be logged: control characters escaped, secrets masked.
    fn clean(&self, line: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(line).into_owned();
        for secret in &self.0 {
            if text.contains(secret.expose()) {
                text = text.replace(secret.expose(), "***");
            }
        }
        escape(&text)
    }
}

/// `text` with everything escaped that could start a new line or steer a terminal, at most [`LINE_MAX`] bytes of it.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LINE_MAX));
    for character in text.chars() {
        if out.len() >= LINE_MAX {
            out.push('…');
            break;
        }
        let hidden =
            matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || hidden {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Reads `output` to its end. The child never waits for the log.
pub(super) async fn drain(
    upstream: Name,
    stream: &'static str,
    mut output: impl AsyncRead + Unpin,
    mask: Mask,
) {
    let mut lines =
        Lines { upstream, stream, mask, line: Vec::new(), window: Instant::now(), logged: 0, dropped: 0 };
    let mut chunk = vec![0; 8 * 1024];
    while let Ok(read @ 1..) = output.read(&mut chunk).await {
        lines.push(&chunk[..read]);
    }
    lines.end_line();
    lines.report();
}

struct Lines {
    upstream: Name,
    stream: &'static str,
    mask: Mask,
    line: Vec<u8>,
    window: Instant,
    logged: u32,
    dropped: u64,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) {
        let mut pieces = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return;
        }
        if self.window.elapsed() >= WINDOW {
            self.report();
            self.window = Instant::now();
            self.logged = 0;
        }
        if self.logged < LINES_MAX {
            self.logged += 1;
            let text = self.mask.clean(line);
            tracing::info!(upstream = %self.upstream, stream = self.stream, text, "process printed");
        } else {
            self.dropped += 1;
        }
    }

    fn report(&mut self) {
        if self.dropped > 0 {
            let lines = std::mem::take(&mut self.dropped);
            tracing::warn!(upstream = %self.upstream, stream = self.stream, lines, "process prints too much; lines left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secret: &str) -> Mask {
        Mask(vec![config::Secret::new(secret.into())])
    }

    #[test]
    fn lines_are_escaped_bounded_and_without_secrets() {
        assert_eq!(mask("hunter22").clean(b"key=hunter22 \x1b[31m\xff\r"), "key=*** \\u{1b}[31m\u{fffd}\\r");
        assert!(escape(&"x".repeat(10_000)).len() <= LINE_MAX + 4);
        assert_eq!(escape("a\nb\u{202e}"), "a\\nb\\u{202e}");
    }

    #[tokio::test]
    async fn a_flood_without_line_ends_stays_bounded() {
        let mut lines = Lines {
            upstream: "x".into(),
            stream: "stderr",
            mask: mask("secret"),
            line: Vec::new(),
            window: Instant::now(),
            logged: 0,
            dropped: 0,
        };
        for _ in 0..1000 {
            lines.push(&[b'x'; 1024]);
        }
        assert!(lines.line.len() <= LINE_MAX);
        for _ in 0..1000 {
            lines.push(b"line\n");
        }
        assert_eq!(u64::from(lines.logged) + lines.dropped, 1000);
        assert_eq!(lines.logged, LINES_MAX);
    }
}
