//! The documented list of what this broker speaks.

use kafka_protocol::messages::ApiKey;

/// One API with the versions taken, and the first version that is encoded in the compact, extensible way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
    pub(crate) flexible: i16,
}

const fn api(key: ApiKey, min: i16, max: i16, flexible: i16) -> Api {
    Api { key, min, max, flexible }
}

/// Never compact in the versions taken.
const NEVER: i16 = i16::MAX;

/// Everything that is advertised. Newer versions need topic ids, fetch sessions or transactions; clients fall back.
pub(crate) const APIS: &[Api] = &[
    api(ApiKey::Produce, 3, 9, 9),
    api(ApiKey::Fetch, 4, 11, NEVER),
    api(ApiKey::ListOffsets, 1, 7, 6),
    api(ApiKey::Metadata, 0, 9, 9),
    api(ApiKey::OffsetCommit, 2, 8, 8),
    api(ApiKey::OffsetFetch, 1, 8, 6),
    api(ApiKey::FindCoordinator, 0, 4, 3),
    api(ApiKey::JoinGroup, 0, 7, 6),
    api(ApiKey::Heartbeat, 0, 4, 4),
    api(ApiKey::LeaveGroup, 0, 4, 4),
    api(ApiKey::SyncGroup, 0, 5, 4),
    api(ApiKey::DescribeGroups, 0, 5, 5),
    api(ApiKey::ListGroups, 0, 4, 3),
    api(ApiKey::ApiVersions, 0, 3, 3),
    api(ApiKey::CreateTopics, 2, 5, 5),
    api(ApiKey::DeleteTopics, 1, 5, 4),
    api(ApiKey::DeleteRecords, 0, 2, 2),
    api(ApiKey::InitProducerId, 0, 4, 2),
    api(ApiKey::DescribeConfigs, 1, 4, 4),
    api(ApiKey::AlterConfigs, 0, 2, 2),
    api(ApiKey::CreatePartitions, 0, 3, 2),
    api(ApiKey::DeleteGroups, 0, 2, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1, 1),
    api(ApiKey::OffsetDelete, 0, 0, NEVER),
];

/// The API with this number, if it is spoken.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key)
}

impl Api {
    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }
}
