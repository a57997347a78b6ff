//! aiokafka, which is written in Python throughout, and confluent-kafka, which has a newer librdkafka and its admin API.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::programs::{have, run};
use crate::{RUN, with_log};

/// Time to install the packages over a slow line.
const INSTALL: Duration = Duration::from_secs(600);

/// The interpreter with the packages of `requirements.txt`; none when the test is to be skipped.
fn interpreter(test: &str) -> Option<PathBuf> {
    if !have("python3", &["-c", "import venv, ensurepip"], test) {
        return None;
    }
    let list = scripts().join("requirements.txt");
    let wanted = fs::read_to_string(&list).expect("the list of packages");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("sdk").join("kafka");
    let python = folder.join("bin/python");
    fs::create_dir_all(folder.with_file_name("")).expect("a folder within the target folder");
    // Other tests wait meanwhile.
    let lock =
        File::options().create(true).append(true).open(folder.with_extension("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let made = folder.join(".recipe");
    if fs::read_to_string(&made).is_ok_and(|recipe| recipe == wanted) {
        return Some(python);
    }
    let _ = fs::remove_dir_all(&folder);
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder), "", INSTALL);
    let pip = ["-m", "pip", "install", "--quiet", "--retries", "5", "--requirement"];
    run(Command::new(&python).args(pip).arg(&list), "", INSTALL);
    fs::write(made, wanted).expect("a note of what is installed");
    Some(python)
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn serves(script: &str) {
    if let Some(python) = interpreter(script) {
        with_log(|address| {
            let mut command = Command::new(python);
            command.arg(scripts().join(script)).arg(address.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
            run(&mut command, "", RUN);
        });
    }
}

#[test]
fn aiokafka_is_served() {
    serves("aiokafka_client.py");
}

#[test]
fn confluent_kafka_is_served() {
    serves("confluent_client.py");
}
