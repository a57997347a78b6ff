//! The command line, which `cargo test` may also have written for all test programs at once.

use std::path::PathBuf;

/// How long the campaign is.
pub(crate) struct Options {
    pub(crate) faults: usize,
    pub(crate) requests: usize,
    pub(crate) kafka: bool,
    /// Where the ledgers are kept.
    pub(crate) keep: Option<PathBuf>,
}

impl Options {
    /// None when these arguments are about other tests.
    pub(crate) fn from_arguments() -> Option<Self> {
        let mut options = Self { faults: 8, requests: 4_000, kafka: false, keep: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number =
                || arguments.next().and_then(|text| text.parse().ok()).expect("a number follows");
            match argument.as_str() {
                "--faults" => options.faults = number(),
                "--requests" => options.requests = number(),
                "--kafka" => options.kafka = true,
                "--keep" => options.keep = arguments.next().map(PathBuf::from),
                "--list" => return None,
                // Options of the usual test harness that have a value.
                "--test-threads" | "--skip" | "--color" | "--format" => drop(arguments.next()),
                other if other.starts_with('-') => {}
                // A filter for the names of tests.
                filter if !"campaign".contains(filter) => return None,
                _ => {}
            }
        }
        Some(options)
    }
}
