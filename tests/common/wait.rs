//! Waiting for a state instead of for a time.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks until `look` gives something.
///
/// # Errors
/// After `patience`, with what `look` last said was missing.
pub(crate) async fn eventually<T, E, F>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(missing) if began.elapsed() > patience => {
                anyhow::bail!("{what} did not come within {patience:?}: {missing:#}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
