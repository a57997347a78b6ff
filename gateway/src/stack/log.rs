//! The log that the configuration names: a cluster, or the embedded one started here.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use kamf_broker::{Broker, Health, Options, StartError};

use crate::config;
use crate::relay::{Log, Promise};

/// A log that has been reached.
pub(super) struct Store {
    log: Log,
    pub(super) promise: Promise,
    embedded: Option<Arc<Mutex<Option<Broker>>>>,
}

/// Whether the log can take records, for `/readyz`.
pub(super) type HealthCheck = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Starts the embedded log unless brokers are configured, and reaches it.
pub(super) async fn open(settings: &config::Log) -> anyhow::Result<Store> {
    if !settings.brokers.is_empty() {
        let log = Log::connect(settings, &settings.brokers.join(",")).await?;
        let promise = log.promise().await?;
        if promise.survives_a_loss() {
            tracing::info!("the log: {promise}");
        } else {
            tracing::warn!("the log: {promise}");
        }
        return Ok(Store { log, promise, embedded: None });
    }
    let options = Options { listen: settings.listen, ..Options::new(settings.directory.clone()) };
    let broker = tokio::task::spawn_blocking(move || Broker::start(options))
        .await?
        .map_err(|error| told(error, settings))?;
    let address = broker.address().to_string();
    tracing::info!(%address, directory = %settings.directory.display(), "the embedded log is open");
    let log = Log::connect(settings, &address).await?;
    let promise = Promise::Disk;
    tracing::info!("the log: {promise}");
    Ok(Store { log, promise, embedded: Some(Arc::new(Mutex::new(Some(broker)))) })
}

/// Why the embedded log did not start, in the words of the configuration.
fn told(error: StartError, settings: &config::Log) -> anyhow::Error {
    if let StartError::Listen { address, source } = &error {
        return anyhow!(
            "the embedded log cannot use {address}: {source}; change `log.listen`, or stop what uses it"
        );
    }
    anyhow::Error::new(error).context(format!(
        "the embedded log in {} (`log.directory`) did not start",
        settings.directory.display()
    ))
}

impl Store {
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn health(&self) -> HealthCheck {
        let embedded = self.embedded.clone();
        Arc::new(move || {
            let Some(embedded) = &embedded else { return Ok(()) };
            match embedded.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Broker::health) {
                Some(Health::Ok) => Ok(()),
                Some(Health::DiskFull(why)) => Err(format!("the embedded log: the disk is full: {why}")),
                Some(Health::Failed(why)) => Err(format!("the embedded log failed: {why}")),
                None => Err("the embedded log is closed".to_owned()),
            }
        })
    }

    /// Syncs and closes the embedded log.
    pub(super) async fn close(self) {
        let Some(embedded) = self.embedded else { return };
        let broker = embedded.lock().unwrap_or_else(PoisonError::into_inner).take();
        let closed = tokio::task::spawn_blocking(move || broker.map(Broker::shutdown)).await;
        if closed.is_err() {
            tracing::error!("the embedded log did not close in order; the next start checks it");
        }
    }
}
