//! ListOffsets: the ends of partitions, and offsets by time.

use std::io;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::node::Node;
use crate::storage::batch::Found;
use crate::storage::partition::Partition;

/// First version whose answer has a leader epoch.
const LEADER_EPOCHS_FROM: i16 = 4;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

pub(super) async fn handle(
    node: Arc<Node>,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let epochs = version >= LEADER_EPOCHS_FROM;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let found = match node.catalog.partition(&topic.name, asked.partition_index) {
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(partition) => find(partition, asked.timestamp).await,
            };
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            partitions.push(match found {
                Ok(Found { offset, timestamp }) => answer
                    .with_offset(offset)
                    .with_timestamp(timestamp)
                    .with_leader_epoch(if epochs && offset >= 0 { 0 } else { -1 }),
                Err(error) => answer.with_error_code(error.code()).with_offset(-1).with_timestamp(-1),
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// An offset of -1 stands for a partition without such a record.
async fn find(partition: Arc<Partition>, timestamp: i64) -> Result<Found, ResponseError> {
    let end = |offset| Ok(Found { offset, timestamp: -1 });
    match timestamp {
        LATEST => end(partition.ends().high_watermark),
        EARLIEST => end(partition.ends().log_start),
        MAX_TIMESTAMP => blocking(move || partition.find_newest()).await,
        0.. => blocking(move || partition.find_time(timestamp)).await,
        _ => Err(ResponseError::UnsupportedVersion),
    }
}

async fn blocking(
    find: impl FnOnce() -> io::Result<Option<Found>> + Send + 'static,
) -> Result<Found, ResponseError> {
    match tokio::task::spawn_blocking(find).await {
        Ok(Ok(found)) => Ok(found.unwrap_or(Found { offset: -1, timestamp: -1 })),
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot read a segment of the log");
            Err(ResponseError::KafkaStorageError)
        }
        Err(_) => Err(ResponseError::UnknownServerError),
    }
}
