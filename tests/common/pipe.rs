//! A wire that can be cut: TCP connections passed on to another address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes connections on until it is dropped.
pub(crate) struct Pipe {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    listening: JoinHandle<()>,
}

impl Pipe {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let connections = Arc::<Mutex<Vec<JoinHandle<()>>>>::default();
        let open = Arc::clone(&connections);
        let listening = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let connection = tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        // An error is an end that left, which its other end sees as well.
                        drop(copy_bidirectional(&mut near, &mut far).await);
                    }
                });
                open.lock().expect("no panic while it is held").push(connection);
            }
        });
        Self { address, connections, listening }
    }

    /// Cuts all connections that are open now; new ones are taken.
    pub(crate) fn cut(&self) -> usize {
        let mut open = self.connections.lock().expect("no panic while it is held");
        let cut = open.iter().filter(|connection| !connection.is_finished()).count();
        open.drain(..).for_each(|connection| connection.abort());
        cut
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}
