//! Values that have a spelling of their own: durations, sizes, counts, money, URLs, hashes, names.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::Uri;
use sha2::{Digest, Sha256};

use super::reader::Field;

/// Longest duration that a setting may have; far below what a clock can add to now.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Millionths in one unit of money.
const MILLIONTHS: u64 = 1_000_000;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself; for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How an API key stands in the configuration: `sha256:` and the 64 hex digits of its SHA-256.
pub fn hash_key(key: &str) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in Sha256::digest(key.as_bytes()) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl Field<'_> {
    /// More than nothing, up to thirty days: `10s`, `250ms`, `1h 30m`.
    pub(super) fn duration(&self) -> Option<Duration> {
        let text = self.text()?;
        match humantime::parse_duration(text) {
            Ok(value) if !value.is_zero() && value <= DURATION_MAX => return Some(value),
            Ok(_) => self.refuse(format!("`{text}` is out of bounds: more than 0s, at most 30d")),
            Err(_) => {
                self.refuse(format!("`{text}` is no duration; write number and unit, as in 10s or 250ms"))
            }
        }
        None
    }

    /// Bytes: a number with `B`, `KiB`, `MiB`, `GiB`, or none.
    pub(super) fn size(&self, bounds: RangeInclusive<usize>) -> Option<usize> {
        let text = self.text()?;
        match parse_size(text) {
            Some(value) if bounds.contains(&value) => return Some(value),
            Some(_) => {
                self.refuse(format!(
                    "`{text}` is out of bounds: {} to {} bytes",
                    bounds.start(),
                    bounds.end()
                ));
            }
            None => self.refuse(format!("`{text}` is no size; write number and unit, as in 64KiB or 1MiB")),
        }
        None
    }

    /// A whole number within `bounds`.
    pub(super) fn count(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text()?;
        let value = text.parse().ok().filter(|value| bounds.contains(value));
        if value.is_none() {
            self.refuse(format!("`{text}` is no whole number from {} to {}", bounds.start(), bounds.end()));
        }
        value
    }

    /// Decimal money as whole millionths: `2.50` is 2,500,000.
    pub(super) fn millionths(&self) -> Option<u64> {
        let text = self.text()?;
        let value = parse_millionths(text);
        if value.is_none() {
            self.refuse(format!(
                "`{text}` is no amount; write a decimal with at most six places, as in \"2.50\""
            ));
        }
        value
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        let text = self.text()?;
        let address = text.parse().ok();
        if address.is_none() {
            self.refuse(format!(
                "`{text}` is no address; write IP and port, as in 127.0.0.1:8080 or [::1]:8080"
            ));
        }
        address
    }

    /// An absolute `http` or `https` URL. Credentials in it are refused: they would show in logs.
    pub(super) fn url(&self) -> Option<String> {
        let text = self.text()?;
        let uri: Option<Uri> = text.parse().ok();
        match uri {
            Some(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
                self.refuse("no user or password in a URL; use a header or `authorization`");
                None
            }
            Some(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => {
                Some(text.to_owned())
            }
            _ => {
                self.refuse("no URL; write one as in http://127.0.0.1:8090/");
                None
            }
        }
    }

    /// The hash of an API key. What stands here is not repeated: it may be the key itself.
    pub(super) fn key_hash(&self) -> Option<[u8; 32]> {
        let hash = self.text()?.strip_prefix("sha256:").and_then(parse_digest);
        if hash.is_none() {
            self.refuse("no hash; `kamf key` prints one: `sha256:` and 64 lower-case hex digits");
        }
        hash
    }

    /// Whether `name` can stand in a path, a tool's prefix and a record header as it is written.
    pub(super) fn name_is_fit(&self, name: &str) -> bool {
        let fit = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
            && !name.starts_with('.');
        if !fit {
            self.refuse("a name has 1 to 64 of A-Z a-z 0-9 _ - . and does not begin with a dot");
        }
        fit
    }
}

fn parse_size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn parse_millionths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
    whole.checked_mul(MILLIONTHS)?.checked_add(fraction)
}

fn parse_digest(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, index) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[index..index + 2], 16).ok()?;
    }
    Some(digest)
}
