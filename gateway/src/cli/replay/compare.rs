//! Two answers to one request: where they differ, as paths into their JSON.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::message::Protocol;

/// Differences listed of one exchange; there may be as many as an answer has members.
const MOST: usize = 100;

/// Longest value that is shown whole, in characters.
const SHOWN: usize = 120;

/// Members that an A2A agent makes anew for each answer.
const A2A_VOLATILE: [&str; 6] = ["id", "messageId", "taskId", "contextId", "artifactId", "timestamp"];

/// One place where two answers differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    /// `$` is the message; of a stream, `#3 $` is its third.
    pub(super) path: String,
    /// Absent when only the new answer has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recorded: Option<Value>,
    /// Absent when only the recorded answer has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<Value>,
}

/// What is not compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignore {
    /// Names of members, anywhere, or whole paths from `$` on.
    pub(super) listed: Vec<String>,
    /// Compares also what agents make anew for each answer.
    pub(super) strict: bool,
}

impl Ignore {
    fn covers(&self, protocol: Protocol, member: &str, path: &str) -> bool {
        let volatile = !self.strict && protocol == Protocol::A2a && A2A_VOLATILE.contains(&member);
        let path = &path[path.find('$').unwrap_or_default()..];
        volatile || self.listed.iter().any(|listed| listed == member || listed == path)
    }
}

/// Compares two answers, message by message. A text that is no JSON is compared as text.
pub(super) fn compare(
    protocol: Protocol,
    recorded: &[Value],
    now: &[Value],
    ignore: &Ignore,
) -> Vec<Difference> {
    let mut found = Found { protocol, ignore, differences: Vec::new() };
    let stream = recorded.len().max(now.len()) > 1;
    for number in 0..recorded.len().max(now.len()) {
        let path = if stream { format!("#{} $", number + 1) } else { "$".to_owned() };
        found.values(&path, recorded.get(number), now.get(number));
    }
    found.differences
}

/// A message as it is compared.
pub(super) fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

struct Found<'a> {
    protocol: Protocol,
    ignore: &'a Ignore,
    differences: Vec<Difference>,
}

impl Found<'_> {
    fn values(&mut self, path: &str, recorded: Option<&Value>, now: Option<&Value>) {
        if self.differences.len() >= MOST {
            return;
        }
        match (recorded, now) {
            (Some(recorded), Some(now)) if recorded == now => {}
            (Some(Value::Object(recorded)), Some(Value::Object(now))) => {
                let new = now.keys().filter(|name| !recorded.contains_key(*name));
                for name in recorded.keys().chain(new) {
                    let path = member(path, name);
                    if !self.ignore.covers(self.protocol, name, &path) {
                        self.values(&path, recorded.get(name), now.get(name));
                    }
                }
            }
            (Some(Value::Array(recorded)), Some(Value::Array(now))) => {
                for at in 0..recorded.len().max(now.len()) {
                    self.values(&format!("{path}[{at}]"), recorded.get(at), now.get(at));
                }
            }
            (recorded, now) => self.differences.push(Difference {
                path: path.to_owned(),
                recorded: recorded.cloned(),
                now: now.cloned(),
            }),
        }
    }
}

/// `path.name`, or `path["a name"]` where that would not read back.
fn member(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { format!("{path}.{name}") } else { format!("{path}[{}]", Value::from(name)) }
}

/// The differences for a person, indented.
pub(super) fn show(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        let _ = match (&difference.recorded, &difference.now) {
            (Some(recorded), Some(now)) => writeln!(
                text,
                "    {}\n      recorded {}\n      now      {}",
                difference.path,
                short(recorded),
                short(now)
            ),
            (Some(recorded), None) => {
                writeln!(text, "    {} is missing now; recorded {}", difference.path, short(recorded))
            }
            (_, now) => {
                writeln!(
                    text,
                    "    {} is new: {}",
                    difference.path,
                    now.as_ref().map(short).unwrap_or_default()
                )
            }
        };
    }
    if differences.len() >= MOST {
        text.push_str("    and perhaps more\n");
    }
    text
}

/// A value on one line; JSON escapes what a terminal would obey.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(protocol: Protocol, recorded: &[Value], now: &[Value], ignore: &Ignore) -> Vec<String> {
        compare(protocol, recorded, now, ignore).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn each_difference_is_named_by_its_path() {
        let recorded = json!({"result": {"a": 1, "b": [1, {"c": "x"}], "gone": null, "same": true}});
        let now = json!({"result": {"a": 2, "b": [1, {"c": "y"}, 3], "same": true, "odd name": 0}});
        let found = compare(Protocol::Mcp, &[recorded], &[now], &Ignore::default());
        let shown: Vec<_> = found.iter().map(|difference| difference.path.as_str()).collect();
        let expected =
            ["$.result.a", "$.result.b[1].c", "$.result.b[2]", "$.result.gone", "$.result[\"odd name\"]"];
        assert_eq!(shown, expected);
        let text = show(&found);
        assert!(text.contains("$.result.a\n      recorded 1\n      now      2\n"), "{text}");
        assert!(
            text.contains("$.result.b[2] is new: 3") && text.contains("gone is missing now; recorded null")
        );
    }

    #[test]
    fn what_agents_make_anew_counts_only_when_asked_for() {
        let answer =
            |id: &str| json!({"id": 1, "result": {"message": {"messageId": id, "parts": [{"text": "t"}]}}});
        let (one, two) = ([answer("a")], [answer("b")]);
        assert!(paths(Protocol::A2a, &one, &two, &Ignore::default()).is_empty());
        let strict = Ignore { strict: true, ..Ignore::default() };
        assert_eq!(paths(Protocol::A2a, &one, &two, &strict), ["$.result.message.messageId"]);
        // A tool's answer is its own.
        assert_eq!(paths(Protocol::Mcp, &one, &two, &Ignore::default()), ["$.result.message.messageId"]);
    }

    #[test]
    fn members_and_paths_can_be_left_out() {
        let (one, two) = ([json!({"a": {"price": 1}, "price": 1})], [json!({"a": {"price": 2}, "price": 2})]);
        let ignoring = |listed: &str| Ignore { listed: vec![listed.to_owned()], strict: false };
        assert!(paths(Protocol::Mcp, &one, &two, &ignoring("price")).is_empty());
        assert_eq!(paths(Protocol::Mcp, &one, &two, &ignoring("$.a.price")), ["$.price"]);
    }

    #[test]
    fn streams_are_compared_message_by_message() {
        let message = |n: u32| json!({"n": n});
        let recorded = [message(1), message(2), message(3)];
        let found = compare(Protocol::A2a, &recorded, &[message(1), message(7)], &Ignore::default());
        assert_eq!(found[0].path, "#2 $.n");
        assert_eq!((found[1].path.as_str(), &found[1].now), ("#3 $", &None));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_long_value_is_cut_and_so_is_a_long_list() {
        let long = [json!(vec!["ä".repeat(200)])];
        assert!(show(&compare(Protocol::Mcp, &long, &[json!(1)], &Ignore::default())).contains("bytes)"));
        let (many, none) = ([json!(vec![1; 500])], [json!(vec![2; 500])]);
        assert_eq!(compare(Protocol::Mcp, &many, &none, &Ignore::default()).len(), MOST);
    }
}
