//! Sending, at the rate and with the concurrency that are allowed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Args;
use super::compare::{Difference, Ignore, compare, value};
use super::gather::Recorded;
use super::report::Report;
use super::target::Target;
use crate::cli::CliError;
use crate::message::Protocol;

/// What became of one replayed request.
pub(super) struct Outcome {
    pub(super) recorded: Recorded,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

pub(super) enum Verdict {
    Equal,
    Differs(Vec<Difference>),
    /// There is no answer to compare.
    Failed(String),
}

/// Sends all of `exchanges` in order and reports each; ends early, and says so, when the person interrupts it.
pub(super) async fn all(
    args: &Args,
    exchanges: Vec<Recorded>,
    target: &Arc<Target>,
    report: &mut Report,
) -> Result<(), CliError> {
    let ignore = Arc::new(Ignore { listed: args.ignore.clone(), strict: args.strict });
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / args.rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut waiting = exchanges.into_iter();
    let mut next = waiting.next();
    let mut under_way = JoinSet::new();
    while next.is_some() || !under_way.is_empty() {
        let room = next.is_some() && under_way.len() < usize::from(args.concurrency);
        tokio::select! {
            _ = &mut interrupted => {
                report.interrupted = true;
                break;
            }
            Some(outcome) = under_way.join_next() => report.add(&outcome?)?,
            _ = pace.tick(), if room => {
                if let Some(recorded) = next.take() {
                    under_way.spawn(one(recorded, Arc::clone(target), Arc::clone(&ignore)));
                }
                next = waiting.next();
            }
        }
    }
    under_way.abort_all();
    target.stop().await;
    Ok(())
}

async fn one(recorded: Recorded, target: Arc<Target>, ignore: Arc<Ignore>) -> Outcome {
    let began = Instant::now();
    let answer = target.ask(&recorded).await;
    let took = began.elapsed();
    let verdict = match answer {
        Err(why) => Verdict::Failed(why),
        Ok(messages) => {
            let protocol = recorded.protocol();
            let (before, now) = (answer_of(protocol, &recorded.answer), answer_of(protocol, &messages));
            match compare(protocol, &before, &now, &ignore) {
                none if none.is_empty() => Verdict::Equal,
                differences => Verdict::Differs(differences),
            }
        }
    };
    Outcome { recorded, verdict, took }
}

/// What is compared: all messages of an A2A stream; of an MCP call its result, as it may report progress as it likes.
fn answer_of(protocol: Protocol, messages: &[Bytes]) -> Vec<Value> {
    let from = if protocol == Protocol::Mcp { messages.len().saturating_sub(1) } else { 0 };
    messages[from..].iter().map(|message| value(message)).collect()
}
