//! JWT access tokens, after RFC 8725 item by item.
//!
//! - 3.1, 3.2: the key decides the algorithm; the token's `alg` must equal it. `none` and HMAC have no key.
//! - 3.3, 3.10: nothing in the token names or carries a key but `kid`, a plain look-up in the issuer's set.
//! - 3.8, 3.9: `iss` chooses the configured issuer, `aud` must name this gateway.
//! - 3.11, 3.12: `typ` must be `at+jwt` (RFC 9068) or `JWT`.
//! - `exp` is required; `nbf` and `iat` must be numbers where they stand; `crit` and `zip` are refused.

use std::collections::HashMap;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::JwtIssuer;

use super::claims::Claims;
use super::crypto;
use super::error::{Failure, IdentityMistake};
use super::jwks::{self, VerificationKey};
use super::principal::Principal;

/// The issuers of the configuration, by `iss`.
pub(super) struct Issuers(HashMap<String, Issuer>);

struct Issuer {
    settings: JwtIssuer,
    keys: HashMap<String, VerificationKey>,
}

/// The header's members that matter; a repeated one is an error of the reader.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
    cty: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
    jku: Option<IgnoredAny>,
    jwk: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
}

impl Issuers {
    pub(super) fn load(settings: &[JwtIssuer]) -> Result<Self, Vec<IdentityMistake>> {
        crypto::install();
        let (mut issuers, mut mistakes) = (HashMap::new(), Vec::new());
        for settings in settings {
            mistakes.extend(check(settings));
            let keys = jwks::read(&settings.jwks).unwrap_or_else(|more| {
                mistakes.extend(more);
                HashMap::new()
            });
            let issuer = Issuer { settings: settings.clone(), keys };
            if issuers.insert(settings.issuer.clone(), issuer).is_some() {
                mistakes.push(IdentityMistake::SameIssuer { issuer: settings.issuer.clone() });
            }
        }
        if mistakes.is_empty() { Ok(Self(issuers)) } else { Err(mistakes) }
    }

    /// Whether a text is to be read as a token: three parts, and an issuer that could have made it.
    pub(super) fn take(&self, credential: &str) -> bool {
        !self.0.is_empty() && credential.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// The caller that `token` proves, and until when.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<(Principal, SystemTime), Failure> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Malformed);
        };
        let kid = read_header(header)?;
        let claims: Claims = decode(payload).ok_or(Failure::Claims)?;
        // Only a look-up: nothing of the claims is believed before the signature holds.
        let issuer = self.0.get(claims.issuer()?).ok_or(Failure::Issuer)?;
        let key = issuer.keys.get(&kid.kid).ok_or(Failure::TokenKey)?;
        if kid.algorithm != Some(key.algorithm) {
            return Err(Failure::Algorithm);
        }
        let signed = &token[..header.len() + 1 + payload.len()];
        let holds = jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.key, key.algorithm);
        if !holds.unwrap_or(false) {
            return Err(Failure::Signature);
        }
        claims.check_audience(&issuer.settings.audience)?;
        let ends = claims.check_times(now)?;
        Ok((issuer.principal(&claims)?, ends))
    }
}

impl Issuer {
    fn principal(&self, claims: &Claims) -> Result<Principal, Failure> {
        let claimed = self.settings.tenant_claim.as_deref().map(|claim| claims.text(claim)).transpose()?;
        let tenant = claimed.flatten().unwrap_or(&self.settings.tenant);
        let groups = match &self.settings.groups_claim {
            Some(claim) => claims.list(claim)?,
            None => Vec::new(),
        };
        Principal::new(tenant, claims.name()?, &groups).map_err(|_| Failure::Claims)
    }
}

fn check(settings: &JwtIssuer) -> Vec<IdentityMistake> {
    [("issuer", &settings.issuer), ("audience", &settings.audience)]
        .into_iter()
        .filter(|(_, text)| text.is_empty())
        .map(|(setting, _)| IdentityMistake::EmptySetting { issuer: settings.issuer.clone(), setting })
        .chain(
            Principal::new(&settings.tenant, "sub", &[])
                .err()
                .map(|why| IdentityMistake::name(&settings.tenant, "<sub>", why)),
        )
        .collect()
}

/// Which key the token says it was signed with.
struct Signer {
    kid: String,
    /// `None`: an algorithm that no key of ours has.
    algorithm: Option<Algorithm>,
}

fn read_header(part: &str) -> Result<Signer, Failure> {
    let header: Header = decode(part).ok_or(Failure::Header)?;
    let forbidden = [
        &header.crit,
        &header.zip,
        &header.cty,
        &header.b64,
        &header.jku,
        &header.jwk,
        &header.x5u,
        &header.x5c,
    ];
    if forbidden.iter().any(|member| member.is_some()) {
        return Err(Failure::Header);
    }
    let typ = header.typ.ok_or(Failure::TokenType)?;
    if !["at+jwt", "application/at+jwt", "jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known)) {
        return Err(Failure::TokenType);
    }
    let algorithm = match header.alg.as_str() {
        "RS256" => Some(Algorithm::RS256),
        "PS256" => Some(Algorithm::PS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    };
    Ok(Signer { kid: header.kid.ok_or(Failure::Header)?, algorithm })
}

/// Base64url without padding (RFC 7515 section 2) around one JSON object.
fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    // Derived readers would also take an array in place of an object.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(&bytes).ok()
}
