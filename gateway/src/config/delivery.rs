//! `delivery`: how exchanges are kept, how often they are tried, and how much one upstream may be given at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::{Field, Group};
use super::secret::Plain;
use super::value::Secret;
use crate::message::{Mode, RelayId};

/// Bytes of a key that nobody guesses.
const KEY_BYTES: usize = 32;

/// How exchanges are kept and delivered, by upstream.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For every upstream that is not named.
    pub default: Route,
    /// By agent or server name.
    pub routes: BTreeMap<String, Route>,
    /// Whether a replica delivers what it accepted, and answers what it delivered, without reading it back from the log.
    pub short_cuts: bool,
    /// What clients are given and bring back (MCP sessions, positions in streams) is proven with keys made from this.
    /// Replicas share it; without it each makes its own and keeps them in the folder of the log.
    pub key: Option<Secret>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { default: Route::default(), routes: BTreeMap::new(), short_cuts: true, key: None }
    }
}

impl Delivery {
    /// The settings for one upstream.
    pub fn route(&self, upstream: &str) -> Route {
        self.routes.get(upstream).copied().unwrap_or(self.default)
    }
}

/// How exchanges with one upstream are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// For A2A sends and MCP tool calls. Everything else that goes upstream is `direct`.
    pub mode: Mode,
    /// Its calls may be repeated although it may have acted on them already.
    pub idempotent: bool,
    /// A2A sends with the same `messageId` and content are one: as if it were an idempotency key.
    pub message_ids: bool,
    /// Its word for a tool (`idempotentHint`, `readOnlyHint`) counts as `idempotent`.
    pub trusted: bool,
    pub retry: Retry,
    /// Calls at one time; more wait.
    pub concurrency: usize,
    /// Requests that wait for it; more are refused.
    pub queue: usize,
    pub breaker: Breaker,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            mode: Mode::Relay,
            idempotent: false,
            message_ids: false,
            trusted: false,
            retry: Retry::default(),
            concurrency: 1_000,
            queue: 1_000,
            breaker: Breaker::default(),
        }
    }
}

/// Pauses between attempts, and how many attempts beyond the first one there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Before the second attempt; doubles from one to the next.
    pub first: Duration,
    pub max: Duration,
    /// Further attempts in per cent of first ones, beside a few a second that are always allowed.
    pub budget: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_millis(200), max: Duration::from_secs(5), budget: 20 }
    }
}

impl Retry {
    /// The pause after attempt number `attempt` of `id`, from 1: doubling, less up to a half, so that those that failed
    /// together do not come back together. The same for the same attempt, whoever makes it.
    pub fn pause(&self, id: RelayId, attempt: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << attempt.clamp(1, 20).saturating_sub(1)).min(self.max);
        let seed = id
            .as_bytes()
            .iter()
            .chain(&attempt.to_be_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let less = u32::try_from((seed >> 32) % 500).unwrap_or_default();
        doubled * (1_000 - less) / 1_000
    }
}

/// When an upstream is left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Calls in a row that do not reach it.
    pub failures: u32,
    /// Share of failed calls, in per cent of those of the last ten seconds.
    pub share: u32,
    /// How long it is left alone before one call tries; doubles while that fails, up to the longest pause of `retry`.
    pub pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5, share: 50, pause: Duration::from_secs(1) }
    }
}

pub(super) fn read(group: &mut Group<'_>) -> Delivery {
    let mut delivery = Delivery::default();
    group.set("default", &mut delivery.default.mode, mode);
    group.set("short_cuts", &mut delivery.short_cuts, Field::flag);
    group.set("key", &mut delivery.key, |field| Some(Some(key(field)?)));
    read_limits(group, &mut delivery.default);
    let default = delivery.default;
    group.set("routes", &mut delivery.routes, |field| {
        let routes = field.entries().into_iter();
        Some(
            routes
                .filter_map(|(name, _, route)| Some((name.to_owned(), read_route(&route, default)?)))
                .collect(),
        )
    });
    delivery
}

/// A mode alone, or a group of settings; what it leaves out is as for all.
fn read_route(field: &Field<'_>, default: Route) -> Option<Route> {
    if !field.is_map() {
        return Some(Route { mode: mode(field)?, ..default });
    }
    Some(field.group(|group| {
        let mut route = default;
        group.set("mode", &mut route.mode, mode);
        group.set("idempotent", &mut route.idempotent, Field::flag);
        group.set("message_ids", &mut route.message_ids, Field::flag);
        group.set("trusted", &mut route.trusted, Field::flag);
        read_limits(group, &mut route);
        route
    }))
}

fn read_limits(group: &mut Group<'_>, route: &mut Route) {
    let mut retry = route.retry;
    group.set("retry", &mut retry, |field| Some(field.group(|group| read_retry(group, route.retry))));
    route.retry = retry;
    let mut breaker = route.breaker;
    group.set("breaker", &mut breaker, |field| Some(field.group(|group| read_breaker(group, route.breaker))));
    route.breaker = breaker;
    group.set("concurrency", &mut route.concurrency, |field| count(field, 1, 100_000));
    group.set("queue", &mut route.queue, |field| count(field, 1, 1_000_000));
}

fn read_retry(group: &mut Group<'_>, mut retry: Retry) -> Retry {
    group.set("first", &mut retry.first, Field::duration);
    group.set("max", &mut retry.max, Field::duration);
    group.set("budget", &mut retry.budget, |field| field.count(0..=1_000)?.try_into().ok());
    if retry.max < retry.first {
        group.field.refuse("`max` is shorter than `first`");
    }
    retry
}

fn read_breaker(group: &mut Group<'_>, mut breaker: Breaker) -> Breaker {
    group.set("failures", &mut breaker.failures, |field| field.count(1..=1_000_000)?.try_into().ok());
    group.set("share", &mut breaker.share, |field| field.count(1..=100)?.try_into().ok());
    group.set("pause", &mut breaker.pause, Field::duration);
    breaker
}

fn count(field: &Field<'_>, least: u64, most: u64) -> Option<usize> {
    field.count(least..=most)?.try_into().ok()
}

fn key(field: &Field<'_>) -> Option<Secret> {
    let secret = field.secret(Plain::Refused)?;
    if secret.expose().len() < KEY_BYTES {
        field.refuse(format!(
            "the key has fewer than {KEY_BYTES} bytes; `openssl rand -hex 32` makes a good one"
        ));
        return None;
    }
    Some(secret)
}

fn mode(field: &Field<'_>) -> Option<Mode> {
    field.choice(&[("relay", Mode::Relay), ("journal", Mode::Journal), ("direct", Mode::Direct)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_never_less_than_half() {
        let retry = Retry::default();
        let id = RelayId::parse("01890000-0000-7000-8000-000000000001").unwrap();
        for attempt in 1..=40 {
            let whole = retry.first.saturating_mul(1 << (attempt - 1).min(20)).min(retry.max);
            let pause = retry.pause(id, attempt);
            assert!(pause <= whole && pause >= whole / 2, "{attempt}: {pause:?} of {whole:?}");
            assert_eq!(pause, retry.pause(id, attempt));
        }
        let other = RelayId::parse("01890000-0000-7000-8000-000000000002").unwrap();
        assert_ne!(retry.pause(id, 1), retry.pause(other, 1));
    }
}
