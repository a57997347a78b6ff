//! OffsetCommit, OffsetFetch, OffsetDelete.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use tokio::sync::oneshot;

use super::text;
use crate::groups::Caller;
use crate::node::Node;
use crate::storage::offsets::{Change, Committed, framed};
use crate::storage::queue::{Job, OffsetsAppend};
use crate::sync::now_ms;

/// Longest metadata string, as in Kafka.
const METADATA_BYTES: usize = 4096;
/// First version of OffsetFetch that asks for several groups, and answers in another shape.
const SEVERAL_GROUPS: i16 = 8;

pub(super) async fn commit(node: Arc<Node>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let group = request.group_id.to_string();
    let instance = request.group_instance_id;
    let caller = Caller {
        member: &request.member_id,
        instance: instance.as_ref(),
        generation: request.generation_id_or_member_epoch,
    };
    let allowed = if node.offsets.has(&group) || node.offsets.count() < node.limits.groups {
        node.groups.may_commit(&group, &caller)
    } else {
        Err(ResponseError::GroupMaxSizeReached)
    };
    let mut changes = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for part in topic.partitions {
            let metadata = part.committed_metadata.unwrap_or_default();
            let judged = allowed.and_then(|()| {
                judge(&node, &topic.name, part.partition_index, part.committed_offset, &metadata)
            });
            if judged.is_ok() {
                let committed = Committed {
                    offset: part.committed_offset,
                    leader_epoch: part.committed_leader_epoch,
                    metadata: metadata.to_string(),
                    at_ms: now_ms(),
                };
                changes.push(Change::Committed {
                    group: group.clone(),
                    topic: topic.name.to_string(),
                    partition: part.partition_index,
                    committed,
                });
            }
            let code = judged.err().map_or(0, |error| error.code());
            partitions.push(
                OffsetCommitResponsePartition::default()
                    .with_partition_index(part.partition_index)
                    .with_error_code(code),
            );
        }
        topics.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
    }
    if !changes.is_empty() && !journal(&node, changes).await {
        // Retriable, as the disk may have space again.
        for part in
            topics.iter_mut().flat_map(|topic| &mut topic.partitions).filter(|part| part.error_code == 0)
        {
            part.error_code = ResponseError::CoordinatorLoadInProgress.code();
        }
    }
    OffsetCommitResponse::default().with_topics(topics)
}

fn judge(node: &Node, topic: &str, partition: i32, offset: i64, metadata: &str) -> Result<(), ResponseError> {
    if metadata.len() > METADATA_BYTES {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    if offset < 0 {
        return Err(ResponseError::InvalidCommitOffsetSize);
    }
    node.catalog.partition(topic, partition).map(drop).ok_or(ResponseError::UnknownTopicOrPartition)
}

/// Has the changes synced and in force; `false` when the disk refused them.
pub(super) async fn journal(node: &Node, changes: Vec<Change>) -> bool {
    let (reply, synced) = oneshot::channel();
    let framed = framed(changes.iter().cloned()).into();
    let reply = Some(reply);
    node.queue.push(Job::Offsets(OffsetsAppend { framed, changes, reply }));
    synced.await.unwrap_or(false)
}

pub(super) fn fetch(node: &Node, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    if version < SEVERAL_GROUPS {
        let asked = request
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let topics = look_up(node, &request.group_id, asked).into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                let (offset, epoch, metadata) = parts(committed);
                let part = OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset);
                part.with_committed_leader_epoch(epoch).with_metadata(Some(text(metadata)))
            });
            OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
        });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let asked = group
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let topics = look_up(node, &group.group_id, asked).into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                let (offset, epoch, metadata) = parts(committed);
                let part = OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset);
                part.with_committed_leader_epoch(epoch).with_metadata(Some(text(metadata)))
            });
            OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics.collect())
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

type Asked = Vec<(TopicName, Vec<i32>)>;
type LookedUp = Vec<(TopicName, Vec<(i32, Option<Committed>)>)>;

/// What a group committed for the partitions asked for, or for all.
fn look_up(node: &Node, group: &str, asked: Option<Asked>) -> LookedUp {
    if let Some(asked) = asked {
        let found = |name: &TopicName, index: i32| node.offsets.get(group, &(name.to_string(), index));
        return asked
            .into_iter()
            .map(|(name, indexes)| {
                let partitions = indexes.into_iter().map(|index| (index, found(&name, index))).collect();
                (name, partitions)
            })
            .collect();
    }
    let mut all: LookedUp = Vec::new();
    for ((topic, index), committed) in node.offsets.all(group) {
        match all.last_mut() {
            Some((name, partitions)) if name.as_str() == topic => partitions.push((index, Some(committed))),
            _ => all.push((TopicName(text(topic)), vec![(index, Some(committed))])),
        }
    }
    all
}

fn parts(committed: Option<Committed>) -> (i64, i32, String) {
    committed.map_or((-1, -1, String::new()), |committed| {
        (committed.offset, committed.leader_epoch, committed.metadata)
    })
}

pub(super) async fn delete(node: Arc<Node>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id.to_string();
    if !node.offsets.has(&group) && node.groups.with(&group, |_| ()).is_none() {
        return OffsetDeleteResponse::default().with_error_code(ResponseError::GroupIdNotFound.code());
    }
    let in_use = node.groups.with(&group, |group| !group.members.is_empty()).unwrap_or(false);
    let mut changes = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for part in topic.partitions {
            let code = if in_use {
                ResponseError::GroupSubscribedToTopic.code()
            } else {
                changes.push(Change::Removed {
                    group: group.clone(),
                    topic: topic.name.to_string(),
                    partition: part.partition_index,
                });
                0
            };
            partitions.push(
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(part.partition_index)
                    .with_error_code(code),
            );
        }
        topics.push(OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions));
    }
    let code = if changes.is_empty() || journal(&node, changes).await {
        0
    } else {
        ResponseError::CoordinatorLoadInProgress.code()
    };
    OffsetDeleteResponse::default().with_error_code(code).with_topics(topics)
}
