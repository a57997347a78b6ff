//! Drives one HTTP connection to its end: its own, that of a deadline, or that of the drain.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::activity::{Activity, Times};
use super::sniff::Http;
use crate::edge::metrics::Cut;

/// How long an HTTP/1.1 connection without a request is kept once the drain has begun.
const QUIET: Duration = Duration::from_secs(1);

/// Runs `connection`; `finish` asks it to end after what it is at. An error of hyper's is an end like any
/// other: the peer's doing, or a body that broke off.
///
/// # Errors
/// The deadline that ended it.
pub(super) async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    finish: impl Fn(Pin<&mut C>),
    http: Http,
    activity: &Activity,
    times: &Times,
    draining: watch::Receiver<Option<Instant>>,
) -> Result<hyper::Result<()>, Cut> {
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(Instant::now() + times.idle));
    // `has_changed` is an atomic load, `changed` takes a lock: it is polled once, to be woken by it.
    let mut told = draining.clone();
    let mut told = pin!(told.changed());
    let mut phase = Phase::New;
    poll_fn(|context| {
        if phase == Phase::New {
            phase = Phase::Serving;
            let _ = told.as_mut().poll(context);
        }
        loop {
            if phase == Phase::Serving && is_draining(&draining) {
                phase = Phase::Leaving(Instant::now() + patience(http, &draining));
            }
            if let Poll::Ready(end) = connection.as_mut().poll(context) {
                return Poll::Ready(Ok(end));
            }
            let due = match phase {
                Phase::Leaving(at) => Some((None, at)),
                _ => activity.due(times).map(|(cut, at)| (Some(cut), at)),
            };
            if let Some((_, at)) = due.filter(|(_, at)| *at < timer.deadline()) {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match due {
                None => timer.as_mut().reset(now + times.idle),
                Some((_, at)) if at > now => timer.as_mut().reset(at),
                Some((None, _)) => {
                    phase = Phase::Finishing;
                    finish(connection.as_mut());
                    timer.as_mut().reset(now + times.idle);
                }
                Some((Some(Cut::Idle), _)) if phase == Phase::Serving => {
                    // HTTP/2 says GOAWAY, HTTP/1.1 just closes; a peer that does not see it is cut.
                    phase = Phase::Finishing;
                    finish(connection.as_mut());
                    timer.as_mut().reset(now + times.head);
                }
                Some((Some(cut), _)) => return Poll::Ready(Err(cut)),
            }
        }
    })
    .await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Serving,
    /// The drain has begun; at this time the connection is asked to end.
    Leaving(Instant),
    /// It was asked.
    Finishing,
}

/// How long after the drain began a connection is asked to end. HTTP/2's GOAWAY loses nothing. HTTP/1.1 has
/// nothing like it: a connection between two requests is kept a little, so that a request that is on its way
/// is answered, with `connection: close`, and not reset.
fn patience(http: Http, draining: &watch::Receiver<Option<Instant>>) -> Duration {
    match (http, *draining.borrow()) {
        (Http::One, Some(deadline)) => QUIET.min(deadline.saturating_duration_since(Instant::now()) / 2),
        _ => Duration::ZERO,
    }
}

/// Whether the drain has begun, or nobody is left to begin it. The receiver must never have been told before.
pub(super) fn is_draining(draining: &watch::Receiver<Option<Instant>>) -> bool {
    draining.has_changed().unwrap_or(true)
}
