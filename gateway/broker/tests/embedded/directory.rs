//! One process, one format, one place.

use std::fs;
use std::net::SocketAddr;

use kamf_broker::{Broker, Options, StartError};

use crate::child::BrokerProcess;
use crate::support::{Outcome, free_address};

#[test]
fn a_second_process_is_refused() -> Outcome {
    let directory = tempfile::tempdir()?;
    let process = BrokerProcess::start(directory.path(), free_address()?)?;
    let refused =
        Broker::start(Options::new(directory.path())).err().ok_or("two brokers on one directory")?;
    assert!(matches!(&refused, StartError::InUse(path) if path == directory.path()), "{refused}");
    assert!(refused.to_string().contains(&directory.path().display().to_string()), "{refused}");
    process.kill()?;
    Broker::start(Options::new(directory.path()))?.shutdown();
    Ok(())
}

#[test]
fn an_unknown_format_is_refused() -> Outcome {
    let directory = tempfile::tempdir()?;
    Broker::start(Options::new(directory.path()))?.shutdown();
    fs::write(directory.path().join("format"), "kamf-log 99\n")?;
    let refused =
        Broker::start(Options::new(directory.path())).err().ok_or("a format of the future was read")?;
    assert!(matches!(&refused, StartError::Format { found, .. } if found == "kamf-log 99"), "{refused}");
    Ok(())
}

#[test]
fn a_foreign_directory_is_left_alone() -> Outcome {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("holiday.jpg"), "")?;
    let refused =
        Broker::start(Options::new(directory.path())).err().ok_or("somebody's files were taken for a log")?;
    assert!(matches!(refused, StartError::Foreign(_)), "{refused}");
    Ok(())
}

#[test]
fn only_loopback_unless_allowed() -> Outcome {
    let directory = tempfile::tempdir()?;
    let everywhere: SocketAddr = "0.0.0.0:0".parse()?;
    let options = Options { listen: everywhere, ..Options::new(directory.path()) };
    let refused = Broker::start(options.clone()).err().ok_or("it listens to the world")?;
    assert!(matches!(refused, StartError::NotLoopback(_)), "{refused}");
    Broker::start(Options { allow_remote: true, ..options })?.shutdown();
    Ok(())
}

#[test]
fn a_taken_port_is_named() -> Outcome {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let first = Broker::start(Options::new(one.path()))?;
    let options = Options { listen: first.address(), ..Options::new(two.path()) };
    let refused = Broker::start(options).err().ok_or("two brokers on one port")?;
    assert!(refused.to_string().contains(&first.address().to_string()), "{refused}");
    Ok(())
}
