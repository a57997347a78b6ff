//! The keywords of JSON Schema that hold schemas.

use serde_json::Value;

/// How the value of a keyword holds schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    One,
    Many,
    /// `items` of older dialects: one schema or a list.
    OneOrMany,
    /// Names to schemas; `dependencies` has lists of names among them.
    Named,
}

/// Where the schema of a keyword applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The value itself.
    Same,
    /// One member or element, no two of them the same.
    Distinct,
    /// A member or element that others of these apply to as well.
    Shared,
    /// Nothing by itself.
    Nowhere,
}

pub(super) fn place(keyword: &str) -> Option<Place> {
    Some(match keyword {
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Place::Many,
        "properties" | "patternProperties" | "dependentSchemas" | "dependencies" | "$defs"
        | "definitions" => Place::Named,
        "items" => Place::OneOrMany,
        "not"
        | "if"
        | "then"
        | "else"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "additionalItems"
        | "unevaluatedItems"
        | "contains" => Place::One,
        _ => return None,
    })
}

pub(super) fn target(keyword: &str) -> Target {
    match keyword {
        "$defs" | "definitions" => Target::Nowhere,
        "properties" | "prefixItems" | "items" | "additionalItems" | "additionalProperties" => {
            Target::Distinct
        }
        "patternProperties" | "unevaluatedProperties" | "unevaluatedItems" | "contains" | "propertyNames" => {
            Target::Shared
        }
        _ => Target::Same,
    }
}

/// The schemas that stand in `value`, the value of a keyword.
pub(super) fn schemas(place: Place, value: &Value) -> Vec<&Value> {
    let is_schema = |value: &&Value| value.is_object() || value.is_boolean();
    match (place, value) {
        (Place::Many | Place::OneOrMany, Value::Array(list)) => list.iter().filter(is_schema).collect(),
        (Place::Named, Value::Object(named)) => named.values().filter(is_schema).collect(),
        (Place::One | Place::OneOrMany, value) => Some(value).filter(is_schema).into_iter().collect(),
        _ => Vec::new(),
    }
}
