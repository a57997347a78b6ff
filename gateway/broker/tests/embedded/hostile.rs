//! Clients that send what no client sends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use kamf_broker::{Broker, Limits, Options};

use crate::support::{Outcome, create_topic, producer, runtime, send};

/// Sends `bytes` and reads until the broker closes; fails when it answers nothing and keeps the connection.
fn throw(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // The broker may close while we are still writing.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], body].concat()
}

/// Pseudo-random bytes, the same in every run.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn garbage_closes_the_connection_and_nothing_else() -> Outcome {
    let directory = tempfile::tempdir()?;
    let broker = Broker::start(Options::new(directory.path()))?;
    let (address, runtime) = (broker.address(), runtime());
    runtime.block_on(create_topic(address, "t", 1))?;
    let fixed: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        &[0, 0, 0, 0],
        &[0, 0, 0, 7, 0, 3, 0, 0, 0, 0, 0],
        // Metadata of two billion topics.
        &framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        // An API that does not exist, and one in a version that does not.
        &framed(&[0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff]),
        &framed(&[0, 1, 0, 99, 0, 0, 0, 1, 0xff, 0xff]),
        // A header of compact form whose tagged fields are endless.
        &framed(&[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for bytes in fixed {
        assert!(throw(address, bytes)?.is_empty(), "{bytes:?} was answered");
    }
    for seed in 0..300 {
        throw(address, &noise(seed, 200))?;
        // A frame of the right length for a known API, with noise in it.
        let key = u8::try_from(seed % 48)?;
        let head = [0, key, 0, u8::try_from(seed % 10)?, 0, 0, 0, 1];
        throw(address, &framed(&[&head[..], &noise(seed, 60)].concat()))?;
    }
    assert_eq!(runtime.block_on(send(&producer(address)?, "t", "v"))?, 0, "it still serves");
    broker.shutdown();
    Ok(())
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_frame_holds_nobody_up() -> Outcome {
    let directory = tempfile::tempdir()?;
    let broker = Broker::start(Options::new(directory.path()))?;
    let (address, runtime) = (broker.address(), runtime());
    let mut halves = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address)?;
        // Says that sixteen megabytes of produce come, and sends ten bytes.
        stream.write_all(&[0, 0xff, 0xff, 0xff, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff])?;
        halves.push(stream);
    }
    runtime.block_on(create_topic(address, "t", 1))?;
    assert_eq!(runtime.block_on(send(&producer(address)?, "t", "v"))?, 0);
    broker.shutdown();
    Ok(())
}

#[test]
fn connections_are_limited() -> Outcome {
    let directory = tempfile::tempdir()?;
    let limits = Limits { connections: 5, ..Limits::default() };
    let broker = Broker::start(Options { limits, ..Options::new(directory.path()) })?;
    // ApiVersions, version 0.
    let ask = framed(&[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    let serves = |stream: &mut TcpStream| -> bool {
        let answered = stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .and_then(|()| stream.write_all(&ask))
            .and_then(|()| stream.read_exact(&mut [0; 8]));
        answered.is_ok()
    };
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(broker.address())?;
        assert!(serves(&mut stream));
        open.push(stream);
    }
    assert!(!serves(&mut TcpStream::connect(broker.address())?), "one more than the limit");
    drop(open);
    let begun = std::time::Instant::now();
    while !serves(&mut TcpStream::connect(broker.address())?) {
        assert!(begun.elapsed() < Duration::from_secs(5), "places are not given back");
    }
    broker.shutdown();
    Ok(())
}

#[test]
fn idle_connections_are_closed() -> Outcome {
    let directory = tempfile::tempdir()?;
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let broker = Broker::start(Options { limits, ..Options::new(directory.path()) })?;
    let mut stream = TcpStream::connect(broker.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    assert_eq!(stream.read(&mut [0])?, 0, "closed");
    broker.shutdown();
    Ok(())
}
