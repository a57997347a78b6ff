//! Signatures of tokens, verified by `ring`, which TLS uses already.
//!
//! `jsonwebtoken` leaves the arithmetic to a provider. This one knows how to verify four algorithms and
//! nothing else: it has no HMAC, no `none`, and no way to sign.

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtVerifier};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as BadSignature, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: verifier,
    jwk_utils: JwkUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` use `ring`; once a process is enough, more do no harm.
pub(super) fn install() {
    // An error says that it was installed before.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let mechanism = match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            rsa(&signature::RSA_PKCS1_2048_8192_SHA256, n, e)
        }
        (Algorithm::PS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            rsa(&signature::RSA_PSS_2048_8192_SHA256, n, e)
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            curve(&signature::ECDSA_P256_SHA256_FIXED, point)
        }
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => curve(&signature::ED25519, point),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, mechanism }))
}

fn rsa(parameters: &'static RsaParameters, n: &[u8], e: &[u8]) -> Mechanism {
    // ring refuses a modulus that begins with zero bytes, some issuers write one.
    let significant = n.iter().position(|byte| *byte != 0).unwrap_or(n.len());
    let key = RsaPublicKeyComponents { n: n[significant..].to_vec(), e: e.to_vec() };
    Mechanism::Rsa(parameters, key)
}

fn curve(algorithm: &'static dyn VerificationAlgorithm, point: &[u8]) -> Mechanism {
    Mechanism::Curve(UnparsedPublicKey::new(algorithm, point.to_vec()))
}

struct RingVerifier {
    algorithm: Algorithm,
    mechanism: Mechanism,
}

enum Mechanism {
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
    Curve(UnparsedPublicKey<Vec<u8>>),
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), BadSignature> {
        match &self.mechanism {
            Mechanism::Rsa(parameters, key) => key.verify(parameters, message, signature),
            Mechanism::Curve(key) => key.verify(message, signature),
        }
        .map_err(|_| BadSignature::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
