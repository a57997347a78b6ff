//! One YAML document as a tree whose nodes know their place and whose scalars are the text as it was
//! written: `1.10` stays `1.10`, for money and for environment values alike.
//!
//! Left out on purpose: anchors, aliases and tags. A configuration that needs them is hard to read, and
//! without them no input can grow while it is read.

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::mistakes::Place;

/// Deepest nesting of a configuration that means anything is six.
const DEPTH_MAX: usize = 32;

/// One node and where it starts.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing, or a plain `null` or `~`.
    Null,
    /// `plain` tells `true` from `"true"`.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One member of a mapping. Keys are unique.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

/// What the text is not, and where.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Reads the one document in `text`; keys that repeat go to `duplicates` and the first is kept.
pub(super) fn read(text: &str, duplicates: &mut Vec<Malformed>) -> Result<Node, Malformed> {
    let mut events = Events { parser: Parser::new_from_str(text), duplicates };
    let mut document = None;
    loop {
        let (event, place) = events.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            _ if document.is_some() => {
                return Err(malformed(place, "a second document; one file is one document"));
            }
            event => document = Some(events.node(event, place, 0)?),
        }
    }
    Ok(document.unwrap_or(Node { place: Place { line: 1, column: 1 }, kind: Kind::Null }))
}

struct Events<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    duplicates: &'a mut Vec<Malformed>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Malformed> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span))),
            Some(Err(error)) => {
                let at = Place { line: error.marker().line(), column: error.marker().col() + 1 };
                Err(malformed(at, &format!("not YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, Place { line: 1, column: 1 })),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Malformed> {
        if depth > DEPTH_MAX {
            return Err(malformed(place, "nested deeper than any setting is"));
        }
        let kind = match event {
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(.., Some(_))
            | Event::MappingStart(.., Some(_)) => {
                return Err(malformed(place, "tags (`!…`) are not read here; leave it out"));
            }
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) => {
                return Err(malformed(place, "aliases (`*…`) are not read here; write the value out"));
            }
            _ => return Err(malformed(place, "a value was expected here")),
        };
        Ok(Node { place, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Malformed> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(items)),
                (event, place) => items.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Malformed> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, place) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Kind::Map(entries)),
                (Event::Scalar(key, ..), place) => (key.into_owned(), place),
                (_, place) => return Err(malformed(place, "a key has to be a plain word")),
            };
            let (event, value_place) = self.next()?;
            let value = self.node(event, value_place, depth + 1)?;
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let text = format!("`{key}` stands in line {} already; keep one of them", first.place.line);
                self.duplicates.push(malformed(place, &text));
            } else {
                entries.push(Entry { key, place, value });
            }
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Kind {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Kind::Null;
    }
    Kind::Scalar { text: text.to_owned(), plain }
}

fn place(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

fn malformed(place: Place, text: &str) -> Malformed {
    Malformed { place, text: text.to_owned() }
}
