//! The configuration in force: one YAML file, checked into these types before anything starts.
//!
//! [`load`] reports every mistake at once, each with line and column. Everything else is plain data, one
//! file a section: a stage takes the section that is its own and never the whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::message::Name;

mod delivery;
mod identity;
mod limits;
mod listen;
mod log;
mod mistakes;
mod prices;
mod reader;
mod run;
mod secret;
mod upstreams;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

pub use delivery::{Breaker, Delivery, Retry, Route};
pub use identity::{Anonymous, ApiKey, Identity, JwtIssuer};
pub use limits::{Limits, Rate};
pub use listen::{Admin, Public, Tls};
pub use log::Log;
pub use mistakes::{Mistake, Mistakes, Place};
pub use prices::{ModelPrice, Prices};
pub use run::Telemetry;
pub use upstreams::{Agent, Mcp, Prefix, Process, Server, Timeouts, Transport};
pub use value::{Secret, hash_key};

use reader::{Environment, Field, Group, Reader};

/// The file that is read when neither `--config` nor `KAMF_CONFIG` names one.
pub const FILE: &str = "kamf.yaml";

/// Larger than any configuration that a person reads.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub public: Public,
    pub admin: Admin,
    pub log: Log,
    pub identity: Identity,
    /// Folder of `*.cedar` files. Without one everything that is authenticated is permitted.
    pub policies: Option<PathBuf>,
    /// A2A agents by name; `/a2a/{name}`.
    pub agents: BTreeMap<Name, Agent>,
    /// MCP servers by name, in the order of their names; `/mcp/{name}`.
    pub servers: BTreeMap<Name, Server>,
    pub mcp: Mcp,
    pub delivery: Delivery,
    pub limits: Limits,
    pub prices: Prices,
    pub telemetry: Telemetry,
    /// Printed when the gateway serves; `{public}` and `{admin}` stand for the two base URLs.
    pub welcome: Option<String>,
}

/// The file to read: what the command line says, else `KAMF_CONFIG`, else [`FILE`].
pub fn path(cli: Option<PathBuf>) -> PathBuf {
    cli.or_else(|| env::var_os("KAMF_CONFIG").filter(|text| !text.is_empty()).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(FILE))
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// All mistakes at once. Files that the configuration refers to are looked at too, and environment
/// variables have to be set.
pub fn load(path: &Path) -> Result<Config, Mistakes> {
    let text = read_file(path).map_err(|text| Mistakes::whole(path.to_owned(), text))?;
    check(path, &text, &|name| env::var(name).ok())
}

/// Checks `text` as the content of the file at `path`.
fn check(path: &Path, text: &str, environment: Environment<'_>) -> Result<Config, Mistakes> {
    let base = path.parent().unwrap_or(Path::new(""));
    let reader = Reader { base, environment, mistakes: RefCell::new(Vec::new()) };
    let mut duplicates = Vec::new();
    let document = yaml::read(text, &mut duplicates);
    for duplicate in duplicates {
        reader.refuse(duplicate.place, "", duplicate.text);
    }
    let config = match &document {
        Ok(node) => Some(Field { reader: &reader, node, name: String::new() }.group(read_config)),
        Err(malformed) => {
            reader.refuse(malformed.place, "", malformed.text.as_str());
            None
        }
    };
    let mistakes = reader.mistakes.take();
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        _ => Err(Mistakes::new(path.to_owned(), mistakes)),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let hint = "name another file with --config or KAMF_CONFIG";
    match fs::metadata(path) {
        Err(error) => return Err(format!("cannot be read: {error}; {hint}")),
        Ok(found) if !found.is_file() => return Err(format!("is no file; {hint}")),
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err("is larger than 4 MiB".to_owned()),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}; {hint}"))?;
    String::from_utf8(bytes).map_err(|_| "is no UTF-8 text; save it as UTF-8".to_owned())
}

fn read_config(group: &mut Group<'_>) -> Config {
    let base = group.field.reader.base;
    let public = section(group, "public", listen::read_public);
    let admin = section(group, "admin", listen::read_admin);
    let log = section(group, "log", |group| log::read(group, base)).unwrap_or_else(|| Log::with_base(base));
    let identity = section(group, "identity", identity::read).unwrap_or_default();
    let policies = group.get("policies").and_then(|field| read_folder(&field));
    let agents = group.get("agents").map(|field| upstreams::read_agents(&field)).unwrap_or_default();
    let (mut servers, names) =
        group.get("mcpServers").map(|field| upstreams::read_servers(&field)).unwrap_or_default();
    let mcp = section(group, "mcp", |group| upstreams::read_mcp(group, &mut servers, &names));
    let delivery = section(group, "delivery", delivery::read).unwrap_or_default();
    let limits = section(group, "limits", limits::read).unwrap_or_default();
    let prices = section(group, "prices", prices::read).unwrap_or_default();
    let telemetry = section(group, "telemetry", run::read_telemetry).unwrap_or_default();
    let welcome = group.get("welcome").and_then(|field| field.string());
    let known: Vec<&str> = agents.keys().map(AsRef::as_ref).chain(names.iter().map(String::as_str)).collect();
    check_names(group, &known);
    check_addresses(group, public.as_ref(), admin.as_ref());
    Config {
        public: public.unwrap_or_default(),
        admin: admin.unwrap_or_default(),
        log,
        identity,
        policies,
        agents,
        servers,
        mcp: mcp.unwrap_or(Mcp { prefix: Prefix::Always }),
        delivery,
        limits,
        prices,
        telemetry,
        welcome,
    }
}

fn section<'a, T>(
    group: &mut Group<'a>,
    name: &'static str,
    read: impl FnOnce(&mut Group<'a>) -> T,
) -> Option<T> {
    group.get(name).map(|field| field.group(read))
}

fn read_folder(field: &Field<'_>) -> Option<PathBuf> {
    let path = field.path()?;
    if !path.is_dir() {
        field.refuse(format!("there is no folder {}", path.display()));
    }
    Some(path)
}

/// Routes and prices name agents and servers that exist.
fn check_names(group: &mut Group<'_>, known: &[&str]) {
    for (name, inner) in [("delivery", "routes"), ("prices", "calls")] {
        let Some(field) = group.get(name).filter(Field::is_map) else { continue };
        let named = field.entries().into_iter().filter(|(key, ..)| *key == inner);
        for (_, _, named) in named.filter(|(_, _, named)| named.is_map()) {
            for (upstream, _, field) in
                named.entries().iter().filter(|(upstream, ..)| !known.contains(upstream))
            {
                upstreams::refuse_unknown_upstream(field, upstream, known.iter().copied());
            }
        }
    }
}

/// One address cannot have two listeners.
fn check_addresses(group: &mut Group<'_>, public: Option<&Public>, admin: Option<&Admin>) {
    let public = public.map_or(Public::default().listen, |public| public.listen);
    let admin = admin.map_or(Admin::default().listen, |admin| admin.listen);
    if public == admin && public.port() != 0 {
        let at = group.get("admin").or_else(|| group.get("public")).unwrap_or_else(|| group.field.clone());
        at.refuse(format!("`public.listen` and `admin.listen` are both {public}; give them different ports"));
    }
}
