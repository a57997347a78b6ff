//! A static JWKS file (RFC 7517): public signature keys, each bound to one algorithm when it is loaded.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::error::IdentityMistake;

/// RFC 7518 section 3.3 asks for 2048 bits at least; above 8192 one verification costs too much.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Length of an Ed25519 key and of a P-256 coordinate.
const CURVE_BYTES: usize = 32;
/// Largest file taken.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A public key and the only algorithm it verifies (RFC 8725 section 3.1).
pub(super) struct VerificationKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Private or symmetric parts: only their presence matters, and their text is dropped unread.
    d: Option<serde::de::IgnoredAny>,
    k: Option<serde::de::IgnoredAny>,
}

/// Reads the file; the keys by `kid`. Keys that are for encryption are left out.
pub(super) fn read(path: &Path) -> Result<HashMap<String, VerificationKey>, Vec<IdentityMistake>> {
    let unreadable = |why: String| vec![IdentityMistake::Unreadable { path: path.to_owned(), why }];
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let set: KeySet = serde_json::from_slice(&text)
        .map_err(|error| unreadable(format!("it is no JSON Web Key Set (RFC 7517): {error}")))?;
    let mut keys = HashMap::new();
    let mut mistakes = Vec::new();
    for (index, jwk) in set.keys.iter().enumerate() {
        let label = jwk.kid.as_ref().map_or_else(|| format!("keys[{index}]"), |kid| format!("key `{kid}`"));
        match verification_key(jwk) {
            Ok(None) => {}
            Ok(Some((kid, key))) => {
                if keys.insert(kid, key).is_some() {
                    mistakes.push(mistake(path, label, "another key has the same kid".to_owned()));
                }
            }
            Err(why) => mistakes.push(mistake(path, label, why)),
        }
    }
    if keys.is_empty() && mistakes.is_empty() {
        mistakes.push(mistake(path, "keys".to_owned(), "no key for signatures is in it".to_owned()));
    }
    if mistakes.is_empty() { Ok(keys) } else { Err(mistakes) }
}

fn mistake(path: &Path, key: String, why: String) -> IdentityMistake {
    IdentityMistake::Key { path: path.to_owned(), key, why }
}

fn verification_key(jwk: &Jwk) -> Result<Option<(String, VerificationKey)>, String> {
    if jwk.d.is_some() || jwk.k.is_some() || jwk.kty == "oct" {
        return Err(
            "it is private or symmetric; keep such keys away from the gateway, it takes public keys only"
                .to_owned(),
        );
    }
    let verifies = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") || !verifies {
        return Ok(None);
    }
    let Some(kid) = jwk.kid.clone().filter(|kid| !kid.is_empty()) else {
        return Err("it has no `kid`; tokens name their key by it, so give it one".to_owned());
    };
    let algorithm = algorithm(jwk)?;
    let key = match algorithm {
        Algorithm::ES256 => {
            let (x, y) = (coordinate(jwk.x.as_deref(), "x")?, coordinate(jwk.y.as_deref(), "y")?);
            DecodingKey::from_ec_components(x, y)
        }
        Algorithm::EdDSA => DecodingKey::from_ed_components(coordinate(jwk.x.as_deref(), "x")?),
        _ => {
            let (n, e) = (member(jwk.n.as_deref(), "n")?, member(jwk.e.as_deref(), "e")?);
            check_modulus(n)?;
            DecodingKey::from_rsa_components(n, e)
        }
    };
    let key = key.map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(Some((kid, VerificationKey { algorithm, key })))
}

/// The algorithm that the key is bound to: its `alg`, or the usual one of its type.
fn algorithm(jwk: &Jwk) -> Result<Algorithm, String> {
    let alg = jwk.alg.as_deref();
    match (jwk.kty.as_str(), jwk.crv.as_deref(), alg) {
        ("RSA", _, None | Some("RS256")) => Ok(Algorithm::RS256),
        ("RSA", _, Some("PS256")) => Ok(Algorithm::PS256),
        ("EC", Some("P-256"), None | Some("ES256")) => Ok(Algorithm::ES256),
        ("OKP", Some("Ed25519"), None | Some("EdDSA" | "Ed25519")) => Ok(Algorithm::EdDSA),
        (kty, crv, alg) => Err(format!(
            "kty {kty}, crv {}, alg {} is not taken; RSA with RS256 or PS256, EC P-256 with ES256, OKP Ed25519 with EdDSA are",
            crv.unwrap_or("absent"),
            alg.unwrap_or("absent")
        )),
    }
}

fn member<'a>(text: Option<&'a str>, name: &str) -> Result<&'a str, String> {
    text.ok_or_else(|| format!("it has no `{name}`"))
}

fn coordinate<'a>(text: Option<&'a str>, name: &str) -> Result<&'a str, String> {
    let text = member(text, name)?;
    match URL_SAFE_NO_PAD.decode(text) {
        Ok(bytes) if bytes.len() == CURVE_BYTES => Ok(text),
        _ => Err(format!("`{name}` is not {CURVE_BYTES} bytes in base64url")),
    }
}

fn check_modulus(n: &str) -> Result<(), String> {
    let bytes = URL_SAFE_NO_PAD.decode(n).map_err(|_| "`n` is not base64url".to_owned())?;
    let significant = bytes.iter().skip_while(|byte| **byte == 0).count();
    if RSA_BYTES.contains(&significant) {
        return Ok(());
    }
    Err(format!(
        "its modulus has {significant} bytes; from {} to {} bits are taken",
        RSA_BYTES.start() * 8,
        RSA_BYTES.end() * 8
    ))
}
