//! Sockets that listen.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::tls::TlsError;

/// Connections that the kernel holds for a worker that is busy.
const BACKLOG: i32 = 1024;

/// The setting that decides where a listener is; errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    Public,
    Admin,
}

impl Setting {
    pub(super) fn listener(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.listen", self.listener())
    }
}

/// Why a listener cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{setting}: {address} is taken by another program; stop it or set {setting} to another port")]
    Taken { setting: Setting, address: SocketAddr },
    #[error("{setting}: {address} is no address of this machine; set {setting} to one that is")]
    NotOurs { setting: Setting, address: SocketAddr },
    #[error(
        "{setting}: {address} needs a privilege that this process lacks; set {setting} to a port above 1023"
    )]
    NotPermitted { setting: Setting, address: SocketAddr },
    #[error("{setting}: cannot listen on {address}")]
    Listen {
        setting: Setting,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{setting}: cannot start a worker")]
    Start {
        setting: Setting,
        #[source]
        source: io::Error,
    },
    #[error("public.tls")]
    Tls(#[from] TlsError),
}

/// `count` sockets that listen on one address, and which it is.
pub(super) fn listeners(
    setting: Setting,
    address: SocketAddr,
    count: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), BindError> {
    let failed = |address: SocketAddr| move |source: io::Error| refused(setting, address, source);
    if address.port() != 0 {
        // SO_REUSEPORT would let two gateways of one user share a port unseen. A socket without it tells.
        drop(listener(address, false).map_err(failed(address))?);
    }
    let first = listener(address, true).map_err(failed(address))?;
    let bound = first.local_addr().map_err(failed(address))?;
    let mut all = vec![first];
    for _ in 1..count {
        all.push(listener(bound, true).map_err(failed(bound))?);
    }
    Ok((bound, all))
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections are in TIME_WAIT is free; one that is listened on is not.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn refused(setting: Setting, address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { setting, address },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { setting, address },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { setting, address },
        _ => BindError::Listen { setting, address, source },
    }
}
