//! The headers of streamable HTTP, and how their values are written (2026-07-28, transports).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// The headers of one POST that speak about its body.
#[derive(Clone, Debug, Default)]
pub struct McpHeaders<'a> {
    /// `MCP-Protocol-Version`
    pub version: Option<&'a str>,
    /// `Mcp-Method`
    pub method: Option<&'a str>,
    /// `Mcp-Name`, not decoded
    pub name: Option<&'a str>,
    /// `Mcp-Param-*`: name after the prefix in lower case, value not decoded
    pub params: Vec<(&'a str, &'a str)>,
    /// A header that stands twice or is not visible ASCII; whoever reads the body refuses it.
    pub fault: Option<String>,
}

impl<'a> McpHeaders<'a> {
    pub fn new(headers: &'a HeaderMap) -> Self {
        let mut taken = Self::default();
        for (name, value) in headers {
            let name = name.as_str();
            // The cheap test first: almost no header of a request begins so.
            let Some(rest) = name.strip_prefix("mcp-") else { continue };
            if rest == "session-id" {
                continue;
            }
            let Ok(value) = value.to_str() else {
                taken.fault = Some(format!("header `{name}` is not visible ASCII"));
                continue;
            };
            if !taken.take(rest, value.trim()) {
                taken.fault = Some(format!("header `{name}` stands twice"));
            }
        }
        taken
    }

    /// Whether the header is the first of its name.
    fn take(&mut self, name: &'a str, value: &'a str) -> bool {
        match name {
            "protocol-version" => self.version.replace(value).is_none(),
            "method" => self.method.replace(value).is_none(),
            "name" => self.name.replace(value).is_none(),
            _ => match name.strip_prefix("param-") {
                Some(param) => {
                    let first = self.param(param).is_none();
                    self.params.push((param, value));
                    first
                }
                None => true,
            },
        }
    }

    /// The raw value of `Mcp-Param-{name}`.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.iter().find(|(param, _)| param.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// The text that a header value stands for; none when its base64 is not canonical or not UTF-8.
pub fn decode_header(value: &str) -> Option<Cow<'_, str>> {
    let Some(encoded) = value.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// `text` as a header value: as it is when it is visible ASCII without outer blanks, else base64 between markers.
pub fn encode_header(text: &str) -> Cow<'_, str> {
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let looks_encoded = text.starts_with(OPEN) && text.ends_with(CLOSE);
    if visible && !looks_encoded && text.trim() == text && !text.is_empty() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{OPEN}{}{CLOSE}", STANDARD.encode(text)))
    }
}
