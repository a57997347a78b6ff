//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};

use super::configs::{Refusal, entry_source, shown};
use super::text;
use crate::node::{BROKER, Node};
use crate::storage::keys;
use crate::storage::topics::ChangeError;

/// Longest name, as in Kafka.
const NAME_BYTES: usize = 249;

pub(super) fn is_valid_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_BYTES && name != "." && name != ".." && name.bytes().all(legal)
}

/// The error for a change that the storage did not make.
pub(super) fn refusal(error: &ChangeError) -> Refusal {
    let code = match error {
        ChangeError::Exists => ResponseError::TopicAlreadyExists,
        ChangeError::Unknown => ResponseError::UnknownTopicOrPartition,
        ChangeError::TooManyPartitions(_) => ResponseError::InvalidPartitions,
        ChangeError::OutOfRange => ResponseError::OffsetOutOfRange,
        ChangeError::Disk(_) => ResponseError::KafkaStorageError,
    };
    (code, error.to_string())
}

/// The broker is stopping, so the task was dropped.
pub(super) fn stopping() -> Refusal {
    (ResponseError::KafkaStorageError, "the broker is stopping".to_owned())
}

pub(super) async fn create(node: Arc<Node>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = topic.name.clone();
        let result = CreatableTopicResult::default().with_name(name);
        results.push(match create_one(&node, topic, request.validate_only).await {
            Ok((partitions, given)) => {
                let configs = keys::KEYS.iter().map(|key| {
                    let (value, is_default) = shown(key, &given);
                    CreatableTopicConfigs::default()
                        .with_name(text(key.name))
                        .with_value(Some(text(value)))
                        .with_config_source(entry_source(is_default))
                });
                result
                    .with_num_partitions(partitions)
                    .with_replication_factor(1)
                    .with_configs(Some(configs.collect()))
            }
            Err((error, reason)) => {
                result.with_error_code(error.code()).with_error_message(Some(text(reason)))
            }
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

type Created = (i32, BTreeMap<String, String>);

async fn create_one(
    node: &Arc<Node>,
    topic: CreatableTopic,
    validate_only: bool,
) -> Result<Created, Refusal> {
    if !is_valid_name(&topic.name) {
        return Err((
            ResponseError::InvalidTopicException,
            "a topic name has 1 to 249 letters, digits, '.', '_' and '-'".to_owned(),
        ));
    }
    let partitions = partitions_of(node, &topic)?;
    let mut given = BTreeMap::new();
    for config in topic.configs {
        let value = config.value.unwrap_or_default();
        keys::check(&config.name, &value).map_err(|reason| (ResponseError::InvalidConfig, reason))?;
        given.insert(config.name.to_string(), value.to_string());
    }
    let (name, count) = (topic.name.to_string(), usize::try_from(partitions).unwrap_or(0));
    if validate_only {
        return if node.catalog.topic(&name).is_some() {
            Err(refusal(&ChangeError::Exists))
        } else {
            Ok((partitions, given))
        };
    }
    let (limits, settings) = (node.limits.clone(), given.clone());
    let made = node.queue.run(move |committer| committer.create_topic(&name, count, settings, &limits)).await;
    made.ok_or_else(stopping)?.map_err(|error| refusal(&error))?;
    Ok((partitions, given))
}

/// The number of partitions asked for, in one way or another.
fn partitions_of(node: &Node, topic: &CreatableTopic) -> Result<i32, Refusal> {
    if !topic.assignments.is_empty() {
        let here = topic.assignments.iter().all(|assignment| assignment.broker_ids == [BROKER]);
        let mut indexes: Vec<i32> =
            topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
        indexes.sort_unstable();
        if !here || !indexes.iter().copied().eq((0..).take(indexes.len())) {
            return Err((
                ResponseError::InvalidReplicaAssignment,
                "every partition from 0 on can only be on broker 1".to_owned(),
            ));
        }
        return Ok(i32::try_from(indexes.len()).unwrap_or(i32::MAX));
    }
    if !matches!(topic.replication_factor, -1 | 1) {
        return Err((
            ResponseError::InvalidReplicationFactor,
            "there is one broker, so the replication factor is 1".to_owned(),
        ));
    }
    match topic.num_partitions {
        -1 => Ok(node.default_partitions),
        1.. => Ok(topic.num_partitions),
        _ => Err((ResponseError::InvalidPartitions, "a topic has at least one partition".to_owned())),
    }
}

pub(super) async fn delete(node: Arc<Node>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut results = Vec::with_capacity(request.topic_names.len());
    for name in request.topic_names {
        let topic = name.to_string();
        let deleted = node.queue.run(move |committer| committer.delete_topic(&topic)).await;
        let result = DeletableTopicResult::default().with_name(Some(name));
        results.push(
            match deleted.ok_or_else(stopping).and_then(|deleted| deleted.map_err(|error| refusal(&error))) {
                Ok(()) => result,
                Err((error, reason)) => {
                    result.with_error_code(error.code()).with_error_message(Some(text(reason)))
                }
            },
        );
    }
    DeleteTopicsResponse::default().with_responses(results)
}

pub(super) async fn grow(node: Arc<Node>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match grow_one(&node, &topic, request.validate_only).await {
            Ok(()) => result,
            Err((error, reason)) => {
                result.with_error_code(error.code()).with_error_message(Some(text(reason)))
            }
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn grow_one(
    node: &Arc<Node>,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let known = node.catalog.topic(&topic.name).ok_or_else(|| refusal(&ChangeError::Unknown))?;
    let to = usize::try_from(topic.count).unwrap_or(0);
    if to <= known.count() {
        return Err((
            ResponseError::InvalidPartitions,
            format!("the topic has {} partitions, it can only get more", known.count()),
        ));
    }
    if topic.assignments.iter().flatten().any(|assignment| assignment.broker_ids != [BROKER]) {
        return Err((
            ResponseError::InvalidReplicaAssignment,
            "every partition can only be on broker 1".to_owned(),
        ));
    }
    if validate_only {
        return Ok(());
    }
    let (name, limits) = (topic.name.to_string(), node.limits.clone());
    let grown = node.queue.run(move |committer| committer.grow_topic(&name, to, &limits)).await;
    grown.ok_or_else(stopping)?.map_err(|error| refusal(&error))
}

pub(super) async fn delete_records(node: Arc<Node>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for part in topic.partitions {
            let name = topic.name.to_string();
            let deleted = node
                .queue
                .run(move |committer| committer.delete_records(&name, part.partition_index, part.offset))
                .await;
            let result = DeleteRecordsPartitionResult::default().with_partition_index(part.partition_index);
            partitions.push(
                match deleted
                    .ok_or_else(stopping)
                    .and_then(|deleted| deleted.map_err(|error| refusal(&error)))
                {
                    Ok(log_start) => result.with_low_watermark(log_start),
                    Err((error, _)) => result.with_error_code(error.code()).with_low_watermark(-1),
                },
            );
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}
