//! What a policy looks at in the arguments of a call: read from its text when it is loaded.

use std::collections::BTreeMap;
use std::fmt;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, UnaryOp, Var};

/// Members of a record that policies look at, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape(BTreeMap<String, Node>);

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// A policy reads its value as a whole.
    pub(super) read: bool,
    /// A policy asks whether it is there.
    asked: bool,
    kind: Option<Type>,
    /// What is looked at inside it.
    pub(super) members: Shape,
}

/// The type in which a value is used.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Type {
    Long,
    Bool,
    Text,
    Set(Box<Type>),
}

/// A use of the context that cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Opaque {
    #[error("`context` is used as a whole; name the member that matters, as in `context.arguments.amount`")]
    Context,
    #[error(
        "`context.arguments` is used as a whole; name the argument that matters, as in `context.arguments has amount`"
    )]
    Arguments,
}

/// The arguments that `clauses` look at. Every other use of the context is `context.dialect`.
pub(super) fn arguments(clauses: &[Clause]) -> Result<Shape, Opaque> {
    let mut shape = Shape::default();
    for clause in clauses {
        let (Clause::When(expr) | Clause::Unless(expr)) = clause;
        shape.visit(expr, Some(&Type::Bool))?;
    }
    Ok(shape)
}

impl Shape {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// Adds what `other` looks at.
    pub(super) fn merge(&mut self, other: &Self) {
        for (name, node) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            mine.read |= node.read;
            mine.asked |= node.asked;
            mine.kind = mine.kind.take().or_else(|| node.kind.clone());
            mine.members.merge(&node.members);
        }
    }

    fn visit(&mut self, expr: &Expr, expected: Option<&Type>) -> Result<(), Opaque> {
        if let Some(path) = context_path(expr) {
            return self.note_read(&path, expected);
        }
        match expr {
            Expr::HasAttr { expr, attrs } => match context_path(expr) {
                Some(mut path) => {
                    path.extend(attrs.iter().map(|attr| attr.as_str()));
                    self.note_asked(&path)
                }
                None => self.visit(expr, None),
            },
            Expr::UnaryOp { op, expr } => self.visit(expr, operand(*op).as_ref()),
            Expr::BinaryOp { op, left, right } => self.visit_binary(*op, left, right),
            Expr::GetAttr { expr, .. } => self.visit(expr, None),
            Expr::Like { expr, .. } => self.visit(expr, Some(&Type::Text)),
            Expr::Is { expr, in_expr, .. } => {
                self.visit(expr, None)?;
                in_expr.iter().try_for_each(|inner| self.visit(inner, None))
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.visit(cond, Some(&Type::Bool))?;
                self.visit(then_expr, expected)?;
                self.visit(else_expr, expected)
            }
            Expr::Set(items) => items.iter().try_for_each(|item| self.visit(item, None)),
            Expr::Record(members) => members.values().try_for_each(|item| self.visit(item, None)),
            _ => Ok(()),
        }
    }

    fn visit_binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<(), Opaque> {
        let (for_left, for_right) = match op {
            BinaryOp::Less
            | BinaryOp::LessEq
            | BinaryOp::Greater
            | BinaryOp::GreaterEq
            | BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul => (Some(Type::Long), Some(Type::Long)),
            BinaryOp::And | BinaryOp::Or => (Some(Type::Bool), Some(Type::Bool)),
            BinaryOp::Contains => {
                let element = match kind_of(left) {
                    Some(Type::Set(element)) => Some(*element),
                    _ => None,
                };
                (Some(Type::Set(Box::new(kind_of(right).unwrap_or(Type::Text)))), element)
            }
            BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
                let texts = || Some(Type::Set(Box::new(Type::Text)));
                (kind_of(right).or_else(texts), kind_of(left).or_else(texts))
            }
            _ => (kind_of(right), kind_of(left)),
        };
        self.visit(left, for_left.as_ref())?;
        self.visit(right, for_right.as_ref())
    }

    fn note_read(&mut self, path: &[&str], expected: Option<&Type>) -> Result<(), Opaque> {
        let Some(node) = self.node(path)? else { return Ok(()) };
        node.read = true;
        node.kind = node.kind.take().or_else(|| expected.cloned());
        Ok(())
    }

    fn note_asked(&mut self, path: &[&str]) -> Result<(), Opaque> {
        for end in 1..=path.len() {
            // `context has arguments` ends at the whole and is refused as such.
            if end == 1 && path.len() > 1 {
                continue;
            }
            if let Some(node) = self.node(&path[..end])? {
                node.asked |= end == path.len() || node.members.is_empty();
            }
        }
        Ok(())
    }

    /// The node of a path below `context`; `None` for what is no argument.
    fn node(&mut self, path: &[&str]) -> Result<Option<&mut Node>, Opaque> {
        let (first, rest) = path.split_first().ok_or(Opaque::Context)?;
        if *first != "arguments" {
            return Ok(None);
        }
        let (name, inner) = rest.split_first().ok_or(Opaque::Arguments)?;
        let mut node = self.0.entry((*name).to_owned()).or_default();
        for name in inner {
            node = node.members.0.entry((*name).to_owned()).or_default();
        }
        Ok(Some(node))
    }
}

