//! `Mcp-Param-*`: arguments that a tool wants repeated as headers (`x-mcp-header` in its `inputSchema`).

use serde_json::Value;

use super::{McpHeaders, decode_header};
use crate::protocol::json::quoted;

const ANNOTATION: &str = "x-mcp-header";
/// Nesting of `properties` that is followed; a learned schema is bounded to about the same depth elsewhere.
const DEPTH: usize = 32;
/// The largest integer that every JSON reader keeps exactly.
const SAFE_INTEGER: u64 = (1 << 53) - 1;
/// Keywords whose value is one schema, or an array or object of them. An annotation below one of these is not
/// reachable by `properties` alone.
const OTHER_PLACES: &[&str] = &[
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
    "$defs",
    "definitions",
];

/// The arguments of one tool that travel as headers too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamHeaders(Vec<ParamHeader>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ParamHeader {
    /// The header's name after `Mcp-Param-`.
    name: String,
    /// The names that lead to the argument.
    path: Vec<String>,
}

impl ParamHeaders {
    /// Reads the annotations of an `inputSchema`. The error says which annotation breaks the rules; a tool with such
    /// a schema must not be offered over HTTP.
    pub fn learn(input_schema: &Value) -> Result<Self, String> {
        let mut found = Self::default();
        found.visit(input_schema, &mut Vec::new())?;
        Ok(found)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each header's name after `Mcp-Param-`, with the names that lead to its argument.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|param| (param.name.as_str(), param.path.as_slice()))
    }

    fn visit(&mut self, schema: &Value, path: &mut Vec<String>) -> Result<(), String> {
        if path.len() >= DEPTH {
            return Ok(());
        }
        let Some(schema) = schema.as_object() else { return Ok(()) };
        if let Some(annotation) = schema.get(ANNOTATION) {
            self.add(annotation, schema.get("type"), path)?;
        }
        if let Some(keyword) =
            OTHER_PLACES.iter().find(|name| schema.get(**name).is_some_and(|v| annotated(v, 0)))
        {
            return Err(format!("`{ANNOTATION}` below `{keyword}`, where no single argument can be meant"));
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            path.push(name.clone());
            self.visit(property, path)?;
            path.pop();
        }
        Ok(())
    }

    fn add(&mut self, annotation: &Value, kind: Option<&Value>, path: &[String]) -> Result<(), String> {
        let name = annotation.as_str().filter(|name| is_token(name));
        let name = name.ok_or_else(|| format!("`{ANNOTATION}` at /{} is no header name", path.join("/")))?;
        if path.is_empty() || !matches!(kind.and_then(Value::as_str), Some("string" | "integer" | "boolean"))
        {
            return Err(format!("`{ANNOTATION}` {} is not on a string, integer or boolean", quoted(name)));
        }
        if self.0.iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
            return Err(format!("`{ANNOTATION}` {} stands on two arguments", quoted(name)));
        }
        self.0.push(ParamHeader { name: name.to_owned(), path: path.to_vec() });
        Ok(())
    }

    /// Compares the headers of a call with its arguments. The error is for the caller
    /// ([`HeaderMismatch`](crate::outcome::Reason::HeaderMismatch)).
    pub fn check(&self, arguments: Option<&Value>, headers: &McpHeaders<'_>) -> Result<(), String> {
        for param in &self.0 {
            let argument = param.path.iter().try_fold(arguments, |value, name| Some(value?.get(name)));
            let argument = argument.flatten().filter(|value| !value.is_null());
            let name = &param.name;
            match (argument, headers.param(name)) {
                (None, None) => {}
                (None, Some(_)) => {
                    return Err(format!("header `Mcp-Param-{name}` names an argument that is not given"));
                }
                (Some(_), None) => return Err(format!("header `Mcp-Param-{name}` is missing")),
                (Some(argument), Some(value)) => {
                    let text = decode_header(value);
                    let text =
                        text.ok_or_else(|| format!("header `Mcp-Param-{name}` is not valid `=?base64?…?=`"))?;
                    if !agrees(argument, &text) {
                        return Err(format!(
                            "header `Mcp-Param-{name}` contradicts the argument /{}",
                            param.path.join("/")
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Learns and checks in one step; see [`ParamHeaders`] to learn once.
pub fn check_param_headers(
    input_schema: &Value,
    arguments: Option<&Value>,
    headers: &McpHeaders<'_>,
) -> Result<(), String> {
    ParamHeaders::learn(input_schema)?.check(arguments, headers)
}

/// Whether an annotation stands anywhere below `value`.
fn annotated(value: &Value, depth: usize) -> bool {
    match value {
        _ if depth > 2 * DEPTH => false,
        Value::Object(members) => {
            members.get(ANNOTATION).is_some_and(Value::is_string)
                || members.values().any(|v| annotated(v, depth + 1))
        }
        Value::Array(elements) => elements.iter().any(|v| annotated(v, depth + 1)),
        _ => false,
    }
}

fn agrees(argument: &Value, text: &str) -> bool {
    match argument {
        Value::String(string) => string == text,
        Value::Bool(flag) => text == if *flag { "true" } else { "false" },
        Value::Number(number) => {
            let sent = text.parse::<i64>().ok().filter(|number| number.unsigned_abs() <= SAFE_INTEGER);
            // 42.0 is an integer to JSON Schema; the cast is exact for integers in this range.
            sent.is_some_and(|sent| number.as_i64() == Some(sent) || number.as_f64() == Some(sent as f64))
        }
        _ => false,
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
