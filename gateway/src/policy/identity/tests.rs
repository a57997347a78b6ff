//! The authentication table: RFC 8725 item by item, API keys, and headers that say two things.
//!
//! Each row begins with a token that holds and changes one thing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::config::{Anonymous, ApiKey, Identity, JwtIssuer};

const ISSUER: &str = "https://issuer.example";
const OTHER: &str = "https://other.example";
const AUDIENCE: &str = "https://gateway.example";
const NOW: u64 = 1_800_000_000;
const KEY: &str = "analyst-key-of-the-tests";

/// Signing keys, some made for this run; the RSA key is a fixture because ring makes none.
struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    ed_stranger: Ed25519KeyPair,
    random: SystemRandom,
}

impl Keys {
    fn new() -> Self {
        let random = SystemRandom::new();
        let rsa = RsaKeyPair::from_der(include_bytes!("testdata/rsa-2048.der")).unwrap();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed = || {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
        };
        Self {
            p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).unwrap(),
            ed: ed(),
            ed_stranger: ed(),
            rsa,
            random,
        }
    }

    fn sign(&self, with: With, message: &[u8]) -> Vec<u8> {
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(padding, &self.random, message, &mut signature).unwrap();
            signature
        };
        match with {
            With::Rs256 => rsa(&RSA_PKCS1_SHA256),
            With::Rs512 => rsa(&RSA_PKCS1_SHA512),
            With::Ps256 => rsa(&RSA_PSS_SHA256),
            With::Es256 => self.p256.sign(&self.random, message).unwrap().as_ref().to_vec(),
            With::Ed => self.ed.sign(message).as_ref().to_vec(),
            With::EdStranger => self.ed_stranger.sign(message).as_ref().to_vec(),
            With::Nothing => Vec::new(),
            With::Hmac(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()
            }
        }
    }

    fn jwks(&self) -> Value {
        let rsa: PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        let (n, e) = (b64(&rsa.n), b64(&rsa.e));
        let point = self.p256.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "rs", "alg": "RS256", "use": "sig", "n": n, "e": e},
            {"kty": "RSA", "kid": "ps", "alg": "PS256", "n": n, "e": e},
            {"kty": "RSA", "kid": "for-encryption", "use": "enc", "n": n, "e": e},
            {"kty": "EC", "kid": "es", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "alg": "EdDSA", "x": b64(self.ed.public_key().as_ref())},
        ]})
    }
}

enum With {
    Rs256,
    Rs512,
    Ps256,
    Es256,
    Ed,
    EdStranger,
    Hmac(Vec<u8>),
    Nothing,
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The parts of a token that holds, as text, so that a row can spoil any of them.
struct Draft {
    header: String,
    claims: String,
    with: With,
}

impl Draft {
    fn new() -> Self {
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "robot", "exp": NOW + 300, "iat": NOW, "jti": "1",
            "org": "acme", "roles": ["readers", "writers"],
        });
        Self { header: header("EdDSA", "ed").to_string(), claims: claims.to_string(), with: With::Ed }
    }

    fn alg(alg: &str, kid: &str, with: With) -> Self {
        Self { header: header(alg, kid).to_string(), with, ..Self::new() }
    }

    fn header(edit: impl Fn(&mut Value)) -> Self {
        let mut value = header("EdDSA", "ed");
        edit(&mut value);
        Self { header: value.to_string(), ..Self::new() }
    }

    fn claim(name: &str, value: Value) -> Self {
        let mut claims: Value = serde_json::from_str(&Self::new().claims).unwrap();
        claims[name] = value;
        Self { claims: claims.to_string(), ..Self::new() }
    }

    fn without(name: &str) -> Self {
        let mut claims: Value = serde_json::from_str(&Self::new().claims).unwrap();
        claims.as_object_mut().unwrap().remove(name);
        Self { claims: claims.to_string(), ..Self::new() }
    }

    fn finish(self, keys: &Keys) -> String {
        let signed = format!("{}.{}", b64(self.header.as_bytes()), b64(self.claims.as_bytes()));
        format!("{signed}.{}", b64(&keys.sign(self.with, signed.as_bytes())))
    }
}

