//! `log`: where exchanges are kept.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{Field, Group};
use super::secret::Plain;
use super::value::Secret;

/// Where the log is: embedded, or a Kafka cluster.
#[derive(Clone, Debug)]
pub struct Log {
    /// Data directory of the embedded log, `data/log` unless set; used when `brokers` is empty.
    pub directory: PathBuf,
    /// Address of the embedded log; port 0, the default, lets the kernel pick.
    pub listen: SocketAddr,
    /// `host:port` of a Kafka cluster.
    pub brokers: Vec<String>,
    /// Prefix of all topics, `kamf` unless set.
    pub prefix: String,
    /// Partitions of topics that the gateway creates, 8 unless set.
    pub partitions: i32,
    /// Replication factor of topics that the gateway creates on a cluster, 3 unless set.
    pub replication: i32,
    /// Further librdkafka properties (security.protocol, sasl.*, ssl.*), secrets resolved.
    pub properties: BTreeMap<String, Secret>,
    /// How long a client waits for an acknowledgement of the log before it is told 503; 5 s unless set.
    pub acknowledge: Duration,
    /// How long a task of which nothing is heard is remembered; a week unless set, as long as topics of exchanges that
    /// the gateway creates keep their records.
    pub task_retention: Duration,
}

/// Properties that the gateway's promises rest on, and what to do instead of setting them.
const OWN_PROPERTIES: &[(&str, &str)] = &[
    ("bootstrap.servers", "write the addresses to `log.brokers`"),
    ("metadata.broker.list", "write the addresses to `log.brokers`"),
    ("acks", "the gateway waits for all replicas"),
    ("request.required.acks", "the gateway waits for all replicas"),
    ("enable.idempotence", "the gateway's producer is idempotent"),
    ("transactional.id", "the gateway uses no transactions"),
    ("group.id", "the gateway names its consumer groups itself"),
    ("enable.auto.commit", "the gateway commits what it has done"),
    ("enable.auto.offset.store", "the gateway commits what it has done"),
    ("auto.offset.reset", "the gateway decides where it starts to read"),
];

/// Parts of property names whose values are secret.
const SECRET_PARTS: &[&str] = &["password", "secret", "ssl.key.pem", "sasl.jaas"];

impl Log {
    /// What holds where nothing is set, with the embedded log under `base`.
    pub fn with_base(base: &Path) -> Self {
        Self {
            directory: base.join("data/log"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            brokers: Vec::new(),
            prefix: "kamf".to_owned(),
            partitions: 8,
            replication: 3,
            properties: BTreeMap::new(),
            acknowledge: Duration::from_secs(5),
            task_retention: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

pub(super) fn read(group: &mut Group<'_>, base: &Path) -> Log {
    let mut log = Log::with_base(base);
    group.set("directory", &mut log.directory, Field::path);
    group.set("listen", &mut log.listen, Field::address);
    group.set("brokers", &mut log.brokers, |field| Some(field.items().iter().filter_map(broker).collect()));
    group.set("prefix", &mut log.prefix, |field| field.word().filter(|prefix| field.name_is_fit(prefix)));
    group.set("partitions", &mut log.partitions, |field| field.count(1..=1024)?.try_into().ok());
    group.set("replication", &mut log.replication, |field| field.count(1..=16)?.try_into().ok());
    group.set("acknowledge", &mut log.acknowledge, Field::duration);
    group.set("task_retention", &mut log.task_retention, Field::duration);
    group.set("properties", &mut log.properties, |field| Some(properties(field)));
    log
}

fn broker(field: &Field<'_>) -> Option<String> {
    let text = field.word()?;
    let port =
        text.rsplit_once(':').and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
    if port.is_none() || text.contains(['/', ',', ' ']) {
        field.refuse(format!("`{text}` is no broker; write host and port, as in kafka-1:9092"));
        return None;
    }
    Some(text)
}

fn properties(field: &Field<'_>) -> BTreeMap<String, Secret> {
    for (key, place, property) in field.entries() {
        if let Some((_, instead)) = OWN_PROPERTIES.iter().find(|(name, _)| *name == key) {
            field.reader.refuse(place, &property.name, format!("cannot be set: {instead}"));
        }
    }
    field.secrets(|key| {
        if SECRET_PARTS.iter().any(|part| key.contains(part)) { Plain::Refused } else { Plain::Allowed }
    })
}
