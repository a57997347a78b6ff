//! More than the broker holds, as clients see it.

use kamf_broker::{Broker, Limits, Options};

use crate::support::{Outcome, create_topic, producer, read_everything, runtime, send};

/// One producer is remembered and two write: each is forgotten before it writes again. Clients begin anew, and nothing is
/// lost or written twice.
#[test]
fn forgotten_producers_begin_anew() -> Outcome {
    let directory = tempfile::tempdir()?;
    let limits = Limits { producers: 1, ..Limits::default() };
    let broker = Broker::start(Options { limits, ..Options::new(directory.path()) })?;
    let (address, runtime) = (broker.address(), runtime());
    runtime.block_on(create_topic(address, "t", 1))?;
    let producers = [producer(address)?, producer(address)?];
    for n in 0..10 {
        assert_eq!(runtime.block_on(send(&producers[n % 2], "t", &format!("v{n}")))?, i64::try_from(n)?);
    }
    let found = read_everything(address, "t", 1)?;
    assert!(found.values().cloned().eq((0..10).map(|n| format!("v{n}"))), "{found:?}");
    broker.shutdown();
    Ok(())
}
