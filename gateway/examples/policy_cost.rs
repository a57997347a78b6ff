//! What authentication, a decision and the rate limit cost a request, in nanoseconds.
//!
//! `cargo run --release -p kamf --example policy_cost [-- ROUNDS]`, with nothing else running.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use hyper::HeaderMap;
use kamf::config::{ApiKey, Identity, Rate};
use kamf::message::{Dialect, Operation};
use kamf::policy::{Authenticator, Policies, Principal, RateLimiter, Resource};
use serde_json::json;
use sha2::{Digest, Sha256};

const KEY: &str = "a-key-as-long-as-keys-are-0123456789abcdef";
/// Calls that are timed together.
const ROUNDS: u32 = 200_000;
/// Loads that are timed together.
const LOADS: u32 = 10;
const TOOL: Resource<'_> = Resource::Tool { server: "ledger", tool: "buy" };

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let report = |name: &str, step: &mut dyn FnMut() -> bool| time(name, rounds, step);
    let key = ApiKey {
        name: "load".to_owned(),
        tenant: "demo".to_owned(),
        groups: vec!["writers".to_owned()],
        sha256: Sha256::digest(KEY).into(),
    };
    let authenticator = Authenticator::new(&Identity { keys: vec![key], ..Identity::default() })?;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {KEY}").parse()?);
    let now = SystemTime::now();
    let principal = authenticator.authenticate(&headers, now)?;

    report("authenticate by key", &mut || authenticator.authenticate(&headers, now).is_ok());
    let limiter = RateLimiter::new(Rate { per_second: 1_000_000_000, burst: 1_000_000_000 });
    report("rate limit", &mut || limiter.check(&principal, "ledger").is_ok());
    for count in [1, 10, 100] {
        let fixed = load(count, false)?;
        let open = load(count, true)?;
        report(&format!("{count} policies: authenticate and decide"), &mut || {
            let principal = authenticator.authenticate(&headers, now);
            principal.is_ok_and(|principal| decide(&fixed, &principal))
        });
        report(&format!("{count} policies: decide"), &mut || decide(&fixed, &principal));
        report(&format!("{count} policies: decide, one looks at arguments"), &mut || {
            decide(&open, &principal)
        });
        let begun = Instant::now();
        for _ in 0..LOADS {
            decide(&load(count, false)?, &principal);
        }
        println!(
            "{:>9.1} us  {count} policies: load and decide for the first time",
            begun.elapsed().as_micros() as f64 / f64::from(LOADS)
        );
    }
    Ok(())
}

fn decide(policies: &Policies, principal: &Principal) -> bool {
    let arguments = json!({"milli_ounces": 1000, "price_cents": 200_000});
    policies.decide(principal, Operation::CallTool, TOOL, Some(&arguments), Dialect::McpModern).allowed
}

/// One policy that permits the call, the others for other groups and tools.
fn load(count: usize, looks: bool) -> Result<Policies> {
    let mut text = String::from(
        "@id(\"p0\") permit(principal in Group::\"writers\", action == Action::\"call_tool\", resource in Server::\"ledger\");\n",
    );
    for n in 1..count {
        let head = match n % 3 {
            0 => format!("principal in Group::\"g{n}\", action == Action::\"call_tool\", resource"),
            1 => format!("principal, action in Action::\"a2a\", resource == Agent::\"a{n}\""),
            _ => format!("principal, action == Action::\"call_tool\", resource == Tool::\"s/{n}\""),
        };
        writeln!(text, "@id(\"p{n}\") permit({head});")?;
    }
    if looks {
        text.push_str("@id(\"cap\") forbid(principal, action == Action::\"call_tool\", resource == Tool::\"ledger/buy\") when { context.arguments has milli_ounces && context.arguments.milli_ounces > 100000 };\n");
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("p.cedar"), text)?;
    Policies::load(Some(folder.path())).context("the policies of the measurement do not load")
}

fn time(name: &str, rounds: u32, step: &mut dyn FnMut() -> bool) {
    assert!(step(), "{name} was refused");
    // The best of five: everything else on the machine only adds.
    let best = (0..5)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..rounds {
                black_box(step());
            }
            begun.elapsed().as_nanos() / u128::from(rounds)
        })
        .min();
    println!("{:>9} ns  {name}", best.unwrap_or_default());
}
