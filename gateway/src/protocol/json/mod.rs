//! The one strict JSON reader of every door (RFC 8259 with the ambiguities taken out).
//!
//! Refused beside what is no JSON: a byte order mark, invalid UTF-8, anything after the document, a member
//! named twice in one object (compared after escapes are resolved), half a surrogate pair, a number beyond
//! the range of a double, nesting or a number of values over the limit. One pass; an error says what and where.

mod reader;
mod text;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde_json::{Map, Value};

use super::ReadLimits;
pub use reader::OBJECT_COST;

/// A document, by what stands at its top.
#[derive(Debug)]
pub enum Document<'a> {
    Object(Object<'a>),
    Other(Value),
}

/// The object at the top of a document.
#[derive(Debug)]
pub struct Object<'a> {
    pub members: Map<String, Value>,
    /// Where the values of the first members stand in the text.
    spans: Vec<(Cow<'a, str>, Range<usize>)>,
}

impl Object<'_> {
    /// Where in the text the value of `member` stands; known for the first [`SPANS`] members.
    pub fn span(&self, member: &str) -> Option<Range<usize>> {
        self.spans.iter().find(|(name, _)| name == member).map(|(_, span)| span.clone())
    }
}

/// Members of the top object whose place is remembered. A JSON-RPC envelope has four.
pub const SPANS: usize = 8;

/// Reads one document.
pub fn read<'a>(bytes: &'a [u8], limits: &ReadLimits) -> Result<Document<'a>, Malformed> {
    reader::read(bytes, limits)
}

/// Reads one document into a tree.
pub fn value(bytes: &[u8], limits: &ReadLimits) -> Result<Value, Malformed> {
    Ok(match read(bytes, limits)? {
        Document::Object(object) => Value::Object(object.members),
        Document::Other(value) => value,
    })
}

/// What is wrong with a text that is no strict JSON document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the text begins with a byte order mark; send plain UTF-8")]
    ByteOrderMark,
    #[error("the text is not UTF-8")]
    Utf8,
    #[error("the text is empty")]
    Empty,
    #[error("the text ends before the document does")]
    End,
    #[error("{0} is expected here")]
    Expected(&'static str),
    #[error("something follows the end of the document")]
    Trailing,
    #[error("member {0} stands twice in one object")]
    Duplicate(String),
    #[error("nesting is deeper than {0} levels")]
    Depth(usize),
    #[error("the document holds more than {0} values")]
    Values(usize),
    #[error("a string holds a control character; write it as an escape")]
    Control,
    #[error("an escape in a string is not valid")]
    Escape,
    #[error("a string holds half of a surrogate pair")]
    Surrogate,
    #[error("a number is not written as JSON writes numbers")]
    Number,
    #[error("a number is beyond the range of a 64-bit float")]
    Range,
}

/// A fault and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub fault: Fault,
    /// Byte offset.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// JSON pointer of the value in which the fault lies.
    pub path: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, ", in {}", self.path)?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl std::error::Error for Malformed {}

/// Quotes a text from outside for an error message: cut to a bearable length, control characters escaped.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 64;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
