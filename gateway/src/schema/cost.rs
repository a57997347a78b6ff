//! What checking a value against a learned schema can cost at most.
//!
//! Let `C(s, d)` be the number of steps that schema `s` takes along one path from a value's root to a
//! leaf `d` levels below. Schemas that apply to the same value (`allOf`, `anyOf`, `$ref`, …) add up, so a ladder of
//! references doubles with each rung; members and elements take `C(child, d - 1)`, of which those of different
//! members never meet on one path. A value with `n` nodes then costs at most `n * C(root, depth)`.

use super::bounds::{NESTED, SchemaRefused};

/// Levels of a value for which costs are known; the reader takes no deeper ones.
pub(super) const LEVELS: usize = 64;

/// One schema, and the schemas within it by where they apply.
#[derive(Debug, Default)]
pub(super) struct Node<'s> {
    pub(super) weight: u64,
    pub(super) same: Vec<usize>,
    pub(super) distinct: Vec<usize>,
    pub(super) shared: Vec<usize>,
    pub(super) reference: Option<&'s str>,
    /// `unevaluated*` asks the schemas beside it once more what they looked at.
    pub(super) asks_again: bool,
}

/// The nodes so that each comes after those that apply to the same value; an error when there is no such order.
pub(super) fn in_place_order(nodes: &[Node<'_>]) -> Result<Vec<usize>, SchemaRefused> {
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
pub(super) fn costs(nodes: &[Node<'_>], order: &[usize]) -> (Vec<u64>, Vec<u32>) {
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
