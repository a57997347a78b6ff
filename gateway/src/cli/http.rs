//! One request to the admin listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::CliError;

/// How long the gateway may take: a search through the log has up to 20 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer taken: an hour of 10-second rows with many keys.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Asks the admin listener at `listen` for `path`; gives the JSON answer.
pub(super) async fn get(listen: SocketAddr, path: &str) -> Result<Value, CliError> {
    send(listen, Method::GET, path).await
}

/// Has the admin listener at `listen` do what `path` names; gives the JSON answer.
pub(super) async fn post(listen: SocketAddr, path: &str) -> Result<Value, CliError> {
    send(listen, Method::POST, path).await
}

async fn send(listen: SocketAddr, method: Method, path: &str) -> Result<Value, CliError> {
    let address = reachable(listen)?;
    let gone = |why: String| CliError::NoGateway { address: address.to_string(), why };
    let asked = tokio::time::timeout(PATIENCE, ask(address, method, path)).await;
    let (status, body) = asked
        .map_err(|_| gone(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(|error| gone(error.to_string()))?;
    if status != 200 {
        let body = String::from_utf8_lossy(&body).trim().to_owned();
        return Err(CliError::Answer { path: path.to_owned(), status, body });
    }
    serde_json::from_slice(&body).map_err(|source| CliError::Unreadable { path: path.to_owned(), source })
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

async fn ask(address: SocketAddr, method: Method, path: &str) -> Result<(u16, Bytes), Fault> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}

/// Where a listener can be reached from this machine.
fn reachable(listen: SocketAddr) -> Result<SocketAddr, CliError> {
    if listen.port() == 0 {
        return Err(CliError::NoAddress);
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, listen.port()))
}
