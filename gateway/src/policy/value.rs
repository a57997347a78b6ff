//! JSON arguments to Cedar values: only what policies look at, and only what Cedar can hold exactly.
//!
//! - integers of 64 bits stay integers, and so does a number such as `5.0` that is one;
//! - texts, booleans and objects stay what they are; lists become sets (order and repetition are lost);
//! - `null` counts as absent;
//! - any other number (a fraction, more than 64 bits) has no Cedar value. A policy that reads it cannot
//!   be evaluated, so the call is denied: leaving the argument out could pass by a `forbid`.

use cedar_policy::RestrictedExpression as Expression;
use serde_json::{Map, Number, Value};

use super::analysis::{Node, Shape};

/// Above this a double has no neighbour at distance one, so an integer in it is not exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value that no policy can compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Incomparable {
    /// The top-level argument that holds it.
    pub(super) argument: String,
}

/// The record `context.arguments` for policies that look at `shape`.
pub(super) fn record(arguments: Option<&Value>, shape: &Shape) -> Result<Expression, Incomparable> {
    let empty = Map::new();
    let arguments = arguments.and_then(Value::as_object).unwrap_or(&empty);
    let mut members = Vec::new();
    for (name, node) in shape.iter() {
        let value = arguments.get(name).unwrap_or(&Value::Null);
        match member(value, node) {
            Ok(Some(value)) => members.push((name.to_owned(), value)),
            Ok(None) => {}
            Err(NoValue) => return Err(Incomparable { argument: name.to_owned() }),
        }
    }
    // Names come from a map, so none is repeated.
    Expression::new_record(members).map_err(|_| Incomparable { argument: "arguments".to_owned() })
}

struct NoValue;

fn member(value: &Value, node: &Node) -> Result<Option<Expression>, NoValue> {
    match value {
        Value::Null => Ok(None),
        Value::Object(object) if !node.read && !node.members.is_empty() => {
            let mut members = Vec::new();
            for (name, inner) in node.members.iter() {
                if let Some(value) = member(object.get(name).unwrap_or(&Value::Null), inner)? {
                    members.push((name.to_owned(), value));
                }
            }
            Expression::new_record(members).map(Some).map_err(|_| NoValue)
        }
        // Only its presence is asked for.
        _ if !node.read && node.members.is_empty() => Ok(Some(Expression::new_bool(true))),
        value => whole(value),
    }
}

fn whole(value: &Value) -> Result<Option<Expression>, NoValue> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => Expression::new_bool(*value),
        Value::Number(number) => Expression::new_long(integer(number).ok_or(NoValue)?),
        Value::String(text) => Expression::new_string(text.clone()),
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(whole).collect();
            Expression::new_set(items?.into_iter().flatten())
        }
        Value::Object(object) => {
            let mut members = Vec::with_capacity(object.len());
            for (name, value) in object {
                members.extend(whole(value)?.map(|value| (name.clone(), value)));
            }
            Expression::new_record(members).map_err(|_| NoValue)?
        }
    }))
}

fn integer(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|_| number.is_f64())?;
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the exact range")]
        (float.fract() == 0.0 && float.abs() < EXACT_MAX).then_some(float as i64)
    })
}
