//! TLS from files.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::config::Tls;

/// A pair for `localhost` in `folder`, and its certificate.
fn pair(folder: &Path) -> (Tls, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls { certificate: folder.join("chain.pem"), key: folder.join("key.pem") };
    fs::write(&tls.certificate, made.cert.pem()).unwrap();
    fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
    (tls, made.cert.der().clone())
}

async fn connect(
    gateway: &Gateway,
    trusted: &CertificateDer<'static>,
    protocol: &[u8],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

fn serve_tls(tls: Tls, limits: &Limits) -> Gateway {
    serve_public(&Public { tls: Some(tls), ..Public::default() }, limits)
}

#[tokio::test]
async fn both_protocols_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, trusted) = pair(folder.path());
    let gateway = serve_tls(tls, &Limits::default());

    let mut one = connect(&gateway, &trusted, b"http/1.1").await;
    assert_eq!(one.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    one.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    one.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 200);

    let two = connect(&gateway, &trusted, b"h2").await;
    assert_eq!(two.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = http2::connect(TokioIo::new(two)).await;
    let large = Bytes::from(vec![b'x'; 300_000]);
    let answer = client.send_request(http2::request("/echo", large.clone())).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), large);
}

#[tokio::test]
async fn a_handshake_and_a_first_byte_have_deadlines() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, trusted) = pair(folder.path());
    let gateway = serve_tls(tls, &quick());
    about(Raw::to(&gateway).await.kept().await, Duration::from_millis(300));
    let mut silent = connect(&gateway, &trusted, b"h2").await;
    let start = Instant::now();
    let _ = silent.read_to_end(&mut Vec::new()).await;
    about(start.elapsed(), Duration::from_millis(300));
}

#[tokio::test]
async fn an_abort_over_tls_is_no_clean_end() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, trusted) = pair(folder.path());
    let gateway = serve_tls(tls, &Limits::default());
    let mut client = connect(&gateway, &trusted, b"http/1.1").await;
    client.write_all(b"GET /abort HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = client.read_to_end(&mut answer).await;
    assert!(ended.is_err(), "no close_notify: {}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_pair_that_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let ((mine, _), (foreign, _)) = (pair(folder.path()), pair(other.path()));
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    for tls in [
        Tls { certificate: mine.certificate.clone(), key: foreign.key },
        Tls { certificate: empty.clone(), key: mine.key.clone() },
        Tls { certificate: mine.certificate, key: empty },
    ] {
        let public = Public { listen: "127.0.0.1:0".parse().unwrap(), tls: Some(tls), ..Public::default() };
        let refused = Server::bind(&public, &Limits::default()).unwrap_err();
        assert!(matches!(refused, BindError::Tls(_)), "{refused}");
    }
}
