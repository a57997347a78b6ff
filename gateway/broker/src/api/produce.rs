//! Produce: batches to the log.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use tokio::sync::OwnedSemaphorePermit;

use super::Reply;
use crate::node::Node;
use crate::storage::batch::{BatchError, BatchHeader};
use crate::storage::queue::{Append, AppendBatch, AppendError, Job, Line, Outcome, Settle};
use crate::wire::answer::Answer;
use crate::wire::outlet::{Outlet, Ticket};

/// A produce request whose batches are queued.
struct Pending {
    outlet: Arc<Outlet>,
    ticket: Ticket,
    topics: Vec<(TopicName, Vec<Slot>)>,
}

/// One partition of the request.
struct Slot {
    index: i32,
    state: State,
}

enum State {
    /// Never queued.
    Refused(ResponseError),
    /// Its outcome is the next of those that come back.
    Queued { log_start: i64 },
}

/// Checks the batches and queues the good ones.
pub(super) fn handle(
    node: &Node,
    request: ProduceRequest,
    permit: Option<OwnedSemaphorePermit>,
    outlet: &Arc<Outlet>,
    ticket: Ticket,
) -> Reply {
    let refusal = if !(-1..=1).contains(&request.acks) {
        Some(ResponseError::InvalidRequiredAcks)
    } else if request.transactional_id.is_some() {
        Some(ResponseError::TransactionalIdAuthorizationFailed)
    } else {
        None
    };
    let mut batches = Vec::new();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let topic = node.catalog.topic(&data.name);
        let mut slots = Vec::with_capacity(data.partition_data.len());
        for part in data.partition_data {
            let partition = topic.as_ref().and_then(|topic| topic.partition(part.index));
            let checked = match (refusal, partition) {
                (Some(error), _) => Err(error),
                (None, None) => Err(ResponseError::UnknownTopicOrPartition),
                (None, Some(partition)) => {
                    let bytes = part.records.unwrap_or_default();
                    let largest = partition.settings.batch_bytes();
                    check(&bytes, largest).map(|header| AppendBatch { partition, header, bytes })
                }
            };
            let state = match checked {
                Ok(batch) => {
                    let log_start = batch.partition.ends().log_start;
                    batches.push(batch);
                    State::Queued { log_start }
                }
                Err(error) => State::Refused(error),
            };
            slots.push(Slot { index: part.index, state });
        }
        topics.push((data.name, slots));
    }
    let silent = request.acks == 0;
    if batches.is_empty() && !silent {
        return Reply::Now(answer(topics, Vec::new()).into());
    }
    let pending = || -> Box<dyn Settle> { Box::new(Pending { outlet: Arc::clone(outlet), ticket, topics }) };
    let reply = (!silent).then(pending);
    node.queue.push(Job::Append(Append { batches, reply, permit }));
    if silent { Reply::Now(Answer::Nothing) } else { Reply::Queued }
}

fn check(bytes: &[u8], largest: usize) -> Result<BatchHeader, ResponseError> {
    if bytes.len() > largest {
        return Err(ResponseError::MessageTooLarge);
    }
    BatchHeader::check(bytes).map_err(|error| match error {
        BatchError::Length | BatchError::Crc => ResponseError::CorruptMessage,
        BatchError::Magic(_) => ResponseError::UnsupportedForMessageFormat,
        BatchError::Count => ResponseError::InvalidRecord,
        BatchError::Transactional => ResponseError::InvalidTxnState,
    })
}

impl Settle for Pending {
    fn settle(self: Box<Self>, outcomes: Vec<Outcome>) -> Arc<dyn Line> {
        let Pending { outlet, ticket, topics } = *self;
        outlet.answer(ticket, answer(topics, outcomes).into());
        outlet
    }
}

fn answer(topics: Vec<(TopicName, Vec<Slot>)>, outcomes: Vec<Outcome>) -> ProduceResponse {
    let mut outcomes = outcomes.into_iter();
    let mut responses = Vec::with_capacity(topics.len());
    for (name, slots) in topics {
        let mut partitions = Vec::with_capacity(slots.len());
        for slot in slots {
            let (error, offset, log_start) = match slot.state {
                State::Refused(error) => (error.code(), -1, -1),
                State::Queued { log_start } => match outcomes.next().unwrap_or(Err(AppendError::Storage)) {
                    Ok(offset) => (0, offset, log_start),
                    Err(error) => (code(error).code(), -1, log_start),
                },
            };
            let part = PartitionProduceResponse::default()
                .with_index(slot.index)
                .with_error_code(error)
                .with_base_offset(offset);
            partitions.push(part.with_log_append_time_ms(-1).with_log_start_offset(log_start));
        }
        responses.push(TopicProduceResponse::default().with_name(name).with_partition_responses(partitions));
    }
    ProduceResponse::default().with_responses(responses)
}

fn code(error: AppendError) -> ResponseError {
    match error {
        AppendError::Deleted => ResponseError::UnknownTopicOrPartition,
        AppendError::OutOfOrder => ResponseError::OutOfOrderSequenceNumber,
        AppendError::OldDuplicate => ResponseError::DuplicateSequenceNumber,
        AppendError::UnknownProducer => ResponseError::UnknownProducerId,
        AppendError::Fenced => ResponseError::InvalidProducerEpoch,
        AppendError::Storage => ResponseError::KafkaStorageError,
    }
}
