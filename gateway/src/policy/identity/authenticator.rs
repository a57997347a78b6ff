//! The one way to a [`Principal`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::HeaderMap;
use sha2::{Digest, Sha256};

use crate::config::Identity;
use crate::policy::cache::Cache;
use crate::policy::metrics::Metrics;

use super::credential::{self, Credential};
use super::error::{Failure, IdentityError, IdentityMistake, Unauthenticated};
use super::jwt::Issuers;
use super::principal::Principal;

/// Verified tokens that are remembered; one costs about half a KiB, a verification about 0.1 ms.
const TOKENS_MAX: usize = 8_192;

/// Knows the configured callers. Immutable; shared by all workers.
pub struct Authenticator {
    keys: HashMap<[u8; 32], Principal>,
    issuers: Issuers,
    anonymous: Option<Principal>,
    tokens: Cache<Token>,
    metrics: Arc<Metrics>,
}

/// A token that was verified, by the digest of its text.
#[derive(Clone)]
struct Token {
    digest: [u8; 32],
    principal: Principal,
    ends: SystemTime,
}

impl Authenticator {
    /// Takes the configured callers and reads the JWKS files.
    ///
    /// # Errors
    /// Every mistake at once: names that make no caller, equal keys, key files that cannot be used.
    pub fn new(identity: &Identity) -> Result<Self, IdentityError> {
        let mut mistakes = Vec::new();
        let mut caller = |tenant: &str, name: &str, groups: &[String]| {
            let made = Principal::new(tenant, name, groups);
            made.map_err(|why| mistakes.push(IdentityMistake::name(tenant, name, why))).ok()
        };
        let anonymous =
            identity.anonymous.as_ref().and_then(|who| caller(&who.tenant, &who.name, &who.groups));
        let named: Vec<_> =
            identity.keys.iter().map(|key| (key, caller(&key.tenant, &key.name, &key.groups))).collect();
        let mut keys: HashMap<[u8; 32], Principal> = HashMap::new();
        for (key, principal) in named {
            let Some(principal) = principal else { continue };
            if let Some(before) = keys.insert(key.sha256, principal) {
                let (first, second) = (before.name().to_owned(), key.name.clone());
                mistakes.push(IdentityMistake::SameKey { first, second });
            }
        }
        let issuers = Issuers::load(&identity.jwt).map_err(|more| mistakes.extend(more)).ok();
        match issuers {
            Some(issuers) if mistakes.is_empty() => Ok(Self {
                keys,
                issuers,
                anonymous,
                tokens: Cache::new(TOKENS_MAX),
                metrics: Arc::new(Metrics::unregistered()),
            }),
            _ => Err(IdentityError { mistakes }),
        }
    }

    /// Counts into `metrics` from now on.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// The caller that `headers` prove at `now`; the anonymous one only when nothing at all was sent
    /// and the configuration has one. A credential that does not hold never falls back to it.
    pub fn authenticate(&self, headers: &HeaderMap, now: SystemTime) -> Result<Principal, Unauthenticated> {
        self.prove(headers, now).map_err(|failure| {
            self.metrics.authentication_failed(failure);
            Unauthenticated(failure)
        })
    }

    fn prove(&self, headers: &HeaderMap, now: SystemTime) -> Result<Principal, Failure> {
        let (text, may_be_token) = match credential::read(headers)? {
            Credential::None => return self.anonymous.clone().ok_or(Failure::Missing),
            Credential::Bearer(text) => (text, self.issuers.take(text)),
            Credential::Key(text) => (text, false),
        };
        let digest: [u8; 32] = Sha256::digest(text).into();
        match self.keys.get(&digest) {
            Some(principal) => Ok(principal.clone()),
            None if may_be_token => self.token(text, digest, now),
            None => Err(Failure::UnknownKey),
        }
    }

    fn token(&self, text: &str, digest: [u8; 32], now: SystemTime) -> Result<Principal, Failure> {
        // The digest is compared whole; its first bytes only find the place.
        let place = digest.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        let known = self.tokens.find(place, |token| token.digest == digest);
        self.metrics.token_looked_up(known.is_some());
        if let Some(token) = known {
            return if now < token.ends { Ok(token.principal) } else { Err(Failure::Expired) };
        }
        let (principal, ends) = self.issuers.verify(text, now)?;
        self.tokens.insert(place, Token { digest, principal: principal.clone(), ends });
        Ok(principal)
    }
}
