//! One run: starts the servers, measures each case on each line in rounds, and gathers the samples.
//!
//! The lines take turns inside each round, so that a machine that is slow for a while is slow for all
//! of them; what is reported is the median over the rounds.

mod measure;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::appends::Findings;
use crate::cases::Case;
use crate::config::Delivery;
use crate::cpu::{self, Cores, Layout};
use crate::gateway;
use crate::load::{Answers, Target};
use crate::plan::{Line, Plan};
use crate::process::Process;

/// Longest load whose only purpose is that memory is read after enough requests.
const TOP_UP_WITHIN: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// One measurement.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) rps: f64,
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Latency of the direct way at the same rate and layout, in the same round.
    pub(crate) direct_p50_us: f64,
    pub(crate) direct_p99_us: f64,
    /// Requests that reached the upstream for one of the client's.
    pub(crate) upstream_requests: Option<f64>,
    /// Shares of the time at saturation that the cores worked.
    pub(crate) load_busy: f64,
    pub(crate) server_busy: f64,
    /// Share of the time that the server itself had on its core or cores.
    pub(crate) server_share: f64,
    /// Share of the time that the machine's host took away.
    pub(crate) stolen: f64,
    pub(crate) unanswered: u64,
}

/// All that a run found.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) samples: BTreeMap<(Case, Line), Vec<Sample>>,
    /// Resident memory after the run.
    pub(crate) resident: BTreeMap<Line, u64>,
    pub(crate) answers: Answers,
}

/// Measures everything in `plan`; tells its progress on standard error.
pub(crate) async fn run(plan: Plan) -> Result<Results> {
    let mut bench = Bench::start(plan).await?;
    for round in 0..bench.plan.rounds {
        bench.round(round).await?;
    }
    bench.read_memory().await?;
    Ok(bench.results)
}

struct Bench {
    plan: Plan,
    cores: Cores,
    binary: Option<PathBuf>,
    start: Instant,
    results: Results,
    /// Requests that each gateway has served.
    served: BTreeMap<Line, u64>,
    servers: BTreeMap<Line, Server>,
    /// Removed at the end, after the servers above have ended.
    directory: tempfile::TempDir,
}

impl Bench {
    async fn start(plan: Plan) -> Result<Self> {
        let cores = Cores::find()?;
        let wants = |line| plan.lines.contains(&line);
        let binary = if plan.lines.iter().any(|line| line.needs_gateway()) {
            Some(gateway::find(plan.gateway.clone())?)
        } else {
            None
        };
        std::fs::create_dir_all(&plan.directory)?;
        let directory = tempfile::Builder::new().prefix("loadtest-").tempdir_in(&plan.directory)?;
        cpu::pin(0, &cores.of_load(Layout::Apart))?;
        let mut servers = BTreeMap::new();
        let (process, upstream) =
            Process::serve("upstream", &["upstream"], &cores.of_load(Layout::Apart), directory.path())?;
        servers.insert(Line::Direct, Server { process, address: upstream });
        if wants(Line::Floor) {
            let args = ["floor", &upstream.to_string()];
            let (process, address) =
                Process::serve("floor", &args, &cores.of_server(Line::Floor.layout()), directory.path())?;
            servers.insert(Line::Floor, Server { process, address });
        }
        for (line, delivery) in
            [(Line::GatewayDirect, Delivery::Direct), (Line::GatewayRelay, Delivery::Relay)]
        {
            if let Some(binary) = binary.as_deref().filter(|_| wants(line)) {
                let cores = cores.of_server(line.layout());
                let name = format!("gateway-{}", delivery.name());
                let gateway =
                    gateway::start(&name, binary, delivery, upstream, &cores, directory.path()).await?;
                servers.insert(line, gateway.server);
            }
        }
        let (results, served) = (Results::default(), BTreeMap::new());
        Ok(Self { plan, cores, binary, start: Instant::now(), results, served, servers, directory })
    }

