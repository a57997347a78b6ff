//! Headers to [`Principal`]: API keys by hash, JWT access tokens by a static JWKS (RFC 8725, RFC 9068).
//!
//! One credential, in one header: `Authorization: Bearer KEY-or-JWT` or `X-API-Key: KEY`. Two of them,
//! or one header twice, are refused, because two parties could each look at another one.
//!
//! Keys are compared by the SHA-256 of what was sent, looked up in a hash map. How long a look-up takes
//! depends on digests, and nobody can steer a digest towards the one of a key they do not know; so the
//! time tells nothing about a stored key and no constant-time comparison is needed.

mod authenticator;
mod claims;
mod credential;
mod crypto;
mod error;
mod jwks;
mod jwt;
mod principal;
#[cfg(test)]
mod tests;

pub use authenticator::Authenticator;
pub use error::{IdentityError, Unauthenticated};
pub use principal::Principal;

pub(super) use error::Failure;
