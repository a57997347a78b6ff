//! `kamf check`: everything that a start would refuse, and the policies' own tests.

use std::path::Path;
use std::process::ExitCode;

use crate::config;
use crate::policy::{self, Authenticator};
use crate::schema::Schemas;

/// Checks what the configuration at `path` names; prints what is wrong, all of it.
pub fn run(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::FAILURE;
        }
    };
    let mut wrong: Vec<String> = Vec::new();
    let mut note = |error: Option<String>| wrong.extend(error);
    note(Authenticator::new(&config.identity).err().map(|error| error.to_string()));
    let tested = config.policies.as_deref().map(policy::run_tests).transpose();
    match &tested {
        Ok(Some(report)) if !report.is_success() => note(Some(report.to_string())),
        Ok(_) => {}
        Err(error) => note(Some(error.to_string())),
    }
    note(Schemas::compile().err().map(|error| error.to_string()));
    if !wrong.is_empty() {
        for error in wrong {
            eprintln!("{error}");
        }
        return ExitCode::FAILURE;
    }
    if let Ok(Some(report)) = tested {
        println!("{report}");
    }
    println!(
        "{}: {} agents, {} MCP servers, {} keys: nothing wrong",
        path.display(),
        config.agents.len(),
        config.servers.len(),
        config.identity.keys.len()
    );
    ExitCode::SUCCESS
}
