use std::time::Duration;

use futures_util::FutureExt;
use prometheus::Registry;

use super::*;
use crate::config;
use crate::upstream::Metrics;

fn gate(concurrency: usize, queue: usize) -> Arc<Gate> {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let breaker = config::Breaker { failures: 2, share: 100, pause: Duration::from_secs(1) };
    let name = Name::from("agent");
    Gate::new(&name, &Route { concurrency, queue, breaker, ..Route::default() }, metrics.gate(&name))
}

fn unreachable() -> Result<(), CallError> {
    Err(CallError::unreachable(&Name::from("agent"), "nobody there"))
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_are_in_and_those_that_wait_come_in_order() {
    let gate = gate(1, 2);
    let first = gate.enter(1).await;
    let (mut second, mut third) = (Box::pin(gate.enter(1)), Box::pin(gate.enter(1)));
    assert!(second.as_mut().now_or_never().is_none());
    assert!(gate.room().is_ok());
    assert!(third.as_mut().now_or_never().is_none());
    assert!(matches!(gate.room(), Err(Closed::Full(_))));
    drop(first);
    assert!(third.as_mut().now_or_never().is_none(), "the third overtook the second");
    let place = second.await;
    assert_eq!((gate.health().waiting, gate.health().calls), (1, 1));
    drop(place);
    third.await;
}

#[tokio::test(start_paused = true)]
async fn nobody_calls_while_it_is_open_and_all_go_when_one_is_heard() {
    let gate = gate(10, 10);
    for _ in 0..2 {
        gate.enter(1).await.saw(&unreachable());
    }
    assert_eq!(gate.health().circuit, "open");
    assert!(matches!(gate.enter_open().await, Err(Closed::Open(_))));
    let began = Instant::now();
    let (mut one, mut other) = (Box::pin(gate.enter(1)), Box::pin(gate.enter(1)));
    let (mut tries, waits) = tokio::select! {
        biased;
        place = &mut one => (place, other),
        place = &mut other => (place, one),
    };
    assert!(began.elapsed() >= Duration::from_secs(1));
    let mut waits = waits;
    assert!(waits.as_mut().now_or_never().is_none(), "two try at once");
    tries.saw(&Ok(()));
    waits.await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(gate.health().circuit, "closed");
}

#[tokio::test(start_paused = true)]
async fn attempts_beyond_the_first_are_a_few_a_second() {
    let gate = gate(10, 10);
    let began = Instant::now();
    for _ in 0..60 {
        gate.enter(2).await.saw(&Ok(()));
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(7), "{took:?}");
}
