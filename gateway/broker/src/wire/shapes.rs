//! The shape of every request that is taken, for [`super::shape`].

use kafka_protocol::messages::ApiKey;

use super::shape::Field::{self, Array, Bytes, Fixed, From, Plain, Text, Until};

const BOOLEAN: Field = Fixed(1);
const INT8: Field = Fixed(1);
const INT16: Field = Fixed(2);
const INT32: Field = Fixed(4);
const INT64: Field = Fixed(8);
const TEXTS: Field = Plain(&Text);
const INT32S: Field = Plain(&INT32);

const PRODUCE: &[Field] = &[Text, INT16, INT32, Array(&[Text, Array(&[INT32, Bytes])])];

const FETCH: &[Field] = &[
    INT32,
    INT32,
    INT32,
    INT32,
    INT8,
    From(7, &Fixed(8)),
    Array(&[Text, Array(&[INT32, From(9, &INT32), INT64, From(5, &INT64), INT32])]),
    From(7, &Array(&[Text, INT32S])),
    From(11, &Text),
];

const LIST_OFFSETS: &[Field] =
    &[INT32, From(2, &INT8), Array(&[Text, Array(&[INT32, From(4, &INT32), INT64])])];

const METADATA: &[Field] = &[Array(&[Text]), From(4, &BOOLEAN), From(8, &BOOLEAN), From(8, &BOOLEAN)];

const OFFSET_COMMIT: &[Field] = &[
    Text,
    INT32,
    Text,
    From(7, &Text),
    Until(4, &INT64),
    Array(&[Text, Array(&[INT32, INT64, From(6, &INT32), Text])]),
];

const OFFSET_FETCH: &[Field] = &[
    Until(7, &Text),
    Until(7, &Array(&[Text, INT32S])),
    From(8, &Array(&[Text, Array(&[Text, INT32S])])),
    From(7, &BOOLEAN),
];

const FIND_COORDINATOR: &[Field] = &[Until(3, &Text), From(1, &INT8), From(4, &TEXTS)];

const JOIN_GROUP: &[Field] =
    &[Text, INT32, From(1, &INT32), Text, From(5, &Text), Text, Array(&[Text, Bytes])];

const SYNC_GROUP: &[Field] =
    &[Text, INT32, Text, From(3, &Text), From(5, &Text), From(5, &Text), Array(&[Text, Bytes])];

const HEARTBEAT: &[Field] = &[Text, INT32, Text, From(3, &Text)];

const LEAVE_GROUP: &[Field] = &[Text, Until(2, &Text), From(3, &Array(&[Text, Text]))];

const CREATE_TOPICS: &[Field] =
    &[Array(&[Text, INT32, INT16, Array(&[INT32, INT32S]), Array(&[Text, Text])]), INT32, BOOLEAN];

const DELETE_RECORDS: &[Field] = &[Array(&[Text, Array(&[INT32, INT64])]), INT32];

const INIT_PRODUCER_ID: &[Field] = &[Text, INT32, From(3, &Fixed(10))];

const DESCRIBE_CONFIGS: &[Field] = &[Array(&[INT8, Text, TEXTS]), BOOLEAN, From(3, &BOOLEAN)];

const ALTER_CONFIGS: &[Field] = &[Array(&[INT8, Text, Array(&[Text, Text])]), BOOLEAN];

const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[Array(&[INT8, Text, Array(&[Text, INT8, Text])]), BOOLEAN];

const CREATE_PARTITIONS: &[Field] = &[Array(&[Text, INT32, Array(&[INT32S])]), INT32, BOOLEAN];

const OFFSET_DELETE: &[Field] = &[Text, Array(&[Text, Array(&[INT32])])];

/// The fields of a request's body; empty for what is not taken.
pub(crate) fn of(key: ApiKey) -> &'static [Field] {
    match key {
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::Metadata => METADATA,
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        ApiKey::FindCoordinator => FIND_COORDINATOR,
        ApiKey::JoinGroup => JOIN_GROUP,
        ApiKey::SyncGroup => SYNC_GROUP,
        ApiKey::Heartbeat => HEARTBEAT,
        ApiKey::LeaveGroup => LEAVE_GROUP,
        ApiKey::DescribeGroups => &[TEXTS, From(3, &BOOLEAN)],
        ApiKey::ListGroups => &[From(4, &TEXTS)],
        ApiKey::ApiVersions => &[From(3, &Text), From(3, &Text)],
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::DeleteTopics => &[TEXTS, INT32],
        ApiKey::DeleteRecords => DELETE_RECORDS,
        ApiKey::InitProducerId => INIT_PRODUCER_ID,
        ApiKey::DescribeConfigs => DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => ALTER_CONFIGS,
        ApiKey::IncrementalAlterConfigs => INCREMENTAL_ALTER_CONFIGS,
        ApiKey::CreatePartitions => CREATE_PARTITIONS,
        ApiKey::DeleteGroups => &[TEXTS],
        ApiKey::OffsetDelete => OFFSET_DELETE,
        _ => &[],
    }
}
