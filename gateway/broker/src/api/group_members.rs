//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: from the protocol's types to [`crate::groups`] and back.

use std::future::Future;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use tokio::sync::oneshot;

use super::{Asker, text};
use crate::groups::{Caller, Join, JoinAnswer, JoinRefused, Joined, SyncAnswer, Synced};
use crate::node::Node;

/// First version whose clients come back with the member id that they are given.
const ID_FIRST: i16 = 4;
/// First version in which several members can leave at once.
const LEAVE_SEVERAL: i16 = 3;
/// Bounds of a session, as in Kafka.
const SESSION_MIN: Duration = Duration::from_secs(6);
const SESSION_MAX: Duration = Duration::from_secs(1800);

pub(super) fn join(
    node: &Node,
    asker: &Asker,
    request: JoinGroupRequest,
) -> impl Future<Output = JoinGroupResponse> + Send + use<> {
    let session = millis(request.session_timeout_ms);
    let error = if request.group_id.is_empty() {
        Some(ResponseError::InvalidGroupId)
    } else if !(SESSION_MIN..=SESSION_MAX).contains(&session) {
        Some(ResponseError::InvalidSessionTimeout)
    } else {
        None
    };
    let answer = match error {
        Some(error) => answered(Err(JoinRefused { error, member: request.member_id.to_string() })),
        None => node.groups.join(
            &request.group_id,
            Join {
                member: request.member_id.to_string(),
                instance: request.group_instance_id,
                client: asker.client.to_string(),
                host: format!("/{}", asker.peer.remote.ip()),
                protocol_type: request.protocol_type,
                protocols: request
                    .protocols
                    .into_iter()
                    .map(|protocol| (protocol.name, protocol.metadata))
                    .collect(),
                session,
                // Version 0 does not say; a session is what its clients mean.
                rebalance: millis(request.rebalance_timeout_ms).max(session).min(SESSION_MAX),
                id_first: asker.version >= ID_FIRST,
            },
        ),
    };
    async move { join_response(answer.await) }
}

fn answered(answer: JoinAnswer) -> oneshot::Receiver<JoinAnswer> {
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(answer);
    receiver
}

fn join_response(answer: Result<JoinAnswer, oneshot::error::RecvError>) -> JoinGroupResponse {
    let Joined { generation, protocol_type, protocol, leader, member, members } = match answer {
        Ok(Ok(joined)) => joined,
        Ok(Err(JoinRefused { error, member })) => return join_refused(error, member),
        // The client asked again on the same connection; the later answer counts.
        Err(_) => return join_refused(ResponseError::RebalanceInProgress, String::new()),
    };
    let members = members.into_iter().map(|(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance)
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(generation)
        .with_protocol_type(Some(protocol_type))
        .with_protocol_name(Some(protocol))
        .with_leader(text(leader))
        .with_member_id(text(member))
        .with_members(members.collect())
}

fn join_refused(error: ResponseError, member: String) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(Some(text("")))
        .with_member_id(text(member))
}

pub(super) fn sync(
    node: &Node,
    request: SyncGroupRequest,
) -> impl Future<Output = SyncGroupResponse> + Send + use<> {
    let instance = request.group_instance_id;
    let caller =
        Caller { member: &request.member_id, instance: instance.as_ref(), generation: request.generation_id };
    let assignments =
        request.assignments.into_iter().map(|given| (given.member_id, given.assignment)).collect();
    let named = (request.protocol_type, request.protocol_name);
    let answer = node.groups.sync(&request.group_id, &caller, assignments);
    async move { sync_response(answer.await, &named) }
}

type Named = (Option<kafka_protocol::protocol::StrBytes>, Option<kafka_protocol::protocol::StrBytes>);

fn sync_response(answer: Result<SyncAnswer, oneshot::error::RecvError>, named: &Named) -> SyncGroupResponse {
    let Synced { protocol_type, protocol, assignment } = match answer {
        Ok(Ok(synced)) => synced,
        Ok(Err(error)) => return SyncGroupResponse::default().with_error_code(error.code()),
        Err(_) => {
            return SyncGroupResponse::default().with_error_code(ResponseError::RebalanceInProgress.code());
        }
    };
    let agrees = named.0.as_ref().is_none_or(|named| *named == protocol_type)
        && named.1.as_ref().is_none_or(|named| *named == protocol);
    if !agrees {
        return SyncGroupResponse::default().with_error_code(ResponseError::InconsistentGroupProtocol.code());
    }
    SyncGroupResponse::default()
        .with_protocol_type(Some(protocol_type))
        .with_protocol_name(Some(protocol))
        .with_assignment(assignment)
}

pub(super) fn heartbeat(node: &Node, request: &HeartbeatRequest) -> HeartbeatResponse {
    let caller = Caller {
        member: &request.member_id,
        instance: request.group_instance_id.as_ref(),
        generation: request.generation_id,
    };
    let beat = node.groups.heartbeat(&request.group_id, &caller);
    HeartbeatResponse::default().with_error_code(code(beat))
}

pub(super) fn leave(node: &Node, request: LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let group = request.group_id;
    if version < LEAVE_SEVERAL {
        return LeaveGroupResponse::default().with_error_code(code(node.groups.leave(
            &group,
            &request.member_id,
            None,
        )));
    }
    let members = request.members.into_iter().map(|member| {
        let left = node.groups.leave(&group, &member.member_id, member.group_instance_id.as_ref());
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code(left))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

fn code(result: Result<(), ResponseError>) -> i16 {
    result.err().map_or(0, |error| error.code())
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
