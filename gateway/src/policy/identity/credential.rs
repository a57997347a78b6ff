//! The one credential of a request, out of its headers.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::error::Failure;

/// Longest credential, in bytes. Tokens with many groups reach 4 KiB; all headers together end at 64 KiB.
const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What was sent, unproven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    None,
    /// `Authorization: Bearer`: a key or a token.
    Bearer(&'a str),
    /// `X-API-Key`: a key, never a token.
    Key(&'a str),
}

/// Finds it, or says why there is no single well-formed one.
pub(super) fn read(headers: &HeaderMap) -> Result<Credential<'_>, Failure> {
    let bearer = single(headers, &AUTHORIZATION)?;
    let key = single(headers, &API_KEY)?;
    match (bearer, key) {
        (None, None) => Ok(Credential::None),
        (Some(_), Some(_)) => Err(Failure::Several),
        (Some(value), None) => bearer_token(value).map(Credential::Bearer),
        (None, Some(value)) => visible(value.as_bytes()).map(Credential::Key),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Failure> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Failure::Several),
        (value, None) => Ok(value),
    }
}

/// RFC 6750 section 2.1: the scheme, in any case (RFC 9110 section 11.1), spaces, the token.
fn bearer_token(value: &HeaderValue) -> Result<&str, Failure> {
    let bytes = value.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
    let (scheme, token) = bytes.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Failure::Scheme);
    }
    visible(token)
}

/// One run of visible ASCII between spaces, within bounds. Commas are out: they join repeated headers.
fn visible(bytes: &[u8]) -> Result<&str, Failure> {
    let bytes = bytes.trim_ascii();
    if bytes.len() > CREDENTIAL_BYTES_MAX {
        return Err(Failure::TooLong);
    }
    if bytes.is_empty() || !bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',') {
        return Err(Failure::Malformed);
    }
    std::str::from_utf8(bytes).map_err(|_| Failure::Malformed)
}
