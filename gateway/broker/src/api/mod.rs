//! The APIs, a file for each family: a decoded request to an answer.

mod configs;
mod fetch;
mod group_admin;
mod group_members;
mod group_offsets;
mod list_offsets;
mod metadata;
mod produce;
mod producer_id;
mod topics;
mod versions;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use versions::unsupported;

use crate::node::{Node, Peer};
use crate::wire::answer::Answer;
use crate::wire::outlet::{Outlet, Ticket};

/// An answer that is still being made.
pub(crate) type Later = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// An answer, now or later.
pub(crate) enum Reply {
    Now(Answer),
    /// The committing thread hands it in.
    Queued,
    /// To be begun when the request is first in line.
    Later(Later),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) peer: Peer,
    pub(crate) client: StrBytes,
    pub(crate) version: i16,
}

/// Answers a request that has its place in line. Appends are queued before this returns, so requests of one connection
/// keep their order.
pub(crate) fn handle(
    node: &Arc<Node>,
    asker: &Asker,
    request: RequestKind,
    permit: Option<OwnedSemaphorePermit>,
    (outlet, ticket): (&Arc<Outlet>, Ticket),
) -> Reply {
    let version = asker.version;
    let kind: ResponseKind = match request {
        RequestKind::Produce(request) => return produce::handle(node, request, permit, outlet, ticket),
        RequestKind::Fetch(request) => {
            return later(fetch::handle(Arc::clone(node), request, version));
        }
        RequestKind::ListOffsets(request) => {
            return kafka(list_offsets::handle(Arc::clone(node), request, version));
        }
        RequestKind::JoinGroup(request) => {
            return kafka(group_members::join(node, asker, request));
        }
        RequestKind::SyncGroup(request) => return kafka(group_members::sync(node, request)),
        RequestKind::OffsetCommit(request) => {
            return kafka(group_offsets::commit(Arc::clone(node), request));
        }
        RequestKind::OffsetDelete(request) => {
            return kafka(group_offsets::delete(Arc::clone(node), request));
        }
        RequestKind::DeleteGroups(request) => {
            return kafka(group_admin::delete(Arc::clone(node), request));
        }
        RequestKind::InitProducerId(request) => {
            return kafka(producer_id::handle(Arc::clone(node), request));
        }
        RequestKind::CreateTopics(request) => {
            return kafka(topics::create(Arc::clone(node), request));
        }
        RequestKind::DeleteTopics(request) => {
            return kafka(topics::delete(Arc::clone(node), request));
        }
        RequestKind::CreatePartitions(request) => {
            return kafka(topics::grow(Arc::clone(node), request));
        }
        RequestKind::DeleteRecords(request) => {
            return kafka(topics::delete_records(Arc::clone(node), request));
        }
        RequestKind::AlterConfigs(request) => {
            return kafka(configs::alter(Arc::clone(node), request));
        }
        RequestKind::IncrementalAlterConfigs(request) => {
            return kafka(configs::alter_some(Arc::clone(node), request));
        }
        RequestKind::ApiVersions(_) => versions::handle().into(),
        RequestKind::Metadata(request) => metadata::handle(node, asker, request).into(),
        RequestKind::FindCoordinator(request) => metadata::find_coordinator(asker, request).into(),
        RequestKind::OffsetFetch(request) => group_offsets::fetch(node, request, version).into(),
        RequestKind::Heartbeat(request) => group_members::heartbeat(node, &request).into(),
        RequestKind::LeaveGroup(request) => group_members::leave(node, request, version).into(),
        RequestKind::DescribeGroups(request) => group_admin::describe(node, request).into(),
        RequestKind::ListGroups(request) => group_admin::list(node, &request).into(),
        RequestKind::DescribeConfigs(request) => configs::describe(node, request).into(),
        // What is not advertised is not decoded.
        _ => return Reply::Now(Answer::Nothing),
    };
    Reply::Now(kind.into())
}

fn later(answer: impl Future<Output = Answer> + Send + 'static) -> Reply {
    Reply::Later(Box::pin(answer))
}

fn kafka<T: Into<ResponseKind>>(answer: impl Future<Output = T> + Send + 'static) -> Reply {
    later(async { Answer::from(answer.await) })
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

#[cfg(test)]
mod every_answer_tests;
