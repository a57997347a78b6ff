//! The example upstreams: small, real servers that come with the binary.
//!
//! | sub-command | speaks | what it is for |
//! | --- | --- | --- |
//! | `gold-price` | MCP over stdio | the price of an ounce of gold, now and on a day |
//! | `ledger` | MCP over stdio | purchases and sales, kept in a file |
//! | `profit-clac` | MCP over stdio | profit from holdings, cost and price |
//! | `advisor` | A2A over HTTP | answers "what is my profit?" with the three, through the gateway |
//!
//! They stand on the far side of the gateway and know nothing of its inside: the advisor reaches
//! the tools as any client would, by HTTP and with a key of its own. Money is whole cents and
//! weight whole milli-ounces everywhere, so that a lost or doubled call shows as a wrong number.

use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use hyper::Uri;

mod advisor;
mod arguments;
mod clock;
mod error;
mod gold_price;
mod ledger;
mod mcp;
mod money;
mod profit_clac;

pub use advisor::{advisor, advisor_on};
pub use error::DemoError;
pub use gold_price::gold_price;
pub use ledger::ledger;
pub use profit_clac::profit_clac;

/// Which example upstream to run.
#[derive(clap::Subcommand)]
pub enum Demo {
    /// MCP server on stdin and stdout: the price of an ounce of gold
    GoldPrice,
    /// MCP server on stdin and stdout: purchases and sales of gold, kept in a file
    Ledger {
        /// The file that holds the entries, one JSON object a line; made when it is missing
        #[arg(long, env = "KAMF_LEDGER", default_value = "data/ledger.jsonl")]
        file: PathBuf,
    },
    /// MCP server on stdin and stdout: profit from holdings, cost and price
    ProfitClac,
    /// A2A agent over HTTP that uses the three tool servers through the gateway
    Advisor {
        /// Where to listen; port 0 lets the kernel pick one
        #[arg(long, default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
        /// The gateway's address; its tools are expected under `/mcp`
        #[arg(long, env = "KAMF_URL", default_value = "http://127.0.0.1:8080")]
        gateway: Uri,
        /// The key with which the advisor names itself to the gateway
        #[arg(long, env = "KAMF_KEY", hide_env_values = true)]
        key: String,
    },
}

/// Runs one example upstream: the tool servers until their input ends, the advisor until it is
/// stopped.
pub async fn run(demo: Demo) -> Result<(), DemoError> {
    match demo {
        Demo::GoldPrice => gold_price().await,
        Demo::Ledger { file } => ledger(file).await,
        Demo::ProfitClac => profit_clac().await,
        Demo::Advisor { listen, gateway, key } => {
            tokio::select! {
                ended = advisor(listen, gateway, key) => ended,
                () = orphaned() => Ok(()),
            }
        }
    }
}

/// Ends when standard input is a pipe and comes to its end: whoever started this program is gone, were it by SIGKILL.
/// At a terminal, or with no input at all, it waits for ever.
async fn orphaned() {
    if !std::fs::metadata("/dev/stdin").is_ok_and(|input| input.file_type().is_fifo()) {
        return std::future::pending().await;
    }
    let (gone, parent) = tokio::sync::oneshot::channel::<()>();
    // Reading blocks a thread; the runtime does not wait for this one when it ends.
    std::thread::spawn(move || {
        // An error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(gone);
    });
    let _ = parent.await;
}
