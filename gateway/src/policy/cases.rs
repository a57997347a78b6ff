//! Decision tests as data: `<policies>/tests/*.json`, run by `kamf check` and by the tests of this crate.
//!
//! ```json
//! { "callers": { "analyst": { "tenant": "demo", "groups": ["readers"] } },
//!   "tests": [
//!     { "name": "a reader may not buy", "caller": "analyst", "action": "call_tool",
//!       "resource": "Tool::\"ledger/buy\"", "arguments": { "milli_ounces": 1000 },
//!       "expect": "deny", "policies": [], "visible": false } ] }
//! ```
//!
//! `policies` are the ids that make the decision, `visible` whether lists show the resource, `dialect`
//! the protocol version (the newest unless set); what is left out is not asked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::message::{Dialect, Protocol};

use super::action::{Action, Resource};
use super::identity::Principal;
use super::mistake::{Mistake, PolicyError};
use super::policies::Policies;

/// What came of the tests of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestReport {
    pub passed: usize,
    /// Each says file, test, what was expected and what came.
    pub failures: Vec<String>,
}

impl TestReport {
    pub fn is_success(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} policy tests passed, {} failed", self.passed, self.failures.len())?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n{failure}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    callers: BTreeMap<String, Caller>,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Caller {
    tenant: String,
    /// The key in `callers` unless set.
    name: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    caller: String,
    action: String,
    resource: String,
    arguments: Option<Value>,
    /// The protocol version; the newest of the action's protocol unless set.
    dialect: Option<String>,
    expect: Effect,
    policies: Option<Vec<String>>,
    visible: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Effect {
    Allow,
    Deny,
}

/// Loads the policies of `directory` and holds them to the tests in its folder `tests`.
///
/// # Errors
/// When the policies or a file of tests cannot be loaded. A test that fails is in the report.
pub fn run_tests(directory: &Path) -> Result<TestReport, PolicyError> {
    let policies = Policies::load(Some(directory))?;
    let (mut report, mut mistakes) = (TestReport::default(), Vec::new());
    for file in files(&directory.join("tests")) {
        match read(&file) {
            Ok(cases) => cases.run(&policies, &file, &mut report),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(report) } else { Err(PolicyError { mistakes }) }
}

/// None where there is no such folder: tests are recommended, not required.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_tests = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let mut files: Vec<_> = entries.filter(is_tests).collect();
    files.sort_unstable();
    files
}

fn read(file: &Path) -> Result<Cases, Mistake> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Mistake::of_file(file, format!("cannot be read: {error}")))?;
    serde_json::from_str(&text).map_err(|error| {
        let place = Some((error.line(), error.column()));
        Mistake { file: file.to_owned(), place, message: error.to_string() }
    })
}

impl Cases {
    fn run(&self, policies: &Policies, file: &Path, report: &mut TestReport) {
        for case in &self.tests {
            match self.run_one(policies, case) {
                Ok(()) => report.passed += 1,
                Err(why) => report.failures.push(format!("{}: {}: {why}", file.display(), case.name)),
            }
        }
    }

    fn run_one(&self, policies: &Policies, case: &Case) -> Result<(), String> {
        let caller = self
            .callers
            .get(&case.caller)
            .ok_or_else(|| format!("caller `{}` is not among `callers`", case.caller))?;
        let name = caller.name.as_deref().unwrap_or(&case.caller);
        let principal = Principal::new(&caller.tenant, name, &caller.groups)
            .map_err(|why| format!("caller `{}`: {why}", case.caller))?;
        let action = Action::ALL.iter().copied().find(|action| action.as_str() == case.action);
        let action = action.ok_or_else(|| format!("there is no action `{}`", case.action))?;
        let resource = Resource::parse(&case.resource).ok_or_else(|| {
            format!("`{}` is no resource; write one as Tool::\"ledger/buy\"", case.resource)
        })?;
        let dialect = dialect(action, case.dialect.as_deref())?;
        let decision = policies.decide(&principal, action, resource, case.arguments.as_ref(), dialect);
        let got = if decision.allowed { Effect::Allow } else { Effect::Deny };
        if got != case.expect {
            let by = if decision.policies.is_empty() { "no policy" } else { &decision.policies };
            return Err(format!("expected {:?}, got {got:?} by {by} ({})", case.expect, decision.message));
        }
        if let Some(expected) = &case.policies {
            let mut expected = expected.clone();
            expected.sort_unstable();
            if expected.join(",") != *decision.policies {
                return Err(format!(
                    "expected the policies [{}], got [{}]",
                    expected.join(","),
                    decision.policies
                ));
            }
        }
        let visible = policies.visible(&principal, action, resource, dialect);
        match case.visible {
            Some(expected) if expected != visible => {
                Err(format!("expected visible: {expected}, got {visible}"))
            }
            _ => Ok(()),
        }
    }
}

fn dialect(action: Action, version: Option<&str>) -> Result<Dialect, String> {
    let protocol = action.protocol();
    let Some(version) = version else {
        return Ok(if protocol == Protocol::A2a { Dialect::A2aV10 } else { Dialect::McpModern });
    };
    Dialect::from_names(protocol.as_str(), version)
        .ok_or_else(|| format!("{} has no version `{version}` here", protocol.as_str()))
}
