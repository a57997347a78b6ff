//! The lines of a stdio server, bounded.

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much of a line over the limit is kept, to tell whose answer it was.
const PREFIX: usize = 4 * 1024;
const READ: usize = 16 * 1024;

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Bytes),
    /// Over the limit: its beginning. The rest is read and dropped.
    TooLong(Bytes),
}

/// Reads lines of at most `limit` bytes; memory stays near that, whatever comes.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    buffer: BytesMut,
    scanned: usize,
    limit: usize,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R, limit: usize) -> Self {
        Self { input, buffer: BytesMut::new(), scanned: 0, limit, skipping: false }
    }

    /// The next line that is not blank; none at the end. A last line without an end counts.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            self.buffer.reserve(READ);
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                let rest = std::mem::take(&mut self.buffer).freeze();
                self.scanned = 0;
                let blank = self.skipping || rest.trim_ascii().is_empty();
                return Ok((!blank).then_some(Line::Whole(rest)));
            }
        }
    }

    fn buffered(&mut self) -> Option<Line> {
        loop {
            match memchr::memchr(b'\n', &self.buffer[self.scanned..]) {
                Some(found) => {
                    let line = self.buffer.split_to(self.scanned + found).freeze();
                    self.buffer.advance(1);
                    self.scanned = 0;
                    if std::mem::take(&mut self.skipping) || line.trim_ascii().is_empty() {
                        continue;
                    }
                    return Some(if line.len() > self.limit {
                        Line::TooLong(line.slice(..PREFIX.min(line.len())))
                    } else {
                        Line::Whole(line)
                    });
                }
                None if self.skipping => {
                    self.buffer.clear();
                    self.scanned = 0;
                    return None;
                }
                None if self.buffer.len() > self.limit => {
                    let prefix = Bytes::copy_from_slice(&self.buffer[..PREFIX.min(self.buffer.len())]);
                    self.buffer = BytesMut::new();
                    self.scanned = 0;
                    self.skipping = true;
                    return Some(Line::TooLong(prefix));
                }
                None => {
                    self.scanned = self.buffer.len();
                    return None;
                }
            }
        }
    }
}

/// The integer `id` of a message of which only the beginning is there, if it stands in that beginning.
pub(super) fn id_in_prefix(prefix: &[u8]) -> Option<u64> {
    struct Id<'a>(&'a mut Option<u64>);
    impl<'de> Visitor<'de> for Id<'_> {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
            while let Some(name) = members.next_key::<String>()? {
                if name == "id" {
                    *self.0 = Some(members.next_value()?);
                } else {
                    members.next_value::<IgnoredAny>()?;
                }
            }
            Ok(())
        }
    }
    let mut id = None;
    // The text ends early, so this fails; by then the id may have been seen.
    let _ = serde_json::Deserializer::from_slice(prefix).deserialize_map(Id(&mut id));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &[u8], limit: usize) -> Vec<Line> {
        let mut lines = Lines::new(input, limit);
        let mut out = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            out.push(line);
        }
        out
    }

    fn whole(text: &str) -> Line {
        Line::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_are_split_blank_ones_left_out() {
        assert_eq!(read(b"one\n\n \r\ntwo\r\nlast", 10).await, [whole("one"), whole("two\r"), whole("last")]);
    }

    #[tokio::test]
    async fn a_long_line_is_reported_once_and_the_next_is_read() {
        let mut input = vec![b'x'; 100_000];
        input.extend_from_slice(b"\nnext\n");
        let lines = read(&input, 1000).await;
        assert!(matches!(&lines[0], Line::TooLong(prefix) if prefix.len() <= PREFIX));
        assert_eq!(lines[1..], [whole("next")]);
        let at_limit = read(&[[b'x'; 1000].as_slice(), b"\n"].concat(), 1000).await;
        assert!(matches!(at_limit[0], Line::Whole(_)));
    }

    #[test]
    fn the_id_is_found_before_the_cut() {
        assert_eq!(id_in_prefix(br#"{"jsonrpc":"2.0","id":17,"result":{"text":"aaaa"#), Some(17));
        assert_eq!(id_in_prefix(br#"{"result":{"id":9,"text":"aaaa"#), None);
        assert_eq!(id_in_prefix(b"garbage"), None);
    }
}