    async fn round(&mut self, round: usize) -> Result<()> {
        for case in self.plan.cases.clone() {
            // Latency of the direct way in this round, by layout: what the others are compared with.
            let mut direct = BTreeMap::new();
            for line in self.plan.lines.clone() {
                let sample = match line {
                    Line::TwoAppends if Some(case) != self.plan.case_of_two_appends() => continue,
                    Line::TwoAppends => self.two_appends(line.rate(case)).await?,
                    _ => {
                        let mut sample = self.measure(line, case).await?;
                        let measured = (sample.p50_us, sample.p99_us);
                        let known = match direct.get(&line.layout()) {
                            Some(known) => *known,
                            None if line == Line::Direct => measured,
                            None => self.direct_latency(line, case).await?,
                        };
                        direct.insert(line.layout(), known);
                        (sample.direct_p50_us, sample.direct_p99_us) = known;
                        sample
                    }
                };
                self.tell(round, case, line, &sample);
                self.results.samples.entry((case, line)).or_default().push(sample);
            }
        }
        Ok(())
    }

    fn tell(&self, round: usize, case: Case, line: Line, sample: &Sample) {
        eprintln!(
            "[{:3.0} s] round {}/{}  {:10}  {:14}  {:>7.0} requests/s  {:>6.1} us CPU  p50 {:>6.0} us  p99 {:>6.0} us",
            self.start.elapsed().as_secs_f64(),
            round + 1,
            self.plan.rounds,
            case.name(),
            line.name(),
            sample.rps,
            sample.cpu_us,
            sample.p50_us,
            sample.p99_us
        );
    }

    fn server(&self, line: Line) -> Result<&Server> {
        self.servers.get(&line).with_context(|| format!("no server was started for {}", line.name()))
    }

    fn gateway_binary(&self) -> Result<&Path> {
        self.binary.as_deref().context("no gateway was looked for")
    }

    async fn two_appends(&mut self, rate: u32) -> Result<Sample> {
        self.arrange(Layout::Together)?;
        // A gateway of its own for each time: the log is as new as that of a fresh installation.
        let home = tempfile::tempdir_in(self.directory.path())?;
        let (binary, cores) = (self.gateway_binary()?, self.cores.of_server(Layout::Together));
        let upstream = self.server(Line::Direct)?.address;
        let gateway =
            gateway::start("gateway-log", binary, Delivery::Relay, upstream, &cores, home.path()).await?;
        let holder = gateway.server.process.id().to_string();
        let milliseconds = self.plan.measure.as_millis().to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["appends", &gateway.log.to_string(), &holder, &rate.to_string(), &milliseconds]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        // The child ends when this pipe does.
        let held = child.stdin.take();
        let output = child.wait_with_output().await?;
        drop(held);
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "two_appends failed:\n{words}");
        let findings: Findings = serde_json::from_slice(&output.stdout)?;
        self.results.resident.insert(Line::TwoAppends, findings.rss_bytes);
        Ok(Sample {
            rps: findings.rps,
            cpu_us: findings.cpu_us,
            p50_us: findings.p50_us,
            p99_us: findings.p99_us,
            ..Sample::default()
        })
    }

    /// Reads each server's memory, after it has served as much as the plan wants.
    async fn read_memory(&mut self) -> Result<()> {
        for line in self.servers.keys().copied().collect::<Vec<_>>() {
            self.arrange(line.layout())?;
            let target = Target { address: self.server(line)?.address, case: self.plan.cases[0] };
            let start = Instant::now();
            while self.served.get(&line).copied().unwrap_or_default() < self.plan.served
                && start.elapsed() < TOP_UP_WITHIN
            {
                self.saturate(line, target, self.plan.measure).await?;
            }
            self.settle(line).await?;
            self.results.resident.insert(line, cpu::resident(self.server(line)?.process.id())?);
        }
        Ok(())
    }
}
