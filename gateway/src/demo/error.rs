//! What keeps an example upstream from running at all. What goes wrong with one request is
//! answered to its caller and is no error here.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why an example upstream could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The line to the MCP client broke.
    #[error("the MCP client on stdin and stdout is gone")]
    Stdio(#[source] io::Error),
    /// The price series that is compiled in cannot be read.
    #[error("line {line} of the gold price series is not `YYYY-MM-DD,cents` in rising order")]
    Series {
        /// Line number, from 1.
        line: usize,
    },
    /// The ledger's file cannot be used.
    #[error("cannot use the ledger file {}; name another with --file", path.display())]
    Ledger {
        /// The file as it was named.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The advisor's address is not to be had.
    #[error("the advisor cannot listen on {address}; choose another address with --listen")]
    Listen {
        /// The address as it was configured.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The gateway's address is not one that the advisor can call.
    #[error(
        "the gateway's address `{address}` is not of the form http://host:port; \
         the advisor speaks plain HTTP (set --gateway or KAMF_URL)"
    )]
    Gateway {
        /// The address as it was configured.
        address: String,
    },
    /// The key cannot travel in a header. Its text is not repeated here.
    #[error(
        "the advisor's key is empty or holds characters that a header cannot carry \
         (set --key or KAMF_KEY)"
    )]
    Key,
}
