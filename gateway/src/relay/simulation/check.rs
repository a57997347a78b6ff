//! What has to hold of every world, read from its log and from the upstream's own account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::world::World;
use crate::message::{Mode, RelayId};
use crate::outcome::{Reason, State};
use crate::relay::Admitted;
use crate::relay::record::Kind;

/// An accepted request ends no later than its deadline and this, whoever held it.
const GRACE: Duration = Duration::from_secs(30);

/// What the log has of one request.
#[derive(Default)]
struct Story {
    messages: Vec<(u32, Vec<u8>)>,
    ends: BTreeSet<(&'static str, Vec<u8>)>,
    reason: Option<Reason>,
    ended: Option<SystemTime>,
}

/// # Errors
/// The first invariant that is broken, in words.
pub(super) fn check(world: &World) -> Result<(), String> {
    let mut stories: BTreeMap<RelayId, Story> = BTreeMap::new();
    world.read(0, |view, at| {
        let story = stories.entry(view.fields.id).or_default();
        match (view.fields.kind, view.fields.end) {
            (Kind::Event, _) => story.messages.push((view.fields.sequence, view.body.to_vec())),
            (Kind::Terminal, Some(end)) => {
                story.ends.insert((end.reason.label(), view.body.to_vec()));
                story.reason = Some(end.reason);
                story.ended = story.ended.or(Some(at));
            }
            _ => {}
        }
    });
    let inner = world.lock();
    for request in &inner.requests {
        let id = request.id;
        let story = stories.remove(&id).ok_or_else(|| format!("{id} never ended"))?;
        let calls: Vec<_> = inner.calls.iter().filter(|call| call.id == id).collect();
        if calls.iter().any(|call| !call.announced) {
            return Err(format!("{id}: the upstream was called before it stood on the log"));
        }
        let effects = calls.iter().filter(|call| call.effect).count();
        ended_once(request, &story, effects, calls.len())?;
        told_in_order(request, &story)?;
        let dead = |reason| {
            matches!(reason, Reason::Expired | Reason::UpstreamUnreachable | Reason::UpstreamInvalid)
        };
        let buried = |reason| inner.letters.contains(&(id, reason));
        if let Some(reason) = story.reason.filter(|reason| dead(*reason) && request.mode == Mode::Relay)
            && !buried(reason)
        {
            return Err(format!("{id} ended for {} without a dead letter", reason.label()));
        }
    }
    Ok(())
}

/// I3, I4: one end, in time, that is true to what the upstream did; one effect unless more do no harm.
fn ended_once(request: &Admitted, story: &Story, effects: usize, calls: usize) -> Result<(), String> {
    let id = request.id;
    let reason = story.reason.ok_or_else(|| format!("{id} never ended"))?;
    // Where an acknowledgement got lost the same record is written again: readers take the first.
    if story.ends.len() != 1 {
        return Err(format!("{id} has different ends: {:?}", story.ends));
    }
    if effects > 1 && !(request.repeatable && request.mode == Mode::Relay) {
        return Err(format!("{id} had {effects} effects in {calls} calls and is not repeatable"));
    }
    let done = matches!(reason, Reason::Completed | Reason::UpstreamError);
    if done && effects == 0 {
        return Err(format!("{id} is {} without effects", reason.label()));
    }
    let nothing = matches!(reason, Reason::Expired | Reason::UpstreamUnreachable);
    if nothing && calls > 0 {
        return Err(format!("{id} is said to have had no effects, after {calls} calls"));
    }
    let late = story.ended.is_none_or(|ended| ended > request.deadline + GRACE);
    if late && reason.state() != State::Unknown {
        return Err(format!("{id} ended after its deadline and the grace"));
    }
    Ok(())
}

/// I8: messages in order, none missing, all of one call.
fn told_in_order(request: &Admitted, story: &Story) -> Result<(), String> {
    let id = request.id;
    let mut last = 0;
    let mut of: Option<&[u8]> = None;
    for (sequence, body) in &story.messages {
        if *sequence == last {
            continue;
        }
        if *sequence != last + 1 {
            return Err(format!("{id}: message {sequence} after {last}"));
        }
        last = *sequence;
        let call = body.rsplit(|byte| *byte == b' ').next();
        if of.is_some() && of != call {
            return Err(format!("{id}: messages of two calls in one stream"));
        }
        of = call;
    }
    Ok(())
}
