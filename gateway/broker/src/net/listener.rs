//! Accepts connections, up to a number.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::Connection;
use crate::node::{Node, Peer};

/// Pause after a failed accept, most often for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for connections to send the answers that they owe when the broker stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `stop` changes, then waits for connections to send what they owe.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(node.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the log");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(%remote, limit = node.limits.connections, "too many connections to the log; this one is closed");
            continue;
        };
        let (Ok(local), Ok(())) = (stream.local_addr(), stream.set_nodelay(true)) else {
            continue;
        };
        let connection = Connection::new(Arc::clone(&node), stream, Peer { local, remote });
        let stop = stop.clone();
        connections.spawn(async move {
            if let Err(closed) = connection.run(stop).await {
                tracing::debug!(%remote, reason = %closed, "a connection to the log is closed");
            }
            drop(place);
        });
    }
    drop(listener);
    let drained =
        tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::debug!("some connections to the log did not take their answers in time");
    }
}
