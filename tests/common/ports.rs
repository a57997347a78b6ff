//! Ports for programs that must know theirs before they start.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes the ports of outgoing connections (32768 on Linux), so that none of
/// those sits on a port between its choice and its use.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback address that is free now, with the next port free as well; no other call of this process gets it.
pub(crate) fn free() -> SocketAddr {
    // Test programs that run side by side start at different places.
    let offset = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT / 2 {
        let step = NEXT.fetch_add(2, Ordering::Relaxed);
        let port = FIRST + (offset.wrapping_add(step)) % COUNT;
        let pair = [port, port + 1].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        if pair.iter().all(Result::is_ok) {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        }
    }
    panic!("no two free ports in a row between {FIRST} and {}", FIRST + COUNT);
}
