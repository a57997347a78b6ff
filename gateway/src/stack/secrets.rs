//! Keys that the gateway makes for itself and keeps.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// The key that proves session ids, 32 bytes from the system's random numbers in `session.key`. Replicas that share
/// sessions share this file.
pub(super) fn session_key(directory: &Path) -> anyhow::Result<[u8; 32]> {
    let path = directory.join("session.key");
    if let Ok(bytes) = fs::read(&path) {
        return bytes
            .try_into()
            .map_err(|_| anyhow::anyhow!("{} is not a key of 32 bytes; remove it", path.display()));
    }
    let mut key = [0; 32];
    key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("creating {}", path.display()))?;
    file.write_all(&key)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(key)
}
