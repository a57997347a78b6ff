//! The end of a listener.

use super::*;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

#[tokio::test]
async fn what_is_being_answered_is_answered_and_nothing_new_comes_in() {
    let gateway = serve(&Limits::default());
    let mut slow = Raw::to(&gateway).await;
    slow.send(&get("/slow")).await;
    while gateway.running.open_requests() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let address = gateway.address;
    let drain = tokio::spawn(gateway.running.drain(PATIENCE));
    let answer = slow.rest().await.unwrap();
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("connection: close"), "{answer}");
    let drained = timeout(PATIENCE, drain).await.unwrap().unwrap();
    assert_eq!((drained.cut_connections, drained.cut_requests), (0, 0));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_on_its_way_is_answered_and_idle_connections_end() {
    let gateway = serve(&Limits::default());
    let (mut late, mut idle) = (Raw::to(&gateway).await, Raw::to(&gateway).await);
    for client in [&mut late, &mut idle] {
        client.send(HEAD).await;
        client.until("\"ok\"").await;
    }
    let fresh = Raw::to(&gateway).await;
    let drain = tokio::spawn(gateway.running.drain(PATIENCE));
    sleep(Duration::from_millis(50)).await;
    late.send(HEAD).await;
    let answer = late.rest().await.unwrap();
    assert!(status(&answer) == 200 && answer.contains("connection: close"), "{answer}");
    assert_eq!(idle.rest().await.unwrap(), "");
    drop(fresh);
    let drained = timeout(PATIENCE, drain).await.unwrap().unwrap();
    assert_eq!(drained.cut_connections, 0);
}

#[tokio::test]
async fn what_outlives_the_grace_is_cut_and_counted() {
    let gateway = serve(&Limits::default());
    let mut stream = Raw::to(&gateway).await;
    stream.send(&get("/quiet")).await;
    stream.until("data: 1\n\n").await;
    let start = Instant::now();
    let drained = timeout(PATIENCE, gateway.running.drain(Duration::from_millis(300))).await.unwrap();
    about(start.elapsed(), Duration::from_millis(300));
    assert_eq!((drained.cut_connections, drained.cut_requests), (1, 1));
    assert!(!stream.rest().await.unwrap_or_default().contains("0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_no_answer_is_lost() {
    let gateway = serve(&Limits::default());
    let address = gateway.address;
    let callers: Vec<_> = (0..16).map(|_| tokio::spawn(call_until_told(address))).collect();
    sleep(Duration::from_millis(300)).await;
    let drained = timeout(PATIENCE, gateway.running.drain(Duration::from_secs(5))).await.unwrap();
    assert_eq!((drained.cut_connections, drained.cut_requests), (0, 0));
    let mut answered = 0;
    for caller in callers {
        answered += timeout(PATIENCE, caller).await.unwrap().unwrap();
    }
    assert!(answered > 100, "{answered} answers");
}

/// Calls without a pause until an answer says `connection: close`; every request must be answered.
async fn call_until_told(address: SocketAddr) -> usize {
    let mut client = Raw(TcpStream::connect(address).await.unwrap());
    let body = "z".repeat(1024);
    for answered in 1.. {
        client.send(&post(&body)).await;
        if client.until(&body).await.contains("connection: close") {
            return answered;
        }
    }
    0
}

#[tokio::test]
async fn dropped_without_a_drain_it_stops() {
    let gateway = serve(&Limits::default());
    let mut client = Raw::to(&gateway).await;
    client.send(&get("/quiet")).await;
    client.until("data: 1\n\n").await;
    drop(gateway.running);
    let _ = client.rest().await;
}
