//! What a validator's error says to the caller: a place in the caller's terms and a sentence of bounded length.
//! The value itself is never repeated, it may be a secret.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use crate::protocol::Violation;

/// Bytes of a path, and of a message.
const SHOWN: usize = 256;
/// Keyword of our own schemas: the sentence to say when a keyword beside it fails.
const MESSAGE: &str = "x-message";

/// One error as a violation. `own` is the schema, when it is one of ours.
pub(super) fn violation(error: &ValidationError<'_>, own: Option<&Value>) -> Violation {
    let told = own.and_then(|schema| told(schema, error.schema_path().as_str()));
    let (path, message) = match (told, error.kind()) {
        (Some(message), _) => (error.instance_path().as_str(), message.to_owned()),
        (None, ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) => {
            match closest(context, error.instance_path().as_str()) {
                Some(inner) => return violation(inner, own),
                None => (error.instance_path().as_str(), alternatives(context)),
            }
        }
        (None, ValidationErrorKind::PropertyNames { error: inner }) => {
            (error.instance_path().as_str(), format!("a member's name {}", sentence(inner)))
        }
        (None, _) => (error.instance_path().as_str(), sentence(error)),
    };
    Violation { path: cut(path), message: cut(&message) }
}

/// A sentence for people that leads with the first violation.
pub(super) fn summary(what: &str, violations: &[Violation]) -> String {
    match violations {
        [] => what.to_owned(),
        [first, rest @ ..] => {
            let place = if first.path.is_empty() { "params" } else { &first.path };
            let more = match rest.len() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            format!("{what}: {place} {}{more}", first.message)
        }
    }
}

/// Whether a tree has no more values than `left`, which it counts down.
pub(super) fn fits(value: &Value, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else { return false };
    *left = rest;
    match value {
        Value::Array(elements) => elements.iter().all(|element| fits(element, left)),
        Value::Object(members) => members.values().all(|member| fits(member, left)),
        _ => true,
    }
}

/// The sentence that a schema of ours has for the keyword at `path`.
fn told<'s>(schema: &'s Value, path: &str) -> Option<&'s str> {
    let (holder, _) = path.rsplit_once('/')?;
    schema.pointer(holder)?.get(MESSAGE)?.as_str()
}

fn sentence(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::Required { property } => match property.as_str() {
            Some(name) => format!("member `{}` is missing", cut(name)),
            None => "a member is missing".to_owned(),
        },
        Kind::Type { kind: TypeKind::Single(kind) } => format!("must be {}", type_name(*kind)),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let names: Vec<_> = kinds.iter().map(type_name).collect();
            format!("must be {}", names.join(" or "))
        }
        Kind::Enum { options } => match options.as_array() {
            Some(options) if options.len() <= 16 => {
                let options: Vec<_> = options.iter().map(ToString::to_string).collect();
                format!("must be one of {}", options.join(", "))
            }
            _ => "is none of the values that are allowed here".to_owned(),
        },
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        Kind::MinItems { limit: 1 } => "must have an element".to_owned(),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let names: Vec<_> = unexpected.iter().take(4).map(|name| format!("`{}`", cut(name))).collect();
            format!("has members that are not known here: {}", names.join(", "))
        }
        Kind::FalseSchema => "is not allowed here".to_owned(),
        Kind::Not { .. } => "has a form that is not allowed here".to_owned(),
        Kind::OneOfMultipleValid { .. } => {
            "has more than one of the forms of which exactly one is allowed".to_owned()
        }
        Kind::Pattern { pattern } => format!("does not match the pattern {}", cut(pattern)),
        // The library's own sentence, without the value.
        _ => error.masked_with("it").to_string(),
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

/// Of several alternatives that all failed, the error of the one that was meant: the only one whose fault lies
/// deeper than the value itself.
fn closest<'e>(
    context: &'e [Vec<ValidationError<'static>>],
    path: &str,
) -> Option<&'e ValidationError<'static>> {
    let mut deeper = context.iter().filter_map(|branch| {
        let first = branch.first()?;
        branch.iter().all(|error| error.instance_path().as_str().len() > path.len()).then_some(first)
    });
    match (deeper.next(), deeper.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

fn alternatives(context: &[Vec<ValidationError<'static>>]) -> String {
    let missing: Option<Vec<&str>> = context
        .iter()
        .map(|branch| match branch.as_slice() {
            [error] => match error.kind() {
                ValidationErrorKind::Required { property } => property.as_str(),
                _ => None,
            },
            _ => None,
        })
        .collect();
    match missing {
        Some(names) if !names.is_empty() && names.len() <= 8 => {
            let names: Vec<_> = names.into_iter().map(|name| format!("`{}`", cut(name))).collect();
            format!("one of the members {} is missing", names.join(", "))
        }
        _ => format!("has none of the {} forms that are allowed here", context.len()),
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut shown: String = text[..end].chars().filter(|character| !character.is_control()).collect();
    if end < text.len() {
        shown.push('…');
    }
    shown
}
