//! Replacing single members of one JSON-RPC text while every other byte stays as it came.
//!
//! [`Message::read`] checks that a text is one JSON-RPC 2.0 message and tells where its members stand;
//! [`Splice`] writes the text out again with some of those places replaced. Nothing is re-serialised, so numbers,
//! member order and members that nobody here knows survive. Pure: no I/O, no clock, no panic on input.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A text that is no JSON-RPC 2.0 message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("not JSON with the members of a JSON-RPC message: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the member jsonrpc is missing or not \"2.0\"")]
    Version,
    #[error("neither a request, nor a notification, nor a response with exactly one of result and error")]
    Kind,
}

/// What a message is, by the members that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Notification,
    Result,
    Error,
}

impl Kind {
    pub fn is_response(self) -> bool {
        matches!(self, Self::Result | Self::Error)
    }
}

/// One JSON-RPC message, borrowed from its text: each member as the JSON text that it is.
#[derive(Debug)]
pub struct Message<'a> {
    text: &'a [u8],
    members: Members<'a>,
    kind: Kind,
}

#[derive(Debug, Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Keeps a `null` apart from an absent member: A2A answers deletions with `"result": null`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The members of `params` that a gateway looks at. All absent when `params` is no object.
#[derive(Debug, Default, Deserialize)]
pub struct Params<'a> {
    /// `tools/call`: the tool.
    #[serde(borrow, default)]
    pub name: Option<&'a RawValue>,
    /// `tools/call`: the arguments.
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
    /// `notifications/progress`: whose progress it is.
    #[serde(borrow, default, rename = "progressToken")]
    pub progress_token: Option<&'a RawValue>,
    /// `notifications/cancelled`: what is cancelled.
    #[serde(borrow, default, rename = "requestId")]
    pub request_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

impl<'a> Params<'a> {
    /// `_meta.progressToken`: the token under which the caller wants to hear of progress.
    pub fn wanted_token(&self) -> Option<&'a str> {
        #[derive(Deserialize)]
        struct Meta<'a> {
            #[serde(borrow, default, rename = "progressToken")]
            progress_token: Option<&'a RawValue>,
        }
        let meta: Meta<'a> = serde_json::from_str(self.meta?.get()).ok()?;
        meta.progress_token.map(RawValue::get)
    }
}

impl<'a> Message<'a> {
    /// Reads one message. The whole text is checked to be JSON; a second `id`, `method`, `params`, `result` or `error`
    /// is malformed.
    pub fn read(text: &'a [u8]) -> Result<Self, Malformed> {
        let members: Members<'a> = serde_json::from_slice(text)?;
        if members.jsonrpc != "2.0" {
            return Err(Malformed::Version);
        }
        let id = members.id.is_some_and(|id| id.get() != "null");
        let kind = match (&members.method, &members.result, &members.error) {
            (Some(_), None, None) if id => Kind::Request,
            (Some(_), None, None) if members.id.is_none() => Kind::Notification,
            (None, Some(_), None) => Kind::Result,
            // Some servers write `"error": null` beside a result, which says nothing and is let pass.
            (None, Some(_), Some(error)) if error.get() == "null" => Kind::Result,
            (None, None, Some(_)) => Kind::Error,
            _ => return Err(Malformed::Kind),
        };
        Ok(Self { text, members, kind })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The id's JSON text; none when it is absent or `null`.
    pub fn id(&self) -> Option<&'a str> {
        self.members.id.map(RawValue::get).filter(|id| *id != "null")
    }

    pub fn method(&self) -> Option<&str> {
        self.members.method.as_deref()
    }

    pub fn result(&self) -> Option<&'a str> {
        self.members.result.map(RawValue::get)
    }

    pub fn error(&self) -> Option<&'a str> {
        self.members.error.map(RawValue::get)
    }

    pub fn params(&self) -> Params<'a> {
        self.members.params.and_then(|params| serde_json::from_str(params.get()).ok()).unwrap_or_default()
    }

    /// The text with `id` in the place of its own id, also where that is `null` or absent.
    pub fn with_id(&self, id: &[u8]) -> Bytes {
        let mut splice = Splice::of(self.text);
        match self.members.id {
            Some(own) => splice.replace(own.get(), id),
            None => splice.insert_member("id", id),
        };
        splice.finish()
    }
}

/// Whether two ids are the same JSON value, however they are spelled. Numbers that are no 64-bit integers are the same
/// only when spelled alike.
pub fn same_id(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok().filter(|id| !id.is_f64());
    matches!((read(a), read(b)), (Some(a), Some(b)) if a == b)
}

/// A text and what shall stand in the place of some of its parts.
#[derive(Debug)]
pub struct Splice<'a> {
    text: &'a [u8],
    edits: Vec<(Range<usize>, Cow<'a, [u8]>)>,
}

impl<'a> Splice<'a> {
    pub fn of(text: &'a [u8]) -> Self {
        Self { text, edits: Vec::with_capacity(3) }
    }

