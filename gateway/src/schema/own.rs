//! The gateway's own schemas.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value, json};

use super::{Checked, VIOLATIONS, explain};
use crate::message::{Dialect, Operation};
use crate::outcome::Reason;
use crate::protocol::{Parsed, Rejected, Violation};

/// Values in a tree up to which every violation is looked for; beyond it the first one alone, because the validator
/// collects all of them before it hands out one.
const EXHAUSTIVE: usize = 4_096;

const FILES: [(Dialect, &str); 4] = [
    (Dialect::A2aV03, include_str!("../../../schemas/a2a/0.3.json")),
    (Dialect::A2aV10, include_str!("../../../schemas/a2a/1.0.json")),
    (Dialect::McpLegacy, include_str!("../../../schemas/mcp/2025-11-25.json")),
    (Dialect::McpModern, include_str!("../../../schemas/mcp/2026-07-28.json")),
];

/// The schemas of all versions, ready to check with.
#[derive(Debug)]
pub struct Schemas {
    methods: Vec<Method>,
    /// Stands in for `params` that a request leaves out.
    empty: Value,
}

#[derive(Debug)]
struct Method {
    dialect: Dialect,
    operation: Operation,
    /// What was compiled; messages of its own stand in it.
    schema: Value,
    validator: Validator,
}

/// Why the gateway's own schemas cannot be used: a fault of the build.
#[derive(Debug, thiserror::Error)]
#[error("the schema of {version} cannot be used: {fault}")]
pub struct SchemaError {
    version: &'static str,
    fault: String,
}

impl Schemas {
    /// Compiles all of them; done once, at start.
    pub fn compile() -> Result<Self, SchemaError> {
        let mut methods = Vec::new();
        for (dialect, text) in FILES {
            let error = |fault: String| SchemaError { version: dialect.version(), fault };
            let file: Value = serde_json::from_str(text).map_err(|fault| error(fault.to_string()))?;
            let branches = file.get("allOf").and_then(Value::as_array);
            for branch in branches.ok_or_else(|| error("it has no `allOf`".into()))? {
                let method = branch.pointer("/if/properties/method/const").and_then(Value::as_str);
                let params = branch.pointer("/then/properties/params");
                let (Some(method), Some(params)) = (method, params) else {
                    return Err(error("a branch names no method or no `params`".into()));
                };
                let operation = Operation::from_method(dialect, method);
                let operation = operation.ok_or_else(|| error(format!("`{method}` is not served")))?;
                let schema = standalone(&file, params);
                let validator = jsonschema::options()
                    .with_pattern_options(PatternOptions::regex())
                    .build(&schema)
                    .map_err(|fault| error(fault.to_string()))?;
                methods.push(Method { dialect, operation, schema, validator });
            }
        }
        Ok(Self { methods, empty: Value::Object(Map::new()) })
    }

    /// Checks the parameters of a request against the schema of its method.
    pub fn check(&self, parsed: Parsed) -> Result<Checked, Rejected> {
        let Parsed { dialect, operation, .. } = parsed;
        let method =
            self.methods.iter().find(|known| known.dialect == dialect && known.operation == operation);
        let Some(method) = method else {
            let message = format!("`{}` is not offered by this gateway", operation.method(dialect));
            return Err(Rejected::new(Reason::Unsupported, dialect, parsed.id, message));
        };
        let params = parsed.params.as_ref().map_or(&self.empty, |params| &params.tree);
        if method.validator.is_valid(params) {
            return Ok(Checked(parsed));
        }
        let violations = method.violations(params);
        let message = explain::summary("the parameters are not valid", &violations);
        let mut rejected = Rejected::new(Reason::InvalidParams, dialect, parsed.id, message);
        rejected.violations = violations;
        Err(rejected)
    }
}

impl Method {
    fn violations(&self, params: &Value) -> Vec<Violation> {
        let mut left = EXHAUSTIVE;
        if explain::fits(params, &mut left) {
            let errors = self.validator.iter_errors(params).take(VIOLATIONS);
            errors.map(|error| explain::violation(&error, Some(&self.schema))).collect()
        } else {
            let error = self.validator.validate(params).err();
            error.map(|error| explain::violation(&error, Some(&self.schema))).into_iter().collect()
        }
    }
}

/// The schema `part` of `file` as one that stands by itself.
fn standalone(file: &Value, part: &Value) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [part],
        "$defs": file.get("$defs"),
    })
}
