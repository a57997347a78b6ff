//! Finds, starts and awaits the gateway.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::Server;
use crate::cases::Case;
use crate::config::{self, Addresses, Delivery};
use crate::load::{self, Target};
use crate::process::Process;
use crate::wire;

/// A gateway that is not ready by then has failed.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How often readiness is asked for.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The gateway's executable: the given one, else the one beside this program. When cargo runs this
/// program, it first brings that one up to date.
pub(crate) fn find(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = given {
        ensure!(path.is_file(), "{} (--gateway) is no file", path.display());
        return Ok(path);
    }
    let own = std::env::current_exe()?;
    let path = own.with_file_name("kamf");
    if let (Some(cargo), Some(manifest)) = (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR"))
    {
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "kamf", "--bin", "kamf"]).current_dir(manifest);
        if own.components().any(|part| part.as_os_str() == "release") {
            build.arg("--release");
        }
        ensure!(build.status()?.success(), "the gateway could not be built");
    }
    ensure!(
        path.is_file(),
        "there is no gateway at {}: build it with `cargo build --release -p kamf`, or name one with --gateway",
        path.display()
    );
    Ok(path)
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) server: Server,
    /// Where its embedded log listens.
    pub(crate) log: SocketAddr,
}

/// Starts a gateway before `upstream` and waits until it answers every case rightly. It keeps what it
/// has in a folder of its name below `directory`.
pub(crate) async fn start(
    name: &str,
    binary: &Path,
    delivery: Delivery,
    upstream: SocketAddr,
    cores: &[usize],
    directory: &Path,
) -> Result<Gateway> {
    let home = directory.join(name);
    std::fs::create_dir_all(&home)?;
    let [public, admin, log] = free_addresses()?;
    let file = config::write(&home, delivery, Addresses { public, admin, log, upstream })?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(file).current_dir(&home).stdout(Stdio::null());
    let mut process = Process::start(name, &mut command, cores, directory)?;
    let outcome = await_ready(&mut process, public, admin).await;
    outcome.with_context(|| format!("{name} is not ready; its last words:\n{}", process.last_words()))?;
    Ok(Gateway { server: Server { process, address: public }, log })
}

async fn await_ready(process: &mut Process, public: SocketAddr, admin: SocketAddr) -> Result<()> {
    let start = Instant::now();
    loop {
        ensure!(!process.has_ended(), "it ended");
        match try_all(public, admin).await {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > READY_WITHIN => return Err(error),
            Err(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

/// Ready by its own word, and by one right answer in each case.
async fn try_all(public: SocketAddr, admin: SocketAddr) -> Result<()> {
    let (status, body) = wire::get(admin, "/readyz").await?;
    if status != 200 {
        bail!("/readyz says {status}: {}", String::from_utf8_lossy(&body));
    }
    for case in Case::ALL {
        let call = load::call_once(Target { address: public, case });
        tokio::time::timeout(Duration::from_secs(5), call)
            .await
            .with_context(|| format!("no answer to {}", case.name()))?
            .with_context(|| format!("the first {}", case.name()))?;
    }
    Ok(())
}

/// Three loopback addresses that are free now.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    // All are held until all are known, so that they differ.
    let [first, second, third] = [bind()?, bind()?, bind()?];
    Ok([first.local_addr()?, second.local_addr()?, third.local_addr()?])
}
