//! Drives one HTTP connection to its end: its own, that of a deadline, or that of the drain.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::activity::{Activity, Times};
use crate::edge::metrics::Cut;

/// Runs `connection`; `finish` asks it to end after what it is at. An error of hyper's is an end like any
/// other: the peer's doing, or a body that broke off.
///
/// # Errors
/// The deadline that ended it.
pub(super) async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    finish: impl Fn(Pin<&mut C>),
    activity: &Activity,
    times: &Times,
    draining: watch::Receiver<Option<Instant>>,
) -> Result<hyper::Result<()>, Cut> {
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(Instant::now() + times.idle));
    // `has_changed` is an atomic load, `changed` takes a lock: it is polled once, to be woken by it.
    let mut told = draining.clone();
    let mut told = pin!(told.changed());
    let (mut armed, mut finishing) = (false, false);
    poll_fn(|context| {
        if !armed {
            armed = true;
            let _ = told.as_mut().poll(context);
        }
        loop {
            if !finishing && is_draining(&draining) {
                finishing = true;
                finish(connection.as_mut());
            }
            if let Poll::Ready(end) = connection.as_mut().poll(context) {
                return Poll::Ready(Ok(end));
            }
            let due = activity.due(times);
            if let Some((_, at)) = due.filter(|(_, at)| *at < timer.deadline()) {
                timer.as_mut().reset(at);
            }
            while timer.as_mut().poll(context).is_ready() {
                let now = Instant::now();
                match due {
                    None => timer.as_mut().reset(now + times.idle),
                    Some((_, at)) if at > now => timer.as_mut().reset(at),
                    Some((Cut::Idle, _)) if !finishing => {
                        // HTTP/2 says GOAWAY, HTTP/1.1 just closes; a peer that does not see it is cut.
                        finishing = true;
                        finish(connection.as_mut());
                        timer.as_mut().reset(now + times.head);
                        if let Poll::Ready(end) = connection.as_mut().poll(context) {
                            return Poll::Ready(Ok(end));
                        }
                    }
                    Some((cut, _)) => return Poll::Ready(Err(cut)),
                }
            }
            if finishing || !is_draining(&draining) {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Whether the drain has begun, or nobody is left to begin it. The receiver must never have been told before.
pub(super) fn is_draining(draining: &watch::Receiver<Option<Instant>>) -> bool {
    draining.has_changed().unwrap_or(true)
}
