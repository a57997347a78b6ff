//! Which HTTP a connection speaks, by its first bytes. hyper's own detection waits for them for ever.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How an HTTP/2 connection begins (RFC 9113, section 3.4); no HTTP/1.1 request begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
}

/// Reads until it is certain, and gives back what was read. `None` when the peer left before.
pub(super) async fn sniff(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Http, Bytes)>> {
    let mut start = BytesMut::with_capacity(PREFACE.len());
    loop {
        let room = (PREFACE.len() - start.len()) as u64;
        if (&mut *stream).take(room).read_buf(&mut start).await? == 0 {
            return Ok(None);
        }
        if !PREFACE.starts_with(&start) {
            return Ok(Some((Http::One, start.freeze())));
        }
        if start.len() == PREFACE.len() {
            return Ok(Some((Http::Two, start.freeze())));
        }
    }
}
