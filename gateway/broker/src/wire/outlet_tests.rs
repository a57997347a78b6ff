use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::HeartbeatResponse;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::super::answer::{Fetched, FetchedPartition};
use super::*;
use crate::storage::partition::Ends;

async fn connected() -> (Outlet, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (_, out) = listener.accept().await.unwrap().0.into_split();
    out.writable().await.unwrap();
    (Outlet::new(out), client)
}

fn beat(error: ResponseError) -> Answer {
    HeartbeatResponse::default().with_error_code(error.code()).into()
}

fn large(bytes: usize) -> Answer {
    let ends = Ends { log_start: 0, high_watermark: 0 };
    let batches = vec![Bytes::from(vec![7; bytes])];
    let partitions = vec![FetchedPartition { index: 0, error: 0, ends, batches }];
    Answer::Fetched(Fetched { error: 0, topics: vec![(Default::default(), partitions)] })
}

/// The correlation id of the next frame, and its length.
async fn next(client: &mut TcpStream) -> (i32, usize) {
    let length = client.read_u32().await.unwrap() as usize;
    let mut frame = vec![0; length];
    client.read_exact(&mut frame).await.unwrap();
    (i32::from_be_bytes(frame[..4].try_into().unwrap()), length)
}

#[tokio::test]
async fn answers_leave_in_the_order_of_their_requests() {
    let (outlet, mut client) = connected().await;
    let [first, lazy, last] = [1, 2, 3].map(|correlation| outlet.enter(ApiKey::Heartbeat, 0, correlation));
    outlet.make_lazy(lazy);
    outlet.answer(last, beat(ResponseError::UnknownMemberId));
    assert!(!outlet.send().begin, "the one before it is not answered");
    outlet.answer(first, beat(ResponseError::UnknownMemberId));
    // As the committing thread does it: the task hears that its turn has come.
    Line::send(&outlet);
    outlet.wanted().await;
    assert_eq!(next(&mut client).await.0, 1);
    let duty = outlet.send();
    assert!(duty.begin && !duty.idle);
    outlet.answer(lazy, beat(ResponseError::UnknownMemberId));
    assert!(outlet.send().idle);
    assert_eq!((next(&mut client).await.0, next(&mut client).await.0), (2, 3));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for() {
    const BYTES: usize = 32 << 20;
    let (outlet, mut client) = connected().await;
    for correlation in 0..2 {
        let ticket = outlet.enter(ApiKey::Fetch, 4, correlation);
        outlet.answer(ticket, large(BYTES));
    }
    Line::send(&outlet);
    outlet.wanted().await;
    let duty = outlet.send();
    assert!(duty.unstick && !duty.read && !duty.idle);
    let reading = tokio::spawn(async move { [next(&mut client).await, next(&mut client).await] });
    while !outlet.send().idle {
        outlet.unstick().await.unwrap();
    }
    let read = reading.await.unwrap();
    assert_eq!([read[0].0, read[1].0], [0, 1]);
    assert!(read.iter().all(|(_, bytes)| *bytes > BYTES));
}

#[tokio::test]
async fn reading_pauses_behind_many_requests_and_goes_on() {
    let (outlet, mut client) = connected().await;
    let correlations = 0..i32::try_from(PIPELINE).unwrap();
    let tickets: Vec<_> =
        correlations.map(|correlation| outlet.enter(ApiKey::Heartbeat, 0, correlation)).collect();
    assert!(!outlet.send().read);
    outlet.answer(tickets[0], beat(ResponseError::UnknownMemberId));
    Line::send(&outlet);
    outlet.wanted().await;
    assert!(outlet.send().read);
    assert_eq!(next(&mut client).await.0, 0);
}
