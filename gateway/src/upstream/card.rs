//! Agent cards: what an agent says of itself, and the same as the gateway says it to clients. Pure; `card_watch` fetches.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::message::Dialect;

/// An agent's card as it was fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    pub json: Value,
    /// A strong entity tag over the bytes that came.
    pub etag: String,
    /// Which JSON-RPC dialects the card offers.
    pub dialects: Dialects,
}

/// JSON-RPC dialects of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialects {
    pub v03: bool,
    pub v10: bool,
}

impl Dialects {
    pub fn contains(self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::A2aV03 => self.v03,
            Dialect::A2aV10 => self.v10,
            Dialect::McpLegacy | Dialect::McpModern => false,
        }
    }
}

/// A text that is no agent card.
#[derive(Debug, thiserror::Error)]
pub enum NoCard {
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not an object with a name")]
    Shape,
    #[error("it offers no JSON-RPC interface of A2A 1.0 or 0.3")]
    NoInterface,
}

impl Card {
    pub fn read(bytes: &[u8]) -> Result<Self, NoCard> {
        let json: Value = serde_json::from_slice(bytes)?;
        if !json.get("name").is_some_and(Value::is_string) {
            return Err(NoCard::Shape);
        }
        let dialects = dialects(&json);
        if dialects == Dialects::default() {
            return Err(NoCard::NoInterface);
        }
        Ok(Self { json, etag: etag(bytes), dialects })
    }
}

/// A strong entity tag (RFC 9110, 8.8.3) over `bytes`.
pub fn etag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Reads both halves of a card: 1.0's `supportedInterfaces`, and 0.3's `url` with `additionalInterfaces`. Only the first
/// two numbers of a version count.
fn dialects(card: &Value) -> Dialects {
    let mut found = Dialects::default();
    for interface in array(card, "supportedInterfaces") {
        if text(interface, "protocolBinding").is_some_and(|binding| binding.eq_ignore_ascii_case("JSONRPC")) {
            match text(interface, "protocolVersion").and_then(major_minor) {
                Some((1, _)) => found.v10 = true,
                Some((0, 3)) | None => found.v03 = true,
                Some(_) => {}
            }
        }
    }
    if text(card, "url").is_some() {
        let version = text(card, "protocolVersion").and_then(major_minor);
        let by_url = text(card, "preferredTransport").is_none_or(is_jsonrpc);
        let by_more = array(card, "additionalInterfaces")
            .any(|interface| text(interface, "transport").is_some_and(is_jsonrpc));
        if by_url || by_more {
            match version {
                Some((1, _)) => found.v10 = true,
                Some((0, 3)) | None => found.v03 = true,
                Some(_) => {}
            }
        }
    }
    found
}

fn is_jsonrpc(transport: &str) -> bool {
    transport.eq_ignore_ascii_case("JSONRPC")
}

fn text<'a>(object: &'a Value, member: &str) -> Option<&'a str> {
    object.get(member)?.as_str().filter(|text| !text.is_empty())
}

fn array<'a>(object: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    object.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next().unwrap_or(Some(0))?))
}

/// The card that the gateway serves in the place of `card`: its interfaces are the gateway's at `public_url`, in the JSON-RPC
/// dialects that the agent offers; its security schemes are the gateway's; it promises no push notifications and no
/// extended card; the signatures, which no longer hold, are gone. Every other member is as it came.
pub fn rewrite(card: &Value, public_url: &str) -> Value {
    let mut card = card.clone();
    let dialects = dialects(&card);
    if let Some(object) = card.as_object_mut() {
        object.remove("signatures");
        interfaces(object, public_url, dialects);
        capabilities(object, dialects);
        security(object, dialects);
    }
    card
}

fn interfaces(card: &mut Map<String, Value>, url: &str, dialects: Dialects) {
    let new_form = dialects.v10 || card.contains_key("supportedInterfaces");
    for member in
        ["supportedInterfaces", "url", "preferredTransport", "additionalInterfaces", "protocolVersion"]
    {
        card.remove(member);
    }
    if new_form {
        // In the order of preference: the newer one first.
        let versions = [("1.0", dialects.v10), ("0.3", dialects.v03)];
        let interfaces: Vec<Value> = versions
            .into_iter()
            .filter(|(_, offered)| *offered)
            .map(|(version, _)| json!({"url": url, "protocolBinding": "JSONRPC", "protocolVersion": version}))
            .collect();
        card.insert("supportedInterfaces".into(), interfaces.into());
    }
    if dialects.v03 {
        card.insert("url".into(), url.into());
        card.insert("preferredTransport".into(), "JSONRPC".into());
        card.insert("additionalInterfaces".into(), json!([{"url": url, "transport": "JSONRPC"}]));
        card.insert("protocolVersion".into(), "0.3.0".into());
    }
}

fn capabilities(card: &mut Map<String, Value>, dialects: Dialects) {
    let capabilities = card.entry("capabilities").or_insert_with(|| json!({}));
    if let Some(capabilities) = capabilities.as_object_mut() {
        capabilities.insert("pushNotifications".into(), false.into());
        if dialects.v10 || capabilities.contains_key("extendedAgentCard") {
            capabilities.insert("extendedAgentCard".into(), false.into());
        }
    }
    if dialects.v03 || card.contains_key("supportsAuthenticatedExtendedCard") {
        card.insert("supportsAuthenticatedExtendedCard".into(), false.into());
    }
}

