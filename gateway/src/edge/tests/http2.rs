//! HTTP/2 without TLS, by prior knowledge.

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

pub(super) async fn connect(
    io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn client(gateway: &Gateway) -> SendRequest<Full<Bytes>> {
    connect(TokioIo::new(TcpStream::connect(gateway.address).await.unwrap())).await
}

pub(super) fn request(path: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::post(format!("http://localhost{path}")).body(Full::new(body)).unwrap()
}

#[tokio::test]
async fn requests_events_and_limits_are_as_on_http1() {
    let gateway = serve(&Limits { body_bytes: 1000, ..Limits::default() });
    let mut client = client(&gateway).await;
    for (length, expected) in [(1000, 200), (1001, 413)] {
        let answer = client.send_request(request("/echo", vec![b'x'; length].into())).await.unwrap();
        assert_eq!(answer.status(), expected);
    }
    let answer = client.send_request(request("/events", Bytes::new())).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "data: 1\n\ndata: 2\n\n");
    // The reset may overtake the head.
    if let Ok(answer) = client.send_request(request("/abort", Bytes::new())).await {
        assert!(answer.into_body().collect().await.is_err());
    }
    let mut foreign = request("/", Bytes::new());
    *foreign.uri_mut() = "http://evil.example/".parse().unwrap();
    assert_eq!(client.send_request(foreign).await.unwrap().status(), 421);
    let underscore = Request::get("http://localhost/").header("x_y", "1").body(Full::default()).unwrap();
    assert_eq!(client.send_request(underscore).await.unwrap().status(), 400);
}

#[tokio::test]
async fn header_count_and_list_have_limits() {
    let gateway = serve(&Limits::default());
    let mut client = client(&gateway).await;
    for (count, expected) in [(100, 200), (101, 431)] {
        let mut many = Request::get("http://localhost/");
        for index in 0..count {
            many = many.header(format!("x-{index}"), "1");
        }
        assert_eq!(
            client.send_request(many.body(Full::default()).unwrap()).await.unwrap().status(),
            expected
        );
    }
    for (bytes, fits) in [(31 * 1024, true), (33 * 1024, false)] {
        let large =
            Request::get("http://localhost/").header("x", "y".repeat(bytes)).body(Full::default()).unwrap();
        let status = client.send_request(large).await.map(|answer| answer.status().as_u16());
        assert_eq!(matches!(status, Ok(200)), fits, "{status:?}");
    }
}

#[tokio::test]
async fn streams_of_a_connection_are_limited() {
    let gateway = serve(&Limits { http2_streams: 2, ..Limits::default() });
    let mut client = client(&gateway).await;
    // Until the first answer the client may not know the limit.
    client.send_request(request("/", Bytes::new())).await.unwrap();
    let start = Instant::now();
    let mut calls: Vec<_> = (0..3)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                client.send_request(request("/slow", Bytes::new())).await.unwrap().status()
            })
        })
        .collect();
    // The client is told, and holds the third back until one of the two is done.
    for call in calls.drain(..) {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_sent_away() {
    let gateway = serve(&quick());
    let mut client = client(&gateway).await;
    client.send_request(request("/", Bytes::new())).await.unwrap().into_body().collect().await.unwrap();
    let start = Instant::now();
    while client.ready().await.is_ok() && !client.is_closed() {
        assert!(start.elapsed() < PATIENCE, "never sent away");
        sleep(Duration::from_millis(20)).await;
    }
    about(start.elapsed(), Duration::from_millis(900));
}

#[tokio::test]
async fn the_drain_lets_streams_end() {
    let gateway = serve(&Limits::default());
    let mut client = client(&gateway).await;
    let answer = tokio::spawn(client.send_request(request("/slow", Bytes::new())));
    while gateway.running.open_requests() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let drained = timeout(PATIENCE, gateway.running.drain(PATIENCE)).await.unwrap();
    assert_eq!((drained.cut_connections, drained.cut_requests), (0, 0));
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "\"slow\"");
    assert!(client.send_request(request("/", Bytes::new())).await.is_err());
}
