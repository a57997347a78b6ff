//! Keys that the gateway makes for itself and keeps.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::Config;

/// What clients are given and bring back is proven with these; replicas that share them know each other's.
pub(super) struct Keys {
    /// For the ids of MCP sessions.
    pub(super) sessions: [u8; 32],
    /// For positions in streams.
    pub(super) positions: [u8; 32],
}

impl Keys {
    /// The keys made from `delivery.key`; without it those in the folder of the log, made at the first start.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        if let Some(secret) = &config.delivery.key {
            let derive = |purpose: &str| derive(secret.expose().as_bytes(), purpose);
            return Ok(Self { sessions: derive("sessions"), positions: derive("positions") });
        }
        if !config.log.brokers.is_empty() {
            tracing::warn!(
                "`delivery.key` is not set: MCP sessions and positions in streams (Last-Event-ID) count on this replica \
                 only, and only as long as {} is kept",
                config.log.directory.display()
            );
        }
        let directory = &config.log.directory;
        Ok(Self { sessions: kept(directory, "session.key")?, positions: kept(directory, "position.key")? })
    }
}

/// A key of its own for each purpose, so that a proof for one is none for another.
fn derive(secret: &[u8], purpose: &str) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
    mac.update(b"kamf ");
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The key in the file `name`, 32 bytes from the system's random numbers.
fn kept(directory: &Path, name: &str) -> anyhow::Result<[u8; 32]> {
    let path = directory.join(name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_key_is_the_same_at_the_next_start_and_readable_by_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("new/log");
        let key = kept(&directory, "position.key").unwrap();
        assert_eq!(kept(&directory, "position.key").unwrap(), key);
        assert_ne!(kept(&directory, "session.key").unwrap(), key);
        let mode = fs::metadata(directory.join("position.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(directory.join("position.key"), "short").unwrap();
        assert!(kept(&directory, "position.key").is_err());
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let secret = [7; 32];
        assert_eq!(derive(&secret, "sessions"), derive(&secret, "sessions"));
        assert_ne!(derive(&secret, "sessions"), derive(&secret, "positions"));
    }
}