/// `Authorization: Bearer …` or `X-API-Key: …`, in the words of each version that the card speaks. A card of both versions
/// has one map for two vocabularies; readers of either ignore the members of the other.
fn security(card: &mut Map<String, Value>, dialects: Dialects) {
    for member in ["security", "securityRequirements", "securitySchemes"] {
        card.remove(member);
    }
    for skill in card.get_mut("skills").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(skill) = skill.as_object_mut() {
            skill.remove("security");
            skill.remove("securityRequirements");
        }
    }
    let mut bearer = Map::new();
    let mut api_key = Map::new();
    if dialects.v10 {
        bearer.insert("httpAuthSecurityScheme".into(), json!({"scheme": "Bearer"}));
        api_key.insert("apiKeySecurityScheme".into(), json!({"location": "header", "name": "X-API-Key"}));
        let requirements =
            json!([{"schemes": {"bearer": {"list": []}}}, {"schemes": {"apiKey": {"list": []}}}]);
        card.insert("securityRequirements".into(), requirements);
    }
    if dialects.v03 {
        bearer.extend([("type".into(), "http".into()), ("scheme".into(), "Bearer".into())]);
        api_key.extend([
            ("type".into(), "apiKey".into()),
            ("in".into(), "header".into()),
            ("name".into(), "X-API-Key".into()),
        ]);
        card.insert("security".into(), json!([{"bearer": []}, {"apiKey": []}]));
    }
    card.insert("securitySchemes".into(), json!({"bearer": bearer, "apiKey": api_key}));
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://gateway.example/a2a/one";

    fn hybrid() -> Value {
        json!({
            "name": "one", "description": "d", "version": "1", "future": {"kept": [1, 2]},
            "url": "http://[::]:9000/", "preferredTransport": "GRPC", "protocolVersion": "0.3.0",
            "additionalInterfaces": [{"url": "http://inside:1/rpc", "transport": "JSONRPC"}],
            "supportedInterfaces": [
                {"url": "inside:2", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
                {"url": "http://inside:3", "protocolBinding": "JSONRPC", "protocolVersion": "1.0.1", "tenant": "t"},
            ],
            "capabilities": {"streaming": true, "pushNotifications": true, "extendedAgentCard": true, "x": 1},
            "supportsAuthenticatedExtendedCard": true,
            "securitySchemes": {"own": {"mtlsSecurityScheme": {}}}, "securityRequirements": [], "security": [],
            "skills": [{"id": "s", "securityRequirements": [1], "security": [2], "tags": ["t"]}],
            "signatures": [{"protected": "x", "signature": "y"}],
        })
    }

    #[test]
    fn nothing_of_the_agents_addresses_or_secrets_is_left() {
        let card = rewrite(&hybrid(), URL);
        let text = card.to_string();
        for gone in ["inside", "[::]", "GRPC", "signature", "mtls", "tenant"] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
        assert_eq!(
            card["supportedInterfaces"][0],
            json!({"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"})
        );
        assert_eq!(card["supportedInterfaces"][1]["protocolVersion"], "0.3");
        assert_eq!(card["url"], URL);
        assert_eq!(card["additionalInterfaces"], json!([{"url": URL, "transport": "JSONRPC"}]));
        assert_eq!(
            card["capabilities"],
            json!({"streaming": true, "pushNotifications": false, "extendedAgentCard": false, "x": 1})
        );
        assert_eq!(card["supportsAuthenticatedExtendedCard"], false);
        assert_eq!(card["skills"], json!([{"id": "s", "tags": ["t"]}]));
        assert_eq!(card["future"], json!({"kept": [1, 2]}));
        assert_eq!(card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"], "Bearer");
        assert_eq!(card["securitySchemes"]["apiKey"]["in"], "header");
    }

    #[test]
    fn a_card_of_one_version_stays_of_one_version() {
        let new = json!({"name": "n", "supportedInterfaces": [{"url": "u", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]});
        assert_eq!(
            Card::read(new.to_string().as_bytes()).unwrap().dialects,
            Dialects { v03: false, v10: true }
        );
        let new = rewrite(&new, URL);
        assert!(
            new.get("url").is_none() && new.get("security").is_none() && new.get("protocolVersion").is_none()
        );

        let old = json!({"name": "n", "url": "http://x", "protocolVersion": "0.3.0"});
        assert_eq!(
            Card::read(old.to_string().as_bytes()).unwrap().dialects,
            Dialects { v03: true, v10: false }
        );
        let old = rewrite(&old, URL);
        assert!(old.get("supportedInterfaces").is_none() && old.get("securityRequirements").is_none());
        assert_eq!(old["url"], URL);
    }

    #[test]
    fn what_is_no_card_is_refused() {
        for text in ["[]", "{}", "<html>", r#"{"name":"n","url":"u","preferredTransport":"GRPC"}"#] {
            assert!(Card::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn rewriting_twice_is_rewriting_once() {
        let once = rewrite(&hybrid(), URL);
        assert_eq!(rewrite(&once, URL), once);
    }
}
