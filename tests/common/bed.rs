//! A log in a process of its own, for gateways to share: the embedded one of a gateway that does nothing else, or
//! Apache Kafka.

use nix::sys::signal::Signal;

use super::broker::Broker;
use super::program::tail;
use super::{Gateway, Result, Settings};

pub(crate) enum Bed {
    /// A gateway without upstreams, whose own topics have another prefix.
    Embedded(Box<Gateway>),
    Kafka(Box<Broker>),
}

impl Bed {
    pub(crate) async fn embedded() -> Result<Self> {
        let gateway = Gateway::start(&Settings::new().set("log.prefix", "house")).await?;
        Ok(Self::Embedded(Box::new(gateway)))
    }

    /// None when the test is to be skipped.
    pub(crate) async fn kafka(test: &str) -> Result<Option<Self>> {
        Ok(Broker::start(test).await?.map(|broker| Self::Kafka(Box::new(broker))))
    }

    pub(crate) fn bootstrap(&self) -> &str {
        match self {
            Self::Embedded(gateway) => &gateway.log,
            Self::Kafka(broker) => &broker.bootstrap,
        }
    }

    /// The end of what it has printed.
    pub(crate) fn output(&self) -> String {
        match self {
            Self::Embedded(gateway) => tail(&gateway.output()),
            Self::Kafka(broker) => tail(&broker.output()),
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result {
        match self {
            Self::Embedded(gateway) => gateway.kill().await,
            Self::Kafka(broker) => broker.kill().await,
        }
    }

    pub(crate) async fn restart(&mut self) -> Result {
        match self {
            Self::Embedded(gateway) => gateway.restart().await,
            Self::Kafka(broker) => broker.restart().await,
        }
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) -> Result {
        match self {
            Self::Embedded(gateway) => gateway.freeze(),
            Self::Kafka(broker) => broker.signal(Signal::SIGSTOP),
        }
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) -> Result {
        match self {
            Self::Embedded(gateway) => gateway.thaw(),
            Self::Kafka(broker) => broker.signal(Signal::SIGCONT),
        }
    }
}
