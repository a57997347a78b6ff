//! Every request in every version that is advertised gets an answer that its client can read.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::Decodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire::apis::APIS;
use crate::wire::samples;
use crate::{Broker, Options};

async fn ask(stream: &mut TcpStream, frame: &[u8], what: &str) -> Bytes {
    stream.write_all(frame).await.unwrap();
    let length = stream.read_u32().await.expect(what);
    let mut answer = BytesMut::zeroed(length as usize);
    stream.read_exact(&mut answer).await.unwrap();
    answer.freeze()
}

/// Asks everything and decodes every answer to its last byte.
async fn ask_everything(broker: &Broker, but: Option<ApiKey>) {
    for api in APIS.iter().filter(|api| Some(api.key) != but) {
        for version in api.min..=api.max {
            let what = format!("{:?} v{version}", api.key);
            let mut stream = TcpStream::connect(broker.address()).await.unwrap();
            let mut answer = ask(&mut stream, &samples::framed(api, version, 77), &what).await;
            let header_version = api.key.response_header_version(version);
            let header = ResponseHeader::decode(&mut answer, header_version).expect(&what);
            assert_eq!(header.correlation_id, 77, "{what}");
            let kind = ResponseKind::decode(api.key, &mut answer, version).expect(&what);
            assert!(!answer.has_remaining(), "{what} has more than {kind:?}");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn every_answer_at_every_version_is_readable() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Arc::new(Broker::start(Options::new(directory.path())).unwrap());
    runtime().block_on(async {
        // Once with nothing there, once with a topic, committed offsets and all.
        ask_everything(&broker, None).await;
        let create = APIS.iter().find(|api| api.key == ApiKey::CreateTopics).unwrap();
        let mut frame = samples::framed(create, 4, 1).to_vec();
        // The last byte of the request says that it is only to be checked.
        *frame.last_mut().unwrap() = 0;
        let mut stream = TcpStream::connect(broker.address()).await.unwrap();
        ask(&mut stream, &frame, "create").await;
        // The first time's members are still there, and would be waited for.
        ask_everything(&broker, Some(ApiKey::JoinGroup)).await;
    });
}

#[test]
fn a_version_of_the_future_is_answered_with_what_is_spoken() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(Options::new(directory.path())).unwrap();
    runtime().block_on(async {
        let mut stream = TcpStream::connect(broker.address()).await.unwrap();
        let frame = [0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 5, 0, 0];
        let mut answer = ask(&mut stream, &frame, "versions").await;
        let header = ResponseHeader::decode(&mut answer, 0).unwrap();
        let kind = ResponseKind::decode(ApiKey::ApiVersions, &mut answer, 0).unwrap();
        let ResponseKind::ApiVersions(versions) = kind else { panic!("{kind:?}") };
        assert_eq!((header.correlation_id, versions.error_code), (5, 35));
        assert_eq!(versions.api_keys.len(), APIS.len());
    });
}
