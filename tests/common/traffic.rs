//! A crowd of clients: many requests at a time, each with a text of its own, all that came of them kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use tokio::sync::watch;

use super::caller::{Caller, message};
use super::check::Sent;
use super::json;

/// Clients that work side by side.
const CLIENTS: usize = 24;

/// Requests on their way: A2A sends to the agent `echo` and calls of the tool `echo` of the server `tools`.
pub(crate) struct Traffic {
    answered: Arc<AtomicUsize>,
    gate: watch::Sender<bool>,
    clients: Vec<tokio::task::JoinHandle<Vec<Sent>>>,
}

impl Traffic {
    /// Sends `total` requests. A request that fails is not sent again.
    pub(crate) fn start(caller: &Caller, total: usize) -> Self {
        let (gate, open) = watch::channel(true);
        let (next, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (caller, next, answered, mut open) =
                (caller.clone(), Arc::clone(&next), Arc::clone(&answered), open.clone());
            tokio::spawn(async move {
                let mut ledger = Vec::new();
                loop {
                    // Nobody sends while the gateway is known to be down.
                    if open.wait_for(|open| *open).await.is_err() {
                        return ledger;
                    }
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return ledger;
                    }
                    ledger.push(one(&caller, number).await);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Self { clients: (0..CLIENTS).map(client).collect(), answered, gate }
    }

    /// Requests that have ended so far, well or not.
    pub(crate) fn ended(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Holds the clients back, or lets them go on.
    pub(crate) fn open(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// Waits for the last one; what was sent, and what came back.
    pub(crate) async fn finish(self) -> Vec<Sent> {
        let mut ledger = Vec::new();
        for client in self.clients {
            ledger.extend(client.await.expect("a client does not panic"));
        }
        ledger
    }
}

async fn one(caller: &Caller, number: usize) -> Sent {
    let text = format!("request {number}");
    let request = if number.is_multiple_of(2) {
        let params = message(&text);
        let body = json!({"jsonrpc": "2.0", "id": number, "method": "SendMessage", "params": params});
        caller.request("/a2a/echo", &[("a2a-version", "1.0")], body.to_string())
    } else {
        caller.modern("/mcp/tools", "tools/call", json!({"name": "echo", "arguments": {"text": text}}))
    };
    let (request, body) = keep_body(request).await;
    Sent { answer: caller.client.send(request).await.ok(), body }
}

async fn keep_body(request: Request<Full<Bytes>>) -> (Request<Full<Bytes>>, Bytes) {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (Request::from_parts(parts, Full::new(bytes.clone())), bytes)
}
