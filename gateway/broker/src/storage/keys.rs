//! The settings a topic may have: names, defaults, and which values make sense.

use std::collections::BTreeMap;

use super::settings::Values;

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number within these bounds.
    Number(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any of these words, separated by commas.
    Words(&'static [&'static str]),
    /// A fraction from 0 to 1.
    Fraction,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
}

const fn key(name: &'static str, default: &'static str, kind: Kind) -> Key {
    Key { name, default, kind }
}

const BOOLEAN: Kind = Kind::Word(&["false", "true"]);
const FROM_ZERO: Kind = Kind::Number(0, i64::MAX);
const OR_UNLIMITED: Kind = Kind::Number(-1, i64::MAX);

/// Settings that act here come first. The rest are Kafka's, kept and shown so that tools which set them work, without effect.
pub(crate) const KEYS: &[Key] = &[
    key("cleanup.policy", "delete", Kind::Words(&["compact", "delete"])),
    key("max.message.bytes", "1048588", Kind::Number(0, i32::MAX as i64)),
    key("retention.bytes", "-1", OR_UNLIMITED),
    key("retention.ms", "604800000", OR_UNLIMITED),
    key("segment.bytes", "134217728", Kind::Number(1024, i32::MAX as i64)),
    key("segment.ms", "604800000", Kind::Number(1, i64::MAX)),
    key("delete.retention.ms", "86400000", FROM_ZERO),
    key("max.compaction.lag.ms", "9223372036854775807", Kind::Number(1, i64::MAX)),
    key("min.cleanable.dirty.ratio", "0.5", Kind::Fraction),
    key("min.compaction.lag.ms", "0", FROM_ZERO),
    key("compression.type", "producer", Kind::Word(&["producer"])),
    key("file.delete.delay.ms", "60000", FROM_ZERO),
    key("flush.messages", "1", Kind::Number(1, i64::MAX)),
    key("flush.ms", "0", FROM_ZERO),
    key("index.interval.bytes", "32768", FROM_ZERO),
    key("message.timestamp.type", "CreateTime", Kind::Word(&["CreateTime"])),
    key("min.insync.replicas", "1", Kind::Number(1, 1)),
    key("preallocate", "false", BOOLEAN),
    key("unclean.leader.election.enable", "false", BOOLEAN),
];

pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Why `value` cannot be the setting `name`, if it cannot.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let Some(key) = find(name) else {
        return Err(format!("unknown topic setting {name}"));
    };
    let fits = match key.kind {
        Kind::Number(low, high) => value.parse().is_ok_and(|number: i64| (low..=high).contains(&number)),
        Kind::Word(words) => words.contains(&value),
        Kind::Words(words) => !value.is_empty() && value.split(',').all(|word| words.contains(&word.trim())),
        Kind::Fraction => value.parse().is_ok_and(|number: f64| (0.0..=1.0).contains(&number)),
    };
    if fits { Ok(()) } else { Err(format!("{name} cannot be {value:?} here; it is {}", describe(key.kind))) }
}

fn describe(kind: Kind) -> String {
    match kind {
        Kind::Number(low, high) => format!("a number from {low} to {high}"),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::Words(words) => format!("any of {}", words.join(", ")),
        Kind::Fraction => "a number from 0 to 1".to_owned(),
    }
}

/// The values that the storage acts on.
pub(crate) fn values(given: &BTreeMap<String, String>, batch_bytes: usize) -> Values {
    let text = |name: &str| {
        given.get(name).map(String::as_str).or_else(|| find(name).map(|key| key.default)).unwrap_or_default()
    };
    let number = |name: &str| text(name).parse().unwrap_or(-1);
    let policy = |word: &str| text("cleanup.policy").split(',').any(|given| given.trim() == word);
    Values {
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        segment_bytes: number("segment.bytes"),
        batch_bytes: number("max.message.bytes").min(i64::try_from(batch_bytes).unwrap_or(i64::MAX)),
        segment_ms: number("segment.ms"),
        deletes: policy("delete"),
        compacts: policy("compact"),
        delete_retention_ms: number("delete.retention.ms"),
        lag_min_ms: number("min.compaction.lag.ms"),
        lag_max_ms: number("max.compaction.lag.ms"),
        dirty_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
    }
}
