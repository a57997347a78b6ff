//! Heads, bodies and their limits, over HTTP/1.1.

use super::*;

/// The answer to `request` on a connection of its own.
async fn ask(gateway: &Gateway, request: &str) -> String {
    let mut client = Raw::to(gateway).await;
    client.send(request).await;
    let head = client.until("\r\n\r\n").await;
    drop(client);
    head
}

#[tokio::test]
async fn a_request_is_answered_and_knows_its_peer() {
    let gateway = serve(&Limits::default());
    let mut client = Raw::to(&gateway).await;
    client.send("GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let own = client.0.local_addr().unwrap().to_string();
    let answer = client.until(&own).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains(&format!("content-length: {}\r\n", own.len())), "{answer}");
}

#[tokio::test]
async fn bodies_hold_at_n_and_break_at_n_and_one() {
    let limits = Limits { body_bytes: 1000, ..Limits::default() };
    let gateway = serve(&limits);
    let chunked = |length: usize| {
        let chunk = "y".repeat(length - 500);
        format!(
            "POST /echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1f4\r\n{}\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
            "x".repeat(500),
            chunk.len()
        )
    };
    for (request, expected) in [
        (post(&"x".repeat(1000)), 200),
        (post(&"x".repeat(1001)), 413),
        (chunked(1000), 200),
        (chunked(1001), 413),
        (post(""), 200),
    ] {
        let answer = ask(&gateway, &request).await;
        assert_eq!(status(&answer), expected, "{answer}");
    }
}

#[tokio::test]
async fn a_body_refused_by_its_length_is_not_asked_for_and_the_refusal_arrives() {
    let gateway = serve(&Limits { body_bytes: 1000, ..Limits::default() });
    let mut client = Raw::to(&gateway).await;
    client
        .send(
            "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\nexpect: 100-continue\r\n\r\n",
        )
        .await;
    let answer = client.rest().await.unwrap();
    assert_eq!(status(&answer), 413, "{answer}");

    // A client that sends it all before it reads still reads the refusal, and no reset.
    let mut client = Raw::to(&gateway).await;
    client.send(&post(&"x".repeat(2 * 1024 * 1024))).await;
    let answer = client.rest().await.unwrap();
    assert_eq!(status(&answer), 413, "{answer}");
}

