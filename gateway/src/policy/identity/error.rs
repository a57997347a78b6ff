//! What can be wrong with a credential, as its sender is told, and with the configured identities.

use std::fmt;
use std::path::PathBuf;

use super::principal::BadName;

macro_rules! failures {
    ($($variant:ident $label:literal $code:literal $message:literal;)*) => {
        /// Why a request has no caller. Closed, so that it can be a metric's label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::policy) enum Failure { $($variant,)* }

        impl Failure {
            pub(in crate::policy) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Metric label, error code of RFC 6750 section 3.1 (empty: none), text for the caller.
            const fn row(self) -> (&'static str, &'static str, &'static str) {
                match self { $(Self::$variant => ($label, $code, $message),)* }
            }
        }
    };
}

// The texts name what is wrong with the form or the claims, never a value of the credential.
failures! {
    Missing       "missing"         ""                "this gateway wants a credential: send `Authorization: Bearer <key or token>` or `X-API-Key: <key>`";
    Several       "several"         "invalid_request" "more than one credential was sent; send one, in one header";
    Scheme        "scheme"          "invalid_request" "the Authorization header has another scheme than Bearer";
    Malformed     "malformed"       "invalid_request" "the credential is empty or holds characters that none can have";
    TooLong       "too_long"        "invalid_request" "the credential is longer than this gateway takes";
    UnknownKey    "unknown_key"     "invalid_token"   "the key is not known here";
    Header        "token_header"    "invalid_token"   "the token's header cannot be taken: it must name alg, kid and typ, and no crit, zip, jku, jwk, x5u or x5c";
    TokenType     "token_type"      "invalid_token"   "the token is not an access token: its typ must be at+jwt or JWT";
    Issuer        "issuer"          "invalid_token"   "the token's issuer is not known here";
    TokenKey      "token_key"       "invalid_token"   "the token names a signing key that its issuer does not have here";
    Algorithm     "algorithm"       "invalid_token"   "the token's algorithm is not the one of its key";
    Signature     "signature"       "invalid_token"   "the token's signature does not hold";
    Claims        "claims"          "invalid_token"   "a claim of the token is missing or of the wrong type";
    Audience      "audience"        "invalid_token"   "the token is meant for another audience";
    Expired       "expired"         "invalid_token"   "the token has expired";
    NotYetValid   "not_yet_valid"   "invalid_token"   "the token is not valid yet";
}

impl Failure {
    pub(in crate::policy) fn label(self) -> &'static str {
        self.row().0
    }
}

/// A request without a caller: answered with 401 and nothing else (`Reason::Unauthenticated`).
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Unauthenticated(pub(in crate::policy) Failure);

impl Unauthenticated {
    /// What was wrong and how to mend it, for the caller.
    pub fn message(&self) -> &'static str {
        self.0.row().2
    }

    /// A word of a closed list, for metrics and logs.
    pub fn label(&self) -> &'static str {
        self.0.label()
    }

    /// The value of `WWW-Authenticate` (RFC 6750 section 3): no error code when nothing was sent.
    pub fn www_authenticate(&self) -> String {
        let (_, code, message) = self.0.row();
        if code.is_empty() {
            return "Bearer realm=\"kamf\"".to_owned();
        }
        format!("Bearer realm=\"kamf\", error=\"{code}\", error_description=\"{message}\"")
    }
}

impl fmt::Debug for Unauthenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unauthenticated").field(&self.label()).finish()
    }
}

/// Everything that is wrong with the configured identities, at once.
#[derive(Debug, thiserror::Error)]
pub struct IdentityError {
    pub mistakes: Vec<IdentityMistake>,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

/// One of them.
#[derive(Debug, thiserror::Error)]
pub enum IdentityMistake {
    #[error("identity: caller `{tenant}/{name}`: {why}")]
    Name { tenant: String, name: String, why: String },
    #[error("identity: keys `{first}` and `{second}` have the same hash; give each caller a key of its own")]
    SameKey { first: String, second: String },
    #[error("identity: issuer `{issuer}` is configured twice; join the two entries")]
    SameIssuer { issuer: String },
    #[error("identity: issuer `{issuer}`: {setting} is empty; name it as the tokens do")]
    EmptySetting { issuer: String, setting: &'static str },
    #[error("identity: cannot read the JWKS file {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("identity: {}: {key}: {why}", path.display())]
    Key { path: PathBuf, key: String, why: String },
}

impl IdentityMistake {
    pub(super) fn name(tenant: &str, name: &str, why: BadName) -> Self {
        Self::Name { tenant: tenant.to_owned(), name: name.to_owned(), why: why.to_string() }
    }
}
