//! The arguments of a tool, read into a type with an answer that helps when they do not fit.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};

use super::mcp::ToolFailure;

/// Reads a tool's arguments; a mistake becomes a failure that says what the tool expects.
pub(crate) fn read<T: DeserializeOwned>(
    arguments: Map<String, Value>,
    expected: &str,
) -> Result<T, ToolFailure> {
    T::deserialize(Value::Object(arguments)).map_err(|mistake| {
        ToolFailure::new(format!("The arguments do not fit: {mistake}. Expected: {expected}."))
    })
}

/// A whole number. JSON Schema counts `2.0` as one, so it is taken as such here, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Largest integer that a float carries without loss.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let number = serde_json::Number::deserialize(deserializer)?;
        if let Some(whole) = number.as_i64() {
            return Ok(Self(whole));
        }
        match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < EXACT =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
                Ok(Self(float as i64))
            }
            _ => Err(Error::custom(format!("{number} is not a whole number of 64 bits"))),
        }
    }
}

/// Takes a number that lies within bounds, or says which bounds.
pub(crate) fn within(
    name: &str,
    number: Whole,
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<i64, ToolFailure> {
    if bounds.contains(&number.0) {
        return Ok(number.0);
    }
    Err(ToolFailure::new(format!(
        "`{name}` is {}; it must lie between {} and {}.",
        number.0,
        bounds.start(),
        bounds.end()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_be_spelled_as_floats() {
        let read = |text: &str| serde_json::from_str::<Whole>(text).ok().map(|n| n.0);
        assert_eq!(read("12"), Some(12));
        assert_eq!(read("12.0"), Some(12));
        assert_eq!(read("-9223372036854775808"), Some(i64::MIN));
        for other in ["12.5", "1e300", "9223372036854775808", "\"12\"", "null"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
