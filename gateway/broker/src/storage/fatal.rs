//! The one failure that ends the process: a sync that fails.
//!
//! After it nobody knows what is on the disk: the kernel may have dropped the pages and report success the next time.
//! Going on could acknowledge what is lost, so the process ends, and the next start reads what is really there.

use std::fs::File;
use std::io;
use std::path::Path;

/// Syncs the data of `file`, or ends the process.
pub(crate) fn sync(file: &File, path: &Path) {
    if let Err(error) = file.sync_data() {
        die(&format!("syncing {} failed: {error}", path.display()));
    }
}

/// Hands back the error of a write that syncs when it says that there is no room; ends the process at any other.
pub(crate) fn unless_full(error: io::Error, path: &Path) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Err(error),
        _ => die(&format!("writing {} failed: {error}", path.display())),
    }
}

/// Ends the process with a clear word.
pub(crate) fn die(what: &str) -> ! {
    tracing::error!(what, "the log cannot promise anything any more; the process ends");
    eprintln!(
        "kamf-broker: {what}; what was written last may not be on the disk, so the process ends instead of acknowledging it; check the disk, then start again"
    );
    std::process::abort();
}