fn header(alg: &str, kid: &str) -> Value {
    json!({"alg": alg, "kid": kid, "typ": "at+jwt"})
}

fn issuer(name: &str, jwks: &Path) -> JwtIssuer {
    JwtIssuer {
        issuer: name.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks: jwks.to_owned(),
        tenant_claim: Some("org".to_owned()),
        tenant: "default".to_owned(),
        groups_claim: Some("roles".to_owned()),
    }
}

fn api_key(name: &str, key: &str) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        tenant: "demo".to_owned(),
        groups: vec!["readers".to_owned()],
        sha256: Sha256::digest(key).into(),
    }
}

fn identity(folder: &Path, keys: &Keys) -> Identity {
    let (file, other) = (folder.join("jwks.json"), folder.join("other.json"));
    std::fs::write(&file, keys.jwks().to_string()).unwrap();
    let stranger = b64(keys.ed_stranger.public_key().as_ref());
    let keys = json!({"keys": [{"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": stranger}]});
    std::fs::write(&other, keys.to_string()).unwrap();
    Identity {
        keys: vec![api_key("analyst", KEY)],
        jwt: vec![issuer(ISSUER, &file), issuer(OTHER, &other)],
        anonymous: None,
    }
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers
            .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn outcome(authenticator: &Authenticator, lines: &[(&str, &str)], now: u64) -> Result<String, String> {
    authenticator
        .authenticate(&headers(lines), at(now))
        .map(|principal| {
            let groups: Vec<_> = principal.groups().collect();
            format!("{} {}", principal.id(), groups.join(","))
        })
        .map_err(|refused| refused.label().to_owned())
}

/// Tokens, with what the authenticator says of each: the caller, or the failure.
fn tokens(keys: &Keys) -> Vec<(&'static str, Draft, Result<&'static str, &'static str>)> {
    let robot = Ok("acme/robot readers,writers");
    let rsa: PublicKeyComponents<Vec<u8>> = keys.rsa.public().into();
    let set = |name: &'static str, value: Value| move |header: &mut Value| header[name] = value.clone();
    let drop =
        |name: &'static str| move |header: &mut Value| drop(header.as_object_mut().unwrap().remove(name));
    let raw = |header: &str, claims: &str| Draft {
        header: header.to_owned(),
        claims: claims.to_owned(),
        with: With::Ed,
    };
    let good = Draft::new();
    let twice = |name: &str, value: &str| format!("{{\"{name}\":{value},{}", &good.claims[1..]);
    vec![
        // Algorithms: fixed by the key (RFC 8725 sections 2.1, 3.1, 3.2).
        ("EdDSA", Draft::new(), robot),
        ("RS256", Draft::alg("RS256", "rs", With::Rs256), robot),
        ("PS256", Draft::alg("PS256", "ps", With::Ps256), robot),
        ("ES256", Draft::alg("ES256", "es", With::Es256), robot),
        ("none, unsigned", Draft::alg("none", "ed", With::Nothing), Err("algorithm")),
        ("None, unsigned", Draft::alg("None", "ed", With::Nothing), Err("algorithm")),
        (
            "HS256 with the public key as secret",
            Draft::alg("HS256", "rs", With::Hmac(rsa.n.clone())),
            Err("algorithm"),
        ),
        ("RS256 claimed, HMAC made", Draft::alg("RS256", "rs", With::Hmac(rsa.n)), Err("signature")),
        ("PS256 with an RS256 key", Draft::alg("PS256", "rs", With::Ps256), Err("algorithm")),
        ("RS256 with a PS256 key", Draft::alg("RS256", "ps", With::Rs256), Err("algorithm")),
        ("RS256 claimed, PSS made", Draft::alg("RS256", "rs", With::Ps256), Err("signature")),
        ("RS512", Draft::alg("RS512", "rs", With::Rs512), Err("algorithm")),
        ("ES256 with an Ed25519 key", Draft::alg("ES256", "ed", With::Es256), Err("algorithm")),
        ("eddsa in lower case", Draft::alg("eddsa", "ed", With::Ed), Err("algorithm")),
        ("alg is a number", Draft::header(set("alg", json!(1))), Err("token_header")),
        ("no alg", Draft::header(drop("alg")), Err("token_header")),
        // Keys: a look-up by kid and nothing else (section 3.10).
        ("another key's signature", Draft { with: With::EdStranger, ..Draft::new() }, Err("signature")),
        ("no signature", Draft { with: With::Nothing, ..Draft::new() }, Err("signature")),
        ("unknown kid", Draft::header(set("kid", json!("none"))), Err("token_key")),
        ("no kid", Draft::header(drop("kid")), Err("token_header")),
        ("kid is a list", Draft::header(set("kid", json!(["ed"]))), Err("token_header")),
        ("kid of an encryption key", Draft::alg("RS256", "for-encryption", With::Rs256), Err("token_key")),
        ("kid is a path", Draft::header(set("kid", json!("../../dev/null"))), Err("token_key")),
        ("jku", Draft::header(set("jku", json!("https://evil.example/jwks"))), Err("token_header")),
        ("jwk", Draft::header(set("jwk", keys.jwks()["keys"][4].clone())), Err("token_header")),
        ("x5u", Draft::header(set("x5u", json!("https://evil.example/x"))), Err("token_header")),
        ("x5c", Draft::header(set("x5c", json!(["MIIB"]))), Err("token_header")),
        // The header's other members (sections 3.6, 3.11; RFC 7515 section 4.1.11).
        ("typ JWT", Draft::header(set("typ", json!("JWT"))), robot),
        ("typ in full, upper case", Draft::header(set("typ", json!("APPLICATION/AT+JWT"))), robot),
        ("no typ", Draft::header(drop("typ")), Err("token_type")),
        ("typ of a logout token", Draft::header(set("typ", json!("logout+jwt"))), Err("token_type")),
        ("crit", Draft::header(set("crit", json!(["exp"]))), Err("token_header")),
        ("empty crit", Draft::header(set("crit", json!([]))), Err("token_header")),
        ("zip", Draft::header(set("zip", json!("DEF"))), Err("token_header")),
        ("cty: a token in a token", Draft::header(set("cty", json!("JWT"))), Err("token_header")),
        ("b64", Draft::header(set("b64", json!(false))), Err("token_header")),
        (
            "alg twice",
            raw(r#"{"alg":"none","alg":"EdDSA","kid":"ed","typ":"JWT"}"#, &good.claims),
            Err("token_header"),
        ),
        ("header is a list", raw(r#"["EdDSA","ed","JWT"]"#, &good.claims), Err("token_header")),
        ("header is no JSON", raw("EdDSA", &good.claims), Err("token_header")),
        // Issuer and audience (sections 3.8, 3.9).
        ("unknown issuer", Draft::claim("iss", json!("https://evil.example")), Err("issuer")),
        ("issuer with a slash more", Draft::claim("iss", json!("https://issuer.example/")), Err("issuer")),
        ("another issuer's name", Draft::claim("iss", json!(OTHER)), Err("signature")),
        ("no iss", Draft::without("iss"), Err("claims")),
        ("iss is a list", Draft::claim("iss", json!([ISSUER])), Err("claims")),
        ("iss twice", raw(&good.header, &twice("iss", "\"x\"")), Err("claims")),
        ("aud in a list", Draft::claim("aud", json!(["https://a.example", AUDIENCE])), robot),
        ("another aud", Draft::claim("aud", json!("https://upstream.example")), Err("audience")),
        (
            "aud begins alike",
            Draft::claim("aud", json!("https://gateway.example.evil.example")),
            Err("audience"),
        ),
        ("empty aud list", Draft::claim("aud", json!([])), Err("audience")),
        ("no aud", Draft::without("aud"), Err("claims")),
        ("aud with a number", Draft::claim("aud", json!([AUDIENCE, 1])), Err("claims")),
        ("aud is an object", Draft::claim("aud", json!({"a": AUDIENCE})), Err("claims")),
        // Times, parsed into types (CVE-2026-25537: a text as nbf).
        ("no exp", Draft::without("exp"), Err("claims")),
        ("exp is a text", Draft::claim("exp", json!((NOW + 300).to_string())), Err("claims")),
        ("exp is null", Draft::claim("exp", json!(null)), Err("claims")),
        ("exp is true", Draft::claim("exp", json!(true)), Err("claims")),
        ("exp is negative", Draft::claim("exp", json!(-1)), Err("claims")),
        ("exp has a fraction", Draft::claim("exp", json!(NOW as f64 + 0.5)), robot),
        ("exp beyond all time", Draft::claim("exp", json!(1e300)), robot),
        ("exp within the leeway", Draft::claim("exp", json!(NOW - 29)), robot),
        ("exp past", Draft::claim("exp", json!(NOW - 30)), Err("expired")),
        ("exp twice", raw(&good.header, &twice("exp", "9999999999")), Err("claims")),
        ("nbf past", Draft::claim("nbf", json!(NOW - 1)), robot),
        ("nbf within the leeway", Draft::claim("nbf", json!(NOW + 30)), robot),
        ("nbf ahead", Draft::claim("nbf", json!(NOW + 31)), Err("not_yet_valid")),
        ("nbf is a text", Draft::claim("nbf", json!((NOW + 3600).to_string())), Err("claims")),
        ("iat is a text", Draft::claim("iat", json!("now")), Err("claims")),
        // Who (RFC 9068 section 2.2), and what of them.
        ("no sub", Draft::without("sub"), Err("claims")),
        ("sub is a number", Draft::claim("sub", json!(7)), Err("claims")),
        ("sub is empty", Draft::claim("sub", json!("")), Err("claims")),
        ("sub with a control character", Draft::claim("sub", json!("a\u{1b}[2J")), Err("claims")),
        ("sub too long", Draft::claim("sub", json!("a".repeat(257))), Err("claims")),
        ("sub with a slash", Draft::claim("sub", json!("a/b")), Ok("acme/a/b readers,writers")),
        ("no tenant claim", Draft::without("org"), Ok("default/robot readers,writers")),
        ("tenant with a slash", Draft::claim("org", json!("acme/robot")), Err("claims")),
        ("tenant is a list", Draft::claim("org", json!(["acme"])), Err("claims")),
        ("no groups", Draft::without("roles"), Ok("acme/robot ")),
        ("groups as words", Draft::claim("roles", json!("writers readers writers")), robot),
        ("groups with a number", Draft::claim("roles", json!(["readers", 1])), Err("claims")),
        (
            "too many groups",
            Draft::claim("roles", json!((0..257).map(|n| n.to_string()).collect::<Vec<_>>())),
            Err("claims"),
        ),
        ("claims are a list", raw(&good.header, "[]"), Err("claims")),
        ("claims with more behind", raw(&good.header, &format!("{}x", good.claims)), Err("claims")),
        (
            "claims nested too deep",
            raw(&good.header, &format!("{{\"a\":{}", "[".repeat(5_000))),
            Err("claims"),
        ),
    ]
}

#[test]
fn every_row_of_the_token_table() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::new();
    let authenticator = Authenticator::new(&identity(folder.path(), &keys)).unwrap();
    let rows = tokens(&keys);
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for (name, draft, expected) in rows {
        let value = format!("Bearer {}", draft.finish(&keys));
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        // Twice: what the first look remembers must not change the second.
        for look in ["first", "second"] {
            let got = outcome(&authenticator, &[("authorization", &value)], NOW);
            if got != expected {
                wrong.push(format!("{name}, {look}: expected {expected:?}, got {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Header lines, and the caller or the failure.
type HeaderRow = (Vec<(&'static str, String)>, Result<String, String>);

#[test]
fn every_row_of_the_header_table() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::new();
    let authenticator = Authenticator::new(&identity(folder.path(), &keys)).unwrap();
    let token = Draft::new().finish(&keys);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let padded = URL_SAFE.encode(b"{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"typ\":\"JWT\"}  ");
    let plus = STANDARD.encode([0xfb; 64]);
    let bearer = |text: &str| format!("Bearer {text}");
    let (key_line, token_line) = (bearer(KEY), bearer(&token));
    let long = bearer(&"a".repeat(16 * 1024 + 1));
    let other_first = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = bearer(&format!("{signed}.{other_first}{}", &signature[1..]));
    let analyst = Ok("demo/analyst readers".to_owned());
    let robot = Ok("acme/robot readers,writers".to_owned());
    let no = |label: &str| Err::<String, _>(label.to_owned());
    let rows: Vec<HeaderRow> = vec![
        (vec![("authorization", key_line.clone())], analyst.clone()),
        (vec![("authorization", format!("bearer   {KEY}"))], analyst.clone()),
        (vec![("authorization", format!("BEARER {KEY} "))], analyst.clone()),
        (vec![("x-api-key", KEY.to_owned())], analyst),
        (vec![("authorization", token_line.clone())], robot),
        (vec![], no("missing")),
        (vec![("cookie", format!("authorization={KEY}"))], no("missing")),
        (vec![("x-api-keys", KEY.to_owned())], no("missing")),
        (vec![("proxy-authorization", key_line.clone())], no("missing")),
        (vec![("authorization", key_line.clone()), ("x-api-key", KEY.to_owned())], no("several")),
        (vec![("authorization", key_line.clone()), ("authorization", key_line.clone())], no("several")),
        (vec![("authorization", key_line.clone()), ("authorization", token_line.clone())], no("several")),
        (vec![("x-api-key", KEY.to_owned()), ("x-api-key", KEY.to_owned())], no("several")),
        (vec![("authorization", format!("{key_line}, {token_line}"))], no("malformed")),
        (vec![("authorization", format!("{key_line},{KEY}"))], no("malformed")),
        (
            vec![("authorization", format!("Basic {}", STANDARD.encode(format!("analyst:{KEY}"))))],
            no("scheme"),
        ),
        (vec![("authorization", KEY.to_owned())], no("scheme")),
        (vec![("authorization", format!("Bearer\t{KEY}"))], no("scheme")),
        (vec![("authorization", String::new())], no("scheme")),
        (vec![("authorization", "Bearer".to_owned())], no("malformed")),
        (vec![("authorization", "Bearer ".to_owned())], no("malformed")),
        (vec![("authorization", bearer(&format!("{KEY} x")))], no("malformed")),
        (vec![("authorization", bearer("schlüssel"))], no("malformed")),
        (vec![("x-api-key", String::new())], no("malformed")),
        (vec![("x-api-key", bearer(KEY))], no("malformed")),
        (vec![("authorization", long)], no("too_long")),
        (vec![("authorization", bearer(&KEY[1..]))], no("unknown_key")),
        (vec![("authorization", bearer(&KEY.to_uppercase()))], no("unknown_key")),
        (vec![("authorization", bearer(&format!("{:x}", Sha256::digest(KEY))))], no("unknown_key")),
        (vec![("x-api-key", token.clone())], no("unknown_key")),
        (vec![("authorization", bearer(signed))], no("unknown_key")),
        (vec![("authorization", bearer(&format!("{token}.x.y")))], no("unknown_key")),
        (vec![("authorization", bearer(".."))], no("token_header")),
        (vec![("authorization", bearer(&format!("{padded}.e30.{signature}")))], no("token_header")),
        (vec![("authorization", bearer(&format!("{signed}.{signature}=")))], no("signature")),
        (vec![("authorization", bearer(&format!("{signed}.{plus}")))], no("signature")),
        (vec![("authorization", bearer(&format!("{signed}.{}", b64(&[0; 64]))))], no("signature")),
        (vec![("authorization", bearer(&format!("{signed}.!!")))], no("signature")),
        (vec![("authorization", tampered)], no("signature")),
    ];
    let mut wrong = Vec::new();
    for (lines, expected) in &rows {
        let borrowed: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let got = outcome(&authenticator, &borrowed, NOW);
        if got != *expected {
            wrong.push(format!("{borrowed:?}: expected {expected:?}, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_remembered_token_ends_with_its_exp() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::new();
    let authenticator = Authenticator::new(&identity(folder.path(), &keys)).unwrap();
    let line = format!("Bearer {}", Draft::new().finish(&keys));
    let lines = [("authorization", line.as_str())];
    assert!(outcome(&authenticator, &lines, NOW).is_ok());
    assert!(outcome(&authenticator, &lines, NOW + 329).is_ok());
    assert_eq!(outcome(&authenticator, &lines, NOW + 330), Err("expired".to_owned()));
}

#[test]
fn anonymous_is_for_those_who_sent_nothing() {
    let anonymous = Anonymous { name: "anyone".to_owned(), tenant: "public".to_owned(), groups: vec![] };
    let identity = Identity { keys: vec![api_key("analyst", KEY)], jwt: vec![], anonymous: Some(anonymous) };
    let authenticator = Authenticator::new(&identity).unwrap();
    assert_eq!(outcome(&authenticator, &[], NOW), Ok("public/anyone ".to_owned()));
    for (line, label) in [
        (("authorization", "Bearer wrong"), "unknown_key"),
        (("authorization", "Bearer a.b.c"), "unknown_key"),
        (("authorization", "Bearer "), "malformed"),
        (("authorization", "Digest x"), "scheme"),
        (("x-api-key", "wrong"), "unknown_key"),
    ] {
        assert_eq!(outcome(&authenticator, &[line], NOW), Err(label.to_owned()), "{line:?}");
    }
}

#[test]
fn a_refusal_says_what_to_do_and_nothing_of_the_secret() {
    let identity = Identity { keys: vec![api_key("analyst", KEY)], jwt: vec![], anonymous: None };
    let authenticator = Authenticator::new(&identity).unwrap();
    let missing = authenticator.authenticate(&HeaderMap::new(), at(NOW)).unwrap_err();
    assert_eq!(missing.www_authenticate(), "Bearer realm=\"kamf\"");
    let wrong = headers(&[("authorization", "Bearer sesame-sesame")]);
    let refused = authenticator.authenticate(&wrong, at(NOW)).unwrap_err();
    let told = format!("{refused} {refused:?} {} {}", refused.message(), refused.www_authenticate());
    assert!(!told.contains("sesame"), "{told}");
    assert!(refused.www_authenticate().contains("error=\"invalid_token\""), "{told}");
    for failure in Failure::ALL {
        let text = Unauthenticated(*failure).www_authenticate();
        assert!(HeaderValue::from_str(&text).is_ok(), "{text}");
        assert_eq!(text.matches('"').count() % 2, 0, "{text}");
    }
}

#[test]
fn all_mistakes_of_the_identities_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    let short = b64(&[0xff; 128]);
    let set = json!({"keys": [
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        {"kty": "OKP", "kid": "private", "crv": "Ed25519", "x": b64(&[1; 32]), "d": b64(&[2; 32])},
        {"kty": "RSA", "kid": "short", "n": short, "e": "AQAB"},
        {"kty": "EC", "kid": "curve", "crv": "P-384", "x": "", "y": ""},
        {"kty": "RSA", "kid": "hash", "alg": "RS512", "n": short, "e": "AQAB"},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(&[1; 32])},
        {"kty": "OKP", "kid": "cut", "crv": "Ed25519", "x": b64(&[1; 31])},
    ]});
    std::fs::write(&file, set.to_string()).unwrap();
    let mut nameless = api_key("", "a");
    nameless.groups.clear();
    let identity = Identity {
        keys: vec![api_key("one", KEY), api_key("two", KEY), nameless],
        jwt: vec![
            issuer(ISSUER, &file),
            issuer(ISSUER, &folder.path().join("absent.json")),
            JwtIssuer { audience: String::new(), ..issuer(OTHER, &file) },
        ],
        anonymous: Some(Anonymous { name: "a".to_owned(), tenant: "x/y".to_owned(), groups: vec![] }),
    };
    let told = Authenticator::new(&identity).map(drop).unwrap_err().to_string();
    for expected in [
        "have the same hash",
        "a name, tenant or group is empty",
        "a tenant holds a `/`",
        "configured twice",
        "audience is empty",
        "absent.json",
        "key `shared`: it is private or symmetric",
        "key `private`: it is private or symmetric",
        "key `short`: its modulus has 128 bytes",
        "key `curve`",
        "key `hash`",
        "keys[5]: it has no `kid`",
        "key `cut`: `x` is not 32 bytes",
    ] {
        assert!(told.contains(expected), "{expected} is not in:\n{told}");
    }
    assert!(!told.contains("c2VjcmV0"));
}
