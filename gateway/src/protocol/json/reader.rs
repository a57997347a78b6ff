//! Recursive descent over a text that is known to be UTF-8. Depth is bounded, so the stack is.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Number, Value};

use super::{Document, Fault, Malformed, Object, ReadLimits, SPANS, quoted, text};

/// An object counts as so many values: about what its table takes in memory beside what its members take.
pub const OBJECT_COST: usize = 8;

pub(super) fn read<'a>(bytes: &'a [u8], limits: &ReadLimits) -> Result<Document<'a>, Malformed> {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(place(bytes, *Failure::at(Fault::ByteOrderMark, 0)));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| place(bytes, *Failure::at(Fault::Utf8, error.valid_up_to())))?;
    let mut reader = Reader { text, bytes, at: 0, depth: 0, left: limits.values, limits, spans: Vec::new() };
    reader.document().map_err(|failure| place(bytes, *failure))
}

/// A fault on its way up: each level adds the step that led into it.
#[derive(Debug)]
struct Failure {
    fault: Fault,
    at: usize,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
}

impl Failure {
    #[cold]
    fn at(fault: Fault, at: usize) -> Box<Self> {
        Box::new(Self { fault, at, steps: Vec::new() })
    }

    #[cold]
    fn within(mut self: Box<Self>, step: Step) -> Box<Self> {
        self.steps.push(step);
        self
    }
}

type Read<T> = Result<T, Box<Failure>>;

#[cold]
fn place(bytes: &[u8], failure: Failure) -> Malformed {
    let before = &bytes[..failure.at.min(bytes.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let mut path = String::new();
    for step in failure.steps.iter().rev() {
        path.push('/');
        match step {
            Step::Element(index) => path.push_str(&index.to_string()),
            Step::Member(name) => path.push_str(&name.replace('~', "~0").replace('/', "~1")),
        }
    }
    Malformed {
        fault: failure.fault,
        offset: failure.at,
        line: memchr::memchr_iter(b'\n', before).count() + 1,
        column: before.len() - line_start + 1,
        path,
    }
}

struct Reader<'a, 'l> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Values that may still come.
    left: usize,
    limits: &'l ReadLimits,
    spans: Vec<(Cow<'a, str>, Range<usize>)>,
}

impl<'a> Reader<'a, '_> {
    fn document(&mut self) -> Read<Document<'a>> {
        self.blank();
        if self.at == self.bytes.len() {
            return self.fail(Fault::Empty);
        }
        let value = self.value()?;
        self.blank();
        if self.at < self.bytes.len() {
            return self.fail(Fault::Trailing);
        }
        Ok(match value {
            Value::Object(members) => {
                Document::Object(Object { members, spans: std::mem::take(&mut self.spans) })
            }
            other => Document::Other(other),
        })
    }

    fn value(&mut self) -> Read<Value> {
        self.count(1)?;
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?.into_owned())),
            Some(b'{') => self.object().map(Value::Object),
            Some(b'[') => self.array().map(Value::Array),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => self.fail(Fault::Expected("a value")),
            None => self.fail(Fault::End),
        }
    }

    fn object(&mut self) -> Read<Map<String, Value>> {
        self.enter()?;
        self.count(OBJECT_COST)?;
        let mut members = Map::new();
        if self.closes(b'}') {
            return Ok(members);
        }
        loop {
            let name_at = self.at;
            if self.peek() != Some(b'"') {
                return self.fail_expecting("a member name in double quotes");
            }
            let name = self.string()?;
            self.blank();
            if self.peek() != Some(b':') {
                return self.fail_expecting("`:`");
            }
            self.at += 1;
            self.blank();
            let start = self.at;
            let value = match self.value() {
                Ok(value) => value,
                Err(failure) => return Err(failure.within(Step::Member(cut(&name)))),
            };
            if self.depth == 1 && self.spans.len() < SPANS {
                self.spans.push((name.clone(), start..self.at));
            }
            if members.insert(name.clone().into_owned(), value).is_some() {
                return Err(Failure::at(Fault::Duplicate(quoted(&name)), name_at));
            }
            if !self.more(b'}', "`,` or `}`")? {
                return Ok(members);
            }
        }
    }

    fn array(&mut self) -> Read<Vec<Value>> {
        self.enter()?;
        let mut elements = Vec::new();
        if self.closes(b']') {
            return Ok(elements);
        }
        loop {
            match self.value() {
                Ok(value) => elements.push(value),
                Err(failure) => return Err(failure.within(Step::Element(elements.len()))),
            }
            if !self.more(b']', "`,` or `]`")? {
                return Ok(elements);
            }
        }
    }

    /// Steps over an opening bracket and the blanks after it.
    fn enter(&mut self) -> Read<()> {
        if self.depth == self.limits.depth {
            return self.fail(Fault::Depth(self.limits.depth));
        }
        self.depth += 1;
        self.at += 1;
        self.blank();
        Ok(())
    }

    fn closes(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        if closes {
            self.at += 1;
            self.depth -= 1;
        }
        closes
    }

    /// After a value: whether another follows in the same object or array.
    fn more(&mut self, bracket: u8, expected: &'static str) -> Read<bool> {
        self.blank();
        if self.closes(bracket) {
            return Ok(false);
        }
        if self.peek() != Some(b',') {
            return self.fail_expecting(expected);
        }
        self.at += 1;
        self.blank();
        Ok(true)
    }

    fn string(&mut self) -> Read<Cow<'a, str>> {
        let (string, end) = text::string(self.text, self.at).map_err(|(fault, at)| Failure::at(fault, at))?;
        self.at = end;
        Ok(string)
    }

    fn number(&mut self) -> Read<Number> {
        let start = self.at;
        let (end, integer) = text::number(self.bytes, start).map_err(|at| Failure::at(Fault::Number, at))?;
        self.at = end;
        let digits = &self.text[start..end];
        if integer {
            if let Ok(number) = digits.parse::<u64>() {
                return Ok(number.into());
            }
            match digits.parse::<i64>() {
                Ok(number) if number != 0 => return Ok(number.into()),
                _ => {}
            }
        }
        let float = digits.parse::<f64>().ok().and_then(Number::from_f64);
        float.ok_or_else(|| Failure::at(Fault::Range, start))
    }

    fn word(&mut self, word: &'static str, value: Value) -> Read<Value> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.fail(Fault::Expected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn count(&mut self, values: usize) -> Read<()> {
        match self.left.checked_sub(values) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => self.fail(Fault::Values(self.limits.values)),
        }
    }

    #[cold]
    fn fail<T>(&self, fault: Fault) -> Read<T> {
        Err(Failure::at(fault, self.at))
    }

    #[cold]
    fn fail_expecting<T>(&self, expected: &'static str) -> Read<T> {
        self.fail(if self.at < self.bytes.len() { Fault::Expected(expected) } else { Fault::End })
    }
}

/// A member name as a step of a path: long ones are cut, control characters escaped.
fn cut(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}
