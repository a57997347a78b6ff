//! Looks a learned schema over before anything is compiled: its size, where its references lead, and what checking
//! a value against it can cost at most.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::bounds::{PATTERN_BYTES, PATTERNS, SchemaLimits, SchemaRefused};
use super::cost::{Node, costs, in_place_order};
use super::keyword::{Target, place, schemas, target};
use crate::protocol::json::quoted;

/// What a schema can cost.
#[derive(Debug)]
pub(super) struct Survey {
    /// Steps along one path, by the levels of the value.
    pub(super) steps: Vec<u64>,
    /// Schemas that are stood in at once, by the levels of the value.
    pub(super) nested: Vec<u32>,
    /// Keys of `patternProperties`, all together.
    pub(super) key_patterns: usize,
    /// Distinct patterns of strings and keys.
    pub(super) patterns: Vec<String>,
}

struct Walk<'s, 'l> {
    root: &'s Value,
    limits: &'l SchemaLimits,
    nodes: Vec<Node<'s>>,
    /// Nodes by the address of their value.
    index: HashMap<usize, usize>,
    anchors: HashMap<&'s str, usize>,
    refs: usize,
    key_patterns: usize,
    patterns: Vec<String>,
}

pub(super) fn survey(schema: &Value, limits: &SchemaLimits) -> Result<Survey, SchemaRefused> {
    let mut walk = Walk {
        root: schema,
        limits,
        nodes: Vec::new(),
        index: HashMap::new(),
        anchors: HashMap::new(),
        refs: 0,
        key_patterns: 0,
        patterns: Vec::new(),
    };
    walk.visit(schema, 1)?;
    walk.resolve()?;
    let order = in_place_order(&walk.nodes)?;
    let (steps, nested) = costs(&walk.nodes, &order);
    Ok(Survey { steps, nested, key_patterns: walk.key_patterns, patterns: walk.patterns })
}

impl<'s> Walk<'s, '_> {
    fn visit(&mut self, schema: &'s Value, depth: usize) -> Result<usize, SchemaRefused> {
        if depth > self.limits.depth {
            return Err(SchemaRefused::Depth(self.limits.depth));
        }
        if self.nodes.len() == self.limits.count {
            return Err(SchemaRefused::Count(self.limits.count));
        }
        let id = self.nodes.len();
        self.nodes.push(Node { weight: 1, ..Node::default() });
        self.index.insert(address(schema), id);
        let Value::Object(keywords) = schema else { return Ok(id) };
        self.inspect(id, keywords, depth)?;
        for (keyword, value) in keywords {
            let Some(place) = place(keyword) else { continue };
            for inner in schemas(place, value) {
                let child = self.visit(inner, depth + 1)?;
                let node = &mut self.nodes[id];
                match target(keyword) {
                    Target::Same => node.same.push(child),
                    Target::Distinct => node.distinct.push(child),
                    Target::Shared => node.shared.push(child),
                    Target::Nowhere => {}
                }
            }
        }
        Ok(id)
    }

    /// The keywords that hold no schemas.
    fn inspect(
        &mut self,
        id: usize,
        keywords: &'s Map<String, Value>,
        depth: usize,
    ) -> Result<(), SchemaRefused> {
        for unbounded in ["$dynamicRef", "$recursiveRef"] {
            if keywords.contains_key(unbounded) {
                return Err(SchemaRefused::Unbounded(unbounded));
            }
        }
        if depth > 1 && keywords.get("$id").is_some_and(Value::is_string) {
            return Err(SchemaRefused::Unbounded("$id below the root"));
        }
        if let Some(anchor) = keywords.get("$anchor").and_then(Value::as_str) {
            self.anchors.insert(anchor, id);
        }
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            self.refs += 1;
            if self.refs > self.limits.refs {
                return Err(SchemaRefused::Refs(self.limits.refs));
            }
            self.nodes[id].reference = Some(reference);
        }
        if let Some(pattern) = keywords.get("pattern").and_then(Value::as_str) {
            self.take_pattern(pattern)?;
        }
        for pattern in
            keywords.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys)
        {
            self.key_patterns += 1;
            self.take_pattern(pattern)?;
        }
        let node = &mut self.nodes[id];
        node.weight = weight(keywords);
        node.asks_again =
            ["unevaluatedProperties", "unevaluatedItems"].iter().any(|k| keywords.contains_key(*k));
        Ok(())
    }

    fn take_pattern(&mut self, pattern: &str) -> Result<(), SchemaRefused> {
        if pattern.len() > PATTERN_BYTES {
            return Err(SchemaRefused::Pattern(quoted(pattern)));
        }
        if !self.patterns.iter().any(|known| known == pattern) {
            if self.patterns.len() == PATTERNS {
                return Err(SchemaRefused::Patterns);
            }
            self.patterns.push(pattern.to_owned());
        }
        Ok(())
    }

    /// Turns each `$ref` into an edge.
    fn resolve(&mut self) -> Result<(), SchemaRefused> {
        for id in 0..self.nodes.len() {
            let Some(reference) = self.nodes[id].reference else { continue };
            let Some(fragment) = reference.strip_prefix('#') else {
                return Err(SchemaRefused::ExternalRef(quoted(reference)));
            };
            let found = if fragment.is_empty() || fragment.starts_with('/') {
                let pointer = percent_decoded(fragment);
                pointer.and_then(|pointer| self.index.get(&address(self.root.pointer(&pointer)?)).copied())
            } else {
                self.anchors.get(fragment).copied()
            };
            let found = found.ok_or_else(|| SchemaRefused::DanglingRef(quoted(reference)))?;
            self.nodes[id].same.push(found);
        }
        Ok(())
    }
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

fn weight(keywords: &Map<String, Value>) -> u64 {
    let size = |keyword: &str| match keywords.get(keyword) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(named)) => named.len(),
        _ => 0,
    };
    let compared = |keyword: &str| keywords.get(keyword).map_or(0, nodes);
    let listed = size("required") + size("properties") + size("dependentRequired") + size("dependencies");
    let mut weight = 1 + keywords.len() / 4 + listed / 4 + compared("enum") / 4 + compared("const") / 4;
    weight += 4 * size("patternProperties");
    if keywords.contains_key("uniqueItems") {
        weight += 8;
    }
    weight as u64
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(nodes).sum(),
        Value::Object(members) => members.values().map(nodes).sum::<usize>(),
        _ => 0,
    }
}

/// A fragment with its percent escapes resolved (RFC 6901, section 6).
fn percent_decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}
