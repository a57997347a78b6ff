//! An upstream with a will of its own: it acts before, after or without an answer, and tears its streams.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;

use super::world::{Call, World};
use crate::config::Retry;
use crate::message::{Mode, RelayId};
use crate::outcome::Reason;
use crate::relay::record::{Kind, View};
use crate::relay::{Admitted, Answer, Caller, Failure, Message};

/// Longest that a step of the upstream takes, at times longer than a deadline.
const SLOW: Duration = Duration::from_secs(10);

pub(super) struct Agent(pub(super) Arc<World>);

impl Caller for Agent {
    type Place = ();

    async fn enter(&self, _: &Admitted, _: u32) -> Result<(), Failure> {
        let pause = self.0.pause(Duration::from_secs(2));
        tokio::time::sleep(pause).await;
        let closed = self.0.lock().rng.once_in(10);
        if closed { Err(Failure::plain(Reason::UpstreamUnreachable)) } else { Ok(()) }
    }

    async fn call(&self, admitted: &Admitted, _: Bytes, _: Instant, (): ()) -> Result<Answer, Failure> {
        let world = &self.0;
        let (act, before, after) = {
            let mut inner = world.lock();
            (inner.rng.below(10), inner.rng.pause(SLOW), inner.rng.pause(SLOW))
        };
        if act < 3 {
            tokio::time::sleep(before / 4).await;
            return Err(Failure::plain(Reason::UpstreamUnreachable));
        }
        let number = arrive(world, admitted);
        let acting = Arc::clone(world);
        // It acts on its own: who waits for the answer may be gone by then.
        tokio::spawn(async move {
            tokio::time::sleep(before).await;
            acting.lock().calls[number].effect = true;
        });
        tokio::time::sleep(before + after).await;
        match act {
            3 => Err(Failure::plain(Reason::UpstreamBroken)),
            4 => Err(Failure::plain(Reason::UpstreamInvalid)),
            5 | 6 => Ok(Answer::Stream(events(world, number))),
            _ => {
                let body = Bytes::from(format!("answer of call {number}"));
                Ok(Answer::Unary(Message { body, last: true, error: act == 7 }))
            }
        }
    }

    fn retry(&self, _: &Admitted) -> Retry {
        Retry { first: Duration::from_millis(50), max: Duration::from_secs(1), budget: 100 }
    }

    fn explain(&self, _: &Admitted, _: &Bytes, failure: &Failure) -> Bytes {
        Bytes::from(failure.reason.label())
    }

    async fn settled(&self, _: RelayId) {}

    fn found(&self, _: &View<'_>) {}
}

/// The call reaches the upstream, which keeps account of it.
fn arrive(world: &World, admitted: &Admitted) -> usize {
    let mut announced = admitted.mode == Mode::Journal;
    world.read(0, |view, _| {
        if view.fields.id == admitted.id {
            match view.fields.kind {
                Kind::Started => announced = true,
                Kind::Retry => announced = false,
                _ => {}
            }
        }
    });
    let mut inner = world.lock();
    announced &= inner.requests.iter().any(|request| request.id == admitted.id);
    inner.calls.push(Call { id: admitted.id, effect: false, announced });
    inner.calls.len() - 1
}

/// Numbered messages; some streams break off in the middle.
fn events(world: &Arc<World>, call: usize) -> crate::relay::Messages {
    let (count, torn) = {
        let mut inner = world.lock();
        (inner.rng.below(5), inner.rng.once_in(3))
    };
    let world = Arc::clone(world);
    Box::pin(stream::unfold(1, move |number| {
        let world = Arc::clone(&world);
        async move {
            tokio::time::sleep(world.pause(Duration::from_millis(400))).await;
            if number > count {
                let broken = Err(Failure::plain(Reason::UpstreamBroken));
                return (torn && number == count + 1).then_some((broken, number + 1));
            }
            let body = Bytes::from(format!("message {number} of call {call}"));
            Some((Ok(Message { body, last: false, error: false }), number + 1))
        }
    }))
}
