//! Event streams over HTTP/1.1.

use super::*;

/// The last chunk of a chunked body.
const END: &str = "0\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

#[tokio::test]
async fn events_arrive_framed_and_end() {
    let gateway = serve(&Limits::default());
    let mut client = Raw::to(&gateway).await;
    client.send(&get("/events")).await;
    let answer = client.until(END).await;
    for part in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
        assert!(answer.contains(part), "{answer}");
    }
    let (first, second) = (answer.find("data: 1\n\n").unwrap(), answer.find("data: 2\n\n").unwrap());
    assert!(first < second);
    client.send(HEAD).await;
    client.until("\"ok\"").await;
}

#[tokio::test]
async fn each_event_is_flushed_and_silence_is_filled() {
    let gateway = serve(&quick());
    let mut client = Raw::to(&gateway).await;
    client.send(&get("/quiet")).await;
    client.until("data: 1\n\n").await;
    let start = Instant::now();
    client.until(":\n\n").await;
    about(start.elapsed(), Duration::from_millis(200));
    // A stream is no idle connection, and comments keep it.
    sleep(Duration::from_millis(1200)).await;
    client.until(":\n\n").await;
}

#[tokio::test]
async fn an_aborted_stream_never_looks_complete() {
    let gateway = serve(&Limits::default());
    let mut client = Raw::to(&gateway).await;
    client.send(&get("/abort")).await;
    let answer = client.rest().await.unwrap_or_default();
    assert!(!answer.contains(END), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream() {
    let gateway = serve(&Limits::default());
    let mut client = Raw::to(&gateway).await;
    client.send(&get("/quiet")).await;
    client.until("data: 1\n\n").await;
    assert_eq!(gateway.running.open_requests(), 1);
    drop(client);
    let start = Instant::now();
    while gateway.running.open_requests() > 0 {
        assert!(start.elapsed() < PATIENCE, "the stream outlives its client");
        sleep(Duration::from_millis(5)).await;
    }
}
