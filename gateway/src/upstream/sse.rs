//! An incremental reader of `text/event-stream` (WHATWG HTML, section 9.2.6): chunks go in as they come off the wire, whole
//! events come out. No I/O; memory is bounded by the largest event allowed and one chunk.

use bytes::{Buf, Bytes, BytesMut};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event` field; none means `message`.
    pub event: Option<Bytes>,
    /// All `data` lines, joined by `\n`. Empty for an event that has only an id.
    pub data: Bytes,
}

/// An event, or a single line, over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub struct TooLarge(pub usize);

/// See the module.
#[derive(Debug)]
pub struct SseReader {
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end.
    scanned: usize,
    /// A line ended with CR at the end of a chunk: a LF that follows belongs to it.
    skip_lf: bool,
    at_start: bool,
    event: Option<Bytes>,
    data: Data,
    last_id: Option<Bytes>,
    seen_id: bool,
    limit: usize,
}

/// The data so far; one line, the usual case, is not copied.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(BytesMut),
}

impl SseReader {
    /// `limit` bounds the data of one event, and one line, in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            skip_lf: false,
            at_start: true,
            event: None,
            data: Data::None,
            last_id: None,
            seen_id: false,
            limit,
        }
    }

    /// Takes what came off the wire.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole event, or none until more is pushed.
    pub fn next_event(&mut self) -> Result<Option<SseEvent>, TooLarge> {
        while let Some(line) = self.line()? {
            if !line.is_empty() {
                self.field(&line)?;
            } else if let Some(event) = self.dispatch() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The last `id` seen (for `Last-Event-ID`).
    pub fn last_id(&self) -> Option<&Bytes> {
        self.last_id.as_ref()
    }

    /// Whether nothing of an unfinished event is held: false at the end of a body means that it was cut.
    pub fn is_between_events(&self) -> bool {
        matches!(self.data, Data::None) && self.buffer.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    fn line(&mut self) -> Result<Option<Bytes>, TooLarge> {
        if self.skip_lf && !self.buffer.is_empty() {
            self.skip_lf = false;
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
        }
        if self.at_start && !self.skip_bom() {
            return Ok(None);
        }
        let Some(found) = memchr::memchr2(b'\r', b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            return if self.scanned > self.limit + FIELD_NAME_MAX {
                Err(TooLarge(self.limit))
            } else {
                Ok(None)
            };
        };
        let end = self.scanned + found;
        self.scanned = 0;
        let line = self.buffer.split_to(end).freeze();
        let ended_by_cr = self.buffer[0] == b'\r';
        self.buffer.advance(1);
        self.skip_lf = ended_by_cr;
        if line.len() > self.limit + FIELD_NAME_MAX { Err(TooLarge(self.limit)) } else { Ok(Some(line)) }
    }

    /// A byte order mark may open the stream. False until that is decided.
    fn skip_bom(&mut self) -> bool {
        const BOM: &[u8] = b"\xef\xbb\xbf";
        let seen = self.buffer.len().min(BOM.len());
        if self.buffer[..seen] != BOM[..seen] {
            self.at_start = false;
        } else if seen == BOM.len() {
            self.buffer.advance(BOM.len());
            self.at_start = false;
        }
        !self.at_start
    }

    fn field(&mut self, line: &Bytes) -> Result<(), TooLarge> {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let after = line.slice(colon + 1..);
                let value = if after.first() == Some(&b' ') { after.slice(1..) } else { after };
                (&line[..colon], value)
            }
            None => (&line[..], Bytes::new()),
        };
        match name {
            b"data" => self.data.push(value, self.limit)?,
            b"event" => self.event = (!value.is_empty()).then_some(value),
            // An id with NUL is ignored by the standard.
            b"id" if !value.contains(&0) => {
                self.last_id = Some(value);
                self.seen_id = true;
            }
            _ => {} // comments (an empty name), retry, and what a later standard may add
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let event = self.event.take();
        let only_id = std::mem::take(&mut self.seen_id);
        let data = match std::mem::take(&mut self.data) {
            Data::One(line) => line,
            Data::Many(lines) => lines.freeze(),
            Data::None if only_id => Bytes::new(),
            Data::None => return None,
        };
        Some(SseEvent { event, data })
    }
}

/// Room for a field's name beside its bounded value.
const FIELD_NAME_MAX: usize = 64;

impl Data {
    fn push(&mut self, line: Bytes, limit: usize) -> Result<(), TooLarge> {
        *self = match std::mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut lines = BytesMut::with_capacity(first.len() + line.len() + 1);
                lines.extend_from_slice(&first);
                Self::Many(joined(lines, &line))
            }
            Self::Many(lines) => Self::Many(joined(lines, &line)),
        };
        let len = match self {
            Self::None => 0,
            Self::One(line) => line.len(),
            Self::Many(lines) => lines.len(),
        };
        if len > limit { Err(TooLarge(limit)) } else { Ok(()) }
    }
}

fn joined(mut lines: BytesMut, line: &[u8]) -> BytesMut {
    lines.extend_from_slice(b"\n");
    lines.extend_from_slice(line);
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(chunks: &[&[u8]], limit: usize) -> Result<Vec<(Option<String>, String)>, TooLarge> {
        let mut reader = SseReader::new(limit);
        let mut events = Vec::new();
        for chunk in chunks {
            reader.push(chunk);
            while let Some(event) = reader.next_event()? {
                let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                events.push((event.event.as_ref().map(text), text(&event.data)));
            }
        }
        Ok(events)
    }

    const STREAM: &[u8] =
        b"\xef\xbb\xbf: ping - 1\r\n\r\ndata: one\r\n\r\nid: 4\nevent: error\ndata:two\ndata:  lines\n\n\
        retry: 10\rdata: three\r\rid: 5\n\nunknown: x\ndata\n\n: \n\ndata: cut";

    fn expected() -> Vec<(Option<String>, String)> {
        let event = |name: Option<&str>, data: &str| (name.map(str::to_owned), data.to_owned());
        vec![
            event(None, "one"),
            event(Some("error"), "two\n lines"),
            event(None, "three"),
            event(None, ""),
            event(None, ""),
        ]
    }

    #[test]
    fn line_ends_comments_and_fields_are_understood() {
        assert_eq!(read_all(&[STREAM], 100).unwrap(), expected());
    }

    #[test]
    fn a_cut_event_is_not_given_out_and_shows() {
        let mut reader = SseReader::new(100);
        reader.push(b"data: one\n\n");
        assert!(reader.next_event().unwrap().is_some());
        assert!(reader.next_event().unwrap().is_none());
        assert!(reader.is_between_events());
        reader.push(b"data: tw");
        assert!(reader.next_event().unwrap().is_none());
        assert!(!reader.is_between_events());
        reader.push(b"o\n");
        assert!(reader.next_event().unwrap().is_none());
        assert!(!reader.is_between_events());
    }

    #[test]
    fn events_and_lines_are_bounded() {
        let fits = format!("data: {}\n\n", "x".repeat(100));
        assert_eq!(read_all(&[fits.as_bytes()], 100).unwrap().len(), 1);
        let long = format!("data: {}\n\n", "x".repeat(101));
        assert_eq!(read_all(&[long.as_bytes()], 100), Err(TooLarge(100)));
        let many = "data: 0123456789\n".repeat(10);
        assert_eq!(read_all(&[many.as_bytes()], 100), Err(TooLarge(100)));
        let endless = [b'x'; 50];
        assert_eq!(read_all(&[endless.as_slice(); 5], 100), Err(TooLarge(100)));
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(cuts in proptest::collection::vec(0..STREAM.len(), 0..40)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&STREAM[from..cut]);
                from = cut;
            }
            chunks.push(&STREAM[from..]);
            prop_assert_eq!(read_all(&chunks, 100).unwrap(), expected());
        }

        #[test]
        fn any_bytes_in_any_chunks_give_the_same_and_stay_bounded(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..300),
            size in 1usize..40,
        ) {
            let whole = read_all(&[&bytes], 64);
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            let parts = read_all(&chunks, 64);
            if let (Ok(whole), Ok(parts)) = (&whole, &parts) {
                prop_assert_eq!(whole, parts);
            }
            for (_, data) in parts.unwrap_or_default() {
                prop_assert!(data.len() <= 64 * 3);
            }
        }
    }
}
