//! InitProducerId: an identity for an idempotent producer. Transactional ids are refused.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::node::Node;

pub(super) async fn handle(node: Arc<Node>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |error: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        // An error that clients report at once instead of trying again.
        return refused(ResponseError::TransactionalIdAuthorizationFailed);
    }
    match node.producer_id().await {
        Some(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        None => refused(ResponseError::CoordinatorLoadInProgress),
    }
}
