//! A disk that is really full: a small one in memory, which needs the right to mount it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kamf_broker::{Broker, Health, Options};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{Outcome, config, create_topic, producer, read_everything, runtime, send, start_at};

/// A mounted disk, taken away again at the end.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn mount(options: &str, at: &Path) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_shows_and_passes() -> Outcome {
    let place = tempfile::tempdir()?;
    if !Disk::mount("size=40m", place.path()) {
        println!("SKIPPED: a_full_disk_refuses_shows_and_passes; it needs the right to mount a disk");
        return Ok(());
    }
    let disk = Disk(place.path());
    let broker = Broker::start(Options::new(place.path().join("log")))?;
    let (address, runtime) = (broker.address(), runtime());
    runtime.block_on(create_topic(address, "t", 1))?;
    let patient = producer(address)?;
    let hasty: FutureProducer =
        config(address).set("message.timeout.ms", "2000").set("linger.ms", "0").create()?;
    let value = "x".repeat(100_000);
    let mut written = 0;
    let refused = loop {
        let record = FutureRecord::<str, str>::to("t").partition(0).payload(&value);
        match runtime.block_on(hasty.send(record, Duration::from_secs(5))) {
            Ok(_) => written += 1,
            Err((error, _)) => break error,
        }
        assert!(written < 1000, "the disk never fills");
    };
    println!("refused after {written} records: {refused}");
    assert!(matches!(broker.health(), Health::DiskFull(_)), "{:?}", broker.health());
    assert_eq!(
        read_everything(address, "t", 1)?.len(),
        written,
        "what was acknowledged is there, and no more"
    );
    // Nor does a start need room.
    broker.shutdown();
    let broker = start_at(&place.path().join("log"), address)?;
    assert_eq!(read_everything(address, "t", 1)?.len(), written, "it is there again");
    // A producer with patience waits for space.
    let waiting = runtime.spawn(async move { send(&patient, "t", &value).await });
    std::thread::sleep(Duration::from_secs(1));
    assert!(!waiting.is_finished());
    assert!(Disk::mount("remount,size=80m", place.path()), "the disk grows");
    assert_eq!(runtime.block_on(waiting)??, i64::try_from(written)?);
    let begun = Instant::now();
    while broker.health() != Health::Ok {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", broker.health());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(read_everything(address, "t", 1)?.len(), written + 1);
    broker.shutdown();
    drop(disk);
    Ok(())
}
