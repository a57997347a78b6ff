//! Metadata and FindCoordinator: one broker leads every partition and coordinates every group.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse, TopicName,
};

use super::{Asker, text};
use crate::node::{BROKER, Node};
use crate::storage::catalog::Topic;

/// First version in which no topics means none, not all.
const NONE_MEANS_NONE: i16 = 1;
/// First version of FindCoordinator that asks for several, and answers in another shape.
const BATCHED: i16 = 4;
const GROUP: i8 = 0;

/// Topics are never made by asking for them: who needs one creates it.
pub(super) fn handle(node: &Node, asker: &Asker, request: MetadataRequest) -> MetadataResponse {
    let asked = request.topics.filter(|topics| asker.version >= NONE_MEANS_NONE || !topics.is_empty());
    let topics = match asked {
        None => node
            .catalog
            .all()
            .into_iter()
            .map(|(name, topic)| describe(TopicName(text(name)), Some(&topic)))
            .collect(),
        Some(topics) => topics
            .into_iter()
            .map(|asked| {
                let name = asked.name.unwrap_or_default();
                let topic = node.catalog.topic(&name);
                describe(name, topic.as_deref())
            })
            .collect(),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BROKER)
        .with_host(asker.peer.host())
        .with_port(asker.peer.port());
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(node.cluster.clone()))
        .with_controller_id(BROKER)
        .with_topics(topics)
}

fn describe(name: TopicName, topic: Option<&Topic>) -> MetadataResponseTopic {
    let answer = MetadataResponseTopic::default();
    let Some(topic) = topic else {
        let error = if super::topics::is_valid_name(&name) {
            ResponseError::UnknownTopicOrPartition
        } else {
            ResponseError::InvalidTopicException
        };
        return answer.with_name(Some(name)).with_error_code(error.code());
    };
    let partitions = (0..).take(topic.count()).map(|index| {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BROKER)
            .with_leader_epoch(0);
        partition.with_replica_nodes(vec![BROKER]).with_isr_nodes(vec![BROKER])
    });
    answer.with_name(Some(name)).with_partitions(partitions.collect())
}

pub(super) fn find_coordinator(asker: &Asker, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let refused = (request.key_type != GROUP).then_some(ResponseError::TransactionalIdAuthorizationFailed);
    let reason = refused.map(|_| text("this log has no transactions"));
    let (host, port) =
        if refused.is_some() { (text(""), -1) } else { (asker.peer.host(), asker.peer.port()) };
    let node = if refused.is_some() { (-1).into() } else { BROKER };
    let code = refused.map_or(0, |error| error.code());
    if asker.version < BATCHED {
        let answer = FindCoordinatorResponse::default()
            .with_error_code(code)
            .with_node_id(node)
            .with_host(host)
            .with_port(port);
        return answer.with_error_message(reason);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        let answer = Coordinator::default()
            .with_key(key)
            .with_error_code(code)
            .with_node_id(node)
            .with_host(host.clone())
            .with_port(port);
        answer.with_error_message(reason.clone())
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
