//! The floor: the least that a proxy of this stack can do. Parses HTTP on both sides, passes head and
//! body on, looks at nothing.

use std::net::SocketAddr;

use anyhow::Result;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Scheme};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Upstream = Client<HttpConnector, Incoming>;

/// Forwards everything to `upstream`, on a port that the kernel picks, which it tells on standard
/// output, until it is ended.
pub(crate) async fn serve(upstream: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::process::announce(listener.local_addr()?)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    let authority: Authority = upstream.to_string().parse()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, authority) = (client.clone(), authority.clone());
        let service = service_fn(move |request| {
            let (client, authority) = (client.clone(), authority.clone());
            async move { forward(&client, authority, request).await }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // A connection that breaks is its client's business, who counts it.
        tokio::spawn(async move { connection.await.ok() });
    }
}

async fn forward(
    client: &Upstream,
    authority: Authority,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>> {
    request.headers_mut().remove(CONNECTION);
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(target)?;
    let mut response = client.request(request).await?;
    // The framing towards the client is chosen anew.
    response.headers_mut().remove(CONNECTION);
    response.headers_mut().remove(TRANSFER_ENCODING);
    Ok(response)
}
