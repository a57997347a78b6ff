//! The claims of a token, parsed into types: what has another type is an error, never a claim left out.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::error::Failure;

/// How far clocks may differ (RFC 7519 section 4.1.4: "a few minutes" at most).
const LEEWAY: Duration = Duration::from_secs(30);
/// The latest `NumericDate` that is told apart, year 9999: keeps arithmetic on times in range.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// All members of the payload. A repeated name is an error: two readers could see two values.
pub(super) struct Claims(BTreeMap<String, Value>);

impl Claims {
    pub(super) fn issuer(&self) -> Result<&str, Failure> {
        self.text("iss")?.ok_or(Failure::Claims)
    }

    /// `sub`, or `client_id` where a client acts for itself (RFC 9068 section 2.2).
    pub(super) fn name(&self) -> Result<&str, Failure> {
        let (subject, client) = (self.text("sub")?, self.text("client_id")?);
        subject.or(client).ok_or(Failure::Claims)
    }

    /// Whether `audience` is among `aud` (one text, or a list of texts).
    pub(super) fn check_audience(&self, audience: &str) -> Result<(), Failure> {
        let holds = match self.0.get("aud") {
            Some(Value::String(only)) => only == audience,
            Some(Value::Array(list)) => {
                let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                texts.ok_or(Failure::Claims)?.contains(&audience)
            }
            _ => return Err(Failure::Claims),
        };
        if holds { Ok(()) } else { Err(Failure::Audience) }
    }

    /// Holds `exp`, `nbf` and the type of `iat` against `now`; the moment at which the token ends.
    pub(super) fn check_times(&self, now: SystemTime) -> Result<SystemTime, Failure> {
        let ends = self.time("exp")?.ok_or(Failure::Claims)? + LEEWAY;
        let begins = self.time("nbf")?;
        self.time("iat")?;
        if now >= ends {
            return Err(Failure::Expired);
        }
        if begins.is_some_and(|begins| begins > now + LEEWAY) {
            return Err(Failure::NotYetValid);
        }
        Ok(ends)
    }

    /// A claim that is a text, when there is one.
    pub(super) fn text(&self, claim: &str) -> Result<Option<&str>, Failure> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(Failure::Claims),
        }
    }

    /// A claim that lists texts, or is one text with spaces between its words (as `scope` is).
    pub(super) fn list(&self, claim: &str) -> Result<Vec<String>, Failure> {
        match self.0.get(claim) {
            None => Ok(Vec::new()),
            Some(Value::String(words)) => Ok(words.split_ascii_whitespace().map(str::to_owned).collect()),
            Some(Value::Array(list)) => {
                let texts: Option<Vec<String>> =
                    list.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                texts.ok_or(Failure::Claims)
            }
            Some(_) => Err(Failure::Claims),
        }
    }

    /// A `NumericDate` (RFC 7519 section 2): a JSON number of seconds, fractions allowed, not negative.
    fn time(&self, claim: &str) -> Result<Option<SystemTime>, Failure> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(seconds) if seconds >= 0.0 => {
                    let since = Duration::from_secs_f64(seconds.min(SECONDS_MAX));
                    Ok(Some(SystemTime::UNIX_EPOCH + since))
                }
                _ => Err(Failure::Claims),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DistinctMembers(PhantomData)).map(Self)
    }
}

/// The members of an object by name; a name twice is an error.
pub(super) struct DistinctMembers<V>(pub(super) PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for DistinctMembers<V> {
    type Value = BTreeMap<String, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with distinct members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, V>()? {
            if members.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("a member is repeated"));
            }
        }
        Ok(members)
    }
}