/// The member names from `context` to here, when the expression is nothing but that.
fn context_path(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Var(Var::Context) => Some(Vec::new()),
        Expr::GetAttr { expr, attr } => {
            let mut path = context_path(expr)?;
            path.push(attr.as_str());
            Some(path)
        }
        _ => None,
    }
}

fn operand(op: UnaryOp) -> Option<Type> {
    match op {
        UnaryOp::Not => Some(Type::Bool),
        UnaryOp::Neg => Some(Type::Long),
        UnaryOp::IsEmpty => Some(Type::Set(Box::new(Type::Text))),
        _ => Some(Type::Text),
    }
}

/// The type of what is compared with, where it is plain to see.
fn kind_of(expr: &Expr) -> Option<Type> {
    match expr {
        Expr::Literal(Literal::Bool(_)) => Some(Type::Bool),
        Expr::Literal(Literal::Long(_)) => Some(Type::Long),
        Expr::Literal(Literal::String(_)) => Some(Type::Text),
        Expr::Set(items) => {
            items.first().and_then(|item| kind_of(item)).map(|kind| Type::Set(Box::new(kind)))
        }
        Expr::BinaryOp { op: BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul, .. }
        | Expr::UnaryOp { op: UnaryOp::Neg, .. } => Some(Type::Long),
        Expr::GetAttr { expr, .. } if matches!(**expr, Expr::Var(Var::Principal | Var::Resource)) => {
            Some(Type::Text)
        }
        _ => None,
    }
}

/// As a type of a Cedar schema. What is asked for first may be absent, everything else must be there.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, node)) in self.0.iter().enumerate() {
            let (comma, optional) = (if index == 0 { "" } else { ", " }, if node.asked { "?" } else { "" });
            write!(f, "{comma}\"{}\"{optional}: ", name.escape_debug())?;
            match &node.kind {
                _ if !node.members.is_empty() => node.members.fmt(f)?,
                Some(kind) => kind.fmt(f)?,
                None => Type::Text.fmt(f)?,
            }
        }
        f.write_str("}")
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long => f.write_str("Long"),
            Self::Bool => f.write_str("Bool"),
            Self::Text => f.write_str("String"),
            Self::Set(element) => write!(f, "Set<{element}>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;

    fn shape(condition: &str) -> Result<String, Opaque> {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let policy = Policy::parse(None, text).unwrap().to_pst().unwrap();
        arguments(policy.body().clauses()).map(|shape| shape.to_string())
    }

    #[test]
    fn arguments_are_found_with_the_type_they_are_used_in() {
        for (condition, expected) in [
            ("principal.tenant == \"demo\" && context.dialect == \"1.0\"", "{}"),
            ("context.arguments.amount > 5", "{\"amount\": Long}"),
            ("context.arguments[\"a b\"] == \"x\"", "{\"a b\": String}"),
            ("context.arguments has note && context.arguments.note like \"*x\"", "{\"note\"?: String}"),
            ("context.arguments has draft && context.arguments.draft", "{\"draft\"?: Bool}"),
            ("context.arguments has draft", "{\"draft\"?: String}"),
            ("[1, 2].contains(context.arguments.size)", "{\"size\": Long}"),
            ("context.arguments.tags.contains(\"x\")", "{\"tags\": Set<String>}"),
            ("context.arguments.ids.containsAny([7])", "{\"ids\": Set<Long>}"),
            ("context.arguments.order.amount * 2 <= 4", "{\"order\": {\"amount\": Long}}"),
            ("context.arguments has order.amount", "{\"order\"?: {\"amount\"?: String}}"),
            ("context.arguments.who == principal.name", "{\"who\": String}"),
            ("if context.arguments.a then context.arguments.b else false", "{\"a\": Bool, \"b\": Bool}"),
        ] {
            assert_eq!(shape(condition).as_deref(), Ok(expected), "{condition}");
        }
    }

    #[test]
    fn the_context_as_a_whole_is_refused() {
        assert_eq!(shape("context == {}"), Err(Opaque::Context));
        assert_eq!(shape("context.arguments == {}"), Err(Opaque::Arguments));
        assert_eq!(shape("context has arguments"), Err(Opaque::Arguments));
        assert_eq!(shape("{a: context.arguments} == {a: 1}"), Err(Opaque::Arguments));
    }
}
