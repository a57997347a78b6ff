//! The `inputSchema` of a tool, as its server published it.

#[cfg(test)]
mod tests;

use std::fmt;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::bounds::{NESTED, SchemaLimits, SchemaRefused};
use super::charge;
use super::cost::LEVELS;
use super::survey::{Survey, survey};
use super::{VIOLATIONS, explain};
use crate::protocol::Violation;
use crate::protocol::json::quoted;

/// Nanoseconds of one step of the validator; see [`cost`](super::cost).
const STEP: u64 = 80;
/// Share of the budget within which all violations are looked for: telling them costs many times more time, and
/// memory, than finding that there is one.
const EXPLAINED: u64 = 40;
/// Nanoseconds that a key may cost for each pattern of `patternProperties`, by the byte.
const KEY_RATE: u64 = 40;

/// A learned schema that is bounded: [`check`](Self::check) takes no longer than the limit that it was compiled
/// with, whatever the arguments are.
pub struct ToolSchema {
    raw: Value,
    validator: Validator,
    survey: Survey,
    /// Nanoseconds.
    budget: u64,
    empty: Value,
}

impl fmt::Debug for ToolSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolSchema").field(&self.raw).finish()
    }
}

impl ToolSchema {
    /// Takes a schema, or says why it is not taken. Milliseconds for ordinary schemas; not for a hot path.
    pub fn compile(schema: &Value, limits: &SchemaLimits) -> Result<Self, SchemaRefused> {
        check_root(schema)?;
        let mut size = Size { left: limits.bytes };
        if serde_json::to_writer(&mut size, schema).is_err() {
            return Err(SchemaRefused::Bytes(limits.bytes));
        }
        let survey = survey(schema, limits)?;
        let budget = limits.budget();
        // A flat value must be affordable many times over, or the schema is of no use.
        let flat = survey.steps[1].saturating_mul(STEP).saturating_mul(4);
        if flat > budget || survey.nested[1] > NESTED {
            return Err(SchemaRefused::Costly);
        }
        let mut rates = Vec::with_capacity(survey.patterns.len());
        for pattern in &survey.patterns {
            rates.push((pattern.clone(), charge::rate(pattern)?));
        }
        let validator = charge::options()
            .build(&charge::charged(schema, &rates))
            .map_err(|error| SchemaRefused::Invalid(quoted(&error.masked_with("it").to_string())))?;
        let empty = Value::Object(Map::new());
        Ok(Self { raw: schema.clone(), validator, survey, budget, empty })
    }

    /// Checks the arguments of a call; absent ones count as `{}`. The paths start at `arguments`.
    pub fn check(&self, arguments: Option<&Value>) -> Result<(), Vec<Violation>> {
        let arguments = arguments.unwrap_or(&self.empty);
        let mut measure = Measure::default();
        measure.take(arguments, 0);
        let level = measure.levels.min(LEVELS - 1);
        let steps = self.survey.steps[level].saturating_mul(measure.nodes);
        let keys = (measure.key_bytes * self.survey.key_patterns as u64).saturating_mul(KEY_RATE);
        let price = steps.saturating_mul(STEP).saturating_add(keys);
        if price > self.budget || self.survey.nested[level] > NESTED {
            return Err(refused("is too large or too deep to be checked against this tool's schema in time"));
        }
        let (valid, spent) = charge::with_budget(self.budget, || self.validator.is_valid(arguments));
        if valid {
            return Ok(());
        }
        if spent {
            return Err(refused("holds strings too long to be matched against this tool's patterns in time"));
        }
        if price.saturating_mul(EXPLAINED) > self.budget {
            return Err(refused("does not match the tool's inputSchema"));
        }
        let (violations, _) = charge::with_budget(self.budget / 4, || {
            let errors = self.validator.iter_errors(arguments).take(VIOLATIONS);
            errors.map(|error| explain::violation(&error, None)).collect::<Vec<_>>()
        });
        Err(violations)
    }

    /// The schema as the server published it.
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}

fn refused(message: &str) -> Vec<Violation> {
    vec![Violation { path: String::new(), message: message.to_owned() }]
}

fn check_root(schema: &Value) -> Result<(), SchemaRefused> {
    let keywords = schema.as_object().ok_or(SchemaRefused::NotAnObject)?;
    if keywords.get("type").is_some_and(|kind| kind != "object") {
        return Err(SchemaRefused::NotAnObject);
    }
    match keywords.get("$schema") {
        None => Ok(()),
        Some(Value::String(uri)) if known_dialect(uri) => Ok(()),
        Some(Value::String(uri)) => Err(SchemaRefused::Dialect(quoted(uri))),
        Some(_) => Err(SchemaRefused::Dialect("(not a string)".into())),
    }
}

fn known_dialect(uri: &str) -> bool {
    let uri = uri.trim_end_matches('#');
    let bare = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"));
    matches!(
        bare,
        Some(
            "json-schema.org/draft/2020-12/schema"
                | "json-schema.org/draft/2019-09/schema"
                | "json-schema.org/draft-07/schema"
        )
    )
}

/// Counts bytes and fails when they are too many.
struct Size {
    left: usize,
}

impl std::io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The size of a value, as far as its price depends on it.
#[derive(Default)]
struct Measure {
    nodes: u64,
    levels: usize,
    key_bytes: u64,
}

impl Measure {
    fn take(&mut self, value: &Value, level: usize) {
        self.nodes += 1;
        self.levels = self.levels.max(level);
        match value {
            Value::Array(elements) => elements.iter().for_each(|element| self.take(element, level + 1)),
            Value::Object(members) => {
                for (key, member) in members {
                    self.key_bytes += key.len() as u64;
                    self.take(member, level + 1);
                }
            }
            _ => {}
        }
    }
}
