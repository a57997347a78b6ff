//! `ledger`: purchases and sales of gold, kept in a file.
//!
//! - [`book`]: entries, holdings, average cost; pure
//! - [`file`]: the entries on disk: locked, appended, synced
//! - [`schema`]: what the tools take and give; [`tools`]: what they do

mod book;
mod file;
mod schema;
mod tools;

use std::path::PathBuf;

use super::DemoError;
use super::mcp::serve_stdio;

pub(crate) use tools::Ledger;

/// Serves the ledger in `file` over MCP on stdin and stdout until the input ends. A missing file is
/// made, with two example purchases in it. Several processes may share one file.
pub async fn ledger(file: PathBuf) -> Result<(), DemoError> {
    serve_stdio(Ledger::open(file).await?).await
}
