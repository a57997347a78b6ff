//! Programs that may or may not be there.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether `program` runs; otherwise `test` is skipped aloud.
///
/// # Panics
/// When it does not run and `KAMF_REQUIRE_ALL=1`.
pub(crate) fn have(program: &str, arguments: &[&str], test: &str) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    let required = std::env::var("KAMF_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "{test} needs {program}, which does not run here, and KAMF_REQUIRE_ALL=1 is set");
    let line = format!("skipped: {test}, because {program} {} does not run here\n", arguments.join(" "));
    // Past the capture of the test harness; with standard error closed there is nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
    false
}

/// Runs a program to its end, which must be a good one, and returns what it printed on both its ways.
pub(crate) fn run(command: &mut Command, input: &str, patience: Duration) -> String {
    let what = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let readers =
        [reader(child.stdout.take().expect("a pipe")), reader(child.stderr.take().expect("a pipe"))];
    let success = wait(&mut child, patience);
    let printed: String = readers.into_iter().map(|reader| reader.join().expect("it only reads")).collect();
    assert_eq!(success, Some(true), "{what} printed:\n{printed}");
    printed
}

fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether it ended well; none when it had to be ended.
fn wait(child: &mut Child, patience: Duration) -> Option<bool> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("its end can be asked for") {
            return Some(status.success());
        }
        if begun.elapsed() > patience {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
