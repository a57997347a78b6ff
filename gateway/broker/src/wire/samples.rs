//! A request of every kind with something in each of its parts, for tests.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::apis::Api;

pub(crate) fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(text("topic"))
}

fn group() -> GroupId {
    GroupId(text("group"))
}

/// The body of a sample in this version.
pub(crate) fn encoded(api: &Api, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    sample(api.key, version)
        .encode(&mut out, version)
        .unwrap_or_else(|error| panic!("{:?} v{version}: {error:#}", api.key));
    out.freeze()
}

/// The whole frame of a sample, its length included.
pub(crate) fn framed(api: &Api, version: i16, correlation: i32) -> Bytes {
    let mut frame = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(api.key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(text("client")));
    kafka_protocol::protocol::encode_request_header_into_buffer(&mut frame, &header).unwrap();
    frame.extend_from_slice(&encoded(api, version));
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    [&length[..], &frame[..]].concat().into()
}

/// What a client might ask.
pub(crate) fn sample(key: ApiKey, version: i16) -> RequestKind {
    match key {
        ApiKey::Produce | ApiKey::Fetch | ApiKey::ListOffsets | ApiKey::Metadata | ApiKey::ApiVersions => {
            records(key, version)
        }
        ApiKey::OffsetCommit | ApiKey::OffsetFetch | ApiKey::OffsetDelete | ApiKey::FindCoordinator => {
            offsets(key, version)
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup => {
            members(key, version)
        }
        ApiKey::DescribeGroups | ApiKey::ListGroups | ApiKey::DeleteGroups => groups(key, version),
        _ => admin(key, version),
    }
}

fn records(key: ApiKey, version: i16) -> RequestKind {
    match key {
        ApiKey::Produce => {
            let part = produce_request::PartitionProduceData::default()
                .with_index(0)
                .with_records(Some(Bytes::from_static(b"not a batch")));
            let data = produce_request::TopicProduceData::default()
                .with_name(topic())
                .with_partition_data(vec![part.clone(), part]);
            RequestKind::Produce(
                ProduceRequest::default().with_acks(1).with_timeout_ms(1000).with_topic_data(vec![data]),
            )
        }
        ApiKey::Fetch => {
            let part =
                fetch_request::FetchPartition::default().with_fetch_offset(0).with_partition_max_bytes(1000);
            let asked = fetch_request::FetchTopic::default().with_topic(topic()).with_partitions(vec![part]);
            let mut request =
                FetchRequest::default().with_max_wait_ms(1).with_max_bytes(1000).with_topics(vec![asked]);
            if version >= 7 {
                let forgotten =
                    fetch_request::ForgottenTopic::default().with_topic(topic()).with_partitions(vec![1, 2]);
                request = request.with_session_epoch(-1).with_forgotten_topics_data(vec![forgotten]);
            }
            RequestKind::Fetch(if version >= 11 { request.with_rack_id(text("rack")) } else { request })
        }
        ApiKey::ListOffsets => {
            let part = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
            let asked = list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic())
                .with_partitions(vec![part]);
            RequestKind::ListOffsets(ListOffsetsRequest::default().with_topics(vec![asked]))
        }
        ApiKey::Metadata => {
            let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
            let unknown =
                metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(text("unknown"))));
            RequestKind::Metadata(
                MetadataRequest::default()
                    .with_allow_auto_topic_creation(true)
                    .with_topics(Some(vec![asked, unknown])),
            )
        }
        _ => {
            let request = ApiVersionsRequest::default();
            RequestKind::ApiVersions(if version >= 3 {
                request.with_client_software_name(text("name")).with_client_software_version(text("1"))
            } else {
                request
            })
        }
    }
}

fn offsets(key: ApiKey, version: i16) -> RequestKind {
    match key {
        ApiKey::OffsetCommit => {
            let part = offset_commit_request::OffsetCommitRequestPartition::default()
                .with_committed_offset(3)
                .with_committed_metadata(Some(text("note")));
            let asked = offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![part]);
            let request = OffsetCommitRequest::default()
                .with_group_id(group())
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![asked]);
            RequestKind::OffsetCommit(if version >= 7 {
                request.with_group_instance_id(Some(text("instance")))
            } else {
                request
            })
        }
        ApiKey::OffsetFetch if version < 8 => {
            let asked = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic())
                .with_partition_indexes(vec![0, 1]);
            RequestKind::OffsetFetch(
                OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![asked])),
            )
        }
        ApiKey::OffsetFetch => {
            let asked = offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(topic())
                .with_partition_indexes(vec![0, 1]);
            let one = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![asked]));
            let all = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(None);
            RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![one, all]))
        }
        ApiKey::OffsetDelete => {
            let part = offset_delete_request::OffsetDeleteRequestPartition::default().with_partition_index(0);
            let asked = offset_delete_request::OffsetDeleteRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![part]);
            RequestKind::OffsetDelete(
                OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![asked]),
            )
        }
        _ => {
            let request = FindCoordinatorRequest::default();
            RequestKind::FindCoordinator(if version >= 4 {
                request.with_coordinator_keys(vec![text("a"), text("b")])
            } else {
                request.with_key(text("a"))
            })
        }
    }
}

