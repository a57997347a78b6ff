//! Python, Node and Java programs that the tests need: put into `target/` once, or named as skipped.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::program::{self, Output};
use super::{Result, Value, files};

/// One installation, over a slow line.
const INSTALL: Duration = Duration::from_secs(600);

/// One run of a script.
const SCRIPT: Duration = Duration::from_secs(120);

/// A set of Python packages: `tests/sdk/requirements/<name>.txt`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Python {
    /// a2a-sdk 1.x
    A2a1,
    /// a2a-sdk 0.3.x
    A2a03,
    /// mcp 1.x and langchain-mcp-adapters
    Mcp1,
    /// mcp 2.x
    Mcp2,
}

impl Python {
    fn name(self) -> &'static str {
        match self {
            Self::A2a1 => "a2a1",
            Self::A2a03 => "a2a03",
            Self::Mcp1 => "mcp1",
            Self::Mcp2 => "mcp2",
        }
    }

    /// The interpreter with the packages; none when the test is to be skipped.
    ///
    /// # Errors
    /// When the packages cannot be installed, or Python is missing although everything is required.
    pub(crate) async fn ready(self, test: &str) -> Result<Option<PathBuf>> {
        if !have("python3", &["-c", "import venv, ensurepip"], test).await? {
            return Ok(None);
        }
        let list = files::tests().join("sdk/requirements").join(format!("{}.txt", self.name()));
        let folder = files::target().join("sdk").join(self.name());
        let python = folder.join("bin/python");
        once(&folder, &fs::read_to_string(&list)?, async {
            say(&format!("installing the Python packages of {} into target/sdk", list.display()));
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv"]).arg(&folder);
            program::run(venv, INSTALL).await?.good()?;
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--retries", "5", "--requirement"]).arg(&list);
            program::run(pip, INSTALL).await?.good()?;
            Ok(())
        })
        .await?;
        Ok(Some(python))
    }

    /// Runs `tests/sdk/<script>` with `arguments`; it prints one JSON value.
    pub(crate) async fn run(self, python: &Path, script: &str, arguments: &[&str]) -> Result<Value> {
        let output = program::run(self.command(python, script, arguments), SCRIPT).await?;
        let Output { out, err, .. } = output.good()?;
        let last = out.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("{script} printed {out}\n{err}"))
    }

    /// The command that runs `tests/sdk/<script>`.
    pub(crate) fn command(self, python: &Path, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(python);
        command.arg(files::tests().join("sdk").join(script)).args(arguments);
        command.env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// The folder with the npm packages of `tests/sdk/npm`; none when the test is to be skipped.
pub(crate) async fn npm(test: &str) -> Result<Option<PathBuf>> {
    if !have("node", &["--version"], test).await? || !have("npm", &["--version"], test).await? {
        return Ok(None);
    }
    let source = files::tests().join("sdk/npm");
    let folder = files::target().join("sdk/npm");
    once(&folder, &fs::read_to_string(source.join("package-lock.json"))?, async {
        say("installing the npm packages of tests/sdk/npm into target/sdk");
        fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder);
        program::run(npm, INSTALL).await?.good()?;
        Ok(())
    })
    .await?;
    Ok(Some(folder))
}

/// `tests/kafka/start.sh` with Kafka's jars at hand; none when the test is to be skipped.
pub(crate) async fn kafka(test: &str) -> Result<Option<PathBuf>> {
    if !have("java", &["-version"], test).await? || !have("mvn", &["--version"], test).await? {
        return Ok(None);
    }
    let script = files::tests().join("kafka/start.sh");
    let mut fetch = Command::new(&script);
    fetch.arg("fetch").env("KAMF_KAFKA_JARS", kafka_jars());
    program::run(fetch, INSTALL).await?.good()?;
    Ok(Some(script))
}

pub(crate) fn kafka_jars() -> PathBuf {
    files::target().join("kafka")
}

/// Whether `program` runs; otherwise the test is skipped aloud.
///
/// # Errors
/// When it does not run and `KAMF_REQUIRE_ALL=1`.
pub(crate) async fn have(program: &str, arguments: &[&str], test: &str) -> Result<bool> {
    let mut command = Command::new(program);
    command.args(arguments);
    let works = program::run(command, Duration::from_secs(60)).await.is_ok_and(|output| output.success);
    if works {
        return Ok(true);
    }
    if std::env::var("KAMF_REQUIRE_ALL").is_ok_and(|value| value == "1") {
        bail!("{test} needs {program}, which does not run here, and KAMF_REQUIRE_ALL=1 is set");
    }
    say(&format!("skipped: {test}, because {program} {} does not run here", arguments.join(" ")));
    Ok(false)
}

/// Prints a line past the capture of the test harness: what is skipped must show, also when all is well.
pub(crate) fn say(line: &str) {
    // Nobody to tell when standard error is closed.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Runs `make` unless `folder` was made from the same `recipe` before. Other test programs wait meanwhile.
async fn once(folder: &Path, recipe: &str, make: impl Future<Output = Result>) -> Result {
    let parent = folder.parent().context("a folder within the target folder")?;
    fs::create_dir_all(parent)?;
    let lock = File::options().create(true).append(true).open(folder.with_extension("lock"))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    let made = folder.join(".recipe");
    if fs::read_to_string(&made).is_ok_and(|text| text == recipe) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    make.await?;
    fs::write(made, recipe)?;
    drop(lock);
    Ok(())
}
