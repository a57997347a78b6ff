//! Walks through a JSON text for usage objects without building a tree.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{MAX_REPORTS, Report};

/// Reports at the least depth seen so far.
#[derive(Default)]
pub(super) struct Found {
    depth: usize,
    pub(super) reports: Vec<Report>,
}

impl Found {
    fn take(&mut self, depth: usize, report: Report) {
        if self.reports.is_empty() || depth < self.depth {
            self.reports.clear();
            self.depth = depth;
        }
        if depth == self.depth && self.reports.len() < MAX_REPORTS {
            self.reports.push(report);
        }
    }
}

/// Visits one JSON value.
pub(super) struct Walk<'f> {
    pub(super) depth: usize,
    /// At or below a `metadata` member.
    pub(super) inside: bool,
    pub(super) found: &'f mut Found,
}

/// The member names that matter.
enum Member {
    Metadata,
    Input,
    Output,
    RequestModel,
    ResponseModel,
    Other,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut input, mut output) = (None, None);
        let (mut request_model, mut response_model) = (None, None);
        while let Some(member) = map.next_key_seed(MemberSeed)? {
            match member {
                Member::Input if self.inside => input = map.next_value_seed(Scalar)?.count(),
                Member::Output if self.inside => output = map.next_value_seed(Scalar)?.count(),
                Member::RequestModel if self.inside => request_model = map.next_value_seed(Scalar)?.text(),
                Member::ResponseModel if self.inside => response_model = map.next_value_seed(Scalar)?.text(),
                member => {
                    let inside = self.inside || matches!(member, Member::Metadata);
                    map.next_value_seed(Walk { depth: self.depth + 1, inside, found: &mut *self.found })?;
                }
            }
        }
        if input.is_some() || output.is_some() {
            let report = Report {
                input_tokens: input.unwrap_or_default(),
                output_tokens: output.unwrap_or_default(),
                model: response_model.or(request_model),
            };
            self.found.take(self.depth, report);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            let walk = Walk { depth: self.depth + 1, inside: self.inside, found: &mut *self.found };
            if items.next_element_seed(walk)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

struct MemberSeed;

impl<'de> DeserializeSeed<'de> for MemberSeed {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberSeed {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Member, E> {
        Ok(match name {
            "metadata" | "_meta" => Member::Metadata,
            "gen_ai.usage.input_tokens" => Member::Input,
            "gen_ai.usage.output_tokens" => Member::Output,
            "gen_ai.request.model" => Member::RequestModel,
            "gen_ai.response.model" => Member::ResponseModel,
            _ => Member::Other,
        })
    }
}

/// A value where a count or a name is expected; anything else is nothing.
struct Scalar;

enum Value {
    Count(u64),
    Text(String),
    Nothing,
}

impl Value {
    fn count(self) -> Option<u64> {
        if let Self::Count(count) = self { Some(count) } else { None }
    }

    fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Value, E> {
        Ok(Value::Count(count))
    }

    /// A2A 1.0 metadata is a protobuf `Struct`, whose numbers are doubles: `12.0` is 12.
    fn visit_f64<E: Error>(self, count: f64) -> Result<Value, E> {
        let whole = count.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&count);
        Ok(if whole { Value::Count(count as u64) } else { Value::Nothing })
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Nothing)
    }
}
