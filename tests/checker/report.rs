//! What the checker says.

use std::collections::BTreeMap;
use std::fmt;

/// Violations of one invariant that are shown; the rest is counted.
const SHOWN: usize = 20;

/// One breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// `I1` to `I12`.
    pub(crate) invariant: &'static str,
    /// The relay id, or what else names it.
    pub(crate) id: String,
    pub(crate) found: String,
}

/// All breaches, and how much was looked at.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    pub(crate) counts: BTreeMap<String, usize>,
}

impl Report {
    pub(crate) fn breach(
        &mut self,
        invariant: &'static str,
        id: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.violations.push(Violation { invariant, id: id.into(), found: found.into() });
    }

    pub(crate) fn count(&mut self, what: &str, more: usize) {
        if more > 0 {
            *self.counts.entry(what.to_owned()).or_default() += more;
        }
    }

    /// # Errors
    /// The whole report, when anything was found.
    pub(crate) fn good(self) -> anyhow::Result<Self> {
        anyhow::ensure!(self.violations.is_empty(), "{self}");
        Ok(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{count:>9}  {what}")?;
        }
        let mut by_invariant: BTreeMap<&str, Vec<&Violation>> = BTreeMap::new();
        for violation in &self.violations {
            by_invariant.entry(violation.invariant).or_default().push(violation);
        }
        for (invariant, violations) in by_invariant {
            writeln!(f, "{invariant}: {} violations", violations.len())?;
            for violation in violations.iter().take(SHOWN) {
                writeln!(f, "  {invariant} {}: {}", violation.id, violation.found)?;
            }
        }
        write!(f, "{:>9}  violations", self.violations.len())
    }
}