fn members(key: ApiKey, version: i16) -> RequestKind {
    // A group of its own, so that nobody waits for a member of another version.
    let group = GroupId(StrBytes::from_string(format!("group {version}")));
    match key {
        ApiKey::JoinGroup => {
            let protocol = join_group_request::JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"m"));
            let request = JoinGroupRequest::default()
                .with_group_id(group)
                .with_session_timeout_ms(10_000)
                .with_protocol_type(text("consumer"));
            let request = request.with_protocols(vec![protocol]);
            RequestKind::JoinGroup(if version >= 5 {
                request.with_group_instance_id(Some(text("instance")))
            } else {
                request
            })
        }
        ApiKey::SyncGroup => {
            let given = sync_group_request::SyncGroupRequestAssignment::default()
                .with_member_id(text("m"))
                .with_assignment(Bytes::from_static(b"a"));
            let request = SyncGroupRequest::default()
                .with_group_id(group)
                .with_member_id(text("m"))
                .with_assignments(vec![given]);
            RequestKind::SyncGroup(request)
        }
        ApiKey::Heartbeat => {
            RequestKind::Heartbeat(HeartbeatRequest::default().with_group_id(group).with_member_id(text("m")))
        }
        _ if version >= 3 => {
            let member = leave_group_request::MemberIdentity::default()
                .with_member_id(text("m"))
                .with_group_instance_id(Some(text("i")));
            RequestKind::LeaveGroup(
                LeaveGroupRequest::default().with_group_id(group).with_members(vec![member]),
            )
        }
        _ => RequestKind::LeaveGroup(
            LeaveGroupRequest::default().with_group_id(group).with_member_id(text("m")),
        ),
    }
}

fn groups(key: ApiKey, version: i16) -> RequestKind {
    match key {
        ApiKey::DescribeGroups => RequestKind::DescribeGroups(
            DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("none"))]),
        ),
        ApiKey::ListGroups => {
            let request = ListGroupsRequest::default();
            RequestKind::ListGroups(if version >= 4 {
                request.with_states_filter(vec![text("Stable"), text("Empty")])
            } else {
                request
            })
        }
        _ => RequestKind::DeleteGroups(
            DeleteGroupsRequest::default().with_groups_names(vec![group(), GroupId(text("none"))]),
        ),
    }
}

fn admin(key: ApiKey, _version: i16) -> RequestKind {
    const TOPIC: i8 = 2;
    match key {
        ApiKey::CreateTopics => {
            let config = create_topics_request::CreatableTopicConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("5")));
            let new = create_topics_request::CreatableTopic::default()
                .with_name(topic())
                .with_num_partitions(2)
                .with_replication_factor(1);
            let assignment = create_topics_request::CreatableReplicaAssignment::default()
                .with_broker_ids(vec![BrokerId(1)]);
            let assigned = create_topics_request::CreatableTopic::default()
                .with_name(TopicName(text("assigned")))
                .with_num_partitions(-1);
            let assigned = assigned.with_replication_factor(-1).with_assignments(vec![assignment]);
            RequestKind::CreateTopics(
                CreateTopicsRequest::default()
                    .with_topics(vec![new.with_configs(vec![config]), assigned])
                    .with_validate_only(true),
            )
        }
        ApiKey::DeleteTopics => RequestKind::DeleteTopics(
            DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("none"))]),
        ),
        ApiKey::DeleteRecords => {
            let part = delete_records_request::DeleteRecordsPartition::default().with_offset(0);
            let asked = delete_records_request::DeleteRecordsTopic::default()
                .with_name(topic())
                .with_partitions(vec![part]);
            RequestKind::DeleteRecords(DeleteRecordsRequest::default().with_topics(vec![asked]))
        }
        ApiKey::InitProducerId => {
            RequestKind::InitProducerId(InitProducerIdRequest::default().with_transaction_timeout_ms(1000))
        }
        ApiKey::DescribeConfigs => {
            let one = describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text("topic"));
            let some = one.clone().with_configuration_keys(Some(vec![text("retention.ms")]));
            let all = one.with_configuration_keys(None);
            RequestKind::DescribeConfigs(
                DescribeConfigsRequest::default().with_resources(vec![some, all]).with_include_synonyms(true),
            )
        }
        ApiKey::AlterConfigs => {
            let config = alter_configs_request::AlterableConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("5")));
            let resource = alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text("topic"));
            RequestKind::AlterConfigs(
                AlterConfigsRequest::default().with_resources(vec![resource.with_configs(vec![config])]),
            )
        }
        ApiKey::IncrementalAlterConfigs => {
            let config = incremental_alter_configs_request::AlterableConfig::default()
                .with_name(text("cleanup.policy"));
            let config = config.with_config_operation(2).with_value(Some(text("compact")));
            let resource =
                incremental_alter_configs_request::AlterConfigsResource::default().with_resource_type(TOPIC);
            let resource = resource.with_resource_name(text("topic")).with_configs(vec![config]);
            RequestKind::IncrementalAlterConfigs(
                IncrementalAlterConfigsRequest::default().with_resources(vec![resource]),
            )
        }
        ApiKey::CreatePartitions => {
            let assignment = create_partitions_request::CreatePartitionsAssignment::default()
                .with_broker_ids(vec![BrokerId(1)]);
            let more =
                create_partitions_request::CreatePartitionsTopic::default().with_name(topic()).with_count(3);
            let more = more.with_assignments(Some(vec![assignment]));
            RequestKind::CreatePartitions(
                CreatePartitionsRequest::default().with_topics(vec![more]).with_validate_only(true),
            )
        }
        other => panic!("no sample of {other:?}"),
    }
}
