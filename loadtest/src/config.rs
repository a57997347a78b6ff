//! The gateway's configuration in a run: keys, policies, schemas and limits are on.
//!
//! Everything that has to follow the gateway's configuration format is in this file.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest, Sha256};

use crate::cases::UPSTREAM_NAME;

/// The API key of the load generator. It opens nothing but a gateway on loopback that lives for one run.
pub(crate) const KEY: &str = "loadtest-key-8c1f0c3f5b7d4e62";

/// How the gateway keeps its exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Direct,
    Relay,
}

impl Delivery {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
        }
    }
}

/// Addresses that one gateway needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Of the embedded log.
    pub(crate) log: SocketAddr,
    pub(crate) upstream: SocketAddr,
}

/// Policies: the first three permit what the bench does, beside others as a real set has them. None that
/// applies to the calls of the bench looks at arguments.
const POLICIES: &str = r#"@id("bench-connects")
permit (
    principal in Group::"bench",
    action in [Action::"connect", Action::"list_tools", Action::"read_card"],
    resource
);

@id("bench-asks")
permit (principal in Group::"bench", action in Action::"a2a", resource == Agent::"bench");

@id("bench-calls")
permit (principal == Caller::"bench/load", action == Action::"call_tool", resource in Server::"bench");

@id("operators")
permit (principal in Group::"operators", action, resource);

@id("suspended")
forbid (principal in Group::"suspended", action, resource);

@id("no-bulk-deletes")
forbid (principal, action == Action::"call_tool", resource == Tool::"bench/delete")
when { context.arguments has count && context.arguments.count > 50 };
"#;

/// Writes configuration and policies below `directory`, where the log is kept as well; gives the path
/// of the configuration.
pub(crate) fn write(directory: &Path, delivery: Delivery, addresses: Addresses) -> Result<PathBuf> {
    let policies = directory.join("policies");
    std::fs::create_dir_all(&policies)?;
    std::fs::write(policies.join("bench.cedar"), POLICIES)?;
    let path = directory.join("kamf.yaml");
    std::fs::write(&path, text(directory, &policies, delivery, addresses))?;
    Ok(path)
}

fn text(directory: &Path, policies: &Path, delivery: Delivery, addresses: Addresses) -> String {
    let Addresses { public, admin, log, upstream } = addresses;
    let (data, policies) = (directory.join("log"), policies.display());
    format!(
        r#"public: {{ listen: "{public}" }}
admin: {{ listen: "{admin}" }}
log: {{ directory: "{data}", listen: "{log}" }}
identity:
  keys:
    - {{ name: load, tenant: bench, groups: [bench], hash: "sha256:{hash}" }}
policies: "{policies}"
agents:
  {UPSTREAM_NAME}: {{ url: "http://{upstream}/a2a" }}
mcpServers:
  {UPSTREAM_NAME}: {{ type: http, url: "http://{upstream}/mcp" }}
delivery: {{ default: {delivery} }}
limits:
  rate: {{ per_second: 1000000, burst: 1000000 }}
"#,
        data = data.display(),
        hash = hash(KEY),
        delivery = delivery.name(),
    )
}

/// SHA-256 in hex.
fn hash(key: &str) -> String {
    Sha256::digest(key).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}
