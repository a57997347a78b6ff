//! The id of a request that was read before, from its bytes.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::RawId;

/// The id in `body`, byte for byte; none when it has none or is no JSON-RPC request. Cheap: nothing else is built.
pub fn request_id(body: &Bytes) -> Option<RawId> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    let text = envelope.id?.get();
    let written =
        text.starts_with('"') || text.starts_with('-') || text.starts_with(|c: char| c.is_ascii_digit());
    written.then(|| RawId::new(body.slice_ref(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_keeps_its_spelling() {
        let id =
            |text: &'static str| request_id(&Bytes::from_static(text.as_bytes())).map(|id| id.to_string());
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":"a\u0062","method":"x"}"#).as_deref(), Some(r#""a\u0062""#));
        assert_eq!(id(r#"{"id":9007199254740993}"#).as_deref(), Some("9007199254740993"));
        assert_eq!(id(r#"{"id":null}"#), None);
        assert_eq!(id("[]"), None);
    }
}