#[tokio::test]
async fn a_body_in_many_pieces_comes_out_whole() {
    let gateway = serve(&Limits::default());
    let body = "0123456789".repeat(30_000);
    let mut client = Raw::to(&gateway).await;
    client
        .send(&format!("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len()))
        .await;
    for piece in body.as_bytes().chunks(7_001) {
        client.0.write_all(piece).await.unwrap();
    }
    let mut answer = Vec::new();
    while answer.len() < body.len() || !String::from_utf8_lossy(&answer).ends_with(&body[body.len() - 50..]) {
        assert!(timeout(PATIENCE, client.0.read_buf(&mut answer)).await.unwrap().unwrap() > 0);
    }
    assert!(String::from_utf8(answer).unwrap().ends_with(&body));
}

#[tokio::test]
async fn slow_bodies_are_refused() {
    let gateway = serve(&quick());
    let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n";
    let mut client = Raw::to(&gateway).await;
    client.send(head).await;
    let start = Instant::now();
    assert_eq!(status(&client.rest().await.unwrap()), 408);
    about(start.elapsed(), Duration::from_millis(300));

    let mut client = Raw::to(&gateway).await;
    client.send(head).await;
    let start = Instant::now();
    let answer = loop {
        client.send("x").await;
        if let Ok(answer) = timeout(Duration::from_millis(100), client.until("\r\n")).await {
            break answer;
        }
    };
    assert_eq!(status(&answer), 408);
    about(start.elapsed(), Duration::from_millis(900));
}

#[tokio::test]
async fn head_limits_hold_at_n_and_break_at_n_and_one() {
    let limits = Limits { header_count: 20, ..Limits::default() };
    let (few, standard) = (serve(&limits), serve(&Limits::default()));
    let headers = |count: usize| {
        let more: String = (1..count).map(|index| format!("x-{index}: 1\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: localhost\r\n{more}\r\n")
    };
    let target =
        |length: usize| format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(length - 1));
    // The head, its end included, is `length` long; hyper has room for exactly so much.
    let head = |length: usize| {
        let frame = "GET / HTTP/1.1\r\nhost: localhost\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(length - frame))
    };
    for (gateway, request, expected) in [
        (&few, headers(20), 200),
        (&few, headers(21), 431),
        (&standard, headers(100), 200),
        (&standard, headers(101), 431),
        (&standard, target(8 * 1024), 200),
        (&standard, target(8 * 1024 + 1), 431),
        (&standard, head(64 * 1024 - 1), 200),
        (&standard, head(64 * 1024 + 1), 431),
    ] {
        assert_eq!(status(&ask(gateway, &request).await), expected, "{} bytes", request.len());
    }
}

#[tokio::test]
async fn what_the_door_refuses_has_a_reason_in_the_answer() {
    let gateway = serve(&Limits::default());
    for (request, expected, reason) in [
        ("GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421, "host_refused"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\r\n", 403, "origin_refused"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx_y: 1\r\n\r\n", 400, "bad_http"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_http"),
        ("GET / HTTP/1.0\r\nhost: localhost\r\n\r\n", 400, "bad_http"),
        ("GET /a HTTP/1.1\r\nhost: localhost/health?\r\n\r\n", 400, "bad_http"),
        ("CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n\r\n", 405, "method_not_allowed"),
    ] {
        let mut client = Raw::to(&gateway).await;
        client.send(request).await;
        let answer = client.until("}}").await;
        assert_eq!(status(&answer), expected, "{request}");
        assert!(answer.contains(&format!("\"reason\":\"{reason}\"")), "{answer}");
    }
}

#[tokio::test]
async fn contradictory_framing_never_reaches_a_second_request() {
    let gateway = serve(&Limits::default());
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "content-length: 0x5\r\n",
        "content-length : 5\r\n",
    ] {
        let mut client = Raw::to(&gateway).await;
        let smuggled = "GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client
            .send(&format!("POST /echo HTTP/1.1\r\nhost: localhost\r\n{framing}\r\n0\r\n\r\n{smuggled}"))
            .await;
        let answer = client.rest().await.unwrap_or_default();
        assert!(!answer.contains("127.0.0.1"), "{framing}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{framing}: {answer}");
    }
}

#[tokio::test]
async fn garbage_is_answered_or_closed_and_the_gateway_stays() {
    let gateway = serve(&quick());
    for garbage in [
        "\0\0\0\0",
        "\x16\x03\x01\x02\0\x01\0",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "é / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = Raw::to(&gateway).await;
        client.send(garbage).await;
        let answer = client.rest().await.unwrap_or_default();
        assert!(answer.is_empty() || status(&answer) == 400, "{garbage:?}: {answer}");
    }
    assert_eq!(status(&ask(&gateway, HEAD).await), 200);
}

#[tokio::test]
async fn requests_over_the_limit_are_shed_not_queued() {
    let gateway = serve(&Limits { in_flight: 1, ..Limits::default() });
    let mut slow = Raw::to(&gateway).await;
    slow.send("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    while gateway.running.open_requests() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let answer = ask(&gateway, HEAD).await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(status(&slow.until("\"slow\"").await), 200);
    assert_eq!(status(&ask(&gateway, HEAD).await), 200);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_can_call() {
    let public = Public { origins: vec!["https://app.example".to_owned()], ..Public::default() };
    let gateway = serve_public(&public, &Limits::default());
    let origin = "host: localhost\r\norigin: https://app.example\r\n";
    let asked = "access-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n";
    let answer = ask(&gateway, &format!("OPTIONS /mcp HTTP/1.1\r\n{origin}{asked}\r\n")).await;
    assert_eq!(status(&answer), 204);
    assert!(answer.contains("access-control-allow-headers: authorization\r\n"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: https://app.example\r\n"), "{answer}");
    let answer = ask(&gateway, &format!("GET / HTTP/1.1\r\n{origin}\r\n")).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("access-control-allow-origin: https://app.example\r\n"), "{answer}");
    let foreign =
        format!("OPTIONS /mcp HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n{asked}\r\n");
    assert_eq!(status(&ask(&gateway, &foreign).await), 403);
}
