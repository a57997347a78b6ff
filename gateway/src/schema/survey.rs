//! Looks a learned schema over before anything is compiled: its size, where its references lead, and what checking
//! a value against it can cost at most.
//!
//! The cost: let `C(s, d)` be the number of steps that schema `s` takes along one path from a value's root to a
//! leaf `d` levels below. Schemas that apply to the same value (`allOf`, `anyOf`, `$ref`, …) add up, so a ladder of
//! references doubles with each rung; members and elements take `C(child, d - 1)`, of which those of different
//! members never meet on one path. A value with `n` nodes then costs at most `n * C(root, depth)`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::bounds::{NESTED, PATTERN_BYTES, PATTERNS, SchemaLimits, SchemaRefused};
use crate::protocol::json::quoted;

/// Levels of a value for which costs are known; the reader takes no deeper ones.
pub(super) const LEVELS: usize = 64;

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
enum Target {
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

fn target(keyword: &str) -> Target {
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
fn schemas(place: Place, value: &Value) -> Vec<&Value> {
    let is_schema = |value: &&Value| value.is_object() || value.is_boolean();
    match (place, value) {
        (Place::Many | Place::OneOrMany, Value::Array(list)) => list.iter().filter(is_schema).collect(),
        (Place::Named, Value::Object(named)) => named.values().filter(is_schema).collect(),
        (Place::One | Place::OneOrMany, value) => Some(value).filter(is_schema).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[derive(Debug, Default)]
struct Node<'s> {
    weight: u64,
    same: Vec<usize>,
    distinct: Vec<usize>,
    shared: Vec<usize>,
    reference: Option<&'s str>,
    /// `unevaluated*` asks the schemas beside it once more what they looked at.
    asks_again: bool,
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

/// The nodes so that each comes after those that apply to the same value; an error when there is no such order.
fn in_place_order(nodes: &[Node<'_>]) -> Result<Vec<usize>, SchemaRefused> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    for start in 0..nodes.len() {
        let mut stack = vec![(start, 0)];
        while let Some((id, next)) = stack.pop() {
            if next == 0 {
                match marks[id] {
                    Mark::Done => continue,
                    Mark::Open => return Err(SchemaRefused::Loop),
                    Mark::New => marks[id] = Mark::Open,
                }
            }
            match nodes[id].same.get(next) {
                Some(child) => {
                    stack.push((id, next + 1));
                    stack.push((*child, 0));
                }
                None => {
                    marks[id] = Mark::Done;
                    order.push(id);
                }
            }
        }
    }
    Ok(order)
}

/// Steps and nesting of the root, by levels of the value.
fn costs(nodes: &[Node<'_>], order: &[usize]) -> (Vec<u64>, Vec<u32>) {
    let (mut below, mut here) = (vec![0_u64; nodes.len()], vec![0_u64; nodes.len()]);
    let (mut nested_below, mut nested_here) = (vec![0_u32; nodes.len()], vec![0_u32; nodes.len()]);
    let (mut steps, mut nested) = (Vec::with_capacity(LEVELS), Vec::with_capacity(LEVELS));
    for level in 0..LEVELS {
        for id in order {
            let node = &nodes[*id];
            let sum =
                |of: &[u64], ids: &[usize]| ids.iter().fold(0_u64, |sum, id| sum.saturating_add(of[*id]));
            let same = sum(&here, &node.same).saturating_mul(if node.asks_again { 3 } else { 1 });
            let distinct = node.distinct.iter().map(|id| below[*id]).max().unwrap_or(0);
            let children = distinct.saturating_add(sum(&below, &node.shared));
            here[*id] = node.weight.saturating_add(same).saturating_add(children);
            let inner = node.same.iter().map(|id| nested_here[*id]).max().unwrap_or(0);
            let outer =
                node.distinct.iter().chain(&node.shared).map(|id| nested_below[*id]).max().unwrap_or(0);
            let outer = if level == 0 { 0 } else { outer };
            nested_here[*id] = inner.max(outer).saturating_add(1).min(2 * NESTED);
        }
        steps.push(here[0]);
        nested.push(nested_here[0]);
        std::mem::swap(&mut below, &mut here);
        std::mem::swap(&mut nested_below, &mut nested_here);
    }
    (steps, nested)
}
