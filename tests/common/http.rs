//! A plain HTTP client, and answers whole or as a stream.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::{Result, Value};

/// Longer than any answer may take; a test that meets it has found a hang.
const PATIENCE: Duration = Duration::from_secs(90);

/// An HTTP client with a pool of its own.
#[derive(Clone)]
pub(crate) struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Client {
    pub(crate) fn new() -> Self {
        Self::trusting(&[], false)
    }

    /// A client that trusts `roots`; `h2` speaks HTTP/2 only, also without TLS.
    pub(crate) fn trusting(roots: &[CertificateDer<'static>], h2: bool) -> Self {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).expect("a root certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_root_certificates(store)
            .with_no_client_auth();
        let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = if h2 {
            builder.enable_http2().wrap_connector(http)
        } else {
            builder.enable_http1().wrap_connector(http)
        };
        let mut client = legacy::Client::builder(TokioExecutor::new());
        client.http2_only(h2).pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        // An own retry would hide a lost answer.
        client.retry_canceled_requests(false);
        Self(client.build(connector))
    }

    pub(crate) async fn get(&self, url: &str) -> Result<Answer> {
        self.send(Request::get(url).body(Full::default())?).await
    }

    /// Sends a request and waits for all of the answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let work = async { Answer::of(self.open(request).await?).await };
        tokio::time::timeout(PATIENCE, work).await.context("no answer: a hang")?
    }

    /// Sends a request and gives the answer's head, with the body still to come.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let answer = tokio::time::timeout(PATIENCE, self.0.request(request)).await;
        answer.context("no head of an answer: a hang")?.context("the request failed")
    }
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Reads the whole of `response`.
    pub(crate) async fn of(response: Response<Incoming>) -> Result<Self> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.context("the answer broke off")?.to_bytes();
        Ok(Self { status: parts.status.as_u16(), version: parts.version, headers: parts.headers, body })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{} {}", self.status, self.text()))
    }

    /// The JSON-RPC messages of the answer, be it one or a stream.
    pub(crate) fn messages(&self) -> Result<Vec<Value>> {
        if !self.header("content-type").starts_with("text/event-stream") {
            return Ok(vec![self.json()?]);
        }
        let text = self.text().replace("\r\n", "\n");
        let data = text.split("\n\n").map(data_of).filter(|data| !data.is_empty());
        data.map(|data| serde_json::from_str(&data).with_context(|| data.clone())).collect()
    }

    /// The last message: the answer proper.
    pub(crate) fn last(&self) -> Result<Value> {
        self.messages()?.pop().context("an answer without a message")
    }

    /// `kamf-relay-id`.
    pub(crate) fn relay_id(&self) -> &str {
        self.header("kamf-relay-id")
    }
}

fn data_of(event: &str) -> String {
    let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// A stream read message by message.
pub(crate) struct Stream {
    body: Incoming,
    buffer: String,
    pub(crate) relay_id: String,
    /// Of the last event that had one.
    pub(crate) last_id: String,
}

impl Stream {
    pub(crate) fn of(response: Response<Incoming>) -> Self {
        let id = response.headers().get("kamf-relay-id").and_then(|value| value.to_str().ok());
        Self {
            relay_id: id.unwrap_or_default().to_owned(),
            body: response.into_body(),
            buffer: String::new(),
            last_id: String::new(),
        }
    }

    /// The next message; none at a clean end.
    ///
    /// # Errors
    /// When the stream breaks off or falls silent.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>> {
        let text = self.next_text().await?;
        text.map(|text| serde_json::from_str(&text).with_context(|| text.clone())).transpose()
    }

    /// The next message as it is written; none at a clean end.
    ///
    /// # Errors
    /// As [`Stream::next`].
    pub(crate) async fn next_text(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let event: String = self.buffer.drain(..end + 2).collect();
                if let Some(id) = event.lines().find_map(|line| line.strip_prefix("id: ")) {
                    id.clone_into(&mut self.last_id);
                }
                let data = data_of(&event);
                if data.is_empty() {
                    continue;
                }
                return Ok(Some(data));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.context("a silent stream")?;
            match frame {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.context("the stream broke off")?.into_data() {
                        self.buffer.push_str(&String::from_utf8_lossy(&data).replace("\r\n", "\n"));
                    }
                }
            }
        }
    }
}
