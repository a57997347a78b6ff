//! What matching a string against a pattern costs, paid from a budget that each validation has.
//!
//! A linear engine is linear in the string, but how dear a byte is depends on the pattern, and only the validator
//! knows which strings meet which. So in the schema that is compiled, each `pattern` stands behind an `if` whose
//! keyword takes the price of this string from the budget, and fails when nothing is left.

use std::cell::Cell;

use jsonschema::{Keyword, PatternOptions, ValidationError, ValidationOptions};
use serde_json::{Map, Value, json};

use super::bounds::SchemaRefused;
use super::keyword::{Place, place};
use crate::protocol::json::quoted;

/// The keyword that takes the price; no one else's schema may use it.
const KEYWORD: &str = "kamf:charge";

/// What a pattern may take of memory when compiled, and what a byte then costs at most, in nanoseconds: the more
/// states can be alive at once, the more. Measured with patterns made to defeat the automaton's cache; the first tier
/// has too few states for that.
const TIERS: [(usize, u64); 5] =
    [(1 << 10, 18), (2 << 10, 400), (8 << 10, 2_000), (32 << 10, 10_000), (96 << 10, 30_000)];
/// Memory of the cache of one automaton.
const CACHE: usize = 128 << 10;

thread_local! {
    /// Nanoseconds that the validation on this thread may still spend on patterns.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Runs `check` with a budget; says whether it was used up.
pub(super) fn with_budget<T>(nanoseconds: u64, check: impl FnOnce() -> T) -> (T, bool) {
    LEFT.set(nanoseconds);
    let result = check();
    (result, LEFT.get() == 0)
}

/// Options for compiling a learned schema: a linear engine, nothing fetched, formats not judged.
pub(super) fn options<'o>() -> ValidationOptions<'o> {
    let (size, _) = TIERS[TIERS.len() - 1];
    limited(size).with_keyword(KEYWORD, |_, rate, _| Ok(Box::new(Charge(rate.as_u64().unwrap_or(u64::MAX)))))
}

fn limited<'o>(size: usize) -> ValidationOptions<'o> {
    let engine = PatternOptions::regex().size_limit(size).dfa_size_limit(CACHE);
    jsonschema::options().with_pattern_options(engine).should_validate_formats(false).offline()
}

/// What a byte costs with `pattern`, in nanoseconds.
pub(super) fn rate(pattern: &str) -> Result<u64, SchemaRefused> {
    let schema = json!({ "pattern": pattern });
    let tier = TIERS.iter().find(|(size, _)| limited(*size).build(&schema).is_ok());
    tier.map(|(_, rate)| *rate).ok_or_else(|| SchemaRefused::Pattern(quoted(pattern)))
}

/// A copy of `schema` in which every pattern is paid for.
pub(super) fn charged(schema: &Value, rates: &[(String, u64)]) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let mut copy = Map::with_capacity(keywords.len());
    for (keyword, value) in keywords {
        let value = match place(keyword) {
            None => value.clone(),
            Some(place) => charged_within(place, value, rates),
        };
        copy.insert(keyword.clone(), value);
    }
    copy.remove(KEYWORD);
    if let Some(Value::String(pattern)) = keywords.get("pattern") {
        copy.remove("pattern");
        let rate = rates.iter().find(|(known, _)| known == pattern).map_or(u64::MAX, |(_, rate)| *rate);
        let paid = json!({ "if": { KEYWORD: rate }, "then": { "pattern": pattern }, "else": false });
        match copy.get_mut("allOf") {
            Some(Value::Array(all)) => all.push(paid),
            _ => {
                copy.insert("allOf".into(), json!([paid]));
            }
        }
    }
    Value::Object(copy)
}

fn charged_within(place: Place, value: &Value, rates: &[(String, u64)]) -> Value {
    match (place, value) {
        (Place::Many | Place::OneOrMany, Value::Array(list)) => {
            list.iter().map(|schema| charged(schema, rates)).collect()
        }
        (Place::Named, Value::Object(named)) => {
            Value::Object(named.iter().map(|(name, schema)| (name.clone(), charged(schema, rates))).collect())
        }
        (Place::One | Place::OneOrMany, schema) => charged(schema, rates),
        _ => value.clone(),
    }
}

/// Holds when the price of matching this string could be paid.
struct Charge(u64);

impl<'i> Keyword<'i> for Charge {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            Ok(())
        } else {
            Err(ValidationError::custom("is too long to be matched"))
        }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        let Some(text) = instance.as_str() else { return true };
        // A match has a price of its own beside that of its bytes.
        let price = (text.len() as u64 + 4).saturating_mul(self.0);
        let left = LEFT.get().saturating_sub(price);
        LEFT.set(left);
        left > 0
    }
}
