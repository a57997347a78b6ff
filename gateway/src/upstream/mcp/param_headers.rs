//! `Mcp-Param-*`: arguments that a tool's schema asks for as headers (MCP 2026-07-28, streamable HTTP). Pure.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

const ANNOTATION: &str = "x-mcp-header";
/// Annotated arguments of one tool; each is a header of every call.
const HEADERS_MAX: usize = 32;
/// Numbers beyond this are not the same in every language.
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Keywords whose value is data, not a schema.
const DATA: [&str; 5] = ["default", "examples", "enum", "const", "example"];

/// One argument that travels as a header too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParamHeader {
    header: HeaderName,
    /// Names of properties from the arguments down.
    path: Vec<String>,
}

/// The annotations of an `inputSchema`, or what is wrong with them: then the tool must not be offered over HTTP.
pub(super) fn learn(schema: &Value) -> Result<Vec<ParamHeader>, String> {
    let mut headers = Vec::new();
    walk(schema, Some(&mut Vec::new()), &mut headers)?;
    if headers.len() > HEADERS_MAX {
        return Err(format!("more than {HEADERS_MAX} annotations {ANNOTATION}"));
    }
    let mut names = HashSet::new();
    match headers.iter().find(|header| !names.insert(header.header.clone())) {
        Some(twice) => Err(format!("two annotations {ANNOTATION} name the header {}", twice.header)),
        None => Ok(headers),
    }
}

/// `path` is none where no `properties` alone leads to. Depth is that of parsed JSON, which serde_json bounds at 128.
fn walk(
    schema: &Value,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<ParamHeader>,
) -> Result<(), String> {
    match schema {
        Value::Object(keywords) => {
            if let Some(annotation) = keywords.get(ANNOTATION) {
                let Some(path) = path.as_deref().filter(|path| !path.is_empty()) else {
                    return Err(format!("an annotation {ANNOTATION} where no properties lead to"));
                };
                found.push(ParamHeader { header: header_name(annotation, keywords)?, path: path.clone() });
            }
            for (keyword, value) in keywords {
                match (keyword.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties {
                            if let Some(path) = path.as_deref_mut() {
                                path.push(name.clone());
                                walk(property, Some(path), found)?;
                                path.pop();
                            } else {
                                walk(property, None, found)?;
                            }
                        }
                    }
                    (keyword, _) if DATA.contains(&keyword) || keyword == ANNOTATION => {}
                    (
                        "$defs" | "definitions" | "patternProperties" | "dependentSchemas",
                        Value::Object(schemas),
                    ) => {
                        schemas.values().try_for_each(|schema| walk(schema, None, found))?;
                    }
                    (_, value) => walk(value, None, found)?,
                }
            }
            Ok(())
        }
        Value::Array(schemas) => schemas.iter().try_for_each(|schema| walk(schema, None, found)),
        _ => Ok(()),
    }
}

fn header_name(annotation: &Value, property: &serde_json::Map<String, Value>) -> Result<HeaderName, String> {
    let kind = property.get("type").and_then(Value::as_str).unwrap_or("");
    if !matches!(kind, "string" | "integer" | "boolean") {
        return Err(format!(
            "an annotation {ANNOTATION} on something else than a string, integer or boolean"
        ));
    }
    annotation
        .as_str()
        .filter(|name| !name.is_empty())
        .and_then(|name| HeaderName::from_bytes(format!("mcp-param-{name}").as_bytes()).ok())
        .ok_or_else(|| format!("an annotation {ANNOTATION} that is no header name"))
}

/// Adds the headers that a call with `arguments` (JSON text) must have.
pub(super) fn add(learned: &[ParamHeader], arguments: Option<&str>, headers: &mut HeaderMap) {
    if learned.is_empty() {
        return;
    }
    let arguments: Value = arguments.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for ParamHeader { header, path } in learned {
        let value = path.iter().try_fold(&arguments, |value, name| value.get(name));
        let text = match value {
            Some(Value::String(text)) => encode(text),
            Some(Value::Bool(flag)) => encode(if *flag { "true" } else { "false" }),
            Some(Value::Number(number)) => match integer(number) {
                Some(text) => encode(&text),
                None => continue,
            },
            _ => continue,
        };
        headers.insert(header.clone(), text);
    }
}

fn integer(number: &serde_json::Number) -> Option<String> {
    let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    match size {
        Some(0..=INTEGER_MAX) => Some(number.to_string()),
        Some(_) => None,
        // 5.0 is an integer to JSON Schema.
        None => number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() <= INTEGER_MAX as f64)
            .map(|float| format!("{float:.0}")),
    }
}

/// A header value as is where it may be, else `=?base64?…?=`.
pub(super) fn encode(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && text.trim_matches([' ', '\t']) == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let text = if plain { text.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(text)) };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotated_arguments_become_headers() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
            "x-mcp-header": {"type": "string"},
            "flag": {"type": "boolean", "x-mcp-header": "Flag", "default": {"x-mcp-header": 1}},
        }});
        let learned = learn(&schema).unwrap();
        let mut headers = HeaderMap::new();
        add(&learned, Some(r#"{"region":"é","deep":{"n":-7.0},"flag":null}"#), &mut headers);
        assert_eq!(headers["mcp-param-region"], "=?base64?w6k=?=");
        assert_eq!(headers["mcp-param-n"], "-7");
        assert_eq!(headers.len(), 2);
        headers.clear();
        add(&learned, None, &mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn wrong_annotations_are_refused() {
        let string = |header: &str| json!({"type": "string", "x-mcp-header": header});
        for (why, schema) in [
            ("twice", json!({"properties": {"a": string("X"), "b": string("x")}})),
            ("empty", json!({"properties": {"a": string("")}})),
            ("no token", json!({"properties": {"a": string("a b")}})),
            ("number", json!({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}})),
            ("items", json!({"properties": {"a": {"type": "array", "items": string("A")}}})),
            ("composed", json!({"allOf": [{"properties": {"a": string("A")}}]})),
            ("defs", json!({"$defs": {"x": {"properties": {"a": string("A")}}}})),
            ("root", json!({"type": "string", "x-mcp-header": "A"})),
        ] {
            assert!(learn(&schema).is_err(), "{why}");
        }
    }

    #[test]
    fn only_plain_values_go_as_they_are() {
        for plain in ["", "gold price", "a\tb", "=?base64?x"] {
            assert_eq!(encode(plain).to_str().unwrap(), plain);
        }
        assert_eq!(encode(" x"), "=?base64?IHg=?=");
        assert_eq!(encode("=?base64?eA==?="), "=?base64?PT9iYXNlNjQ/ZUE9PT89?=");
        assert_eq!(encode("a\nb"), "=?base64?YQpi?=");
    }
}
