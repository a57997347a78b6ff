//! Finding the log.

use super::{CliError, http};
use crate::config::Config;
use crate::relay::Log;

/// The log that the gateway of this configuration uses: a configured cluster, else the embedded log of the gateway
/// that runs, which its admin listener knows the address of.
pub(super) async fn log(config: &Config) -> Result<Log, CliError> {
    let bootstrap = if config.log.brokers.is_empty() {
        let status = http::get(config.admin.listen, "/api/status").await?;
        status["log"]["brokers"].as_str().unwrap_or_default().to_owned()
    } else {
        config.log.brokers.join(",")
    };
    Ok(Log::connect(&config.log, &bootstrap).await?)
}