    /// Puts `with` in the place of `part`, which must be a slice of the text and must not overlap another edit.
    pub fn replace(&mut self, part: &str, with: &[u8]) -> &mut Self {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let range = start..start.wrapping_add(part.len());
        assert!(self.text.get(range.clone()).is_some(), "the part is a slice of the text");
        self.edits.push((range, Cow::Owned(with.to_vec())));
        self
    }

    /// Adds a member at the start of the outermost object, which must have at least one.
    pub fn insert_member(&mut self, name: &str, value: &[u8]) -> &mut Self {
        if let Some(brace) = memchr::memchr(b'{', self.text) {
            let mut member = format!("\"{name}\":").into_bytes();
            member.extend_from_slice(value);
            member.push(b',');
            self.edits.push((brace + 1..brace + 1, Cow::Owned(member)));
        }
        self
    }

    /// The text with its edits.
    pub fn finish(&mut self) -> Bytes {
        self.write(0).into()
    }

    /// The text with its edits on one line, ended by `\n`, as stdio wants it. Line breaks in valid JSON stand only between
    /// tokens, so a space may take their place.
    pub fn finish_line(&mut self) -> Bytes {
        let mut line = self.write(1);
        if memchr::memchr2(b'\n', b'\r', &line).is_some() {
            line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        }
        line.push(b'\n');
        line.into()
    }

    fn write(&mut self, spare: usize) -> Vec<u8> {
        self.edits.sort_by_key(|(range, _)| range.start);
        let added: usize = self.edits.iter().map(|(_, with)| with.len()).sum();
        let mut out = Vec::with_capacity(self.text.len() + added + spare);
        let mut from = 0;
        for (range, with) in &self.edits {
            out.extend_from_slice(&self.text[from..range.start]);
            out.extend_from_slice(with);
            from = range.end;
        }
        out.extend_from_slice(&self.text[from..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds_are_told_apart_by_members() {
        let kind = |text: &str| Message::read(text.as_bytes()).map(|message| message.kind()).ok();
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#), Some(Kind::Request));
        assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"m","params":{}}"#), Some(Kind::Notification));
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":"a","result":null}"#), Some(Kind::Result));
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":"a","result":{},"error":null}"#), Some(Kind::Result));
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#), Some(Kind::Error));
        for bad in [
            r#"{"id":1,"result":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}} x"#,
            r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
            "",
            "{",
        ] {
            assert_eq!(kind(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_named_places_change() {
        let text = "{\"id\": 7,\n \"params\":{\"x\":1.50, \"_meta\":{\"progressToken\" : \"t\", \"u\":12345678901234567890},\
                    \"name\":\"gold__price\"}, \"jsonrpc\":\"2.0\",\"method\":\"tools/call\"}";
        let message = Message::read(text.as_bytes()).unwrap();
        let params = message.params();
        let mut splice = Splice::of(text.as_bytes());
        splice.replace(params.wanted_token().unwrap(), b"41");
        splice.replace(params.name.unwrap().get(), b"\"price\"");
        splice.replace(message.id().unwrap(), b"41");
        let line = splice.finish_line();
        assert_eq!(
            std::str::from_utf8(&line).unwrap(),
            "{\"id\": 41,  \"params\":{\"x\":1.50, \"_meta\":{\"progressToken\" : 41, \"u\":12345678901234567890},\
             \"name\":\"price\"}, \"jsonrpc\":\"2.0\",\"method\":\"tools/call\"}\n"
        );
    }

    #[test]
    fn an_id_is_put_in_where_there_is_none() {
        for text in [r#"{"jsonrpc":"2.0","error":{}}"#, r#"{"id":null,"jsonrpc":"2.0","error":{}}"#] {
            let text = Message::read(text.as_bytes()).unwrap().with_id(b"\"a\"");
            assert_eq!(Message::read(&text).unwrap().id(), Some("\"a\""));
        }
    }

    #[test]
    fn ids_are_compared_as_values() {
        assert!(same_id("1", "1"));
        assert!(same_id("\"\\u0061\"", "\"a\""));
        assert!(same_id("1e2", "1e2"));
        for (a, b) in [("1", "\"1\""), ("1", "1.0"), ("\"a\"", "\"b\""), ("1", "[")] {
            assert!(!same_id(a, b), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::read(&bytes);
        }

        #[test]
        fn giving_an_id_and_taking_it_back_is_the_identity(id in "[1-9][0-9]{0,9}", key in "[a-z]{1,5}", value in ".*") {
            let text = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id}0,\"result\":{}}}",
                serde_json::json!({ key: value })
            );
            let there = Message::read(text.as_bytes()).unwrap().with_id(b"\"mine\"");
            let back = Message::read(&there).unwrap().with_id(format!("{id}0").as_bytes());
            prop_assert_eq!(back.as_ref(), text.as_bytes());
        }
    }
}
