//! `Idempotency-Key`: what a request is known by, so that it is carried out once.

use hyper::header::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use super::respond::Refused;
use crate::message::{Operation, Protocol};
use crate::outcome::Reason;
use crate::policy::Principal;
use crate::protocol::Parsed;
use crate::relay::Asked;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest key; clients use UUIDs.
const KEY_BYTES_MAX: usize = 256;

/// What `parsed` is known by: by the header, or by its `messageId` where the route has it so (`message_ids`). None for
/// what is not sent to be carried out.
///
/// # Errors
/// A header that is no key.
pub(super) fn asked(
    headers: &HeaderMap,
    parsed: &Parsed,
    principal: &Principal,
    agent: &str,
    message_ids: bool,
) -> Result<Option<Asked>, Box<Refused>> {
    if !matches!(parsed.operation, Operation::Send | Operation::Stream | Operation::CallTool) {
        return Ok(None);
    }
    let mut values = headers.get_all(&KEY).iter();
    let body = content(parsed);
    let key = match (values.next(), values.next()) {
        (None, _) => match parsed.message_id().filter(|_| message_ids) {
            Some(message) => hash(&[b"message", message.as_bytes(), body.as_bytes()]),
            None => return Ok(None),
        },
        (Some(value), None) => match value.to_str().ok().and_then(bare) {
            Some(key) => hash(&[b"key", key.as_bytes()]),
            None => return Err(refused(parsed)),
        },
        _ => return Err(refused(parsed)),
    };
    let method = parsed.operation.method(parsed.dialect);
    let parts = [principal.id(), agent, parsed.dialect.protocol().as_str(), method, &key].map(str::as_bytes);
    Ok(Some(Asked { key: hash(&parts), body }))
}

/// The key itself: visible ASCII, with or without the quotes of a structured field.
fn bare(value: &str) -> Option<&str> {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let key = quoted.unwrap_or(value);
    let fits = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(key)
}

fn refused(parsed: &Parsed) -> Box<Refused> {
    let message = format!("Idempotency-Key is one key of 1 to {KEY_BYTES_MAX} visible ASCII characters");
    Box::new(Refused::new(Reason::BadHttp, parsed.dialect, parsed.id.as_ref(), message))
}

/// Hash of what is asked for. Not the request's id, nor a tool call's `_meta`, which clients number anew each time.
fn content(parsed: &Parsed) -> String {
    let params = parsed.params.as_ref();
    if parsed.dialect.protocol() == Protocol::A2a {
        return hash(&[params.map_or(&b""[..], |params| &params.raw)]);
    }
    let arguments = parsed.tool_arguments().map(ToString::to_string).unwrap_or_default();
    hash(&[parsed.tool_name().unwrap_or_default().as_bytes(), arguments.as_bytes()])
}

/// 128 bits of SHA-256 as hex; each part with its length, so that no two lists read alike.
fn hash(parts: &[&[u8]]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    sha.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_quoted_or_not() {
        assert_eq!(bare("abc"), Some("abc"));
        assert_eq!(bare("\"abc\""), Some("abc"));
        let long = "x".repeat(KEY_BYTES_MAX);
        assert_eq!(bare(&long), Some(long.as_str()));
        for bad in ["", "\"\"", "a b", "\u{e9}", &format!("{long}x")] {
            assert_eq!(bare(bad), None, "{bad}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_eq!(hash(&[b"a"]).len(), 32);
    }
}
