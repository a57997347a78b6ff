//! Deadlines and limits of connections.

use super::*;

const QUICK: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_client_that_says_nothing_is_cut() {
    let gateway = serve(&quick());
    about(Raw::to(&gateway).await.kept().await, QUICK);
}

#[tokio::test]
async fn half_an_http2_preface_is_cut() {
    let gateway = serve(&quick());
    for start in ["P", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut client = Raw::to(&gateway).await;
        client.send(start).await;
        about(client.kept().await, QUICK);
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_however_busily_it_is_sent() {
    let gateway = serve(&quick());
    let mut client = Raw::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\n").await;
    about(client.kept().await, QUICK);

    let mut client = Raw::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nx: ").await;
    let start = Instant::now();
    while client.0.write_all(b"x").await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "never cut");
        sleep(Duration::from_millis(30)).await;
    }
    assert!(start.elapsed() >= QUICK - Duration::from_millis(50));
}

#[tokio::test]
async fn a_later_head_has_its_own_deadline_and_an_idle_connection_a_longer_one() {
    let gateway = serve(&quick());
    let mut client = Raw::to(&gateway).await;
    for _ in 0..2 {
        client.send(HEAD).await;
        client.until("\"ok\"").await;
        sleep(Duration::from_millis(500)).await;
    }
    client.send("GET /").await;
    about(client.kept().await, QUICK);

    let mut client = Raw::to(&gateway).await;
    client.send(HEAD).await;
    client.until("\"ok\"").await;
    about(client.kept().await, Duration::from_millis(900));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let gateway = serve(&quick());
    let mut client = Raw::to(&gateway).await;
    client.send("GET /flood HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let start = Instant::now();
    while gateway.running.open_requests() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    while gateway.running.open_requests() > 0 {
        assert!(start.elapsed() < PATIENCE, "never cut");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() >= QUICK - Duration::from_millis(50));
}

#[tokio::test]
async fn connections_of_one_address_are_counted_and_refused_cleanly() {
    let limits = Limits { connections_per_address: 2, ..Limits::default() };
    let gateway = serve(&limits);
    let mut first = Raw::to(&gateway).await;
    let mut second = Raw::to(&gateway).await;
    for client in [&mut first, &mut second] {
        client.send(HEAD).await;
        client.until("\"ok\"").await;
    }
    let mut third = Raw::to(&gateway).await;
    third.send(HEAD).await;
    let answer = third.rest().await.unwrap();
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("retry-after"), "{answer}");
    drop(first);
    let start = Instant::now();
    loop {
        let mut again = Raw::to(&gateway).await;
        again.send(HEAD).await;
        if again.0.readable().await.is_ok() && again.until("\r\n").await.contains("200 OK") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the place never came back");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn connections_in_all_are_counted() {
    let gateway = serve(&Limits { connections: 1, ..Limits::default() });
    let mut first = Raw::to(&gateway).await;
    first.send(HEAD).await;
    first.until("\"ok\"").await;
    let mut second = Raw::to(&gateway).await;
    second.send(HEAD).await;
    assert_eq!(status(&second.rest().await.unwrap()), 503);
}

#[tokio::test]
async fn a_taken_port_names_the_setting() {
    let gateway = serve(&Limits::default());
    let public = Public { listen: gateway.address, ..Public::default() };
    let refused = Server::bind(&public, &Limits::default()).unwrap_err();
    assert!(matches!(refused, BindError::Taken { setting: Setting::Public, .. }), "{refused}");
    assert!(refused.to_string().contains("public.listen"), "{refused}");
    let admin = crate::config::Admin { listen: gateway.address };
    let refused = Server::bind_admin(&admin, &Limits::default()).unwrap_err();
    assert!(refused.to_string().contains("admin.listen"), "{refused}");
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let gateway = serve(&quick());
    let mut client = Raw::to(&gateway).await;
    client.send(HEAD).await;
    client.until("\"ok\"").await;
    let foreign = "GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n";
    client.send(foreign).await;
    client.until("}}").await;
    for (name, label, value) in [
        ("kamf_edge_requests_total", "2xx", 1.0),
        ("kamf_edge_requests_total", "4xx", 1.0),
        ("kamf_edge_refusals_total", "host_refused", 1.0),
        ("kamf_edge_connections", "", 1.0),
        ("kamf_edge_received_bytes_total", "", (HEAD.len() + foreign.len()) as f64),
    ] {
        assert_eq!(gateway.metric(name, label), value, "{name} {label}");
    }
    assert!(gateway.metric("kamf_edge_sent_bytes_total", "") > 100.0);
    client.send("GET ").await;
    client.kept().await;
    // The client may see the end before the gateway has counted it.
    while gateway.metric("kamf_edge_connections", "") > 0.0 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(gateway.metric("kamf_edge_connections_cut_total", "head"), 1.0);
    assert!(Metrics::register(&gateway.registry).is_err());
}
