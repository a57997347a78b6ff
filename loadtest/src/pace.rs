//! Arrivals at a constant rate, by the kernel's high-resolution timer: the runtime's own timers have
//! a grain of a millisecond, which is longer than what is measured here.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::sync::mpsc;

/// Starts `count` arrivals, `rate` a second, the first one interval from now. Each is the time at
/// which it was due; it appears at that time, never earlier, and waits for whoever takes it. The
/// arrivals end when the receiver is dropped.
///
/// A thread of its own keeps the time, on the cores of the caller, and sleeps between two arrivals.
pub(crate) fn arrivals(rate: u32, count: usize) -> Result<mpsc::Receiver<Instant>> {
    let interval = Duration::from_secs(1) / rate.max(1);
    // Each arrival has a place: the pace never waits for those who take them.
    let (arrive, due) = mpsc::channel(count.max(1));
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
    let start = Instant::now();
    timer.set(Expiration::Interval(TimeSpec::from_duration(interval)), TimerSetTimeFlags::empty())?;
    std::thread::Builder::new().name("pace".into()).spawn(move || {
        let mut due = start;
        for _ in 0..count {
            due += interval;
            // The timer only wakes: the clock says what is due, also when expirations were missed.
            while Instant::now() < due {
                if timer.wait().is_err() {
                    return;
                }
            }
            if arrive.try_send(due).is_err() {
                return;
            }
        }
    })?;
    Ok(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn arrivals_come_at_the_rate_and_never_early() {
        let start = Instant::now();
        let mut arrivals = arrivals(1000, 200).unwrap();
        let mut last = start;
        let mut count = 0;
        while let Some(due) = arrivals.recv().await {
            assert!(Instant::now() >= due);
            assert!(due > last);
            last = due;
            count += 1;
        }
        assert_eq!(count, 200);
        assert!(last - start >= Duration::from_millis(200), "{:?}", last - start);
    }

    #[tokio::test]
    async fn arrivals_that_nobody_took_keep_their_own_times() {
        let mut arrivals = arrivals(1000, 30).unwrap();
        let first = arrivals.recv().await.unwrap();
        std::thread::sleep(Duration::from_millis(40));
        let mut last = first;
        for _ in 0..15 {
            last = arrivals.recv().await.unwrap();
        }
        assert_eq!(last - first, Duration::from_millis(15));
    }
}
