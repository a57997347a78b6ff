//! `Mcp-Param-*`: the arguments of a call that its tool wants repeated as headers (MCP 2026-07-28, streamable HTTP). Pure.

use std::borrow::Cow;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Number, Value};

use crate::protocol::mcp::{ParamHeaders, encode_header};

/// Numbers beyond this are not the same in every language.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Adds the headers that a call with `arguments` (JSON text) must have. Absent and `null` arguments have none.
pub(super) fn add(learned: &ParamHeaders, arguments: Option<&str>, headers: &mut HeaderMap) {
    let arguments: Value = arguments.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for (name, path) in learned.iter() {
        let argument = path.iter().try_fold(&arguments, |value, name| value.get(name));
        let text: Cow<'_, str> = match argument {
            Some(Value::String(text)) => text.into(),
            Some(Value::Bool(flag)) => if *flag { "true" } else { "false" }.into(),
            Some(Value::Number(number)) => match integer(number) {
                Some(text) => text.into(),
                None => continue,
            },
            _ => continue,
        };
        if let Ok(header) = HeaderName::try_from(format!("mcp-param-{name}")) {
            headers.insert(header, encoded(&text));
        }
    }
}

/// `text` as the value of an `Mcp-*` header.
pub(super) fn encoded(text: &str) -> HeaderValue {
    // Encoded text is visible ASCII and blanks, all of which a value may have.
    HeaderValue::from_str(&encode_header(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn integer(number: &Number) -> Option<String> {
    match number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs)) {
        Some(0..=INTEGER_MAX) => Some(number.to_string()),
        Some(_) => None,
        // 5.0 is an integer to JSON Schema.
        None => number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() <= INTEGER_MAX as f64)
            .map(|float| format!("{float:.0}")),
    }
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
            "big": {"type": "integer", "x-mcp-header": "Big"},
            "flag": {"type": "boolean", "x-mcp-header": "Flag"},
        }});
        let learned = ParamHeaders::learn(&schema).unwrap();
        let mut headers = HeaderMap::new();
        add(
            &learned,
            Some(r#"{"region":"\u00e9","deep":{"n":-7.0},"big":9007199254740993,"flag":null}"#),
            &mut headers,
        );
        assert_eq!(headers["mcp-param-region"], "=?base64?w6k=?=");
        assert_eq!(headers["mcp-param-n"], "-7");
        assert_eq!(headers.len(), 2);
        headers.clear();
        add(&learned, None, &mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn what_is_sent_is_what_the_door_reads() {
        for text in ["gold price", "", " x", "=?base64?eA==?=", "a\nb", "\u{e9}"] {
            let value = encoded(text);
            assert_eq!(crate::protocol::mcp::decode_header(value.to_str().unwrap()).as_deref(), Some(text));
        }
    }
}
